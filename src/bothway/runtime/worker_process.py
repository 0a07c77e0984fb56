"""A process of our own for work that must not be done in this one: it may block, crash, or be under another licence.

It is told jobs on its standard input and answers on its standard output, in messages with a kind and a length. It gets
no more of the environment than Python needs to start: no credentials.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from struct import Struct

from bothway.errors import PeerError
from bothway.runtime.logs import get_logger

__all__ = ["StrangeReplyError", "WorkerProcess"]

_END_S = 5.0
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV")

_log = get_logger(__name__)


class StrangeReplyError(PeerError):
    """The worker sent what is no reply; it was ended."""


class WorkerProcess:
    """One process at a time, started when there is something to say to it.

    Args:
        command: The program and its arguments.
        head: What stands before each reply: its kind, one byte, and how many bytes follow.
        kinds: The kinds that there are.
        max_message: Bytes of the longest reply.
    """

    def __init__(self, command: Sequence[str], *, head: Struct, kinds: frozenset[bytes], max_message: int) -> None:
        self._command = command
        self._head = head
        self._kinds = kinds
        self._max_message = max_message
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, once it was started."""
        return self._process.pid if self._process else None

    async def send(self, message: bytes, *, seconds: float) -> None:
        """Say something to it.

        Raises:
            OSError: It could not be started.
            ConnectionError: It is dead.
            TimeoutError: It does not read.
        """
        if self._process is None or self._process.returncode is not None:
            self._process = await self._started()
        to_worker = self._process.stdin
        assert to_worker is not None
        async with asyncio.timeout(seconds):
            to_worker.write(message)
            await to_worker.drain()

    async def receive(self, *, seconds: float) -> tuple[bytes, bytes]:
        """The next reply: its kind and its content.

        Raises:
            IncompleteReadError: It is dead.
            StrangeReplyError: It is no reply.
            TimeoutError: It is silent.
        """
        assert self._process is not None, "it was told something before"
        from_worker = self._process.stdout
        assert from_worker is not None
        async with asyncio.timeout(seconds):
            kind, size = self._head.unpack(await from_worker.readexactly(self._head.size))
            if kind not in self._kinds or size > self._max_message:
                await self.end()
                raise StrangeReplyError("the worker sent what is no reply")
            return kind, await from_worker.readexactly(size)

    async def end(self, *, grace_s: float = 0.0) -> int | None:
        """Kill it, which has nothing to lose, and wait for it.

        Args:
            grace_s: How long to wait for its own end before, in seconds; its exit code then tells how it came about.

        Returns:
            The exit code, negative for a signal; None when there is no process.
        """
        process = self._process
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        if grace_s:
            await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=grace_s)
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                _log.debug("a worker was gone before it was ended", pid=process.pid)
        process.stdin.close()
        async with asyncio.timeout(_END_S):
            # Reading to the end lets go of the pipe, also when it was full.
            while await process.stdout.read(self._max_message):
                pass
            code = await process.wait()
        self._process = None
        return code

    async def _started(self) -> Process:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # It computes on one core; the libraries need not keep threads ready for more.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        return await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, env=environment)
