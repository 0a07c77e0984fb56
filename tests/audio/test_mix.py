from __future__ import annotations

from math import floor, inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.g711 import alaw_to_l16, l16_to_alaw, l16_to_mulaw, mulaw_to_l16
from bothway.audio.mix import gain, mix
from bothway.errors import UsageError

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
audio = st.lists(st.integers(-32768, 32767), max_size=40)


def l16(values: list[int]) -> bytes:
    return np.array(values, "<i2").tobytes()


def clipped(value: float) -> int:
    return max(-32768, min(32767, floor(value)))


@given(audio, audio)
def test_the_sum_saturates_and_is_as_long_as_the_longer(a: list[int], b: list[int]) -> None:
    length = max(len(a), len(b))
    padded = [[*part, *[0] * (length - len(part))] for part in (a, b)]
    assert mix(l16(a), l16(b), L16_16K) == l16([clipped(x + y) for x, y in zip(*padded, strict=True)])
    assert mix(l16(a), l16(b), L16_16K) == mix(l16(b), l16(a), L16_16K)


def test_g711_is_added_as_l16() -> None:
    a, b = l16_to_mulaw(l16([1000, -30000, 5])), l16_to_mulaw(l16([2000, -30000]))
    left, right = mulaw_to_l16(a), mulaw_to_l16(b) + b"\0\0"
    assert mix(a, b, MULAW_8K) == l16_to_mulaw(mix(left, right, L16_8K))
    assert mix(l16_to_alaw(l16([1000])), l16_to_alaw(l16([2000])), ALAW_8K) == l16_to_alaw(l16([1008 + 2016]))


def test_nothing_added_is_the_other_itself() -> None:
    assert mix(b"\x12\x34", b"", L16_8K) == b"\x12\x34"
    assert mix(b"", b"\x7f", MULAW_8K) == b"\x7f"


@given(audio, st.floats(-4, 4))
def test_gain_scales_rounds_down_and_saturates(values: list[int], factor: float) -> None:
    assert gain(l16(values), factor, L16_8K) == l16([clipped(value * factor) for value in values])


def test_gain_of_g711_goes_through_l16() -> None:
    codes = bytes(range(256))
    assert gain(codes, 0.5, ALAW_8K) == l16_to_alaw(gain(alaw_to_l16(codes), 0.5, L16_8K))
    assert gain(MULAW_8K.silent_frame, 0.25, MULAW_8K) == MULAW_8K.silent_frame


def test_a_factor_of_one_is_the_audio_itself() -> None:
    codes = bytes(range(256))
    assert gain(codes, 1.0, MULAW_8K) is codes


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="1 bytes"):
        mix(b"a", b"bc", L16_8K)
    for factor in (inf, nan):
        with pytest.raises(UsageError, match="cannot be scaled"):
            gain(b"ab", factor, L16_8K)
