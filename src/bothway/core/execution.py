"""What a verb may ask of its call, and what a call asks of its shell.

A verb's executor gets an `Execution` and says what the document waits for next. I/O is never done here: it is asked for
as commands, and the shell answers with the call's `receive_*` methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream

__all__ = [
    "Answer",
    "CloseStream",
    "Command",
    "DocumentKind",
    "End",
    "Execution",
    "Executor",
    "Fetch",
    "OpenStream",
    "Prompt",
    "RefuseStream",
    "StopPrompt",
    "Wait",
    "cause",
]


class DocumentKind(Enum):
    """Why a document was fetched; each has hangup codes of its own (plivo-protocol.md, 7.1 and 7.4)."""

    ANSWER = ("answer", 7011, 8011)
    FALLBACK = ("fallback", 7011, 8011)
    REDIRECT = ("redirect", 7014, 8014)

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
    END = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """Pick up: the caller's leg is answered from here on."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a document; answer with `receive_document` or `receive_failure`.

    Attributes:
        fetch_id: Comes back with the answer.
        kind: Why it is fetched.
        url: Where, with the delivery policy still in its fragment.
        method: `GET` or `POST`.
    """

    fetch_id: int
    kind: DocumentKind
    url: str
    method: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Say or play something to the caller; answer with `receive_prompt_end`.

    Attributes:
        prompt_id: Comes back with the answer.
        verb: What to say or play, once.
    """

    prompt_id: str
    verb: Speak | Play


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


Command: TypeAlias = Answer | Fetch | Prompt | StopPrompt | OpenStream | RefuseStream | CloseStream | End


class Execution(Protocol):
    """What an executor may ask of its call."""

    @property
    def open_streams(self) -> int:
        """Streams that are open or being opened."""

    @property
    def streams_allowed(self) -> int:
        """Streams that may be open at a time."""

    @property
    def answered(self) -> bool:
        """Whether the caller's leg has been picked up."""

    def answer(self) -> None:
        """Pick up, if that has not happened."""

    def fetch(self, kind: DocumentKind, url: str, method: str) -> Wait:
        """Replace the document by the one at `url`."""

    def prompt(self, verb: Speak | Play) -> Wait:
        """Say or play `verb`, as often as its `loop` says."""

    def wait_for(self, seconds: float, now: float) -> Wait:
        """Do nothing for a while."""

    def open_stream(self, verb: Stream) -> None:
        """Open a stream."""

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
