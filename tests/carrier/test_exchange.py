from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import WAIT, hung_up, placing
from tests.carrier.world import page, until

from bothway.carrier.call_queue import CallQueue
from bothway.carrier.callee import (
    Callee,
    busy,
    fails,
    human,
    no_answer,
    rejects,
    rings_on,
    unallocated,
)

pytestmark = pytest.mark.virtual_time


async def test_a_call_is_placed_answered_and_accounted_for(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human("Hello?", ring=3))) as (w, rest):
        call_id = await rest.call(w, caller_name="Ann")
        live = await rest.get(f"Call/{call_id}/", status="live")
        assert (live["call_status"], live["direction"], live["to"]) == ("ringing", "outbound", "15550100")
        assert (await rest.get(f"Call/{call_id}/")).status == 404, "a CDR is there when the call is over"
        await asyncio.sleep(4)
        assert (await rest.get(f"Call/{call_id}/", status="live"))["call_status"] == "in-progress"
        assert (await rest.get("Call/", status="live"))["calls"] == [call_id]
        (ended,) = await hung_up(w)
        assert [request.path for request in w.site.requests] == ["/ring", "/answer", "/hangup"]
        ring, answer, _ = (request.params for request in w.site.requests)
        assert (ring["Event"], ring["CallStatus"], ring["CallerName"]) == ("Ring", "ringing", "Ann")
        assert (answer["Event"], answer["CallStatus"], answer["Direction"]) == ("StartApp", "in-progress", "outbound")
        assert answer["CallUUID"] == answer["ALegUUID"] == answer["RequestUUID"] == call_id
        assert (ended["HangupCauseCode"], ended["HangupSource"], ended["CallStatus"]) == ("4010", "Plivo", "completed")
        assert (ended["Duration"], ended["BillDuration"], ended["TotalCost"]) == ("5", "60", "0.01000")
        cdr = await rest.get(f"Call/{call_id}/")
        assert (cdr["hangup_cause_code"], cdr["bill_duration"], cdr["total_amount"]) == (4010, 5, "0.01000")
        assert (await rest.get("Call/", status="live"))["calls"] == []
        assert [found["call_uuid"] for found in (await rest.get("Call/"))["objects"]] == [call_id]


@pytest.mark.parametrize(
    ("callee", "status", "code", "source", "switch"),
    [
        (busy(ring=1), "busy", 3010, "Carrier", "USER_BUSY"),
        (rejects(ring=1), "failed", 3020, "Carrier", "CALL_REJECTED"),
        (no_answer(ring=20), "no-answer", 3000, "Carrier", "NO_ANSWER"),
        (unallocated(), "failed", 3050, "Carrier", "UNALLOCATED_NUMBER"),
        (fails(ring=1), "failed", 5000, "Carrier", "NETWORK_OUT_OF_ORDER"),
        (rings_on(), "timeout", 6010, "Plivo", "NO_ANSWER"),
    ],
)
async def test_nobody_answers(tmp_path: Path, callee: object, status: str, code: int, source: str, switch: str) -> None:
    async with placing(tmp_path, Callee("15550100", callee)) as (w, rest):  # type: ignore[arg-type]
        call_id = await rest.call(w, ring_timeout=30)
        (ended,) = await hung_up(w)
        assert (ended["CallStatus"], ended["HangupCauseCode"], ended["HangupSource"]) == (status, str(code), source)
        assert (ended["HangupCause"], ended["AnswerTime"], ended["BillDuration"]) == (switch, "", "0")
        assert "ALegUUID" not in ended
        assert not w.site.asked("/answer")
        cdr = await rest.get(f"Call/{call_id}/")
        assert (cdr["hangup_cause_code"], cdr["answer_time"], cdr["total_amount"]) == (code, None, "0.00000")


async def test_who_cannot_be_reached(tmp_path: Path) -> None:
    async with placing(tmp_path) as (w, rest):
        await rest.call(w, "15550123")
        await rest.call(w, "sip:bob@example.com")
        first, second = sorted(await hung_up(w, 2), key=lambda ended: ended["To"])
        assert (first["To"], first["HangupCauseCode"]) == ("15550123", "5020")
        assert (second["To"], second["HangupCauseCode"]) == ("sip:bob@example.com", "2020")
        barred = await rest.post("Call/", **{"from": "1", "to": "19005550100", "answer_url": w.site.url + "/answer"})
        assert (barred.status, barred["error"]) == (403, "Calls to this destination region are barred")


@pytest.mark.parametrize("digits", ["1@0", "1@99999", "1" * 256 + "@100"])
async def test_what_shows_too_late_is_accounted_for(tmp_path: Path, digits: str) -> None:
    """A call that was fired cannot be refused any more: it ends with a cause."""
    async with placing(tmp_path, Callee("15550100", human())) as (w, rest):
        call_id = await rest.call(w, "15550100", send_digits=digits)
        (ended,) = await hung_up(w)
        assert (ended["CallStatus"], ended["HangupCauseCode"]) == ("failed", "5010")
        assert (await rest.get(f"Call/{call_id}/"))["hangup_cause_code"] == 5010


async def test_a_call_is_given_up_while_it_rings(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("1555*", rings_on()), calls_per_second=100) as (w, rest):
        await rest.call(w, "15550100", hangup_on_ring=7)
        cancelled = await rest.call(w, "15550101")
        hung = await rest.call(w, "15550102")
        await asyncio.sleep(3)
        assert (await rest.delete(f"Request/{cancelled}/")).status == 204
        assert (await rest.delete(f"Request/{cancelled}/")).status == 404
        assert (await rest.delete(f"Call/{hung}/")).status == 204
        ended = {params["To"]: params for params in await hung_up(w, 3)}
        for params in ended.values():
            assert (params["CallStatus"], params["HangupCauseCode"], params["HangupSource"]) == (
                "cancel", "1000", "API Request",
            )  # fmt: skip
        assert len(ended) == 3


async def test_calls_above_the_rate_wait_and_can_be_cancelled(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("1555*", human(ring=0)), calls_per_second=2) as (w, rest):
        url = w.site.url
        began = asyncio.get_running_loop().time()
        numbers = [f"155501{number:02}" for number in range(10)]
        answer = await rest.post(
            "Call/",
            **{"from": "1", "to": "<".join(numbers), "answer_url": url + "/answer", "hangup_url": url + "/hangup"},
        )
        assert (answer.status, answer["message"], len(answer["request_uuid"])) == (201, "calls fired", 10)
        last = answer["request_uuid"][-1]
        queued = await rest.get(f"Call/{last}/", status="queued")
        assert queued["call_status"] == "queued"
        assert len((await rest.get("Call/", status="queued"))["calls"]) >= 8
        assert (await rest.delete(f"Request/{last}/")).status == 204
        await until(lambda: len(w.site.asked("/answer")) == 9)
        assert asyncio.get_running_loop().time() - began == pytest.approx(4.0, abs=0.1)
        ended = {params["To"]: params["HangupCauseCode"] for params in await hung_up(w, 10)}
        assert ended == dict.fromkeys(numbers[:-1], "4010") | {numbers[-1]: "1000"}


async def test_more_than_can_wait_are_refused_before_they_are_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallQueue, "most_waiting", 2)
    async with placing(tmp_path, Callee("15550100", human(ring=1))) as (w, rest):
        given = {"from": "15550000", "answer_url": w.site.url + "/answer"}
        refused = await rest.post("Call/", to="15550100<15550101<15550102", **given)
        assert (refused.status, refused["error"]) == (503, "0 calls wait to be placed, and no more can")
        assert (await rest.get("Call/", status="queued"))["calls"] == []


async def test_a_request_whose_call_was_answered_is_none_any_more(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=0))) as (w, rest):
        call_id = await rest.call(w)
        await until(lambda: w.site.asked("/answer"))
        assert (await rest.delete(f"Request/{call_id}/")).status == 404
        (ended,) = await hung_up(w)
        assert ended["HangupCauseCode"] == "4010"


async def test_the_fallback_answers_where_the_answer_url_does_not(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=0))) as (w, rest):
        w.site.pages["/answer"] = page("no XML at all")
        w.site.pages["/fallback"] = page(WAIT)
        await rest.call(w, fallback_url=w.site.url + "/fallback", fallback_method="GET")
        (ended,) = await hung_up(w)
        assert ended["HangupCauseCode"] == "4010"
        (fallback,) = w.site.asked("/fallback")
        assert (fallback.method, fallback.params["Event"]) == ("GET", "StartApp")


async def test_the_time_limit_counts_from_the_answer(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=2))) as (w, rest):
        w.site.pages["/answer"] = page("<Response><Wait length='100'/></Response>")
        await rest.call(w, time_limit=30)
        (ended,) = await hung_up(w)
        assert (ended["HangupCauseCode"], ended["HangupSource"], ended["Duration"]) == ("6000", "Plivo", "30")


async def test_the_callee_hangs_up(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=0))) as (w, rest):
        call_id = await rest.call(w)
        await until(lambda: w.site.asked("/answer"))
        w.carrier.calls[call_id].caller_hung_up()
        (ended,) = await hung_up(w)
        assert (ended["HangupCauseCode"], ended["HangupSource"], ended["CallStatus"]) == ("4000", "Callee", "completed")


async def test_a_stopped_carrier_accounts_for_calls_that_it_never_placed(tmp_path: Path) -> None:
    async with placing(tmp_path / "one", Callee("1555*", rings_on()), calls_per_second=1) as (w, rest):
        ids = [await rest.call(w, f"1555010{number}") for number in range(3)]
        await w.carrier.stop()
        ended = {params["CallUUID"]: params["HangupCauseCode"] for params in await hung_up(w, 3)}
        assert ended == dict.fromkeys(ids, "5010")
