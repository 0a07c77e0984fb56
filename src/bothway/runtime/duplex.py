"""The seam between Bothway and WebSockets: one open WebSocket, seen as whole messages.

A `Duplex` is what we write to and a `Receiver` is what is told about the other end. Both are synchronous: a message
that arrives is a plain call, and a message that leaves is handed to the socket before the call returns, so that a
media message costs no task, no queue and no wake-up. `duplex_picows` and `duplex_asgi` are the two implementations.

The contract, which both keep:

* `opened` comes first and `closed` last, each exactly once; after `closed`, or after `Duplex.close`, no message comes.
* `closed` names the first Close frame, whichever side sent it, or 1006 when the socket died without one.
* No callback is made from inside `close`, `abort` or a `send_`: a Receiver is never re-entered.
* A Receiver that raises has a bug: it is logged once and the WebSocket closes with 1011.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import Protocol, TypeAlias

from bothway.errors import UsageError

__all__ = [
    "CLOSE_DEADLINE",
    "MAX_MESSAGE",
    "PING_INTERVAL",
    "Accept",
    "CloseCode",
    "Connect",
    "Duplex",
    "Receiver",
    "Refusal",
    "UpgradeRequest",
    "check_close",
    "over_limit",
]

MAX_MESSAGE = 65536
"""The largest message accepted, in bytes (plivo-protocol.md, section 2: 64 KB a message)."""

CLOSE_DEADLINE = 5.0
"""Seconds that the peer has to answer a Close frame before its socket is dropped."""

PING_INTERVAL = 20.0
"""Seconds without a message after which a ping goes out, and again the seconds that the answer may take."""

_REASON_BYTES = 123
_STATUSES = frozenset(int(status) for status in HTTPStatus)


class CloseCode(IntEnum):
    """The close codes that Bothway uses (RFC 6455, section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_CODE = 1005
    DIED = 1006
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011


class Duplex(Protocol):
    """One open WebSocket, to write to. Every method may be called at any time, also after the end."""

    def send_text(self, message: bytes) -> None:
        """Queue a text message, given as UTF-8. It never blocks, and does nothing once either side has closed."""

    def send_binary(self, message: bytes) -> None:
        """Queue a binary message, as `send_text` does."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait in this process because the peer reads too slowly; what the kernel holds is not counted."""

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the close handshake, behind what is queued; after `CLOSE_DEADLINE` the socket goes, answered or not.

        Args:
            code: A code that may be sent: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: For people; cut to the 123 bytes that a Close frame holds.

        Raises:
            UsageError: The code may not be sent.
        """

    def abort(self) -> None:
        """Drop the socket now, with all that is queued; `closed` follows with 1006."""


class Receiver(Protocol):
    """What is told about one WebSocket, on the event loop's thread."""

    def opened(self, duplex: Duplex) -> None:
        """The handshake is done; messages may be sent. To refuse by policy, close with 1008 here."""

    def received_text(self, message: bytes) -> None:
        """A whole text message came. Its UTF-8 is not checked: that is for whoever parses it."""

    def received_binary(self, message: bytes) -> None:
        """A whole binary message came."""

    def closed(self, code: int, reason: str) -> None:
        """It is over. `code` is that of the first Close frame, or 1006 when there was none."""


class Connect(Protocol):
    """Whatever opens a WebSocket: `duplex_picows.connect`, or a transport in memory."""

    async def __call__(
        self,
        url: str,
        receiver: Receiver,
        *,
        headers: Iterable[tuple[str, str]],
        timeout: float,  # noqa: ASYNC109 - it bounds the whole of the handshake
        check_address: Callable[[str], None] | None,
        send_buffer: int | None,
    ) -> Duplex:
        """See `duplex_picows.connect`."""
        ...


@dataclass(frozen=True)
class UpgradeRequest:
    """The HTTP request that asks for a WebSocket.

    Attributes:
        path: The path as sent, percent-encoding kept, since signatures cover it so.
        query: What follows the `?`, as sent; empty when there is none.
        headers: Names in lower case and values, in the order sent, repeats kept.
        client: The peer's address and port; None when the server does not know it. Behind a proxy, the proxy's.
        scheme: `ws` or `wss`, as this process saw it; a proxy in front may have taken TLS off.
    """

    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    client: tuple[str, int] | None = None
    scheme: str = "ws"

    @property
    def target(self) -> str:
        """Path and query, as they stood in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def header(self, name: str) -> str | None:
        """The value of a header, repeats joined by commas (RFC 9110, section 5.3); None when it is absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None


@dataclass(frozen=True)
class Refusal:
    """The plain HTTP answer to an upgrade that is not wanted.

    Attributes:
        status: 400 to 599, and a status that HTTP knows.
        body: Plain text.

    Raises:
        UsageError: The status is none of those.
    """

    status: int
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.status < HTTPStatus.BAD_REQUEST or self.status not in _STATUSES:
            raise UsageError(f"an upgrade cannot be refused with HTTP status {self.status}: 400 to 599 say no")


Accept: TypeAlias = Callable[[UpgradeRequest], Receiver | Refusal]
"""Decides about an upgrade: the Receiver that shall have it, or the answer that turns it away. It must not block, and
`opened` need not follow: the handshake may be wrong in other ways, or the socket die."""


def check_close(code: int, reason: str) -> str:
    """The reason, cut to what a Close frame holds.

    Raises:
        UsageError: The code may not stand in a Close frame (RFC 6455, section 7.4.2).
    """
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise UsageError(f"{code} is not a code that a WebSocket may be closed with")
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")


def over_limit(size: int, limit: int) -> str:
    """The reason that goes with 1009: `size` is what arrived or was announced, in bytes."""
    return f"message of {size} bytes is over the limit of {limit}"
