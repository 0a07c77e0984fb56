"""The playout queue: it alone decides when audio goes out.

One queue of audio and checkpoints, released one 20 ms frame at a time on a grid that never drifts:

- audio and checkpoints leave in the order in which they came; a frame may span chunks and checkpoints;
- a checkpoint is passed at the end of the frame that holds the last sample before it, or at once if nothing sounds;
- a clear drops all that is not yet released and every checkpoint not yet passed;
- a chunk that would take the queue over its cap is refused whole;
- a chunk need not be a whole number of frames: its tail is joined by the next chunk, and padded with silence when there
  is none by the time the frame is due;
- frames that are due and late leave two at a time until the grid is caught up; only a clock that stood still for longer
  than `MAX_LATE_SECONDS` leaves out what it missed, in whole frames, so that the grid stays the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bothway.audio.format import FRAME_MS, AudioFormat

__all__ = ["FRAME_SECONDS", "MAX_CHECKPOINTS", "MAX_LATE_SECONDS", "FrameClock", "Passed", "Playout"]

FRAME_SECONDS = FRAME_MS / 1000
MAX_CHECKPOINTS = 10_000
"""Checkpoints that may wait in one queue: far above one for every frame of a full minute."""

MAX_LATE_SECONDS = 10.0
"""Who is later than this was suspended: made up for two at a time, an hour would go at twice its pace for an hour."""

_EARLY = 1e-6
"""A tick that comes this much before its deadline is on time: adding floats is not exact."""

_MAX_LATE_FRAMES = round(MAX_LATE_SECONDS / FRAME_SECONDS)


class FrameClock:
    """Says how many frames are due, on the grid `start + n * 20 ms`.

    Args:
        start: When the first frame is due, in seconds of the caller's clock.

    Attributes:
        taken: Frames handed out so far: the media clock, in units of 20 ms.
        slips: Frames that left a whole frame or more after they were due.
        skipped: Slots of the grid that were left out, because the clock was more than `MAX_LATE_SECONDS` late.
    """

    __slots__ = ("skipped", "slips", "start", "taken")

    def __init__(self, start: float) -> None:
        self.start = start
        self.taken = 0
        self.slips = 0
        self.skipped = 0

    @property
    def next_due(self) -> float:
        """When the next frame is due."""
        return self.due(self.taken)

    def due(self, frame: int) -> float:
        """When the frame of this number is due; the first is 0."""
        return self.start + frame * FRAME_SECONDS

    def take(self, now: float, most: int = 2) -> int:
        """How many frames leave at `now`: those that are due, but never more than `most`."""
        due = int((now - self.start + _EARLY) / FRAME_SECONDS) + 1 - self.taken
        if due <= 1:
            if due < 1 or now < self.start - _EARLY:
                return 0
            self.taken += 1
            return 1
        if due > _MAX_LATE_FRAMES:
            missed = due - 1
            self.skipped += missed
            self.start += missed * FRAME_SECONDS
            self.taken += 1
            return 1
        leaving = min(due, most)
        self.slips += min(leaving, due - 1)
        self.taken += leaving
        return leaving


@dataclass(frozen=True, slots=True)
class Passed:
    """A checkpoint was passed: all audio before it has been played.

    Attributes:
        name: The checkpoint's name.
        at: When, in the caller's clock.
    """

    name: str
    at: float


class Playout:
    """The queue of one source of audio towards one leg.

    All audio is in one format. The caller asks for a frame exactly once for each tick of its `FrameClock`, with the
    time at which that frame is due.

    Args:
        audio_format: The format of what is queued and released.
        cap_seconds: How much audio may wait.
        tail: Called when the queue runs dry; gives samples that a resampler before the queue still holds. They are
            heard before the checkpoints behind the last audio, which may so pass one frame later, and never earlier.

    Attributes:
        queued_bytes: Audio not yet released.
        played_bytes: Audio released so far, without padding.
        cleared_bytes: Audio dropped by clears.
        refused_bytes: Audio refused at the cap.
    """

    __slots__ = (
        "_cap", "_checkpoints", "_format", "_frame_bytes", "_offset", "_passed", "_queue", "_silence", "_sounding",
        "_sounding_checkpoints", "_tail", "cleared_bytes", "played_bytes", "queued_bytes", "refused_bytes",
    )  # fmt: skip

    def __init__(
        self, audio_format: AudioFormat, *, cap_seconds: float, tail: Callable[[], bytes] | None = None
    ) -> None:
        self._format = audio_format
        self._frame_bytes = audio_format.frame_bytes
        self._silence = audio_format.silence_byte
        self._cap = audio_format.bytes_for(cap_seconds * 1000)
        self._tail = tail
        self._queue: deque[bytes | str] = deque()  # bytes are audio, text is a checkpoint's name
        self._offset = 0  # samples of the head chunk already released, in bytes
        self._checkpoints = 0  # in the queue
        self._sounding = False  # a frame has been released and its 20 ms are not over
        self._sounding_checkpoints: list[str] = []  # passed when that frame ends
        self._passed: list[Passed] = []
        self.queued_bytes = 0
        self.played_bytes = 0
        self.cleared_bytes = 0
        self.refused_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing sounds."""
        return not self._queue and not self._sounding

    @property
    def queued_ms(self) -> float:
        """Audio not yet released, in milliseconds."""
        return self._format.duration_ms(self.queued_bytes)

    def play(self, chunk: bytes) -> bool:
        """Queue `chunk` behind all that waits; False if it does not fit under the cap, and none of it is queued."""
        if self.queued_bytes + len(chunk) > self._cap:
            self.refused_bytes += len(chunk)
            return False
        if chunk:
            self._queue.append(chunk)
            self.queued_bytes += len(chunk)
        return True

    def checkpoint(self, name: str, now: float) -> bool:
        """Mark the end of what is queued; False if too many marks wait already."""
        if self._queue:
            if self._checkpoints >= MAX_CHECKPOINTS:
                return False
            self._queue.append(name)
            self._checkpoints += 1
        elif self._sounding:
            if len(self._sounding_checkpoints) >= MAX_CHECKPOINTS:
                return False
            self._sounding_checkpoints.append(name)
        else:
            self._passed.append(Passed(name, now))
        return True

    def clear(self) -> int:
        """Drop all that is not released, and every checkpoint not yet passed. Gives the bytes of audio dropped."""
        dropped = self.queued_bytes
        self._queue.clear()
        self._sounding_checkpoints.clear()
        self._offset = self._checkpoints = self.queued_bytes = 0
        self.cleared_bytes += dropped
        return dropped

    def release(self, now: float) -> bytes | None:
        """The frame that is due at `now`, or None for silence. The frame before it ends here."""
        queue = self._queue
        if not queue and self._sounding:
            self._take_tail()
        if self._sounding_checkpoints:
            self._passed.extend(Passed(name, now) for name in self._sounding_checkpoints)
            self._sounding_checkpoints.clear()
        if not queue:
            self._sounding = False
            return None
        head = queue[0]
        if self._offset == 0 and type(head) is bytes and len(head) == self._frame_bytes:
            # The common case, a chunk that is a frame: released as it came, without a copy.
            queue.popleft()
            frame = head
            self.queued_bytes -= len(head)
            self.played_bytes += len(head)
            if queue and type(queue[0]) is str:
                self._pass_checkpoints()
        else:
            frame = self._cut()
        self._sounding = True
        return frame

    def take_passed(self) -> list[Passed]:
        """The checkpoints passed since the last call, in order."""
        if not self._passed:
            return []
        passed, self._passed = self._passed, []
        return passed

    def _cut(self) -> bytes:
        if self.queued_bytes < self._frame_bytes:
            self._take_tail()
        frame = self._gather(self._frame_bytes)
        short = self._frame_bytes - len(frame)
        return frame + self._silence * short if short else frame

    def end(self) -> None:
        """Nothing is played any more: whoever gives the tail is let go."""
        self._tail = None

    def _take_tail(self) -> None:
        """Queue what the resampler holds, ahead of the checkpoints behind the last audio; the cap let that audio in."""
        tail = self._tail() if self._tail is not None else b""
        if not tail:
            return
        queue = self._queue
        behind: list[bytes | str] = []
        while queue and type(queue[-1]) is str:
            behind.append(queue.pop())
        if not queue:
            behind.extend(reversed(self._sounding_checkpoints))
            self._checkpoints += len(self._sounding_checkpoints)
            self._sounding_checkpoints.clear()
        queue.append(tail)
        queue.extend(reversed(behind))
        self.queued_bytes += len(tail)

    def _gather(self, wanted: int) -> bytes:
        """Up to `wanted` bytes from the queue, and the checkpoints among and directly behind them."""
        parts: list[bytes] = []
        while wanted and self._queue:
            head = self._queue[0]
            assert isinstance(head, bytes)
            part = head[self._offset : self._offset + wanted]
            self._offset += len(part)
            if self._offset == len(head):
                self._queue.popleft()
                self._offset = 0
            wanted -= len(part)
            parts.append(part)
            self._pass_checkpoints()
        frame = b"".join(parts)
        self.queued_bytes -= len(frame)
        self.played_bytes += len(frame)
        return frame

    def _pass_checkpoints(self) -> None:
        """Checkpoints at the head belong to the frame being cut: they are passed when it ends."""
        queue = self._queue
        while queue and type(queue[0]) is str:
            name = queue.popleft()
            assert isinstance(name, str)
            self._sounding_checkpoints.append(name)
            self._checkpoints -= 1
