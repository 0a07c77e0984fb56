from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.carrier.api.desk import MAIN, NOW, OTHER, UNKNOWN, Desk

from bothway.carrier.api.calls import MAX_DESTINATIONS
from bothway.carrier.api.switch import CallRequest, MachineDetection
from bothway.core.machine import LIMITS

CALL = {"from": "+15550100", "to": "15550101", "answer_url": "http://h/answer"}


async def test_every_parameter_reaches_the_switch(api: Desk) -> None:
    parent = api.switch.add().record.call_uuid
    given = {
        **CALL,
        "to": "+15550101<sip:bob@h",
        "answer_method": "get",
        "ring_url": "http://h/ring",
        "ring_method": "GET",
        "hangup_url": "http://h/hangup",
        "fallback_url": "http://h/fallback",
        "caller_name": "Ann",
        "send_digits": "1w#W@200",
        "send_on_preanswer": "true",
        "time_limit": "60",
        "hangup_on_ring": 0,
        "machine_detection": "hangup",
        "machine_detection_time": 2_000,
        "machine_detection_url": "http://h/machine",
        "machine_detection_maximum_speech_length": 1_000,
        "machine_detection_initial_silence": 2_000,
        "machine_detection_maximum_words": 3,
        "machine_detection_initial_greeting": 1_500,
        "machine_detection_silence": 800,
        "sip_headers": "a=1, X-PH-b=2",
        "ring_timeout": 30,
        "parent_call_uuid": parent,
        "sip_auth_username": "u",
        "sip_auth_password": "p",
    }
    assert (await api.ask("POST", "Call/", given)).status == 201
    assert api.switch.placed == [
        CallRequest(
            from_="15550100",
            to=("15550101", "sip:bob@h"),
            answer_url="http://h/answer",
            answer_method="GET",
            hangup_url="http://h/hangup",
            fallback_url="http://h/fallback",
            ring_url="http://h/ring",
            ring_method="GET",
            caller_name="Ann",
            send_digits="1w#W@200",
            send_on_preanswer=True,
            time_limit=60,
            hangup_on_ring=0,
            ring_timeout=30,
            machine_detection=MachineDetection(
                "hangup", 2_000, "http://h/machine", "POST", 1_000, 2_000, 3, 1_500, 800
            ),
            sip_headers=(("a", "1"), ("b", "2")),
            sip_auth_username="u",
            sip_auth_password="p",
            parent_call_uuid=parent,
        )
    ]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"from": ""}, "from is required"),
        ({"from": "a b"}, "from is not a caller id"),
        ({"to": None}, "to is required"),
        ({"to": "1<"}, "to is not numbers or sip: endpoints between <: '' is neither"),
        ({"to": "1<bob"}, "to is not numbers or sip: endpoints between <: 'bob' is neither"),
        ({"to": "1 2"}, "to is not numbers"),
        ({"to": "<".join(["15550101"] * (MAX_DESTINATIONS + 1))}, "to has 1001 destinations: 1000 at most"),
        ({"to": "15550101<+15550100"}, "from is among to"),
        ({"answer_url": "h"}, "answer_url is not an http or https URL"),
        ({"answer_method": "PUT"}, "answer_method is not one of GET, POST"),
        ({"caller_name": "x" * 51}, "caller_name is not text of 0 to 50"),
        ({"send_digits": "A"}, "send_digits is not keys"),
        ({"time_limit": 0}, "time_limit is not a whole number from 1 to 86400"),
        ({"machine_detection": "yes"}, "machine_detection is not one of false, hangup, true"),
        ({"machine_detection_time": 1_999}, "machine_detection_time is not a whole number from 2000 to 10000"),
        ({"machine_detection_maximum_speech_length": 6_001}, "machine_detection_maximum_speech_length is not a whole"),
        ({"machine_detection_initial_silence": 1}, "machine_detection_initial_silence is not a whole number from 2000"),
        ({"sip_headers": "a"}, "sip_headers is not pairs"),
        ({"sip_headers": "a b=1"}, "sip_headers is not pairs"),
        ({"sip_headers": "a=1\r\nb"}, "sip_headers is not pairs"),
        ({"ring_timeout": "soon"}, "ring_timeout is not a whole number"),
    ],
)
async def test_parameters_that_cannot_be(api: Desk, changed: dict[str, Any], text: str) -> None:
    reply = await api.ask("POST", "Call/", {**CALL, **changed})
    assert reply.status == 400
    assert reply.error.startswith(text)
    assert api.switch.placed == []


@pytest.mark.parametrize("name", LIMITS)
async def test_what_machine_detection_takes_is_what_the_detector_takes(api: Desk, name: str) -> None:
    allowed = LIMITS[name]
    for value, status in ((allowed[0] - 1, 400), (allowed[0], 201), (allowed[-1], 201), (allowed[-1] + 1, 400)):
        given = {"machine_detection": "true", f"machine_detection_{name}": value}
        assert (await api.ask("POST", "Call/", {**CALL, **given})).status == status, value


async def test_as_many_destinations_as_there_may_be(api: Desk) -> None:
    many = [str(15550000 + n) for n in range(MAX_DESTINATIONS)]
    reply = await api.ask("POST", "Call/", {**CALL, "from": "1", "to": "<".join(many)})
    assert (reply.status, reply.json["message"], len(set(reply.json["request_uuid"]))) == (201, "calls fired", 1_000)
    queued = (await api.ask("GET", "Call/?status=queued&limit=20")).json["calls"]
    assert set(queued) <= set(reply.json["request_uuid"])


async def test_a_destination_that_is_barred(api: Desk) -> None:
    reply = await api.ask("POST", "Call/", {**CALL, "to": "97912345"})
    assert (reply.status, reply.error) == (403, "Calls to this destination region are barred")


async def test_a_parent(api: Desk) -> None:
    sub = await api.subaccount()
    parent = api.switch.add(sub).record.call_uuid
    for account, given, found in ((MAIN, parent, parent), (sub, parent, parent), (MAIN, UNKNOWN, None)):
        content = {**CALL, "parent_call_uuid": given}
        assert (await api.ask("POST", "Call/", content, account=account)).status == 201
        assert api.switch.placed[-1].parent_call_uuid == found
    reply = await api.ask("POST", "Call/", {**CALL, "parent_call_uuid": UNKNOWN, "error_if_parent_not_found": "True"})
    assert (reply.status, reply.error) == (404, f"parent_call_uuid names no live call: {UNKNOWN}")


async def test_a_call_of_somebody_else_is_no_parent(api: Desk) -> None:
    sub = await api.subaccount()
    here = api.switch.add().record
    elsewhere = msgspec.structs.replace(here, call_uuid="at-another-carrier")
    await api.store.calls.save(elsewhere)
    for account in (OTHER, sub):
        for parent in (here.call_uuid, elsewhere.call_uuid):
            content = {**CALL, "parent_call_uuid": parent, "error_if_parent_not_found": True}
            assert (await api.ask("POST", "Call/", content, account=account)).status == 404
    for parent in (here.call_uuid, elsewhere.call_uuid):
        assert (await api.ask("POST", "Call/", {**CALL, "parent_call_uuid": parent})).status == 201
        assert api.switch.placed[-1].parent_call_uuid == parent


async def test_a_sub_account_places_calls_of_its_own(api: Desk) -> None:
    sub = await api.subaccount()
    created = await api.ask("POST", "Call/", CALL, account=sub)
    record = await api.store.calls.get(created.json["request_uuid"])
    assert record is not None
    assert (record.account, record.sub_account) == (MAIN.auth_id, sub.auth_id)


# --- idempotency --------------------------------------------------------------------------------------------------


async def test_a_request_that_is_repeated_gets_the_first_answer(api: Desk) -> None:
    key = {"Idempotency-Key": "one"}
    first, again, *rest = [await api.ask("POST", "Call/", CALL, headers=key) for _ in range(3)]
    assert (first.status, first.body) == (again.status, again.body) == (rest[0].status, rest[0].body)
    assert len(api.switch.placed) == 1
    written_otherwise = {"to": "+15550101", "from": 15550100, "answer_url": "http://h/answer", "ring_timeout": "120"}
    assert (await api.ask("POST", "Call/", written_otherwise, headers=key)).body == first.body
    reply = await api.ask("POST", "Call/", {**CALL, "to": "15550102"}, headers=key)
    assert (reply.status, reply.error) == (422, "this Idempotency-Key was used for another request")
    assert (await api.ask("POST", "Call/", CALL, headers={"Idempotency-Key": "two"})).body != first.body
    sub = await api.subaccount()
    assert (await api.ask("POST", "Call/", CALL, headers=key, account=sub)).body != first.body
    assert len(api.switch.placed) == 3


async def test_requests_at_the_same_time_place_one_call(api: Desk) -> None:
    key = {"Idempotency-Key": "one"}
    replies = await asyncio.gather(*(api.ask("POST", "Call/", CALL, headers=key) for _ in range(20)))
    assert len({reply.body for reply in replies}) == 1
    assert len(api.switch.placed) == 1


async def test_a_request_that_was_refused_may_be_repeated(api: Desk) -> None:
    key = {"Idempotency-Key": "one"}
    assert (await api.ask("POST", "Call/", {**CALL, "to": "979"}, headers=key)).status == 403
    assert (await api.ask("POST", "Call/", CALL, headers=key)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb"])
async def test_keys_that_are_none(api: Desk, key: str) -> None:
    reply = await api.ask("POST", "Call/", CALL, headers={"Idempotency-Key": key})
    assert (reply.status, api.switch.placed) == (400, [])


# --- reading ------------------------------------------------------------------------------------------------------


async def test_a_record(api: Desk) -> None:
    call = api.switch.add(caller_name="Ann")
    call.hangup()
    reply = await api.ask("GET", f"Call/{call.record.call_uuid}/?call_uuid={call.record.call_uuid}")
    assert reply.status == 200
    api_id = reply.json["api_id"]
    assert reply.json == {
        "api_id": api_id,
        "answer_time": "2026-03-01 17:29:55+05:30",
        "bill_duration": 0,
        "billed_duration": 0,
        "call_direction": "inbound",
        "call_duration": 0,
        "call_state": "ANSWERED",
        "call_uuid": call.record.call_uuid,
        "cnam_lookup": "",
        "conference_uuid": None,
        "end_time": "2026-03-01 17:30:00+05:30",
        "from_number": "15550001",
        "hangup_cause_code": 4000,
        "hangup_cause_name": "Normal Hangup",
        "hangup_source": "API Request",
        "initiation_time": "2026-03-01 17:29:50+05:30",
        "parent_call_uuid": None,
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/Call/{call.record.call_uuid}/",
        "source_ip": "",
        "stir_attestation": "Not Applicable",
        "stir_verification": "Not Applicable",
        "to_number": "15550002",
        "total_amount": "0.00000",
        "total_rate": "0.00000",
        "voice_network_group": "",
    }
    listed = (await api.ask("GET", "Call/")).json
    assert [{**one, "api_id": api_id} for one in listed["objects"]] == [reply.json]
    assert listed["meta"] == {"limit": 20, "offset": 0, "total_count": 1, "next": None, "previous": None}


async def test_a_live_call(api: Desk) -> None:
    call = api.switch.add(answered=False, caller_name="Ann")
    call_id = call.record.call_uuid
    assert (await api.ask("GET", f"Call/{call_id}/")).error.startswith("this call has not ended")
    reply = await api.ask("GET", f"Call/{call_id}/?status=live")
    assert reply.json == {
        "api_id": reply.json["api_id"],
        "direction": "inbound",
        "from": "15550001",
        "call_status": "ringing",
        "to": "15550002",
        "caller_name": "Ann",
        "call_uuid": call_id,
        "session_start": "2026-03-01 11:59:50.250000",
        "request_uuid": call_id,
        "parent_call_uuid": None,
        "stir_verification": "Not Applicable",
        "stir_attestation": "Not Applicable",
    }
    assert (await api.ask("GET", f"Call/{call_id}/?status=queued")).error == "this call is not queued: it is ringing"
    call.hangup()
    assert (await api.ask("GET", f"Call/{call_id}/?status=live")).error == "call not found, or it has ended"


@pytest.mark.parametrize("text", ["undefined", "null", "None", "NaN", "%5Bobject%20Object%5D"])
async def test_an_id_that_a_client_made_of_nothing(api: Desk, text: str) -> None:
    for method, path in (("GET", f"Call/{text}/"), ("DELETE", f"Call/{text}/"), ("DELETE", f"Request/{text}/")):
        reply = await api.ask(method, path)
        assert reply.status == 404
        assert "the client wrote a value that it did not have" in reply.error


async def test_pages_keep_their_filters(api: Desk) -> None:
    for _ in range(5):
        api.switch.add().hangup()
    path: str | None = "Call/?limit=2&call_direction=inbound&from_number=%2B1555"
    seen: list[str] = []
    previous: list[str | None] = []
    while path is not None:
        page = (await api.ask("GET", path)).json
        seen += [one["call_uuid"] for one in page["objects"]]
        previous.append(page["meta"]["previous"])
        path = page["meta"]["next"]
    assert len(set(seen)) == 5
    base = f"/v1/Account/{MAIN.auth_id}/Call/?call_direction=inbound&from_number=%2B1555&limit=2&offset="
    assert previous == [None, base + "0", base + "2"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        ("call_direction=outbound", 0),
        ("to_number=15550002", 1),
        ("bill_duration__gt=10", 0),
        ("bill_duration__lte=10&bill_duration=0", 1),
        ("hangup_source=API%20Request", 1),
        ("hangup_source=Caller", 0),
        ("hangup_cause_code=4000", 1),
        ("end_time__gte=2026-03-01%2012:00", 1),
        ("end_time__lt=2026-03-01%2012:00:00", 0),
        ("end_time__lt=2026-03-01T17:30:01%2B05:30", 1),
        ("parent_call_uuid=x", 0),
        ("limit=1&offset=1", 0),
    ],
)
async def test_filters(api: Desk, query: str, count: int) -> None:
    api.switch.add().hangup()
    assert len((await api.ask("GET", f"Call/?{query}")).json["objects"]) == count


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=21", "offset=-1", "status=ended", "call_direction=x", "end_time=now", "end_time=2026-02-30",
     "bill_duration=x", "hangup_cause_code=x", "subaccount=SAX"],
)  # fmt: skip
async def test_filters_that_cannot_be(api: Desk, query: str) -> None:
    reply = await api.ask("GET", f"Call/?{query}")
    assert reply.status == 400
    assert reply.error.startswith(query.partition("=")[0])


async def test_calls_of_a_week(api: Desk) -> None:
    api.switch.add().hangup()
    api.switch.now = NOW + timedelta(days=8)
    assert (await api.ask("GET", "Call/")).json["objects"] == []
    assert len((await api.ask("GET", "Call/?end_time__gt=2026-02-28%2000:00")).json["objects"]) == 1


async def test_calls_of_one_sub_account(api: Desk) -> None:
    sub = await api.subaccount()
    api.switch.add().hangup()
    api.switch.add(sub).hangup()
    assert len((await api.ask("GET", "Call/")).json["objects"]) == 2
    for reply in (
        await api.ask("GET", f"Call/?subaccount={sub.auth_id}"),
        await api.ask("GET", "Call/", account=sub),
        await api.ask("GET", f"Call/?subaccount={sub.auth_id}", account=sub),
    ):
        assert len(reply.json["objects"]) == 1
    assert (await api.ask("GET", f"Call/?subaccount={MAIN.auth_id}", account=sub)).status == 400
