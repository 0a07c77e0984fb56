"""The seam between a call and the party at its end: whatever carries that party, a call drives it through this.

A call and its leg talk on the event loop's thread, in plain calls. A leg never calls its sink from inside one of its
own methods, so that a call is not re-entered while it ticks.

A `Leg` is either side's: the party at its end has called the carrier, or was called by it. The names say `caller` of
both, as the tracks do: it is whoever is not the app. What the carrier calls is a `CalledLeg`, and takes this course:

    attach, ringing, ring      the leg calls the party up
    callee_ringing             perhaps
    callee_early_media         perhaps
    callee_answered            or callee_refused, which is the leg's last word
    answered, send_frames …    as of any leg

`ended` before the answer means: stop ringing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bothway.audio.format import AudioFormat
from bothway.wire.digits import NO_DIGITS, DigitPlan
from bothway.wire.hangup import HangupCause

__all__ = ["BACKLOG_SECONDS", "CalledLeg", "CalledSink", "Leg", "LegSink", "SipAuth", "Summons"]

BACKLOG_SECONDS = 5.0
"""How much of a call's audio may wait for a peer that does not read: more than any network's hiccup, and so much that a
conversation has long come to an end."""


class LegSink(Protocol):
    """What a leg tells its call. After `caller_hung_up` it tells nothing more."""

    def caller_frame(self, frame: bytes) -> None:
        """20 ms of the caller, in the leg's format. Only a call that has sent frames, or is answered, is told."""

    def caller_digit(self, digit: str) -> None:
        """The caller pressed a key: one of `0-9*#ABCD`. Only a call that has sent frames, or is answered, is told."""

    def caller_hung_up(self) -> None:
        """The caller has gone: it hung up, or it was lost. Told once, and not after `Leg.ended`."""


class Leg(Protocol):
    """One party's side of a call, as the call drives it."""

    @property
    def format(self) -> AudioFormat:
        """How the frames of both directions are coded."""
        ...

    def attach(self, call: LegSink) -> None:
        """The call that this leg belongs to. Called once, before anything else."""

    def ringing(self, call_id: str) -> None:
        """The call exists, and has this id."""

    def answered(self) -> None:
        """The call is answered: frames flow from now on, if they did not before."""

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """What the caller hears: 20 ms each, in the leg's format. Before `answered` they are early media."""

    def send_digits(self, digits: str) -> None:
        """Keys that the app presses towards the caller."""

    def log(self, record: Mapping[str, object]) -> None:
        """One record of the call's evidence, for a leg that asked for them. It may come at any time, also too late."""

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """The call is over. Called once, and last but for `log`.

        Args:
            cause: Why.
            detail: What happened, as a sentence; may be empty.
            ran_to_end: Whether the call came to an end of its own, and was not cut off by a failure.
        """


@dataclass(frozen=True, slots=True)
class SipAuth:
    """What a called endpoint or trunk may ask for (plivo-protocol.md, 5.3 and 7.3).

    Attributes:
        username: Who calls.
        password: Is not shown.
    """

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summons:
    """How a party is called.

    Attributes:
        from_: Who calls, as the party is shown it: a number without `+`, or a SIP URI.
        to: Who is called.
        caller_name: Shown too; empty for none.
        headers: `X-PH-…` headers, by name.
        sip_auth: For an endpoint or trunk that asks; None has nothing to say to that.
        digits: Keys that the leg presses towards the party, from the answer on.
        digits_on_early_media: Whether it presses them from early media on, if there is any.
    """

    from_: str
    to: str
    caller_name: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    sip_auth: SipAuth | None = None
    digits: DigitPlan = NO_DIGITS
    digits_on_early_media: bool = False


class CalledSink(LegSink, Protocol):
    """What a leg tells its call of a party that the carrier calls.

    Until `callee_answered` nothing of `LegSink` is told, but for the frames of early media. After `callee_refused`
    nothing is told any more, and the leg is left without an `ended`, or with one: it does not mind.
    """

    def callee_ringing(self) -> None:
        """It rings at the other end. Told once at most, and not at all by what answers or refuses at once."""

    def callee_early_media(self) -> None:
        """There is something to hear before the answer: the callee's own ringing tone, an announcement.

        Told once at most. A call that wants to hear it sends frames from now on, and gets the callee's; one that sends
        none misses nothing that it needs.
        """

    def callee_answered(self) -> None:
        """The party has answered. The call says `Leg.answered`, and sends frames; the party's follow."""

    def callee_refused(self, cause: HangupCause, detail: str) -> None:
        """There will be no answer, and the leg is done.

        Args:
            cause: Busy (3010), no answer (3000), rejected (3020), unallocated (3050), a network error (5000), failed
                SIP authentication (4240, 4250) …: plivo-protocol.md, 7.4.
            detail: What happened, as a sentence; may be empty.
        """


class CalledLeg(Leg, Protocol):
    """The side of a party that the carrier calls.

    `format` is what the leg offers; it is settled when `callee_answered` is told. `attach` is given a `CalledSink`.
    `Leg.ended` before the answer stops the ringing, whatever its cause.
    """

    def attach(self, call: CalledSink) -> None:  # type: ignore[override]  # a called leg has more to tell
        """The call that this leg belongs to. Called once, before anything else."""

    def ring(self, summons: Summons) -> None:
        """Call the party. Called once, behind `attach` and `ringing`."""
