"""What a `<Dial>` asks of its shell, and what it hears of the legs that it has called.

The legs of one dial are counted from 1. A leg's course, as the shell tells it:

    LegPlaced               it is called; or LegEnded, if it cannot be
    LegRang, LegEarlyMedia  perhaps
    LegAnswered
    LegConfirmed            behind a ConfirmLeg
    LegDigit …
    LegEnded, or LegTransferred

`DropLeg` is the last word on a leg: nothing is told of it any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bothway.core.execution import VerbCommand, VerbEvent
from bothway.wire.digits import NO_DIGITS, DigitPlan
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Number, User
from bothway.wire.webhooks import CallFacts

__all__ = [
    "CallLeg",
    "ConfirmEnded",
    "ConfirmLeg",
    "DropLeg",
    "EarlyLeg",
    "JoinLeg",
    "LegAnswered",
    "LegConfirmed",
    "LegDigit",
    "LegEarlyMedia",
    "LegEnded",
    "LegPlaced",
    "LegRang",
    "LegTransferred",
    "PassDigit",
    "read_sip_headers",
]

_DROPPED = ("ph-", "plivo", "fs-", "sipauth", "zt-", "twilio")
_DROPPED_NAMES = ("clientregion",)
_PREFIX = "X-PH-"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e]{0,512}")


def read_sip_headers(*written: str | None) -> tuple[tuple[str, str], ...]:
    """The SIP headers of a called leg: `name=value` pairs with commas between, each under its name with `X-PH-`.

    Names that begin with `PH-`, `Plivo`, `FS-`, `SipAuth`, `ZT-` or `Twilio`, and `ClientRegion`, are dropped without a
    word, in any case (plivo-protocol.md, 7.3); so is what cannot stand in a header. Of two with the same name the
    later one counts.
    """
    headers: dict[str, str] = {}
    for text in written:
        for pair in (text or "").split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            bare = name[len(_PREFIX) :] if name.upper().startswith(_PREFIX) else name
            reserved = bare.lower().startswith(_DROPPED) or bare.lower() in _DROPPED_NAMES
            if equals and not reserved and _NAME.fullmatch(bare) and _VALUE.fullmatch(value):
                headers[_PREFIX + bare] = value
    return tuple(headers.items())


# --- what is asked ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLeg(VerbCommand):
    """Call a party, as a call of its own that has no document.

    Attributes:
        leg: Its number.
        to: Whom, with what the document says of this one.
        from_: The caller id; empty for whoever calls on the dialling call.
        caller_name: Shown too; empty for none.
        headers: `X-PH-…` headers, by name.
        digits: Pressed towards the party.
        ring_seconds: After so much ringing nobody answers (6010).
    """

    leg: int
    to: Number | User
    from_: str = ""
    caller_name: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    digits: DigitPlan = field(default=NO_DIGITS)
    ring_seconds: int = 120


@dataclass(frozen=True, slots=True)
class EarlyLeg(VerbCommand):
    """Take what a leg lets hear before it is joined; `heard` says whether the caller hears it, or no longer."""

    leg: int
    heard: bool


@dataclass(frozen=True, slots=True)
class ConfirmLeg(VerbCommand):
    """Ask a leg that has answered whether it takes the call; `LegConfirmed` follows, or its end.

    Attributes:
        leg: Its number.
        sound: The URL of the side document that it hears.
        key: What it has to press; None asks for nothing.
        seconds: From now, in which it has to be pressed.
    """

    leg: int
    sound: str
    key: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class JoinLeg(VerbCommand):
    """Let the leg and the caller hear each other; `listens` to the called party's keys that are tones, too."""

    leg: int
    listens: bool = False


@dataclass(frozen=True, slots=True)
class DropLeg(VerbCommand):
    """End a leg, answered or not; nothing is told of it any more."""

    leg: int
    cause: HangupCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PassDigit(VerbCommand):
    """Press a key towards a leg, or (None) towards the caller."""

    leg: int | None
    digit: str


@dataclass(frozen=True, slots=True)
class ConfirmEnded(VerbCommand):
    """Of the called party's own call: it has pressed the key, or not, or heard the sound that asks for none."""

    confirmed: bool


# --- what is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LegPlaced(VerbEvent):
    """The leg is being called; `facts` are those of its own call, which has the dialling one as its parent."""

    leg: int
    facts: CallFacts


@dataclass(frozen=True, slots=True)
class LegRang(VerbEvent):
    """It rings there."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegEarlyMedia(VerbEvent):
    """There is something to hear before the answer."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegAnswered(VerbEvent):
    """Somebody has picked up."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegConfirmed(VerbEvent):
    """How the question of a `ConfirmLeg` was answered."""

    leg: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class LegDigit(VerbEvent):
    """The called party pressed a key; `in_band` if its tones were heard, which the caller has heard too."""

    leg: int
    digit: str
    in_band: bool = False


@dataclass(frozen=True, slots=True)
class LegEnded(VerbEvent):
    """The leg is gone: it hung up, was ended from outside, or never answered."""

    leg: int
    cause: HangupCause


@dataclass(frozen=True, slots=True)
class LegTransferred(VerbEvent):
    """REST has taken the joined leg out of the dial, to a document of its own.

    Attributes:
        leg: Its number.
        goes_on: Whether the dialling call is to go on behind its `<Dial>`. It is told a moment later than the rest, so
            that a request to transfer both legs finds the call where it was.
    """

    leg: int
    goes_on: bool
