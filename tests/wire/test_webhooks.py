from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import PeerError, UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.webhooks import (
    CallFacts,
    StatusForm,
    StreamEvent,
    answer_params,
    hangup_params,
    machine_params,
    parse_answer,
    parse_hangup,
    parse_stream_status,
    ring_params,
    standard_params,
    stream_status_params,
)

CALL = "64d3290a-87a6-46b4-a6e2-20f5f4e07a02"
STREAM = "5a8d3f52-0f6e-4c6e-9c57-2f0e7b1f9d11"
KOLKATA = timezone(timedelta(hours=5, minutes=30))
START = datetime(2024, 9, 26, 8, 35, 8, 910772, tzinfo=UTC)
OUTBOUND = CallFacts(
    call_uuid=CALL,
    from_="14155550100",
    to="14155550111",
    direction="outbound",
    auth_id="MAXXXXXXXXXXXXXXXXXX",
    session_start=START,
    bill_rate=Decimal("0.005"),
    country_code="US",
)
INBOUND = replace(OUTBOUND, direction="inbound", caller_name="+14155550100")
IDENTITY = {"CallStatus", "CallUUID", "Direction", "Event", "From", "ParentAuthID", "SessionStart", "To"}
STIR = {"STIRAttestation", "STIRVerification"}
A_LEG = {"ALegUUID", "ALegRequestUUID", "RequestUUID"}


# --- requests for a document ---------------------------------------------------------------------------------------


def test_an_outbound_answer_has_the_captured_fields() -> None:
    params = answer_params(OUTBOUND)
    assert set(params) == IDENTITY | STIR | A_LEG | {"BillRate", "CountryCode", "RouteType"}
    assert (params["Event"], params["CallStatus"]) == ("StartApp", "in-progress")
    assert params["ALegUUID"] == params["ALegRequestUUID"] == params["RequestUUID"] == params["CallUUID"] == CALL
    assert params["SessionStart"] == "2024-09-26 08:35:08.910772"
    assert params["BillRate"] == "0.005"


def test_an_inbound_answer_has_the_captured_fields() -> None:
    params = answer_params(INBOUND)
    assert set(params) == IDENTITY | STIR | {"BillRate", "CallerName", "CountryCode", "RouteType"}
    assert (params["Event"], params["CallStatus"], params["CallerName"]) == ("StartApp", "ringing", "+14155550100")
    assert answer_params(INBOUND, status="in-progress")["CallStatus"] == "in-progress"
    assert answer_params(replace(INBOUND, caller_name=""))["CallerName"] == "14155550100"


def test_what_only_some_calls_have_is_sent_only_then() -> None:
    facts = replace(
        INBOUND,
        forwarded_from="14155550122",
        parent_call_uuid="p",
        sip_headers=(("SIP-H-To", "<sip:a@b>"), ("X-PH-k", "v")),
    )
    params = standard_params(facts, event="Redirect", status="in-progress")
    assert params["Event"] == "Redirect"
    more = {"ForwardedFrom": "14155550122", "ParentCallUUID": "p", "SIP-H-To": "<sip:a@b>", "X-PH-k": "v"}
    assert params.items() >= more.items()
    assert not set(more) & set(answer_params(INBOUND))


def test_a_ring_has_the_captured_fields() -> None:
    params = ring_params(replace(OUTBOUND, request_uuid="r"))
    assert set(params) == IDENTITY | {"CallerName", "RequestUUID"}
    assert (params["Event"], params["CallStatus"], params["RequestUUID"]) == ("Ring", "ringing", "r")


def test_a_machine_has_the_documented_fields() -> None:
    params = machine_params(OUTBOUND, if_machine="hangup")
    assert set(params) >= A_LEG | {"Machine", "IfMachine", "From", "To", "CallUUID", "Direction", "Event", "CallStatus"}
    assert (params["Machine"], params["IfMachine"], params["Event"]) == ("true", "hangup", "MachineDetection")


# --- the end of a call ---------------------------------------------------------------------------------------------


def test_an_answered_hangup_is_billed_by_the_started_minute_in_the_accounts_time() -> None:
    params = hangup_params(
        OUTBOUND,
        HangupCause.of(4000, "Callee"),
        start_time=START,
        answer_time=START + timedelta(seconds=10),
        end_time=START + timedelta(seconds=75.5),
        zone=KOLKATA,
    )
    assert params == {
        "ALegRequestUUID": CALL,
        "ALegUUID": CALL,
        "AnswerTime": "2024-09-26 14:05:18",
        "BillDuration": "120",
        "BillRate": "0.005",
        "CallStatus": "completed",
        "CallUUID": CALL,
        "Direction": "outbound",
        "Duration": "66",
        "EndTime": "2024-09-26 14:06:24",
        "Event": "Hangup",
        "From": "14155550100",
        "HangupCause": "NORMAL_CLEARING",
        "HangupCauseCode": "4000",
        "HangupCauseName": "Normal Hangup",
        "HangupSource": "Callee",
        "ParentAuthID": "MAXXXXXXXXXXXXXXXXXX",
        "RequestUUID": CALL,
        "STIRAttestation": "Not Applicable",
        "STIRVerification": "Not Applicable",
        "SessionStart": "2024-09-26 08:35:08.910772",
        "StartTime": "2024-09-26 14:05:08",
        "To": "14155550111",
        "TotalCost": "0.01000",
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (3010, "busy"),
        (3100, "busy"),
        (3000, "no-answer"),
        (6010, "timeout"),
        (1000, "cancel"),
        (2000, "failed"),
        (5010, "failed"),
    ],
)
def test_a_hangup_without_an_answer_costs_nothing(code: int, status: str) -> None:
    cause = HangupCause.of(code, "Carrier")
    params = hangup_params(OUTBOUND, cause, start_time=START, answer_time=None, end_time=START + timedelta(seconds=9))
    assert params["CallStatus"] == status
    assert params["AnswerTime"] == ""
    assert (params["Duration"], params["BillDuration"], params["TotalCost"]) == ("0", "0", "0.00000")
    assert not {"ALegUUID", "ALegRequestUUID"} & set(params)


def test_what_the_caller_of_the_builder_knows_better_stands() -> None:
    params = hangup_params(
        INBOUND,
        HangupCause.of(4010, "Plivo"),
        start_time=START,
        answer_time=START,
        end_time=START,
        status="failed",
        total_cost=Decimal(1),
    )
    assert (params["CallStatus"], params["TotalCost"], params["Duration"]) == ("failed", "1.00000", "0")
    assert params["CallerName"] == "+14155550100"


def test_a_time_without_a_zone_is_the_callers_fault() -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(UsageError, match="session_start has no time zone"):
        replace(OUTBOUND, session_start=naive)
    with pytest.raises(UsageError, match="answer_time has no time zone"):
        hangup_params(
            OUTBOUND, HangupCause.of(4000, "Caller"), start_time=START, answer_time=naive, end_time=START
        )  # fmt: skip
    with pytest.raises(UsageError, match="at has no time zone"):
        stream_status_params("live", "started", OUTBOUND, stream_id=STREAM, at=naive)


# --- the stream's status -------------------------------------------------------------------------------------------


def status(form: StatusForm, event: StreamEvent, **more: str | float) -> dict[str, str]:
    params = stream_status_params(form, event, OUTBOUND, stream_id=STREAM, at=START, **more)  # type: ignore[arg-type]
    assert params is not None
    return params


LIVE_ALWAYS = {
    "Event", "CallUUID", "StreamID", "From", "To", "Direction", "ParentAuthID", "Timestamp",
    "status_callback_url", "status_callback_method",
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "word", "more"),
    [
        ("started", "StartStream", {"ServiceURL": "wss://h/ws"}),
        ("stopped", "StopStream", {}),
        (
            "failed",
            "DroppedStream",
            {"ServiceURL": "wss://h/ws", "Error": "connection disconnected with the remote service"},
        ),
        ("degraded", "DegradedStream", {"Error": "connection degraded"}),
        ("played", "PlayedStream", {"Name": "utt-7"}),
        ("cleared", "ClearedAudio", {}),
    ],
)
def test_the_live_vocabulary(event: StreamEvent, word: str, more: dict[str, str]) -> None:
    params = status("live", event, service_url="wss://h/ws", name="utt-7", duration=3.0, callback_url="https://h/s")
    assert set(params) == LIVE_ALWAYS | set(more)
    assert params.items() >= more.items()
    assert (params["Event"], params["Timestamp"]) == (word, "2024-09-26 08:35:08")
    assert (params["status_callback_url"], params["status_callback_method"]) == ("https://h/s", "POST")


@pytest.mark.parametrize(
    ("event", "more"),
    [
        ("started", {}),
        ("stopped", {"StatusReason": "completed", "Duration": "3.25"}),
        ("failed", {"StatusReason": "connection_failed"}),
    ],
)
def test_the_documented_vocabulary(event: StreamEvent, more: dict[str, str]) -> None:
    params = status("documented", event, service_url="wss://h/ws", duration=3.25)
    assert set(params) == {"Event", "CallUUID", "StreamID", "From", "To", "Direction", "Timestamp"} | set(more)
    assert params.items() >= more.items()
    assert (params["Event"], params["Timestamp"]) == (event, "2024-09-26T08:35:08.910Z")


@pytest.mark.parametrize("event", ["degraded", "played", "cleared"])
def test_the_documented_vocabulary_has_no_word_for_the_rest(event: StreamEvent) -> None:
    assert stream_status_params("documented", event, OUTBOUND, stream_id=STREAM, at=START) is None


def test_a_reason_is_told_in_either_vocabulary() -> None:
    assert status("documented", "stopped", reason="buffer_overflow")["StatusReason"] == "buffer_overflow"
    assert status("documented", "stopped", duration=60.0)["Duration"] == "60"
    assert status("live", "failed", reason="nobody there")["Error"] == "nobody there"


# --- what the app reads --------------------------------------------------------------------------------------------


def test_an_answer_request_is_read_back() -> None:
    answer = parse_answer(answer_params(INBOUND))
    assert (answer.call_uuid, answer.from_, answer.to, answer.direction) == (
        CALL,
        "14155550100",
        "14155550111",
        "inbound",
    )
    assert (answer.status, answer.event, answer.auth_id) == ("ringing", "StartApp", "MAXXXXXXXXXXXXXXXXXX")
    assert answer.session_start == START
    assert answer.extra["CountryCode"] == "US"
    assert parse_answer({"CallUUID": CALL, "SessionStart": "yesterday", "New": "1"}).extra == {"New": "1"}


def test_a_captured_hangup_is_read() -> None:
    body = (
        "AnswerTime=2024-09-26+14%3A05%3A18&BillDuration=120&BillRate=0.005&CallStatus=completed&Direction=outbound"
        f"&CallUUID={CALL}&Duration=66&EndTime=2024-09-26+14%3A06%3A23&Event=Hangup&From=14155550100"
        "&HangupCause=NORMAL_CLEARING&HangupCauseCode=4000&HangupCauseName=Normal+Hangup&HangupSource=Callee"
        "&SessionStart=2024-09-26+08%3A35%3A10.910772&StartTime=2024-09-26+14%3A05%3A08&TotalCost=0.01000"
    )
    hangup = parse_hangup(dict(parse_qsl(body)))
    assert hangup.cause == HangupCause(4000, "Normal Hangup", "Callee", "NORMAL_CLEARING")
    assert (hangup.duration, hangup.bill_duration, hangup.total_cost) == (66, 120, Decimal("0.01"))
    assert hangup.answered
    assert hangup.answer_time == "2024-09-26 14:05:18"
    assert hangup.extra["BillRate"] == "0.005"


def test_a_hangup_with_little_in_it_is_read() -> None:
    hangup = parse_hangup({"CallUUID": CALL, "HangupCauseCode": "3010", "Duration": "soon", "TotalCost": "NaN"})
    assert hangup.cause == HangupCause(3010, "Busy Line", "Unknown", "")
    assert (hangup.duration, hangup.total_cost, hangup.answered) == (None, None, False)


def test_a_request_of_no_call_is_the_carriers_fault() -> None:
    with pytest.raises(PeerError, match="a request for a document has no CallUUID"):
        parse_answer({"From": "1"})
    with pytest.raises(PeerError, match="a hang-up callback has no CallUUID"):
        parse_hangup({"CallUUID": ""})


EVENTS: tuple[StreamEvent, ...] = ("started", "stopped", "failed", "degraded", "played", "cleared")


@pytest.mark.parametrize("event", EVENTS)
def test_both_vocabularies_are_read_as_one(event: StreamEvent) -> None:
    live = parse_stream_status(status("live", event, reason="r", name="n", service_url="wss://h/ws"))
    assert (live.event, live.call_uuid, live.stream_id) == (event, CALL, STREAM)
    assert live.at == START.replace(microsecond=0)
    documented = stream_status_params("documented", event, OUTBOUND, stream_id=STREAM, at=START, reason="r", duration=2)
    if documented is not None:
        read = parse_stream_status(documented)
        assert (read.event, read.stream_id, read.key) == (event, STREAM, live.key)
        assert read.at == START.replace(microsecond=910_000)
        assert read.reason == ("" if event == "started" else "r")
        assert read.duration == (2.0 if event == "stopped" else None)


def test_a_status_is_read_liberally() -> None:
    read = parse_stream_status({"Event": " STARTED ", "StreamId": STREAM, "Timestamp": "soon", "New": "1"})
    assert (read.event, read.stream_id, read.at, read.extra) == ("started", STREAM, None, {"New": "1"})
    offset = parse_stream_status({"Event": "started", "Timestamp": "2024-09-26T14:05:08+05:30"})
    assert offset.at == START.replace(microsecond=0)
    with pytest.raises(PeerError, match="has Event 'Restarted'"):
        parse_stream_status({"Event": "Restarted"})


def test_two_deliveries_have_one_key_and_two_events_have_two() -> None:
    first = parse_stream_status(status("live", "played", name="utt-7"))
    assert first.key == parse_stream_status(status("live", "played", name="utt-7")).key
    later = status("live", "played", name="utt-7") | {"Timestamp": "2024-09-26 08:36:08"}
    others = (status("live", "played", name="utt-8"), later, status("live", "cleared"))
    assert len({first.key, *(parse_stream_status(other).key for other in others)}) == 4
    again = status("live", "started") | {"Timestamp": "2024-09-26 08:36:08"}
    assert parse_stream_status(again).key == parse_stream_status(status("documented", "started")).key


@given(
    st.dictionaries(st.sampled_from(["Event", "Timestamp", "Duration", "HangupCauseCode", "TotalCost", "x"]), st.text())
)
def test_no_value_makes_a_reader_raise(params: dict[str, str]) -> None:
    parse_hangup(params | {"CallUUID": CALL})
    parse_answer(params | {"CallUUID": CALL})
    parse_stream_status(params | {"Event": "started"})
