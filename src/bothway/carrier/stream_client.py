"""The carrier's end of a stream's WebSocket: opened with three tries, watched for a slow reader, closed in order."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from bothway.carrier.config import Account
from bothway.carrier.node import Node, PrivateAddressError
from bothway.core.stream import CarrierStream, State
from bothway.errors import PeerError, UsageError
from bothway.runtime.duplex import CloseCode, Duplex
from bothway.runtime.duplex_picows import UpgradeRefusedError
from bothway.wire.signature import upgrade_signature_header
from bothway.wire.verbs import Stream

__all__ = ["RETRY_SECONDS", "SEND_BUFFER", "StreamClient", "StreamEnd", "StreamOwner"]

RETRY_SECONDS = 0.5
"""The pause before the second try; the third waits twice as long. No source tells the live system's (section 2.10)."""

SEND_BUFFER = 16 * 1024
"""Bytes that the kernel may hold for a slow reader: about a second of audio, so that the rest is seen and counted."""

_SLOW_CHECK_FRAMES = 25  # twice a second

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended.

    Attributes:
        failed: Whether it broke, or never opened; False when one side ended it as it may.
        word: The documents' `StatusReason`: `completed`, `connection_failed`, `authentication_failed`, …
        text: What happened, for people, saying which side did it.
    """

    failed: bool
    word: str
    text: str


class StreamOwner(Protocol):
    """The call that a stream belongs to."""

    def stream_opened(self, client: StreamClient) -> None:
        """The socket is up, `start` may go out."""

    def stream_message(self, client: StreamClient, raw: bytes) -> None:
        """The app sent a message."""

    def stream_mistake(self, client: StreamClient, code: str, text: str) -> None:
        """The app did what the protocol does not have."""

    def stream_degraded(self, client: StreamClient, percent: int) -> None:
        """The app reads too slowly: so much of the buffer is full."""

    def stream_ended(self, client: StreamClient, end: StreamEnd) -> None:
        """It is over; told exactly once, unless the owner closed it."""


class StreamClient:
    """One stream's socket. It is a `Receiver`.

    Args:
        node: Has the profile, the limits and the tasks.
        owner: Is told what happens.
        account: Whose token signs the upgrade, beside its main account's.
        stream: The stream machine.
        verb: What the document said.
        index: Which of the call's streams it is.
    """

    def __init__(
        self, node: Node, owner: StreamOwner, account: Account, stream: CarrierStream, verb: Stream, index: int
    ) -> None:
        self._node = node
        self._owner = owner
        self._account = account
        self.stream = stream
        self.verb = verb
        self.index = index
        self.opened_at: float | None = None
        self._duplex: Duplex | None = None
        self._ended = False
        self._bytes_a_second = 0.0
        self._frames = 0
        self._warned = 0  # the highest threshold reported
        self._opening = node.tasks.spawn(self._open(), f"stream {stream.start.stream_id}")

    def send(self, message: bytes) -> None:
        """Send one message."""
        if self._duplex is not None:
            self._duplex.send_text(message)

    def flush(self) -> None:
        """Send what the stream machine has to say."""
        for message in self.stream.to_send():
            self.send(message)

    def send_media(self, messages: list[bytes]) -> None:
        """Send a tick's messages, and now and then look how far behind the app is."""
        duplex = self._duplex
        if duplex is None:
            return
        for message in messages:
            duplex.send_text(message)
        self._frames += 1
        if self._frames % _SLOW_CHECK_FRAMES == 1 and messages:
            # The longest is a media message: what else is said in a tick is shorter.
            self._bytes_a_second = max(map(len, messages)) * 50.0 * len(self.stream.start.tracks)
        if self._frames % _SLOW_CHECK_FRAMES == 0:
            self._check_backlog(duplex)

    def close(self, reason: str) -> None:
        """End the stream from the carrier's side. `stream_ended` does not follow."""
        if self._ended:
            return
        self._ended = True
        if self._duplex is None:
            self._opening.cancel()
        self.stream.stop(reason, say_so=self._node.profile.stop_message)
        self.flush()
        if self._duplex is not None:
            self._duplex.close(CloseCode.NORMAL, reason)

    # Receiver

    def opened(self, duplex: Duplex) -> None:
        """The handshake is done."""
        if self._ended:
            duplex.close(CloseCode.GOING_AWAY, "the call is over")
            return
        self._duplex = duplex
        self.opened_at = asyncio.get_running_loop().time()
        self.stream.open()
        self.flush()
        self._owner.stream_opened(self)

    def received_text(self, message: bytes) -> None:
        """The app sent a message."""
        if not self._ended:
            self._owner.stream_message(self, message)

    def received_binary(self, message: bytes) -> None:
        """The app sent what no app should."""
        if not self._ended:
            text = f"the app sent a binary message of {len(message)} bytes: a stream has text messages only"
            self._owner.stream_mistake(self, "binary", text)

    def closed(self, code: int, reason: str) -> None:
        """The socket is gone."""
        self._duplex = None
        said = f" ({reason})" if reason else ""
        if code in (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_CODE):
            self._end(StreamEnd(failed=False, word="completed", text=f"the app closed the stream: {code}{said}"))
        elif code == CloseCode.POLICY:
            self._end(StreamEnd(failed=True, word="authentication_failed", text=f"the app refused the stream{said}"))
        elif code == CloseCode.DIED:
            self._end(StreamEnd(failed=True, word="connection_failed", text=f"the app's socket died{said}"))
        elif code == CloseCode.TOO_BIG:
            text = f"the app's {reason or 'message is too big'}"
            if not self._ended:
                self._owner.stream_mistake(self, "too-big", text)
            self._end(StreamEnd(failed=True, word="buffer_overflow", text=text))
        else:
            self._end(StreamEnd(failed=True, word="connection_failed", text=f"the stream closed with {code}{said}"))

    async def _open(self) -> None:
        try:
            end = await self._connected()
        except Exception as error:  # the task's outermost edge: a stream that never ends would hold its call for ever
            logger.exception("a stream could not be opened")
            end = StreamEnd(True, "connection_failed", f"a fault in the carrier: {type(error).__name__}")
        if end is not None:
            self._end(end)

    async def _connected(self) -> StreamEnd | None:
        """Connect; gives how the last try failed, or None when the socket is open."""
        limits = self._node.profile.limits
        for attempt in range(1, limits.connect_tries + 1):
            try:
                await self._connect()
            except UpgradeRefusedError as error:
                refused = error.status in (401, 403)
                end = StreamEnd(True, "authentication_failed" if refused else "connection_failed", str(error))
            except (PrivateAddressError, UsageError) as error:
                return StreamEnd(True, "connection_failed", str(error))  # it would be the same the next time
            except PeerError as error:
                end = StreamEnd(True, "connection_failed", str(error))
            else:
                return None
            logger.info("try %d of a stream: %s", attempt, end.text)
            if attempt < limits.connect_tries:
                await asyncio.sleep(RETRY_SECONDS * attempt)
        return StreamEnd(True, end.word, f"{end.text} (tried {limits.connect_tries} times)")

    async def _connect(self) -> None:
        nonce = self._node.ids.nonce()
        every = self._node.profile.signs_every_form
        own, main = (
            upgrade_signature_header(self.verb.url, nonce, token, every_form=every)
            for token in (self._account.auth_token, self._node.main_token(self._account))
        )
        headers = (
            ("User-Agent", "Plivo"),
            ("X-Plivo-Signature-V3", own),
            ("X-Plivo-Signature-Ma-V3", main),
            ("X-Plivo-Signature-V3-Nonce", nonce),
        )
        await self._node.connect(
            self.verb.url,
            self,
            headers=headers,
            timeout=self._node.profile.limits.connect_seconds,
            check_address=self._node.check_address,
            send_buffer=SEND_BUFFER,
        )

    def _check_backlog(self, duplex: Duplex) -> None:
        unsent = duplex.unsent_bytes
        if not unsent:
            self._warned = 0
            return
        limits = self._node.profile.limits
        seconds = unsent / max(self._bytes_a_second, 1.0)
        percent = 100 * seconds / limits.slow_reader_seconds
        for threshold in limits.degraded_percent:
            if self._warned < threshold <= percent:
                self._warned = threshold
                self._owner.stream_degraded(self, threshold)
        if seconds >= limits.slow_reader_seconds:
            duplex.abort()
            text = f"the app did not read for {limits.slow_reader_seconds:g} s of audio"
            self._end(StreamEnd(failed=True, word="buffer_overflow", text=text))

    def _end(self, end: StreamEnd) -> None:
        if self._ended:
            return
        self._ended = True
        if self.stream.state is not State.ENDED:
            self.stream.end()
        self._owner.stream_ended(self, end)
