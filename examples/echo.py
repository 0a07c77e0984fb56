"""Plays back every 20 ms of the caller as it comes. Run it with `bothway dev examples/echo.py`."""

from __future__ import annotations

from bothway import App, Call

app = App()

CUSHION_MS = 100


@app.answer("/answer")
async def echo(call: Call) -> None:
    """Be the caller's echo."""
    # Frames arrive unevenly, and the carrier plays each as soon as it may. With this much silence ahead of them in its
    # queue, a frame that the network holds up for less than that is still there when its turn comes.
    await call.play(call.format.silence_byte * call.format.bytes_for(CUSHION_MS))
    async for frame in call.audio():
        await call.play(frame)
