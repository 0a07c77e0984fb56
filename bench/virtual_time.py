"""How fast calls run in virtual time, and whether they run the same way every time."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bench.conversation import converse
from bench.machine import ROOT, SERVER_CORE, BenchError, pinned
from bothway import App, Call
from bothway.speech.voices import ToneVoice
from bothway.testing.caller import Caller
from bothway.testing.lab import LabCarrier, Level
from bothway.testing.virtual_loop import run

GREETING = "Good morning, you have reached the bench. Please hold the line, we are counting"


def new_app() -> App:
    """An app that greets and listens."""
    app = App()
    voice = ToneVoice(rate=8000)

    @app.answer("/answer")
    async def greet(call: Call) -> None:
        chunks = [chunk async for chunk in voice.synthesize(GREETING)]
        await call.play(b"".join(chunks), format=voice.format, text=GREETING)
        async for _ in call.audio():
            pass

    return app


async def conversation(seconds: float, level: Level) -> int:
    """One long call; gives the frames that crossed its leg in each direction."""
    async with LabCarrier(level=level, keep_audio=False) as lab:
        return (await converse(lab, seconds)).telephone.heard_frames


async def many(calls: int, seconds: float) -> int:
    """Many calls at once; gives the frames of all."""
    async with LabCarrier(keep_audio=False) as lab:
        app = new_app()
        callers: list[Caller] = [await lab.call(app) for _ in range(calls)]
        for caller in callers:
            await caller.hears("we are counting")
        await callers[0].stays_silent(seconds - callers[0].now_ms / 1000)
        await asyncio.gather(*(caller.hangs_up() for caller in callers))
    return sum(caller.telephone.heard_frames for caller in callers)


def measured(what: str, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run `work`, and print what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    frames = run(work())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    call_seconds = frames / 50
    print(
        f"{what:<52} {wall:7.2f} s, {cpu:7.2f} s CPU: {call_seconds / wall:8.0f} call seconds a second, "
        f"{cpu / frames * 1e6:5.1f} µs a frame"
    )


def equal(runs: int, seconds: float) -> None:
    """The same conversation in fresh processes, each with another hash seed."""
    digests: dict[str, int] = {}
    for seed in range(runs):
        command = pinned(SERVER_CORE, [sys.executable, "-m", "bench.conversation", str(seconds)])
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "BOTHWAY_LOG_LEVEL": "error"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"run {seed} failed: {done.stderr[-2000:]}")
        digests[done.stdout.strip()] = digests.get(done.stdout.strip(), 0) + 1
    print(f"{runs} runs of {seconds:g} s in fresh processes, a hash seed each: {len(digests)} different")
    if len(digests) != 1:
        raise BenchError(f"the runs differ: {digests}")


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench virtual_time", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of the conversation (default: 10)")
    parser.add_argument("--calls", type=int, default=1000, help="at once (default: 1000)")
    parser.add_argument("--seconds", type=float, default=30, help="that each of them lasts (default: 30)")
    parser.add_argument("--runs", type=int, default=100, help="that have to be equal (default: 100)")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {SERVER_CORE})
    os.environ.setdefault("PLIVO_AUTH_ID", "MABENCHBENCHBENCHBEN")
    os.environ.setdefault("PLIVO_AUTH_TOKEN", "of-the-bench")
    minutes = options.minutes
    measured("the first call: all that is imported and made once", lambda: conversation(5, "messages"))
    measured(f"a conversation of {minutes:g} min", lambda: conversation(minutes * 60, "messages"))
    measured("the same, at the level of bytes", lambda: conversation(minutes * 60, "bytes"))
    measured(f"{options.calls} calls of {options.seconds:g} s", lambda: many(options.calls, options.seconds))
    equal(options.runs, 60.0)
