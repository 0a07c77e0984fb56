"""The one thread that writes files: a slow or full disk never holds the audio of a call."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable

__all__ = ["MAX_JOBS", "Writer"]

MAX_JOBS = 20_000
"""Jobs that may wait: several seconds of a node full of calls."""

logger = logging.getLogger(__name__)


class Writer:
    """Runs jobs one after another on a thread of its own.

    A job that raises `OSError` reports it, on the event loop, to the `on_failure` given with it. Any other exception is
    a bug; it is logged and the thread goes on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A SimpleQueue takes a job for half of what a Queue does, and every call has one every second.
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Callable[[OSError], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bothway-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None], on_failure: Callable[[OSError], None]) -> bool:
        """Run `job` after all that were submitted before; False if too many wait, and it will not run."""
        if self._jobs.qsize() >= MAX_JOBS:
            return False
        self._jobs.put((job, on_failure))
        return True

    async def drained(self) -> None:
        """Wait until every job submitted so far has run."""
        # The disk may be slow: a thread waits for it, and not the loop.
        await asyncio.to_thread(self._drain)

    async def close(self) -> None:
        """Run what was submitted, and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _drain(self) -> None:
        done = threading.Event()
        self._jobs.put((done.set, lambda _: None))
        done.wait()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, on_failure = item
            try:
                job()
            except OSError as error:
                self.tell(on_failure, error)
            except Exception:
                logger.exception("a job of the writer failed")

    def tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something on the event loop; for jobs."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            logger.warning("the event loop was gone before the writer was done")
