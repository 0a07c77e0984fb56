"""Keys, each in its frame."""

from __future__ import annotations

from bothway.carrier.digit_presser import DigitPresser
from bothway.wire.digits import NO_DIGITS, read_digits


def test_each_key_comes_in_its_20_ms() -> None:
    presser = DigitPresser(read_digits("1w2#"))
    pressed = {frame: keys for frame in range(100) if (keys := presser.frame())}
    assert pressed == {0: "1", 35: "2", 45: "#"}


def test_nothing_is_pressed_without_a_plan() -> None:
    presser = DigitPresser(NO_DIGITS)
    assert [presser.frame() for _ in range(3)] == ["", "", ""]
