"""What verbs that take input ask of the shell, and what they are told.

A verb that takes input sends `Listen` when it starts and `StopListening` when it is done. In between come
`DigitPressed` (core/execution.py) for a key, whether the leg told of it or its tones were heard, and the events below.
"""

from __future__ import annotations

from dataclasses import dataclass

from bothway.audio.beep_reader import BeepSettings
from bothway.core.execution import VerbCommand, VerbEvent
from bothway.wire.digits import DigitPlan

__all__ = [
    "BeepHeard",
    "EndSpeech",
    "KeysPressed",
    "Listen",
    "PressKeys",
    "SilenceHeard",
    "SpeechHeard",
    "SpeechOver",
    "SpeechWanted",
    "StopListening",
]


@dataclass(frozen=True, slots=True)
class SpeechWanted:
    """How speech is to be recognised.

    Attributes:
        language: A tag such as `en-US`.
        hints: Phrases that are likely to be said.
        model: `default`, `command_and_search` or `phone_call`.
        profanity_filter: Whether swear words are to be masked.
    """

    language: str = "en-US"
    hints: tuple[str, ...] = ()
    model: str = "default"
    profanity_filter: bool = False


@dataclass(frozen=True, slots=True)
class Listen(VerbCommand):
    """Listen to the caller from now on. What is listened for already goes on as it is.

    Attributes:
        keys: Whether the tones of keys count.
        silence_ms: `SilenceHeard` once the caller was quiet for so long; None for never.
        beep: `BeepHeard` at such a beep; None for none.
        speech: `SpeechHeard` as the caller speaks; None for not at all.
        logged: False keeps keys and words out of every log.
    """

    keys: bool = False
    silence_ms: int | None = None
    beep: BeepSettings | None = None
    speech: SpeechWanted | None = None
    logged: bool = True


@dataclass(frozen=True, slots=True)
class EndSpeech(VerbCommand):
    """Recognise no more speech.

    Attributes:
        drain: Whether what was said so far still counts: `SpeechHeard` may follow, and `SpeechOver` does.
    """

    drain: bool


@dataclass(frozen=True, slots=True)
class StopListening(VerbCommand):
    """Listen to the caller no more, for whatever; a second one does nothing."""


@dataclass(frozen=True, slots=True)
class SilenceHeard(VerbEvent):
    """The caller was quiet for as long as was asked."""


@dataclass(frozen=True, slots=True)
class BeepHeard(VerbEvent):
    """An answering machine's beep was heard, and the silence after it."""


@dataclass(frozen=True, slots=True)
class SpeechHeard(VerbEvent):
    """What the recogniser makes of the stretch of speech that it is listening to.

    Attributes:
        text: The words of this stretch; they replace those of the event before, unless that was final.
        final: Whether they stay; the next event is of the next stretch.
        utterance_over: Whether the caller seems to have said all.
        confidence: From 0 to 1, of a final one.
        stability: From 0 to 1, how likely it is that the words stay.
    """

    text: str
    final: bool
    utterance_over: bool = False
    confidence: float = 0.0
    stability: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechOver(VerbEvent):
    """All that was said before `EndSpeech` has been told."""


@dataclass(frozen=True, slots=True, eq=False)
class PressKeys(VerbCommand):
    """Press keys towards the caller, behind those that are still being pressed; `KeysPressed` follows.

    Attributes:
        plan: The keys, and when they are pressed.
        length_ms: How long it takes, the pauses at its end included.
    """

    plan: DigitPlan
    length_ms: int


@dataclass(frozen=True, slots=True)
class KeysPressed(VerbEvent):
    """All keys of this command are pressed, and its time is over."""

    command: PressKeys
