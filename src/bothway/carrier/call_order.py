"""What is ordered of a call: who is on it, what happens on it, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from bothway.core.course import CallPlan
from bothway.core.machine import MachineSettings
from bothway.wire.hangup import HangupCause

__all__ = ["CallOrder", "CallWatcher", "Party", "Screening"]


@dataclass(frozen=True, slots=True)
class Party:
    """Who calls whom.

    Attributes:
        from_: Who placed the call.
        to: Who was called.
        direction: `inbound` when it came from outside.
        sip_headers: `X-PH-…` headers that the call came with, or is placed with, by name.
        caller_name: What the caller is announced as.
        request_uuid: What REST answered to the request for this call; empty for the call's own id.
        parent_call_uuid: The call that this one's leg was dialled for.
        forwarded_from: Who forwarded the call here, if the leg knows.
        stir_verification: Of the caller's number, as the leg knows it (plivo-protocol.md, 6.2).
        stir_attestation: Of the caller's number: A, B, C or what stands here.
    """

    from_: str
    to: str
    direction: Literal["inbound", "outbound"] = "inbound"
    sip_headers: tuple[tuple[str, str], ...] = ()
    caller_name: str = ""
    request_uuid: str = ""
    parent_call_uuid: str = ""
    forwarded_from: str = ""
    stir_verification: str = "Not Applicable"
    stir_attestation: str = "Not Applicable"


@dataclass(frozen=True, slots=True)
class Screening:
    """How a call looks for an answering machine (plivo-protocol.md, 5.3).

    Attributes:
        settings: When it is one.
        hangup: Whether a machine is hung up on (9100).
        url: Is told of a machine while the call goes on; without one, the answer URL is told who it is.
        method: `GET` or `POST`.
    """

    settings: MachineSettings
    hangup: bool = False
    url: str | None = None
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class CallOrder:
    """What happens on a call.

    Attributes:
        plan: Its documents and limits.
        hangup_url: Is told of the end.
        hangup_method: `GET` or `POST`.
        ring_url: Is told when the called party's telephone rings.
        ring_method: `GET` or `POST`.
        screening: Whether and how it is found out if a machine picked up.
    """

    plan: CallPlan
    hangup_url: str | None = None
    hangup_method: str = "POST"
    ring_url: str | None = None
    ring_method: str = "POST"
    screening: Screening | None = None


class CallWatcher(Protocol):
    """Who had a leg dialled, and wants to know how it does. Told outside of the watcher's own calls."""

    def leg_ringing(self) -> None:
        """The called party's telephone rings."""

    def leg_early_media(self) -> None:
        """There is something to hear before it picks up."""

    def leg_answered(self) -> None:
        """It has picked up: its audio is there."""

    def leg_confirmed(self, *, confirmed: bool) -> None:
        """It was asked whether it takes the call, and does, or not."""

    def leg_transferred(self) -> None:
        """REST has given it a document of its own. Nothing follows."""

    def leg_digit(self, digit: str, *, in_band: bool) -> None:
        """It pressed a key; `in_band` if its tones were heard."""

    def leg_ended(self, end_cause: HangupCause, detail: str) -> None:
        """It is gone, or could not be reached. Nothing follows."""
