"""The process that holds the MP3 libraries: jobs come in on standard input, what became of them goes out.

    python -m bothway.carrier.mp3_worker

It is a program of its own because LAME is under the LGPL-3, because both libraries are C code that is fed with files of
strangers, and because the work would hold up a carrier's loop. It ends when its standard input does, and in the middle
of a job with the next message that nobody takes: so it never outlives its parent.

A job is a 4-byte big-endian length, that much JSON, and for `decode` as many bytes of file as `size` says:

| job | |
|---|---|
| `{"job": "encode", "source", "target", "part", "bitrate"}` | a WAV file to an MP3 file, `part` until it is whole |
| `{"job": "decode", "rate", "size"}` | an MP3 file to mono L16 at that rate |

A reply is any number of messages and then one that ends it; each is one byte of kind, a 4-byte big-endian length, and
so much content: `A` audio, `P` work goes on, `E` the end, `F` a failure as a sentence.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bothway.speech.providers.espeak_worker import BlockResampler

__all__ = ["AUDIO", "END", "FAILED", "JOB_HEAD", "MAX_AUDIO_S", "MAX_MESSAGE", "PROGRESS", "REPLY_HEAD", "main"]

JOB_HEAD = struct.Struct(">I")
REPLY_HEAD = struct.Struct(">cI")
AUDIO, PROGRESS, END, FAILED = b"A", b"P", b"E", b"F"

MAX_AUDIO_S = 3600
"""The most audio that is made of one MP3 file, in seconds: ten megabytes can hold three times as much, at 8 kbit/s."""

MAX_MESSAGE = 1 << 17
"""The most content of one message, in bytes."""

_PIECE_FRAMES = 1 << 18
# LAME's scale from 0, the best, to 9: 7 is its "ok quality, really fast", and of telephones' audio it leaves as much.
_QUALITY = 7
_DECODED_FRAMES = 1 << 15
_MAX_MEMORY = 2 << 30


class _FileError(Exception):
    """The file cannot be used; the text says why, after the word for the file."""


class _Reply:
    """What one job answers."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send one message, or several if there is so much audio."""
        for start in range(0, max(len(content), 1), MAX_MESSAGE):
            part = content[start : start + MAX_MESSAGE]
            self._out.write(REPLY_HEAD.pack(kind, len(part)) + part)
        self._out.flush()


def main() -> None:
    """Do jobs until standard input ends."""
    # A Ctrl-C in the terminal reaches the whole group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # a recording is for its owner alone
    _limit_memory()
    jobs = sys.stdin.buffer
    # Whatever else prints to standard output must not end up between two messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while len(head := jobs.read(JOB_HEAD.size)) == JOB_HEAD.size:
        job = json.loads(jobs.read(*JOB_HEAD.unpack(head)))
        reply = _Reply(out)
        try:
            if job["job"] == "encode":
                _encode(job["source"], job["target"], job["part"], job["bitrate"], reply)
            else:
                _decode(jobs.read(job["size"]), job["rate"], reply)
            reply.send(END)
        except BrokenPipeError:
            # The parent is gone.
            return
        except (_FileError, OSError, MemoryError, ImportError) as error:
            reply.send(FAILED, (str(error) or type(error).__name__).encode(errors="replace")[:1000])


def _limit_memory() -> None:
    """A file that makes a library ask for all memory there is fails alone."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))


def _encode(source: str, target: str, part: str, bitrate: int, reply: _Reply) -> None:
    import lameenc

    with open(source, "rb") as file:
        rate, channels, pieces = _pcm(file)
        lame = lameenc.Encoder()
        lame.silence()
        try:
            lame.set_in_sample_rate(rate)
            lame.set_out_sample_rate(rate)
            lame.set_channels(channels)
            lame.set_bit_rate(bitrate)
            lame.set_quality(_QUALITY)
            with open(part, "wb") as made:
                is_empty = True
                for piece in pieces:
                    made.write(lame.encode(piece))
                    is_empty = False
                    reply.send(PROGRESS)
                if is_empty:
                    # LAME gives nothing at all for nothing at all; a frame of silence is a file that players open.
                    made.write(lame.encode(bytes(2 * channels)))
                made.write(lame.flush())
                made.flush()
                os.fsync(made.fileno())
            os.replace(part, target)
        except RuntimeError as error:
            raise _FileError(f"LAME refuses {channels} channels at {rate} samples a second: {error}") from error
        finally:
            Path(part).unlink(missing_ok=True)


def _pcm(file: BinaryIO) -> tuple[int, int, Iterator[bytes]]:
    """Rate and channels of a WAV file of 16-bit samples, and its samples in pieces."""
    try:
        header = wave.open(file)  # noqa: SIM115 - it has nothing of its own to close
    except (wave.Error, EOFError) as error:
        raise _FileError(f"it is no WAV file of integers: {error}") from error
    channels, width, rate = header.getnchannels(), header.getsampwidth(), header.getframerate()
    if width != 2 or channels not in (1, 2):
        raise _FileError(f"it has {channels} channels of {8 * width} bits: only one or two of 16 are encoded")
    # A recorder that was killed leaves a size of 0: then what is there is taken.
    left = header.getnframes() * 2 * channels or sys.maxsize

    def pieces(left: int) -> Iterator[bytes]:
        while piece := file.read(min(left, _PIECE_FRAMES * 2 * channels)):
            left -= len(piece)
            if whole := len(piece) - len(piece) % (2 * channels):
                yield piece[:whole]

    return rate, channels, pieces(left)


def _decode(content: bytes, rate: int, reply: _Reply) -> None:
    import miniaudio

    try:
        found = miniaudio.mp3_get_info(content)
        native = found.sample_rate
        stream = miniaudio.stream_memory(
            content, miniaudio.SampleFormat.SIGNED16, 1, native, frames_to_read=_DECODED_FRAMES
        )
        made = BlockResampler(native, rate) if native != rate else None
        left = MAX_AUDIO_S * native
        samples: array[int]
        for samples in stream:
            left -= len(samples)
            if left < 0:
                raise _FileError(f"it holds more than {MAX_AUDIO_S} s of audio")
            audio = samples.tobytes()
            reply.send(PROGRESS)
            if made is not None:
                audio = made.process(audio)
            if audio:
                reply.send(AUDIO, audio)
    except miniaudio.MiniaudioError as error:
        raise _FileError(f"it is no MP3 that can be decoded: {error}") from error
    if left == MAX_AUDIO_S * native:
        raise _FileError("there is no audio in it")
    if made is not None:
        reply.send(AUDIO, made.flush())


if __name__ == "__main__":
    main()
