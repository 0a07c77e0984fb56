"""A document under way: what its verbs have asked for, and what is being waited for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from bothway.core.execution import (
    Answer,
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
from bothway.core.profile import Limits
from bothway.wire.callxml import Diagnostic
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream, Verb

__all__ = ["SCHEDULE", "WAIT", "CallEvent", "DocumentRead", "DocumentRun", "Remark", "VerbStarted"]

SCHEDULE = "schedule"
"""The timer of `<Hangup schedule>`."""

WAIT = "wait"
"""The timer of `<Wait>`."""

_ENDLESS = 0
_CHOSEN = frozenset({4000, 4010})  # a party hung up, or the document ran out


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


class DocumentRun:
    """What the call machine knows of its document. It is the `Execution` of the verbs.

    Args:
        limits: How many documents and streams a call may have.

    Attributes:
        verbs: What is left of the document, the next one last.
        kind: Of the document being fetched or executed.
        fetches: Documents asked for so far; the number of the one that is waited for.
        streams: The streams open or being opened, by their index.
        blocking: The stream that the document waits for.
        timers: A name, or a stream's index, to its deadline.
        answered_at: When the leg was picked up, or None.
        end_cause: Why the call ended, or None.
        commands: For the shell, not yet taken.
        events: For the shell, not yet taken.
        now: The time of the input being handled.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.verbs: list[Verb] = []
        self.kind = DocumentKind.ANSWER
        self.fetches = 0
        self.streams: dict[int, Stream] = {}
        self.blocking: int | None = None
        self.timers: dict[str | int, float] = {}
        self.answered_at: float | None = None
        self.end_cause: HangupCause | None = None
        self.commands: list[Command] = []
        self.events: list[CallEvent] = []
        self.now = 0.0
        self._streams_asked = 0
        self._prompts = 0
        self._prompt: Speak | Play | None = None  # being heard
        self._loops_left = 0

    @property
    def answered(self) -> bool:
        """Whether the leg was picked up."""
        return self.answered_at is not None

    @property
    def open_streams(self) -> int:
        """Streams open or being opened."""
        return len(self.streams)

    @property
    def streams_allowed(self) -> int:
        """Streams that may be open at a time."""
        return self._limits.streams_per_call

    def answer(self) -> None:
        """Pick up, once."""
        if self.answered_at is None:
            self.answered_at = self.now
            self.commands.append(Answer())

    def fetch(self, kind: DocumentKind, url: str, method: str) -> Wait:
        """Ask for a document."""
        if self.fetches >= self._limits.redirects:
            return self.end(cause(2060, "Error"), f"this call fetched {self.fetches} documents: it goes in circles")
        self.fetches += 1
        self.kind = kind
        self.commands.append(Fetch(self.fetches, kind, url, method))
        return Wait.FETCH

    def prompt(self, verb: Speak | Play) -> Wait:
        """Say or play, `loop` times."""
        self._prompt = verb
        self._loops_left = verb.loop
        return self._next_prompt(verb)

    def prompt_ended(self, prompt_id: str, *, heard: bool) -> bool:
        """A prompt was heard, or there was nothing to hear: whether the document goes on. If not, it is said again."""
        verb = self._prompt
        if verb is None or prompt_id != str(self._prompts):
            return False
        self._loops_left -= 1
        if heard and (verb.loop == _ENDLESS or self._loops_left > 0):
            self._next_prompt(verb)
            return False
        self._prompt = None
        return True

    def wait_for(self, seconds: float, now: float) -> Wait:
        """Do nothing for a while."""
        self.timers[WAIT] = now + seconds
        return Wait.TIMER

    def open_stream(self, verb: Stream) -> None:
        """Ask for a stream."""
        self._streams_asked += 1
        self.streams[self._streams_asked] = verb
        if verb.keep_call_alive:
            self.blocking = self._streams_asked
        self.commands.append(OpenStream(self._streams_asked, verb))

    def refuse_stream(self, verb: Stream, reason: str) -> None:
        """Report a stream that cannot be."""
        self.commands.append(RefuseStream(verb, reason))

    def forget_stream(self, index: int) -> None:
        """The stream is over."""
        self.streams.pop(index, None)
        self.timers.pop(index, None)

    def end_after(self, seconds: float, now: float) -> None:
        """End the call later."""
        self.timers[SCHEDULE] = now + seconds

    def end(self, end_cause: HangupCause, detail: str = "", *, scheduled: bool = False) -> Wait:
        """End the call now. `scheduled` says that its document asked for this moment."""
        self.end_cause = end_cause
        self.verbs.clear()
        self.streams.clear()
        self.timers.clear()
        if self._prompt is not None:
            self._prompt = None
            self.commands.append(StopPrompt())
        self.commands.append(End(end_cause, detail, ran_to_end=scheduled or end_cause.code in _CHOSEN))
        return Wait.END

    def remark(self, text: str) -> None:
        """Note something for the log."""
        self.events.append(Remark(text))

    def _next_prompt(self, verb: Speak | Play) -> Wait:
        self._prompts += 1
        self.commands.append(Prompt(str(self._prompts), replace(verb, loop=1)))
        return Wait.PROMPT
