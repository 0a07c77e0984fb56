"""The audio of one call with one leg: what the caller says, what the caller hears, and who else takes part in it.

Everything runs on the call's `FrameClock`. For each frame that is due, one frame of the caller is taken from the leg
and one frame is given to it. What the caller says goes to the ears, to the room that the call is in, to the streams and
the taps; what the caller hears is the sum of what the streams, the room and the carrier itself play, and goes to the
streams and taps that ask for it. All audio inside is in the leg's own format: a stream that is coded otherwise is
transcoded on its way in and out, with the resampler's state kept from frame to frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.mix import mix
from bothway.audio.transcode import to_l16
from bothway.core.ears import Ear, InBandDigit, KeysOnce
from bothway.core.own_sounds import OwnSounds
from bothway.core.playout import FrameClock, Passed, Playout
from bothway.core.room import Seat
from bothway.core.stream import CarrierStream, State
from bothway.core.stream_path import FrameFilter, StreamPath
from bothway.errors import UsageError
from bothway.wire.stream import Checkpoint, ClearAudio, Mistake, PlayAudio, SendDtmf

__all__ = [
    "LEG_QUEUE_FRAMES",
    "AudioBegun",
    "AudioCleared",
    "AudioRefused",
    "CheckpointPlayed",
    "CheckpointQueued",
    "Heard",
    "Media",
    "MediaEvent",
    "OverlayPlayed",
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


@dataclass(frozen=True, slots=True)
class AudioBegun:
    """The app queued audio, `ms` of it, and nothing of it was queued or sounding before. More may follow unremarked."""

    ms: float
    stream_id: str


@dataclass(frozen=True, slots=True)
class AudioRefused:
    """A chunk of `ms` did not fit under the cap, and none of it will be played."""

    ms: float
    queued_ms: float
    stream_id: str


@dataclass(frozen=True, slots=True)
class AudioCleared:
    """A clear dropped `ms` of audio, or the end of the stream did."""

    ms: float
    stream_id: str


@dataclass(frozen=True, slots=True)
class CheckpointQueued:
    """The app marked the end of what is queued; `accepted` is False when too many marks wait."""

    name: str
    accepted: bool
    stream_id: str


@dataclass(frozen=True, slots=True)
class CheckpointPlayed:
    """The caller heard all that was queued before the checkpoint, `at` the call's clock."""

    name: str
    at: float
    stream_id: str


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """A prompt of the document has been heard to its end."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class OverlayPlayed:
    """A sound that was laid over the call has been heard to its end."""

    overlay_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An ear found something in what the caller said.

    Attributes:
        ear: Which.
        what: As the ear gives it. An `InBandDigit` among it counts, and the streams have been told of it.
        at: When the frame that completed it was due, in seconds of the call's clock.
    """

    ear: Ear
    what: object
    at: float


@dataclass(frozen=True, slots=True)
class StreamMistake:
    """The app sent what the protocol does not have."""

    mistake: Mistake
    stream_id: str


@dataclass(frozen=True, slots=True)
class TimeSkipped:
    """The call stood still for `ms`, with the machine that it runs on, and goes on without them."""

    ms: int


MediaEvent: TypeAlias = (
    AudioBegun | AudioRefused | AudioCleared | CheckpointQueued | CheckpointPlayed
    | PromptPlayed | OverlayPlayed | Heard | StreamMistake | SendDtmf | TimeSkipped
)  # fmt: skip


class Tap(Protocol):
    """Gets every frame that crosses the leg: a recording."""

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        """20 ms of each side, in the leg's format."""


class Media:
    """The media machine of one call.

    Several streams may be on the call at a time. Wherever a stream may be named, None is the one that was attached
    first, which is all there is on most calls.

    Args:
        leg_format: How the leg's audio is coded.
        start: When the first frame is due, in seconds of the call's clock.
        playout_seconds: The cap of a stream's playout queue.

    Attributes:
        clock: The call's frame clock.
        caller_gaps: Ticks at which the leg had no frame of the caller, since its first.
        caller_overruns: Frames of the caller dropped because too many waited: more than `LEG_QUEUE_FRAMES` at a time,
            or more than 60 ms for 2 s without a break. So the latency that a long stall leaves behind goes away.
        frames_since_caller: Ticks since the leg gave a frame of the caller; from the answer on if it never did.
        sounding_frames: Frames given to the leg that were not silence.
        app_ms: Audio that the app queued, in milliseconds.
    """

    def __init__(self, leg_format: AudioFormat, *, start: float, playout_seconds: float) -> None:
        self.leg_format = leg_format
        self.clock = FrameClock(start)
        self.caller_gaps = 0
        self.caller_overruns = 0
        self.frames_since_caller = 0
        self.sounding_frames = 0
        self.app_ms = 0.0
        self._silent_frame = leg_format.silent_frame
        self._playout_seconds = playout_seconds
        # What takes part is in tuples: who joins or goes while a frame is moved does so with the next.
        self._paths: tuple[StreamPath, ...] = ()
        self._players: tuple[StreamPath, ...] = ()  # those of them that may play
        self._taps: tuple[Tap, ...] = ()
        self._ears: tuple[Ear, ...] = ()
        self._own = OwnSounds(leg_format)
        self._keys = KeysOnce()
        self._from_leg: deque[bytes] = deque()
        self._leg_speaks = False
        self._deep_ticks = 0  # in a row, with more than the cushion of the caller's frames waiting
        self._to_leg: list[bytes] = []
        self._events: list[MediaEvent] = []

    @property
    def now_ms(self) -> int:
        """The media clock: milliseconds of audio that have crossed the leg."""
        return self.clock.taken * FRAME_MS

    @property
    def playout(self) -> Playout | None:
        """The playout queue of the first stream that may play, if there is one."""
        return self._players[0].playout if self._players else None

    def attach(self, stream: CarrierStream, *, denoise: FrameFilter | None = None) -> None:
        """Join `stream` to the call: from the next frame on it gets its tracks, and may play if it is bidirectional.

        Args:
            stream: It.
            denoise: Called with each frame of the caller's, in the leg's format; what it gives, as long as that, is
                what this stream gets as the inbound track.

        Raises:
            UsageError: It has joined already.
        """
        if any(path.stream is stream for path in self._paths):
            raise UsageError(f"the stream {stream.start.stream_id} has joined this call already")
        path = StreamPath(stream, self.leg_format, self._playout_seconds, denoise)
        self._paths = (*self._paths, path)
        self._players = tuple(path for path in self._paths if path.stream.bidirectional)

    def detach(self, stream: CarrierStream | None = None) -> None:
        """A stream is over: what it queued and was not yet played is dropped, and told as `AudioCleared`."""
        path = next((path for path in self._paths if stream is None or path.stream is stream), None)
        if path is None:
            return
        dropped_ms = path.clear()
        if dropped_ms:
            self._events.append(AudioCleared(dropped_ms, path.stream_id))
        path.playout.end()
        self._paths = tuple(other for other in self._paths if other is not path)
        self._players = tuple(other for other in self._players if other is not path)

    def play_prompt(self, chunk: bytes) -> bool:
        """Queue audio of the document's own, in the leg's format; False if the queue is full."""
        return self._own.prompt(chunk)

    def end_prompt(self, prompt_id: str, now: float) -> None:
        """All of the prompt is queued: `PromptPlayed` follows when it was heard."""
        self._own.prompts.checkpoint(prompt_id, now)
        self._events += _own_played(self._own)

    def stop_prompts(self) -> None:
        """Drop what the document queued; no `PromptPlayed` follows for it."""
        self._own.prompts.clear()

    def overlay(self, chunk: bytes, *, replace: bool = False) -> bool:
        """Queue audio over the call, in the leg's format; False if the queue is full.

        Args:
            chunk: The audio.
            replace: Whether it is heard alone for as long as it sounds. All else goes on beneath it: a stream's audio
                is played, and its checkpoints pass, as on a line that somebody speaks over. False mixes.
        """
        return self._own.lay_over(chunk, replace=replace)

    def end_overlay(self, overlay_id: str, now: float) -> None:
        """All of the overlay is queued: `OverlayPlayed` follows when it was heard."""
        self._own.overlay.checkpoint(overlay_id, now)
        self._events += _own_played(self._own)

    def stop_overlay(self) -> None:
        """Drop what is laid over the call; no `OverlayPlayed` follows for it."""
        self._own.overlay.clear()

    def sit(self, seat: Seat) -> None:
        """Take part in a room: what the caller says goes to the seat, and the caller hears what the seat hears.

        Raises:
            UsageError: The seat's format is not the leg's.
        """
        if seat.format != self.leg_format:
            raise UsageError(f"a seat for {seat.format} does not fit a leg of {self.leg_format}")
        self._own.sit(seat)

    def stand(self) -> None:
        """Take part in no room. Whose the seat is, leaves it."""
        self._own.sit(None)

    def add_tap(self, tap: Tap) -> None:
        """Give `tap` every frame from the next on."""
        self._taps = (*self._taps, tap)

    def remove_tap(self, tap: Tap) -> None:
        """Give `tap` no more."""
        self._taps = tuple(other for other in self._taps if other is not tap)

    def add_ear(self, ear: Ear) -> None:
        """Let `ear` hear the caller from the next frame on; what it finds is told as `Heard`."""
        self._ears = (*self._ears, ear)

    def remove_ear(self, ear: Ear) -> None:
        """Let `ear` hear no more."""
        self._ears = tuple(other for other in self._ears if other is not ear)

    def receive_from_leg(self, frame: bytes) -> None:
        """One frame of the caller, in the leg's format. The oldest is dropped when too many wait."""
        if len(frame) != self.leg_format.frame_bytes:
            raise UsageError(f"a frame of {self.leg_format} has {self.leg_format.frame_bytes} bytes, not {len(frame)}")
        self._leg_speaks = True
        self.frames_since_caller = 0
        if len(self._from_leg) >= LEG_QUEUE_FRAMES:
            self._from_leg.popleft()
            self.caller_overruns += 1
        self._from_leg.append(frame)

    def press(self, digit: str, *, in_band: bool = False) -> bool:
        """The caller pressed a key: the streams hear of it, if it counts. Gives whether it does (`KeysOnce`).

        Args:
            digit: The key.
            in_band: Whether its tones were heard, and not the leg told of it. A `DigitEar` does that by itself.
        """
        at = self.clock.next_due
        counts = self._keys.heard(digit, at) if in_band else self._keys.told(digit, at)
        if counts:
            for path in self._paths:
                if path.stream.state is State.OPEN:
                    path.stream.send_dtmf(digit, at)
        return counts

    def receive_from_app(self, raw: bytes, now: float, stream: CarrierStream | None = None) -> None:
        """One message of the app's on `stream`."""
        for path in self._paths:
            if stream is None or path.stream is stream:
                break
        else:
            return  # the stream was closed while the message was on its way
        stream, stream_id = path.stream, path.stream_id
        stream.receive(raw)
        for event in stream.events():
            if isinstance(event, PlayAudio):
                ms = (event.format or stream.start.format).duration_ms(len(event.payload))
                was_silent = path.is_silent
                if not path.play(event):
                    self._events.append(AudioRefused(ms, path.playout.queued_ms, stream_id))
                    continue
                self.app_ms += ms
                if was_silent and not path.is_silent:
                    self._events.append(AudioBegun(ms, stream_id))
            elif isinstance(event, Checkpoint):
                accepted = path.playout.checkpoint(event.name, now)
                self._events.append(CheckpointQueued(event.name, accepted, stream_id))
                self._events += _played(path, path.playout.take_passed())
            elif isinstance(event, ClearAudio):
                self._events.append(AudioCleared(path.clear(), stream_id))
                stream.send_cleared()
            elif isinstance(event, Mistake):
                self._events.append(StreamMistake(event, stream_id))
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

    def to_send(self, stream: CarrierStream | None = None) -> list[bytes]:
        """Messages for the app at the other end of `stream` since the last call."""
        for path in self._paths:
            if stream is None or path.stream is stream:
                return path.stream.to_send()
        return []

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
            from_caller = self._silent_frame
            self.frames_since_caller += 1
            self.caller_gaps += self._leg_speaks
        if self._ears:
            l16 = to_l16(from_caller, self.leg_format.encoding)
            heard = [Heard(ear, what, at) for ear in self._ears for what in ear.feed(l16)]
            self._events += [event for event in heard if _counts(event.what, self.press)]
        frame: bytes | None = None
        for path in self._players:
            played = path.playout.release(at)
            if played is not None:
                frame = played if frame is None else mix(frame, played, self.leg_format)
        if self._own.active:
            frame = self._own.add(frame, from_caller, at)
            self._events += _own_played(self._own)
        if frame is None:
            to_caller = self._silent_frame
        else:
            to_caller = frame
            self.sounding_frames += 1
        self._to_leg.append(to_caller)
        for path in self._paths:
            passed = path.playout.take_passed()
            if passed:
                self._events += _played(path, passed)
            path.hear(from_caller, to_caller, at)
        for tap in self._taps:
            tap.frame(from_caller, to_caller)


def _played(path: StreamPath, passed: list[Passed]) -> list[CheckpointPlayed]:
    """Checkpoints of a stream have passed: its app hears of them."""
    if path.stream.state is State.OPEN:
        for checkpoint in passed:
            path.stream.send_played(checkpoint.name)
    return [CheckpointPlayed(checkpoint.name, checkpoint.at, path.stream_id) for checkpoint in passed]


def _counts(what: object, press: Callable[..., bool]) -> bool:
    """Whether what an ear found is told: the tones of a key count as the key does."""
    return not isinstance(what, InBandDigit) or press(what.digit, in_band=True)


def _own_played(own: OwnSounds) -> list[PromptPlayed | OverlayPlayed]:
    """The sounds of the carrier's own that have been heard to their end."""
    return [
        *(PromptPlayed(passed.name) for passed in own.prompts.take_passed()),
        *(OverlayPlayed(passed.name) for passed in own.overlay.take_passed()),
    ]
