from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.wire.billing import billed_seconds, started_seconds


@pytest.mark.parametrize(
    ("seconds", "started", "billed"),
    [
        (-1.0, 0, 0),
        (0.0, 0, 0),
        (0.02, 1, 60),
        (27.0, 27, 60),
        (59.999999, 60, 60),
        (60.0, 60, 60),
        (60.000002, 60, 60),
        (60.02, 61, 120),
        (66.0, 66, 120),
    ],
)
def test_every_started_second_and_minute_counts(seconds: float, started: int, billed: int) -> None:
    assert (started_seconds(seconds), billed_seconds(seconds)) == (started, billed)


@given(st.floats(1.7e9, 1.9e9), st.integers(0, 100), st.floats(0, 1e5))
def test_a_minute_sharp_stays_one_between_two_times_of_day(epoch: float, minutes: int, at: float) -> None:
    """As a call has them: the clock's times, moved to the time of day and cut to microseconds."""
    answered = datetime.fromtimestamp(epoch + at, UTC)
    ended = datetime.fromtimestamp(epoch + (at + 60.0 * minutes), UTC)
    assert billed_seconds((ended - answered).total_seconds()) == 60 * minutes


@given(st.floats(0, 1e6))
def test_nothing_is_lost_and_less_than_a_minute_is_added(seconds: float) -> None:
    started, billed = started_seconds(seconds), billed_seconds(seconds)
    assert started - 1 < seconds <= started + 0.0005
    assert billed % 60 == 0
    assert 0 <= billed - started < 60
