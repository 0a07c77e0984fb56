"""What calls cost, through whole calls: the same in the record, over REST and in the hangup callback."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.carrier.rest_client import Answer, Rest
from tests.carrier.world import ACCOUNT, Caller, Socket, World, page, until, world

from bothway.carrier.call_order import Party
from bothway.carrier.callee import Callee, Callees, busy, human
from bothway.carrier.config import Application, Config
from bothway.carrier.rates import Rates
from bothway.carrier.store.records import CallRecord
from bothway.core.profile import DOCUMENTED
from bothway.wire.webhooks import parse_hangup

pytestmark = pytest.mark.virtual_time

RATES = Rates(inbound=Decimal("0.0055"), outbound=Decimal("0.01"), stream=Decimal("0.003"))
CONFIG = Config(
    rates=RATES,
    callees=Callees((Callee("15550100", human()), Callee("15550101", busy()))),
)
HOLD = "<Response><Wait length='3000'/></Response>"


class Timed(Caller):
    """A caller who hangs up so many seconds after the answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def answered(self) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self.hang_up)


async def hung_up_after(w: World, seconds: float, document: bytes | None = None) -> Caller:
    """A call that came in, and lasted so long."""
    caller, _ = w.place(document or page(HOLD), caller=Timed(seconds))
    await caller.done.wait()
    await w.over(caller)
    return caller


async def record_of(w: World, call_uuid: str) -> CallRecord:
    assert w.carrier._node is not None
    found = await w.carrier._node.store.calls.get(call_uuid)
    assert found is not None
    return found


async def check(
    w: World, call_uuid: str, seconds: int, billed: int, rate: Decimal
) -> tuple[CallRecord, dict[str, str]]:
    """A call is metered alike everywhere."""
    amount = rate * (billed // 60)
    record = await record_of(w, call_uuid)
    assert (record.bill_duration, record.billed_duration, record.call_duration) == (seconds, billed, seconds)
    assert (record.rate, record.amount) == (rate, amount)
    (params,) = [request.params for request in w.site.asked("/hangup") if request.params["CallUUID"] == call_uuid]
    assert (params["Duration"], params["BillDuration"]) == (str(seconds), str(billed))
    assert (Decimal(params["BillRate"]), params["TotalCost"]) == (rate, f"{amount:.5f}")
    report = parse_hangup(params)
    assert (report.duration, report.bill_duration, report.total_cost) == (seconds, billed, amount)
    shown: Answer = await Rest(w).get(f"Call/{call_uuid}/")
    assert shown.status == 200
    assert (shown["bill_duration"], shown["billed_duration"]) == (seconds, billed)
    assert (shown["total_rate"], shown["total_amount"]) == (f"{rate:.5f}", f"{amount:.5f}")
    return record, params


@pytest.mark.parametrize(
    ("held", "seconds", "billed"),
    [(0.0, 0, 0), (0.02, 1, 60), (59.98, 60, 60), (60.0, 60, 60), (60.02, 61, 120), (600.0, 600, 600)],
)
async def test_a_call_that_came_in(held: float, seconds: int, billed: int, tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        caller = await hung_up_after(w, held)
        _, params = await check(w, caller.call_id, seconds, billed, RATES.inbound)
        assert params["AnswerTime"]


async def test_a_call_that_nobody_answered_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        call_id = await Rest(w).call(w, "15550101")
        await until(lambda: w.site.asked("/hangup"))
        _, params = await check(w, call_id, 0, 0, RATES.outbound)
        assert (params["CallStatus"], params["AnswerTime"]) == ("busy", "")


async def test_early_media_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        caller, _ = w.place(page("<Response><PreAnswer><Wait length='90'/></PreAnswer><Hangup/></Response>"))
        await asyncio.sleep(80)
        caller.hang_up()
        await w.over(caller)
        await check(w, caller.call_id, 0, 0, RATES.inbound)


async def test_a_called_party_is_billed_from_its_own_answer(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        dial = f"<Dial callbackUrl='{w.site.url}/dial'><Number>15550100</Number></Dial>"
        caller, _ = w.place(page(f"<Response><Wait length='2'/>{dial}</Response>"))
        await until(lambda: any(one.params["DialAction"] == "connected" for one in w.site.asked("/dial")))
        await asyncio.sleep(70)
        caller.hang_up()
        await w.over(caller)
        await until(lambda: not w.carrier.calls)
        (ended,) = [one.params for one in w.site.asked("/dial") if one.params["DialAction"] == "hangup"]
        first, second = await record_of(w, caller.call_id), await record_of(w, ended["DialBLegUUID"])
    assert (first.direction, first.rate) == ("inbound", RATES.inbound)
    assert (second.direction, second.rate, second.parent_call_uuid) == ("outbound", RATES.outbound, caller.call_id)
    assert first.answer_time is not None
    assert second.answer_time is not None
    assert first.answer_time < second.answer_time
    assert first.bill_duration >= second.bill_duration >= 70
    assert (second.billed_duration, second.amount) == (120, RATES.outbound * 2)
    assert ended["DialBLegBillDuration"] == str(second.billed_duration)


async def until_told(socket: Socket) -> None:
    await socket.until("media", 50)  # a second of it


async def test_two_streams_of_one_call_are_billed_each(tmp_path: Path) -> None:
    async with world(tmp_path, until_told, config=CONFIG) as w:
        stream = f"<Stream bidirectional='true' keepCallAlive='true'>{w.streams.url}</Stream>"
        caller, _ = w.place(page(f"<Response>{stream}<Wait length='61'/>{stream}</Response>"))
        await caller.done.wait()
        await w.over(caller)
        shown = (await Rest(w).get(f"Call/{caller.call_id}/Stream/"))["objects"]
        report = await check_streams(w, caller)
    assert len(shown) == 2
    for one in shown:
        assert one["status"] == "completed"
        assert 1 <= one["bill_duration"] <= 3
        assert (one["rounded_bill_duration"], one["billed_amount"]) == (60, "0.00300")
    assert report == Decimal("0.006")


async def check_streams(w: World, caller: Caller) -> Decimal:
    """What the report of costs says of the streams."""
    assert w.carrier._node is not None
    call = await record_of(w, caller.call_id)
    assert call.end_time is not None
    usage = await w.carrier._node.store.usage.between(
        call.initiation_time, call.end_time.replace(year=call.end_time.year + 1), account=call.account
    )
    assert usage.voice_in.amount == call.amount
    return usage.streams.amount


async def test_a_stream_that_never_connected_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        caller = await w.call(w.stream(url="ws://127.0.0.1:1/nobody"))
        (shown,) = (await Rest(w).get(f"Call/{caller.call_id}/Stream/"))["objects"]
        assert (shown["status"], shown["start_time"], shown["bill_duration"]) == ("failed", None, 0)
        assert (shown["rounded_bill_duration"], shown["billed_amount"]) == (0, "0.00000")


async def test_a_stream_that_is_open_shows_what_it_costs_so_far(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        caller, _ = w.place(w.stream())
        await (await w.streams.first()).until("start")
        await asyncio.sleep(60.5)
        (shown,) = (await Rest(w).get(f"Call/{caller.call_id}/Stream/"))["objects"]
        assert (shown["status"], shown["end_time"]) == ("in-progress", None)
        assert shown["bill_duration"] in (61, 62)
        assert (shown["rounded_bill_duration"], shown["billed_amount"]) == (120, "0.00600")
        caller.hang_up()
        await w.over(caller)


async def test_rates_may_be_zero(tmp_path: Path) -> None:
    free = Rates(Decimal(0), Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    async with world(tmp_path, config=Config(rates=free)) as w:
        caller = await hung_up_after(w, 61)
        _, params = await check(w, caller.call_id, 61, 120, Decimal(0))
        assert params["TotalCost"] == "0.00000"


# --- who the other party is ---------------------------------------------------------------------------------------

STANDARD = {"BillRate", "CountryCode", "RouteType", "STIRAttestation", "STIRVerification"}


async def test_every_request_for_a_document_has_rate_country_and_stir(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        redirect = f"<Response><Redirect>{w.site.url}/next</Redirect></Response>"
        caller = await w.call(page(redirect))
        for path in ("/answer", "/next"):
            (request,) = w.site.asked(path)
            assert request.params.keys() >= STANDARD
            assert (request.params["BillRate"], request.params["CountryCode"]) == ("0.0055", "US")
        record, params = await check(w, caller.call_id, *await billed(w, caller), RATES.inbound)
        assert params.keys() >= {"STIRAttestation", "STIRVerification"}
        assert (record.country_code, record.stir_verification) == ("US", "Not Applicable")


async def billed(w: World, caller: Caller) -> tuple[int, int]:
    record = await record_of(w, caller.call_id)
    return record.bill_duration, record.billed_duration


async def ported(w: World, party: Party) -> tuple[CallRecord, dict[str, str]]:
    """A call of whom its leg knows more than numbers: its record, and what the answer URL was told."""
    w.site.pages["/answer"] = page("<Response><Hangup/></Response>")
    caller = Caller()
    assert w.carrier._switchboard is not None
    order = Application("test", w.site.url + "/answer", hangup_url=w.site.url + "/hangup").order()
    w.carrier._switchboard.place(caller, party, order, ACCOUNT)
    await w.over(caller)
    return await record_of(w, caller.call_id), w.site.asked("/answer")[-1].params


async def test_what_the_leg_knows_is_told(tmp_path: Path) -> None:
    party = Party(
        "+919812345678",
        "15550002",
        forwarded_from="15550003",
        stir_verification="Verified",
        stir_attestation="A",
    )
    async with world(tmp_path, config=CONFIG) as w:
        record, params = await ported(w, party)
    assert (params["From"], params["To"], params["CountryCode"]) == ("919812345678", "15550002", "IN")
    assert (params["STIRVerification"], params["STIRAttestation"]) == ("Verified", "A")
    assert params["ForwardedFrom"] == "15550003"
    assert (record.country_code, record.forwarded_from) == ("IN", "15550003")
    assert (record.stir_verification, record.stir_attestation) == ("Verified", "A")
    (hangup,) = [request.params for request in w.site.asked("/hangup")]
    assert (hangup["STIRVerification"], hangup["STIRAttestation"]) == ("Verified", "A")


async def test_the_country_of_a_placed_call_is_where_it_goes(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        call_id = await Rest(w).call(w, "15550101", **{"from": "919812345678"})
        await until(lambda: w.site.asked("/hangup"))
        assert (await record_of(w, call_id)).country_code == "US"


async def test_numbers_with_a_plus(tmp_path: Path) -> None:
    profile = replace(DOCUMENTED, plus_in_numbers=True)
    async with world(tmp_path, config=CONFIG, profile=profile) as w:
        record, params = await ported(w, Party("15550001", "+15550002"))
        assert (params["From"], params["To"]) == ("+15550001", "+15550002")
        assert (record.from_number, record.to_number) == ("+15550001", "+15550002")
        _, params = await ported(w, Party("sip:alice@example.com", "15550002"))
        assert (params["From"], params["CountryCode"]) == ("sip:alice@example.com", "")
        call_id = await Rest(w).call(w, "15550101")
        await until(lambda: len(w.site.asked("/hangup")) == 3)
        assert (await record_of(w, call_id)).to_number == "+15550101"
        found = await Rest(w).get("Call/", to_number="15550101")
        assert [one["call_uuid"] for one in found["objects"]] == [call_id]
