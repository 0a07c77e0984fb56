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


@app.stream("/listen")
async def listen(call: Call) -> None:
    """Take every frame."""
    async for _ in call.audio():
        pass


@app.stream("/talk")
async def talk(call: Call) -> None:
    """Hear the caller, and speak without a pause: sentence after sentence, at the pace of speech."""
    listening = asyncio.create_task(listen(call))
    loop = asyncio.get_running_loop()
    size = call.format.bytes_for(SENTENCE_MS)
    sentence = (bytes(range(1, 121)) * (size // 120 + 1))[:size]
    start, spoken = loop.time(), 0
    while not call.ended:
        await call.play(sentence)
        spoken += SENTENCE_MS
        await asyncio.sleep(start + (spoken - AHEAD_MS) / 1000 - loop.time())
    await listening


app.answer("/answer", talk)
