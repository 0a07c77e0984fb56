"""Apps that speak and understand, for calls in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from bothway import App, Call
from bothway.audio.format import AudioFormat
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice

VOICE = ToneVoice(rate=8000)


async def said(text: str, fmt: AudioFormat | None = None) -> bytes:
    """The audio of a text, in the voice's own format unless another is named."""
    from bothway.carrier.clips import spoken

    return await spoken(VOICE, text, fmt or VOICE.format)


async def say(call: Call, text: str) -> None:
    """Play a text, and return when it is on its way."""
    await call.play(await said(text), format=VOICE.format, text=text)


async def sentences(call: Call, *, pause_ms: int = 300) -> AsyncIterator[str]:
    """What the caller says, each time that a pause follows."""
    reader = ToneReader(call.format)
    words: list[str] = []
    quiet_ms = 0
    async for frame in call.audio():
        new = reader.feed(frame)
        words += [word.text for word in new]
        quiet_ms = 0 if new or frame != call.format.silent_frame else quiet_ms + 20
        if words and quiet_ms >= pause_ms:
            yield " ".join(words)
            words = []


def listener(heard: list[str]) -> Callable[[Call], Coroutine[Any, Any, None]]:
    """A handler that keeps every sentence of the caller as it comes."""

    async def listen(call: Call) -> None:
        async for sentence in sentences(call):
            heard.append(sentence)  # noqa: PERF401 - one by one: a comprehension would give them all at the end

    return listen


async def hold(call: Call) -> None:
    """Stay on the line until the call is over."""
    await call.ended


def new_app(handler: Any, **options: Any) -> App:
    """An app with one answer URL, `/answer`."""
    app = App()
    app.answer("/answer", handler, **options)
    return app


async def settle() -> None:
    """Let what is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)
