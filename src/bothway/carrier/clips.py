"""The audio of a script, made before the call, so that the call waits for no file and no voice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing

from bothway.audio.format import AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import convert, from_l16
from bothway.audio.wav import read_wav
from bothway.carrier.script import Beep, Play, Script
from bothway.errors import UsageError
from bothway.speech.protocols import TextToSpeech

__all__ = ["ClipShelf", "prepare", "spoken"]

_KEPT = 64
"""Scripts whose audio a `ClipShelf` keeps: more than any configuration has, in every format of a leg."""


async def prepare(script: Script, fmt: AudioFormat, voice: TextToSpeech | None = None) -> dict[str, bytes]:
    """The audio of everything in `script.clips`.

    Args:
        script: What will be said and played.
        fmt: The format that the call will have.
        voice: Says the texts; not needed for a script without any. It stays the caller's to close.

    Returns:
        By the clips' names, the audio in `fmt`, for a `ScriptedCaller`.

    Raises:
        UsageError: A file cannot be read or is no WAV file, or there is a text and no voice.
        ProviderError: The voice failed.
    """
    clips: dict[str, bytes] = {}
    for words in script.clips:
        if isinstance(words, Play):
            clips[words.clip] = await asyncio.to_thread(_read, words.path, fmt)
        elif isinstance(words, Beep):
            sound = tone(words.hertz, words.ms, fmt.rate)
            clips[words.clip] = from_l16(sound, fmt.encoding)
        elif voice is None:
            raise UsageError(f"the script needs a voice to {words}")
        else:
            clips[words.clip] = await spoken(voice, words.text, fmt)
    return clips


class ClipShelf:
    """Keeps the audio of scripts that many calls run. The least recently used leave.

    Args:
        voice: Says the texts; it stays the caller's to close.
    """

    def __init__(self, voice: TextToSpeech | None) -> None:
        self._voice = voice
        self._kept: OrderedDict[tuple[Script, AudioFormat], dict[str, bytes]] = OrderedDict()
        self._preparing = asyncio.Lock()  # calls that begin together wait for one and the same preparation

    async def of(self, script: Script, fmt: AudioFormat) -> dict[str, bytes]:
        """What `prepare` gives.

        Raises:
            UsageError: As of `prepare`.
            ProviderError: As of `prepare`.
        """
        async with self._preparing:
            clips = self._kept.pop((script, fmt), None)
            if clips is None:
                clips = await prepare(script, fmt, self._voice)
            self._kept[script, fmt] = clips
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return clips


def _read(path: str, fmt: AudioFormat) -> bytes:
    source, audio = read_wav(path)
    return convert(audio, source, fmt)


async def spoken(voice: TextToSpeech, text: str, fmt: AudioFormat) -> bytes:
    """All of a text's audio, in `fmt`.

    Raises:
        UsageError: The text cannot be said.
        ProviderError: The voice failed.
    """
    chunks = bytearray()
    async with aclosing(voice.synthesize(text)) as spoken:
        async for chunk in spoken:
            chunks += chunk
    return convert(bytes(chunks), voice.format, fmt)
