"""One call and the document it executes.

Synchronous and without a clock: `receive_*` and commands take `now`, `to_send` gives the commands for the shell,
`next_deadline` says when `handle_deadline` wants to be called. What may happen in which state is the table
`_TRANSITIONS`; an answer that comes in a state that does not wait for it is late, and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from bothway.core.document import SCHEDULE, WAIT, CallEvent, DocumentRead, DocumentRun, VerbStarted
from bothway.core.execution import CloseStream, Command, DocumentKind, Wait, cause
from bothway.core.profile import Profile
from bothway.core.verbs import executor_of
from bothway.errors import UsageError
from bothway.wire.callxml import parse
from bothway.wire.hangup import HangupCause
from bothway.wire.xmltree import XmlError

__all__ = ["Call", "CallPlan", "State"]


class State(Enum):
    """What the call is doing."""

    NEW = auto()
    FETCHING = auto()  # a document is on its way
    PROMPTING = auto()  # the caller hears a <Speak> or <Play>
    WAITING = auto()  # a <Wait> runs
    STREAMING = auto()  # a <Stream keepCallAlive="true"> blocks the document
    LINGERING = auto()  # the document is done, and a stream beside it holds the call
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What a number or application says of its calls.

    Attributes:
        answer_url: Where the answer document is.
        answer_method: `GET` or `POST`.
        fallback_url: Where another is, if the first cannot be had or read.
        fallback_method: `GET` or `POST`.
        time_limit: Seconds that a call may last.
    """

    answer_url: str
    answer_method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    time_limit: int = 14_400


_TIME_LIMIT = "time limit"


class Call:
    """The call machine.

    Args:
        plan: Where its documents are.
        profile: What the carrier does where sources disagree.
    """

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self._plan = plan
        self._profile = profile
        self._state = State.NEW
        self._run = DocumentRun(profile.limits)

    @property
    def state(self) -> State:
        """What the call is doing."""
        return self._state if self._run.end_cause is None else State.ENDED

    @property
    def answered_at(self) -> float | None:
        """When the leg was picked up, or None."""
        return self._run.answered_at

    @property
    def end_cause(self) -> HangupCause | None:
        """Why the call ended, or None."""
        return self._run.end_cause

    # What the shell asks.

    def to_send(self) -> list[Command]:
        """Commands for the shell since the last call."""
        commands, self._run.commands = self._run.commands, []
        return commands

    def events(self) -> list[CallEvent]:
        """What happened since the last call."""
        events, self._run.events = self._run.events, []
        return events

    def next_deadline(self) -> float | None:
        """When `handle_deadline` is due."""
        return min(self._run.timers.values(), default=None)

    # What the shell tells.

    def start(self, now: float) -> None:
        """The call has come in."""
        if self.state is not State.NEW:
            raise UsageError("a call starts once")
        run = self._run
        run.now = now
        run.timers[_TIME_LIMIT] = now + min(self._plan.time_limit, self._profile.limits.call_seconds)
        self._state = State.FETCHING
        run.fetch(DocumentKind.ANSWER, self._plan.answer_url, self._plan.answer_method)

    def receive_document(self, fetch_id: int, body: bytes, now: float) -> None:
        """The document asked for is here."""
        self._dispatch("document", now, fetch_id, body)

    def receive_failure(self, fetch_id: int, text: str, now: float) -> None:
        """The document asked for cannot be had, and why."""
        self._dispatch("failure", now, fetch_id, text)

    def receive_prompt_end(self, prompt_id: str, now: float, *, heard: bool = True) -> None:
        """The caller heard the prompt, or (not `heard`) there was nothing to hear: then it is not repeated either."""
        self._dispatch("prompt_end", now, prompt_id, heard)

    def receive_stream_open(self, index: int, now: float) -> None:
        """The stream's socket is up: its `streamTimeout` runs from here."""
        self._dispatch("stream_open", now, index)

    def receive_stream_end(self, index: int, now: float) -> None:
        """The stream is over, or could not be opened."""
        self._dispatch("stream_end", now, index)

    def receive_hangup(self, now: float) -> None:
        """The caller has hung up."""
        self.hangup(cause(4000 if self._run.answered else 1000, "Caller"), now)

    def hangup(self, end_cause: HangupCause, now: float, detail: str = "") -> None:
        """End the call, for whatever reason from outside."""
        self._run.now = now
        if self.state is not State.ENDED:
            self._run.end(end_cause, detail)

    def handle_deadline(self, now: float) -> None:
        """Do what is due at `now`."""
        run = self._run
        run.now = now
        due = sorted((at, str(name), name) for name, at in run.timers.items() if at <= now)
        for _, _, name in due:
            if run.timers.pop(name, None) is None:
                continue  # another deadline of this moment made it void
            if isinstance(name, int):
                run.commands.append(CloseStream(name, "stream timeout"))
            elif name == WAIT:
                self._dispatch("timer", now)
            else:
                scheduled = name == SCHEDULE
                what = "<Hangup schedule>" if scheduled else "the call's time limit"
                run.end(cause(6000, "Plivo"), f"{what} was reached", scheduled=scheduled)

    # The transitions.

    def _dispatch(self, what: str, now: float, *details: Any) -> None:
        self._run.now = now
        transition = _TRANSITIONS[self.state].get(what)
        if transition is not None:
            transition(self, *details)

    def _on_document(self, fetch_id: int, body: bytes) -> None:
        run = self._run
        if fetch_id != run.fetches:
            return
        try:
            document = parse(body)
        except XmlError as error:
            self._fail(run.kind.invalid, str(error))
            return
        run.events.append(DocumentRead(run.kind, len(document.verbs), document.diagnostics))
        run.verbs = list(reversed(document.verbs))
        self._go_on()

    def _on_failure(self, fetch_id: int, text: str) -> None:
        if fetch_id == self._run.fetches:
            self._fail(self._run.kind.unreachable, text)

    def _on_prompt_end(self, prompt_id: str, heard: bool) -> None:
        if self._run.prompt_ended(prompt_id, heard=heard):
            self._go_on()

    def _on_stream_open(self, index: int) -> None:
        run = self._run
        if index in run.streams:
            run.timers[index] = run.now + run.streams[index].stream_timeout

    def _on_stream_end(self, index: int) -> None:
        run = self._run
        run.forget_stream(index)
        if index == run.blocking:
            run.blocking = None
            self._go_on()

    def _on_lingering_stream_end(self, index: int) -> None:
        self._run.forget_stream(index)
        if not self._run.streams:
            self._go_on()

    def _fail(self, code: int, text: str) -> None:
        """A document failed: the fallback's turn, once, and only for the answer."""
        run = self._run
        if run.kind is DocumentKind.ANSWER and self._plan.fallback_url:
            run.remark(f"{text}; trying the fallback URL")
            run.fetch(DocumentKind.FALLBACK, self._plan.fallback_url, self._plan.fallback_method)
            return
        run.end(cause(code, "Error"), text)

    def _go_on(self) -> None:
        """Execute verbs until one of them waits for something."""
        run = self._run
        while run.verbs:
            verb = run.verbs.pop()
            run.events.append(VerbStarted(type(verb).__name__))
            waits_for = executor_of(verb)(verb, run, run.now)
            if waits_for is not Wait.NOTHING:
                self._state = _STATE_OF[waits_for]
                return
        run.answer()  # a valid document with nothing in it is answered, and then hung up (plivo-protocol.md, 7.1)
        if run.streams and self._profile.stream_holds_call:
            self._state = State.LINGERING
            return
        run.end(cause(4010, "Plivo"))


_STATE_OF = {
    Wait.FETCH: State.FETCHING,
    Wait.PROMPT: State.PROMPTING,
    Wait.TIMER: State.WAITING,
    Wait.STREAM: State.STREAMING,
    Wait.END: State.ENDED,
}

_BESIDE: dict[str, Callable[..., None]] = {  # what streams do beside whatever the document does
    "stream_open": Call._on_stream_open,  # noqa: SLF001 - the class's own table
    "stream_end": Call._on_stream_end,  # noqa: SLF001
}

_TRANSITIONS: dict[State, dict[str, Callable[..., None]]] = {
    State.NEW: {},
    State.FETCHING: {"document": Call._on_document, "failure": Call._on_failure, **_BESIDE},  # noqa: SLF001
    State.PROMPTING: {"prompt_end": Call._on_prompt_end, **_BESIDE},  # noqa: SLF001
    State.WAITING: {"timer": Call._go_on, **_BESIDE},  # noqa: SLF001
    State.STREAMING: dict(_BESIDE),
    State.LINGERING: {**_BESIDE, "stream_end": Call._on_lingering_stream_end},  # noqa: SLF001
    State.ENDED: {},
}
