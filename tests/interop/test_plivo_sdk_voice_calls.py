"""The official SDK places calls, reads them, and acts on them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plivo.exceptions import (
    GeoPermissionError,
    InvalidRequestError,
    PlivoRestError,
    ResourceNotFoundError,
    ValidationError,
)
from tests.carrier.world import until
from tests.interop.sdk_voice import SUB, ZONE, SdkVoice, at, sdk_voice

from bothway.carrier.callee import Callee, busy, human, no_answer, rings_on, voicemail

pytestmark = pytest.mark.virtual_time

HUMAN = Callee("1555*", human("hello", ring=3))
QUICK = Callee("1555*", human("hello", ring=0.2))
WAIT = "<Response><Wait length='5'/></Response>"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_call_from_its_request_to_its_record(tmp_path: Path, method: str) -> None:
    methods: dict[str, Any] = {f"{name}_method": method for name in ("answer", "ring", "hangup")}
    async with sdk_voice(tmp_path, HUMAN, answer=WAIT) as v:
        call_id = await v.create(caller_name="Ann", sip_headers="tenant=42,flow=a-b", **methods)
        live = await v.sdk("live_calls.get", call_id)
        assert (vars(live)["from"], live.to) == ("15550199", "15550100")
        assert live.call_uuid == live.request_uuid == call_id
        assert (live.call_status, live.direction, live.caller_name) == ("ringing", "outbound", "Ann")
        assert (await v.sdk("live_calls.list_ids")).calls == [call_id]
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("calls.get", call_id)
        await v.until_asked("answer")
        live = await v.sdk("live_calls.get", call_id)
        assert (live.call_status, live.session_start) == ("in-progress", v.told("answer")[0]["SessionStart"])
        ended = await v.over(call_id)
        assert v.kinds() == ["ring", "answer", "hangup"]
        assert {request.method for request in v.w.site.requests} == {method}
        assert v.told("ring")[0]["CallerName"] == "Ann"
        for told in (*v.told("answer"), *v.told("hangup")):
            assert (told["X-PH-tenant"], told["X-PH-flow"]) == ("42", "a-b")
        assert v.told("answer")[0]["CountryCode"] == "US"
        assert (ended.call_direction, ended.call_state, ended.parent_call_uuid) == ("outbound", "ANSWERED", None)
        assert (ended.bill_duration, ended.billed_duration, ended.call_duration) == (5, 60, 5)
        assert (ended.hangup_cause_code, ended.hangup_cause_name, ended.hangup_source) == (
            4010, "End Of XML Instructions", "Plivo",
        )  # fmt: skip
        assert ended.resource_uri == f"/v1/Account/{v.sdk.account.auth_id}/Call/{call_id}/"
        assert (at(ended.answer_time) - at(ended.initiation_time)).total_seconds() == pytest.approx(3, abs=1)
        assert (await v.sdk("live_calls.list_ids")).calls == []
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("live_calls.get", call_id)


async def test_many_at_once_wait_for_their_turn(tmp_path: Path) -> None:
    limits = {"calls_per_second": 2}
    async with sdk_voice(tmp_path, QUICK, answer=WAIT, limits=limits) as v:
        numbers = [f"155501{number:02}" for number in range(7)]
        ids = await v.create("<".join(numbers))
        assert len(set(ids)) == 7
        queued = (await v.sdk("queued_calls.list_ids")).calls
        assert set(queued) < set(ids)
        assert len(queued) >= 4
        waits = await v.sdk("queued_calls.get", ids[-1])
        assert (waits.call_status, waits.call_uuid, waits.direction, waits.to) == (
            "queued", ids[-1], "outbound", numbers[-1],
        )  # fmt: skip
        assert (await v.sdk("calls.queued_call_list_ids", 20, 0)).calls == queued
        assert await v.sdk("calls.cancel", ids[-1]) is None
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("calls.cancel", ids[-1])
        for call_id in ids:
            ended = await v.over(call_id)
            code, source = (4010, "Plivo") if call_id != ids[-1] else (1000, "API Request")
            await v.until_asked("hangup", call_id)
            assert (ended.hangup_cause_code, ended.hangup_source) == (code, source)
            assert v.kinds(call_id) == (["ring", "answer", "hangup"] if call_id != ids[-1] else ["hangup"])
        listed = await v.sdk("calls.list", limit=5)
        assert (listed.meta.total_count, len(listed), listed.meta.previous) == (7, 5, None)
        assert listed.meta.next == f"/v1/Account/{v.sdk.account.auth_id}/Call/?limit=5&offset=5"
        assert {call["call_uuid"] for call in await v.sdk.all("calls")} == set(ids)


async def test_what_cannot_be_placed_is_refused(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, barred=("1900",)) as v:
        with pytest.raises(GeoPermissionError, match="Calls to this destination region are barred"):
            await v.create("19005550100")
        with pytest.raises(ValidationError):
            await v.create("15550100", machine_detection="perhaps")
        with pytest.raises(ValidationError):
            await v.create("15550100", time_limit=0)
        with pytest.raises(ResourceNotFoundError, match="parent_call_uuid"):
            await v.create(parent_call_uuid="6f9619ff-8b86-4d01-b42d-00cf4fc964ff", error_if_parent_not_found=True)
        assert (await v.sdk("live_calls.list_ids")).calls == []


async def test_a_call_belongs_to_its_parent(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        parent = await v.up()
        child = await v.up("15550101", parent_call_uuid=parent, error_if_parent_not_found=True)
        assert (await v.sdk("live_calls.get", child)).parent_call_uuid == parent
        for call_id in (child, parent):
            assert await v.sdk("calls.hangup", call_id) is None
            await v.over(call_id)
        assert [one.call_uuid for one in await v.sdk("calls.list", parent_call_uuid=parent)] == [child]
        assert (await v.record(child)).parent_call_uuid == parent


MACHINE = Callee("1555*", voicemail(ring=1))
DETECTED = [
    (
        {"machine_detection": "true", "machine_detection_url": "URL/machine"},
        "continue", 4010, ["ring", "answer", "machine", "hangup"],
    ),
    (
        {"machine_detection": "hangup", "machine_detection_url": "URL/machine"},
        "hangup", 9100, ["ring", "answer", "machine", "hangup"],
    ),
    ({"machine_detection": "true"}, None, 4010, ["ring", "answer", "hangup"]),
    ({"machine_detection": "hangup"}, None, 9100, ["ring", "hangup"]),
]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(("options", "told", "code", "kinds"), DETECTED)
async def test_a_machine_is_told_of(
    tmp_path: Path, options: dict[str, str], told: str | None, code: int, kinds: list[str], method: str
) -> None:
    async with sdk_voice(tmp_path, MACHINE, answer="<Response><Wait length='12'/></Response>") as v:
        given: dict[str, Any] = {name: value.replace("URL", v.url) for name, value in options.items()}
        call_id = await v.create(machine_detection_method=method, **given)
        ended = await v.over(call_id)
        await v.until_asked("hangup")
        assert v.kinds() == kinds
        assert ended.hangup_cause_code == code
        if told is not None:
            (machine,) = v.told("machine")
            assert (machine["Machine"], machine["IfMachine"], machine["CallStatus"]) == ("true", told, "in-progress")
        elif code == 4010:
            assert v.told("answer")[0]["Machine"] == "true"


async def test_a_person_is_no_machine(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, answer="<Response><Wait length='9'/></Response>") as v:
        url = v.url + "/machine"
        first = await v.create(machine_detection="hangup", machine_detection_url=url)
        second = await v.create("15550101", machine_detection="true")
        for call_id in (first, second):
            assert (await v.over(call_id)).hangup_cause_code == 4010
        assert v.told("machine") == []
        assert v.told("answer", second)[0]["Machine"] == "false"


# --- reading ------------------------------------------------------------------------------------------------------


async def test_lists_by_every_filter(tmp_path: Path) -> None:
    people = (Callee("15550101", busy()), Callee("15550102", no_answer(ring=20)))
    async with sdk_voice(tmp_path, *people, QUICK, answer=WAIT) as v:
        ids, answer = {}, v.url + "/answer"
        for number in ("15550100", "15550101", "15550102"):
            ids[number] = await v.create(number)
            await v.over(ids[number])
            await asyncio.sleep(60)
        mine = v.client(SUB)
        ids["sub"] = (await mine("calls.create", "15550177", "15550103", answer)).request_uuid
        await until(lambda: not v.w.carrier.calls)
        await asyncio.sleep(0.1)
        caller = await v.w.call(v.w.site.pages["/answer"])
        ids["in"] = caller.call_id

        async def listed(client: Any = v.sdk, **wanted: Any) -> set[str]:
            found = {one.call_uuid for one in await client("calls.list", **wanted)}
            return {name for name, call_id in ids.items() if call_id in found}

        assert await listed() == set(ids)
        assert await listed(call_direction="inbound") == {"in"}
        assert await listed(call_direction="outbound") == set(ids) - {"in"}
        assert await listed(from_number="15550177") == {"sub"}
        assert await listed(to_number="1555010") == set(ids) - {"in"}
        assert await listed(to_number="15550102") == {"15550102"}
        assert await listed(hangup_cause_code=3010) == {"15550101"}
        assert await listed(hangup_source="Carrier") == {"15550101", "15550102"}
        assert await listed(bill_duration=5) == {"15550100", "sub", "in"}
        assert await listed(bill_duration=5, call_direction="outbound") == {"15550100", "sub"}
        assert await listed(subaccount=SUB.auth_id) == {"sub"}
        assert await listed(mine) == {"sub"}
        ended = await v.record(ids["15550101"])
        moment = at(ended.end_time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        assert await listed(end_time__gt=moment) >= {"15550102", "sub", "in"}
        assert await listed(end_time__lt=moment) == {"15550100"}
        assert await listed(end_time__gte=moment, end_time__lte=moment[:-3] + ":59") == {"15550101"}
        assert await listed(limit=1, offset=0) == {"in"}
        with pytest.raises(ResourceNotFoundError):
            await mine("calls.get", ids["in"])
        with pytest.raises(ValidationError):
            await listed(limit=21)


def local(moment: datetime) -> str:
    return moment.astimezone(ZONE).isoformat(sep=" ", timespec="seconds")


async def test_the_list_of_ended_calls_is_that_of_a_week(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, answer=WAIT) as v:
        call_id = await v.create()
        ended = await v.over(call_id)
        assert v.w.carrier._store is not None
        calls = v.w.carrier._store.calls
        found = await calls.get(call_id)
        assert found is not None
        assert found.end_time is not None
        old = {f"old-{days}": found.end_time - timedelta(days=days) for days in (6, 8, 20, 40)}
        for name, moment in old.items():
            await calls.save(msgspec.structs.replace(found, call_uuid=name, end_time=moment))

        async def listed(**bounds: datetime) -> list[str]:
            texts = {name: moment.strftime("%Y-%m-%d %H:%M:%S.%f") for name, moment in bounds.items()}
            return [one.call_uuid for one in await v.sdk("calls.list", **texts)]

        assert await listed() == [call_id, "old-6"]
        assert await listed(end_time__gte=old["old-20"]) == [call_id, "old-6", "old-8", "old-20"]
        assert await listed(end_time__lt=old["old-8"]) == ["old-20"], "30 days with one bound"
        assert await listed(end_time__gte=old["old-40"], end_time__lt=old["old-6"]) == ["old-8", "old-20", "old-40"]
        assert (await v.record("old-40")).end_time == local(old["old-40"])
        assert ended.end_time == local(found.end_time)


async def test_live_calls_are_listed_by_their_ends(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, Callee("15550101", rings_on()), QUICK) as v:
        up, rings = await v.up(), await v.create("15550101")
        caller, inbound = v.w.place(v.w.site.pages["/answer"])
        await until(lambda: caller.heard)
        assert set((await v.sdk("live_calls.list_ids")).calls) == {up, rings, inbound.call_id}
        assert (await v.sdk("live_calls.list_ids", call_direction="inbound")).calls == [inbound.call_id]
        assert set((await v.sdk("live_calls.list_ids", from_number="15550199")).calls) == {up, rings}
        assert (await v.sdk("live_calls.list_ids", to_number="15550101")).calls == [rings]
        assert len((await v.sdk("live_calls.list_ids", limit=2)).calls) == 2
        for call_id in (up, rings, inbound.call_id):
            await v.sdk("calls.delete", call_id)
            with pytest.raises(ResourceNotFoundError):
                await v.sdk("calls.hangup", call_id)
        await v.w.over(caller)
        codes = {call_id: (await v.over(call_id)).hangup_cause_code for call_id in (up, rings, inbound.call_id)}
        assert codes == {up: 4000, rings: 1000, inbound.call_id: 4000}


async def test_all_calls_are_hung_up_at_once(tmp_path: Path) -> None:
    """The SDK has no name for it, but its client sends it."""
    async with sdk_voice(tmp_path, QUICK) as v:
        other = v.client(SUB)
        mine, theirs = [await v.up("15550100"), await v.up("15550101")], await v.up("15550102", client=other)
        assert await other("request", "DELETE", ("Call",), {}, is_voice_request=True) is None
        assert (await v.over(theirs)).hangup_cause_code == 4000
        assert set((await v.sdk("live_calls.list_ids")).calls) == set(mine)
        await v.sdk("request", "DELETE", ("Call",), {}, is_voice_request=True)
        for call_id in mine:
            ended = await v.over(call_id)
            assert (ended.hangup_cause_code, ended.hangup_source) == (4000, "API Request")


async def test_who_asks_too_often_is_told_so(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, limits={"requests_per_5s": 300}) as v:
        for _ in range(300):
            await v.sdk("live_calls.list_ids")
        with pytest.raises(PlivoRestError, match="429"):
            await v.sdk("live_calls.list_ids")
        await asyncio.sleep(5.1)
        assert (await v.sdk("live_calls.list_ids")).calls == []


async def test_an_asynchronous_request_tells_its_callback(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, answer=WAIT) as v:
        call_id = await v.up()
        spawned = await v.sdk("live_calls.get", call_id, callback_url=v.url + "/result?a=1", callback_method="GET")
        assert spawned.message == "async api spawned"
        result = await v.until_asked("result")
        assert (result["api_id"], result["call_uuid"]) == (spawned.api_id, call_id)
        assert (result["call_status"], result["a"]) == ("in-progress", "1")
        created = await v.sdk(
            "calls.create", "15550199", "15550101", v.url + "/answer",
            hangup_url=v.url + "/hangup", callback_url=v.url + "/result", callback_method="POST",
        )  # fmt: skip
        assert created.message == "async api spawned"
        result = await v.until_asked("result", count=2)
        assert result["message"] == "call fired"
        await v.over(result["request_uuid"])


# --- acting -------------------------------------------------------------------------------------------------------

DIAL = "<Response><Dial action='URL/dial-action' callbackUrl='URL/dial'><Number>15550101</Number></Dial></Response>"
MORE = "<Response><Wait length='4'/></Response>"


async def joined(v: SdkVoice) -> tuple[str, str]:
    """A call that has dialled another leg: their ids."""
    call_id = await v.up()
    connected = await v.until_asked("dial connected", call_id)
    return call_id, connected["DialBLegUUID"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("legs", ["aleg", "bleg", "both"])
async def test_legs_are_transferred(tmp_path: Path, legs: str, method: str) -> None:
    async with sdk_voice(tmp_path, QUICK, answer=DIAL) as v:
        v.pages(transfer=MORE, dial_action=MORE)
        first, second = await joined(v)
        urls = {"aleg_url": f"{v.url}/transfer/a", "bleg_url": f"{v.url}/transfer/b"}
        v.pages(**{"transfer/a": MORE, "transfer/b": MORE})
        given = {name: url for name, url in urls.items() if legs in (name[:4], "both")}
        moved = await v.sdk("calls.transfer", first, legs=legs, aleg_method=method, bleg_method=method, **given)
        assert moved.message == "call transferred"
        ends = [await v.over(call_id) for call_id in (first, second)]
        asked = {request.path: request for request in v.w.site.requests if request.path.startswith("/transfer/")}
        assert {path[-1] for path in asked} == {"aleg": {"a"}, "bleg": {"b"}, "both": {"a", "b"}}[legs]
        assert {request.method for request in asked.values()} == {method}
        for path, request in asked.items():
            assert request.params["CallUUID"] == (first if path.endswith("a") else second)
            assert request.params["CallStatus"] == "in-progress"
        # Who is transferred goes on by the document; a second leg that is not is let go, a first one asks its action.
        assert [end.hangup_cause_code for end in ends] == [4010, 4000 if legs == "aleg" else 4010]
        assert ends[1].parent_call_uuid == first
        assert len(v.told("dial-action")) == (1 if legs == "bleg" else 0)


async def test_a_leg_is_played_to_spoken_to_and_pressed_keys_at(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        call_id = await v.up()
        spoken = await v.sdk("calls.speak", call_id, "good morning", voice="MAN", legs="aleg", loop=True)
        assert spoken.message == "speak started"
        assert await v.sdk("calls.stop_speaking", call_id) is None
        assert (await v.sdk("calls.play", call_id, v.url + "/a.wav", length=3, mix=False)).message == "play started"
        assert await v.sdk("calls.stop_playing", call_id) is None
        assert (await v.sdk("calls.send_digits", call_id, "12w#", leg="aleg")).message == "digits sent"
        for act, args in (("speak", ("hi",)), ("play", (v.url + "/a.wav",))):
            with pytest.raises(ResourceNotFoundError, match="no second leg"):
                await v.sdk(f"calls.{act}", call_id, *args, legs="both")
        with pytest.raises(ResourceNotFoundError, match="no second leg"):
            await v.sdk("calls.send_digits", call_id, "1", leg="bleg")
        await v.sdk("calls.hangup", call_id)
        for act, args in (("speak", ("hi",)), ("play", (v.url + "/a.wav",)), ("send_digits", ("1",))):
            with pytest.raises(ResourceNotFoundError):
                await v.sdk(f"calls.{act}", call_id, *args)


async def test_a_call_that_rings_cannot_be_spoken_to(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, Callee("1555*", rings_on())) as v:
        call_id = await v.create(ring_timeout=30)
        for act, args in (("speak", ("hi",)), ("record", ()), ("start_stream", (v.w.streams.url,))):
            with pytest.raises(InvalidRequestError, match="not answered yet"):
                await v.sdk(f"calls.{act}", call_id, *args)
        ended = await v.over(call_id)
        assert (ended.hangup_cause_code, ended.answer_time, ended.total_amount) == (6010, None, "0.00000")
        assert v.kinds() == ["ring", "hangup"]
