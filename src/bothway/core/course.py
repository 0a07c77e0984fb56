"""The course of a call: in which state it is, and what may happen in which state.

`Call` (core/call.py) is what the shell sees; this is what goes on inside. What may happen in which state is the table
`_TRANSITIONS`; an answer that comes in a state that does not wait for it is late, and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from bothway.core.document import DocumentRead, DocumentRun, VerbStarted
from bothway.core.execution import CloseStream, DocumentKind, Execution, PromptEnded, VerbEvent, Wait, cause
from bothway.core.profile import Profile
from bothway.core.verbs import executor_of
from bothway.wire.callxml import parse
from bothway.wire.xmltree import XmlError

__all__ = ["TIME_LIMIT", "CallPlan", "Course", "State"]


class State(Enum):
    """What the call is doing."""

    NEW = auto()
    RINGING = auto()  # the carrier placed the call, and its party has not picked up
    SCREENING = auto()  # it has, and whether a person or a machine did is being found out
    PARKED = auto()  # there is no document: another call has this one's audio
    FETCHING = auto()  # a document is on its way
    PROMPTING = auto()  # the caller hears a <Speak> or <Play>
    WAITING = auto()  # a <Wait> runs
    RUNNING = auto()  # a verb that takes events, such as <GetDigits> or <Dial>
    STREAMING = auto()  # a <Stream keepCallAlive="true"> blocks the document
    LINGERING = auto()  # the document is done, and a stream beside it holds the call
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What a number, an application or the request for a call says of it.

    Attributes:
        answer_url: Where the answer document is; None for a call that has none until it is transferred.
        answer_method: `GET` or `POST`.
        fallback_url: Where another is, if the first cannot be had or read.
        fallback_method: `GET` or `POST`.
        time_limit: Seconds that a call may last; from its answer, if the carrier placed it.
        outbound: Whether the carrier placed the call, and its party has to pick up.
        ring_timeout: Seconds that it may ring.
        hangup_on_ring: Seconds of ringing after which the call is given up; None for none.
        screened: Whether the answer document is fetched only when it is known whether a machine picked up.
    """

    answer_url: str | None
    answer_method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    time_limit: int = 14_400
    outbound: bool = False
    ring_timeout: int = 120
    hangup_on_ring: float | None = None
    screened: bool = False


TIME_LIMIT = "time limit"
"""The timer of the longest that the call may last."""


class Course:
    """State, document and transitions of one call.

    Args:
        plan: Where its documents are.
        profile: What the carrier does where sources disagree.

    Attributes:
        plan: As given.
        run: The document under way.
    """

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self.plan = plan
        self.run = DocumentRun(profile.limits)
        self._profile = profile
        self._state = State.NEW
        self._transfer: tuple[str, str] | None = None  # waits for the stream that blocks the document
        self._hosts = False  # a machine runs, and no document

    @property
    def state(self) -> State:
        """What the call is doing."""
        return self._state if self.run.end_cause is None else State.ENDED

    def ring(self) -> None:
        """The call is placed, and its party has to pick up."""
        self._state = State.RINGING

    def limit_time(self) -> None:
        """The longest that the call may last runs from now."""
        limit = min(self.plan.time_limit, self._profile.limits.call_seconds)
        self.run.timers[TIME_LIMIT] = self.run.now + limit

    def begin(self, params: Mapping[str, str] | None = None) -> None:
        """The answer document's turn, if there is one."""
        if self.plan.answer_url is None:
            self._state = State.PARKED
            return
        self._state = State.FETCHING
        self.run.fetch(DocumentKind.ANSWER, self.plan.answer_url, self.plan.answer_method, params=params)

    def transfer(self, url: str, method: str) -> None:
        """Go on with another document, at once or when the stream that blocks this one is over."""
        run = self.run
        if run.blocking is not None and not self._profile.transfer_interrupts:
            self._transfer = (url, method)
            return
        run.leave_document()
        if run.blocking is not None:
            run.commands.append(CloseStream(run.blocking, "the call was transferred"))
            run.blocking = None
        self._go_to(url, method)

    def dispatch(self, what: str, now: float, *details: Any) -> None:
        """Something happened: do what this state does about it, if anything."""
        self.run.now = now
        transition = _TRANSITIONS[self.state].get(what)
        if transition is not None:
            transition(self, *details)

    def host(self, executor: Callable[[Execution, float], Wait]) -> None:
        """Let `executor` act on a call without a document; it has none again when a machine that was begun is done."""
        if executor(self.run, self.run.now) is Wait.VERB:
            self._hosts, self._state = True, State.RUNNING

    def _go_to(self, url: str, method: str) -> None:
        self._hosts = False
        self._state = State.FETCHING
        self.run.fetch(DocumentKind.TRANSFER, url, method)

    def _on_answer(self) -> None:
        self.run.timers.clear()
        self.limit_time()
        self.run.answer()
        if self.plan.screened:
            self._state = State.SCREENING
        else:
            self.begin()

    def _on_verb_event(self, event: VerbEvent) -> None:
        run = self.run
        machine, fetches = run.machine, run.fetches
        assert machine is not None, "a machine runs in this state"
        machine.receive(event, run.now)
        if not self._verb_is_over(fetches):
            return
        if self._hosts:
            self._state = State.PARKED
        else:
            self._go_on()

    def _verb_is_over(self, fetches: int) -> bool:
        """Whether the running verb is done, and the next one's turn has come."""
        run = self.run
        if not run.finished or run.end_cause is not None:
            return False
        run.stop_machine()
        if run.fetches != fetches:
            self._state = State.FETCHING
            return False
        return True

    def _on_document(self, fetch_id: int, body: bytes) -> None:
        run = self.run
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
        if fetch_id == self.run.fetches:
            self._fail(self.run.kind.unreachable, text)

    def _on_prompt_end(self, prompt_id: str, heard: bool) -> None:
        if self.run.prompt_ended(prompt_id, heard=heard):
            self._go_on()

    def _on_verb_prompt_end(self, prompt_id: str, heard: bool) -> None:
        if self.run.prompt_ended(prompt_id, heard=heard):
            self._on_verb_event(PromptEnded(prompt_id, heard))

    def _on_stream_open(self, index: int) -> None:
        run = self.run
        if index in run.streams:
            run.timers[index] = run.now + run.streams[index].stream_timeout

    def _on_stream_end(self, index: int) -> None:
        run = self.run
        run.forget_stream(index)
        if index == run.blocking:
            run.blocking = None
            if self._transfer is not None:
                (url, method), self._transfer = self._transfer, None
                self._go_to(url, method)
            else:
                self._go_on()

    def _on_lingering_stream_end(self, index: int) -> None:
        self.run.forget_stream(index)
        self._go_on()

    def _fail(self, code: int, text: str) -> None:
        """A document failed: the fallback's turn, once, and only for the answer."""
        run = self.run
        if run.kind is DocumentKind.ANSWER and self.plan.fallback_url:
            run.remark(f"{text}; trying the fallback URL")
            run.fetch(DocumentKind.FALLBACK, self.plan.fallback_url, self.plan.fallback_method)
            return
        run.end(cause(code, "Error"), text)

    def _go_on(self) -> None:
        """Execute verbs until one of them waits for something."""
        run = self.run
        while True:
            if run.after_early is not None and len(run.verbs) <= run.after_early:
                run.after_early = None
                run.answer()
            if not run.verbs:
                break
            verb = run.verbs.pop()
            run.events.append(VerbStarted(type(verb).__name__))
            fetches = run.fetches
            waits_for = executor_of(verb)(verb, run, run.now)
            if waits_for is Wait.VERB and run.finished:
                if self._verb_is_over(fetches):
                    continue
                return
            if waits_for is not Wait.NOTHING:
                self._state = _STATE_OF[waits_for]
                return
        run.answer()  # a valid document with nothing in it is answered, and then hung up (plivo-protocol.md, 7.1)
        if run.streams and self._profile.stream_holds_call:
            self._state = State.LINGERING  # until the last of them ends
            return
        run.end(cause(4010, "Plivo"))


_STATE_OF = {
    Wait.FETCH: State.FETCHING,
    Wait.PROMPT: State.PROMPTING,
    Wait.TIMER: State.WAITING,
    Wait.STREAM: State.STREAMING,
    Wait.VERB: State.RUNNING,
    Wait.END: State.ENDED,
}

_BESIDE: dict[str, Callable[..., None]] = {  # what streams do beside whatever the document does
    "stream_open": Course._on_stream_open,  # noqa: SLF001 - the class's own table
    "stream_end": Course._on_stream_end,  # noqa: SLF001
}

_TRANSITIONS: dict[State, dict[str, Callable[..., None]]] = {
    State.NEW: {},
    State.RINGING: {"answer": Course._on_answer},  # noqa: SLF001
    State.SCREENING: {"screening": Course.begin, **_BESIDE},
    State.PARKED: dict(_BESIDE),
    State.FETCHING: {"document": Course._on_document, "failure": Course._on_failure, **_BESIDE},  # noqa: SLF001
    State.PROMPTING: {"prompt_end": Course._on_prompt_end, **_BESIDE},  # noqa: SLF001
    State.WAITING: {"timer": Course._go_on, **_BESIDE},  # noqa: SLF001
    State.RUNNING: {"event": Course._on_verb_event, "prompt_end": Course._on_verb_prompt_end, **_BESIDE},  # noqa: SLF001
    State.STREAMING: dict(_BESIDE),
    State.LINGERING: {**_BESIDE, "stream_end": Course._on_lingering_stream_end},  # noqa: SLF001
    State.ENDED: {},
}
