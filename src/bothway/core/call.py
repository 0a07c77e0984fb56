"""One call and the document it executes.

Synchronous and without a clock: `receive_*` and commands take `now`, `to_send` gives the commands for the shell,
`next_deadline` says when `handle_deadline` wants to be called. What goes on inside is `core/course.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bothway.core.course import CallPlan, Course, State
from bothway.core.document import SCHEDULE, WAIT, CallEvent, TimerName, VerbTimer
from bothway.core.execution import CloseStream, Command, DigitPressed, Execution, TimerFired, VerbEvent, Wait, cause
from bothway.core.profile import Profile
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Stream

__all__ = ["Call"]

_RING_TIMEOUT = "ring timeout"
_HANGUP_ON_RING = "hangup on ring"


class Call:
    """The call machine.

    Args:
        plan: Where its documents are.
        profile: What the carrier does where sources disagree.
    """

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self._course = Course(plan, profile)
        self._run = self._course.run

    @property
    def state(self) -> State:
        """What the call is doing."""
        return self._course.state

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
        """The call has come in, or is placed: then `receive_ringing`, `receive_answer` or `receive_refusal` follows."""
        if self.state is not State.NEW:
            raise UsageError("a call starts once")
        self._run.now = now
        if self._course.plan.outbound:
            self._course.ring()
            self._run.timers[_RING_TIMEOUT] = now + self._course.plan.ring_timeout
        else:
            self._course.limit_time()
            self._course.begin()

    def receive_ringing(self, now: float) -> None:
        """The called party's telephone rings."""
        if self.state is State.RINGING and self._course.plan.hangup_on_ring is not None:
            self._run.timers.setdefault(_HANGUP_ON_RING, now + self._course.plan.hangup_on_ring)

    def receive_answer(self, now: float) -> None:
        """The called party has picked up."""
        self._course.dispatch("answer", now)

    def receive_refusal(self, end_cause: HangupCause, now: float, detail: str = "") -> None:
        """The called party is busy, does not answer, or cannot be reached."""
        if self.state is State.RINGING:
            self.hangup(end_cause, now, detail)

    def host(self, executor: Callable[[Execution, float], Wait], now: float) -> None:
        """Let `executor` act on a call without a document: one that rings, or is parked and stays so.

        On a parked one it may begin a machine, which runs until it is done.

        Raises:
            UsageError: The call is neither.
        """
        if self.state not in (State.RINGING, State.PARKED):
            raise UsageError("only a call without a document can run what is asked of it from elsewhere")
        self._run.now = now
        self._course.host(executor)

    def receive_screening(self, params: Mapping[str, str], now: float) -> None:
        """It is known who picked up; `params` say so to the answer URL."""
        self._course.dispatch("screening", now, params)

    def receive_digit(self, digit: str, now: float, *, in_band: bool = False) -> None:
        """The party of this call pressed a key; `in_band` if its tones were heard."""
        self.receive(DigitPressed(digit, in_band), now)

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened that a verb may be waiting for. Where none is, it is too late and means nothing."""
        self._course.dispatch("event", now, event)

    def transfer(self, url: str, method: str, now: float) -> None:
        """Go on with the document at `url` instead, as REST asks.

        A stream that blocks the document ends at once, or the new document waits for its end: the profile says which
        (design, section 4).
        """
        run = self._run
        run.now = now
        if self.state in (State.NEW, State.RINGING, State.ENDED):
            raise UsageError("only a call that has been answered, or is fetching its document, can be transferred")
        self._course.transfer(url, method)

    def open_stream(self, verb: Stream, now: float) -> int:
        """Open a stream beside whatever the document does, as REST asks. Gives its index.

        Raises:
            UsageError: The call is not answered or over, has no room for another stream, or the stream cannot be.
        """
        run = self._run
        run.now = now
        problem = verb.problem()
        if problem is None and (run.answered_at is None or self.state is State.ENDED):
            problem = "a stream is opened on a call that is answered and not over"
        problem = problem or run.too_many_streams(verb)
        if problem is not None:
            raise UsageError(problem)
        return run.open_stream(replace(verb, keep_call_alive=False))

    def receive_document(self, fetch_id: int, body: bytes, now: float) -> None:
        """The document asked for is here."""
        self._course.dispatch("document", now, fetch_id, body)

    def receive_failure(self, fetch_id: int, text: str, now: float) -> None:
        """The document asked for cannot be had, and why."""
        self._course.dispatch("failure", now, fetch_id, text)

    def receive_prompt_end(self, prompt_id: str, now: float, *, heard: bool = True) -> None:
        """The caller heard the prompt, or (not `heard`) there was nothing to hear: then it is not repeated either."""
        self._course.dispatch("prompt_end", now, prompt_id, heard)

    def receive_stream_open(self, index: int, now: float) -> None:
        """The stream's socket is up: its `streamTimeout` runs from here."""
        self._course.dispatch("stream_open", now, index)

    def receive_stream_end(self, index: int, now: float) -> None:
        """The stream is over, or could not be opened."""
        self._course.dispatch("stream_end", now, index)

    def receive_hangup(self, now: float) -> None:
        """The caller has hung up."""
        self.hangup(
            cause(
                4000 if self._run.answered_at is not None else 1000,
                "Callee" if self._course.plan.outbound else "Caller",
            ),
            now,
        )

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
        for at, _, name in due:
            if run.timers.get(name) == at:  # another deadline of this moment may have made it void
                del run.timers[name]
                _fire(self._course, name, now)


def _fire(course: Course, name: TimerName, now: float) -> None:
    """A timer is due."""
    run = course.run
    if isinstance(name, int):
        run.commands.append(CloseStream(name, "stream timeout"))
    elif isinstance(name, VerbTimer):
        course.dispatch("event", now, TimerFired(name.name))
    elif name == WAIT:
        course.dispatch("timer", now)
    elif name == _RING_TIMEOUT:
        run.end(cause(6010, "Plivo"), f"nobody answered within {course.plan.ring_timeout} s")
    elif name == _HANGUP_ON_RING:
        run.end(cause(1000, "API Request"), "the call was to be given up while it rang")
    else:
        scheduled = name == SCHEDULE
        what = "<Hangup schedule>" if scheduled else "the call's time limit"
        run.end(cause(6000, "Plivo"), f"{what} was reached", scheduled=scheduled)
