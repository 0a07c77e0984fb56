"""The calls of one node: those that come in, those that the carrier places, and who is asked for a call by its id."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from bothway.carrier.call_books import closed_callbacks, closed_record
from bothway.carrier.call_order import CallOrder, CallWatcher, Party
from bothway.carrier.conferences import Conferences
from bothway.carrier.config import Account
from bothway.carrier.leg import CalledLeg, Leg, Summons
from bothway.carrier.lines import Lines
from bothway.carrier.live_call import LiveCall
from bothway.carrier.node import Node
from bothway.carrier.recovery import LiveCalls
from bothway.carrier.store.records import CallRecord
from bothway.core.execution import cause
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause

__all__ = ["Switchboard"]

logger = logging.getLogger(__name__)


class Switchboard:
    """It is the `CallOwner` of the node's calls.

    Args:
        node: What all calls share.
        live: Where the calls that live are noted on disk, if anywhere.
        lines: Says how destinations are reached.

    Attributes:
        lines: As given.
        conferences: Those that its calls are in.
        calls: The calls that live, or whose last callbacks are still being delivered, by id.
    """

    def __init__(self, node: Node, live: LiveCalls | None, lines: Lines) -> None:
        self._node = node
        self.lines = lines
        self.conferences = Conferences(node)
        self._live = live
        self.calls: dict[str, LiveCall] = {}
        self._closed = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def place(self, leg: Leg, party: Party, order: CallOrder, account: Account) -> LiveCall:
        """A call of `leg` comes in.

        Raises:
            UsageError: The carrier takes no more calls.
        """
        call = self._add(leg, party, order, account, self._node.ids.uuid(), None)
        call.start()
        return call

    def dial(
        self,
        leg: CalledLeg,
        summons: Summons,
        party: Party,
        order: CallOrder,
        account: Account,
        *,
        call_id: str = "",
        watcher: CallWatcher | None = None,
    ) -> LiveCall:
        """Place a call to the party of `leg`.

        Args:
            leg: Not yet attached to a call.
            summons: How its party is called up.
            party: Who calls whom.
            order: Of an outbound call. Without an answer URL it waits for whoever had it dialled.
            account: Whose call it is.
            call_id: Its UUID; a new one by default.
            watcher: Who wants to know how it does.

        Raises:
            UsageError: The carrier places no more calls.
        """
        call = self._add(leg, party, order, account, call_id or self._node.ids.uuid(), watcher)
        call.ring(leg, summons)
        return call

    def call_ended(self, call: LiveCall) -> None:
        """A call is over and accounted for."""
        self.calls.pop(call.call_id, None)
        if self._live is not None:
            self._live.remove(call.call_id)
        if not self.calls:
            self._all_gone.set()

    def never_placed(self, record: CallRecord, account: Account, end_cause: HangupCause, detail: str) -> None:
        """A call that was asked for could not be placed: it has its record and its callback all the same."""
        logger.info("call %s was not placed: %s", record.call_uuid, detail)
        now = datetime.fromtimestamp(time.time(), UTC)
        ended = closed_record(record, end_cause, now)
        self._node.store.calls.save(ended, closed_callbacks(ended, account.auth_id, account.zone))

    async def close(self, grace: float) -> None:
        """Take and place no more calls, let the live ones end within `grace` seconds, and end the others."""
        self._closed = True
        if grace and self.calls:
            await self._wait_for_calls(grace)
        for call in list(self.calls.values()):
            call.hangup(cause(5010, "Plivo"), "the carrier was stopped")
        await self._wait_for_calls(10.0)

    def _add(
        self,
        leg: Leg,
        party: Party,
        order: CallOrder,
        account: Account,
        call_id: str,
        watcher: CallWatcher | None,
    ) -> LiveCall:
        if self._closed:
            raise UsageError("this carrier takes no calls: it is being stopped")
        call = LiveCall(self._node, self, leg, party, order, account, call_id=call_id, watcher=watcher)
        self.calls[call_id] = call
        self._all_gone.clear()
        if self._live is not None:
            self._live.add(call_id)
        return call

    async def _wait_for_calls(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._all_gone.wait()
        except TimeoutError:
            logger.warning("%d calls still live after %.1f s", len(self.calls), seconds)
