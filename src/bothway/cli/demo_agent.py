"""The demo's app: greets, listens, says each utterance back, counts digits aloud, and stops at once when spoken over.

It is what a user would write, on the public API alone, and knows nothing of the carrier that calls it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from bothway import App, Call
from bothway.audio.format import L16_16K, Encoding
from bothway.audio.level import SpeechGate
from bothway.audio.transcode import convert, to_l16
from bothway.speech.voices import offline_voice

__all__ = [
    "GREETING",
    "LONGEST_FRAMES",
    "PAUSE_MS",
    "PREROLL_FRAMES",
    "agent",
    "app",
    "count_digits",
    "echo",
    "spoken",
    "voice",
]

GREETING = "Hello, this is Bothway. Say something, and I will say it back. Press keys, and I will count them."
"""What the caller hears first."""

PREROLL_FRAMES = 10
"""Frames kept from before an utterance was noticed: a gate opens a moment after speech begins."""

LONGEST_FRAMES = 1500
"""An utterance of 30 s is said back in part: nobody wants to hear more."""

PAUSE_MS = 600
"""How long the caller must be quiet for an utterance to be over."""

app = App()
voice = offline_voice(rate=16000)


async def spoken(text: str, call: Call) -> bytes:
    """`text` as audio in the call's format."""
    audio = b"".join([chunk async for chunk in voice.synthesize(text)])
    return convert(audio, L16_16K, call.format)


async def echo(call: Call) -> None:
    """Say back what the caller says, utterance by utterance."""
    gate = SpeechGate(stop_ms=PAUSE_MS)
    preroll: deque[bytes] = deque(maxlen=PREROLL_FRAMES)
    utterance: list[bytes] = []
    async for frame in call.audio():
        was_sounding = gate.sounding
        if gate.feed(to_l16(frame, call.format.encoding) if call.format.encoding is not Encoding.L16 else frame):
            if not was_sounding:
                call.clear()
                utterance = list(preroll)
            if len(utterance) < LONGEST_FRAMES:
                utterance.append(frame)
        elif was_sounding:
            await call.play(b"".join(utterance))
        preroll.append(frame)


async def count_digits(call: Call) -> None:
    """Say each key that is pressed, and how many there were."""
    count = 0
    async for digit in call.dtmf():
        count += 1
        name = {"*": "star", "#": "hash"}.get(digit, digit)
        call.clear()
        await call.play(await spoken(f"{name}. That makes {count}.", call), text=f"{name}. That makes {count}.")


@app.answer("/answer")
async def agent(call: Call) -> None:
    """One call."""
    await call.play(await spoken(GREETING, call), text=GREETING)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(echo(call))
        tasks.create_task(count_digits(call))
