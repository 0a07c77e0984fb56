"""The WebSocket leg: how a caller in another process, or in a browser, reaches the carrier.

A text message is one JSON object, its `type` first; a binary message is exactly one 20 ms frame in the leg's format.
The caller sends `dial` first. The carrier answers with `ringing`, then `answered`, and from then on with one frame for
every 20 ms of the call: its clock is the leg's clock. Where the caller is to hear something before the answer, `early`
comes first, and the frames flow from there on. A scripted caller answers each of those frames with exactly one
frame, so that it needs no timer and cannot drift; a browser sends at its own pace. `ended` is the carrier's last
message, or `refused` where there was no call. The format is Bothway's own.

What a caller sends is read strictly: a key that does not exist is an error, since it is a key that was misspelt. What
the carrier sends may hold keys that an older caller does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.errors import PeerError, UsageError

__all__ = [
    "LEG_DIGITS",
    "LEG_FORMATS",
    "LEG_PATH",
    "Answered",
    "Dial",
    "Early",
    "Ended",
    "FromCaller",
    "FromCarrier",
    "HangUp",
    "LegDigits",
    "LegFormat",
    "Log",
    "Press",
    "Refused",
    "Ringing",
    "decode_from_caller",
    "decode_from_carrier",
    "encode",
]

LEG_PATH = "/v1/leg"
"""Where a carrier takes WebSocket legs."""

LegFormat = Literal["pcmu", "l16", "l16-16000"]
"""The name of a leg's format, as `dial` and `bothway call --leg` spell it."""

LEG_FORMATS: dict[LegFormat, AudioFormat] = {"pcmu": MULAW_8K, "l16": L16_8K, "l16-16000": L16_16K}
"""What each name means."""

LEG_DIGITS = "0123456789*#ABCD"
"""The keys of a telephone (ITU-T Q.23)."""

_URL_LENGTH = 2048
"""The longest answer URL, in characters: the design's bound for every URL."""

_Url = Annotated[str, msgspec.Meta(max_length=_URL_LENGTH)]
_Digit = Annotated[str, msgspec.Meta(pattern=r"^[0-9*#A-D]\Z")]


class Dial(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    tag="dial",
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """Place a call. The first message, and sent once.

    Attributes:
        to: The number or endpoint called; its application says which document answers.
        answer_url: The URL of the document instead, where no number is called.
        method: How that URL is fetched.
        from_: Who calls; empty for a caller without a number.
        format: How the binary messages of both directions are coded.
        events: Whether the carrier shall send its evidence log as it grows.
        headers: SIP headers of the call (`X-PH-…`), as a SIP phone would send them.

    Raises:
        UsageError: Both or neither of `to` and `answer_url` are given.
    """

    to: str | None = None
    answer_url: _Url | None = None
    method: Literal["GET", "POST"] = "POST"
    from_: str = ""
    format: LegFormat = "pcmu"
    events: bool = False
    headers: dict[str, str] = {}

    def __post_init__(self) -> None:
        if bool(self.to) == bool(self.answer_url):
            given = "both" if self.to else "neither"
            raise UsageError(f"a call goes to a number or to an answer URL, and dial names {given}")


class Press(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dtmf", forbid_unknown_fields=True):
    """The caller pressed one key: one of `LEG_DIGITS`."""

    digit: _Digit


class HangUp(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hangup", forbid_unknown_fields=True):
    """The caller hangs up. The carrier still sends what it had on the way, and `ended`."""


class Ringing(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ringing"):
    """The carrier took the call, which has this id from now on."""

    call_id: str


class Early(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="early"):
    """Frames flow from now on, and keys count, though the call is not answered: `answered` may follow."""

    call_id: str


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="answered"):
    """The call is answered: frames flow from now on, if they did not before."""

    call_id: str


class LegDigits(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dtmf"):
    """The app pressed these keys towards the caller."""

    digits: str


class Log(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="log"):
    """One record of the call's evidence log, sent only where `dial` asked for events."""

    record: dict[str, Any]


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ended"):
    """The call is over; the last message.

    Attributes:
        code: The hang-up code (plivo-protocol.md, section 7.4).
        name: Its name.
        source: Who ended the call, in the words of section 6.3.
        detail: What happened, as a sentence; may be empty.
        ran_to_end: Whether the call came to an end of its own, and was not cut off by a failure.
    """

    code: int
    name: str
    source: str
    detail: str = ""
    ran_to_end: bool


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """There will be no call, and why; the last message."""

    reason: str


FromCaller: TypeAlias = Dial | Press | HangUp
FromCarrier: TypeAlias = Ringing | Early | Answered | LegDigits | Log | Ended | Refused

_caller_decoder: msgspec.json.Decoder[FromCaller] = msgspec.json.Decoder(FromCaller)
_carrier_decoder: msgspec.json.Decoder[FromCarrier] = msgspec.json.Decoder(FromCarrier)


def encode(message: FromCaller | FromCarrier) -> bytes:
    """The text message, as UTF-8."""
    return msgspec.json.encode(message)


def decode_from_caller(raw: bytes) -> FromCaller:
    """Read one text message that a caller sent.

    Raises:
        PeerError: It is none; the message says what is wrong, and where in the object.
    """
    try:
        return _caller_decoder.decode(raw)
    except (ValueError, RecursionError, UsageError) as error:
        raise PeerError(f"the caller sent what is no leg message: {error}") from None


def decode_from_carrier(raw: bytes) -> FromCarrier:
    """Read one text message that a carrier sent.

    Raises:
        PeerError: It is none; the message says what is wrong, and where in the object.
    """
    try:
        return _carrier_decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise PeerError(f"the carrier sent what is no leg message: {error}") from None
