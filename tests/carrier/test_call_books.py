from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.carrier.rest_client import Rest
from tests.carrier.world import ACCOUNT, Request, page, until, world

from bothway.carrier.call_books import call_facts, closed_callbacks, closed_record, cut_callbacks
from bothway.carrier.call_order import Party
from bothway.carrier.rates import Rates
from bothway.carrier.store.records import CallRecord, Closed, StreamRecord
from bothway.core.execution import cause
from bothway.wire.webhooks import CallFacts, StatusForm

pytestmark = pytest.mark.virtual_time

NOW = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
RECORD = CallRecord(
    call_uuid="5d2c5e0e-6a5e-4f0c-9b7e-0c3a4f1d2e3b",
    request_uuid="5d2c5e0e-6a5e-4f0c-9b7e-0c3a4f1d2e3b",
    account=ACCOUNT.auth_id,
    node="1",
    direction="outbound",
    from_number="15550001",
    to_number="15550002",
    initiation_time=NOW,
    rate=Decimal("0.01"),
    hangup_url="https://example.com/hangup",
)


async def test_the_record_follows_the_call(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        store = w.carrier._store
        assert store is not None

        async def soon(_: Request) -> bytes:
            await asyncio.sleep(1)
            return page("<Response><Wait length='61'/></Response>")

        caller, call = w.place(soon)
        first = await store.calls.get(call.call_id)
        assert first is not None
        assert (first.state, first.answer_time, first.end_time, first.node) == (
            "ringing",
            None,
            None,
            w.carrier._slot.name,
        )
        await until(lambda: caller.heard)
        up = await store.calls.get(call.call_id)
        assert up is not None
        assert up.state == "in-progress"
        assert up.answer_time is not None
        await call.accounted.wait()
        over = await store.calls.get(call.call_id)
        assert over is not None
        assert (over.state, over.call_duration, over.billed_duration, over.amount) == (
            "completed",
            61,
            120,
            Decimal("0.011"),
        )
        assert (over.hangup_cause_code, over.hangup_source) == (4010, "Plivo")
        assert over == call.report.books.call
        assert not list(call.report.books.streams)


async def test_a_call_that_was_never_answered_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response><Hangup reason='busy'/></Response>"))
        cdr = await Rest(w).get(f"Call/{caller.call_id}/")
        assert (cdr["call_duration"], cdr["total_amount"], cdr["answer_time"]) == (0, "0.00000", None)


@pytest.mark.parametrize(("code", "state"), [(1000, "cancel"), (3010, "busy"), (5010, "failed"), (6010, "timeout")])
def test_a_call_that_was_never_placed_is_closed(code: int, state: str) -> None:
    closed = closed_record(RECORD, cause(code, "Plivo"), NOW + timedelta(seconds=3))
    assert (closed.state, closed.hangup_cause_code, closed.end_time) == (state, code, NOW + timedelta(seconds=3))
    (item,) = closed_callbacks(closed, ACCOUNT.auth_id)
    assert (item.kind, item.url, item.method, item.account) == ("hangup", RECORD.hangup_url, "POST", ACCOUNT.auth_id)
    assert item.params["CallStatus"] == state
    assert item.params["HangupCauseCode"] == str(code)
    assert item.params["EndTime"] == "2026-01-31 10:00:03"
    assert (item.params["AnswerTime"], item.params["Duration"]) == ("", "0")
    (local,) = closed_callbacks(closed, ACCOUNT.auth_id, ZoneInfo("Asia/Kolkata"))
    assert (local.params["EndTime"], local.params["SessionStart"]) == (
        "2026-01-31 15:30:03",
        item.params["SessionStart"],
    )


def test_nobody_is_told_who_did_not_ask() -> None:
    quiet = msgspec.structs.replace(RECORD, hangup_url=None)
    assert closed_callbacks(closed_record(quiet, cause(1000, "Plivo"), NOW), ACCOUNT.auth_id) == []
    assert closed_callbacks(RECORD, ACCOUNT.auth_id) == [], "a call that lives is owed none yet"


def test_a_call_that_was_live_when_the_carrier_was_killed_is_told_as_it_is_recorded() -> None:
    """Nobody knows when it ended: what was not counted by then is neither billed nor told."""
    answered = msgspec.structs.replace(RECORD, answer_time=NOW, state="in-progress", country_code="US")
    killed = closed_record(answered, cause(5010, "Error"), NOW + timedelta(hours=5))
    (item,) = closed_callbacks(killed, ACCOUNT.auth_id)
    assert (killed.bill_duration, killed.billed_duration, killed.amount) == (0, 0, Decimal(0))
    assert [item.params[name] for name in ("Duration", "BillDuration", "TotalCost")] == ["0", "0", "0.00000"]
    assert (item.params["AnswerTime"], item.params["EndTime"]) == ("2026-01-31 10:00:00", "2026-01-31 15:00:00")


@pytest.mark.parametrize(
    ("form", "event", "why"), [("documented", "failed", "StatusReason"), ("live", "DroppedStream", "Error")]
)
def test_the_streams_of_a_carrier_that_was_killed_have_failed(form: StatusForm, event: str, why: str) -> None:
    killed = closed_record(RECORD, cause(5010, "Error"), NOW)
    stream = StreamRecord(
        stream_id="s-1",
        call_uuid=RECORD.call_uuid,
        account=RECORD.account,
        node=RECORD.node,
        service_url="wss://app/stream",
        created_at=NOW,
        end_time=NOW,
        status="failed",
        status_callback_url="https://app/status",
        status_callback_method="GET",
    )
    quiet = msgspec.structs.replace(stream, stream_id="s-2", status_callback_url=None)
    (item,) = cut_callbacks(Closed(killed, (quiet, stream)), ACCOUNT.auth_id, form)
    assert (item.kind, item.url, item.method, item.account) == ("stream", "https://app/status", "GET", ACCOUNT.auth_id)
    assert (item.params["Event"], item.params["StreamID"]) == (event, "s-1")
    assert item.params["CallUUID"] == RECORD.call_uuid
    assert why in item.params


def test_what_every_webhook_of_a_call_says() -> None:
    rates = Rates(inbound=Decimal("0.5"), outbound=Decimal("0.7"))

    def facts(party: Party, *, plus: bool = False) -> CallFacts:
        return call_facts(party, ACCOUNT, rates, call_id="c", at=NOW, plus=plus)

    came = facts(Party("+919812345678", "15550002", forwarded_from="15550003", stir_attestation="A"))
    assert (came.from_, came.country_code, came.bill_rate) == ("919812345678", "IN", Decimal("0.5"))
    assert (came.forwarded_from, came.stir_attestation, came.stir_verification) == ("15550003", "A", "Not Applicable")
    placed = facts(Party("919812345678", "15550002", direction="outbound"), plus=True)
    assert (placed.from_, placed.to) == ("+919812345678", "+15550002")
    assert (placed.country_code, placed.bill_rate) == ("US", Decimal("0.7"))
