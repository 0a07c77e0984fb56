from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.app.rest_values import (
    CallFilters,
    CallOptions,
    CallRecord,
    OpenCall,
    StreamRecord,
    chosen,
    joined,
    page,
    read,
)
from bothway.errors import PeerError, UsageError

KINDS = (CallRecord, OpenCall, StreamRecord)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(KINDS), st.data())
def test_whatever_is_answered_is_read_or_said_to_be_wrong(kind: type[Any], data: st.DataObject) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(kind)] + ["something_new"]
    found = data.draw(st.dictionaries(st.sampled_from(names), ANYTHING) | ANYTHING)
    try:
        one = read(kind, found)
    except PeerError:
        return
    assert one.raw is found


def test_what_cannot_be_read_is_none_and_stays_in_raw() -> None:
    record = read(
        CallRecord, {"call_uuid": "c", "bill_duration": "soon", "end_time": "", "total_amount": "x", "new": 1}
    )
    assert (record.bill_duration, record.end_time, record.total_amount) == (None, None, None)
    assert record.raw["bill_duration"] == "soon"
    assert record.raw["new"] == 1


def test_numbers_and_texts_are_taken_for_each_other() -> None:
    record = read(
        CallRecord, {"call_uuid": 17, "bill_duration": "27", "total_amount": 0.003, "hangup_cause_code": "4000"}
    )
    assert (record.call_uuid, record.bill_duration, record.hangup_cause_code) == ("17", 27, 4000)
    assert record.total_amount == Decimal("0.003")


def test_a_time_without_a_zone_is_utc() -> None:
    call = read(OpenCall, {"call_uuid": "c", "session_start": "2017-05-22 13:17:49.050872", "from": "1"})
    assert call.session_start == datetime(2017, 5, 22, 13, 17, 49, 50872, tzinfo=UTC)
    assert call.from_ == "1"


@pytest.mark.parametrize("found", [None, [], "x", {}, {"call_uuid": None}])
def test_what_has_no_name_is_the_carrier_s_fault(found: object) -> None:
    with pytest.raises(PeerError, match="carrier answered"):
        read(CallRecord, found)


def test_a_page() -> None:
    one = {"stream_id": "s"}
    assert page(StreamRecord, {"objects": [one], "meta": {"next": None, "total_count": 9}}, 1, 0).next_offset is None
    assert page(StreamRecord, {"objects": [one], "meta": {"next": "/v1"}}, 1, 4).next_offset == 5
    assert page(StreamRecord, {"objects": [one], "meta": {"total_count": 9}}, 1, 4).next_offset == 5
    assert page(StreamRecord, {"objects": [one], "meta": None}, 1, 0).next_offset is None
    assert page(StreamRecord, {"objects": [], "meta": {"next": "/v1"}}, 1, 9).next_offset is None
    wrongs: tuple[dict[str, Any], ...] = ({}, {"objects": {}}, {"objects": [{}]})
    for wrong in wrongs:
        with pytest.raises(PeerError):
            page(StreamRecord, wrong, 1, 0)


def test_options_are_written_out() -> None:
    assert chosen(CallOptions, {"sip_headers": {"a": "1", "b": "2"}, "ring_url": None, "ring_timeout": 3}) == {
        "sip_headers": "a=1,b=2",
        "ring_timeout": 3,
    }
    east = timezone(timedelta(hours=5, minutes=30))
    for when in (datetime(2026, 1, 2, 8, 34, tzinfo=east), datetime(2026, 1, 2, 3, 4), "2026-01-02 03:04:00"):  # noqa: DTZ001
        assert chosen(CallFilters, {"end_time__gt": when}) == {"end_time__gt": "2026-01-02 03:04:00"}


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UsageError, match=r"no option 'answer_methd'; did you mean answer_method\?"):
        chosen(CallOptions, {"answer_methd": "GET"})
    with pytest.raises(UsageError, match=r"no option 'zzz'$"):
        chosen(CallOptions, {"zzz": "GET"})


def test_one_or_several() -> None:
    assert joined("a", "<") == "a"
    assert joined(("a", "b"), "<") == "a<b"
    for none in ("", ()):
        with pytest.raises(UsageError):
            joined(none, "<")
