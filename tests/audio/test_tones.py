from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.level import peak, rms_dbfs
from bothway.audio.tones import DTMF_FREQUENCIES, beep, dtmf, ringback, tone
from bothway.errors import UsageError

DIGITS = "0123456789*#ABCD"


def samples(l16: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(l16, "<i2").astype(np.float64)


def goertzel_dbfs(l16: bytes, hertz: float, rate: int) -> float:
    """The level of one frequency, by Goertzel's recursion, in dB to an RMS of 32768."""
    step = 2 * np.cos(2 * np.pi * hertz / rate)
    before = last = 0.0
    values = samples(l16)
    for value in values:
        before, last = last, value + step * last - before
    power = last * last + before * before - step * last * before
    return float(10 * np.log10(power * 2 / values.size**2 / 32768**2 + 1e-12))


def test_a_tone_has_its_length_level_and_frequency() -> None:
    sound = tone(1000, 500, 16000, -20)
    assert len(sound) == 2 * 8000
    assert rms_dbfs(sound[320:-320]) == pytest.approx(-20, abs=0.01)
    assert goertzel_dbfs(sound[320:-320], 1000, 16000) == pytest.approx(-20, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_level_is_that_of_the_whole_sum(count: int) -> None:
    frequencies = [400.0, 600.0, 900.0, 1500.0][:count]
    assert rms_dbfs(tone(frequencies, 1010, 8000, -15)[80:-80]) == pytest.approx(-15, abs=0.02)


def test_edges_rise_smoothly_and_the_middle_has_no_seam() -> None:
    sound = samples(tone(440, 200, 8000, -10))
    assert abs(sound[0]) < 20
    assert abs(sound[-1]) < 200
    top = 32768 * 10 ** (-10 / 20) * np.sqrt(2)
    assert np.abs(np.diff(sound)).max() <= top * 2 * np.pi * 440 / 8000 + 1
    middle = np.arange(24, sound.size - 24)
    assert np.abs(sound[middle] - top * np.sin(2 * np.pi * 440 * middle / 8000)).max() <= 0.51


def test_full_scale_is_reached_and_never_passed() -> None:
    sound = samples(tone(1000, 100, 48000, -3.0104))
    assert (sound.max(), sound.min()) == (32767, -32768)
    with pytest.raises(UsageError, match="exceed full scale"):
        tone(1000, 100, 8000, -2)
    with pytest.raises(UsageError, match="exceed full scale"):
        tone([500, 1000], 100, 8000, -4)


@given(st.floats(0, 50), st.sampled_from([8000, 16000, 24000, 48000]))
def test_any_length_is_whole_samples(ms: float, rate: int) -> None:
    assert len(tone(300, ms, rate)) == 2 * int(ms * rate / 1000)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("digit", DIGITS)
def test_each_digit_sounds_its_two_tones_and_no_other(digit: str, rate: int) -> None:
    sound = dtmf(digit, rate=rate)[: rate // 10 * 2]
    low, high = DTMF_FREQUENCIES[digit]
    assert goertzel_dbfs(sound, low, rate) == pytest.approx(-16, abs=0.7)
    assert goertzel_dbfs(sound, high, rate) == pytest.approx(-14, abs=0.7)
    others = {hertz for pair in DTMF_FREQUENCIES.values() for hertz in pair} - {low, high}
    assert max(goertzel_dbfs(sound, hertz, rate) for hertz in others) < -30


def test_the_keypad_is_that_of_q23() -> None:
    assert "".join(DTMF_FREQUENCIES) == "123A456B789C*0#D"
    assert (DTMF_FREQUENCIES["1"], DTMF_FREQUENCIES["5"]) == ((697, 1209), (770, 1336))
    assert (DTMF_FREQUENCIES["0"], DTMF_FREQUENCIES["D"]) == ((941, 1336), (941, 1633))


def test_digits_gaps_and_pauses_follow_each_other() -> None:
    sound = dtmf("1wW2", tone_ms=60, gap_ms=40)
    assert len(sound) == 2 * 8 * (100 + 500 + 1000 + 100)
    assert peak(sound[: 2 * 8 * 60]) > 5000
    assert peak(sound[2 * 8 * 60 : 2 * 8 * 1600]) == 0
    assert peak(sound[2 * 8 * 1660 :]) == 0
    assert dtmf("1wW2", tone_ms=60, gap_ms=40) == b"".join(dtmf(part, tone_ms=60, gap_ms=40) for part in "1wW2")
    assert dtmf("") == b""


@pytest.mark.parametrize("rate", [8000, 16000])
def test_it_rings_for_two_seconds_in_six(rate: int) -> None:
    sound, pause = ringback(rate)[: 4 * rate], ringback(rate)[4 * rate :]
    assert sound == tone((440, 480), 2000, rate, -22.2)
    assert pause == bytes(8 * rate)


def test_a_beep_is_a_short_tone() -> None:
    assert beep() == tone(1000, 200, 8000, -20)
    assert len(beep(16000, ms=100)) == 2 * 1600


@pytest.mark.parametrize("bad", ["E", "12a", "1,2", " ", "１"])
def test_what_is_no_digit_is_told(bad: str) -> None:
    with pytest.raises(UsageError, match="is no DTMF digit"):
        dtmf(bad)


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="at least one"):
        tone([], 100, 8000)
    for hertz in (0, 4000, -5):
        with pytest.raises(UsageError, match="does not exist at 8000"):
            tone(hertz, 100, 8000)
    with pytest.raises(UsageError, match="not a length"):
        tone(440, -1, 8000)
    with pytest.raises(UsageError, match="not a length"):
        dtmf("1", gap_ms=-1)
