from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bothway.app.sources import chunks_of
from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K
from bothway.audio.transcode import Transcoder
from bothway.audio.wav import write_wav
from bothway.errors import UsageError

LOUD = bytes(range(256)) * 100


async def read(*arguments: Any) -> list[bytes]:
    return [chunk async for chunk in chunks_of(*arguments)]


async def test_bytes_in_the_stream_s_format_pass_as_they_are() -> None:
    for source in (LOUD, bytearray(LOUD), memoryview(LOUD), [LOUD], iter([LOUD])):
        assert await read(source, None, MULAW_8K) == [LOUD]


async def test_bytes_in_another_format_are_converted_in_steps() -> None:
    expected = Transcoder(L16_24K, MULAW_8K)
    whole = expected.process(LOUD) + expected.flush()
    assert b"".join(await read(LOUD, L16_24K, MULAW_8K)) == whole
    pieces = [LOUD[:7], b"", LOUD[7:8], LOUD[8:]]
    assert b"".join(await read(pieces, L16_24K, MULAW_8K)) == whole


async def test_half_a_sample_waits_for_the_other_half() -> None:
    assert await read([b"a", b"bc", b"d", b"e"], None, L16_16K) == [b"ab", b"cd"]


async def test_a_wav_file_says_what_it_is(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", L16_8K, b"\x00\x01" * 800)
    assert await read(tmp_path / "a.wav", None, L16_8K) == [b"\x00\x01" * 800]
    assert len(b"".join(await read(str(tmp_path / "a.wav"), None, MULAW_8K))) == 800
    with pytest.raises(UsageError, match="takes no format"):
        await read(tmp_path / "a.wav", L16_8K, L16_8K)


async def test_a_source_that_is_left_early_is_closed() -> None:
    closed = []

    async def speech() -> AsyncIterator[bytes]:
        try:
            while True:
                yield LOUD
        finally:
            closed.append(True)

    for audio_format in (None, L16_16K):
        reading = chunks_of(speech(), audio_format, MULAW_8K)
        await anext(reading)
        await reading.aclose()  # type: ignore[attr-defined]
    assert closed == [True, True]


async def test_what_is_no_audio_is_named() -> None:
    with pytest.raises(UsageError, match="and not int"):
        await read(5, None, MULAW_8K)
    with pytest.raises(UsageError, match="gave str"):
        await read(["text"], None, MULAW_8K)
    with pytest.raises(UsageError, match="WAV file with its header"):
        await read(b"RIFF" + LOUD, None, MULAW_8K)
