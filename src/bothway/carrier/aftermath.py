"""What is done for carriers that are gone: their calls are closed, and what they owe is put into the outbox.

At a start that is what the data folder's own carriers have left; while a carrier runs, what others have left whose
lease in a shared database has run out. One that only seems to be gone is left alone: of the same folder one knows by
its lock, and one that has said meanwhile that it is alive has taken its calls with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from bothway.carrier.call_books import closed_callbacks, cut_callbacks
from bothway.carrier.config import Account
from bothway.carrier.node import Node
from bothway.carrier.node_slot import NodeSlot, StartTurn
from bothway.carrier.recording_upkeep import file_recordings, unfinished_recordings
from bothway.carrier.recordings import UnfinishedRecording
from bothway.carrier.recovery import recover
from bothway.carrier.store.delivery import Delivery
from bothway.carrier.store.records import Closed, OutboxItem, StoreError
from bothway.errors import UsageError

__all__ = ["Aftermath"]

logger = logging.getLogger(__name__)


class Aftermath:
    """Accounts for carriers that are gone.

    Args:
        node: Does it.
        slot: Its number, and which others of its folder run.
        accounts: Those of the configuration: they have time zones.
    """

    def __init__(self, node: Node, slot: NodeSlot, accounts: Sequence[Account]) -> None:
        self._node = node
        self._slot = slot
        self._zones = {account.auth_id: account.zone for account in accounts}

    async def begin(self, delivery: Delivery) -> set[str]:
        """Begin to deliver, and account for whoever is gone by now, but for recordings. Gives the names of the nodes.

        Raises:
            StoreError: The database cannot be used.
        """
        lapsed = await delivery.start()
        dead = {*self._slot.dead, *(name for name in lapsed if not self._slot.runs(name))}
        await self._close_calls(dead)
        return dead

    def nodes_died(self, names: Collection[str]) -> None:
        """The leases of these nodes have run out: account for those that are gone indeed."""
        self._node.tasks.spawn(self._account_for(names), "accounts of nodes that are gone")

    async def _account_for(self, names: Collection[str]) -> None:
        try:
            left = await self._take(names)
        except (OSError, StoreError, UsageError) as error:
            logger.warning("the calls of nodes %s are left open until they start: %s", ", ".join(names), error)
            return
        await file_recordings(self._node.recordings, left)

    async def _take(self, names: Collection[str]) -> list[UnfinishedRecording]:
        """Close their calls, in a turn of their own: nobody takes one of their numbers meanwhile."""
        folder = self._node.folder
        turn = await asyncio.to_thread(StartTurn.take, folder) if folder is not None else StartTurn()
        try:
            alive = await self._node.store.nodes.others(_now())
            dead = {name for name in names if name not in alive and not self._slot.runs(name)}
            await self._close_calls(dead)
            if folder is None:
                return []
            for call_id in await asyncio.to_thread(recover, folder):
                logger.warning("call %s was live when its carrier was killed: its log says so now", call_id)
            return await asyncio.to_thread(unfinished_recordings, self._node.recordings.root, dead)
        finally:
            turn.end()

    async def _close_calls(self, dead: Collection[str]) -> None:
        for closed in await self._node.store.calls.close_abandoned(_now(), dead=dead, callbacks=self._owed):
            logger.warning("call %s was live when its carrier was killed: it is closed", closed.call.call_uuid)

    def _owed(self, closed: Closed) -> list[OutboxItem]:
        """The streams' callbacks first, as with a call that ends by itself."""
        call = closed.call
        auth_id = call.sub_account or call.account
        cut = cut_callbacks(closed, auth_id, "documented" if self._node.profile.documented_callbacks else "live")
        return [*cut, *closed_callbacks(call, auth_id, self._zones.get(call.account, UTC))]


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
