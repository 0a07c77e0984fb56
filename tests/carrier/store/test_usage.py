"""Sums, compared with a plain reference: the same rules, one record after another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.carrier.store.examples import (
    MAIN,
    NOW,
    SUB,
    a_number,
    a_recording,
    a_stream,
    ago,
    an_ended_call,
    opened,
)

from bothway.carrier.store.records import CallRecord, Direction
from bothway.carrier.store.usage import Metered, Rented, Rounding

pytestmark = pytest.mark.virtual_time

SINCE, UNTIL = ago(days=1), NOW
ROUNDINGS = (Rounding(), Rounding(30, 6), Rounding(6, 6), Rounding(1, 1))


def test_roundings() -> None:
    assert [Rounding().billed(seconds) for seconds in (-1, 0, 1, 60, 61)] == [0, 0, 60, 60, 120]
    assert [Rounding(30, 6).billed(seconds) for seconds in (1, 30, 31, 36, 37)] == [30, 30, 36, 36, 42]
    assert [Rounding(1, 1).billed(seconds) for seconds in (1, 61)] == [1, 61]


@given(st.integers(0, 10**6), st.integers(1, 120), st.integers(1, 120))
def test_a_rounding_adds_less_than_a_step(seconds: int, first: int, step: int) -> None:
    billed = Rounding(first, step).billed(seconds)
    assert billed >= seconds
    assert billed == 0 if seconds == 0 else billed == max(first, first + math.ceil((seconds - first) / step) * step)


async def test_nothing_was_used(where: str | Path | None) -> None:
    async with opened(where) as store:
        usage = await store.usage.between(SINCE, UNTIL, roundings=ROUNDINGS)
    nothing = Metered(0, 0, 0, (0, 0, 0, 0), Decimal(0))
    assert (usage.voice_in, usage.voice_out, usage.streams, usage.recordings) == (nothing,) * 4
    assert usage.numbers == Rented(0, 0, Decimal(0))
    assert usage.by_country == {}


async def test_calls_by_direction_streams_and_recordings(where: str | Path | None) -> None:
    async with opened(where) as store:
        rate = Decimal("0.0055")
        for n, seconds in enumerate((0, 7, 61)):
            await store.calls.save(
                an_ended_call(f"in-{n}", direction="inbound", bill_duration=seconds, amount=rate * n, country_code="GB")
            )
        await store.calls.save(an_ended_call("out", bill_duration=90, amount=Decimal("0.02"), country_code="US"))
        await store.calls.save(an_ended_call("unknown", bill_duration=5, amount=Decimal("0.01")))
        await store.calls.save(an_ended_call("busy", answer_time=None, bill_duration=0, amount=Decimal(0)))
        await store.streams.save(a_stream(end_time=ago(hours=1), bill_duration=27, billed_amount=Decimal("0.003")))
        await store.streams.save(a_stream("open"))
        await store.recordings.save(a_recording(duration_ms=60_001, storage_rate=Decimal("0.0008")))
        usage = await store.usage.between(SINCE, UNTIL, roundings=ROUNDINGS)
    assert usage.voice_in == Metered(3, 2, 68, (180, 96, 78, 68), Decimal("0.0165"))
    assert usage.voice_out == Metered(3, 2, 95, (180, 120, 96, 95), Decimal("0.03"))
    assert usage.streams == Metered(1, 1, 27, (60, 30, 30, 27), Decimal("0.003"))
    assert usage.recordings == Metered(1, 1, 61, (120, 66, 66, 61), Decimal("0.0008"))
    assert usage.by_country == {"GB": 68, "US": 90, "": 5}


async def test_of_an_account_with_its_sub_accounts(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.calls.save(an_ended_call("main"))
        await store.calls.save(an_ended_call("sub", sub_account=SUB))
        await store.calls.save(an_ended_call("other", account="MABBBBBBBBBBBBBBBBBB"))
        await store.streams.save(a_stream(sub_account=SUB, end_time=ago(hours=1), bill_duration=1))
        counts = {
            account: (await store.usage.between(SINCE, UNTIL, account=account)).voice_out.count
            for account in (None, MAIN, SUB, "MAnobody")
        }
        assert counts == {None: 3, MAIN: 2, SUB: 1, "MAnobody": 0}
        assert (await store.usage.between(SINCE, UNTIL, account=SUB)).streams.count == 1


async def test_the_window_has_its_beginning_and_not_its_end(where: str | Path | None) -> None:
    async with opened(where) as store:
        for name, at in (("before", SINCE - timedelta(microseconds=1)), ("first", SINCE), ("end", UNTIL)):
            await store.calls.save(an_ended_call(name, initiation_time=ago(days=2), end_time=at))
        assert (await store.usage.between(SINCE, UNTIL)).voice_out.count == 1


async def test_numbers_are_rented_by_the_month(where: str | Path | None) -> None:
    def on(month: int, day: int = 1) -> datetime:
        return datetime(2026, month, day, tzinfo=UTC)

    async with opened(where) as store:
        price = Decimal("0.80")
        await store.numbers.save(a_number("15550001", account=MAIN, added_on=on(1), monthly_rental_rate=price))
        await store.numbers.save(a_number("15550002", account=MAIN, added_on=on(2, 20), monthly_rental_rate=price))
        await store.numbers.save(a_number("15550003", added_on=on(1), monthly_rental_rate=price))
        month = await store.usage.between(on(1), on(2))
        assert month.numbers == Rented(1, 1, Decimal("0.80"))
        quarter = await store.usage.between(on(1, 15), on(3, 2), account=MAIN)
        assert quarter.numbers == Rented(2, 5, Decimal("4.00"))
        assert (await store.usage.between(on(2, 1), on(2, 20))).numbers == Rented(1, 1, Decimal("0.80"))
        assert (await store.usage.between(on(12), datetime(2027, 2, 1, tzinfo=UTC))).numbers.months == 4


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["inbound", "outbound"]),
        st.integers(0, 400),
        st.decimals(0, 5, places=8),
        st.sampled_from([-1, 0, 12, 23, 24, 25]),
        st.sampled_from(["", "US", "IN"]),
    ),
    max_size=12,
)
ROUNDS = st.lists(st.builds(Rounding, st.integers(1, 90), st.integers(1, 90)), max_size=3)


def reference(records: Sequence[CallRecord], direction: str, roundings: Sequence[Rounding]) -> Metered:
    mine = [one for one in records if one.direction == direction and _is_within(one)]
    return Metered(
        len(mine),
        sum(one.bill_duration > 0 for one in mine),
        sum(one.bill_duration for one in mine),
        tuple(sum(rounding.billed(one.bill_duration) for one in mine) for rounding in roundings),
        sum((one.amount for one in mine), Decimal(0)),
    )


def _is_within(call: CallRecord) -> bool:
    assert call.end_time is not None
    return SINCE <= call.end_time < UNTIL


NUMBERS = itertools.count()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=CALLS, roundings=ROUNDS)
async def test_the_database_adds_as_the_reference_does(
    where: str | Path | None, drawn: list[tuple[Direction, int, Decimal, int, str]], roundings: list[Rounding]
) -> None:
    account = f"MA{next(NUMBERS):018}"  # the examples share a database
    records = [
        an_ended_call(
            f"{account}-{n}",
            account=account,
            direction=direction,
            bill_duration=seconds,
            amount=amount,
            country_code=country,
            initiation_time=ago(days=3),
            end_time=SINCE + timedelta(hours=hours),
        )
        for n, (direction, seconds, amount, hours, country) in enumerate(drawn)
    ]
    async with opened(where) as store:
        for record in records:
            await store.calls.save(record)
        usage = await store.usage.between(SINCE, UNTIL, account=account, roundings=roundings)
    assert usage.voice_in == reference(records, "inbound", roundings)
    assert usage.voice_out == reference(records, "outbound", roundings)
    assert sum(usage.by_country.values()) == usage.voice_in.seconds + usage.voice_out.seconds
