from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier.rates import Bill, Rates, bill

RATE = Decimal("0.003")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, Bill(0, 0, Decimal(0))),
        (-1.0, Bill(0, 0, Decimal(0))),
        (0.02, Bill(1, 60, RATE)),
        (27.0, Bill(27, 60, RATE)),
        (60.0, Bill(60, 60, RATE)),
        (60.0000000001, Bill(60, 60, RATE)),
        (60.02, Bill(61, 120, RATE * 2)),
        (66.0, Bill(66, 120, RATE * 2)),
    ],
)
def test_every_started_minute_counts(seconds: float, expected: Bill) -> None:
    assert bill(seconds, RATE) == expected


@given(st.floats(0, 1e6), st.decimals(0, 10, places=5))
def test_a_bill_is_whole_minutes_and_never_less_than_the_time(seconds: float, rate: Decimal) -> None:
    found = bill(seconds, rate)
    assert found.billed_seconds % 60 == 0
    assert 0 <= found.billed_seconds - found.seconds < 60
    assert found.seconds - 1 <= seconds <= found.seconds + 0.0005
    assert found.amount == rate * (found.billed_seconds // 60)


def test_a_stream_costs_what_the_reference_says() -> None:
    assert Rates().stream == RATE
