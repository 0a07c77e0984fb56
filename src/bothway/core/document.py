"""A document under way: what its verbs have asked for, and what is being waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias

from bothway.core.execution import (
    Answer,
    Beep,
    CallBack,
    Command,
    DocumentKind,
    EarlyMedia,
    End,
    Fetch,
    OpenStream,
    Prompt,
    Prompted,
    RefuseStream,
    StopPrompt,
    VerbCommand,
    VerbMachine,
    Wait,
    cause,
    is_http_url,
)
from bothway.core.profile import Limits
from bothway.wire.callxml import Diagnostic
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream, Verb

__all__ = [
    "SCHEDULE",
    "WAIT",
    "CallEvent",
    "DocumentRead",
    "DocumentRun",
    "Remark",
    "TimerName",
    "VerbStarted",
    "VerbTimer",
]

SCHEDULE = "schedule"
"""The timer of `<Hangup schedule>`."""

WAIT = "wait"
"""The timer of `<Wait>`."""


@dataclass(frozen=True, slots=True)
class VerbTimer:
    """The name of a timer that the running verb has set."""

    name: str


TimerName: TypeAlias = str | int | VerbTimer
"""A timer of the call's own, a stream's index for its time-out, or one of the running verb's."""

_AT_ONCE = 1.0
"""Seconds: nobody answers a prompt, or takes a call and ends it, in less."""

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
        machine: The verb that is being executed, where it is one that takes events.
        finished: Whether that verb is done, and the next one's turn has come.
        timers: Each timer's deadline.
        after_early: Inside a `<PreAnswer>`, how many of `verbs` stand behind it.
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
        self._led_at = 0.0  # when the last document was asked for
        self.streams: dict[int, Stream] = {}
        self.blocking: int | None = None
        self.machine: VerbMachine | None = None
        self.finished = False
        self.timers: dict[TimerName, float] = {}
        self.after_early: int | None = None
        self.answered_at: float | None = None
        self.end_cause: HangupCause | None = None
        self.commands: list[Command] = []
        self.events: list[CallEvent] = []
        self.now = 0.0
        self._led_to = 0  # documents fetched, each because of the one before
        self._streams_asked = 0
        self._prompts = 0
        self._prompt: Prompted | None = None  # being heard
        self._loops_left = 0.0
        self._hears = False  # the caller can hear what the carrier says

    def too_many_streams(self, verb: Stream) -> str | None:
        """Why there can be no such stream beside those that are open, if so."""
        allowed = self._limits.streams_per_call
        if len(self.streams) >= allowed:
            return f"this call has {len(self.streams)} open streams, and no more than {allowed} are allowed"
        if verb.bidirectional and any(other.bidirectional for other in self.streams.values()):
            return "this call has a bidirectional stream already, and one alone can play audio: the others only listen"
        return None

    def answer(self) -> None:
        """Pick up, once."""
        if self.after_early is not None:
            self.early_media()
        elif self.answered_at is None:
            self.answered_at = self.now
            self._hears = True
            self.commands.append(Answer())

    def early_media(self) -> None:
        """Let the caller hear, once."""
        if not self._hears:
            self._hears = True
            self.commands.append(EarlyMedia())

    def pre_answer(self, verbs: Sequence[Verb]) -> None:
        """Run these first, as early media if the call is not answered."""
        if self.answered_at is None and self.after_early is None:
            self.after_early = len(self.verbs)
        self.verbs.extend(reversed(verbs))

    def begin(self, machine: VerbMachine) -> Wait:
        """Let a machine run."""
        self.machine = machine
        self.finished = False
        return Wait.VERB

    def finish(self) -> None:
        """The machine is done."""
        self.finished = True

    def follow(
        self, element: str, action: str | None, method: str, *, redirect: bool, params: Mapping[str, str]
    ) -> None:
        """The machine is done, and reports."""
        if action is None:
            self.finish()
        elif method not in {"GET", "POST"}:
            self.end(
                cause(7032, "Error"), f"the method {method!r} of the action of <{element}> is neither GET nor POST"
            )
        elif not is_http_url(action):
            self.end(cause(7022, "Error"), f"the action of <{element}> is no http or https URL")
        elif redirect:
            self.fetch(DocumentKind.ACTION, action, method, event=element, params=params)
        else:
            self.send(CallBack("action", action, method, element, params))
            self.finish()

    def send(self, command: VerbCommand | CallBack) -> None:
        """Ask the shell for something."""
        self.commands.append(command)

    def say(self, prompt: Prompted) -> str:
        """Say something once."""
        self._loops_left = 1
        self._prompt = prompt
        self._next_prompt(prompt)
        return str(self._prompts)

    def hush(self) -> None:
        """Stop what is being said."""
        if self._prompt is not None:
            self._prompt = None
            self.commands.append(StopPrompt())

    def set_timer(self, name: str, at: float | None) -> None:
        """Set a timer of the machine's, or forget it."""
        if at is None:
            self.timers.pop(VerbTimer(name), None)
        else:
            self.timers[VerbTimer(name)] = at

    def leave_document(self) -> None:
        """Give up what the document is doing; streams beside it go on."""
        self.verbs.clear()
        self.after_early = None
        self.hush()
        self.stop_machine()
        self.timers.pop(WAIT, None)

    def stop_machine(self) -> None:
        """The machine is over, by its own word or because the call goes elsewhere."""
        machine, self.machine = self.machine, None
        for name in [name for name in self.timers if isinstance(name, VerbTimer)]:
            del self.timers[name]
        if machine is not None and not self.finished:
            machine.stop(self.now)

    def fetch(
        self, kind: DocumentKind, url: str, method: str, *, event: str = "", params: Mapping[str, str] | None = None
    ) -> Wait:
        """Ask for a document."""
        # A transfer comes from outside, and between an action and the document before it the caller did something: a
        # conversation may be as long as it likes. Only what comes at once can be a circle.
        if kind is DocumentKind.TRANSFER or (kind is DocumentKind.ACTION and self.now - self._led_at >= _AT_ONCE):
            self._led_to = 0
        self._led_at = self.now
        if self._led_to >= self._limits.redirects:
            return self.end(cause(2060, "Error"), f"this call fetched {self._led_to} documents: it goes in circles")
        self._led_to += 1
        self.fetches += 1
        self.kind = kind
        self.commands.append(Fetch(self.fetches, kind, url, method, event, params or {}))
        self.verbs.clear()
        self.after_early = None
        self.finished = True
        return Wait.FETCH

    def prompt(self, verb: Speak | Play) -> Wait:
        """Say or play, `loop` times."""
        self._prompt = verb
        self._loops_left = verb.loop or inf
        return self._next_prompt(verb)

    def prompt_ended(self, prompt_id: str, *, heard: bool) -> bool:
        """A prompt was heard, or there was nothing to hear: whether the document goes on. If not, it is said again."""
        verb = self._prompt
        if verb is None or prompt_id != str(self._prompts):
            return False
        self._loops_left -= 1
        if heard and self._loops_left > 0:
            self._next_prompt(verb)
            return False
        self._prompt = None
        return True

    def wait_for(self, seconds: float, now: float) -> Wait:
        """Do nothing for a while."""
        self.timers[WAIT] = now + seconds
        return Wait.TIMER

    def open_stream(self, verb: Stream) -> int:
        """Ask for a stream. Gives its index."""
        self._streams_asked += 1
        self.streams[self._streams_asked] = verb
        if verb.keep_call_alive:
            self.blocking = self._streams_asked
        self.commands.append(OpenStream(self._streams_asked, verb))
        return self._streams_asked

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
        self.leave_document()
        self.streams.clear()
        self.timers.clear()
        self.commands.append(End(end_cause, detail, ran_to_end=scheduled or end_cause.code in _CHOSEN))
        return Wait.END

    def remark(self, text: str) -> None:
        """Note something for the log."""
        self.events.append(Remark(text))

    def _next_prompt(self, prompt: Prompted) -> Wait:
        self._prompts += 1
        once = prompt if isinstance(prompt, Beep) else replace(prompt, loop=1)
        self.commands.append(Prompt(str(self._prompts), once))
        return Wait.PROMPT
