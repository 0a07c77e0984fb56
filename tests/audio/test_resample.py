from __future__ import annotations

from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bothway.audio.resample import RATES, Resampler, resample_clip
from bothway.audio.tones import tone
from bothway.errors import UsageError

RATIOS = [(rate_in, rate_out) for rate_in in RATES for rate_out in RATES if rate_in != rate_out]
each_ratio = pytest.mark.parametrize(("rate_in", "rate_out"), RATIOS)
ratios = st.sampled_from([(rate, rate) for rate in RATES] + RATIOS)


def l16(*samples: float) -> bytes:
    return np.array(samples).astype("<i2").tobytes()


def samples(audio: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(audio, "<i2").astype(np.float64)


def noise(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-32768, 32768, count).astype("<i2").tobytes()


def levels(audio: bytes, rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Frequencies in hertz and levels in dB to a sine of full scale, of all but the first and the last 50 ms."""
    steady = samples(audio)[rate // 20 : -rate // 20] / 32768
    window = np.kaiser(steady.size, 14)
    lines = np.abs(np.fft.rfft(steady * window)) / window.sum() * 2
    frequencies = np.asarray(np.fft.rfftfreq(steady.size, 1 / rate), np.float64)
    return frequencies, np.asarray(20 * np.log10(lines + 1e-12), np.float64)


def tone_through(rate_in: int, rate_out: int, hertz: float) -> tuple[float, float]:
    """The gain that a tone 1 dB below full scale gets, and the strongest line besides it, in dB to the tone."""
    at, level = levels(Resampler(rate_in, rate_out).process(tone(hertz, 600, rate_in, -4.01)), rate_out)
    own = np.abs(at - hertz) < 50
    return (float(level[own].max()) + 1 if own.any() else -200.0), float(level[~own].max()) + 1


@each_ratio
def test_speech_passes_flat_and_its_images_and_aliases_do_not(rate_in: int, rate_out: int) -> None:
    nyquist = min(rate_in, rate_out) / 2
    for part in (0.05, 0.25, 0.5, 0.75):
        gain, worst = tone_through(rate_in, rate_out, nyquist * part)
        assert abs(gain) < 0.01
        assert worst < -65
    gain, worst = tone_through(rate_in, rate_out, nyquist * 0.85)  # 3.4 kHz at 8 kHz: the edge of the telephone band
    assert -0.15 < gain < 0
    assert worst < -65


@pytest.mark.parametrize(("rate_in", "rate_out"), [(i, o) for i, o in RATIOS if i > o])
def test_what_the_lower_rate_cannot_hold_is_gone(rate_in: int, rate_out: int) -> None:
    for part in np.linspace(1.1, rate_in / rate_out * 0.97, 7):
        sound = tone(rate_out / 2 * part, 600, rate_in, -4.01)
        at, level = levels(Resampler(rate_in, rate_out).process(sound), rate_out)
        assert level.max() + 1 < -65, (part, at[level.argmax()])


@given(ratios, st.binary(min_size=1, max_size=600).map(lambda raw: raw[: len(raw) & ~1]), st.data())
def test_how_the_input_is_split_changes_nothing(ratio: tuple[int, int], audio: bytes, data: st.DataObject) -> None:
    count = len(audio) // 2
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=8)))
    whole, parts = Resampler(*ratio), Resampler(*ratio)
    expected = whole.process(audio), whole.flush()
    got = b"".join(parts.process(audio[2 * a : 2 * b]) for a, b in pairwise([0, *cuts, count]))
    assert (got, parts.flush()) == expected


@each_ratio
def test_a_long_noise_comes_out_the_same_in_frames_and_in_one(rate_in: int, rate_out: int) -> None:
    audio = noise(rate_in)
    frame = rate_in // 50 * 2
    pieces = Resampler(rate_in, rate_out)
    framed = [pieces.process(audio[at : at + frame]) for at in range(0, len(audio), frame)]
    assert {len(piece) for piece in framed} == {rate_out // 50 * 2}
    assert b"".join(framed) == Resampler(rate_in, rate_out).process(audio)


@given(ratios, st.integers(0, 100))
def test_how_many_samples_come_out(ratio: tuple[int, int], count: int) -> None:
    rate_in, rate_out = ratio
    common = np.gcd(rate_in, rate_out)
    resampler = Resampler(rate_in, rate_out)
    out = len(resampler.process(bytes(2 * count))) // 2
    assert out == count // (rate_in // common) * (rate_out // common)
    tail = len(resampler.flush()) // 2
    assert out + tail == (ceil(count * rate_out / rate_in) + resampler.delay_samples if count else 0)


@given(ratios, st.binary(max_size=200).map(lambda raw: raw[: len(raw) & ~1]))
def test_after_flush_or_reset_it_is_as_new(ratio: tuple[int, int], audio: bytes) -> None:
    resampler = Resampler(*ratio)
    first = resampler.process(audio) + resampler.flush()
    assert resampler.flush() == b""
    resampler.process(noise(50))
    resampler.reset()
    assert resampler.flush() == b""
    assert resampler.process(audio) + resampler.flush() == first


@each_ratio
def test_the_delay_is_what_it_says_at_every_frequency(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    assert resampler.delay_ms == 16000 / min(rate_in, rate_out) <= 3
    assert resampler.delay_samples * 1000 == resampler.delay_ms * rate_out
    seconds = 0.1
    nyquist = min(rate_in, rate_out) / 2
    for part in (0.1, 0.4, 0.8):
        hertz = nyquist * part
        at = np.arange(int(rate_in * seconds)) / rate_in
        sine = l16(*12000 * np.sin(2 * np.pi * hertz * at))
        out = samples(Resampler(rate_in, rate_out).process(sine))
        when = np.arange(out.size) / rate_out - resampler.delay_ms / 1000
        settled = slice(rate_out // 50, None)
        assert np.abs(out - 12000 * np.sin(2 * np.pi * hertz * when))[settled].max() < 12000 * 0.012


def test_an_impulse_comes_out_when_the_delay_has_passed() -> None:
    out = samples(Resampler(8000, 16000).process(l16(*[0] * 40, 20000, *[0] * 40)))
    assert int(out.argmax()) == 80 + 32


@each_ratio
def test_a_constant_passes_unchanged(rate_in: int, rate_out: int) -> None:
    for value in (-32768, -1, 1, 12345, 32767):
        out = samples(Resampler(rate_in, rate_out).process(l16(*[value] * rate_in)))
        assert set(out[rate_out // 100 :]) == {value}


@each_ratio
def test_full_scale_saturates_and_never_wraps(rate_in: int, rate_out: int) -> None:
    square = np.where(np.arange(rate_in) * 400 // rate_in % 2, 32767, -32768)
    out = samples(Resampler(rate_in, rate_out).process(square.astype("<i2").tobytes()))
    assert (out.max(), out.min()) == (32767, -32768)
    middles = out[rate_out // 100 :].reshape(-1, rate_out // 200)[:, :]  # one period in a row
    assert np.all(np.abs(middles.mean(axis=1)) < 50)


def test_equal_rates_pass_unchanged_at_once() -> None:
    resampler = Resampler(16000, 16000)
    audio = noise(777)
    assert resampler.process(audio) == audio
    assert (resampler.flush(), resampler.delay_ms) == (b"", 0)


def test_the_taps_make_every_sum_exact() -> None:
    """Sums of products of 16-bit samples stay whole multiples of 2**-24 below 2**29: 53 bits hold any partial sum."""
    for rate_in, rate_out in RATIOS:
        matrix = Resampler(rate_in, rate_out)._filter.matrix
        assert np.all(matrix * 2.0**24 == np.rint(matrix * 2.0**24))
        assert np.abs(matrix).sum(axis=0).max() * 32768 < 2.0**29


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match=r"44100.*8000, 16000, 24000, 48000"):
        Resampler(44100, 16000)
    resampler = Resampler(8000, 16000)
    with pytest.raises(UsageError, match="3 bytes"):
        resampler.process(b"abc")
    assert resampler.flush() == b""


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(44100, 24000), (22050, 16000), (11025, 8000), (8000, 44100), (16001, 8000)]
)
def test_a_clip_at_an_odd_rate_keeps_its_tones_in_place(rate_in: int, rate_out: int) -> None:
    hertz = 1000.0
    at = np.arange(rate_in // 2) / rate_in
    out = samples(resample_clip((10000 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes(), rate_in, rate_out))
    assert out.size == ceil(at.size * rate_out / rate_in)
    middle = slice(rate_out // 50, -rate_out // 50)
    assert np.abs(out - 10000 * np.sin(2 * np.pi * hertz * np.arange(out.size) / rate_out))[middle].max() < 12


def test_a_clip_has_no_images_or_aliases() -> None:
    at, level = levels(resample_clip(tone(9000, 600, 22050, -4.01), 22050, 16000), 16000)
    assert level.max() + 1 < -80, at[level.argmax()]
    at, level = levels(resample_clip(tone(4600, 600, 11025, -4.01), 11025, 24000), 24000)
    assert abs(level.max() + 1) < 0.01
    assert level[np.abs(at - 4600) > 50].max() < -80


@settings(max_examples=50)
@given(st.integers(1000, 50_000), st.integers(1000, 50_000), st.integers(0, 60))
def test_a_clip_has_the_length_it_should(rate_in: int, rate_out: int, count: int) -> None:
    assert len(resample_clip(noise(count), rate_in, rate_out)) == 2 * -(-count * rate_out // rate_in)


def test_wrong_use_of_a_clip_is_told() -> None:
    assert resample_clip(b"ab", 44100, 44100) == b"ab"
    with pytest.raises(UsageError, match="rate of 500"):
        resample_clip(b"ab", 500, 8000)
    with pytest.raises(UsageError, match="1 bytes"):
        resample_clip(b"a", 8000, 8000)
