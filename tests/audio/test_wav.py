from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.g711 import alaw_to_l16, mulaw_to_l16
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import tone
from bothway.audio.wav import read_wav, wav_header, write_wav
from bothway.errors import UsageError

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def l16(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def fmt_chunk(tag: int, channels: int, rate: int, bits: int) -> bytes:
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits))


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wav(data: bytes, *, tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16) -> bytes:
    return riff(fmt_chunk(tag, channels, rate, bits), chunk(b"data", data))


SAMPLES = l16(0, 1, -1, 32767, -32768, 1000)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (wav(b"\x80\x81\x7f\xff\x00", bits=8), l16(0, 256, -256, 32512, -32768)),
        (wav(SAMPLES), SAMPLES),
        (wav(b"\0\0\0\0\1\0\0\xff\xff\xff\xff\x7f\0\0\x80", bits=24), l16(0, 1, -1, 32767, -32768)),
        (wav(struct.pack("<5i", 0, 65536, -65536, 2**31 - 1, -(2**31)), bits=32), l16(0, 1, -1, 32767, -32768)),
        (wav(struct.pack("<4f", 0, 0.5, -1, 1), tag=3, bits=32), l16(0, 16384, -32768, 32767)),
        (wav(bytes(range(256)), tag=7, bits=8), mulaw_to_l16(bytes(range(256)))),
        (wav(bytes(range(256)), tag=6, bits=8), alaw_to_l16(bytes(range(256)))),
    ],
    ids=["8", "16", "24", "32", "float", "mulaw", "alaw"],
)
def test_every_kind_of_sample_is_read(content: bytes, expected: bytes) -> None:
    assert read_wav(content) == (L16_8K, expected)


def test_floats_beyond_full_scale_and_no_numbers_are_tamed() -> None:
    content = wav(struct.pack("<5f", 7.5, -7.5, float("inf"), float("-inf"), float("nan")), tag=3, bits=32)
    assert read_wav(content)[1] == l16(32767, -32768, 32767, -32768, 0)


def test_channels_are_averaged() -> None:
    assert read_wav(wav(l16(100, 200, -32768, -32768, 5, 6), channels=2))[1] == l16(150, -32768, 6)
    assert read_wav(wav(b"\x80\xff\xff" * 2, tag=7, channels=3, bits=8))[1] == l16(10708, 10708)
    assert read_wav(wav(b"\x00" * 6 + b"\xff" * 2, channels=4))[1] == l16(0)


def test_an_extensible_header_is_looked_through() -> None:
    body = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16000, 32000, 2, 16, 22, 16, 4, 1) + GUID_TAIL
    assert read_wav(riff(chunk(b"fmt ", body), chunk(b"data", SAMPLES))) == (L16_16K, SAMPLES)
    with pytest.raises(UsageError, match="extensible"):
        read_wav(riff(chunk(b"fmt ", body[:-1] + b"\0"), chunk(b"data", SAMPLES)))
    with pytest.raises(UsageError, match="extensible"):
        read_wav(riff(chunk(b"fmt ", body[:18]), chunk(b"data", SAMPLES)))


def test_other_chunks_are_passed_over_with_their_padding() -> None:
    listed = chunk(b"LIST", b"odd")
    assert read_wav(riff(listed, fmt_chunk(1, 1, 8000, 16), listed, chunk(b"data", SAMPLES), listed))[1] == SAMPLES


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 1000])
def test_what_a_killed_recorder_left_is_read(size: int) -> None:
    content = riff(fmt_chunk(1, 1, 8000, 16), chunk(b"data", SAMPLES, size))
    assert read_wav(content) == (L16_8K, SAMPLES)
    assert read_wav(content + b"\x01") == (L16_8K, SAMPLES)


def test_an_empty_recording_is_empty_even_before_other_chunks() -> None:
    assert read_wav(wav(b"")) == (L16_8K, b"")
    assert read_wav(riff(fmt_chunk(1, 1, 8000, 16), chunk(b"data", b""), chunk(b"LIST", b"abc")))[1] == b""


@pytest.mark.parametrize(
    ("rate", "becomes"),
    [(6000, 8000), (11025, 8000), (22050, 16000), (32000, 24000), (44100, 24000), (96000, 48000), (48000, 48000)],
)
def test_other_rates_become_the_next_lower_one(rate: int, becomes: int) -> None:
    fmt, audio = read_wav(wav(tone(700, 500, rate, -20), rate=rate))
    assert fmt == AudioFormat(Encoding.L16, becomes)
    assert len(audio) == 2 * -(-(rate // 2) * becomes // rate)
    assert rms_dbfs(audio[2 * becomes // 50 : -2 * becomes // 50]) == pytest.approx(-20, abs=0.05)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a WAV file"),
        (b"ID3\x04 this is an mp3", "is not a WAV file.*ID3"),
        (b"RIFF\0\0\0\0AVI LIST", "is not a WAV file"),
        (riff(), "has no data chunk"),
        (riff(fmt_chunk(1, 1, 8000, 16)), "has no data chunk"),
        (riff(chunk(b"data", SAMPLES)), "no format chunk before its data"),
        (riff(chunk(b"fmt ", b"short"), chunk(b"data", SAMPLES)), "format chunk of 5 bytes"),
        (wav(SAMPLES, channels=0), "0 channels"),
        (wav(SAMPLES, rate=0), "at 0 samples a second"),
        (wav(SAMPLES, rate=2_000_000_000), "2000000000 samples"),
        (wav(SAMPLES, bits=12), "disagree"),
        (wav(SAMPLES, bits=64), "64-bit samples of WAV format 1"),
        (wav(SAMPLES, bits=0), "0-bit samples"),
        (wav(SAMPLES, tag=0x55, bits=8), "WAV format 85"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "greeting.wav"
    path.write_bytes(content)
    for source, name in ((path, r"greeting\.wav"), (str(path), r"greeting\.wav"), (content, "given as bytes")):
        with pytest.raises(UsageError, match=f"(?s){name} .*{says}"):
            read_wav(source)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.wav cannot be read: No such file"):
        read_wav(tmp_path / "nowhere.wav")
    with pytest.raises(UsageError, match=r"x\.wav cannot be written: No such file"):
        write_wav(tmp_path / "no" / "x.wav", L16_8K, b"")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for content in (raw, b"RIFF\0\0\0\0WAVE" + raw, riff(fmt_chunk(1, 1, 8000, 16)) + raw):
        try:
            fmt, audio = read_wav(content)
        except UsageError:
            continue
        assert fmt.encoding is Encoding.L16
        assert len(audio) % 2 == 0


@given(st.binary(max_size=400), st.sampled_from([L16_8K, L16_16K, L16_24K, MULAW_8K, ALAW_8K]))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, raw: bytes, fmt: AudioFormat) -> None:
    audio = raw[: len(raw) // fmt.sample_bytes * fmt.sample_bytes]
    path = tmp_path_factory.getbasetemp() / "written.wav"
    write_wav(path, fmt, audio)
    decode = {Encoding.MULAW: mulaw_to_l16, Encoding.ALAW: alaw_to_l16}.get(fmt.encoding, bytes)
    assert read_wav(path) == (AudioFormat(Encoding.L16, fmt.rate), decode(audio))
    content = path.read_bytes()
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8


@given(st.sampled_from([8000, 16000, 44100]), st.integers(1, 3), st.integers(0, 100))
def test_the_header_is_what_the_standard_library_reads(rate: int, channels: int, count: int) -> None:
    frames = bytes(2 * channels * count)
    header = wav_header(rate, channels, len(frames))
    assert len(header) == 44
    with wave.open(io.BytesIO(header + frames)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (rate, channels, 2)
        assert reader.readframes(count + 1) == frames


def test_a_header_written_before_its_audio_is_read_as_what_follows() -> None:
    assert read_wav(wav_header(16000, 1, 0) + SAMPLES) == (L16_16K, SAMPLES)


def test_wrong_use_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 bytes"):
        write_wav(tmp_path / "x.wav", L16_8K, b"abc")
    for channels, size in ((2, 6), (1, -2), (0, 0), (1, 2**32 - 36)):
        with pytest.raises(UsageError, match="no WAV file holds"):
            wav_header(8000, channels, size)


def test_recordings_are_read_whole() -> None:
    lengths = {"caller_greeting_8k": 3.7, "caller_detailed_8k": 13.2, "speech_female_8k": 14.8}
    for name, seconds in lengths.items():
        fmt, audio = read_wav(speech(f"{name}.wav"))
        assert fmt == L16_8K
        assert fmt.duration_ms(len(audio)) / 1000 == pytest.approx(seconds, abs=0.1)
        assert -30 < rms_dbfs(audio) < -10
