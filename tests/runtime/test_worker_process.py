from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import Struct

import pytest

from bothway.runtime.worker_process import StrangeReplyError, WorkerProcess

HEAD = Struct("!cI")

ECHO = """
import os, struct, sys
while (line := sys.stdin.buffer.readline()):
    word = line.strip()
    if word == b"die": os._exit(3)
    if word == b"secret": word = os.environ.get("A_TOKEN", "none").encode()
    kind = b"?" if word == b"strange" else b"a"
    size = 10**6 if word == b"long" else len(word)
    sys.stdout.buffer.write(struct.pack("!cI", kind, size) + word)
    sys.stdout.buffer.flush()
"""


@asynccontextmanager
async def worker(code: str = ECHO) -> AsyncIterator[WorkerProcess]:
    found = WorkerProcess((sys.executable, "-c", code), head=HEAD, kinds=frozenset({b"a"}), max_message=1000)
    try:
        yield found
    finally:
        await found.end()


async def ask(found: WorkerProcess, word: bytes) -> tuple[bytes, bytes]:
    await found.send(word + b"\n", seconds=10)
    return await found.receive(seconds=10)


async def test_it_is_started_when_there_is_something_to_say_and_again_when_it_has_died() -> None:
    async with worker() as found:
        assert await ask(found, b"hello") == (b"a", b"hello")
        first = found.pid
        assert await ask(found, b"again") == (b"a", b"again")
        assert found.pid == first
        with pytest.raises(asyncio.IncompleteReadError):
            await ask(found, b"die")
        assert await found.end(grace_s=5) == 3
        assert await ask(found, b"there") == (b"a", b"there")
        assert found.pid != first
    assert await found.end() is None


@pytest.mark.parametrize("word", [b"strange", b"long"])
async def test_what_is_no_reply_ends_it(word: bytes) -> None:
    async with worker() as found:
        with pytest.raises(StrangeReplyError, match="sent what is no reply"):
            await ask(found, word)
        assert found.pid is None


async def test_one_that_is_silent_or_does_not_read() -> None:
    async with worker("import time; time.sleep(60)") as found:
        with pytest.raises(TimeoutError):
            await found.send(b"x" * 10_000_000, seconds=0.2)
        with pytest.raises(TimeoutError):
            await found.receive(seconds=0.1)


async def test_it_knows_nothing_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "of great worth")
    async with worker() as found:
        assert await ask(found, b"secret") == (b"a", b"none")


async def test_a_program_that_is_not_there() -> None:
    found = WorkerProcess(("/nowhere/at/all",), head=HEAD, kinds=frozenset({b"a"}), max_message=10)
    with pytest.raises(FileNotFoundError):
        await found.send(b"x", seconds=1)
