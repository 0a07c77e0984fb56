"""Which nodes share the database and are alive: each has a lease, which it renews."""

from __future__ import annotations

from asyncio import Future
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from bothway.carrier.store.database import Database
from bothway.carrier.store.tables import insert, nodes

__all__ = ["Nodes"]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Nodes:
    """The nodes of this database.

    Args:
        database: Where they are.
        node: This one: a text that no other process has, and that this one has again after a restart.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self.node = node

    def renew(self, until: datetime) -> Future[None]:
        """This node is alive, until it says so again or that moment comes."""

        def job(connection: Connection) -> None:
            new = insert(connection, nodes).values(node=self.node, lease_until=until)
            later = {"lease_until": new.excluded.lease_until}
            connection.execute(new.on_conflict_do_update(index_elements=["node"], set_=later))

        return self._database.write(f"the lease of node {self.node}", job)

    def leave(self) -> Future[None]:
        """This node is going: others may take up what it leaves at once."""
        gone = update(nodes).where(nodes.c.node == self.node).values(lease_until=_LONG_AGO)

        def job(connection: Connection) -> None:
            connection.execute(gone)

        return self._database.write(f"the lease of node {self.node}", job)

    async def others(self, now: datetime) -> frozenset[str]:
        """The other nodes that are alive."""
        alive = select(nodes.c.node).where(nodes.c.lease_until > now, nodes.c.node != self.node)
        return await self._database.read(lambda c: frozenset(c.execute(alive).scalars()))
