"""What happened on a call, as it happens: for whoever waits for it, and for its timeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bothway.console.evidence import LogRecord
from bothway.testing.exchanges import RestRequest, Webhook
from bothway.testing.expectation import CallFailedError

__all__ = ["Mark", "Trace"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the timeline where something was not as expected.

    Attributes:
        ms: When, in milliseconds since the answer.
        text: What was wrong.
    """

    ms: int
    text: str


class Trace:
    """Everything about one call but its audio. It is the `Scene` of the expectations of its caller.

    Args:
        now_ms: Gives the present moment of the call, in milliseconds since the answer.

    Attributes:
        call_id: The call's UUID.
        records: Its evidence log, as far as it goes.
        webhooks: Every document and callback of this call that was requested, in order.
        rest: Every REST request that the app made about it, in order.
        marks: What was not as expected.
        promises: What is expected and was not awaited yet.
        over: Whether the call has ended, and all about it is done.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.call_id = ""
        self.records: list[LogRecord] = []
        self.webhooks: list[Webhook] = []
        self.rest: list[RestRequest] = []
        self.marks: list[Mark] = []
        self.over = False
        self._now_ms = now_ms
        self._watchers: list[Callable[[], None]] = []
        self._claimed: set[int] = set()  # by identity: of things that this trace keeps
        self.promises: list[str] = []

    @property
    def ended(self) -> LogRecord | None:
        """The record of the call's end; None while it lasts."""
        return next((record for record in reversed(self.records) if record.event == "ended"), None)

    def log(self, record: Mapping[str, Any]) -> None:
        """A record of the call's evidence log was made."""
        facts = {key: value for key, value in record.items() if key not in ("event", "t_ms", "at")}
        made = LogRecord(record["event"], record["t_ms"], record["at"], facts)
        self.records.append(made)
        if made.event == "call":
            self.call_id = made.text("call_id")
        self.happened()

    def called_back(self, webhook: Webhook) -> None:
        """The carrier made a request about this call."""
        self.webhooks.append(webhook)
        self.happened()

    def asked(self, request: RestRequest) -> None:
        """The app made a request about this call."""
        self.rest.append(request)
        self.happened()

    def close(self) -> None:
        """The call is over, and all about it is done."""
        self.over = True
        self.happened()

    def claim(self, among: Sequence[_T], fits: Callable[[_T], bool]) -> _T | None:
        """The first that fits and was never claimed, which it is from now on."""
        for one in among:
            if id(one) not in self._claimed and fits(one):
                self._claimed.add(id(one))
                return one
        return None

    def happened(self) -> None:
        """Let every expectation that waits look again."""
        for look in tuple(self._watchers):
            look()

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` after everything that happens."""
        self._watchers.append(look)

    def unwatch(self, look: Callable[[], None]) -> None:
        """Stop that."""
        self._watchers.remove(look)

    def promised(self, what: str) -> None:
        """An expectation was made."""
        self.promises.append(what)

    def awaited(self, what: str) -> None:
        """It is awaited."""
        if what in self.promises:  # it may be awaited twice
            self.promises.remove(what)

    def failed(self, why: str) -> CallFailedError:
        """The error that tells of a failure, which is noted at the present place of the timeline."""
        self.mark(why)
        return CallFailedError(why)

    def mark(self, text: str) -> None:
        """Note something at the present place of the timeline."""
        self.marks.append(Mark(self._now_ms(), text))
