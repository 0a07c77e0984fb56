"""`<GetInput>`: collect keys or speech, whichever comes first, after a prompt (plivo-protocol.md, 7.3 and 6.6).

The first key or word cuts the prompt short and decides which of the two it is to be. Keys are complete when there are
enough, when one that ends the input is pressed, or `digitEndTimeout` after the last. Speech is complete
`speechEndTimeout` after the last word; with `auto`, when the recogniser says so. In any case `executionTimeout` after
the prompt what there is by then counts; without anything the attempt has failed, and without another left the next
verb runs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from bothway.core.execution import CallBack, DigitPressed, Execution, PromptEnded, TimerFired, VerbEvent, Wait
from bothway.core.listening import EndSpeech, Listen, SpeechHeard, SpeechOver, SpeechWanted, StopListening
from bothway.core.prompts import PromptRun
from bothway.wire.verbs import GetInput

__all__ = ["execute"]

_AUTO_DIGIT_SECONDS = 2
"""What `digitEndTimeout="auto"` means: as long as `<GetDigits>` waits for the next key."""

_AUTO_SPEECH_SECONDS = 3
"""What `speechEndTimeout="auto"` means where the recogniser does not tell the end of an utterance: longer than it takes
to say a long word, since some recognisers tell of words only when they are over."""

_DRAIN_SECONDS = 2
"""How long a recogniser may take over what was said last, when no more is listened to."""

_BILLED = "0.00000"
"""`BilledAmount`: this carrier has no price for recognised speech."""

_MOST_HINTS, _LONGEST_HINT, _LONGEST_HINTS = 500, 100, 10_000  # plivo-protocol.md, 7.3

_EXECUTION = "execution"
_START = "start of the input"
_END = "end of the input"


def execute(verb: GetInput, call: Execution, now: float) -> Wait:
    """Pick up, and collect keys or speech. Where the document does not say which, either will do."""
    call.answer()
    machine = _Collecting(verb, call)
    waits_for = call.begin(machine)
    machine.attempt(now)
    return waits_for


class _Phase(Enum):
    PROMPT = auto()
    OPEN = auto()  # the prompt is over, and nothing has come
    KEYS = auto()
    SPEECH = auto()
    DRAIN = auto()  # speech is over, and the recogniser is not done with it


class _Collecting:
    """The machine of one `<GetInput>`."""

    def __init__(self, verb: GetInput, call: Execution) -> None:
        self._verb = verb
        self._call = call
        self._prompt = PromptRun(call)
        self._phase = _Phase.PROMPT
        self._digits = ""
        self._said: list[str] = []  # final
        self._saying = ""  # not yet
        self._confidences: list[float] = []
        self._interim = 0  # results reported so far
        self._attempts_left = verb.retries
        types = (verb.input_type or "dtmf speech").split()
        wanted = _wanted(verb) if "speech" in types else None
        self._listen = Listen(keys="dtmf" in types, speech=wanted, logged=verb.log)

    def attempt(self, now: float) -> None:
        """Begin the next attempt."""
        self._phase = _Phase.PROMPT
        self._attempts_left -= 1
        self._call.send(self._listen)
        if not self._prompt.begin(self._verb.children, now):
            self._open(now)

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened."""
        transition = _TRANSITIONS.get((self._phase, type(event)))
        if transition is not None:
            transition(self, event, now)

    def stop(self, now: float) -> None:
        """The call goes elsewhere."""
        self._call.send(StopListening())

    # Nothing yet.

    def _on_prompt(self, event: VerbEvent, now: float) -> None:
        if self._prompt.receive(event, now):
            self._open(now)

    def _open(self, now: float) -> None:
        self._phase = _Phase.OPEN
        self._call.set_timer(_EXECUTION, now + self._verb.execution_timeout)
        if self._verb.start_input_timeout is not None:
            self._call.set_timer(_START, now + self._verb.start_input_timeout)

    def _on_first_key(self, event: DigitPressed, now: float) -> None:
        if self._listen.keys:
            self._begin(_Phase.KEYS, now)
            if self._listen.speech is not None:
                self._call.send(EndSpeech(drain=False))
            self._on_key(event, now)

    def _on_first_speech(self, event: SpeechHeard, now: float) -> None:
        if self._listen.speech is not None and event.text:
            self._begin(_Phase.SPEECH, now)
            self._on_speech(event, now)

    def _begin(self, phase: _Phase, now: float) -> None:
        if self._phase is _Phase.PROMPT:
            self._prompt.stop()
            self._call.set_timer(_EXECUTION, now + self._verb.execution_timeout)
        self._call.set_timer(_START, None)
        self._phase = phase

    def _on_nothing(self, event: TimerFired, now: float) -> None:
        self._again(now)

    # Keys.

    def _on_key(self, event: DigitPressed, now: float) -> None:
        verb = self._verb
        if event.digit not in verb.finish_on_key:
            self._digits += event.digit
            if len(self._digits) < verb.num_digits:
                self._call.set_timer(_END, now + (verb.digit_end_timeout or _AUTO_DIGIT_SECONDS))
                return
        self._keys_done(event, now)

    def _keys_done(self, event: VerbEvent, now: float) -> None:
        if self._digits:
            self._report({"InputType": "dtmf", "Digits": self._digits, "Speech": "", "SpeechConfidenceScore": ""})
        else:
            self._again(now)

    # Speech.

    def _on_speech(self, event: SpeechHeard, now: float) -> None:
        settles = event.final and self._saying  # words that were told before
        self._take(event)
        if event.final and event.utterance_over and self._verb.speech_end_timeout is None:
            self._speech_done(event, now)
        elif event.text and not settles:
            self._call.set_timer(_END, now + (self._verb.speech_end_timeout or _AUTO_SPEECH_SECONDS))

    def _take(self, event: SpeechHeard) -> None:
        self._saying = "" if event.final else event.text
        if event.final and event.text:
            self._said.append(event.text)
            self._confidences.append(event.confidence)
        url = self._verb.interim_speech_results_callback
        if url is not None:
            self._interim += 1
            params = {
                "StableSpeech": " ".join(self._said),
                "UnstableSpeech": self._saying,
                "Stability": _number(event.stability),
                "SequenceNumber": str(self._interim),
            }
            method = self._verb.interim_speech_results_callback_method
            self._call.send(CallBack("speech", url, method, "GetInput", params))

    def _on_enough(self, event: TimerFired, now: float) -> None:
        if not self._saying:
            self._speech_done(event, now)
            return
        self._phase = _Phase.DRAIN
        self._call.set_timer(_EXECUTION, None)
        self._call.set_timer(_END, now + _DRAIN_SECONDS)
        self._call.send(EndSpeech(drain=True))

    def _on_last_words(self, event: SpeechHeard, now: float) -> None:
        self._take(event)

    def _on_drain_time(self, event: TimerFired, now: float) -> None:
        self._call.send(EndSpeech(drain=False))  # what is still to come must not keep the next attempt from listening
        self._speech_done(event, now)

    def _speech_done(self, event: VerbEvent, now: float) -> None:
        text = " ".join([*self._said, self._saying]).strip()
        if not text:
            self._again(now)  # what was heard first turned out to be none
            return
        confidences = self._confidences or [0.0]
        score = _number(sum(confidences) / len(confidences))
        self._report({"InputType": "speech", "Digits": "", "Speech": text, "SpeechConfidenceScore": score})

    # The end.

    def _report(self, params: dict[str, str]) -> None:
        verb = self._verb
        self._call.send(StopListening())
        params["BilledAmount"] = _BILLED
        self._call.follow("GetInput", verb.action, verb.method, redirect=verb.redirect, params=params)

    def _again(self, now: float) -> None:
        for timer in (_EXECUTION, _START, _END):
            self._call.set_timer(timer, None)
        if self._attempts_left:
            self.attempt(now)
        else:
            self._call.send(StopListening())
            self._call.finish()


def _wanted(verb: GetInput) -> SpeechWanted:
    hints: list[str] = []
    for hint in (verb.hints or "").split(","):
        phrase = hint.strip()[:_LONGEST_HINT]
        if phrase and len(hints) < _MOST_HINTS and sum(map(len, hints)) + len(phrase) <= _LONGEST_HINTS:
            hints.append(phrase)
    return SpeechWanted(verb.language, tuple(hints), verb.speech_model, verb.profanity_filter)


def _number(value: float) -> str:
    return f"{round(value, 4):g}"


_TRANSITIONS: dict[tuple[_Phase, type[VerbEvent]], Callable[..., None]] = {
    (_Phase.PROMPT, PromptEnded): _Collecting._on_prompt,  # noqa: SLF001 - the class's own table
    (_Phase.PROMPT, TimerFired): _Collecting._on_prompt,  # noqa: SLF001
    (_Phase.PROMPT, DigitPressed): _Collecting._on_first_key,  # noqa: SLF001
    (_Phase.PROMPT, SpeechHeard): _Collecting._on_first_speech,  # noqa: SLF001
    (_Phase.OPEN, DigitPressed): _Collecting._on_first_key,  # noqa: SLF001
    (_Phase.OPEN, SpeechHeard): _Collecting._on_first_speech,  # noqa: SLF001
    (_Phase.OPEN, TimerFired): _Collecting._on_nothing,  # noqa: SLF001
    (_Phase.KEYS, DigitPressed): _Collecting._on_key,  # noqa: SLF001
    (_Phase.KEYS, TimerFired): _Collecting._keys_done,  # noqa: SLF001
    (_Phase.SPEECH, SpeechHeard): _Collecting._on_speech,  # noqa: SLF001
    (_Phase.SPEECH, TimerFired): _Collecting._on_enough,  # noqa: SLF001
    (_Phase.DRAIN, SpeechHeard): _Collecting._on_last_words,  # noqa: SLF001
    (_Phase.DRAIN, SpeechOver): _Collecting._speech_done,  # noqa: SLF001
    (_Phase.DRAIN, TimerFired): _Collecting._on_drain_time,  # noqa: SLF001
}
