"""A conversation between a caller and an app, in virtual time: what `bench virtual_time` runs, and equal in every run.

`python -m bench.conversation SECONDS [LEVEL]` prints a digest of everything that happened on it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys

from bothway import App, Call
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice
from bothway.testing.caller import Caller
from bothway.testing.lab import LabCarrier, Level
from bothway.testing.virtual_loop import run

QUESTIONS = (
    "Good morning, I would like to book a table for this evening",
    "How long would we have to wait without a reservation",
    "And is there a garden to sit in when the weather allows it",
)
INTERRUPTION = "Stop, that is all I wanted to know"


def new_app() -> App:
    """An app that repeats what it understood at some length, and is silent when it is interrupted."""
    app = App(check_signatures=True)
    voice = ToneVoice(rate=8000)

    async def say(call: Call, text: str) -> None:
        chunks = [chunk async for chunk in voice.synthesize(text)]
        await call.play(b"".join(chunks), format=voice.format, text=text)

    @app.answer("/answer")
    async def repeat(call: Call) -> None:
        reader = ToneReader(call.format)
        said: list[str] = []
        quiet = 0
        await say(call, "Welcome to the house of echoes, how can I help you")
        async for frame in call.audio():
            words = reader.feed(frame)
            if words and call.ledger.unplayed_ms and not said:
                call.clear()
            said += [word.text for word in words]
            quiet = 0 if words else quiet + 1
            if said and quiet > 30:
                await say(call, f"You said {' '.join(said)}, and I will see what can be done about that")
                said.clear()

    return app


async def converse(lab: LabCarrier, seconds: float) -> Caller:
    """One call of so many seconds."""
    caller = await lab.call(new_app())
    await caller.hears("how can I help you")
    turn = 0
    while caller.now_ms < seconds * 1000:
        question = QUESTIONS[turn % len(QUESTIONS)]
        await caller.say(question)
        if turn % 4 == 3:
            await caller.interrupts(INTERRUPTION, after=1.5)
            await caller.hears_silence(0.5)
            await caller.hears("all I wanted to know").within(15)
        else:
            await caller.hears("what can be done about that").within(15)
        turn += 1
    await caller.hangs_up()
    return caller


async def _digest(seconds: float, level: Level) -> str:
    async with LabCarrier(level=level) as lab:
        caller = await converse(lab, seconds)
    found = hashlib.sha256()
    for part in (*caller.telephone.tape(), repr(caller.records), repr(caller.webhooks), repr(caller.heard)):
        found.update(part if isinstance(part, bytes) else part.encode())
    return found.hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("PLIVO_AUTH_ID", "MABENCHBENCHBENCHBEN")
    os.environ.setdefault("PLIVO_AUTH_TOKEN", "of-the-bench")
    logging.disable(logging.WARNING)
    print(run(_digest(float(sys.argv[1]), "bytes" if sys.argv[2:] == ["bytes"] else "messages")))
