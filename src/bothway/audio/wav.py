"""WAV files, whole: reading what people have, writing what everyone reads, and the header of a recording in progress.

The layout is that of the RIFF/WAVE specification (IBM and Microsoft, 1991) with its WAVE_FORMAT_EXTENSIBLE addition.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bothway.audio.format import AudioFormat, Encoding
from bothway.audio.g711 import alaw_to_l16, mulaw_to_l16
from bothway.audio.l16 import FULL_SCALE, check_l16, from_floats
from bothway.audio.resample import CLIP_RATES, RATES, resample_clip
from bothway.errors import UsageError

__all__ = ["read_wav", "wav_header", "write_wav"]

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_TAGS = {Encoding.L16: _PCM, Encoding.ALAW: _ALAW, Encoding.MULAW: _MULAW}
# What follows the format tag in the GUID of an extensible header, if it is a plain format tag (KSDATAFORMAT_SUBTYPE_*).
_SUBTYPE_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_MAX_SIZE = 0xFFFF_FFFF


@dataclass(frozen=True)
class _Layout:
    """What the format chunk says: tag (an extensible one resolved), channels, samples a second, bits in a sample."""

    tag: int
    channels: int
    rate: int
    bits: int


def read_wav(source: str | os.PathLike[str] | bytes) -> tuple[AudioFormat, bytes]:
    """A whole WAV file as mono L16 at a rate that streams can carry.

    Reads integers of 8, 16, 24 and 32 bits, 32-bit floats, µ-law and A-law, plain and extensible headers. Channels are
    averaged. A rate that is none of 8000, 16000, 24000, 48000 becomes the next lower one of them (44100 becomes 24000,
    22050 becomes 16000, 11025 becomes 8000), and 8000 if there is no lower: nothing is made up above what was recorded.
    A recorder that was killed leaves a data size of 0, of 0xFFFFFFFF, or beyond the end: then what is there is read. A
    last sample that is not whole is dropped.

    Args:
        source: A path, or the bytes of the file.

    Returns:
        The format, always L16, and the audio.

    Raises:
        UsageError: The file cannot be read, is no WAV file, or is one of a kind not listed above; the message names it.
    """
    if isinstance(source, bytes):
        name, content = "the WAV file given as bytes", source
    else:
        name = os.fspath(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror or error}") from error
    layout, data = _parse(content, name)
    l16 = _mono(layout, data, name)
    rate = max((known for known in RATES if known <= layout.rate), default=RATES[0])
    return AudioFormat(Encoding.L16, rate), resample_clip(l16, layout.rate, rate)


def _parse(content: bytes, name: str) -> tuple[_Layout, bytes]:
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise UsageError(f"{name} is not a WAV file: it starts with {content[:12]!r}, not with RIFF and WAVE")
    layout = None
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if kind == b"data":
            if layout is None:
                raise UsageError(f"{name} has no format chunk before its data")
            return layout, content[at:] if not size and not _are_chunks(content, at) else content[at : at + size]
        if kind == b"fmt ":
            layout = _layout(content[at : at + size], name)
        at += size + size % 2
    raise UsageError(f"{name} has no data chunk")


def _are_chunks(content: bytes, at: int) -> bool:
    """Whether whole chunks fill the file from `at` on, so that an empty data chunk before them is meant so."""
    while at + 8 <= len(content):
        at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        at += at % 2
    return len(content) <= at <= len(content) + 1


def _layout(chunk: bytes, name: str) -> _Layout:
    if len(chunk) < 16:
        raise UsageError(f"{name} has a format chunk of {len(chunk)} bytes, where 16 are the least")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != _SUBTYPE_TAIL:
            raise UsageError(f"{name} has an extensible header whose sub-format is no plain sample format")
        tag = int.from_bytes(chunk[24:26], "little")
    if not channels or rate not in CLIP_RATES:
        raise UsageError(f"{name} says {channels} channels at {rate} samples a second, which cannot be")
    if block * 8 != channels * bits:
        raise UsageError(f"{name} says {channels} channels of {bits} bits in blocks of {block} bytes, which disagree")
    return _Layout(tag, channels, rate, bits)


def _mono(layout: _Layout, data: bytes, name: str) -> bytes:
    block = layout.channels * layout.bits // 8
    data = data[: len(data) - len(data) % block] if block else b""
    match layout.tag, layout.bits:
        case (1, 16):
            l16 = data
        case (7, 8):
            l16 = mulaw_to_l16(data)
        case (6, 8):
            l16 = alaw_to_l16(data)
        case _:
            return from_floats(_average(_wide(layout, data, name), layout.channels))
    if layout.channels == 1:
        return l16
    return from_floats(_average(np.frombuffer(l16, "<i2").astype(np.float64), layout.channels))


def _average(samples: npt.NDArray[np.float64], channels: int) -> npt.NDArray[np.float64]:
    return np.asarray(samples.reshape(-1, channels).mean(axis=1), np.float64)


def _wide(layout: _Layout, data: bytes, name: str) -> npt.NDArray[np.float64]:
    """Samples of the widths that are not L16's, all channels, in units of one 16-bit step."""
    match layout.tag, layout.bits:
        case (1, 8):
            return (np.frombuffer(data, "<u1").astype(np.float64) - 128) * 256
        case (1, 24):
            # Each three bytes become the upper three of a 32-bit integer, which keeps the sign.
            widened = np.zeros((len(data) // 3, 4), np.uint8)
            widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return widened.view("<i4")[:, 0] / 2.0**16
        case (1, 32):
            return np.frombuffer(data, "<i4") / 2.0**16
        case (3, 32):
            floats = np.nan_to_num(np.frombuffer(data, "<f4").astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
            return np.clip(floats, -1.0, 1.0) * FULL_SCALE
    raise UsageError(
        f"{name} holds {layout.bits}-bit samples of WAV format {layout.tag}: only integers of 8, 16, 24 and 32 bits, "
        "32-bit floats, µ-law and A-law are read"
    )


def wav_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """The 44 bytes before 16-bit samples in a WAV file.

    A recorder writes it first with a size of 0, and over it again with the true size at the end.

    Args:
        rate: Samples a second.
        channels: How many, interleaved.
        data_bytes: The size of all samples.

    Raises:
        UsageError: The size is not a whole number of samples of all channels, or too large for a WAV file (4 GiB).
    """
    block = 2 * channels
    if rate <= 0 or channels <= 0 or data_bytes < 0 or data_bytes % block or data_bytes > _MAX_SIZE - 36:
        raise UsageError(f"no WAV file holds {data_bytes} bytes of 16-bit audio in {channels} channels at rate {rate}")
    riff = struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE")
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, channels, rate, rate * block, block, 16)
    return riff + layout + struct.pack("<4sI", b"data", data_bytes)


def write_wav(path: str | os.PathLike[str], fmt: AudioFormat, audio: bytes) -> None:
    """Write a mono WAV file, in the encoding of `fmt` as it is.

    Args:
        path: Where to; what is there is replaced.
        fmt: What `audio` is in.
        audio: All of it.

    Raises:
        UsageError: L16 that is not whole samples, more than fits a WAV file, or a path that cannot be written.
    """
    if fmt.encoding is Encoding.L16:
        check_l16(audio)
        content = wav_header(fmt.rate, 1, len(audio)) + audio
    else:
        content = _g711_file(fmt, audio)
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise UsageError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error


def _g711_file(fmt: AudioFormat, audio: bytes) -> bytes:
    """A file of one byte a sample. Encodings other than PCM need the longer format chunk, and the samples' count."""
    size = len(audio)
    layout = struct.pack("<4sIHHIIHHH", b"fmt ", 18, _TAGS[fmt.encoding], 1, fmt.rate, fmt.rate, 1, 8, 0)
    chunks = layout + struct.pack("<4sII4sI", b"fact", 4, size, b"data", size)
    total = 4 + len(chunks) + size + size % 2
    if total > _MAX_SIZE:
        raise UsageError(f"no WAV file holds {size} bytes of audio")
    return struct.pack("<4sI4s", b"RIFF", total, b"WAVE") + chunks + audio + bytes(size % 2)
