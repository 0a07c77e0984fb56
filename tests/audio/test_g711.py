"""G.711 as the Recommendation defines it, written here anew, against the module at every code and every sample."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pytest

from bothway.audio.g711 import alaw_to_l16, alaw_to_mulaw, l16_to_alaw, l16_to_mulaw, mulaw_to_alaw, mulaw_to_l16
from bothway.errors import UsageError

CODES = bytes(range(256))
SAMPLES = range(-32768, 32768)
ALL_L16 = np.arange(-32768, 32768).astype("<i2").tobytes()


def samples(l16: bytes) -> list[int]:
    return [int(sample) for sample in np.frombuffer(l16, "<i2")]


def mulaw_decision_values() -> list[int]:
    """Table 2a: x(1) = 0, then 1, then 15 intervals of 2, then seven segments of 16 intervals, each twice as wide."""
    values = [0, 1]
    for step, count in [(2, 15), *((4 << segment, 16) for segment in range(7))]:
        values += [values[-1] + step * k for k in range(1, count + 1)]
    return values


def alaw_decision_values() -> list[int]:
    """Table 1a, in 1/4096 of the virtual maximum: 32 intervals of 2, then six segments of 16, each twice as wide."""
    values = [0]
    for step, count in [(2, 32), *((4 << segment, 16) for segment in range(6))]:
        values += [values[-1] + step * k for k in range(1, count + 1)]
    return values


MULAW_X = mulaw_decision_values()
ALAW_X = alaw_decision_values()


def mulaw_value(code: int) -> int:
    """Table 2a and 2b: the 14-bit output for a character signal; interval 0 is 0, others give their middle."""
    interval = ~code & 0x7F
    value = 0 if interval == 0 else (MULAW_X[interval] + MULAW_X[interval + 1]) // 2
    return value if code & 0x80 else -value


def alaw_value(code: int) -> int:
    """Table 1a and 1b: the 13-bit output for a character signal, whose even bits are inverted."""
    plain = code ^ 0x55
    interval = plain & 0x7F
    value = (ALAW_X[interval] + ALAW_X[interval + 1]) // 2
    return value if plain & 0x80 else -value


def mulaw_code(magnitude: int, *, negative: bool) -> int:
    """The code of a 14-bit magnitude; one that stands on a decision value belongs to the interval above it."""
    interval = min(bisect_right(MULAW_X, magnitude) - 1, 127)
    return (~interval & 0x7F) | (0 if negative else 0x80)


def alaw_code(magnitude: int, *, negative: bool) -> int:
    """The code of a 12-bit magnitude; one that stands on a decision value belongs to the interval above it."""
    interval = min(bisect_right(ALAW_X, magnitude) - 1, 127)
    return (interval | (0 if negative else 0x80)) ^ 0x55


def test_the_reference_has_the_recommendations_landmarks() -> None:
    assert (len(MULAW_X), MULAW_X[:4], MULAW_X[16:18], MULAW_X[-2:]) == (129, [0, 1, 3, 5], [31, 35], [7903, 8159])
    assert (len(ALAW_X), ALAW_X[:3], ALAW_X[32:34], ALAW_X[-2:]) == (129, [0, 2, 4], [64, 68], [3968, 4096])
    assert (mulaw_value(0x80), mulaw_value(0xFF), mulaw_value(0x00)) == (8031, 0, -8031)
    assert (alaw_value(0xAA), alaw_value(0xD5), alaw_value(0x2A)) == (4032, 1, -4032)


def test_every_mulaw_code_decodes_to_four_times_its_14_bit_value() -> None:
    assert samples(mulaw_to_l16(CODES)) == [4 * mulaw_value(code) for code in CODES]


def test_every_alaw_code_decodes_to_eight_times_its_13_bit_value() -> None:
    assert samples(alaw_to_l16(CODES)) == [8 * alaw_value(code) for code in CODES]


def test_every_sample_encodes_to_mulaw_by_its_upper_14_bits_rounded_down() -> None:
    expected = [mulaw_code(abs(sample >> 2), negative=sample < 0) for sample in SAMPLES]
    assert list(l16_to_mulaw(ALL_L16)) == expected


def test_mulaw_of_negative_samples_mirrors_positive_ones_three_steps_larger() -> None:
    codes = dict(zip(SAMPLES, l16_to_mulaw(ALL_L16), strict=True))
    assert all(codes[-m] == codes[min(m + 3, 32767)] & 0x7F for m in range(1, 32769))
    assert {mulaw_value(codes[-m]) * 4 for m in range(1, 9)} == {-8}


def test_every_sample_encodes_to_alaw_by_its_upper_13_bits_rounded_down() -> None:
    def expected(sample: int) -> int:
        uniform = sample >> 3
        # A negative value on a decision value belongs to the interval nearer zero: one's complement makes it so.
        return alaw_code(~uniform if uniform < 0 else uniform, negative=uniform < 0)

    assert list(l16_to_alaw(ALL_L16)) == [expected(sample) for sample in SAMPLES]


def test_alaw_of_negative_samples_mirrors_positive_ones_one_step_smaller() -> None:
    codes = dict(zip(SAMPLES, l16_to_alaw(ALL_L16), strict=True))
    assert all(codes[-m] == codes[m - 1] ^ 0x80 for m in range(1, 32769))


def test_mulaw_survives_decoding_and_coding_but_for_negative_zero() -> None:
    again = l16_to_mulaw(mulaw_to_l16(CODES))
    assert {(code, other) for code, other in zip(CODES, again, strict=True) if code != other} == {(0x7F, 0xFF)}


def test_alaw_survives_decoding_and_coding() -> None:
    assert l16_to_alaw(alaw_to_l16(CODES)) == CODES


def test_each_law_to_the_other_is_what_goes_through_l16() -> None:
    assert mulaw_to_alaw(CODES) == l16_to_alaw(mulaw_to_l16(CODES))
    assert alaw_to_mulaw(CODES) == l16_to_mulaw(alaw_to_l16(CODES))


def test_silence_is_all_but_silence_in_the_other_law() -> None:
    assert samples(alaw_to_l16(mulaw_to_alaw(b"\xff"))) == [8]
    assert samples(mulaw_to_l16(alaw_to_mulaw(b"\xd5"))) == [8]


def test_half_a_sample_is_refused() -> None:
    for encode in (l16_to_mulaw, l16_to_alaw):
        with pytest.raises(UsageError, match="5 bytes"):
            encode(b"12345")


def test_nothing_gives_nothing() -> None:
    for code in (mulaw_to_l16, l16_to_mulaw, alaw_to_l16, l16_to_alaw, mulaw_to_alaw, alaw_to_mulaw):
        assert code(b"") == b""
