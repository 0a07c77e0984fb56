"""The records of streams."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence

from sqlalchemy import Connection, select

from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import page
from bothway.carrier.store.outbox import Outbox
from bothway.carrier.store.overdue import Overdue
from bothway.carrier.store.records import MAX_PAGE, OutboxItem, Page, StreamRecord
from bothway.carrier.store.tables import record, streams, upsert

__all__ = ["Streams"]


class Streams:
    """Streams, open and ended.

    Args:
        database: Where they are.
        outbox: Where their callbacks go.
        overdue: Sees to it that they end.
    """

    def __init__(self, database: Database, outbox: Outbox, overdue: Overdue) -> None:
        self._database = database
        self._outbox = outbox
        self._overdue = overdue

    def save(self, stream: StreamRecord, callbacks: Sequence[OutboxItem] = ()) -> Future[None]:
        """Write the whole record, whether or not it is there, and put its callbacks into the outbox with it.

        A stream that has ended stays so, as a call does. Raises as `Calls.save` does.
        """
        what = f"stream {stream.stream_id}"

        def job(connection: Connection) -> None:
            upsert(connection, streams, stream)

        written = self._outbox.write_with(what, job, callbacks)
        return self._overdue.insist(what, job, written) if stream.end_time is not None else written

    async def get(self, stream_id: str) -> StreamRecord | None:
        """A stream, open or ended, or None."""

        def job(connection: Connection) -> StreamRecord | None:
            row = connection.execute(select(streams).where(streams.c.stream_id == stream_id)).mappings().first()
            return record(StreamRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(self, call_uuid: str, *, limit: int = MAX_PAGE, offset: int = 0) -> Page[StreamRecord]:
        """The streams of a call, those asked for last first."""
        conditions = [streams.c.call_uuid == call_uuid]
        order = (streams.c.created_at.desc(), streams.c.stream_id)
        return await self._database.read(lambda c: page(c, streams, StreamRecord, conditions, order, limit, offset))
