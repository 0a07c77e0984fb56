from __future__ import annotations

import pytest

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.errors import UsageError


@pytest.mark.parametrize(
    ("fmt", "sample_bytes", "frame_samples", "frame_bytes", "second_bytes"),
    [
        (MULAW_8K, 1, 160, 160, 8000),
        (L16_8K, 2, 160, 320, 16000),
        (L16_16K, 2, 320, 640, 32000),
        (L16_24K, 2, 480, 960, 48000),
    ],
    ids=str,
)
def test_sizes_follow_from_encoding_and_rate(
    fmt: AudioFormat, sample_bytes: int, frame_samples: int, frame_bytes: int, second_bytes: int
) -> None:
    assert (fmt.sample_bytes, fmt.frame_samples) == (sample_bytes, frame_samples)
    assert (fmt.frame_bytes, fmt.second_bytes) == (frame_bytes, second_bytes)
    assert fmt.duration_ms(fmt.frame_bytes) == 20
    assert fmt.bytes_for(20) == fmt.frame_bytes
    assert fmt.silent_frame == fmt.silence_byte * frame_bytes


def test_lengths_round_down_to_whole_samples() -> None:
    assert L16_8K.bytes_for(0.3) == 2 * 2
    assert L16_8K.bytes_for(0.1) == 0


def test_a_format_reads_as_a_media_type() -> None:
    assert str(L16_16K) == "audio/x-l16;rate=16000"
    assert str(AudioFormat(Encoding.ALAW, 8000)) == "audio/x-alaw;rate=8000"


def test_silence_is_the_laws_own_zero() -> None:
    assert [AudioFormat(encoding, 8000).silence_byte for encoding in Encoding] == [b"\xff", b"\xd5", b"\x00"]


def test_impossible_formats_are_refused() -> None:
    for rate in (0, -8000, 11025):
        with pytest.raises(UsageError, match="does not fill 20 ms frames evenly"):
            AudioFormat(Encoding.L16, rate)
    with pytest.raises(UsageError, match="8000 samples a second only"):
        AudioFormat(Encoding.MULAW, 16000)
