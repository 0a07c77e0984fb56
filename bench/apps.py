"""The apps of the benches, on the public API alone: an echo of every frame, one that talks all the time, one that listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bothway import App, Call

CHUNK_MS = 200
"""What a text-to-speech provider gives at a time."""

app = App(check_signatures=False)


@app.stream("/echo")
async def echo(call: Call) -> None:
    async for frame in call.audio():
        await call.play(frame)


async def speech(call: Call) -> AsyncIterator[bytes]:
    """Speech at the pace of speech, by the absolute clock, for as long as the call lasts."""
    loop = asyncio.get_running_loop()
    start, sent = loop.time(), 0
    chunk = bytes(range(256)) * (call.format.bytes_for(CHUNK_MS) // 256 + 1)
    chunk = chunk[: call.format.bytes_for(CHUNK_MS)]
    while not call.ended:
        yield chunk
        sent += 1
        await asyncio.sleep(start + sent * CHUNK_MS / 1000 - loop.time())


async def listen(call: Call) -> None:
    async for _ in call.audio():
        pass


@app.stream("/talk")
async def talk(call: Call) -> None:
    listening = asyncio.create_task(listen(call))
    await call.play(speech(call))
    await listening


@app.answer("/answer")
async def answered(call: Call) -> None:
    await talk(call)
