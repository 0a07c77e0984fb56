"""Texts of keys and pauses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.wire.digits import DIGIT_GAP_MS, NO_DIGITS, DigitPlan, read_digits


def test_keys_and_pauses_have_their_times() -> None:
    assert read_digits("1w2W#") == DigitPlan(((0, "1"), (700, "2"), (1900, "#")), 100)
    assert read_digits("ww5@300") == DigitPlan(((1000, "5"),), 300)
    assert read_digits("12@300").presses == ((0, "1"), (400, "2"))
    assert read_digits("1w2").keys == "12"


@pytest.mark.parametrize("text", ["", "@100"])
def test_nothing_to_press(text: str) -> None:
    assert read_digits(text) == NO_DIGITS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12p", "'12p' cannot be pressed"),
        ("1@2@3", "cannot be pressed"),
        ("1@", "cannot be pressed"),
        ("1@0", "cannot be held for 0 ms"),
        ("1@10001", "cannot be held for 10001 ms"),
        ("1" * 257, "257 digits are too many"),
    ],
)
def test_what_cannot_be_pressed_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_digits(text)


@given(st.text("0123456789*#ABCDwW", max_size=256))
def test_no_key_is_lost_and_each_has_room(text: str) -> None:
    plan = read_digits(text)
    assert plan.keys == text.replace("w", "").replace("W", "")
    times = [at for at, _ in plan.presses]
    assert all(after - before >= plan.tone_ms + DIGIT_GAP_MS for before, after in pairwise(times))
