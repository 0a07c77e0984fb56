"""The apps of the benches, on the public API alone: an echo of every frame, and one that talks all the time."""

from __future__ import annotations

import asyncio

from bothway import App, Call

SENTENCE_MS = 2000
"""What the talking app plays at a time, as an agent does: one sentence."""

AHEAD_MS = 300
"""How long before one sentence ends the next is played."""

app = App()


@app.stream("/echo")
async def echo(call: Call) -> None:
    """Play back every frame."""
    async for frame in call.audio():
        await call.play(frame)


async def listen(call: Call) -> None:
    """Take every frame."""
    async for _ in call.audio():
        pass


async def speak(call: Call, ahead_ms: int) -> None:
    """Speak without a pause, sentence after sentence, each so long before the last one ends."""
    loop = asyncio.get_running_loop()
    size = call.format.bytes_for(SENTENCE_MS)
    sentence = (bytes(range(1, 121)) * (size // 120 + 1))[:size]
    start, spoken = loop.time(), 0
    while not call.ended:
        await call.play(sentence)
        spoken += SENTENCE_MS
        await asyncio.sleep(start + (spoken - ahead_ms) / 1000 - loop.time())


@app.stream("/talk")
async def talk(call: Call) -> None:
    """Hear the caller, and speak at the pace of speech."""
    listening = asyncio.create_task(listen(call))
    await speak(call, AHEAD_MS)
    await listening


async def talk_ahead(call: Call) -> None:
    """The same with nearly 5 s queued at the carrier when a sentence has been added."""
    listening = asyncio.create_task(listen(call))
    await speak(call, 3000)
    await listening


app.answer("/answer", talk)
app.answer("/ahead", talk_ahead)
