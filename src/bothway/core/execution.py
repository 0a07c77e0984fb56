"""What a verb may ask of its call, and what a call asks of its shell.

A verb's executor gets an `Execution` and says what the document waits for next. A verb that takes time and hears of
more than one thing is a `VerbMachine`: it gets each `VerbEvent` while it runs, and says when it is done. I/O is never
done here: it is asked for as commands, and the shell answers with the call's `receive_*` methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream, Verb

__all__ = [
    "Answer",
    "Beep",
    "CallBack",
    "CloseStream",
    "Command",
    "DigitPressed",
    "DocumentKind",
    "EarlyMedia",
    "End",
    "Execution",
    "Executor",
    "Fetch",
    "OpenStream",
    "Prompt",
    "PromptEnded",
    "Prompted",
    "RefuseStream",
    "Ringback",
    "StopPrompt",
    "TimerFired",
    "VerbCommand",
    "VerbEvent",
    "VerbMachine",
    "Wait",
    "cause",
    "is_http_url",
]


class DocumentKind(Enum):
    """Why a document was fetched; each has hangup codes of its own (plivo-protocol.md, 7.1 and 7.4)."""

    ANSWER = ("answer", 7011, 8011)
    FALLBACK = ("fallback", 7011, 8011)
    REDIRECT = ("redirect", 7014, 8014)
    ACTION = ("action", 7012, 8012)
    TRANSFER = ("transfer", 7013, 8013)

    def __init__(self, word: str, unreachable: int, invalid: int) -> None:
        self.word = word
        self.unreachable = unreachable
        self.invalid = invalid


class Wait(Enum):
    """What the document waits for before its next verb."""

    NOTHING = auto()
    FETCH = auto()
    PROMPT = auto()
    TIMER = auto()
    STREAM = auto()
    VERB = auto()
    END = auto()


class VerbCommand:
    """What the machine of a verb asks of the shell, beyond what every call knows; each verb has classes of its own."""

    __slots__ = ()


class VerbEvent:
    """What the machine of a verb is told; each verb has classes of its own, beside those below."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DigitPressed(VerbEvent):
    """The party of this call pressed a key.

    Attributes:
        digit: One of `0-9*#ABCD`.
        in_band: Whether its tones were heard, which whoever hears the party has heard too.
    """

    digit: str
    in_band: bool = False


@dataclass(frozen=True, slots=True)
class PromptEnded(VerbEvent):
    """What the machine had said or played is over; not `heard` where there was nothing to hear."""

    prompt_id: str
    heard: bool


@dataclass(frozen=True, slots=True)
class TimerFired(VerbEvent):
    """The machine's timer of this name is due."""

    name: str


@dataclass(frozen=True, slots=True)
class Beep:
    """The tone before a recording, and before keys where a document asks for it."""


@dataclass(frozen=True, slots=True)
class Ringback(Beep):
    """The tone that says that it rings elsewhere: one sounding, and the pause behind it."""


Prompted: TypeAlias = Speak | Play | Beep
"""What a caller can be made to hear."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The call is answered from here on: pick up. Of a call that the carrier placed: its party has picked up."""


@dataclass(frozen=True, slots=True)
class EarlyMedia:
    """Let the caller hear before the call is answered and billed (plivo-protocol.md, 7.3, PreAnswer)."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a document; answer with `receive_document` or `receive_failure`.

    Attributes:
        fetch_id: Comes back with the answer.
        kind: Why it is fetched.
        url: Where, with the delivery policy still in its fragment.
        method: `GET` or `POST`.
        event: `Event` among its parameters; empty for the kind's own.
        params: What is said there beyond the standard parameters.
    """

    fetch_id: int
    kind: DocumentKind
    url: str
    method: str
    event: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallBack:
    """Tell a URL something; nothing waits for it, and what it answers is ignored.

    Attributes:
        kind: `action`, `dial`, `record`, `conference` …: for logs and metrics.
        url: Where, with the delivery policy still in its fragment.
        method: `GET` or `POST`.
        event: `Event` among its parameters.
        params: What is said there beyond the standard parameters.
    """

    kind: str
    url: str
    method: str
    event: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Say or play something to the caller; answer with `receive_prompt_end`.

    Attributes:
        prompt_id: Comes back with the answer.
        verb: What to say or play, once.
    """

    prompt_id: str
    verb: Prompted


@dataclass(frozen=True, slots=True)
class StopPrompt:
    """Stop what the document says or plays."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open a stream; answer with `receive_stream_open` and, in the end, `receive_stream_end`.

    Attributes:
        index: Comes back with the answers: the call's streams are counted from 1.
        verb: How the document wants it.
    """

    index: int
    verb: Stream


@dataclass(frozen=True, slots=True)
class RefuseStream:
    """A `<Stream>` cannot be opened: tell its status callback why."""

    verb: Stream
    reason: str


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close a stream; `receive_stream_end` follows."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The call is over: release the leg, close what is open, tell the hangup URL.

    Attributes:
        cause: Why.
        detail: What happened, as a sentence; may be empty.
        ran_to_end: Whether a party of the call or its document chose this end, and nothing cut the call off.
    """

    cause: HangupCause
    detail: str
    ran_to_end: bool


Command: TypeAlias = (
    Answer | EarlyMedia | Fetch | CallBack | Prompt | StopPrompt | OpenStream | RefuseStream | CloseStream | End
    | VerbCommand
)  # fmt: skip


class VerbMachine(Protocol):
    """A verb that is being executed: it asks its `Execution` for things, and says `finish` or `follow` in the end."""

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened; events that mean nothing to this verb are ignored."""

    def stop(self, now: float) -> None:
        """The call ends, or goes on elsewhere: give up what is held. Prompts and timers are stopped by the call."""


class Execution(Protocol):
    """What an executor may ask of its call."""

    def too_many_streams(self, verb: Stream) -> str | None:
        """Why there can be no such stream beside those that are open, if so."""

    @property
    def answered_at(self) -> float | None:
        """When the leg was picked up, or None."""

    @property
    def end_cause(self) -> HangupCause | None:
        """Why the call has ended, or None: known when a machine is stopped for it."""

    def answer(self) -> None:
        """Pick up, if that has not happened; inside `<PreAnswer>` only let the caller hear."""

    def early_media(self) -> None:
        """Let the caller hear, if it cannot yet: before the answer without picking up."""

    def pre_answer(self, verbs: Sequence[Verb]) -> None:
        """Let these verbs run before the rest of the document: as early media, and the call is answered behind them.

        In a call that is answered they run like any other.
        """

    def begin(self, machine: VerbMachine) -> Wait:
        """Let `machine` run: it gets every `VerbEvent` until it says `finish` or `follow`, or the call ends."""

    def finish(self) -> None:
        """The running machine is done: the next verb's turn."""

    def follow(
        self, element: str, action: str | None, method: str, *, redirect: bool, params: Mapping[str, str]
    ) -> None:
        """The running machine is done: report to its `action` URL, and go on as `redirect` says.

        With `redirect`, what the URL answers replaces the document; without, its answer is ignored and the next verb
        runs, as it does where there is no URL (plivo-protocol.md, 7.1).

        Args:
            element: The verb's name, for messages; and the `Event` of the request.
            action: The URL, or None.
            method: As written.
            redirect: Whether the answer is a document to go on with.
            params: What the verb has to say.
        """

    def send(self, command: VerbCommand | CallBack) -> None:
        """Ask the shell for something of a verb's own."""

    def say(self, prompt: Prompted) -> str:
        """Let the caller hear something, once; `PromptEnded` follows with the id that this gives."""

    def hush(self) -> None:
        """Stop what `say` began; no `PromptEnded` follows."""

    def set_timer(self, name: str, at: float | None) -> None:
        """`TimerFired(name)` at this time, instead of when it was to fire before; never, with None."""

    def fetch(
        self, kind: DocumentKind, url: str, method: str, *, event: str = "", params: Mapping[str, str] | None = None
    ) -> Wait:
        """Replace the document by the one at `url`."""

    def prompt(self, verb: Speak | Play) -> Wait:
        """Say or play `verb`, as often as its `loop` says."""

    def wait_for(self, seconds: float, now: float) -> Wait:
        """Do nothing for a while."""

    def open_stream(self, verb: Stream) -> int:
        """Open a stream. Gives its index: the call's streams are counted from 1."""

    def refuse_stream(self, verb: Stream, reason: str) -> None:
        """Tell the world that a `<Stream>` cannot be."""

    def end_after(self, seconds: float, now: float) -> None:
        """End the call later, whatever it is doing then."""

    def end(self, cause: HangupCause, detail: str = "") -> Wait:
        """End the call."""

    def remark(self, text: str) -> None:
        """Put a remark about the document into the call's log."""


Executor: TypeAlias = Callable[..., Wait]
"""`(verb, execution, now) -> Wait`; the verb's type is the executor's own."""


def cause(code: int, source: str) -> HangupCause:
    """The hangup cause of `code`, which `source` brought about (plivo-protocol.md, 6.3 and 7.4)."""
    return HangupCause.of(code, source)


def is_http_url(text: str) -> bool:
    """Whether this can be asked for over HTTP at all: http or https, and a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        return False
