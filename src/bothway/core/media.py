"""The audio of one call with one leg: what the caller says, what the caller hears, and the streams and taps between.

Everything runs on the call's `FrameClock`. For each frame that is due, one frame of the caller is taken from the leg
and one frame is given to it; a stream gets both tracks as it asked, a tap gets both as they crossed the leg. All audio
inside is in the leg's own format: a stream that is coded otherwise is transcoded on its way in and out, with the
resampler's state kept from frame to frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.mix import mix
from bothway.audio.transcode import Transcoder
from bothway.core.playout import FrameClock, Playout
from bothway.core.stream import CarrierStream, State
from bothway.errors import UsageError
from bothway.wire.stream import Checkpoint, ClearAudio, Mistake, PlayAudio, SendDtmf

__all__ = [
    "LEG_QUEUE_FRAMES",
    "AudioBegun",
    "AudioCleared",
    "AudioRefused",
    "CheckpointPlayed",
    "CheckpointQueued",
    "Media",
    "MediaEvent",
    "PromptPlayed",
    "StreamMistake",
    "Tap",
    "TimeSkipped",
]

LEG_QUEUE_FRAMES = 10
"""Frames of the caller that may wait for their tick: 200 ms, more than a leg on a working network runs ahead."""

_CUSHION_FRAMES = 3
"""Frames of the caller that may go on waiting: 60 ms that the next short stall needs. Speech is not cut for less."""

_DEEP_TICKS = 100
"""Ticks in a row, 2 s of them, at which more than the cushion waited: no jitter needs it any more."""

_PROMPT_SECONDS = 3600.0
"""Audio that a document may queue: its `Speak` and `Play` come one at a time and are bounded at their source."""


@dataclass(frozen=True, slots=True)
class AudioBegun:
    """The app queued audio, `ms` of it, and nothing of it was queued or sounding before. More may follow unremarked."""

    ms: float


@dataclass(frozen=True, slots=True)
class AudioRefused:
    """A chunk of `ms` did not fit under the cap, and none of it will be played."""

    ms: float
    queued_ms: float


@dataclass(frozen=True, slots=True)
class AudioCleared:
    """A clear dropped `ms` of audio."""

    ms: float


@dataclass(frozen=True, slots=True)
class CheckpointQueued:
    """The app marked the end of what is queued; `accepted` is False when too many marks wait."""

    name: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class CheckpointPlayed:
    """The caller heard all that was queued before the checkpoint, `at` the call's clock."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """A prompt of the document has been heard to its end."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class StreamMistake:
    """The app sent what the protocol does not have."""

    mistake: Mistake


@dataclass(frozen=True, slots=True)
class TimeSkipped:
    """The call stood still for `ms`, with the machine that it runs on, and goes on without them."""

    ms: int


MediaEvent: TypeAlias = (
    AudioBegun | AudioRefused | AudioCleared | CheckpointQueued | CheckpointPlayed
    | PromptPlayed | StreamMistake | SendDtmf | TimeSkipped
)  # fmt: skip


class Tap(Protocol):
    """Gets every frame that crosses the leg: a recording."""

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        """20 ms of each side, in the leg's format."""


class _StreamPath:
    """A stream on the call: its playout, and the transcoders between its coding and the leg's."""

    def __init__(self, stream: CarrierStream, leg_format: AudioFormat, cap_seconds: float) -> None:
        self.stream = stream
        self.leg_format = leg_format
        self.playout = Playout(leg_format, cap_seconds=cap_seconds, tail=self._tail)
        self.inbound = self._towards_app("inbound")
        self.outbound = self._towards_app("outbound")
        self._play_format = stream.start.format
        self._play_transcoder = Transcoder(self._play_format, leg_format)
        self._holds_tail = False
        self._cut = False  # a clear was obeyed, and nothing has been queued since

    @property
    def is_silent(self) -> bool:
        """Whether nothing of the app's is queued or sounding, but for what a clear has cut off."""
        return self.playout.idle or self._cut

    def play(self, chunk: PlayAudio) -> bool:
        audio_format = chunk.format or self.stream.start.format
        if audio_format is not self._play_format and audio_format != self._play_format:
            self.playout.play(self._tail())
            self._play_format = audio_format
            self._play_transcoder = Transcoder(audio_format, self.leg_format)
        accepted = self.playout.play(self._play_transcoder.process(chunk.payload))
        if accepted:
            self._holds_tail = not self._play_transcoder.is_identity
            self._cut = self._cut and not self.playout.queued_bytes
        else:
            self._play_transcoder.reset()
        return accepted

    def clear(self) -> int:
        self._play_transcoder.reset()
        self._holds_tail = False
        self._cut = True
        return self.playout.clear()

    def _tail(self) -> bytes:
        """What the resampler still holds of audio that has come to an end."""
        if not self._holds_tail:
            return b""
        self._holds_tail = False
        return self._play_transcoder.flush()

    def _towards_app(self, track: str) -> Transcoder | None:
        if track not in self.stream.start.tracks:
            return None
        return Transcoder(self.leg_format, self.stream.start.format)


class Media:
    """The media machine of one call.

    Args:
        leg_format: How the leg's audio is coded.
        start: When the first frame is due, in seconds of the call's clock.
        playout_seconds: The cap of a stream's playout queue.

    Attributes:
        clock: The call's frame clock.
        tap: Gets every frame, if set.
        caller_gaps: Ticks at which the leg had no frame of the caller, since its first.
        caller_overruns: Frames of the caller dropped because too many waited: more than `LEG_QUEUE_FRAMES` at a time,
            or more than 60 ms for 2 s without a break. So the latency that a long stall leaves behind goes away.
        sounding_frames: Frames given to the leg that were not silence.
        app_ms: Audio that the app queued, in milliseconds.
    """

    def __init__(self, leg_format: AudioFormat, *, start: float, playout_seconds: float) -> None:
        self.leg_format = leg_format
        self.clock = FrameClock(start)
        self.tap: Tap | None = None
        self.caller_gaps = 0
        self.caller_overruns = 0
        self.sounding_frames = 0
        self.app_ms = 0.0
        self._playout_seconds = playout_seconds
        self._prompts = Playout(leg_format, cap_seconds=_PROMPT_SECONDS)
        self._path: _StreamPath | None = None
        self._from_leg: deque[bytes] = deque()
        self._leg_speaks = False
        self._deep_ticks = 0  # in a row, with more than one frame of the caller waiting
        self._to_leg: list[bytes] = []
        self._events: list[MediaEvent] = []

    @property
    def now_ms(self) -> int:
        """The media clock: milliseconds of audio that have crossed the leg."""
        return self.clock.taken * FRAME_MS

    @property
    def playout(self) -> Playout | None:
        """The playout queue of the stream, if there is one."""
        return self._path.playout if self._path else None

    def attach(self, stream: CarrierStream) -> None:
        """Join `stream` to the call: from the next frame on it gets its tracks, and may play."""
        if self._path is not None:
            raise UsageError("this call has a stream already")
        self._path = _StreamPath(stream, self.leg_format, self._playout_seconds)

    def detach(self) -> None:
        """The stream is over: what it queued and was not yet played is dropped."""
        if self._path is not None:
            dropped = self._path.clear()
            if dropped:
                self._events.append(AudioCleared(self.leg_format.duration_ms(dropped)))
            self._path = None

    def play_prompt(self, chunk: bytes) -> bool:
        """Queue audio of the document's own, in the leg's format; False if the queue is full."""
        return self._prompts.play(chunk)

    def end_prompt(self, prompt_id: str, now: float) -> None:
        """All of the prompt is queued: `PromptPlayed` follows when it was heard."""
        self._prompts.checkpoint(prompt_id, now)
        self._pass_prompts()

    def stop_prompts(self) -> None:
        """Drop what the document queued; no `PromptPlayed` follows for it."""
        self._prompts.clear()

    def receive_from_leg(self, frame: bytes) -> None:
        """One frame of the caller, in the leg's format. The oldest is dropped when too many wait."""
        if len(frame) != self.leg_format.frame_bytes:
            raise UsageError(f"a frame of {self.leg_format} has {self.leg_format.frame_bytes} bytes, not {len(frame)}")
        self._leg_speaks = True
        if len(self._from_leg) >= LEG_QUEUE_FRAMES:
            self._from_leg.popleft()
            self.caller_overruns += 1
        self._from_leg.append(frame)

    def press(self, digit: str) -> None:
        """The caller pressed a key: the stream hears of it."""
        path = self._path
        if path is not None and path.stream.state is State.OPEN:
            path.stream.send_dtmf(digit, self.clock.next_due)

    def receive_from_app(self, raw: bytes, now: float) -> None:
        """One message of the app's on the stream."""
        path = self._path
        if path is None:
            return  # the stream was closed while the message was on its way
        path.stream.receive(raw)
        for event in path.stream.events():
            if isinstance(event, PlayAudio):
                ms = (event.format or path.stream.start.format).duration_ms(len(event.payload))
                was_silent = path.is_silent
                if not path.play(event):
                    self._events.append(AudioRefused(ms, path.playout.queued_ms))
                    continue
                self.app_ms += ms
                if was_silent and not path.is_silent:
                    self._events.append(AudioBegun(ms))
            elif isinstance(event, Checkpoint):
                self._events.append(CheckpointQueued(event.name, path.playout.checkpoint(event.name, now)))
                self._pass_checkpoints(path)
            elif isinstance(event, ClearAudio):
                self._events.append(AudioCleared(self.leg_format.duration_ms(path.clear())))
                path.stream.send_cleared()
            elif isinstance(event, Mistake):
                self._events.append(StreamMistake(event))
            elif isinstance(event, SendDtmf):
                self._events.append(event)

    def tick(self, now: float) -> None:
        """Move every frame that is due at `now`."""
        clock = self.clock
        first, skipped = clock.taken, clock.skipped
        for frame in range(first, first + clock.take(now)):
            self._move_frame(clock.due(frame))
        if clock.skipped != skipped:
            self._events.append(TimeSkipped((clock.skipped - skipped) * FRAME_MS))

    def to_leg(self) -> list[bytes]:
        """Frames for the caller since the last call."""
        frames, self._to_leg = self._to_leg, []
        return frames

    def to_send(self) -> list[bytes]:
        """Messages for the app since the last call."""
        return self._path.stream.to_send() if self._path is not None else []

    def events(self) -> list[MediaEvent]:
        """What happened since the last call."""
        if not self._events:
            return []
        events, self._events = self._events, []
        return events

    def _move_frame(self, at: float) -> None:
        waiting = self._from_leg
        if waiting:
            from_caller = waiting.popleft()
            if len(waiting) <= _CUSHION_FRAMES:
                self._deep_ticks = 0
            else:
                self._deep_ticks += 1
                if self._deep_ticks >= _DEEP_TICKS:
                    self._deep_ticks = 0
                    self.caller_overruns += 1
                    from_caller = waiting.popleft()
        else:
            self._deep_ticks = 0
            from_caller = self.leg_format.silent_frame
            self.caller_gaps += self._leg_speaks
        frame: bytes | None = None
        if not self._prompts.idle:
            frame = self._prompts.release(at)
            self._pass_prompts()
        path = self._path
        if path is not None:
            played = path.playout.release(at)
            if played is not None:
                frame = played if frame is None else mix(frame, played, self.leg_format)
        if frame is None:
            to_caller = self.leg_format.silent_frame
        else:
            to_caller = frame
            self.sounding_frames += 1
        self._to_leg.append(to_caller)
        if path is not None:
            self._pass_checkpoints(path)
            stream = path.stream
            if stream.state is State.OPEN:
                if path.inbound is not None:
                    stream.send_media("inbound", path.inbound.process(from_caller), at)
                if path.outbound is not None:
                    stream.send_media("outbound", path.outbound.process(to_caller), at)
        if self.tap is not None:
            self.tap.frame(from_caller, to_caller)

    def _pass_checkpoints(self, path: _StreamPath) -> None:
        for passed in path.playout.take_passed():
            self._events.append(CheckpointPlayed(passed.name, passed.at))
            if path.stream.state is State.OPEN:
                path.stream.send_played(passed.name)

    def _pass_prompts(self) -> None:
        self._events.extend(PromptPlayed(passed.name) for passed in self._prompts.take_passed())
