"""The prompt of a verb that then takes input: what it says, plays and waits, one after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from bothway.core.execution import Beep, Execution, Prompted, PromptEnded, TimerFired, VerbEvent
from bothway.wire.verbs import Speak, Wait

__all__ = ["PromptPart", "PromptRun"]

PromptPart: TypeAlias = Prompted | Wait
"""One thing of a prompt. A `<Wait>` in it waits its whole length."""

_PAUSE = "pause in the prompt"


class PromptRun:
    """Says prompts, for the machine of a verb.

    Args:
        call: The call of the verb.
    """

    def __init__(self, call: Execution) -> None:
        self._call = call
        self._left: list[PromptPart] = []
        self._now: PromptPart | None = None
        self._prompt_id = ""
        self._loops_left = 0

    @property
    def running(self) -> bool:
        """Whether something of the prompt is still to come."""
        return self._now is not None

    def begin(self, parts: Iterable[PromptPart], now: float) -> bool:
        """Say these. Whether there is anything to be said."""
        self._left = [part for part in parts if _is_something(part)]
        self._next(now)
        return self.running

    def stop(self) -> None:
        """Say no more of it, at once."""
        if isinstance(self._now, Wait):
            self._call.set_timer(_PAUSE, None)
        elif self._now is not None:
            self._call.hush()
        self._now = None

    def receive(self, event: VerbEvent, now: float) -> bool:
        """Take an event of the verb's. Whether the prompt came to its end with it."""
        part = self._now
        if isinstance(part, Wait) and event == TimerFired(_PAUSE):
            self._next(now)
        elif part is not None and isinstance(event, PromptEnded) and event.prompt_id == self._prompt_id:
            self._loops_left -= 1
            # What cannot be heard is not said again; a loop of 0 has no end.
            if event.heard and self._loops_left != 0 and not isinstance(part, Wait):
                self._prompt_id = self._call.say(part)
            else:
                self._next(now)
        else:
            return False
        return not self.running

    def _next(self, now: float) -> None:
        part = self._now = self._left.pop(0) if self._left else None
        if isinstance(part, Wait):
            self._call.set_timer(_PAUSE, now + part.length)
        elif part is not None:
            self._loops_left = 1 if isinstance(part, Beep) else part.loop
            self._prompt_id = self._call.say(part)


def _is_something(part: PromptPart) -> bool:
    if isinstance(part, Beep | Wait):
        return True
    return bool(part.plain() if isinstance(part, Speak) else part.url)
