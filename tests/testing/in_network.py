"""Tests on a `NetworkLoop`, in real time."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from bothway.testing.memory_socket import MemorySocket
from bothway.testing.network import MemoryNetwork, NetworkLoop

P = ParamSpec("P")


def in_network(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of its own, not for ever, and see that it leaves no descriptor open."""

    async def bounded(*args: P.args, **kwargs: P.kwargs) -> None:
        async with asyncio.timeout(10):
            await test(*args, **kwargs)

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        before = open_descriptors()
        with asyncio.Runner(loop_factory=NetworkLoop) as runner:
            runner.run(bounded(*args, **kwargs))
        assert open_descriptors() == before

    return run


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/dev/fd"))


def running_loop() -> NetworkLoop:
    """The loop of the test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, NetworkLoop)
    return loop


def network() -> MemoryNetwork:
    """The network of the test."""
    return running_loop().network


async def read(sock: MemorySocket, most: int = 1 << 20) -> bytes:
    """What is there to be read, once there is something."""
    return await asyncio.get_running_loop().sock_recv(sock, most)


async def read_all(sock: MemorySocket) -> bytes:
    """All until the end of file."""
    parts = []
    while part := await read(sock):
        parts.append(part)
    return b"".join(parts)


async def send(sock: MemorySocket, message: bytes) -> None:
    """Send, however long it takes."""
    await asyncio.get_running_loop().sock_sendall(sock, message)


async def steps(count: int = 20) -> None:
    """Let what is under way arrive."""
    for _ in range(count):
        await asyncio.sleep(0)
