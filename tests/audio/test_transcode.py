from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.g711 import l16_to_alaw, l16_to_mulaw, mulaw_to_alaw, mulaw_to_l16
from bothway.audio.resample import Resampler
from bothway.audio.tones import tone
from bothway.audio.transcode import Transcoder, convert, from_l16, to_l16
from bothway.errors import UsageError

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
L16_48K = AudioFormat(Encoding.L16, 48000)
FORMATS = [MULAW_8K, ALAW_8K, L16_8K, L16_16K, L16_24K, L16_48K]
pairs = st.sampled_from(list(product(FORMATS, FORMATS)))


def pulse(rate: int) -> bytes:
    """60 ms with a short burst of 700 Hz in their middle."""
    at = np.arange(rate * 60 // 1000) / rate - 0.03
    return (12000 * np.exp(-((at / 0.008) ** 2)) * np.cos(2 * np.pi * 700 * at)).astype("<i2").tobytes()


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_equal_formats_pass_the_object_itself(fmt: AudioFormat) -> None:
    transcoder = Transcoder(fmt, AudioFormat(fmt.encoding, fmt.rate))
    frame = bytes(bytearray(fmt.silent_frame))
    assert transcoder.is_identity
    assert transcoder.process(frame) is frame
    assert (transcoder.flush(), transcoder.delay_ms) == (b"", 0)
    assert convert(frame, fmt, fmt) is frame


def test_g711_goes_by_table() -> None:
    codes = bytes(range(256))
    transcoder = Transcoder(MULAW_8K, ALAW_8K)
    assert not transcoder.is_identity
    assert transcoder.process(codes) == mulaw_to_alaw(codes)
    assert Transcoder(MULAW_8K, L16_8K).process(codes) == mulaw_to_l16(codes)
    assert Transcoder(L16_8K, ALAW_8K).process(mulaw_to_l16(codes)) == l16_to_alaw(mulaw_to_l16(codes))


def test_other_rates_go_through_l16_and_the_resampler() -> None:
    mulaw = l16_to_mulaw(tone(500, 100, 8000))
    transcoder, resampler = Transcoder(MULAW_8K, L16_16K), Resampler(8000, 16000)
    assert transcoder.process(mulaw) == resampler.process(mulaw_to_l16(mulaw))
    assert transcoder.flush() == resampler.flush()
    assert transcoder.delay_ms == 2


@given(pairs, st.binary(max_size=500), st.lists(st.integers(0, 500), max_size=6))
def test_how_a_stream_is_split_changes_nothing(
    pair: tuple[AudioFormat, AudioFormat], audio: bytes, cuts: list[int]
) -> None:
    source, target = pair
    size = source.sample_bytes
    count = len(audio) // size
    audio = audio[: count * size]
    whole, parts = Transcoder(source, target), Transcoder(source, target)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    got = b"".join(parts.process(audio[a * size : b * size]) for a, b in pairwise(edges)) + parts.flush()
    assert got == whole.process(audio) + whole.flush()


@given(pairs, st.integers(0, 300))
def test_a_clip_keeps_its_length(pair: tuple[AudioFormat, AudioFormat], count: int) -> None:
    source, target = pair
    audio = source.silence_byte * (count * source.sample_bytes)
    assert len(convert(audio, source, target)) == -(-count * target.rate // source.rate) * target.sample_bytes


@pytest.mark.parametrize(("source", "target"), list(product(FORMATS, FORMATS)))
def test_a_clip_stays_in_place(source: AudioFormat, target: AudioFormat) -> None:
    """The same pulse, sampled at either rate: an eighth of a sample's shift would show."""
    converted = to_l16(convert(from_l16(pulse(source.rate), source.encoding), source, target), target.encoding)
    error = np.abs(np.frombuffer(converted, "<i2") - np.frombuffer(pulse(target.rate), "<i2").astype(int))
    coarse = {source.encoding, target.encoding} != {Encoding.L16}
    assert error.max() < (500 if coarse else 5)


def test_reset_forgets() -> None:
    transcoder = Transcoder(L16_8K, L16_24K)
    fresh = transcoder.process(tone(440, 20, 8000))
    transcoder.reset()
    assert transcoder.process(tone(440, 20, 8000)) == fresh
    Transcoder(MULAW_8K, MULAW_8K).reset()


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="44100"):
        Transcoder(AudioFormat(Encoding.L16, 44100), MULAW_8K)
    with pytest.raises(UsageError, match="3 bytes"):
        Transcoder(L16_8K, MULAW_8K).process(b"abc")
    with pytest.raises(UsageError, match="1 bytes"):
        from_l16(b"a", Encoding.L16)
