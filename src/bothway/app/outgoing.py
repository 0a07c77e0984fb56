"""What the app says on one stream: sent as fast as the carrier may hold it, and known to be heard or not.

The carrier plays what it is sent at the pace of time. A checkpoint of ours behind every second of audio tells what has
been heard; at most 20 s may wait unheard at the carrier, and whoever plays beyond that waits (design.md, section 3). A
carrier that does not answer a checkpoint holds nobody up: after the audio's own duration and a grace it counts as
heard.

A frame that is played as it is, with nothing else under way, takes a path without locks, tasks or copies (`play_now`);
everything else takes its turn in `play`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from bothway.core.ledger import Utterance
from bothway.core.stream import AppStream
from bothway.errors import UsageError
from bothway.runtime.duplex import Duplex
from bothway.runtime.logs import get_logger
from bothway.wire.dialects.plivo import PlayWriter

__all__ = ["ACK_GRACE", "MARK_MS", "MAX_MESSAGE_AUDIO", "MAX_UNPLAYED_MS", "MAX_UNSENT", "OUR_PREFIX", "Outgoing"]

MAX_MESSAGE_AUDIO = 12_288
"""Bytes of audio in one message: 16 KB of base64, the size that carriers recommend (plivo-protocol.md, section 9)."""

MARK_MS = 1_000.0
"""Milliseconds of audio, or of time after an unmarked frame, until a checkpoint of ours follows."""

MAX_UNPLAYED_MS = 20_000.0
"""Milliseconds of audio that may wait unheard at the carrier: half of what the strictest document lets it hold."""

ACK_GRACE = 10.0
"""Seconds that a carrier may take to answer a checkpoint or a clear, beyond the audio's own duration."""

MAX_UNSENT = 4 * 1024 * 1024
"""Bytes that may wait in this process for a carrier that does not read."""

OUR_PREFIX = "bothway:"
"""Names of checkpoints that begin so are ours."""

_MAX_NAME = 512
_AFTER_THE_END = 0.02

log = get_logger(__name__)


@dataclass(slots=True)
class _Mark:
    """A checkpoint (named) or a clear (nameless) that the carrier has yet to answer.

    Attributes:
        name: The checkpoint's.
        deadline: When it counts as answered.
        heard: Told True when it was heard, False when it never will be.
    """

    name: str | None
    deadline: float
    heard: asyncio.Future[bool] | None = None


class Outgoing:
    """The sending half of one stream.

    Args:
        stream: An open stream; its ledger is kept here.
        duplex: Where messages go.
        on_stuck: Called when the carrier has left `MAX_UNSENT` bytes unread.
    """

    def __init__(self, stream: AppStream, duplex: Duplex, on_stuck: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._ledger = stream.ledger
        self._duplex = duplex
        self._on_stuck = on_stuck
        self._now = self._loop.time
        self._send_text = duplex.send_text
        self._write = PlayWriter(stream.format).write
        self._over = False
        self._ms_a_byte = 1000 / stream.format.second_bytes
        frame = stream.format.frame_bytes
        self._piece = min(MAX_MESSAGE_AUDIO, stream.format.second_bytes) // frame * frame
        self._partial = stream.format.sample_bytes - 1  # bits that are set in the length of what ends inside a sample
        self._turn = asyncio.Lock()
        self._plays = 0
        self._clears = 0
        self._wordless: Utterance | None = None
        self._marks: deque[_Mark] = deque()
        self._marked = 0
        self._unmarked_ms = 0.0
        self._cleared_to_ms = 0.0
        self._spare_ms = MAX_UNPLAYED_MS
        self._grace = ACK_GRACE
        self._told_late = False
        self._room: asyncio.Future[None] | None = None
        self._scopes: dict[asyncio.Timeout, None] = {}
        self._tail_timer: asyncio.TimerHandle | None = None
        self._late_timer: asyncio.TimerHandle | None = None

    def play_now(self, audio: bytes) -> Utterance | None:
        """Send one message's worth of audio in the stream's format at once, or give None if it has to take its turn.

        Audio sent so, piece after piece, is one wordless utterance.
        """
        size = len(audio)
        ms = size * self._ms_a_byte
        if self._plays or self._over or size > self._piece or size & self._partial:
            return None
        if ms > self._spare_ms and not self._fits(ms):
            return None
        utterance = self._wordless
        if utterance is None:
            utterance = self._wordless = self._ledger.begin("")
        self._send_audio(audio, ms)
        return utterance

    async def play(self, chunks: AsyncIterator[bytes], text: str) -> Utterance:
        """Send audio in the stream's format, after what was to be played before it; see `Call.play`.

        Args:
            chunks: Of any length but in whole samples; closed at the end where it can be.
            text: The words.
        """
        clears = self._clears
        utterance = Utterance(text, ended=True)
        self._plays += 1
        try:
            async with self._until_cleared(), self._turn:
                self._wordless = None
                utterance = self._ledger.begin(text)
                complete = False
                try:
                    complete = await self._send_chunks(chunks, clears)
                finally:
                    self._ledger.end(complete=complete)
                self._mark_tail()
        finally:
            self._plays -= 1
            closing = getattr(chunks, "aclose", None)
            if closing is not None:
                await closing()
        return utterance

    async def played(self) -> None:
        """Wait until all that was to be played so far has been heard or cleared, or the stream is over."""
        async with self._until_cleared():
            async with self._turn:
                if self._ledger.unplayed_ms <= 0:
                    return
                heard: asyncio.Future[bool] = self._loop.create_future()
                self._mark(heard)
            await heard

    def checkpoint(self, name: str) -> asyncio.Future[bool]:
        """Mark the end of what was sent so far; see `Call.checkpoint`.

        Raises:
            UsageError: The name is empty, too long, or one of ours.
        """
        if not name or len(name) > _MAX_NAME or name.startswith(OUR_PREFIX):
            raise UsageError(
                f"a checkpoint's name has 1 to {_MAX_NAME} characters and does not begin with {OUR_PREFIX!r}: "
                f"{name[:40]!r} cannot be used"
            )
        heard: asyncio.Future[bool] = self._loop.create_future()
        if self._over:
            heard.set_result(False)
        else:
            self._send_mark(name, heard)
        return heard

    def clear(self) -> bool:
        """Drop what is not yet heard, and end the plays under way; see `Call.clear`."""
        if self._over:
            return False
        self._stop_plays()
        now = self._now()
        ledger = self._ledger
        if ledger.unplayed_ms <= 0 or ledger.sent_ms == self._cleared_to_ms:
            return False
        self._cleared_to_ms = ledger.sent_ms
        self._wordless = None
        self._unmarked_ms = 0.0
        self._send_control(self._stream.clear(now))
        self._expect(_Mark(None, now + self._grace))
        return True

    def send_dtmf(self, digits: str) -> None:
        """Press keys; see `Call.send_dtmf`."""
        message = self._stream.send_dtmf(digits) if not self._over else None
        if message is not None:
            self._send_control(message)

    def receive_played(self, name: str) -> None:
        """The carrier says that the checkpoint `name` was heard, and the ledger agrees."""
        count = next((at for at, mark in enumerate(self._marks, 1) if mark.name == name), 0)
        passed = [self._marks.popleft() for _ in range(count)]
        # A clear among them was obeyed without an answer: what was marked before it is gone, not heard.
        cleared = max((at for at, mark in enumerate(passed) if mark.name is None), default=-1)
        for at, mark in enumerate(passed):
            _tell(mark, heard=at > cleared)
        self._grace = ACK_GRACE
        self._wake()

    def receive_cleared(self) -> None:
        """The carrier answered the oldest clear."""
        while self._marks:
            mark = self._marks.popleft()
            _tell(mark, heard=False)
            if mark.name is None:
                break
        self._wake()

    def end(self) -> None:
        """The stream is over: nothing is sent, heard or waited for any more."""
        if self._over:
            return
        self._over = True
        self._stop_plays()
        self._ledger.end(complete=False)
        self._ledger.ended(self._now())
        for mark in self._marks:
            _tell(mark, heard=False)
        self._marks.clear()
        for timer in (self._tail_timer, self._late_timer):
            if timer is not None:
                timer.cancel()

    async def _send_chunks(self, chunks: AsyncIterator[bytes], clears: int) -> bool:
        """Send all that comes, in pieces of one message, as the carrier has room; False if it is cleared before."""
        async for chunk in chunks:
            for at in range(0, len(chunk), self._piece):
                piece = chunk[at : at + self._piece]
                ms = len(piece) * self._ms_a_byte
                while not self._over and not self._fits(ms):
                    self._mark_tail()
                    self._room = self._loop.create_future()
                    await self._room
                if self._over or self._clears != clears:
                    return False
                self._send_audio(piece, ms)
        return True

    def _fits(self, ms: float) -> bool:
        """Whether the carrier may be sent `ms` more; what it has confirmed is only looked up when it matters."""
        if ms > self._spare_ms:
            self._spare_ms = MAX_UNPLAYED_MS - self._ledger.unplayed_ms
        return ms <= self._spare_ms

    def _send_audio(self, audio: bytes, ms: float) -> None:
        unmarked = self._unmarked_ms + ms
        if unmarked > MARK_MS:
            self._mark_tail()
            if self._over:
                return
            unmarked = ms
        self._unmarked_ms = unmarked
        self._spare_ms -= ms
        if self._tail_timer is None:
            self._tail_timer = self._loop.call_later(MARK_MS / 1000, self._tail_due)
        # What `AppStream.play` does, without looking up again for each frame what cannot have changed since the start:
        # the format is the stream's own, and the stream is open, because `end` has not been called.
        self._ledger.sent(ms, self._now())
        self._send_text(self._write(audio))

    def _tail_due(self) -> None:
        self._tail_timer = None
        self._mark_tail()

    def _mark_tail(self) -> None:
        if self._unmarked_ms and not self._over:
            self._mark(None)

    def _mark(self, heard: asyncio.Future[bool] | None) -> None:
        self._marked += 1
        self._send_mark(f"{OUR_PREFIX}{self._marked}", heard)

    def _send_mark(self, name: str, heard: asyncio.Future[bool] | None) -> None:
        now = self._now()
        if self._tail_timer is not None:
            self._tail_timer.cancel()
            self._tail_timer = None
        ledger = self._ledger
        left_ms = ledger.sent_ms - ledger.cleared_ms - ledger.heard_ms(now)
        self._unmarked_ms = 0.0
        self._send_control(self._stream.checkpoint(name))
        self._expect(_Mark(name, now + max(0.0, left_ms) / 1000 + self._grace, heard))

    def _send_control(self, message: bytes) -> None:
        self._duplex.send_text(message)
        # Audio is not looked at: there are never more than twenty messages of it without one of these.
        if self._duplex.unsent_bytes > MAX_UNSENT:
            self._on_stuck()

    def _expect(self, mark: _Mark) -> None:
        if self._over:  # the message itself was one too many
            _tell(mark, heard=False)
            return
        self._marks.append(mark)
        if self._late_timer is None:
            self._late_timer = self._loop.call_at(mark.deadline, self._late)

    def _late(self) -> None:
        """What the carrier should have answered long ago counts as answered; and then it is not waited for so long."""
        self._late_timer = None
        now = self._now()
        while self._marks and self._marks[0].deadline <= now:
            mark = self._marks.popleft()
            if mark.name is None:
                self._ledger.cleared(now)
            else:
                self._ledger.played(mark.name, now)
            _tell(mark, heard=mark.name is not None)
            if not self._told_late:
                self._told_late = True
                log.warning(
                    "the carrier did not answer in time: what it should have said is estimated from now on",
                    unanswered="a clear" if mark.name is None else "a checkpoint",
                    grace_seconds=ACK_GRACE,
                )
            self._grace = 0.0
        self._wake()
        if self._marks:
            self._late_timer = self._loop.call_at(self._marks[0].deadline, self._late)

    @contextlib.asynccontextmanager
    async def _until_cleared(self) -> AsyncIterator[None]:
        """Leave the block early, and quietly, when a clear comes or the stream ends."""
        if self._over:
            # A handler that plays in a loop to a caller who has left must not hold up every other call.
            await asyncio.sleep(_AFTER_THE_END)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes[scope] = None
                try:
                    yield
                finally:
                    self._scopes.pop(scope, None)
        except TimeoutError:
            if not scope.expired():
                raise

    def _stop_plays(self) -> None:
        self._clears += 1
        scopes, self._scopes = self._scopes, {}
        for scope in scopes:
            scope.reschedule(self._now())

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _tell(mark: _Mark, *, heard: bool) -> None:
    if mark.heard is not None and not mark.heard.done():
        mark.heard.set_result(heard)
