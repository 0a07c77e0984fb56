"""What may be played, as chunks of whole samples in the stream's own format.

A carrier's documents want the payload in the stream's format (plivo-protocol.md, 3.1), so everything else is converted
here: a WAV file in a thread, because reading and resampling it may take longer than a frame; chunks as they come, with
the resampler's state kept between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import TypeAlias

from bothway.audio.format import AudioFormat
from bothway.errors import UsageError

__all__ = ["Source", "chunks_of"]

Source: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | AsyncIterable[bytes] | Iterable[bytes]
"""Headerless audio, the path of a WAV file, or an iterator of headerless chunks."""

_CONVERTED_MS = 500
_Bytes = (bytes, bytearray, memoryview)


def chunks_of(source: Source, audio_format: AudioFormat | None, target: AudioFormat) -> AsyncIterator[bytes]:
    """The audio of `source`, chunk by chunk, in `target`.

    A chunk that ends inside a sample is completed by the next one; what is left of a sample at the end is dropped.

    Args:
        source: See `Source`.
        audio_format: What its bytes are in, if not in `target`. A WAV file says so itself.
        target: The stream's format.

    Raises:
        UsageError: It is none of those; while it is read: as `read_wav` does, or a chunk is no bytes.
    """
    if isinstance(source, str | os.PathLike):
        if audio_format is not None:
            raise UsageError("a WAV file says itself what its format is: play(path) takes no format")
        return _file(source, target)
    if isinstance(source, _Bytes):
        if bytes(source[:4]) == b"RIFF":
            raise UsageError("these bytes are a WAV file with its header: play its path, or the samples alone")
        return _converted(_once(bytes(source)), audio_format or target, target)
    if isinstance(source, AsyncIterable):
        return _converted(source, audio_format or target, target)
    if isinstance(source, Iterable):
        return _converted(_stepped(source), audio_format or target, target)
    raise UsageError(
        f"play takes audio as bytes, the path of a WAV file, or an iterator of chunks, and not {type(source).__name__}"
    )


async def _file(path: str | os.PathLike[str], target: AudioFormat) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(_read, path, target)


def _read(path: str | os.PathLike[str], target: AudioFormat) -> bytes:
    # Imported when first needed: numpy takes a tenth of a second, and an app that plays no files can do without.
    from bothway.audio.transcode import convert
    from bothway.audio.wav import read_wav

    audio_format, audio = read_wav(path)
    return convert(audio, audio_format, target)


async def _once(audio: bytes) -> AsyncIterator[bytes]:
    yield audio


async def _stepped(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _converted(chunks: AsyncIterable[bytes], source: AudioFormat, target: AudioFormat) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(_whole_samples(chunks, source)) as whole:
        if source == target:
            async for chunk in whole:
                yield chunk
            return
        # Imported when first needed, as above.
        from bothway.audio.transcode import Transcoder

        transcoder = Transcoder(source, target)
        step = source.bytes_for(_CONVERTED_MS)
        async for chunk in whole:
            for at in range(0, len(chunk), step):
                yield transcoder.process(chunk[at : at + step])
        yield transcoder.flush()


async def _whole_samples(chunks: AsyncIterable[bytes], audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    left = b""
    try:
        async for chunk in chunks:
            if not isinstance(chunk, _Bytes):
                raise UsageError(f"a chunk of audio is bytes, and the source to play gave {type(chunk).__name__}")
            audio = left + bytes(chunk) if left else bytes(chunk)
            cut = len(audio) - len(audio) % audio_format.sample_bytes
            left = audio[cut:]
            if cut:
                yield audio[:cut]
    finally:
        # Whoever makes speech stops making it at once when the caller interrupts, and not when it is collected.
        closing = getattr(chunks, "aclose", None)
        if closing is not None:
            await closing()
