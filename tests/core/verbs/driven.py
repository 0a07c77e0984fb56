"""A call that runs one document, driven by hand."""

from __future__ import annotations

from typing import TypeVar

from bothway.core.call import Call
from bothway.core.course import CallPlan
from bothway.core.document import Remark
from bothway.core.execution import Answer, Command, End, Fetch, Prompt, VerbEvent
from bothway.core.profile import DOCUMENTED

_Command = TypeVar("_Command")


class Driven:
    """The call's clock starts at 0 with the document, and moves only as it is told to."""

    def __init__(self, *elements: str) -> None:
        self.call = Call(CallPlan("https://example.com/answer"), DOCUMENTED)
        self.commands: list[Command] = []
        self.now = 0.0
        self.call.start(0.0)
        self.call.receive_document(1, f"<Response>{''.join(elements)}</Response>".encode(), 0.0)
        self._look()

    def press(self, digits: str) -> None:
        for digit in digits:
            self.call.receive_digit(digit, self.now)
        self._look()

    def tell(self, event: VerbEvent) -> None:
        self.call.receive(event, self.now)
        self._look()

    def heard(self, *, heard: bool = True) -> None:
        """The prompt that is being said has come to its end."""
        self.call.receive_prompt_end(self.said[-1].prompt_id, self.now, heard=heard)
        self._look()

    def passes(self, seconds: float) -> None:
        """Time goes on, and each deadline in it is kept."""
        end = self.now + seconds
        while (at := self.call.next_deadline()) is not None and at <= end:
            self.now = at
            self.call.handle_deadline(at)
            self._look()
        self.now = end

    def all(self, kind: type[_Command]) -> list[_Command]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def said(self) -> list[Prompt]:
        return self.all(Prompt)

    @property
    def texts(self) -> list[str]:
        """What was said or played, or the name of what has no text."""
        return [getattr(it.verb, "text", getattr(it.verb, "url", type(it.verb).__name__)) for it in self.said]

    @property
    def action(self) -> Fetch:
        """The one document that was asked for beyond the first."""
        (_, fetch) = self.all(Fetch)
        return fetch

    @property
    def end(self) -> End | None:
        ends = self.all(End)
        return ends[0] if ends else None

    @property
    def answered(self) -> bool:
        return bool(self.all(Answer))

    def remarks(self) -> list[str]:
        return [event.text for event in self.call.events() if isinstance(event, Remark)]

    def _look(self) -> None:
        self.commands += self.call.to_send()
