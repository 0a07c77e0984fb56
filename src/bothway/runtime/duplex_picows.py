"""Duplex over picows, for both roles: the server's side of an upgrade, and `connect`, which is the client.

picows parses frames in C and writes small messages straight to the descriptor, past the transport, whenever the
transport has nothing waiting. Everything here stays above that: whole messages in, whole messages out, and nothing
is scheduled for one. What picows leaves to its user is done here: joining fragments, the close handshake and its
deadline, reserved bits, and dropping a peer that has gone silent.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from typing import Any, cast

import aiofastnet
from picows import (
    WSAutoPingStrategy,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from bothway.errors import PeerError
from bothway.runtime.duplex import (
    CLOSE_DEADLINE,
    MAX_MESSAGE,
    PING_INTERVAL,
    CloseCode,
    Receiver,
    check_close,
    over_limit,
)
from bothway.runtime.websocket_url import Target, checked_headers, parse_url

__all__ = [
    "ConnectTimeoutError",
    "PicowsDuplex",
    "PicowsProtocol",
    "TlsError",
    "UnreachableError",
    "UpgradeRefusedError",
    "connect",
    "quiet_tls",
]

logger = logging.getLogger(__name__)

# An adapter rather than a logger: for a logger, picows would make a child logger for every connection. What picows
# has to say about a peer's mistakes reaches the Receiver as a close code, so its own lines are not wanted.
_picows_log = logging.LoggerAdapter(logging.getLogger("bothway.picows"), {})
_picows_log.logger.setLevel(logging.CRITICAL)

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_DATA = (_TEXT, _BINARY)
_READ_BUFFER = 16 * 1024
_PINGS_BEHIND_BACKLOG = 3


class PicowsDuplex(WSListener):
    """One WebSocket on picows: a `Duplex` to our side, the listener to picows.

    Args:
        receiver: Is told what comes.
        max_message: The largest message in bytes; a larger one closes with 1009.
        ping_interval: Seconds of silence before a ping, and seconds for its answer. A peer that has our messages
            still waiting in this process cannot see the ping yet and gets three times as long; how much may wait
            is for the sender to bound.
    """

    __slots__ = (
        "_alive_timer",
        "_close_timer",
        "_heard",
        "_limit",
        "_loop",
        "_part_kind",
        "_part_size",
        "_parts",
        "_ping_interval",
        "_receiver",
        "_steady",
        "_told",
        "_transport",
        "_unanswered",
        "_verdict",
        "_write_buffer_size",
    )

    def __init__(
        self,
        receiver: Receiver,
        *,
        max_message: int = MAX_MESSAGE,
        ping_interval: float = PING_INTERVAL,
    ) -> None:
        super().__init__()
        self._receiver = receiver
        self._limit = max_message
        self._ping_interval = ping_interval
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport
        self._write_buffer_size: Callable[[], int]
        # Open, and not inside a fragmented message: a text or binary frame that is final is a message.
        self._steady = False
        self._parts: list[bytes] = []
        self._part_kind = _TEXT
        self._part_size = 0
        # How it ends: set by the first Close frame, or by dropping the socket on purpose.
        self._verdict: tuple[int, str] | None = None
        self._told = False
        self._heard = False
        self._unanswered = 0
        self._alive_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    def send_text(self, message: bytes) -> None:
        """Queue a text message; see `Duplex`."""
        self._transport.send(_TEXT, message)

    def send_binary(self, message: bytes) -> None:
        """Queue a binary message; see `Duplex`."""
        self._transport.send(_BINARY, message)

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the transport's own buffer; see `Duplex`."""
        return self._write_buffer_size()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the close handshake; see `Duplex`."""
        reason = check_close(code, reason)
        if self._verdict is None and not self._transport.is_close_frame_sent:
            self._verdict = (int(code), reason)
            self._steady = False
            self._send_close(code, reason)

    def abort(self) -> None:
        """Drop the socket now; see `Duplex`."""
        self._drop("aborted at this end")

    def on_ws_connected(self, transport: WSTransport) -> None:
        """picows: the handshake is done."""
        self._transport = transport
        self._write_buffer_size = transport.underlying_transport.get_write_buffer_size
        self._steady = True
        self._alive_timer = self._loop.call_later(self._ping_interval, self._check_alive)
        try:
            self._receiver.opened(self)
        except Exception:
            logger.exception("%s raised when opened", type(self._receiver).__name__)
            self.close(CloseCode.INTERNAL, "internal error")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """picows: a frame came. Pings never get here; picows answers them."""
        kind = frame.msg_type
        if not (self._steady and frame.fin) or frame.rsv1 or frame.rsv2 or frame.rsv3 or transport.is_close_frame_sent:
            self._received_rare(frame)
        elif kind in _DATA:
            self._heard = True
            self._deliver(kind, frame.get_payload_as_bytes())
        else:
            self._received_rare(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """picows: the socket has gone."""
        for timer in (self._alive_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        if self._verdict is None:
            self._verdict = self._picows_verdict()
        self._tell_closed()

    def pause_writing(self) -> None:
        """The transport is over its high mark: `unsent_bytes` says so to whoever sends."""

    def resume_writing(self) -> None:
        """The transport is below its low mark again."""

    def ended(self) -> None:
        """The peer's half of the connection is shut: the transport closes once it has flushed, or at the deadline."""
        self._steady = False
        self._start_deadline()

    def _deliver(self, kind: WSMsgType, message: bytes) -> None:
        try:
            if kind == _TEXT:
                self._receiver.received_text(message)
            else:
                self._receiver.received_binary(message)
        except Exception:
            logger.exception("%s raised on a message", type(self._receiver).__name__)
            self.close(CloseCode.INTERNAL, "internal error")

    def _received_rare(self, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._received_close(frame.get_payload_as_bytes())
        elif self._transport.is_close_frame_sent:
            # picows closes for a frame that announces too much, and yet delivers it if the rest comes at once.
            return
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            # RFC 6455, section 5.2: "MUST be 0 unless an extension is negotiated", and none ever is.
            self.close(CloseCode.PROTOCOL_ERROR, "reserved bits are set and no extension was agreed")
        elif kind == WSMsgType.PONG:
            self._unanswered = 0
        else:
            self._heard = True
            self._received_part(kind, frame)

    def _received_part(self, kind: WSMsgType, frame: WSFrame) -> None:
        if (kind == WSMsgType.CONTINUATION) is self._steady:
            wrong = "nothing to continue" if self._steady else "a new message inside a fragmented one"
            self.close(CloseCode.PROTOCOL_ERROR, wrong)
            return
        if self._steady:
            self._part_kind = kind
            self._steady = False
        self._part_size += frame.payload_size
        if self._part_size > self._limit:
            self._parts.clear()
            self.close(CloseCode.TOO_BIG, over_limit(self._part_size, self._limit))
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            message = b"".join(self._parts)
            self._parts.clear()
            self._part_size = 0
            self._steady = True
            self._deliver(self._part_kind, message)

    def _received_close(self, payload: bytes) -> None:
        code = struct.unpack_from("!H", payload)[0] if payload else CloseCode.NO_CODE
        reason = payload[2:].decode()
        self._steady = False
        if self._verdict is None and self._transport.is_close_frame_sent:
            self._verdict = self._picows_verdict()  # picows closed first, and the peer answers that
        if self._verdict is None:
            self._verdict = (int(code), reason)
            self._send_close(CloseCode.NORMAL if code == CloseCode.NO_CODE else code, reason)
        if not self._transport.is_client_side:
            # RFC 6455, section 7.1.1: the server closes TCP first, and the client waits for that for a while.
            self._transport.disconnect()
        self._tell_closed()

    def _send_close(self, code: int, reason: str) -> None:
        # picows takes any code, though its type names only the registered ones.
        self._transport.send_close(code, reason.encode())  # type: ignore[arg-type]
        self._start_deadline()

    def _start_deadline(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_DEADLINE, self._transport.disconnect, False)

    def _check_alive(self) -> None:
        allowed = _PINGS_BEHIND_BACKLOG if self.unsent_bytes else 1
        if self._heard:
            self._heard = False
            self._unanswered = 0
        elif self._unanswered >= allowed:
            self._drop(f"no answer to a ping within {allowed * self._ping_interval:g} s")
            return
        else:
            self._unanswered += 1
            self._transport.send_ping()
        self._alive_timer = self._loop.call_later(self._ping_interval, self._check_alive)

    def _drop(self, reason: str) -> None:
        if self._verdict is None:
            self._verdict = (CloseCode.DIED, reason)
        self._steady = False
        self._transport.disconnect(False)

    def _picows_verdict(self) -> tuple[int, str]:
        # picows itself closes on a frame that breaks the protocol or announces too much; all else is a dead socket.
        sent = self._transport.close_handshake.sent if self._transport.is_close_frame_sent else None
        if sent is None:
            return CloseCode.DIED, "the socket died without a close frame"
        code = cast("int", sent.code)  # an IntEnum, whatever picows' types say
        if code == CloseCode.TOO_BIG:
            sizes = re.search(r"(\d+) > \d+$", sent.reason)
            return code, over_limit(int(sizes[1]) if sizes else self._limit + 1, self._limit)
        return int(code), sent.reason

    def _tell_closed(self) -> None:
        if self._told or self._verdict is None:
            return
        self._told = True
        code, reason = self._verdict
        logger.debug("websocket closed: %d %s", code, reason)
        try:
            self._receiver.closed(code, reason)
        except Exception:
            logger.exception("%s raised when closed", type(self._receiver).__name__)


class PicowsProtocol(WSProtocol):  # type: ignore[misc]
    """The asyncio protocol under a `PicowsDuplex`, without time-outs or pings of its own.

    Args:
        listener_factory: As picows wants it: of the request, and on the client of the response too.
        max_message: The largest frame, in bytes.
        client: The `Host` header's value, the request target and further headers; None on the server.
    """

    def __init__(
        self,
        listener_factory: Callable[..., Any],
        max_message: int,
        client: tuple[str, str, list[tuple[str, str]]] | None = None,
    ) -> None:
        host, target, headers = client or (None, None, None)
        super().__init__(
            host,
            target,
            client is not None,
            listener_factory,
            _picows_log,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: `connect` and `Server` have their own
            False,  # enable_auto_ping
            PING_INTERVAL,
            PING_INTERVAL,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # enable_auto_pong
            max_message,
            headers,
            _READ_BUFFER,
        )

    def eof_received(self) -> bool:
        """The peer sends no more: close, but not for ever."""
        if isinstance(self.listener, PicowsDuplex):
            self.listener.ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket has gone."""
        super().connection_lost(exc)
        # picows keeps what went wrong in a future that `wait_disconnected` would raise; the Receiver knows it already.
        # The future is done, so that one step fetches it, and asyncio does not report it as never retrieved.
        waiter = self.transport.wait_disconnected()
        try:
            waiter.send(None)
        except (StopIteration, WSError):
            waiter.close()


class _TlsNoise:
    """A loop's exception handler, in front of the one that was there."""

    def __init__(self, previous: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self._previous = previous

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is ConnectionResetError:
            logger.debug("a peer hung up during the TLS handshake")
        elif self._previous is not None:
            self._previous(loop, context)
        else:
            loop.default_exception_handler(context)


def quiet_tls(loop: asyncio.AbstractEventLoop) -> None:
    """Keep port scans out of the error log.

    When a peer hangs up in the middle of a TLS handshake, aiofastnet 1.2 reports to the loop's exception handler,
    and as the exception it gives the *class* ConnectionResetError, which asyncio's own handler fails to print.
    That one report is taken out; all others go where they went.
    """
    previous = loop.get_exception_handler()
    if not isinstance(previous, _TlsNoise):
        loop.set_exception_handler(_TlsNoise(previous))


class UnreachableError(PeerError):
    """There is no WebSocket at the other end: its name is unknown, it refuses, or it does not speak the protocol."""


class ConnectTimeoutError(PeerError):
    """The other end did not finish the handshake in time."""


class TlsError(PeerError):
    """TLS could not be agreed on, or the certificate does not hold."""


class UpgradeRefusedError(PeerError):
    """The other end answered the upgrade with an HTTP status that is not 101.

    Args:
        message: What happened, as a sentence.
        status: The HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


async def connect(
    url: str,
    receiver: Receiver,
    *,
    headers: Iterable[tuple[str, str]] = (),
    ssl: ssl.SSLContext | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - it becomes asyncio.timeout, and no caller can forget it
    max_message: int = MAX_MESSAGE,
    ping_interval: float = PING_INTERVAL,
    check_address: Callable[[str], None] | None = None,
    send_buffer: int | None = None,
) -> PicowsDuplex:
    """Open a WebSocket. No subprotocol and no compression is asked for, and no redirect is followed.

    `receiver.opened` is called before this returns. Once it was, `closed` will be too.

    Args:
        url: `ws://` or `wss://`, without credentials.
        receiver: Is told what comes.
        headers: Sent with the upgrade, beside those that the handshake needs; `Host` replaces the URL's own.
        ssl: Used for `wss`; by default the system's certificates decide.
        timeout: Seconds for all of it: the name, the connection, TLS and the upgrade.
        max_message: The largest message taken, in bytes.
        ping_interval: See `PicowsDuplex`.
        check_address: Called with every IP address that the host has, before any is tried; it raises to refuse.
        send_buffer: Bytes that the kernel may hold for a slow reader (SO_SNDBUF), so that the rest shows as
            `unsent_bytes`; the kernel's choice when None.

    Raises:
        UsageError: The URL or a header cannot be used.
        UnreachableError, ConnectTimeoutError, TlsError, UpgradeRefusedError: What went wrong at the other end.
            All are PeerErrors.
    """
    target = parse_url(url)
    duplex = PicowsDuplex(receiver, max_message=max_message, ping_interval=ping_interval)
    upgrade = (target.netloc, target.resource, checked_headers(headers))

    def listener(request: WSUpgradeRequest, response: WSUpgradeResponse) -> PicowsDuplex:
        if "sec-websocket-extensions" in response.headers or "sec-websocket-protocol" in response.headers:
            raise WSHandshakeError("it chose an extension or a subprotocol, and none was offered")
        return duplex

    protocol = PicowsProtocol(listener, max_message, upgrade)
    context = (ssl or _system_tls()) if target.secure else None
    try:
        async with asyncio.timeout(timeout):
            sock = await _connect_socket(target, timeout, check_address, send_buffer)
            await _shake_hands(protocol, sock, context, target)
    except TimeoutError:
        raise ConnectTimeoutError(f"{target} did not open a WebSocket within {timeout:g} s") from None
    return duplex


@functools.cache
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _connect_socket(
    target: Target, patience: float, check_address: Callable[[str], None] | None, send_buffer: int | None
) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreachableError(f"{target}: its name was not found ({error.strerror})") from None
    if check_address is not None:
        for *_, address in found:
            check_address(str(address[0]))
    failure: OSError | None = None
    for family, kind, number, _, address in found:
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)
            if send_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            # An address that swallows packets must not eat the time of the others.
            async with asyncio.timeout(patience / len(found)):
                await loop.sock_connect(sock, address)
        except OSError as error:  # TimeoutError is one
            failure = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if isinstance(failure, TimeoutError):
        raise failure
    # asyncio puts words of its own into strerror.
    reason = os.strerror(failure.errno) if failure and failure.errno else str(failure or "it has no address")
    raise UnreachableError(f"{target} cannot be connected to: {reason}")


async def _shake_hands(
    protocol: PicowsProtocol, sock: socket.socket, context: ssl.SSLContext | None, target: Target
) -> None:
    loop = asyncio.get_running_loop()
    if context is not None:
        quiet_tls(loop)
    try:
        transport, _ = await aiofastnet.create_connection(
            loop, lambda: protocol, sock=sock, ssl=context, server_hostname=target.host if context else None
        )
    except ssl.SSLError as error:
        raise TlsError(f"{target}: TLS failed: {error}") from None
    except OSError as error:
        raise UnreachableError(f"{target} cut the connection off: {error}") from None
    try:
        await protocol.wait_until_handshake_complete()
    except WSHandshakeError as error:
        status = re.match(rb"HTTP/1\.\d (\d{3})", error.raw_header or b"")
        if status and status[1] != b"101":
            number = int(status[1])
            raise UpgradeRefusedError(
                f"{target} answered the upgrade with HTTP status {number}", status=number
            ) from None
        raise UnreachableError(f"{target} broke the WebSocket handshake: {error}") from None
    except BaseException:
        transport.abort()
        raise
    if protocol.listener is None:
        raise UnreachableError(f"{target} closed the connection instead of answering the upgrade")
