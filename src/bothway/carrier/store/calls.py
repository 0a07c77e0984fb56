"""The records of calls."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, select

from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import begins, beside, bounds, page, window
from bothway.carrier.store.outbox import Outbox
from bothway.carrier.store.overdue import Overdue
from bothway.carrier.store.records import (
    MAX_PAGE,
    CallFilter,
    CallRecord,
    CallState,
    Closed,
    Comparison,
    OutboxItem,
    Page,
    StreamRecord,
)
from bothway.carrier.store.tables import calls, record, streams, upsert
from bothway.wire.hangup import HangupCause

__all__ = ["EVERYTHING", "Calls", "OnClosed"]

EVERYTHING = CallFilter()
"""No conditions."""

OnClosed: TypeAlias = Callable[[Closed], Iterable[OutboxItem]]
"""Says which callbacks a call is owed that has been closed. It runs on the thread that writes, maybe twice."""

_KILLED = HangupCause.of(5010, "Error")


class Calls:
    """Calls, live and ended.

    Args:
        database: Where they are.
        outbox: Where their callbacks go.
        overdue: Sees to it that they end.
    """

    def __init__(self, database: Database, outbox: Outbox, overdue: Overdue) -> None:
        self._database = database
        self._outbox = outbox
        self._overdue = overdue

    def save(self, call: CallRecord, callbacks: Sequence[OutboxItem] = ()) -> Future[None]:
        """Write the whole record, whether or not it is there, and put its callbacks into the outbox with it.

        A call that has ended stays so: what is saved after that without an `end_time` changes nothing. Its end is
        tried again later if it cannot be written now, without the callbacks.

        Raises:
            UsageError: The store is closed. From the future: a time has no time zone, a price too many decimals.
        """
        what = f"call {call.call_uuid}"

        def job(connection: Connection) -> None:
            upsert(connection, calls, call)

        written = self._outbox.write_with(what, job, callbacks)
        return self._overdue.insist(what, job, written) if call.end_time is not None else written

    def queue(self, queued: Sequence[CallRecord]) -> Future[None]:
        """Write calls that are to be placed: all of them or none. Raises as `save` does."""

        def job(connection: Connection) -> None:
            for call in queued:
                upsert(connection, calls, call)

        return self._database.write(f"{len(queued)} queued calls", job)

    async def get(self, call_uuid: str) -> CallRecord | None:
        """A call, live or ended, or None."""

        def job(connection: Connection) -> CallRecord | None:
            row = connection.execute(select(calls).where(calls.c.call_uuid == call_uuid)).mappings().first()
            return record(CallRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(
        self, account: str, wanted: CallFilter = EVERYTHING, *, now: datetime, limit: int = MAX_PAGE, offset: int = 0
    ) -> Page[CallRecord]:
        """Ended calls of an account, those that ended last first.

        Args:
            account: The main account's auth id.
            wanted: Which of them.
            now: Where the window of time ends that holds without bounds of its own.
            limit: How many at most.
            offset: How many are left out before them.
        """
        ended = beside(calls.c.end_time, wanted.from_number, wanted.to_number)
        conditions = [
            calls.c.account == account,
            *_conditions(wanted),
            *bounds(ended, window(wanted.end_time, now)),
        ]
        order = (ended.desc(), calls.c.call_uuid)
        return await self._database.read(lambda c: page(c, calls, CallRecord, conditions, order, limit, offset))

    async def live(
        self,
        account: str,
        *,
        states: Collection[CallState] = ("ringing", "in-progress"),
        wanted: CallFilter = EVERYTHING,
        limit: int = MAX_PAGE,
        offset: int = 0,
    ) -> Page[CallRecord]:
        """Calls of an account that have not ended, on whatever node, those asked for last first.

        Args:
            account: The main account's auth id.
            states: Which; `("queued",)` for those that have not begun.
            wanted: Which of them; bounds on `end_time` do not matter.
            limit: How many at most.
            offset: How many are left out before them.
        """
        conditions = [
            calls.c.account == account,
            calls.c.end_time.is_(None),
            calls.c.state.in_(sorted(states)),
            *_conditions(wanted),
        ]
        order = (calls.c.initiation_time.desc(), calls.c.call_uuid)
        return await self._database.read(lambda c: page(c, calls, CallRecord, conditions, order, limit, offset))

    def close_abandoned(
        self,
        now: datetime,
        *,
        dead: Collection[str] | None = None,
        live: Collection[str] = (),
        callbacks: OnClosed | None = None,
    ) -> Future[tuple[Closed, ...]]:
        """Close the calls that live on nodes that are gone, with code 5010 and source Error, and their streams.

        Nobody knows when such a call really ended: what was not counted by then is not billed. All of it, and what
        `callbacks` says, is one transaction: a crash leaves a call open, or closed with its callbacks in the outbox.

        Args:
            now: When they ended.
            dead: On which nodes; None for every node that is not in `live`.
            live: The nodes that are not gone.
            callbacks: Which callbacks a closed call is owed.

        Returns:
            Gets what was closed, the oldest call first.
        """
        gone = calls.c.node.in_(sorted(dead)) if dead is not None else calls.c.node.not_in(sorted(live))
        put: deque[OutboxItem] = deque()

        def job(connection: Connection) -> tuple[Closed, ...]:
            closed = _close(connection, gone, now)
            owed = [item for one in closed for item in callbacks(one)] if callbacks is not None else []
            put.clear()
            put.extend(self._outbox.insert(connection, owed))
            return closed

        return self._database.write("the end of calls whose node is gone", job, lambda _: self._outbox.committed(put))


def _conditions(wanted: CallFilter) -> list[ColumnElement[bool]]:
    """Of a filter, without its bounds on time."""
    code = wanted.hangup_cause_code
    exact = (
        (calls.c.sub_account, wanted.sub_account),
        (calls.c.direction, wanted.direction),
        (calls.c.parent_call_uuid, wanted.parent_call_uuid),
        (calls.c.hangup_source, wanted.hangup_source),
    )
    return [
        *(column == value for column, value in exact if value is not None),
        *begins(calls.c.from_number, wanted.from_number),
        *begins(calls.c.to_number, wanted.to_number),
        *bounds(calls.c.bill_duration, wanted.bill_duration),
        *(bounds(calls.c.hangup_cause_code, [Comparison("eq", code)]) if code is not None else ()),
    ]


def _close(connection: Connection, gone: ColumnElement[bool], now: datetime) -> tuple[Closed, ...]:
    is_open = calls.c.end_time.is_(None) & gone
    found = connection.execute(select(calls).where(is_open).order_by(calls.c.initiation_time, calls.c.call_uuid))
    return tuple(_closed(connection, record(CallRecord, row), now) for row in found.mappings().all())


def _closed(connection: Connection, call: CallRecord, now: datetime) -> Closed:
    ended = replace(
        call,
        state="completed" if call.answer_time is not None else "failed",
        end_time=max(now, call.initiation_time),
        hangup_cause_code=_KILLED.code,
        hangup_cause_name=_KILLED.name,
        hangup_source=_KILLED.source,
        hangup_cause=_KILLED.cause,
    )
    upsert(connection, calls, ended)
    is_open = (streams.c.call_uuid == call.call_uuid) & streams.c.end_time.is_(None)
    rows = connection.execute(select(streams).where(is_open).order_by(streams.c.created_at, streams.c.stream_id))
    cut = tuple(
        replace(record(StreamRecord, row), status="failed", end_time=ended.end_time) for row in rows.mappings().all()
    )
    for stream in cut:
        upsert(connection, streams, stream)
    return Closed(ended, cut)
