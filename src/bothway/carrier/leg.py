"""The seam between a call and the party at its end: whatever carries the caller, a call drives it through this.

A call and its leg talk on the event loop's thread, in plain calls. A leg never calls its sink from inside one of its
own methods, so that a call is not re-entered while it ticks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bothway.audio.format import AudioFormat
from bothway.wire.hangup import HangupCause

__all__ = ["BACKLOG_SECONDS", "Leg", "LegSink"]

BACKLOG_SECONDS = 5.0
"""How much of a call's audio may wait for a peer that does not read: more than any network's hiccup, and so much that a
conversation has long come to an end."""


class LegSink(Protocol):
    """What a leg tells its call. After `caller_hung_up` it tells nothing more."""

    def caller_frame(self, frame: bytes) -> None:
        """20 ms of the caller, in the leg's format. Only an answered call is told."""

    def caller_digit(self, digit: str) -> None:
        """The caller pressed a key: one of `0-9*#ABCD`. Only an answered call is told."""

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
        """The call is answered: frames flow from now on."""

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """What the caller hears: 20 ms each, in the leg's format."""

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
