"""Thousands of short calls leave nothing behind in the process: 300 in `make test`, 10,000 in `make soak`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.carrier.kill_carrier import ANSWERS
from tests.carrier.recorded import record
from tests.carrier.rest_client import Rest
from tests.carrier.talker import doc
from tests.carrier.world import Socket, World, page, until, world

from bothway.carrier.callee import Callee, Callees, human
from bothway.carrier.config import Config
from bothway.speech.voices import ToneVoice

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("cut_sockets")]

SOAK = bool(os.environ.get("BOTHWAY_SOAK"))
CALLS = 10_000 if SOAK else 300
AT_ONCE = 20

_BOUNDS = {"ReferenceType": 500, "builtin_function_or_method": 500}
"""More of these come and go with the caches of the interpreter and of libraries; they do not grow with the calls."""


async def a_word(socket: Socket) -> None:
    await socket.play(b"\x11" * 1600)
    await socket.until("media", 20)


async def calls_at_once(w: World, first: int) -> None:
    """One after another of: a prompt, a stream, a recording, a dialled leg, and a caller who hangs up."""
    say = "<Speak>good bye</Speak>"
    stream = w.stream(statusCallbackUrl=w.site.url + "/status", after="<Hangup/>")
    documents = [
        doc(say),
        stream,
        doc(record(w, maxLength="1", playBeep="false", redirect="false")),
        doc(f"<Dial timeLimit='1'><Number>{ANSWERS}</Number></Dial>"),
        doc("<Wait length='100'/>"),
    ]
    callers = []
    for number in range(first, first + AT_ONCE):
        name = f"/answer/{number % len(documents)}"
        w.site.pages[name] = documents[number % len(documents)]
        caller, _ = w.place(page(b""), answer_url=w.site.url + name)
        callers.append(caller)
    await asyncio.sleep(1)
    for caller in callers[4::5]:
        caller.hang_up()
    for caller in callers:
        await w.over(caller)
        assert caller.cause is not None
        assert caller.cause.code in (4000, 4010)
    await until(lambda: not w.carrier.calls)
    assert len(w.site.asked("/hangup")) == AT_ONCE
    await until(lambda: len(w.site.asked("/recorded")) == AT_ONCE // 5)
    w.site.requests.clear()
    w.streams.sockets.clear()


async def measure(w: World) -> tuple[Counter[str], int, int, int]:
    """Objects by their type, tasks, file descriptors, bytes."""
    assert w.carrier._store is not None
    await w.carrier._store.drained()
    await asyncio.sleep(120)  # connections that nobody uses are closed
    gc.collect()
    objects = Counter(type(thing).__qualname__ for thing in gc.get_objects())
    descriptors = len(os.listdir("/proc/self/fd"))
    return objects, len(asyncio.all_tasks()), descriptors, tracemalloc.get_traced_memory()[0]


@pytest.fixture
def nothing_logged() -> Iterator[None]:
    """The test's own log would grow."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("nothing_logged")
async def test_calls_leave_nothing_behind(tmp_path: Path) -> None:
    config = Config(callees=Callees([Callee(ANSWERS, human(ring=0.0))]))
    async with world(tmp_path, a_word, config=config, voice=ToneVoice(rate=8000)) as w:
        for _ in range(3):
            await calls_at_once(w, 0)
        if SOAK:  # it takes as long as all the rest
            tracemalloc.start()
        try:
            await calls_at_once(w, 0)
            before, tasks, descriptors, size = await measure(w)
            for first in range(0, CALLS, AT_ONCE):
                await calls_at_once(w, first)
            after, tasks_now, descriptors_now, size_now = await measure(w)
        finally:
            tracemalloc.stop()
        assert tasks_now <= tasks
        assert descriptors_now <= descriptors
        grown = {name: count for name, count in (after - before).items() if count > _BOUNDS.get(name, AT_ONCE)}
        assert not grown, f"after {CALLS} calls"
        assert size_now - size < 500_000
        assert (await Rest(w).get("Call/", limit="1"))["meta"]["total_count"] >= CALLS
