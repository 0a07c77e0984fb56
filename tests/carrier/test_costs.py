"""The arithmetic, with a plain reference that goes through the calls one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier.costs import ITEMS, hosted_costs, own_costs, roundings_of
from bothway.carrier.prices import PUBLISHED, Figure, PriceList
from bothway.carrier.store.usage import Metered, Rented, Rounding, Usage

NOTHING: list[int] = []


def metered(seconds: Sequence[int], roundings: Sequence[Rounding], amount: str = "0") -> Metered:
    return Metered(
        len(seconds),
        sum(one > 0 for one in seconds),
        sum(seconds),
        tuple(sum(rounding.billed(one) for one in seconds) for rounding in roundings),
        Decimal(amount),
    )


def used(
    roundings: Sequence[Rounding],
    *,
    voice_in: Sequence[int] = NOTHING,
    voice_out: Sequence[int] = NOTHING,
    streams: Sequence[int] = NOTHING,
    recordings: Sequence[int] = NOTHING,
    months: int = 0,
    amount: str = "0",
) -> Usage:
    return Usage(
        voice_in=metered(voice_in, roundings, amount),
        voice_out=metered(voice_out, roundings),
        streams=metered(streams, roundings),
        recordings=metered(recordings, roundings),
        numbers=Rented(months, months, Decimal(months)),
        by_country={"US": sum(voice_in), "IN": sum(voice_out), "": 5},
    )


def test_a_call_of_sixty_one_seconds_at_each_carrier() -> None:
    roundings = roundings_of(PUBLISHED)
    usage = used(roundings, voice_in=[61], streams=[60])
    costs = {prices.carrier: hosted_costs(usage, prices, roundings) for prices in PUBLISHED}
    assert costs["plivo"].voice_in.amount == Decimal("0.0110")
    assert costs["twilio"].voice_in.amount == Decimal("0.0170")
    assert costs["twilio"].streams.amount == Decimal("0.0044")
    assert costs["vonage"].voice_in.amount == Decimal(61) / 60 * Decimal("0.00485")
    assert costs["vonage"].unpublished == ("streams",)
    assert costs["vonage"].total == costs["vonage"].voice_in.amount
    assert costs["exotel"].currency == "INR"


def test_what_was_not_used_costs_nothing_even_without_a_price() -> None:
    roundings = roundings_of(PUBLISHED)
    for prices in PUBLISHED:
        costs = hosted_costs(used(roundings), prices, roundings)
        assert not costs.total
        assert not costs.unpublished


def test_recording_is_the_minute_and_a_month_of_it() -> None:
    roundings = roundings_of(PUBLISHED)
    usage = used(roundings, recordings=[90])
    twilio = hosted_costs(usage, PUBLISHED[1], roundings)
    assert (twilio.recordings.quantity, twilio.recordings.price) == (Decimal(2), Decimal("0.0030"))
    assert twilio.recordings.amount == Decimal("0.0060")
    assert hosted_costs(usage, PUBLISHED[4], roundings).unpublished == ("recordings",)


def test_streams_may_be_rounded_by_a_rule_of_their_own() -> None:
    prices = PriceList(carrier="a", stream_rounding=Rounding(1, 1), stream=Figure(Decimal(60)))
    roundings = roundings_of([prices])
    assert roundings == (Rounding(), Rounding(1, 1))
    assert hosted_costs(used(roundings, streams=[7]), prices, roundings).streams.amount == pytest.approx(7)


def test_calls_with_other_countries_are_pointed_out() -> None:
    roundings = roundings_of(PUBLISHED)
    usage = used(roundings, voice_in=[10], voice_out=[20])
    assert hosted_costs(usage, PUBLISHED[0], roundings).elsewhere == 20
    assert hosted_costs(usage, PUBLISHED[4], roundings).elsewhere == 10


def test_here_counts_what_the_records_say() -> None:
    usage = used((Rounding(),), voice_in=[61], months=3, amount="0.011")
    here = own_costs(usage)
    assert (here.voice_in.quantity, here.voice_in.amount) == (Decimal(2), Decimal("0.011"))
    assert (here.numbers.amount, here.total) == (Decimal(3), Decimal("3.011"))
    assert (here.currency, here.unpublished) == ("", ())


SECONDS = st.lists(st.integers(0, 500), max_size=6)
MONEY = st.none() | st.decimals(0, 10, places=5).map(Figure)
LISTS = st.builds(
    PriceList,
    carrier=st.just("a"),
    rounding=st.builds(Rounding, st.integers(1, 90), st.integers(1, 90)),
    stream_rounding=st.none() | st.builds(Rounding, st.integers(1, 90), st.integers(1, 90)),
    voice_in=MONEY,
    voice_out=MONEY,
    stream=MONEY,
    recording=MONEY,
    storage=MONEY,
    number=MONEY,
)


def by_hand(seconds: Sequence[int], rounding: Rounding, *figures: Figure | None) -> Decimal | None:
    """Call by call, minute by minute."""
    total = Decimal(0)
    for one in seconds:
        if one == 0:
            continue
        steps = max(0, math.ceil((one - rounding.first) / rounding.step))
        for figure in figures:
            if figure is None:
                return None
            total += Decimal(rounding.first + steps * rounding.step) * figure.price
    return total / 60


@given(prices=LISTS, voice_in=SECONDS, voice_out=SECONDS, streams=SECONDS, recordings=SECONDS, months=st.integers(0, 9))
def test_a_list_against_the_calls_one_by_one(
    prices: PriceList,
    voice_in: list[int],
    voice_out: list[int],
    streams: list[int],
    recordings: list[int],
    months: int,
) -> None:
    roundings = roundings_of([*PUBLISHED, prices])
    usage = used(
        roundings, voice_in=voice_in, voice_out=voice_out, streams=streams, recordings=recordings, months=months
    )
    found = hosted_costs(usage, prices, roundings)
    expected = {
        "voice_in": by_hand(voice_in, prices.rounding, prices.voice_in),
        "voice_out": by_hand(voice_out, prices.rounding, prices.voice_out),
        "streams": by_hand(streams, prices.stream_rounding or prices.rounding, prices.stream),
        "recordings": by_hand(recordings, prices.rounding, prices.recording, prices.storage),
        "numbers": by_hand([60] * months, Rounding(), prices.number),
    }
    for name in ITEMS:
        amount = getattr(found, name).amount
        if expected[name] is None:
            assert amount is None
        else:
            assert amount == pytest.approx(expected[name])
    assert found.unpublished == tuple(name for name in ITEMS if expected[name] is None)
    assert found.total == pytest.approx(sum(one for one in expected.values() if one is not None))
