from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, event
from tests.carrier.store.examples import MAIN, NOW, SUB, a_call, a_stream, ago, an_ended_call, an_item, opened

from bothway.carrier.store.lists import window
from bothway.carrier.store.records import CallFilter, CallRecord, Closed, Comparison, OutboxItem
from bothway.errors import UsageError

pytestmark = pytest.mark.virtual_time


async def test_a_call_comes_back_as_it_was_saved(where: str | Path | None) -> None:
    async with opened(where) as store:
        queued = a_call(call_uuid := "call-1", sip_headers={"X-PH-a": "\ud800\0", "X-PH-b": "ü"})
        await store.calls.save(queued)
        assert await store.calls.get(call_uuid) == queued
        ended = an_ended_call(call_uuid, parent_call_uuid="call-0", conference_uuid="c", hangup_url="https://a/b")
        await store.calls.save(ended)
        assert await store.calls.get(call_uuid) == ended
        assert await store.calls.get("undefined") is None


async def test_a_read_sees_what_was_asked_for_before_it(where: str | Path | None) -> None:
    async with opened(where) as store:
        for number in range(50):
            store.calls.save(a_call(f"call-{number}"))
        assert await store.calls.get("call-49") is not None


async def test_text_of_any_origin_is_kept(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.calls.save(
            a_call("x", caller_name="half \ud83d of a pair, \0 and 日本", to_number="sip:'; DROP--@b")
        )
        found = await store.calls.get("x")
        assert found is not None
        assert found.caller_name == "half \ufffd of a pair, \ufffd and 日本"
        assert found.to_number == "sip:'; DROP--@b"
        assert await store.calls.get("\0\ud800") is None


async def test_a_call_that_has_ended_stays_so(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.calls.save(an_ended_call())
        await store.calls.save(a_call(state="in-progress"))
        assert await store.calls.get("call-1") == an_ended_call()


async def test_what_an_ended_call_came_to_may_be_corrected(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.calls.save(an_ended_call())
        corrected = replace(an_ended_call(), hangup_source="Carrier")
        store.calls.save(corrected)
        assert await store.calls.get(corrected.call_uuid) == corrected


async def test_a_time_without_a_zone_is_the_callers_fault(where: str | Path | None) -> None:
    async with opened(where) as store:
        good = store.calls.save(a_call("good"))
        with pytest.raises(UsageError, match="no time zone"):
            await store.calls.save(a_call("bad", initiation_time=NOW.replace(tzinfo=None)))
        await good
        assert await store.calls.get("good") is not None
        assert await store.calls.get("bad") is None


async def test_the_list_has_ended_calls_of_the_account_newest_first(where: str | Path | None) -> None:
    async with opened(where) as store:
        for number in range(5):
            store.calls.save(an_ended_call(f"call-{number}", end_time=ago(minutes=number)))
        store.calls.save(a_call("live"))
        store.calls.save(an_ended_call("foreign", account="MABBBBBBBBBBBBBBBBBB"))
        page = await store.calls.list(MAIN, now=NOW, limit=2, offset=1)
        assert [call.call_uuid for call in page.records] == ["call-1", "call-2"]
        assert page.total == 5
        assert await store.calls.list(MAIN, now=NOW, limit=20, offset=2**80) == type(page)((), 5)


async def test_calls_are_queued_all_or_none(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.calls.queue([a_call("1", state="queued"), a_call("2", state="queued")])
        with pytest.raises(UsageError):
            await store.calls.queue([a_call("3"), a_call("4", initiation_time=NOW.replace(tzinfo=None))])
        found = await store.calls.live(MAIN, states=("queued", "ringing", "in-progress"))
        assert {call.call_uuid for call in found.records} == {"1", "2"}


async def test_live_calls_are_listed_by_state(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.calls.save(a_call("queued", initiation_time=ago(seconds=3)))
        store.calls.save(a_call("ringing", state="ringing", initiation_time=ago(seconds=2), from_number="99"))
        store.calls.save(a_call("talking", state="in-progress", initiation_time=ago(seconds=1)))
        store.calls.save(an_ended_call("ended"))
        live = await store.calls.live(MAIN)
        assert [call.call_uuid for call in live.records] == ["talking", "ringing"]
        assert [call.call_uuid for call in (await store.calls.live(MAIN, states=["queued"])).records] == ["queued"]
        found = await store.calls.live(MAIN, wanted=CallFilter(from_number="+99"))
        assert [call.call_uuid for call in found.records] == ["ringing"]


async def test_abandoned_calls_are_closed_with_their_callbacks(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.calls.save(a_call("mine", node="1", state="in-progress"))
        store.calls.save(a_call("queued", node="2", initiation_time=ago(minutes=9)))
        store.calls.save(a_call("talking", node="2", state="in-progress", answer_time=ago(minutes=1)))
        store.calls.save(an_ended_call("ended", node="2"))
        store.streams.save(a_stream("open", call_uuid="talking", node="2", status="in-progress"))
        store.streams.save(
            a_stream("closed", call_uuid="talking", node="2", status="completed", end_time=ago(minutes=2))
        )

        def owed(closed: Closed) -> list[OutboxItem]:
            return [an_item(f"{closed.call.call_uuid} hangup", call_uuid=closed.call.call_uuid)]

        closed = await store.calls.close_abandoned(NOW, live=["1"], callbacks=owed)
        assert [(one.call.call_uuid, one.call.state) for one in closed] == [
            ("queued", "failed"),
            ("talking", "completed"),
        ]
        assert [stream.stream_id for stream in closed[1].streams] == ["open"]
        for one in closed:
            assert (one.call.hangup_cause_code, one.call.hangup_source, one.call.end_time) == (5010, "Error", NOW)
            assert one.call.hangup_cause_name == "Internal Error"
            assert await store.calls.get(one.call.call_uuid) == one.call
            assert await store.outbox.waiting(one.call.call_uuid) == 1
        assert await store.streams.get("open") == closed[1].streams[0]
        assert await store.calls.close_abandoned(NOW, dead=["2"], callbacks=owed) == ()
        assert await store.outbox.waiting() == 2
        assert len(await store.calls.close_abandoned(NOW, dead=["1"])) == 1


async def test_callbacks_are_put_with_the_end_of_a_call_or_not_at_all(where: str | Path | None) -> None:
    async with opened(where) as store:
        naive = NOW.replace(tzinfo=None)
        with pytest.raises(UsageError):
            await store.calls.save(an_ended_call(), [an_item("good"), an_item("bad", created=naive)])
        assert await store.calls.get("call-1") is None
        await store.calls.save(an_ended_call(), [an_item("good")])
        assert await store.outbox.waiting("call-1") == 1


async def test_a_number_is_found_by_its_index(where: str | Path | None) -> None:
    """However many calls ended in the window."""
    async with opened(where) as store:
        for number in range(300):
            store.calls.save(an_ended_call(f"call-{number}", from_number=f"1415555{number:04d}"))
        plan: list[str] = []

        def explained(connection: Connection) -> None:
            def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
                if statement.startswith("SELECT"):
                    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    plan.extend(str(row) for row in cursor.fetchall())

            if connection.dialect.name == "sqlite":
                event.listen(connection.engine, "before_cursor_execute", explain)

        await store._database.read(explained)
        page = await store.calls.list(MAIN, CallFilter(from_number="+14155550007"), now=NOW)
        assert [call.call_uuid for call in page.records] == ["call-7"]
        assert not any("ix_calls_ended" in line for line in plan)
        if plan:
            assert sum("ix_calls_from" in line for line in plan) == 4


# --- filters, against a list in Python --------------------------------------------------------------------------------

_NUMBERS = st.sampled_from(["14155550100", "+14155550100", "1415555", "+44", "447", "sip:a@b", "_%", "", "+"])
_PREFIXES = st.one_of(_NUMBERS, st.text(max_size=3))
_DAYS = (0, 1, 6, 7, 29, 30, 36, 37)
_TIMES = st.sampled_from([ago(days=days, seconds=seconds) for days in _DAYS for seconds in (0, 1)])
_BOUNDS = st.one_of(
    _TIMES, st.sampled_from([datetime.min.replace(tzinfo=NOW.tzinfo), datetime.max.replace(tzinfo=NOW.tzinfo)])
)
_SECONDS = st.integers(0, 3)
_OPERATORS = st.sampled_from(["eq", "gt", "gte", "lt", "lte"])


def _comparisons(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Comparison[Any], ...]]:
    return st.lists(st.builds(Comparison, _OPERATORS, values), max_size=2).map(tuple)


_CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "sub_account": st.sampled_from(["", SUB]),
            "direction": st.sampled_from(["inbound", "outbound"]),
            "from_number": _NUMBERS,
            "to_number": _NUMBERS,
            "parent_call_uuid": st.sampled_from([None, "a"]),
            "bill_duration": _SECONDS,
            "end_time": _TIMES,
            "hangup_cause_code": st.sampled_from([0, 4000]),
            "hangup_source": st.sampled_from(["Caller", "Plivo"]),
        }
    ),
    max_size=8,
)
_FILTERS = st.builds(
    CallFilter,
    sub_account=st.sampled_from([None, None, SUB]),
    direction=st.sampled_from([None, None, "inbound"]),
    from_number=st.one_of(st.none(), _PREFIXES),
    to_number=st.one_of(st.none(), st.none(), _PREFIXES),
    parent_call_uuid=st.sampled_from([None, None, "a", "b"]),
    bill_duration=_comparisons(st.one_of(_SECONDS, st.integers())),
    end_time=_comparisons(_BOUNDS),
    hangup_cause_code=st.sampled_from([None, None, 0, 4000, 10**30]),
    hangup_source=st.sampled_from([None, None, "Caller"]),
)


def _meets(value: Any, comparison: Comparison[Any]) -> bool:
    bound = comparison.value
    met: dict[str, bool] = {
        "eq": value == bound,
        "gt": value > bound,
        "gte": value >= bound,
        "lt": value < bound,
        "lte": value <= bound,
    }
    return met[comparison.operator]


def _is_wanted(call: CallRecord, wanted: CallFilter) -> bool:
    names = ("sub_account", "direction", "parent_call_uuid", "hangup_cause_code", "hangup_source")
    exact = all(getattr(wanted, name) in {None, getattr(call, name)} for name in names)
    begun = all(
        number.removeprefix("+").startswith(prefix.removeprefix("+")) or not prefix
        for number, prefix in ((call.from_number, wanted.from_number or ""), (call.to_number, wanted.to_number or ""))
    )
    bounded = all(_meets(call.bill_duration, one) for one in wanted.bill_duration)
    timed = all(_meets(call.end_time, one) for one in window(wanted.end_time, NOW))
    return exact and begun and bounded and timed


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    facts=_CALLS, filters=st.lists(_FILTERS, min_size=1, max_size=4), limit=st.integers(0, 5), offset=st.integers(0, 5)
)
def test_a_filter_finds_what_python_finds(
    where: str | Path | None, facts: list[dict[str, Any]], filters: list[CallFilter], limit: int, offset: int
) -> None:
    asyncio.run(_compare(where, facts, filters, limit, offset))


async def _compare(
    where: str | Path | None, facts: list[dict[str, Any]], filters: list[CallFilter], limit: int, offset: int
) -> None:
    async with opened(where) as store:
        # One database for all examples: each is an account of its own.
        account = f"MA{id(facts)}-{asyncio.get_running_loop().time()}"
        saved = [an_ended_call(f"{account}-{number}", account=account, **one) for number, one in enumerate(facts)]
        for call in saved:
            store.calls.save(call)
        for wanted in filters:
            page = await store.calls.list(account, wanted, now=NOW, limit=limit, offset=offset)
            expected = [call for call in saved if _is_wanted(call, wanted)]
            expected.sort(key=lambda call: (NOW - (call.end_time or NOW), call.call_uuid))
            assert page.total == len(expected)
            assert page.records == tuple(expected[offset : offset + limit])


async def test_later_is_never_earlier(where: str | Path | None) -> None:
    """A call that a node with a slow clock closes does not end before it began."""
    async with opened(where) as store:
        store.calls.save(a_call(initiation_time=NOW + timedelta(seconds=5)))
        (closed,) = await store.calls.close_abandoned(NOW)
        assert closed.call == replace(closed.call, end_time=NOW + timedelta(seconds=5))
