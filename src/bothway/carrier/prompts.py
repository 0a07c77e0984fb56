"""What a document says and plays by itself: `<Speak>` and `<Play>` become audio for the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import Transcoder, convert
from bothway.audio.wav import read_wav
from bothway.carrier.mp3 import is_mp3
from bothway.carrier.node import Node, fetch_outcome
from bothway.runtime.http import FetchError, FetchPolicy
from bothway.wire.verbs import Play, Speak

__all__ = ["MAX_FILE", "prompt_audio"]

MAX_FILE = 10 * 1024 * 1024
"""The largest file that `<Play>` takes (plivo-protocol.md, 7.3)."""

_PLAY_POLICY = FetchPolicy(
    connect_ms=2000, read_ms=120_000, total_ms=240_000, retries=1, retry_on=frozenset({"ct", "rt", "4xx", "5xx"})
)
"""plivo-protocol.md, 6.8: what is played is fetched by a policy of its own, and the URL's fragment has no say."""


async def prompt_audio(node: Node, verb: Speak | Play, leg_format: AudioFormat) -> AsyncGenerator[bytes]:
    """The audio of a prompt, once through, in the leg's format; the first chunk as early as it can be had.

    Raises:
        PeerError: The file cannot be had.
        ProviderError: The voice failed, or the MP3 decoder did.
        UsageError: The text or the file cannot be used.
    """
    if isinstance(verb, Play):
        content = await _file(node, verb.url)
        if is_mp3(content):
            yield await node.mp3.decode(content, leg_format)
        else:
            # Decoding a file of minutes takes longer than a frame lasts, so a thread does it.
            yield await asyncio.to_thread(_decoded, content, leg_format)
        return
    transcoder = Transcoder(node.voice.format, leg_format)
    async with aclosing(node.voice.synthesize(verb.plain(), voice=verb.voice, language=verb.language)) as chunks:
        async for chunk in chunks:
            yield transcoder.process(chunk)
    if not transcoder.is_identity:
        yield transcoder.flush()


async def _file(node: Node, url: str) -> bytes:
    began = asyncio.get_running_loop().time()
    outcome = "ok"
    try:
        response = await node.http.request("GET", url, policy=_PLAY_POLICY, max_body=MAX_FILE)
    except FetchError as error:
        outcome = fetch_outcome(error)
        raise
    finally:
        node.metrics.fetched("play", outcome, asyncio.get_running_loop().time() - began)
    return response.body


def _decoded(content: bytes, leg_format: AudioFormat) -> bytes:
    audio_format, audio = read_wav(content)
    return convert(audio, audio_format, leg_format)
