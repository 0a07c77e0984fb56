"""The records of a carrier: one object that opens them, and one part of it for each kind of record.

A write gives a future at once, and takes its turn after those that were asked for before it. Drop the future, and a
failure is logged and counted; await it, and it is done once the write is committed, or raises `StoreError`. A read is a
coroutine, and sees every write that was asked for before it. A read raises `StoreError` too.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, delete

from bothway.carrier.store.accounts import Accounts
from bothway.carrier.store.applications import Applications
from bothway.carrier.store.calls import Calls
from bothway.carrier.store.database import READERS, Database, OnFailure
from bothway.carrier.store.idempotency import Idempotency
from bothway.carrier.store.nodes import Nodes
from bothway.carrier.store.numbers import Numbers
from bothway.carrier.store.opening import Place, connect, find
from bothway.carrier.store.outbox import Outbox
from bothway.carrier.store.overdue import Overdue
from bothway.carrier.store.recordings import Recordings
from bothway.carrier.store.records import StoreError
from bothway.carrier.store.schema import prepare
from bothway.carrier.store.streams import Streams
from bothway.carrier.store.tables import idempotency, outbox
from bothway.carrier.store.usage import UsageRecords

__all__ = ["KEPT_ABANDONED", "SWEEP_SECONDS", "Store"]

KEPT_ABANDONED = timedelta(days=7)
"""How long a callback that was given up is kept for people to see."""

SWEEP_SECONDS = 3600.0
"""How often what nobody needs any more is deleted."""

logger = logging.getLogger(__name__)


class Store:
    """The records; made by `Store.open`, and ended by `close`, on one event loop.

    Args:
        database: Where they are, open and with its tables.
        node: See `open`.

    Attributes:
        accounts: Sub-accounts.
        applications: What happens on calls to numbers.
        calls: Call detail records, of live calls as well.
        idempotency: Requests that were made before.
        nodes: Who shares the database.
        numbers: Phone numbers, rented and for rent.
        outbox: Callbacks that must not be lost.
        recordings: Complete recordings.
        streams: Audio streams.
        usage: Sums over calls, streams, recordings and numbers.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self.node = node
        self.nodes = Nodes(database, node)
        self.outbox = Outbox(database, node)
        self.accounts = Accounts(database)
        self.applications = Applications(database)
        self._overdue = Overdue(database)
        self.calls = Calls(database, self.outbox, self._overdue)
        self.idempotency = Idempotency(database)
        self.numbers = Numbers(database)
        self.recordings = Recordings(database, self.outbox)
        self.streams = Streams(database, self.outbox, self._overdue)
        self.usage = UsageRecords(database)

    @classmethod
    async def open(
        cls, where: str | Path | None = None, *, node: str = "1", on_failure: OnFailure | None = None
    ) -> Self:
        """Open the records, making or migrating the database where that is needed.

        Args:
            where: A folder, for SQLite's `records.db` in it; a `postgresql://user:password@host:port/database` URL;
                None for a database in memory, which ends with the store.
            node: This process, among those that share the database: a text that no other of them has, and that it has
                again after a restart.
            on_failure: Told of each write that failed, on the event loop, after it was logged.

        Raises:
            UsageError: It cannot be opened, or is of a newer version. The message shows no password.
        """
        place = find(where)
        writer = ThreadPoolExecutor(1, "bothway-store")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(writer, _opened, place)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        return cls(
            Database(engine, name=place.name, writer=writer, is_shared=place.is_shared, on_failure=on_failure), node
        )

    @property
    def name(self) -> str:
        """What messages call the database; without secrets."""
        return self._database.name

    @property
    def is_shared(self) -> bool:
        """Whether other processes can use it: not in memory."""
        return self._database.is_shared

    @property
    def failures(self) -> int:
        """How many writes have failed."""
        return self._database.failures

    async def drained(self) -> None:
        """Wait until every write that was asked for is committed, or has failed."""
        await self._database.drained()

    async def close(self) -> None:
        """Write what waits, and close the database. Whoever asks for anything after that gets a `UsageError`."""
        self._overdue.close()
        await self._database.close()

    def sweep(self, now: datetime, *, abandoned: timedelta = KEPT_ABANDONED) -> Future[int]:
        """Delete what nobody needs any more: callbacks given up that long ago, and idempotency keys that have expired.

        Returns:
            Gets how many rows went.
        """
        old = (
            delete(outbox).where(outbox.c.abandoned <= now - abandoned),
            delete(idempotency).where(idempotency.c.expires <= now),
        )

        def job(connection: Connection) -> int:
            return sum(connection.execute(statement).rowcount for statement in old)

        return self._database.write("the sweep of old rows", job)

    async def keep_swept(self, now: Callable[[], datetime]) -> None:
        """`sweep` at once and every hour, until this is cancelled.

        Args:
            now: The wall clock, with a time zone.
        """
        while True:
            try:
                gone = await self.sweep(now())
            except StoreError:
                pass  # it is logged and counted, and the next hour's turn comes
            else:
                logger.debug("%d old rows are deleted", gone)
            await asyncio.sleep(SWEEP_SECONDS)


def _opened(place: Place) -> Engine:
    engine = connect(place, READERS + 1)
    try:
        prepare(engine, place)
    except BaseException:
        engine.dispose()
        raise
    return engine
