"""The WebSocket leg's messages: what they look like, that they round-trip, and what is said of those that are wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import PeerError, UsageError
from bothway.wire import leg
from bothway.wire.leg import (
    Answered,
    Dial,
    Early,
    Ended,
    FromCaller,
    FromCarrier,
    HangUp,
    LegDigits,
    LegFormat,
    Log,
    Press,
    Refused,
    Ringing,
    decode_from_caller,
    decode_from_carrier,
    encode,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMED = TEXT.filter(bool)
FORMATS: list[LegFormat] = list(leg.LEG_FORMATS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def dials(draw: st.DrawFn) -> Dial:
    to, answer_url = draw(st.tuples(NAMED, st.none()) | st.tuples(st.none(), NAMED))
    return Dial(
        to=to,
        answer_url=answer_url,
        method=draw(st.sampled_from(["GET", "POST"])),
        from_=draw(TEXT),
        format=draw(st.sampled_from(FORMATS)),
        events=draw(st.booleans()),
        headers=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
    )


FROM_CALLER = st.one_of(
    dials(), st.sampled_from(leg.LEG_DIGITS).map(lambda digit: Press(digit=digit)), st.just(HangUp())
)
FROM_CARRIER = st.one_of(
    st.builds(Ringing, call_id=TEXT),
    st.builds(Early, call_id=TEXT),
    st.builds(Answered, call_id=TEXT),
    st.builds(LegDigits, digits=TEXT),
    st.builds(Log, record=st.dictionaries(TEXT, JSON, max_size=4)),
    st.builds(Ended, code=st.integers(0, 9999), name=TEXT, source=TEXT, detail=TEXT, ran_to_end=st.booleans()),
    st.builds(Refused, reason=TEXT),
)


@given(FROM_CALLER)
def test_what_a_caller_says_round_trips(message: FromCaller) -> None:
    assert decode_from_caller(encode(message)) == message


@given(FROM_CARRIER)
def test_what_a_carrier_says_round_trips(message: FromCarrier) -> None:
    assert decode_from_carrier(encode(message)) == message


@given(st.binary(max_size=60) | FROM_CALLER.map(encode).map(lambda raw: raw[:-1]))
def test_noise_is_the_peers_fault(raw: bytes) -> None:
    for decode in (decode_from_caller, decode_from_carrier):
        try:
            message = decode(raw)
        except PeerError:
            continue
        assert decode(encode(message)) == message


def test_the_messages_as_they_stand_on_the_wire() -> None:
    dial = Dial(to="+15550100", from_="+15550001", format="l16-16000", events=True, headers={"X-PH-Table": "4"})
    assert json.loads(encode(dial)) == {
        "type": "dial",
        "to": "+15550100",
        "answer_url": None,
        "method": "POST",
        "from": "+15550001",
        "format": "l16-16000",
        "events": True,
        "headers": {"X-PH-Table": "4"},
    }
    assert encode(Press(digit="#")) == b'{"type":"dtmf","digit":"#"}'
    assert encode(HangUp()) == b'{"type":"hangup"}'
    assert encode(Ringing(call_id="c")) == b'{"type":"ringing","call_id":"c"}'
    assert encode(Early(call_id="c")) == b'{"type":"early","call_id":"c"}'
    assert encode(Answered(call_id="c")) == b'{"type":"answered","call_id":"c"}'
    assert encode(LegDigits(digits="12#")) == b'{"type":"dtmf","digits":"12#"}'
    assert encode(Log(record={"ms": 20})) == b'{"type":"log","record":{"ms":20}}'
    assert encode(Refused(reason="busy")) == b'{"type":"refused","reason":"busy"}'
    ended = Ended(code=4000, name="Normal Hangup", source="Caller", ran_to_end=True)
    assert json.loads(encode(ended)) == {
        "type": "ended",
        "code": 4000,
        "name": "Normal Hangup",
        "source": "Caller",
        "detail": "",
        "ran_to_end": True,
    }


def test_a_dial_may_be_short() -> None:
    assert decode_from_caller(b'{"to":"100","type":"dial"}') == Dial(to="100")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"hello", "malformed"),
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `type`"),
        (b'{"type":"bye"}', "Invalid value 'bye' - at `$.type`"),
        (b'{"type":"dial"}', "dial names neither"),
        (b'{"type":"dial","to":""}', "dial names neither"),
        (b'{"type":"dial","to":"1","answer_url":"http://a/"}', "dial names both"),
        (b'{"type":"dial","to":1}', "got `int` - at `$.to`"),
        (b'{"type":"dial","to":"1","form":"2"}', "unknown field `form`"),
        (b'{"type":"dial","to":"1","format":"opus"}', "Invalid enum value 'opus' - at `$.format`"),
        (b'{"type":"dial","to":"1","method":"PUT"}', "Invalid enum value 'PUT' - at `$.method`"),
        (b'{"type":"dial","answer_url":"' + b"u" * 2049 + b'"}', "length <= 2048 - at `$.answer_url`"),
        (b'{"type":"dtmf","digit":"12"}', "at `$.digit`"),
        (b'{"type":"dtmf","digit":"1\\n"}', "at `$.digit`"),
        (b'{"type":"dtmf","digit":"w"}', "at `$.digit`"),
        (b'{"type":"dtmf"}', "missing required field `digit`"),
        (b'{"type":"dial","to":"\xff"}', "can't decode byte 0xff"),
        (b'{"a":' + b"[" * 60_000, "recursion depth"),
    ],
)
def test_a_callers_mistake_is_named(raw: bytes, said: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode_from_caller(raw)
    assert str(caught.value).startswith("the caller sent what is no leg message: ")
    assert said in str(caught.value)


def test_a_carriers_mistake_is_named() -> None:
    with pytest.raises(PeerError, match=r"the carrier sent what is no leg message: .*`call_id`"):
        decode_from_carrier(b'{"type":"ringing"}')
    with pytest.raises(PeerError, match="the carrier sent what is no leg message"):
        decode_from_carrier(b'{"type":"log","record":[]}')


def test_a_newer_carrier_may_say_more() -> None:
    assert decode_from_carrier(b'{"type":"answered","call_id":"c","at":12}') == Answered(call_id="c")


@pytest.mark.parametrize("fields", [{}, {"to": "1", "answer_url": "http://a/"}])
def test_a_dial_has_one_destination(fields: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="a number or to an answer URL"):
        Dial(**fields)  # type: ignore[arg-type]


def test_each_format_fills_frames() -> None:
    assert {name: audio_format.frame_bytes for name, audio_format in leg.LEG_FORMATS.items()} == {
        "pcmu": 160,
        "l16": 320,
        "l16-16000": 640,
    }
