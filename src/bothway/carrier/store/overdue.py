"""Ends that could not be written: tried again until they are.

A call whose end is not in the database would be listed as live until the carrier's next start, and then be closed as if
the carrier had been killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, TimerHandle
from collections import deque
from functools import partial

from bothway.carrier.store.database import Database, Job
from bothway.carrier.store.records import StoreError

__all__ = ["MOST_OVERDUE", "RETRY_S", "Overdue"]

RETRY_S = 15.0
"""How long after a failure it is tried again, in seconds."""

MOST_OVERDUE = 10_000
"""Writes that are kept for another try; what is more than that stays unwritten."""

logger = logging.getLogger(__name__)


class Overdue:
    """Writes that are insisted on.

    Args:
        database: Where they go.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[str, Job[None]]] = deque()
        self._timer: TimerHandle | None = None
        self._closed = False
        self._is_full = False

    def insist(self, what: str, job: Job[None], written: Future[None]) -> Future[None]:
        """Try `job` again, and again, if this write of it fails. Gives the same future: of the first try.

        Args:
            what: What is written, for an error's text.
            job: Writes it. What was written since by another must not be harmed by it.
            written: The first try.
        """
        written.add_done_callback(partial(self._look, what, job))
        return written

    def close(self) -> None:
        """Try what waits one last time."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._again()

    def _look(self, what: str, job: Job[None], written: Future[None]) -> None:
        if written.cancelled() or not isinstance(written.exception(), StoreError):
            return
        if self._closed:
            return
        if len(self._waiting) >= MOST_OVERDUE:
            if not self._is_full:
                logger.error("%s: %d ends wait for another try, and no more can", self._database.name, MOST_OVERDUE)
            self._is_full = True
            return
        self._waiting.append((what, job))
        if self._timer is None:
            self._timer = self._loop.call_later(RETRY_S, self._again)

    def _again(self) -> None:
        self._timer = None
        waiting = list(self._waiting)
        self._waiting.clear()
        self._is_full = False
        for what, job in waiting:
            self.insist(what, job, self._database.write(what, job))
