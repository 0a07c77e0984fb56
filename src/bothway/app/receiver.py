"""The app's end of one stream's socket: from the upgrade that was granted to the end of the call's handler.

The way of a frame: `received_text` has it parsed, and puts it into the inbox that the handler's loop reads. There is no
task, no queue of asyncio's and no user code in between, so that a slow handler never holds up the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from bothway.app.call import Call, CallControl, Ended, Parties
from bothway.app.inbox import Inbox
from bothway.app.live import LiveCalls
from bothway.app.outgoing import ACK_GRACE, MAX_UNPLAYED_MS, MAX_UNSENT, Outgoing
from bothway.audio.format import FRAME_MS
from bothway.core.stream import AppStream
from bothway.runtime.duplex import CloseCode, Duplex
from bothway.runtime.logs import bound, forget, get_logger, redact
from bothway.wire.stream import ClearedAudio, Dtmf, FromApp, FromCarrier, Media, Mistake, PlayedStream, Start, Stop

__all__ = [
    "AFTER_THE_CALL",
    "MAX_WAITING_FRAMES",
    "START_DEADLINE",
    "CallHandler",
    "CallReceiver",
    "ClosingReceiver",
    "Grant",
]

START_DEADLINE = 10.0
"""Seconds that a carrier has for `start`, which it sends at once (plivo-protocol.md, 2.3)."""

MAX_WAITING_FRAMES = 500
"""Frames that wait for the handler: 10 s. A handler that is later than that has lost the conversation anyway."""

AFTER_THE_CALL = 60.0
"""Seconds that a handler has after the end of its call, to write down what came of it."""

_LAST_WORDS = MAX_UNPLAYED_MS / 1000 + ACK_GRACE
_MAX_WAITING_DIGITS = 256

CallHandler: TypeAlias = Callable[[Call], Awaitable[object]]
"""The user's code for a call: an `async def`, or an object that is called like one."""

log = get_logger(__name__)


@dataclass(frozen=True)
class Grant:
    """What an upgrade was granted for.

    Attributes:
        handler: What answers the call.
        call_id: The one call that it is for; None where any may come (a bare stream).
        parties: Whose call it is.
        bidirectional: Whether the app may play.
        app_url: Where the app is for the carrier; empty where nobody knows.
        secret: What must not be logged while the socket is open: the token in its URL.
    """

    handler: CallHandler
    call_id: str | None
    parties: Parties
    bidirectional: bool = True
    app_url: str = ""
    secret: str = ""


class ClosingReceiver:
    """Opens a socket that is not wanted, and closes it; why is for our log, not for the peer to know.

    Args:
        code: Of the Close frame.
        reason: Of the Close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        self._code = code
        self._reason = reason

    def opened(self, duplex: Duplex) -> None:
        """Close it."""
        duplex.close(self._code, self._reason)

    def received_text(self, message: bytes) -> None:
        """Nothing comes after a close."""

    def received_binary(self, message: bytes) -> None:
        """Nothing comes after a close."""

    def closed(self, code: int, reason: str) -> None:
        """Nothing is left to do."""


class CallReceiver:
    """The `Receiver` of one stream.

    Args:
        grant: What it is for.
        calls: Where it is entered while it lives.
        control: The carrier's REST API.
    """

    def __init__(self, grant: Grant, calls: LiveCalls, control: CallControl) -> None:
        self._loop = asyncio.get_running_loop()
        self._grant = grant
        self._calls = calls
        self._control = control
        self._now = self._loop.time
        self._stream = AppStream()
        self._duplex: Duplex
        self._outgoing: Outgoing | None = None
        self._ended = Ended()
        self._over = False
        self._call_id: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._inboxes: dict[str, Inbox[bytes]] = {}
        self._digits: Inbox[str] = Inbox(_MAX_WAITING_DIGITS, self._digits_dropped)
        self._main: Inbox[bytes]
        self._frame_bytes = 0
        self._tails: dict[str, bytes] = {}
        self._binary_seen = False
        self._frames = 0
        self._counted = (0, 0, 0)

    def opened(self, duplex: Duplex) -> None:
        """The socket is open: the carrier has to say which stream it is."""
        self._duplex = duplex
        if self._grant.secret:
            redact(self._grant.secret)
        self._calls.opened(self)
        self._timer = self._loop.call_later(START_DEADLINE, self._no_start)

    def received_text(self, message: bytes) -> None:
        """One message of the carrier's."""
        media = self._stream.receive_media(message)
        if media is not None:
            payload = media.payload
            if len(payload) == self._frame_bytes and not self._tails:
                self._frames += 1
                self._inboxes.get(media.track, self._main).put(payload)
            else:
                self._recut(media)
            return
        self._stream.receive(message, self._now())
        for event in self._stream.events():
            if isinstance(event, Media):
                self._recut(event)
            else:
                self._received_rare(event)

    def received_binary(self, message: bytes) -> None:
        """No carrier sends these (plivo-protocol.md, 2.1); they are told once and left alone."""
        if not self._binary_seen:
            self._binary_seen = True
            log.warning(
                "the carrier sent a binary message, and the protocol has none: it is ignored", call=self._call_id
            )

    def closed(self, code: int, reason: str) -> None:
        """The socket is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._end(f"the socket closed with {code}{f' ({reason})' if reason else ''}")
        self._calls.closed(self._call_id, self)
        if self._grant.secret:
            forget(self._grant.secret)
        if self._call_id is not None:
            self.count()
            self._calls.metrics.streams("dropped" if code == CloseCode.DIED else "ended").inc()
            lost = self._stream.lost
            log.info("stream ended", call=self._call_id, code=code, reason=self._ended.reason, lost_frames=lost)
        if self._task is not None and not self._task.done():
            self._timer = self._loop.call_later(AFTER_THE_CALL, self._overdue)

    def leave(self) -> None:
        """Close: the app is stopping."""
        self._close(CloseCode.GOING_AWAY, "the app is stopping")

    def count(self) -> None:
        """Add to the metrics what has passed since the last time."""
        metrics = self._calls.metrics
        dropped = sum(inbox.dropped for inbox in self._inboxes.values())
        now = (self._frames, int(self._stream.ledger.sent_ms / FRAME_MS), dropped)
        counters = (metrics.frames_from_caller, metrics.frames_to_caller, metrics.stream_audio_dropped_frames)
        for counter, total, before in zip(counters, now, self._counted, strict=True):
            counter.inc(total - before)
        self._counted = now

    def _received_rare(self, event: FromCarrier | FromApp | Mistake) -> None:
        outgoing = self._outgoing
        match event:
            case Start():
                self._started(event)
            case Mistake(code=code, text=text):
                self._calls.metrics.bad_message(code)
                log.warning(
                    "the carrier sent what its protocol does not have", call=self._call_id, kind=code, text=text
                )
            case Dtmf(digit=digit):
                self._digits.put(digit)
            case PlayedStream(name=name) if outgoing is not None:
                outgoing.receive_played(name)
            case ClearedAudio() if outgoing is not None:
                outgoing.receive_cleared()
            case Stop(reason=reason):
                self._end(f"the carrier stopped the stream{f': {reason}' if reason else ''}")

    def _started(self, start: Start) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._grant.call_id is not None and start.call_id != self._grant.call_id:
            log.warning(
                "a socket with another call's token: the stream is refused",
                call=start.call_id,
                granted_for=self._grant.call_id,
            )
            self._refuse()
            return
        if not self._calls.claim(start.call_id, self):
            log.warning("a second socket for a call whose stream is live: the first one goes on", call=start.call_id)
            self._refuse()
            return
        self._call_id = start.call_id
        self._outgoing = outgoing = Outgoing(self._stream, self._duplex, self._stuck)
        self._inboxes = {
            track: Inbox(MAX_WAITING_FRAMES, self._frames_dropped) for track in start.tracks or ("inbound",)
        }
        self._main = next(iter(self._inboxes.values()))
        self._frame_bytes = start.format.frame_bytes
        call = Call(
            start,
            outgoing,
            self._inboxes,
            self._digits,
            ledger=self._stream.ledger,
            parties=self._grant.parties,
            control=self._control,
            stop_stream=self._stop_stream,
            ended=self._ended,
            started_at=datetime.now(UTC),
            bidirectional=self._grant.bidirectional,
            app_url=self._grant.app_url,
        )
        log.info("stream started", call=call.id, stream=call.stream_id, format=str(start.format))
        self._task = self._calls.spawn(self._run(call), f"call {call.id}")

    async def _run(self, call: Call) -> None:
        """The call's handler, and what follows it."""
        with bound(call=call.id, stream=call.stream_id):
            try:
                await self._grant.handler(call)
            except asyncio.CancelledError:
                self._close(CloseCode.GOING_AWAY, "the app is stopping")
                raise
            except Exception:
                log.exception("the handler of a call failed: its stream is closed, the other calls go on")
                self._close(CloseCode.INTERNAL, "internal error")
                return
            try:
                async with asyncio.timeout(_LAST_WORDS):
                    await call.played()
            except TimeoutError:
                log.warning("the handler has returned and something still plays: the stream is closed over it")
            self._close(CloseCode.NORMAL, "")

    def _recut(self, media: Media) -> None:
        """Put messages of another length than 20 ms into frames; the rest waits for the next message."""
        self._frames += 1
        inbox = self._inboxes.get(media.track, self._main)
        audio = self._tails.pop(media.track, b"") + media.payload
        size = self._frame_bytes
        whole = len(audio) - len(audio) % size
        for at in range(0, whole, size):
            inbox.put(audio[at : at + size])
        if whole < len(audio):
            self._tails[media.track] = audio[whole:]

    def _stop_stream(self) -> None:
        self._close(CloseCode.NORMAL, "", "the app stopped the stream")

    def _refuse(self) -> None:
        self._calls.metrics.refused("stream").inc()
        self._close(CloseCode.POLICY, "policy")

    def _close(self, code: int, reason: str, why: str = "") -> None:
        """Close the socket. For the handler the call is over now, and not only when the carrier has agreed."""
        self._end(why or reason or "the handler returned")
        self._duplex.close(code, reason)

    def _end(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        if self._outgoing is not None:
            self._outgoing.end()
        self._stream.end()
        for inbox in self._inboxes.values():
            inbox.close()
        self._digits.close()
        self._ended.set(reason)

    def _no_start(self) -> None:
        log.warning(
            "a socket was opened and no start came: the carrier has to send it first",
            call=self._grant.call_id,
            seconds=START_DEADLINE,
        )
        self._close(CloseCode.POLICY, "no start")

    def _stuck(self) -> None:
        log.error(
            "the carrier does not read what is played to it: the stream is dropped",
            call=self._call_id,
            unsent_bytes=self._duplex.unsent_bytes,
            limit=MAX_UNSENT,
        )
        self._end("the carrier did not read what was sent to it")
        self._duplex.abort()

    def _overdue(self) -> None:
        assert self._task is not None
        if not self._task.done():
            log.warning(
                "a handler still ran long after its call: it is cancelled", call=self._call_id, seconds=AFTER_THE_CALL
            )
            self._task.cancel()

    def _frames_dropped(self) -> None:
        log.warning(
            "the handler takes the caller's audio too slowly: the oldest frames are dropped",
            call=self._call_id,
            waiting_seconds=MAX_WAITING_FRAMES * FRAME_MS / 1000,
        )

    def _digits_dropped(self) -> None:
        log.warning("the handler takes the caller's keys too slowly: the oldest are dropped", call=self._call_id)
