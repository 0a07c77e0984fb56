"""The records of recordings. Their files are the carrier's own matter."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import begins, bounds, kept_for, page, window
from bothway.carrier.store.outbox import Outbox
from bothway.carrier.store.records import MAX_PAGE, OutboxItem, Page, RecordingFilter, RecordingRecord
from bothway.carrier.store.tables import record, recordings, upsert

__all__ = ["EVERYTHING", "Recordings"]

EVERYTHING = RecordingFilter()
"""No conditions."""


class Recordings:
    """Complete recordings.

    Args:
        database: Where they are.
        outbox: Where their callbacks go.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def save(self, recording: RecordingRecord, callbacks: Sequence[OutboxItem] = ()) -> Future[None]:
        """Write the whole record, whether or not it is there, and put its callbacks into the outbox with it.

        Raises as `Calls.save` does.
        """
        what = f"recording {recording.recording_id}"
        return self._outbox.write_with(what, lambda c: upsert(c, recordings, recording), callbacks)

    async def get(self, recording_id: str) -> RecordingRecord | None:
        """A recording, or None."""
        wanted = select(recordings).where(recordings.c.recording_id == recording_id)

        def job(connection: Connection) -> RecordingRecord | None:
            row = connection.execute(wanted).mappings().first()
            return record(RecordingRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(
        self,
        account: str,
        wanted: RecordingFilter = EVERYTHING,
        *,
        now: datetime,
        limit: int = MAX_PAGE,
        offset: int = 0,
    ) -> Page[RecordingRecord]:
        """Recordings of an account, those added last first.

        Args:
            account: The main account's auth id.
            wanted: Which of them.
            now: Where the window of time ends that holds without bounds of its own, and what storage counts until.
            limit: How many at most.
            offset: How many are left out before them.
        """
        exact = (
            (recordings.c.sub_account, wanted.sub_account),
            (recordings.c.call_uuid, wanted.call_uuid),
            (recordings.c.conference_name, wanted.conference_name),
            (recordings.c.conference_uuid, wanted.conference_uuid),
        )
        if wanted.storage_duration:
            times = (*wanted.add_time, *kept_for(wanted.storage_duration, now))
        else:
            times = window(wanted.add_time, now)
        conditions = [
            recordings.c.account == account,
            *(column == value for column, value in exact if value is not None),
            *begins(recordings.c.from_number, wanted.from_number),
            *begins(recordings.c.to_number, wanted.to_number),
            *bounds(recordings.c.add_time, times),
        ]
        order = (recordings.c.add_time.desc(), recordings.c.recording_id)
        return await self._database.read(
            lambda c: page(c, recordings, RecordingRecord, conditions, order, limit, offset)
        )

    def delete(self, recording_id: str) -> Future[bool]:
        """Forget a recording; the future tells whether it was there."""
        gone = delete(recordings).where(recordings.c.recording_id == recording_id)
        return self._database.write(f"recording {recording_id}", lambda c: c.execute(gone).rowcount > 0)

    async def expired(self, before: datetime, limit: int = 100) -> tuple[RecordingRecord, ...]:
        """Recordings of any account that were added before a moment, the oldest first.

        Whoever enforces a retention time deletes the file first and the record after it: then a crash between the two
        leaves nothing that nobody knows of.
        """
        old = (
            select(recordings)
            .where(recordings.c.add_time < before)
            .order_by(recordings.c.add_time, recordings.c.recording_id)
            .limit(limit)
        )
        return await self._database.read(
            lambda c: tuple(record(RecordingRecord, row) for row in c.execute(old).mappings())
        )
