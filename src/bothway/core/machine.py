"""Who answered, a person or a machine: told from how long it speaks, and from its beep.

A person says one or two words and waits; a machine speaks on, and beeps. Nothing of what is said is understood, so this
is a guess by times alone, as everywhere where it is done without a model: a person who answers with a long sentence is
taken for a machine, a machine with a short greeting and no beep for a person, and music or a noisy line count as
speech. Only a beep is certain. Whoever must not be wrong listens for the beep (`<Wait beep="true">`) or to the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from bothway.audio.beep_reader import BeepReader, BeepSettings
from bothway.audio.format import FRAME_MS
from bothway.audio.level import START_MS, SpeechGate
from bothway.errors import UsageError

__all__ = ["LIMITS", "MachineDetector", "MachineReason", "MachineSettings", "MachineVerdict", "Who"]

LIMITS = {
    "time": range(2000, 10_001),
    "maximum_speech_length": range(1000, 6001),
    "initial_silence": range(2000, 10_001),
    "maximum_words": range(2, 11),
    "initial_greeting": range(1000, 5001),
    "silence": range(100, 5001),
}
"""What each setting may be: the API's limits (plivo-protocol.md, 5.3) where it names some. Those of `maximum_words` and
`initial_greeting` are the ones that the API's reference gives for these newer fields; `silence` has none there."""

_WORD_GAP_MS = 140
"""The silence that ends a word, in milliseconds; what closes a "p" or a "t" is shorter. The API's "words" are what lies
between such gaps: more nearly phrases."""


@dataclass(frozen=True)
class MachineSettings:
    """When a party is taken for a machine; all but the words are milliseconds.

    Attributes:
        time: How long to listen at most, from the answer on (`machine_detection_time`).
        maximum_speech_length: A machine speaks longer than this in all (`machine_detection_maximum_speech_length`).
        initial_silence: A machine is silent for longer after the answer (`machine_detection_initial_silence`).
        maximum_words: A machine says more phrases than this (`machine_detection_maximum_words`).
        initial_greeting: A machine's first phrase, without a pause, is longer (`machine_detection_initial_greeting`).
        silence: A person waits this long after speaking (`machine_detection_silence`).

    Raises:
        UsageError: A value is outside `LIMITS`.
    """

    time: int = 5000
    maximum_speech_length: int = 5000
    initial_silence: int = 4500
    maximum_words: int = 3
    initial_greeting: int = 1500
    silence: int = 800

    def __post_init__(self) -> None:
        for name, allowed in LIMITS.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(f"machine detection's {name} is {allowed[0]} to {allowed[-1]}, not {value}")


class Who(Enum):
    """Who answered."""

    HUMAN = "human"
    MACHINE = "machine"
    UNKNOWN = "unknown"


class MachineReason(Enum):
    """What told it; the values are phrases for logs."""

    BEEP = "a beep"
    LONG_GREETING = "a greeting without a pause, longer than initial_greeting"
    LONG_SPEECH = "more speech than maximum_speech_length"
    MANY_WORDS = "more words than maximum_words"
    INITIAL_SILENCE = "silence from the answer on, longer than initial_silence"
    PAUSE = "a short greeting, and silence after it"
    TIME_UP = "no decision within the time"


@dataclass(frozen=True)
class MachineVerdict:
    """How it was decided.

    Attributes:
        who: The decision.
        reason: What told it.
        at_ms: When, in milliseconds of the audio fed, which begins with the answer.
        speech_ms: How much speech there had been by then.
        words: How many phrases of it had begun.
    """

    who: Who
    reason: MachineReason
    at_ms: int
    speech_ms: int
    words: int


class _State(Enum):
    WAITING = auto()
    """Nothing has been said yet."""
    SPEAKING = auto()
    PAUSING = auto()
    """Something was said, and nothing is being said now."""
    DECIDED = auto()


_NEXT = {
    (_State.WAITING, True): _State.SPEAKING,
    (_State.WAITING, False): _State.WAITING,
    (_State.SPEAKING, True): _State.SPEAKING,
    (_State.SPEAKING, False): _State.PAUSING,
    (_State.PAUSING, True): _State.SPEAKING,
    (_State.PAUSING, False): _State.PAUSING,
}
"""What follows a state and a frame in which something sounds, or not."""


class MachineDetector:
    """Decides, frame by frame from the answer on, whether a person or a machine answered; once.

    Args:
        rate: Samples a second of the callee's audio: 8000, 16000 or 24000.
        settings: When it is a machine.

    Attributes:
        verdict: The decision, once there is one.

    Raises:
        UsageError: Another rate.
    """

    def __init__(self, rate: int = 8000, settings: MachineSettings | None = None) -> None:
        self.verdict: MachineVerdict | None = None
        self._settings = settings or MachineSettings()
        self._gate = SpeechGate(stop_ms=_WORD_GAP_MS)
        # Machines beep for 200 ms and more; what is shorter may be a key.
        self._beeps = BeepReader(rate, BeepSettings(duration=180))
        self._state = _State.WAITING
        self._now_ms = 0
        # Times at which what the state is about began, and how much was said before.
        self._since_ms = 0
        self._said_ms = 0
        self._words = 0

    def feed(self, frame: bytes) -> MachineVerdict | None:
        """Take one frame of the callee's audio; give the decision with the frame that makes it, and never again.

        Args:
            frame: 20 ms of L16, silence included.

        Raises:
            UsageError: `frame` is not 20 ms long.
        """
        if self._state is _State.DECIDED:
            return None
        beep = self._beeps.feed(frame)
        return self.hear(sounding=self._gate.feed(frame), beep=beep is not None)

    def hear(self, *, sounding: bool, beep: bool = False) -> MachineVerdict | None:
        """Take one frame of which it is known whether speech sounds in it, and whether a beep has just been heard."""
        if self._state is _State.DECIDED:
            return None
        self._now_ms += FRAME_MS
        self._enter(_NEXT[self._state, sounding])
        found = self._decision(beep)
        if found is None:
            return None
        self.verdict = MachineVerdict(*found, self._now_ms, self._speech_ms(), self._words)
        self._state = _State.DECIDED
        return self.verdict

    def _enter(self, state: _State) -> None:
        if state is self._state:
            return
        # A gate opens and closes some frames late.
        if state is _State.SPEAKING:
            self._words += 1
            self._since_ms = max(0, self._now_ms - START_MS)
        else:
            began, self._since_ms = self._since_ms, max(self._since_ms, self._now_ms - _WORD_GAP_MS)
            self._said_ms += self._since_ms - began
        self._state = state

    def _speech_ms(self) -> int:
        return self._said_ms + (self._now_ms - self._since_ms if self._state is _State.SPEAKING else 0)

    def _decision(self, beep: bool) -> tuple[Who, MachineReason] | None:
        """The first rule that holds, the surest first."""
        limit = self._settings
        passed = self._now_ms - self._since_ms
        if beep:
            return Who.MACHINE, MachineReason.BEEP
        if self._state is _State.SPEAKING:
            if self._words > limit.maximum_words:
                return Who.MACHINE, MachineReason.MANY_WORDS
            if self._words == 1 and passed > limit.initial_greeting:
                return Who.MACHINE, MachineReason.LONG_GREETING
            if self._speech_ms() > limit.maximum_speech_length:
                return Who.MACHINE, MachineReason.LONG_SPEECH
        elif self._state is _State.WAITING and passed > limit.initial_silence:
            return Who.MACHINE, MachineReason.INITIAL_SILENCE
        elif self._state is _State.PAUSING and passed >= limit.silence:
            return Who.HUMAN, MachineReason.PAUSE
        if self._now_ms >= limit.time:
            return Who.UNKNOWN, MachineReason.TIME_UP
        return None
