"""What a document says and plays by itself: `<Speak>` and `<Play>` become audio for the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import Transcoder, convert
from bothway.audio.wav import read_wav
from bothway.carrier.node import Node
from bothway.errors import UsageError
from bothway.runtime.http import FetchPolicy
from bothway.wire.callxml import Play, Speak

__all__ = ["MAX_FILE", "prompt_audio"]

MAX_FILE = 10 * 1024 * 1024
"""The largest file that `<Play>` takes (plivo-protocol.md, 7.3)."""


async def prompt_audio(node: Node, verb: Speak | Play, leg_format: AudioFormat) -> AsyncGenerator[bytes]:
    """The audio of a prompt, once through, in the leg's format; the first chunk as early as it can be had.

    Raises:
        PeerError: The file cannot be had.
        ProviderError: The voice failed.
        UsageError: The text or the file cannot be used.
    """
    if isinstance(verb, Play):
        response = await node.http.request("GET", verb.url, policy=FetchPolicy.parse(verb.url), max_body=MAX_FILE)
        if response.body[:3] == b"ID3" or response.body[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"):
            raise UsageError("<Play> got an MP3 file, and this carrier plays WAV files only")
        audio_format, audio = read_wav(response.body)
        yield convert(audio, audio_format, leg_format)
        return
    transcoder = Transcoder(node.voice.format, leg_format)
    async with aclosing(node.voice.synthesize(verb.plain(), voice=verb.voice, language=verb.language)) as chunks:
        async for chunk in chunks:
            yield transcoder.process(chunk)
    if not transcoder.is_identity:
        yield transcoder.flush()
