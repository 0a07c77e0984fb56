"""`<GetDigits>`: collect keys after a prompt (plivo-protocol.md, 7.3 and 6.6).

An attempt is: the prompt, which the first key cuts short; a beep, if asked for; and keys, until there are enough, one
of those that end the input is pressed, or none comes in time. An attempt without a key, or with one that is not valid,
has failed. The keys are judged when the attempt is over, so that a caller who mistypes hears of it when done, and the
rest of what is typed is not taken for the next attempt. With no attempt left the next verb runs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from bothway.core.execution import Beep, DigitPressed, Execution, PromptEnded, TimerFired, VerbEvent, Wait
from bothway.core.listening import Listen, StopListening
from bothway.core.prompts import PromptRun
from bothway.wire.verbs import GetDigits, Play

__all__ = ["execute"]

_KEY = "next key"


def execute(verb: GetDigits, call: Execution, now: float) -> Wait:
    """Pick up, and collect keys."""
    call.answer()
    call.send(Listen(keys=True, logged=verb.log))
    machine = _Collecting(verb, call)
    waits_for = call.begin(machine)
    machine.attempt(now)
    return waits_for


class _Phase(Enum):
    PROMPT = auto()
    KEYS = auto()
    SORRY = auto()  # the sound for keys that are not valid


class _Collecting:
    """The machine of one `<GetDigits>`."""

    def __init__(self, verb: GetDigits, call: Execution) -> None:
        self._verb = verb
        self._call = call
        self._prompt = PromptRun(call)
        self._phase = _Phase.PROMPT
        self._digits = ""
        self._attempts_left = verb.retries

    def attempt(self, now: float) -> None:
        """Begin the next attempt."""
        self._phase = _Phase.PROMPT
        self._digits = ""
        self._attempts_left -= 1
        beep = (Beep(),) if self._verb.play_beep else ()
        if not self._prompt.begin((*self._verb.children, *beep), now):
            self._await_first(now)

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened."""
        transition = _TRANSITIONS.get((self._phase, type(event)))
        if transition is not None:
            transition(self, event, now)

    def stop(self, now: float) -> None:
        """The call goes elsewhere."""
        self._call.send(StopListening())

    def _on_prompt(self, event: VerbEvent, now: float) -> None:
        if self._prompt.receive(event, now):
            self._await_first(now)

    def _on_first_key(self, event: DigitPressed, now: float) -> None:
        self._prompt.stop()
        self._phase = _Phase.KEYS
        self._on_key(event, now)

    def _on_key(self, event: DigitPressed, now: float) -> None:
        verb = self._verb
        if event.digit in verb.finish_on_key:
            self._judge(now)
            return
        self._digits += event.digit
        if len(self._digits) >= verb.num_digits:
            self._judge(now)
        else:
            self._call.set_timer(_KEY, now + verb.digit_timeout)

    def _on_timer(self, event: TimerFired, now: float) -> None:
        self._judge(now)

    def _on_sorry(self, event: VerbEvent, now: float) -> None:
        if self._prompt.receive(event, now):
            self._again(now)

    def _on_key_meanwhile(self, event: DigitPressed, now: float) -> None:
        """The caller knows what to do: the next attempt begins with this key."""
        if self._attempts_left:
            self._attempts_left -= 1
            self._digits = ""
            self._on_first_key(event, now)

    def _await_first(self, now: float) -> None:
        self._phase = _Phase.KEYS
        self._call.set_timer(_KEY, now + self._verb.timeout)

    def _judge(self, now: float) -> None:
        """The input of this attempt is complete."""
        verb, call = self._verb, self._call
        call.set_timer(_KEY, None)
        if not self._digits:
            self._again(now)
        elif not set(self._digits) <= set(verb.valid_digits):
            self._phase = _Phase.SORRY
            if not self._prompt.begin((Play(verb.invalid_digits_sound or ""),), now):
                self._again(now)
        else:
            call.send(StopListening())
            params = {"Digits": self._digits}
            call.follow("GetDigits", verb.action, verb.method, redirect=verb.redirect, params=params)

    def _again(self, now: float) -> None:
        if self._attempts_left:
            self.attempt(now)
        else:
            self._call.send(StopListening())
            self._call.finish()


_TRANSITIONS: dict[tuple[_Phase, type[VerbEvent]], Callable[..., None]] = {
    (_Phase.PROMPT, PromptEnded): _Collecting._on_prompt,  # noqa: SLF001 - the class's own table
    (_Phase.PROMPT, TimerFired): _Collecting._on_prompt,  # noqa: SLF001
    (_Phase.PROMPT, DigitPressed): _Collecting._on_first_key,  # noqa: SLF001
    (_Phase.KEYS, DigitPressed): _Collecting._on_key,  # noqa: SLF001
    (_Phase.KEYS, TimerFired): _Collecting._on_timer,  # noqa: SLF001
    (_Phase.SORRY, PromptEnded): _Collecting._on_sorry,  # noqa: SLF001
    (_Phase.SORRY, DigitPressed): _Collecting._on_key_meanwhile,  # noqa: SLF001
}
