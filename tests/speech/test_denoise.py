from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
from tests.speech_data import speech

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.transcode import from_l16, to_l16
from bothway.audio.wav import read_wav
from bothway.errors import UsageError
from bothway.speech.denoise import DEFAULT_LEVEL, LEVELS, Denoiser, suppression_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="the extra noise is for Linux")
FORMATS = [MULAW_8K, AudioFormat(Encoding.ALAW, 8000), L16_8K, L16_16K, L16_24K, AudioFormat(Encoding.L16, 48000)]


def clean(denoiser: Denoiser, audio: bytes) -> npt.NDArray[np.float64]:
    size = denoiser.fmt.frame_bytes
    frames = [denoiser.process(audio[at : at + size]) for at in range(0, len(audio) - size + 1, size)]
    assert {len(frame) for frame in frames} == {size}
    return np.frombuffer(to_l16(b"".join(frames), denoiser.fmt.encoding), "<i2").astype(np.float64)


def rms(samples: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((samples**2).mean()))


def noise(fmt: AudioFormat, seconds: float, level: float = 400.0) -> bytes:
    samples = np.random.default_rng(0).normal(0, level, int(fmt.rate * seconds))
    return from_l16(samples.astype("<i2").tobytes(), fmt.encoding)


@linux
@pytest.mark.parametrize(("level", "left"), [(60, 200), (70, 100), (85, 52), (100, 35)])
@pytest.mark.parametrize("fmt", [MULAW_8K, L16_8K, L16_16K], ids=str)
def test_white_noise_falls_by_the_level(fmt: AudioFormat, level: int, left: float) -> None:
    heard = clean(Denoiser(fmt, level), noise(fmt, 5))
    assert rms(heard[-2 * fmt.rate :]) == pytest.approx(left, rel=0.12)


@linux
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_format_keeps_its_frames_and_loses_its_noise(fmt: AudioFormat) -> None:
    assert rms(clean(Denoiser(fmt), noise(fmt, 3))[-fmt.rate :]) < 60


@linux
def test_speech_passes_and_the_noise_in_its_pauses_does_not() -> None:
    said = np.frombuffer(read_wav(speech("caller_greeting_8k.wav"))[1], "<i2").astype(np.float64)
    line = np.concatenate([np.zeros(16_000), said, np.zeros(8000)])
    noisy = (line + np.random.default_rng(1).normal(0, 200, line.size)).clip(-32768, 32767).astype("<i2").tobytes()
    denoiser = Denoiser(L16_8K)
    heard = clean(denoiser, noisy)
    late = int(denoiser.delay_ms * 8)
    assert rms(heard[8000:16_000]) < 40
    assert rms(heard[16_000 : 16_000 + said.size]) == pytest.approx(rms(said), rel=0.2)
    assert np.corrcoef(line[16_000:40_000], heard[16_000 + late : 40_000 + late])[0, 1] > 0.8


@linux
def test_each_denoiser_learns_for_itself() -> None:
    first, second = Denoiser(L16_16K), Denoiser(L16_16K)
    sound = noise(L16_16K, 1)
    alone = clean(first, sound)
    clean(Denoiser(L16_16K, 100), noise(L16_16K, 1, 4000))
    assert (clean(second, sound) == alone).all()


def test_levels() -> None:
    assert {suppression_of(level) for level in LEVELS} == {1, 2, 3, 4}
    assert [suppression_of(level) for level in (60, 69, 70, 79, 80, DEFAULT_LEVEL, 89, 90, 100)] == [
        1, 1, 2, 2, 3, 3, 3, 4, 4,
    ]  # fmt: skip
    for level in (59, 101):
        with pytest.raises(UsageError, match=f"60 to 100, not {level}"):
            Denoiser(L16_8K, level)


@linux
def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="are 320 bytes, not 160"):
        Denoiser(L16_8K).process(bytes(160))
    with pytest.raises(UsageError, match="11000"):
        Denoiser(AudioFormat(Encoding.L16, 11_000))


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    with pytest.raises(UsageError, match=r"pip install bothway\[noise\]"):
        Denoiser(MULAW_8K)
