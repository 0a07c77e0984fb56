"""A caller that follows a script: synchronous, without a clock and without I/O.

It is asked once for every 20 ms of the call, with what the caller hears in them, and answers with what the caller says
and does in them. Those questions are its only clock, so the same script against the same app gives the same call,
in real time, in virtual time, or as fast as a loop can run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol, TypeAlias

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.level import START_MS, STOP_MS, THRESHOLD_DBFS, SpeechGate, rms_dbfs
from bothway.audio.transcode import to_l16
from bothway.carrier.script import Beep, HangUp, Hear, Interrupt, Play, Press, Say, Script, Step, Wait
from bothway.errors import UsageError
from bothway.wire.leg import Ended

__all__ = ["CallResult", "CallerEvent", "EventKind", "FrameCaller", "Outcome", "ScriptedCaller", "Turn"]

EventKind: TypeAlias = Literal[
    "said", "interrupted", "pressed", "heard_speech", "heard_silence", "heard_digits", "timed_out", "hung_up", "ended"
]
"""What a `CallerEvent` tells of: `said` and `interrupted` begin a clip, `hung_up` is the caller's doing, `ended` the
other end's."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller does in 20 ms.

    Attributes:
        frame: What it says, in the leg's format; silence when nothing.
        digits: The keys that it presses.
        hang_up: Whether it ends the call; true once.
    """

    frame: bytes
    digits: tuple[str, ...] = ()
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class CallerEvent:
    """Something that the caller did or heard.

    Attributes:
        ms: When, in milliseconds of the call's audio since the answer. For `heard_speech` and `heard_silence` it is
            when the sound began or ended, which is known only a little later.
        kind: What.
        text: The particulars: what was said, which keys, which step timed out.
    """

    ms: int
    kind: EventKind
    text: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the script succeeded, and if not, at which step and why, as a sentence."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class CallResult:
    """What became of a scripted call.

    Attributes:
        call_id: The call's id; empty if there never was one.
        ended: The carrier's last word; None if it never came.
        outcome: The script's.
        heard_ms: How much of the call the caller heard, in milliseconds.
        events: What the caller did and heard.
    """

    call_id: str
    ended: Ended | None
    outcome: Outcome
    heard_ms: int
    events: tuple[CallerEvent, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the script succeeded and the call ran to its end."""
        return self.outcome.ok and self.ended is not None and self.ended.ran_to_end


class FrameCaller(Protocol):
    """A caller that is asked once for every 20 ms of its call, and has no other clock."""

    @property
    def format(self) -> AudioFormat:
        """The leg's format, of every frame in and out."""
        ...

    @property
    def heard_ms(self) -> int:
        """How much of the call it has heard, in milliseconds."""
        ...

    def hear(self, frame: bytes) -> Turn:
        """Hear the next 20 ms; gives what it does in them."""
        ...

    def hear_digits(self, digits: str) -> None:
        """The app pressed these keys towards it."""

    def call_ended(self) -> Outcome:
        """The call is over; gives how it went."""
        ...

    def events(self) -> list[CallerEvent]:
        """What happened since the last call of this."""
        ...


class ScriptedCaller:
    """The caller's side of one call, from the answer on.

    Args:
        script: What to do.
        fmt: The leg's format, of every frame in and out.
        clips: The audio of `script.clips`, in that format, by their names.

    Attributes:
        format: The leg's format.
        outcome: How it went; None while the call lasts.

    Raises:
        UsageError: A clip is missing.
    """

    def __init__(self, script: Script, fmt: AudioFormat, clips: Mapping[str, bytes]) -> None:
        missing = [str(words) for words in script.clips if words.clip not in clips]
        if missing:
            raise UsageError(f"the script's audio was not prepared: {', '.join(missing)}")
        self.format = fmt
        self.outcome: Outcome | None = None
        self._script = script
        self._clips = clips
        self._quiet = Turn(fmt.silent_frame)
        self._turns = self._perform()
        self._events: list[CallerEvent] = []
        self._heard = 0  # frames
        self._gate = SpeechGate()
        self._last_l16 = b""
        self._began_ms = 0  # of the app's utterance, while the gate is open
        self._quiet_since_ms = 0  # of the app, while it is closed
        self._spoke_until_ms = 0  # the caller
        self._step = 0  # the index of the step being done
        self._app_spoke = False  # since the step began, or when it began

    @property
    def heard_ms(self) -> int:
        """How much of the call was heard, in milliseconds; also the present moment of the call."""
        return self._heard * FRAME_MS

    def hear(self, frame: bytes) -> Turn:
        """The next 20 ms of the call. Once it is over, the answer is silence.

        Args:
            frame: What the caller hears in them; one whole frame.

        Raises:
            UsageError: The frame has not the size of a frame of the leg's format.
        """
        if len(frame) != self.format.frame_bytes:
            raise UsageError(f"a frame of {self.format} has {self.format.frame_bytes} bytes, not {len(frame)}")
        self._heard += 1
        self._listen(frame)
        if self.outcome is not None:
            return self._quiet
        rule = self._broken_rule()
        turn = self._obey(rule) if rule else next(self._turns)
        if turn.frame is not self._quiet.frame:
            self._spoke_until_ms = self.heard_ms
        return turn

    def hear_digits(self, digits: str) -> None:
        """The app pressed these keys towards the caller."""
        self._note(self.heard_ms, "heard_digits", digits)

    def call_ended(self) -> Outcome:
        """The other end hung up, or confirms that the caller did: this is how it went."""
        if self.outcome is not None:
            return self.outcome
        self._note(self.heard_ms, "ended")
        left = self._script.steps[self._step :]
        if left and isinstance(left[0], Hear) and left[0].until == "silence" and self._app_spoke:
            left = left[1:]  # the app will not be quieter than now
        if self._script.on_hang_up == "accept" or all(map(_may_be_cut, left)):
            self.outcome = Outcome(ok=True)
        else:
            self.outcome = Outcome(ok=False, reason=f"the call ended during {self._where()}")
        return self.outcome

    def events(self) -> list[CallerEvent]:
        """What happened since the last call of this."""
        events, self._events = self._events, []
        return events

    # Listening.

    def _listen(self, frame: bytes) -> None:
        was_sounding = self._gate.sounding
        self._last_l16 = to_l16(frame, self.format.encoding)
        sounding = self._gate.feed(self._last_l16)
        if sounding:
            self._app_spoke = True
        if sounding and not was_sounding:
            self._began_ms = self.heard_ms - START_MS
            self._note(self._began_ms, "heard_speech")
        elif was_sounding and not sounding:
            self._quiet_since_ms = self.heard_ms - STOP_MS
            self._note(self._quiet_since_ms, "heard_silence")

    def _heard_enough(self, step: Hear | Interrupt) -> bool:
        if isinstance(step, Interrupt):
            return self._speaks_for(step.after_ms)
        if step.until == "speech":
            return self._speaks_for(step.for_ms)
        if step.until == "silence":
            quiet_ms = self.heard_ms - self._quiet_since_ms
            return self._app_spoke and not self._gate.sounding and quiet_ms >= step.for_ms
        return False

    def _speaks_for(self, ms: int) -> bool:
        """Whether the app has been speaking for so long, and not just stopped: the gate closes late."""
        if not self._gate.sounding or self.heard_ms - self._began_ms < ms:
            return False
        return rms_dbfs(self._last_l16) >= THRESHOLD_DBFS

    def _broken_rule(self) -> str:
        """Which rule ends the call now, if one does."""
        rules = self._script.rules
        if self._now_ms >= rules.hang_up_after_ms:
            return f"hang_up_after {rules.hang_up_after_ms / 1000:g} s"
        silent_ms = rules.hang_up_when_silent_ms
        if silent_ms is not None and not self._gate.sounding:
            quiet_since_ms = max(self._quiet_since_ms, self._spoke_until_ms)
            if self._now_ms - quiet_since_ms >= silent_ms:
                return f"hang_up_when_silent {silent_ms / 1000:g} s"
        return ""

    # The steps. Each is a generator that yields one turn for every 20 ms that it takes.

    def _perform(self) -> Iterator[Turn]:
        for place, step in enumerate(self._script.steps):
            self._step = place
            self._app_spoke = self._gate.sounding
            match step:
                case Say() | Play() | Beep():
                    yield from self._speak("said", step)
                case Press():
                    yield from self._press(step)
                case Wait():
                    yield from self._stay_quiet(step.ms)
                case Hear():
                    yield from self._await_app(step)
                case Interrupt():
                    if (yield from self._await_app(step)):
                        yield from self._speak("interrupted", step.words)
                case HangUp():
                    break
        yield self._hang_up()

    def _speak(self, kind: EventKind, words: Say | Play | Beep) -> Iterator[Turn]:
        self._note(self._now_ms, kind, str(words))
        audio, size = self._clips[words.clip], self.format.frame_bytes
        for start in range(0, len(audio), size):
            yield Turn(audio[start : start + size].ljust(size, self.format.silence_byte))

    def _press(self, step: Press) -> Iterator[Turn]:
        for place, digit in enumerate(step.digits):
            if place:
                yield from self._stay_quiet(step.gap_ms - FRAME_MS)
            self._note(self._now_ms, "pressed", digit)
            yield Turn(self._quiet.frame, (digit,))

    def _stay_quiet(self, ms: int) -> Iterator[Turn]:
        for _ in range(ceil(ms / FRAME_MS)):
            yield self._quiet

    def _await_app(self, step: Hear | Interrupt) -> Generator[Turn, None, bool]:
        """Wait until the app did what `step` asks for; gives whether it did."""
        deadline_ms = self.heard_ms + step.within_ms
        while not self._heard_enough(step):
            if self.heard_ms >= deadline_ms:
                reason = f"{self._where()} timed out"
                self._note(self._now_ms, "timed_out", reason)
                if self._script.on_timeout == "fail":
                    self.outcome = Outcome(ok=False, reason=reason)
                    yield self._hang_up()
                return False
            yield self._quiet
        return True

    # How it ends.

    def _obey(self, rule: str) -> Turn:
        if self._script.on_timeout == "fail":
            self.outcome = Outcome(ok=False, reason=f"the rule {rule} ended the call during {self._where()}")
        return self._hang_up(f"by the rule {rule}")

    def _hang_up(self, why: str = "") -> Turn:
        self._note(self._now_ms, "hung_up", why)
        if self.outcome is None:
            self.outcome = Outcome(ok=True)
        return Turn(self._quiet.frame, hang_up=True)

    # Bookkeeping.

    @property
    def _now_ms(self) -> int:
        """When the frame began that was just heard, and that is being answered."""
        return self.heard_ms - FRAME_MS

    def _where(self) -> str:
        return f"step {self._step + 1} of {len(self._script.steps)} ({self._script.steps[self._step]})"

    def _note(self, ms: int, kind: EventKind, text: str = "") -> None:
        self._events.append(CallerEvent(ms, kind, text))


def _may_be_cut(step: Step) -> bool:
    """Whether a step that the end of the call cuts off, or leaves undone, has asked for nothing that is missing."""
    return isinstance(step, HangUp | Wait) or (isinstance(step, Hear) and step.until == "hang_up")
