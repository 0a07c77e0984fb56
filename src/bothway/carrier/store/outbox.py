"""The outbox: callbacks that are on disk before they are sent, and until they were."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from msgspec.structs import asdict, replace
from sqlalchemy import Connection, delete, func, select, update

from bothway.carrier.store.database import Database, Job
from bothway.carrier.store.records import OutboxItem
from bothway.carrier.store.tables import insert, nodes, outbox, record

__all__ = ["MAX_ERROR", "OnCommitted", "Outbox"]

MAX_ERROR = 500
"""Characters of an error that are kept with an item."""

OnCommitted: TypeAlias = Callable[[Sequence[OutboxItem]], None]
"""Told, on the event loop and in the order of commits, which items have been put."""


class Outbox:
    """The rows. A `Delivery` sends them; without one they wait.

    Args:
        database: Where they are.
        node: Which node they are of.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._listener: OnCommitted | None = None

    def put(self, *items: OutboxItem) -> Future[None]:
        """Put callbacks; once the future is done nothing short of a lost disk keeps them from being tried.

        One whose key is there already, and waits, is left out. Raises as `Calls.save` does.
        """
        return self.write_with(f"{len(items)} callbacks of call {items[0].call_uuid}" if items else "", None, items)

    def write_with(self, what: str, job: Job[None] | None, items: Sequence[OutboxItem]) -> Future[None]:
        """Have `job` run, and put callbacks, in one transaction.

        Args:
            what: What is written, for an error's text.
            job: Writes something besides.
            items: The callbacks.
        """
        put: list[OutboxItem] = []

        def both(connection: Connection) -> None:
            if job is not None:
                job(connection)
            put[:] = self.insert(connection, items)

        return self._database.write(what, both, (lambda _: self.committed(put)) if items else None)

    def insert(self, connection: Connection, items: Sequence[OutboxItem]) -> tuple[OutboxItem, ...]:
        """Within a transaction that somebody else has begun: put callbacks, and give those that are new."""
        return tuple(item for item in (self._insert(connection, item) for item in items) if item is not None)

    def committed(self, items: Sequence[OutboxItem]) -> None:
        """The transaction of `insert` is committed."""
        if self._listener is not None and items:
            self._listener(items)

    def listen(self, listener: OnCommitted | None) -> None:
        """Have `listener` hear of what is put from now on; None for nobody."""
        self._listener = listener

    async def waiting(self, call_uuid: str | None = None) -> int:
        """How many callbacks are to be sent yet, by any node: of a call, or in all."""
        chosen = select(func.count()).select_from(outbox).where(outbox.c.abandoned.is_(None))
        if call_uuid is not None:
            chosen = chosen.where(outbox.c.call_uuid == call_uuid)
        return await self._database.read(lambda c: c.execute(chosen).scalar_one())

    async def abandoned(self, limit: int = 100) -> tuple[OutboxItem, ...]:
        """Those that were given up, the last first."""
        chosen = select(outbox).where(outbox.c.abandoned.is_not(None)).order_by(outbox.c.seq.desc()).limit(limit)
        return await self._database.read(
            lambda c: tuple(record(OutboxItem, row) for row in c.execute(chosen).mappings())
        )

    # --- for a Delivery -----------------------------------------------------------------------------------------------

    def page(self, after: int, limit: int, then: OnCommitted) -> Future[Sequence[OutboxItem]]:
        """This node's items beyond a place, in order, as they are between two writes; `then` hears of them in turn."""
        chosen = (
            select(outbox)
            .where(outbox.c.node == self._node, outbox.c.seq > after, outbox.c.abandoned.is_(None))
            .order_by(outbox.c.seq)
            .limit(limit)
        )

        def job(connection: Connection) -> Sequence[OutboxItem]:
            return tuple(record(OutboxItem, row) for row in connection.execute(chosen).mappings())

        return self._database.write("a look into the outbox", job, then)

    def take_over(self, now: datetime) -> Future[tuple[str, ...]]:
        """Make this node's own what nodes whose lease has run out have left; the future gets those nodes.

        Of two nodes that see it at once, one gets all of it: the order of a call's callbacks is kept.
        """

        def job(connection: Connection) -> tuple[str, ...]:
            dead = (nodes.c.lease_until <= now) & (nodes.c.node != self._node)
            names = connection.execute(select(nodes.c.node).where(dead).order_by(nodes.c.node)).scalars().all()
            won = [
                name for name in names if connection.execute(delete(nodes).where(dead, nodes.c.node == name)).rowcount
            ]
            if won:
                connection.execute(update(outbox).where(outbox.c.node.in_(won)).values(node=self._node))
            return tuple(won)

        return self._database.write("what other nodes have left", job)

    def done(self, item: OutboxItem) -> Future[None]:
        """It has been sent."""
        gone = delete(outbox).where(outbox.c.seq == item.seq)
        return self._change(item, lambda c: c.execute(gone))

    def changed(self, item: OutboxItem) -> Future[None]:
        """It has been tried in vain, or given up: keep its `attempts`, `due`, `abandoned` and `error`."""
        values = {
            "attempts": item.attempts,
            "due": item.due,
            "abandoned": item.abandoned,
            "error": item.error[:MAX_ERROR],
        }
        change = update(outbox).where(outbox.c.seq == item.seq).values(values)
        return self._change(item, lambda c: c.execute(change))

    def _change(self, item: OutboxItem, execute: Callable[[Connection], object]) -> Future[None]:
        def job(connection: Connection) -> None:
            execute(connection)

        return self._database.write(f"the state of the {item.kind} callback of call {item.call_uuid}", job)

    def _insert(self, connection: Connection, item: OutboxItem) -> OutboxItem | None:
        values = asdict(item) | {"node": self._node}
        del values["seq"]
        new = insert(connection, outbox).values(values).on_conflict_do_nothing(index_elements=["key"])
        seq = connection.execute(new.returning(outbox.c.seq)).scalar()
        return replace(item, seq=seq, node=self._node) if seq is not None else None
