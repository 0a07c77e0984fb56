"""One call and the document it executes.

Synchronous and without a clock: `receive_*` and commands take `now`, `to_send` gives the commands for the shell,
`next_deadline` says when `handle_deadline` wants to be called. What may happen in which state is the table
`_TRANSITIONS`; an answer that comes in a state that does not wait for it is late, and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, TypeAlias

from bothway.core.execution import (
    Answer,
    CloseStream,
    Command,
    DocumentKind,
    End,
    Fetch,
    OpenStream,
    Prompt,
    RefuseStream,
    StopPrompt,
    Wait,
    cause,
)
from bothway.core.profile import Profile
from bothway.core.verbs import executor_of
from bothway.errors import UsageError
from bothway.wire import callxml
from bothway.wire.callxml import Diagnostic, Play, Speak, Stream, Verb
from bothway.wire.hangup import HangupCause

__all__ = ["Call", "CallEvent", "CallPlan", "DocumentRead", "Remark", "State", "VerbStarted"]


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


@dataclass(frozen=True, slots=True)
class DocumentRead:
    """A document was read; these are the remarks on it."""

    kind: DocumentKind
    verbs: int
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class VerbStarted:
    """A verb of the document starts."""

    element: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in the call's log that is worth a person's look."""

    text: str


CallEvent: TypeAlias = DocumentRead | VerbStarted | Remark

_TIME_LIMIT = "time limit"
_SCHEDULE = "schedule"
_WAIT = "wait"
_ENDLESS = 0


class Call:
    """The call machine.

    Args:
        plan: Where its documents are.
        profile: What the carrier does where sources disagree.

    Attributes:
        state: What it is doing.
        answered_at: When the leg was picked up, or None.
        end_cause: Why it ended, or None.
    """

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self.state = State.NEW
        self.answered_at: float | None = None
        self.end_cause: HangupCause | None = None
        self._plan = plan
        self._profile = profile
        self._verbs: list[Verb] = []  # what is left of the document, the next one last
        self._kind = DocumentKind.ANSWER  # of the document being fetched or executed
        self._fetches = 0
        self._prompts = 0
        self._prompt: Speak | Play | None = None  # being heard
        self._loops_left = 0
        self._streams = 0
        self._open: dict[int, Stream] = {}
        self._blocking: int | None = None  # the stream that the document waits for
        self._timers: dict[str | int, float] = {}  # a name, or a stream's index, to its deadline
        self._now = 0.0
        self._commands: list[Command] = []
        self._events: list[CallEvent] = []

    # What the shell asks.

    def to_send(self) -> list[Command]:
        """Commands for the shell since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def events(self) -> list[CallEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """When `handle_deadline` is due."""
        return min(self._timers.values(), default=None)

    # What the shell tells.

    def start(self, now: float) -> None:
        """The call has come in."""
        if self.state is not State.NEW:
            raise UsageError("a call starts once")
        self._now = now
        self._timers[_TIME_LIMIT] = now + min(self._plan.time_limit, self._profile.limits.call_seconds)
        self.state = State.FETCHING
        self.fetch(DocumentKind.ANSWER, self._plan.answer_url, self._plan.answer_method)

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
        code = cause(4000, "Caller") if self.answered_at is not None else cause(1000, "Caller")
        self.hangup(code, now)

    def hangup(self, end_cause: HangupCause, now: float, detail: str = "") -> None:
        """End the call, for whatever reason from outside."""
        self._now = now
        if self.state is not State.ENDED:
            self.end(end_cause, detail)

    def handle_deadline(self, now: float) -> None:
        """Do what is due at `now`."""
        self._now = now
        due = sorted((at, str(name), name) for name, at in self._timers.items() if at <= now)
        for _, _, name in due:
            if self._timers.pop(name, None) is None:
                continue  # another deadline of this moment made it void
            if isinstance(name, int):
                self._commands.append(CloseStream(name, "stream timeout"))
            elif name == _WAIT:
                self._dispatch("timer", now)
            else:
                what = "the call's time limit" if name == _TIME_LIMIT else "<Hangup schedule>"
                self.end(cause(6000, "Plivo"), f"{what} was reached")

    # What verbs ask (`Execution`).

    @property
    def answered(self) -> bool:
        """Whether the leg was picked up."""
        return self.answered_at is not None

    @property
    def open_streams(self) -> int:
        """Streams open or being opened."""
        return len(self._open)

    @property
    def streams_allowed(self) -> int:
        """Streams that may be open at a time."""
        return self._profile.limits.streams_per_call

    def answer(self) -> None:
        """Pick up, once."""
        if self.answered_at is None:
            self.answered_at = self._now
            self._commands.append(Answer())

    def fetch(self, kind: DocumentKind, url: str, method: str) -> Wait:
        """Ask for a document."""
        if self._fetches >= self._profile.limits.redirects:
            return self.end(cause(2060, "Error"), f"this call fetched {self._fetches} documents: it goes in circles")
        self._fetches += 1
        self._kind = kind
        self._commands.append(Fetch(self._fetches, kind, url, method))
        return Wait.FETCH

    def prompt(self, verb: Speak | Play) -> Wait:
        """Say or play, `loop` times."""
        self._prompt = verb
        self._loops_left = verb.loop
        return self._next_prompt()

    def wait_for(self, seconds: float, now: float) -> Wait:
        """Do nothing for a while."""
        self._timers[_WAIT] = now + seconds
        return Wait.TIMER

    def open_stream(self, verb: Stream) -> None:
        """Ask for a stream."""
        self._streams += 1
        self._open[self._streams] = verb
        if verb.keep_call_alive:
            self._blocking = self._streams
        self._commands.append(OpenStream(self._streams, verb))

    def refuse_stream(self, verb: Stream, reason: str) -> None:
        """Report a stream that cannot be."""
        self._commands.append(RefuseStream(verb, reason))

    def end_after(self, seconds: float, now: float) -> None:
        """End the call later."""
        self._timers[_SCHEDULE] = now + seconds

    def end(self, end_cause: HangupCause, detail: str = "") -> Wait:
        """End the call now."""
        self.state = State.ENDED
        self.end_cause = end_cause
        self._verbs.clear()
        self._open.clear()
        self._timers.clear()
        if self._prompt is not None:
            self._prompt = None
            self._commands.append(StopPrompt())
        self._commands.append(End(end_cause, detail))
        return Wait.END

    def remark(self, text: str) -> None:
        """Note something for the log."""
        self._events.append(Remark(text))

    # The transitions.

    def _dispatch(self, what: str, now: float, *details: Any) -> None:
        self._now = now
        transition = _TRANSITIONS[self.state].get(what)
        if transition is not None:
            transition(self, *details)

    def _on_document(self, fetch_id: int, body: bytes) -> None:
        if fetch_id != self._fetches:
            return
        try:
            document = callxml.parse(body)
        except callxml.XmlError as error:
            self._fail(self._kind.invalid, str(error))
            return
        self._events.append(DocumentRead(self._kind, len(document.verbs), document.diagnostics))
        self._verbs = list(reversed(document.verbs))
        self._run()

    def _on_failure(self, fetch_id: int, text: str) -> None:
        if fetch_id == self._fetches:
            self._fail(self._kind.unreachable, text)

    def _on_prompt_end(self, prompt_id: str, heard: bool) -> None:
        if prompt_id != str(self._prompts) or self._prompt is None:
            return
        self._loops_left -= 1
        if heard and (self._prompt.loop == _ENDLESS or self._loops_left > 0):
            self._next_prompt()
            return
        self._prompt = None
        self._run()

    def _on_timer(self) -> None:
        self._run()

    def _on_stream_open(self, index: int) -> None:
        if index in self._open:
            self._timers[index] = self._now + self._open[index].stream_timeout

    def _on_stream_end(self, index: int) -> None:
        self._forget_stream(index)
        if index == self._blocking:
            self._blocking = None
            self._run()

    def _on_lingering_stream_end(self, index: int) -> None:
        self._forget_stream(index)
        if not self._open:
            self._run()

    def _forget_stream(self, index: int) -> None:
        self._open.pop(index, None)
        self._timers.pop(index, None)

    def _next_prompt(self) -> Wait:
        assert self._prompt is not None
        self._prompts += 1
        self._commands.append(Prompt(str(self._prompts), replace(self._prompt, loop=1)))
        return Wait.PROMPT

    def _fail(self, code: int, text: str) -> None:
        """A document failed: the fallback's turn, once, and only for the answer."""
        if self._kind is DocumentKind.ANSWER and self._plan.fallback_url:
            self.remark(f"{text}; trying the fallback URL")
            self.fetch(DocumentKind.FALLBACK, self._plan.fallback_url, self._plan.fallback_method)
            return
        self.end(cause(code, "Error"), text)

    def _run(self) -> None:
        """Execute verbs until one of them waits for something."""
        while self._verbs:
            verb = self._verbs.pop()
            self._events.append(VerbStarted(type(verb).__name__))
            waits_for = executor_of(verb)(verb, self, self._now)
            if waits_for is not Wait.NOTHING:
                self.state = _STATE_OF[waits_for]
                return
        self.answer()  # a valid document with nothing in it is answered, and then hung up (plivo-protocol.md, 7.1)
        if self._open and self._profile.stream_holds_call:
            self.state = State.LINGERING
            return
        self.end(cause(4010, "Plivo"))


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
    State.WAITING: {"timer": Call._on_timer, **_BESIDE},  # noqa: SLF001
    State.STREAMING: dict(_BESIDE),
    State.LINGERING: {**_BESIDE, "stream_end": Call._on_lingering_stream_end},  # noqa: SLF001
    State.ENDED: {},
}
