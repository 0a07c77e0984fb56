"""The process that holds libespeak-ng: texts come in on standard input, audio goes out on standard output.

    python -m bothway.speech.providers.espeak_worker RATE

It is a program of its own because the library is under the GPL-3 and because it keeps global state. It ends when its
standard input does, so it never outlives its parent.

A request is a 4-byte big-endian length and that much JSON: `{"text", "voice", "ssml"}`, the voice in espeak's own
spelling. A reply is any number of audio messages and then one that ends it; each is one byte of kind, a 4-byte
big-endian length, and so much content: `A` L16 audio at RATE, `E` the end, `F` a failure as a sentence.
"""

from __future__ import annotations

import _ctypes
import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from math import gcd
from typing import BinaryIO

from bothway.audio.resample import resample_clip

__all__ = [
    "AUDIO",
    "CHUNK_MS",
    "END",
    "FAILED",
    "MAX_AUDIO_S",
    "REPLY_HEAD",
    "REQUEST_HEAD",
    "BlockResampler",
    "main",
    "request_message",
]

REQUEST_HEAD = struct.Struct(">I")
REPLY_HEAD = struct.Struct(">cI")
AUDIO, END, FAILED = b"A", b"E", b"F"

CHUNK_MS = 200
"""The most audio in one message."""

MAX_AUDIO_S = 600
"""The most audio that one text may make. 3000 characters of prose make some 200 s; emoji are read by name."""

# The rest of this block is espeak-ng/speak_lib.h, version 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_SSML = 0x10
_PARAMETER_VOLUME = 2
_POSITION_CHARACTER = 1
_OK = 0
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_URI_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)

_BUFFER_MS = 200
_SEED = 1
# Of 100. At 100 the loudest variants touch full scale; this leaves 3 dB for them and for the resampler's overshoot.
_VOLUME = 70

_FIRST_BLOCK_S = 1
_BLOCK_S = 20


def request_message(text: str, voice: str, *, ssml: bool) -> bytes:
    """One request as the worker reads it."""
    content = json.dumps({"text": text, "voice": voice, "ssml": ssml}).encode()
    return REQUEST_HEAD.pack(len(content)) + content


class BlockResampler:
    """`resample_clip`, a block at a time: the same bytes as for the whole clip, the first of them early.

    Blocks meet where a sample of the one rate falls on a sample of the other (22050 and 16000: each 441 and 320
    samples, 20 ms), and each is computed with its neighbours' samples around it. The first block is short so that a
    listener waits little; the others are long because every call of `resample_clip` costs the same 40 ms of set-up.

    Args:
        rate_in: Samples a second of what comes in.
        rate_out: Samples a second of what goes out; at least an eighth of `rate_in`.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        common = gcd(rate_in, rate_out)
        self._rates = (rate_in, rate_out)
        self._group_in, self._group_out = rate_in // common, rate_out // common
        # 32 samples of the lower rate each way is what the clip's filter reaches.
        self._margin = -(-32 * 8 // self._group_in)
        self._before = 0
        self._held = bytearray()
        self._wanted = _FIRST_BLOCK_S * common

    def process(self, l16: bytes) -> bytes:
        """Take some audio; give a block if one is complete."""
        self._held += l16
        groups = len(self._held) // 2 // self._group_in - self._before - self._margin
        if groups < self._wanted:
            return b""
        self._wanted = _BLOCK_S * (self._rates[0] // self._group_in)
        block = self._resampled()[: (self._before + groups) * self._group_out * 2][self._before * self._group_out * 2 :]
        spent = max(0, self._before + groups - self._margin)
        del self._held[: spent * self._group_in * 2]
        self._before += groups - spent
        return block

    def flush(self) -> bytes:
        """What is left."""
        block = self._resampled()[self._before * self._group_out * 2 :]
        self._held.clear()
        self._before = 0
        return block

    def _resampled(self) -> bytes:
        return resample_clip(bytes(self._held), *self._rates)


class _Library:
    """libespeak-ng, loaded and initialised afresh.

    Its noise and its flutter run on from one text to the next, in variables that no function resets. Only a library
    loaded anew, with its random numbers seeded, says the same text in the same bytes each time; that costs 2 ms.
    """

    def __init__(self, path: str, data_path: str, on_audio: Callable[[bytes], bool]) -> None:
        self._library = ctypes.CDLL(path)
        self.rate: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, os.fsencode(data_path), _INITIALIZE_DONT_EXIT
        )
        if self.rate <= 0:
            raise OSError(f"espeak-ng could not be initialised with the data at {data_path}")

        def on_samples(samples: int | None, count: int, _events: int | None) -> int:
            # 1 tells espeak to stop.
            return int(not on_audio(ctypes.string_at(samples, count * 2))) if samples and count else 0

        # The library keeps bare pointers: the callbacks must live as long as it does.
        self._on_samples = _SYNTH_CALLBACK(on_samples)
        # 1: the sound is not wanted. Without this, `<audio src>` in a text would open files of this machine.
        self._on_uri = _URI_CALLBACK(lambda _kind, _uri, _base: 1)
        self._library.espeak_SetSynthCallback(self._on_samples)
        self._library.espeak_SetUriCallback(self._on_uri)
        self._library.espeak_SetParameter(_PARAMETER_VOLUME, _VOLUME, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))

    def say(self, text: str, voice: str, *, ssml: bool) -> None:
        """Synthesise to `on_audio`.

        Raises:
            ValueError: There is no such voice, or espeak refused the text.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        content = text.encode("utf-8", "replace") + b"\0"
        flags = _CHARS_UTF8 | (_SSML if ssml else 0)
        code = self._library.espeak_Synth(
            content, ctypes.c_size_t(len(content)), 0, _POSITION_CHARACTER, 0, flags, None, None
        )
        if code != _OK:
            raise ValueError(f"espeak-ng refused the text with code {code}")

    def unload(self) -> None:
        """Take the library out of the process, its state with it."""
        self._library.espeak_Terminate()
        handle = self._library._handle  # noqa: SLF001 - the one place where ctypes keeps it
        if sys.platform == "win32":
            _ctypes.FreeLibrary(handle)
        else:
            _ctypes.dlclose(handle)


class _Reply:
    """The audio of one request on its way out: at the wanted rate, in messages of `CHUNK_MS`."""

    def __init__(self, out: BinaryIO, rate: int) -> None:
        self._out = out
        self._rate = rate
        self._resampler: BlockResampler | None = None
        self._left = MAX_AUDIO_S * rate * 2

    @property
    def is_too_long(self) -> bool:
        """Whether there was more than `MAX_AUDIO_S` of it."""
        return self._left < 0

    def begin(self, rate: int) -> None:
        """Say at what rate the audio will come."""
        self._resampler = BlockResampler(rate, self._rate)

    def add(self, l16: bytes) -> bool:
        """Take some audio; False when there was too much."""
        if self._resampler is not None:
            self._write(self._resampler.process(l16))
        return not self.is_too_long

    def finish(self) -> None:
        """Send what is left, and how it ended."""
        if self._resampler is not None and not self.is_too_long:
            self._write(self._resampler.flush())
        if self.is_too_long:
            self.fail(f"the text makes more than {MAX_AUDIO_S} s of audio")
        else:
            self._message(END, b"")

    def fail(self, sentence: str) -> None:
        """End with a failure."""
        self._message(FAILED, sentence.encode())

    def _write(self, l16: bytes) -> None:
        self._left -= len(l16)
        if self.is_too_long:
            return
        size = self._rate * CHUNK_MS // 1000 * 2
        for start in range(0, len(l16), size):
            self._message(AUDIO, l16[start : start + size])

    def _message(self, kind: bytes, content: bytes) -> None:
        self._out.write(REPLY_HEAD.pack(kind, len(content)) + content)
        self._out.flush()


def main() -> None:
    """Serve requests until standard input ends."""
    # A Ctrl-C in the terminal reaches the whole group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rate = int(sys.argv[1])
    requests = sys.stdin.buffer
    # Whatever else prints to standard output (the library can) must not end up between two messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while len(head := requests.read(REQUEST_HEAD.size)) == REQUEST_HEAD.size:
        request = json.loads(requests.read(*REQUEST_HEAD.unpack(head)))
        reply = _Reply(out, rate)
        try:
            _serve(request["text"], request["voice"], ssml=request["ssml"], reply=reply)
        except BrokenPipeError:
            # The parent is gone.
            return
        except (OSError, ValueError, ImportError) as error:
            reply.fail(str(error))


def _serve(text: str, voice: str, *, ssml: bool, reply: _Reply) -> None:
    # Here, and not above: this module is also imported by the parent, which needs none of it.
    import espeakng_loader

    trouble: list[OSError] = []

    def on_audio(l16: bytes) -> bool:
        try:
            return reply.add(l16)
        except OSError as error:
            # An exception cannot cross the C code that calls this: it is kept, and espeak told to stop.
            trouble.append(error)
            return False

    library = _Library(espeakng_loader.get_library_path(), espeakng_loader.get_data_path(), on_audio)
    try:
        reply.begin(library.rate)
        library.say(text, voice, ssml=ssml)
    finally:
        library.unload()
    if trouble:
        raise trouble[0]
    reply.finish()


if __name__ == "__main__":
    main()
