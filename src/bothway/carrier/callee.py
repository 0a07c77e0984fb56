"""Scripted callees: what a party does whom the carrier calls (docs/callees.md).

A `Callee` is a number, or a pattern of numbers, and what it does: one thing, or several with their chances. Each is a
`Behaviour`: it answers and then follows a script or sends back what it hears, it refuses, or it lets it ring.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TypeAlias

from bothway.carrier.destination import is_endpoint, plain_destination
from bothway.carrier.script import Beep, Hear, Play, Press, Rules, Say, Script, Wait
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause

__all__ = [
    "ECHO",
    "Answers",
    "Behaviour",
    "Callee",
    "Callees",
    "Chance",
    "Echo",
    "Luck",
    "Refuses",
    "RingsOn",
    "Span",
    "busy",
    "confirmer",
    "echo",
    "fails",
    "human",
    "no_answer",
    "plays",
    "rejects",
    "rings_on",
    "unallocated",
    "voicemail",
]

_HOUR_MS = 3_600_000

_ROUNDING = 1e-9
"""What shares of 1/3 may lack."""

_REMEMBERED = 100_000
"""Destinations whose calls `Luck` counts at a time."""

_PATTERN = re.compile(r"[0-9*]{1,32}")


@dataclass(frozen=True, slots=True)
class Span:
    """How long something may take, in seconds: always the same where both ends are.

    Raises:
        UsageError: It ends before it begins, or is below zero.
    """

    least: float
    most: float

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise UsageError(f"{self.least:g} s to {self.most:g} s is no span of time")

    def draw(self, random: Random) -> float:
        """One of its lengths, in seconds."""
        return self.least if self.least == self.most else random.uniform(self.least, self.most)


def _span(ring: Span | float) -> Span:
    return ring if isinstance(ring, Span) else Span(ring, ring)


@dataclass(frozen=True, slots=True)
class Echo:
    """A party that sends back what it hears, frame by frame, and never hangs up."""


ECHO = Echo()


@dataclass(frozen=True)
class Answers:
    """Answers, and then talks.

    Attributes:
        talk: What it does from the answer on.
        ring: For how long it rings before.
    """

    talk: Script | Echo
    ring: Span


@dataclass(frozen=True)
class Refuses:
    """Never answers, and says why.

    Attributes:
        cause: Why.
        detail: As a sentence.
        ring: For how long it rings before; nobody hears it ring where that is nothing.
    """

    cause: HangupCause
    detail: str
    ring: Span


@dataclass(frozen=True)
class RingsOn:
    """Lets it ring for as long as the caller waits."""


Behaviour: TypeAlias = Answers | Refuses | RingsOn


# --- presets ------------------------------------------------------------------------------------------------------


_RING = 2.0
"""Seconds that people and machines take to answer where nothing else is said: short, since tests are many."""

_NO_ANSWER = 30.0
"""Seconds after which a network gives up a telephone that nobody answers."""


def _listening(*steps: Say | Play | Beep | Press | Wait | Hear, within_ms: int = _HOUR_MS) -> Script:
    """The steps, and then to be there until the other end hangs up, or `within_ms` have passed."""
    return Script(
        (*steps, Hear("hang_up", within_ms=within_ms)),
        Rules(hang_up_after_ms=_HOUR_MS),
        on_timeout="continue",
        on_hang_up="accept",
    )


def human(text: str = "Hello?", *, ring: Span | float = _RING) -> Answers:
    """Somebody who answers with a word, and listens until the other end hangs up, for an hour at most."""
    return Answers(_listening(Say(text)), _span(ring))


_BREATH_MS = 300
"""Between the greeting and the beep."""

_BEEP = Beep()

_GREETING = Say("You have reached a voicemail. Please leave a message after the tone.")


def voicemail(
    greeting: Say | Play = _GREETING,
    *,
    beep: Beep = _BEEP,
    message_ms: int = 120_000,
    ring: Span | float = 15.0,
) -> Answers:
    """An answering machine: a greeting, a beep, and then it is silent and records, for `message_ms` at most.

    Args:
        greeting: What it says, or the WAV file that it plays.
        beep: The tone behind it.
        message_ms: After the beep, in milliseconds; then it hangs up.
        ring: How long it rings first; people have that time to answer.
    """
    return Answers(_listening(greeting, Wait(_BREATH_MS), beep, within_ms=message_ms), _span(ring))


def confirmer(
    digits: str = "1",
    *,
    after_ms: int = 500,
    says: str | None = None,
    within_ms: int = 30_000,
    ring: Span | float = _RING,
) -> Answers:
    """Somebody who hears a prompt out, presses keys, and then listens.

    Args:
        digits: The keys.
        after_ms: For how long the prompt has been over before the first of them, in milliseconds.
        says: What is said at the answer; None answers in silence.
        within_ms: How long to wait for a prompt; where none comes the keys are pressed then.
        ring: How long it rings first.
    """
    first = (Say(says),) if says else ()
    prompt = Hear("silence", for_ms=after_ms, within_ms=within_ms)
    return Answers(_listening(*first, prompt, Press(digits)), _span(ring))


def echo(*, ring: Span | float = _RING) -> Answers:
    """Somebody who sends back what comes."""
    return Answers(ECHO, _span(ring))


def plays(path: str | os.PathLike[str], *, ring: Span | float = _RING) -> Answers:
    """Somebody who plays a WAV file, and then listens."""
    return Answers(_listening(Play(os.fspath(path))), _span(ring))


def busy(*, ring: Span | float = 0.0) -> Refuses:
    """The line is busy."""
    return _refuses(3010, "the callee is busy", ring)


def rejects(*, ring: Span | float = _RING) -> Refuses:
    """Somebody sees who calls, and declines."""
    return _refuses(3020, "the callee rejected the call", ring)


def no_answer(*, ring: Span | float = _NO_ANSWER) -> Refuses:
    """Nobody answers, and the network gives up before the caller does."""
    return _refuses(3000, "the callee did not answer", ring)


def rings_on() -> RingsOn:
    """Nobody answers, and it rings until the caller gives up."""
    return RingsOn()


def unallocated(*, ring: Span | float = 0.0) -> Refuses:
    """There is nobody of this number."""
    return _refuses(3050, "the number is not allocated", ring)


def fails(*, ring: Span | float = _RING) -> Refuses:
    """The network fails while it rings."""
    return _refuses(5000, "the network failed while the callee's telephone rang", ring)


def _refuses(code: int, detail: str, ring: Span | float) -> Refuses:
    return Refuses(HangupCause.of(code, "Carrier"), detail, _span(ring))


# --- callees ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chance:
    """Something that a callee may do.

    Attributes:
        share: Of its calls: above 0, and 1 for all of them.
        does: What.
    """

    share: float
    does: Behaviour


@dataclass(frozen=True)
class Callee:
    """A number and what it does.

    Attributes:
        number: With or without `+`, spaces and dashes; a `*` stands for any digits, none included. Or a SIP address.
        does: What it does in every call; or in some, by their chances, whose shares add up to 1.

    Raises:
        UsageError: The number is none, or the shares do not add up.
    """

    number: str
    does: Behaviour | tuple[Chance, ...]

    def __post_init__(self) -> None:
        if not is_endpoint(self.plain) and not _PATTERN.fullmatch(self.plain):
            raise UsageError(f"callee {self.number!r} is no number, no pattern such as 1555*, and no SIP address")
        shares = [chance.share for chance in self._chances]
        if not all(share > 0 for share in shares) or abs(sum(shares) - 1) > _ROUNDING:
            raise UsageError(f"the chances of callee {self.number} are to be above 0 and to add up to 100 %")

    @cached_property
    def plain(self) -> str:
        """The number without what people write into it."""
        return plain_destination(self.number)

    @cached_property
    def _chances(self) -> tuple[Chance, ...]:
        return self.does if isinstance(self.does, tuple) else (Chance(1.0, self.does),)

    @cached_property
    def _fits(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.plain).replace(r"\*", "[0-9]*"))

    def is_called(self, destination: str) -> bool:
        """Whether a call to `destination` is one to this callee."""
        return self._fits.fullmatch(plain_destination(destination)) is not None

    def react(self, random: Random) -> tuple[Behaviour, float]:
        """What one call meets, and how many seconds it rings before that."""
        at = random.random()
        does = self._chances[-1].does  # also where the shares are a hair below 1
        for chance in self._chances:
            at -= chance.share
            if at < 0:
                does = chance.does
                break
        return does, 0.0 if isinstance(does, RingsOn) else does.ring.draw(random)


class Callees:
    """The callees of a carrier. An exact number comes before every pattern, and a pattern before those behind it.

    Attributes:
        entries: All of them, in order.

    Raises:
        UsageError: A number is there twice.
    """

    def __init__(self, entries: Iterable[Callee] = ()) -> None:
        self.entries = tuple(entries)
        self._exact = {callee.plain: callee for callee in self.entries if "*" not in callee.plain}
        self._patterns = tuple(callee for callee in self.entries if "*" in callee.plain)
        numbers = [callee.plain for callee in self.entries]
        twice = sorted({number for number in numbers if numbers.count(number) > 1})
        if twice:
            raise UsageError(f"the callee {twice[0]} is there more than once")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callees) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def find(self, destination: str) -> Callee | None:
        """The callee whom a call to `destination` reaches."""
        found = self._exact.get(plain_destination(destination))
        if found is not None:
            return found
        return next((callee for callee in self._patterns if callee.is_called(destination)), None)


class Luck:
    """Decides what each call meets. With a seed the n-th call to a destination meets the same in every run.

    It does so whatever calls to others come in between, unless those are so many that their count is forgotten.

    Args:
        seed: None decides anew in every run.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._calls: OrderedDict[str, int] = OrderedDict()

    def next(self, destination: str) -> Random:
        """The source of chance for the next call to `destination`."""
        if self._seed is None:
            return Random()  # noqa: S311 - no secret hangs on it
        call = self._calls.pop(destination, 0) + 1
        self._calls[destination] = call
        if len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)
        return Random(f"{self._seed} {destination} {call}")  # noqa: S311
