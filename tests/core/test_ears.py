from __future__ import annotations

import pytest

from bothway.audio.tones import dtmf
from bothway.core.ears import TWICE_SECONDS, DigitEar, InBandDigit, KeysOnce


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_reader_of_digits_is_an_ear(rate: int) -> None:
    ear, audio, size = DigitEar(rate), dtmf("17#", rate=rate), rate // 25
    found = [what for at in range(0, len(audio), size) for what in ear.feed(audio[at : at + size].ljust(size, b"\0"))]
    assert found == [InBandDigit("1"), InBandDigit("7"), InBandDigit("#")]


def test_all_tones_count_while_the_leg_tells_of_nothing() -> None:
    keys = KeysOnce()
    assert [keys.heard(digit, 1.0 + at * 0.1) for at, digit in enumerate("1123")] == [True] * 4


def test_from_the_first_key_that_the_leg_tells_of_tones_count_no_more() -> None:
    keys = KeysOnce()
    assert keys.told("5", 1.0)
    assert not keys.heard("5", 1.06)
    assert not keys.heard("7", 60.0)
    assert keys.told("7", 60.1)


def test_the_first_key_that_the_leg_tells_of_does_not_count_behind_its_tone() -> None:
    for later, counts in ((0.0, False), (TWICE_SECONDS - 0.01, False), (TWICE_SECONDS + 0.01, True)):
        keys = KeysOnce()
        assert keys.heard("5", 1.0)
        assert keys.told("5", 1.0 + later) is counts
        assert keys.told("5", 1.01 + later), "the second is another"
    keys = KeysOnce()
    assert keys.heard("5", 1.0)
    assert keys.told("6", 1.05), "another key is another key"
