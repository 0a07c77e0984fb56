"""One database as a carrier uses it: one thread writes, in groups, and a few others read.

What is to be written while a transaction runs goes into the next one, all of it together: a hundred writes cost little
more than one. Threads come by `run_in_executor` alone, so that in virtual time they hold the clock, and a run is the
same each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Future
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from bothway.carrier.store.faults import explained, is_passing
from bothway.carrier.store.records import StoreError
from bothway.errors import UsageError

__all__ = ["BUSY_S", "FRESH_S", "MAX_BATCH", "MAX_READS", "MAX_WRITES", "READERS", "Database", "Job", "OnFailure"]

MAX_WRITES = 20_000
"""Writes that may wait: more than a node full of calls asks for while a slow disk stands still for seconds."""

MAX_BATCH = 500
"""Writes of one transaction: some tens of milliseconds of work, which another process must wait for."""

MAX_READS = 2_000
"""Reads that may wait."""

READERS = 3
"""Threads that read. More would only take the interpreter from the audio."""

BUSY_S = 10.0
"""How long a transaction is tried again while another process holds the database, or its server is away, in seconds."""

FRESH_S = 2.0
"""How long a read waits for the writes that were asked for before it, in seconds. After that it shows what is there."""

_PAUSE_S = 0.05

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

Job: TypeAlias = Callable[[Connection], _T]
"""What a thread does with a connection, within a transaction. It may run twice, and changes the database alone."""

OnFailure: TypeAlias = Callable[[str, StoreError], None]
"""Told, on the event loop, what could not be written, and why."""


@dataclass(slots=True)
class _Write(Generic[_T]):
    what: str
    job: Job[_T]
    future: Future[_T]
    then: Callable[[_T], None] | None


@dataclass(slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Database:
    """The threads and transactions of one open database, for the event loop on which it is made.

    Args:
        engine: Makes connections.
        name: What errors call it; without secrets.
        writer: The one thread that writes, and has opened the database.
        is_shared: Whether several connections can use it: a database in memory has one, and its writer reads as well.
        on_failure: Told of each write that failed.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        writer: ThreadPoolExecutor,
        is_shared: bool,
        on_failure: OnFailure | None = None,
    ) -> None:
        self.name = name
        self.is_shared = is_shared
        self.failures = 0
        """Writes that failed."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._readers = ThreadPoolExecutor(READERS, "bothway-reader") if is_shared else writer
        self._on_failure = on_failure
        self._waiting: deque[_Write[Any]] = deque()
        self._batch: list[_Write[Any]] = []
        self._is_woken = False
        self._reads = 0
        self._asked = 0
        self._settled = 0
        self._watchers: deque[tuple[int, Future[None]]] = deque()
        self._closed = False

    def write(self, what: str, job: Job[_T], then: Callable[[_T], None] | None = None) -> Future[_T]:
        """Have `job` run in a transaction, after all that were asked for before it.

        Whoever needs to know awaits the future, which is done once the transaction is committed. It may as well be
        dropped: a failure is logged and counted anyhow.

        Args:
            what: What is written, for an error's text.
            job: Writes it.
            then: Told the result on the event loop, in the order of the writes, whatever becomes of the future.

        Returns:
            Gets the result of the job, or raises `StoreError`, or what the job raised.

        Raises:
            UsageError: The store is closed.
        """
        self._check_open()
        write = _Write(what, job, self._loop.create_future(), then)
        if len(self._waiting) >= MAX_WRITES:
            self._fail([(write, StoreError(f"{self.name} does not keep up: {MAX_WRITES} writes are waiting"))])
            return write.future
        self._asked += 1
        self._waiting.append(write)
        if not self._batch and not self._is_woken:
            # Not at once: what the same turn of the loop asks for goes along.
            self._is_woken = True
            self._loop.call_soon(self._begin)
        return write.future

    async def read(self, job: Job[_T]) -> _T:
        """The result of `job`, on a thread that reads. It sees what was asked to be written before.

        Raises:
            StoreError: The database cannot be read, or too many reads are waiting.
            UsageError: The store is closed.
        """
        self._check_open()
        if self._reads >= MAX_READS:
            raise StoreError(f"{self.name} does not keep up: {MAX_READS} reads are waiting")
        self._reads += 1
        try:
            await self._settle(FRESH_S)
            self._check_open()
            return await self._loop.run_in_executor(self._readers, self._read, job)
        finally:
            self._reads -= 1

    async def drained(self) -> None:
        """Wait until all that was asked for is committed, or has failed."""
        await self._settle(None)

    async def close(self) -> None:
        """Write what waits, and end the threads. Nothing can be asked for any more."""
        if self._closed:
            return
        self._closed = True
        await self._settle(None)
        await self._loop.run_in_executor(self._writer, self._engine.dispose)
        self._readers.shutdown()
        self._writer.shutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the store is closed: {self.name} can be neither read nor written")

    async def _settle(self, seconds: float | None) -> None:
        if self._settled == self._asked:
            return
        watcher: Future[None] = self._loop.create_future()
        self._watchers.append((self._asked, watcher))
        try:
            async with asyncio.timeout(seconds):
                await watcher
        except TimeoutError:
            logger.warning("%s does not keep up: a read does not wait for %d writes", self.name, len(self._waiting))

    # --- on the event loop --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._is_woken = False
        if self._batch or not self._waiting:
            return
        self._batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        running = self._loop.run_in_executor(self._writer, self._commit, [write.job for write in self._batch])
        running.add_done_callback(self._ended)

    def _ended(self, running: Future[list[_Outcome]]) -> None:
        batch, self._batch = self._batch, []
        failed: list[tuple[_Write[Any], Exception]] = []
        for write, outcome in zip(batch, running.result(), strict=True):
            if outcome.error is not None:
                failed.append((write, outcome.error))
                continue
            if write.then is not None:
                write.then(outcome.value)
            if not write.future.done():
                write.future.set_result(outcome.value)
        if failed:
            self._fail(failed)
        self._settled += len(batch)
        while self._watchers and self._watchers[0][0] <= self._settled:
            watcher = self._watchers.popleft()[1]
            if not watcher.done():
                watcher.set_result(None)
        self._begin()

    def _fail(self, failed: list[tuple[_Write[Any], Exception]]) -> None:
        """Tell of writes that failed; a full disk fails hundreds at once, for one reason."""
        first, error = failed[0]
        others = f" and {len(failed) - 1} others" if len(failed) > 1 else ""
        is_expected = isinstance(error, StoreError | UsageError)
        logger.error("not written: %s%s: %s", first.what, others, error, exc_info=None if is_expected else error)
        for write, reason in failed:
            self.failures += 1
            if not write.future.done():
                write.future.set_exception(reason)
                write.future.exception()  # so that a future that was dropped does not complain
            if self._on_failure is not None and isinstance(reason, StoreError):
                self._on_failure(write.what, reason)

    # --- on the threads -----------------------------------------------------------------------------------------------

    def _commit(self, jobs: list[Job[Any]]) -> list[_Outcome]:
        """Do all jobs in one transaction; if one of them cannot be done, each in its own."""
        try:
            return [_Outcome(value) for value in self._insist(lambda: self._transaction(jobs))]
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the loop tells whoever asked
            if len(jobs) == 1 or is_passing(error):
                return [_Outcome(error=explained(error, self.name, "written")) for _ in jobs]
        return [self._commit([job])[0] for job in jobs]

    def _transaction(self, jobs: list[Job[Any]]) -> list[Any]:
        with self._engine.connect().execution_options(bothway_writes=True) as connection, connection.begin():
            return [job(connection) for job in jobs]

    def _read(self, job: Job[_T]) -> _T:
        try:
            return self._insist(lambda: self._look(job))
        except (SQLAlchemyError, OSError) as error:
            raise explained(error, self.name, "read") from None

    def _look(self, job: Job[_T]) -> _T:
        with self._engine.connect() as connection:
            return job(connection)

    def _insist(self, attempt: Callable[[], _T]) -> _T:
        """Try again, for a while, what fails for a reason that passes."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                return attempt()
            except (SQLAlchemyError, OSError) as error:
                if not is_passing(error) or time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE_S)
