"""Several processes of one command at one port: `--workers N`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from bothway.cli.process import Child, announce, first_ended, free_address, stop_signal, until_stopped
from bothway.errors import PeerError
from bothway.runtime.settings import Settings, settings_of

__all__ = ["Crew", "export", "is_worker"]

_WORKER = "BOTHWAY_WORKER"
"""Set in a worker's environment: its port is shared, and it supervises nobody."""

_CLOSING_SECONDS = 15.0
"""What a worker may take beyond its calls' time to end: answers and callbacks are sent, sockets closed."""

_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a worker is started again: the next, if it did not last; the last from then on."""

_LASTED_SECONDS = 60.0
"""A worker that ran for so long had a fault of the moment."""

logger = logging.getLogger(__name__)


def is_worker() -> bool:
    """Whether this process is one of several at its port, started by another of ours."""
    return _WORKER in os.environ


def export(command: str, settings: Settings) -> None:
    """Put what the options say where a process that is started from here, or an `App` that is made in it, looks."""
    for setting in settings_of(command):
        value = getattr(settings, setting.name)
        if setting.option is not None and value is not None:
            os.environ[setting.variables[0]] = ("0", "1")[value] if isinstance(value, bool) else str(value)


class Crew:
    """The workers of one command. The kernel shares connections out among them.

    Args:
        command: The command, and what it is about: its options go by the environment.
        settings: Of the command.
        restart: Whether a worker that dies is started again, and the others go on. Else its end is the end of all.
    """

    def __init__(self, command: Sequence[str], settings: Settings, *, restart: bool) -> None:
        self._command = command
        self._settings = settings
        self._restart = restart
        self._workers: list[Child] = []

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM, then let all of them end. Gives the exit code.

        Raises:
            UsageError: The address cannot be had.
            PeerError: A worker could not be started at first, or one died that is not started again.
        """
        # Sharing a port is for our workers: what listens there already would get a part of their calls.
        address = free_address(self._settings.http)
        export(self._command[0], self._settings)
        self._options = [*self._command, "--http", str(address)]
        self._workers = [self._made(number) for number in range(1, self._settings.workers + 1)]
        stopped = stop_signal()
        keepers: list[asyncio.Task[None]] = []
        try:
            facts = await until_stopped(self._start(), stopped)
            if facts is None:
                return 0
            announce(**facts, workers=self._settings.workers)
            if self._restart:
                keepers = [asyncio.ensure_future(self._keep(place)) for place in range(self._settings.workers)]
                await until_stopped(_all(keepers), stopped)
                return 0
            died = await until_stopped(first_ended(self._workers), stopped)
            if died is not None:
                raise PeerError(f"{died.end}: its own lines say why, and the others are stopped")
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            seconds = self._settings.drain_seconds + _CLOSING_SECONDS
            await asyncio.gather(*(worker.stop(seconds) for worker in self._workers))
        return 0

    def _made(self, number: int) -> Child:
        return Child(f"worker {number}", self._options, {_WORKER: str(number)})

    async def _start(self) -> dict[str, Any]:
        """Start the first, which may find what is wrong for all, and then the others at once. Gives its ready line."""
        facts = await self._workers[0].start()
        await asyncio.gather(*(worker.start() for worker in self._workers[1:]))
        return facts

    async def _keep(self, place: int) -> None:
        """Start a worker again whenever it has died."""
        pause = 0
        began = time.monotonic()
        while True:
            died = await self._workers[place].ended()
            await died.stop()
            if time.monotonic() - began >= _LASTED_SECONDS:
                pause = 0
            seconds = _PAUSES[min(pause, len(_PAUSES) - 1)]
            logger.error("%s; it is started again in %g s, and the others go on", died.end, seconds)
            await asyncio.sleep(seconds)
            pause += 1
            began = time.monotonic()
            self._workers[place] = self._made(place + 1)
            try:
                await self._workers[place].start()
            except PeerError as error:
                logger.warning("%s", error)
                await self._workers[place].stop()


async def _all(keepers: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*keepers)
