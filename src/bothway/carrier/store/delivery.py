"""Delivery: sends what is in the outbox, at least once, in order, and again after whatever went wrong.

Callbacks of one call to one server are a lane: each waits for the one before it. Lanes do not wait for each other, and
one server has no more than its share of what is under way and of memory: so a dead status URL holds up nothing but
itself. Two servers could not tell their order anyhow.

What is put is sent from memory; the database is read only after a start, after a node has died, and after memory was
full. Losing a node loses nothing: its lease runs out, and another takes over all that it had left.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, TimerHandle
from bisect import insort
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec.structs import replace

from bothway.carrier.store.records import OutboxItem, StoreError
from bothway.carrier.store.store import Store
from bothway.errors import BothwayError
from bothway.runtime.http import redacted, server_of
from bothway.runtime.tasks import Tasks

__all__ = ["DELIVERY", "Attempt", "Delivery", "DeliveryPlan", "OnAttempt", "OnDead", "Send"]

Send: TypeAlias = Callable[[OutboxItem], Awaitable[object]]
"""Signs and sends one callback. It returns when there is nothing left to do: the callback was taken, or refused for
good. It raises a `BothwayError` when it should be tried again."""


@dataclass(frozen=True)
class Attempt:
    """One try.

    Attributes:
        item: What was sent; `attempts` counts this one.
        error: Why it was in vain; nothing if it was not.
        abandoned: Whether it was the last one all the same.
    """

    item: OutboxItem
    error: str = ""
    abandoned: bool = False


OnAttempt: TypeAlias = Callable[[Attempt], None]
"""Told of every try, on the event loop: for counters, and for a call's log."""

OnDead: TypeAlias = Callable[[tuple[str, ...]], None]
"""Told which nodes are gone, once: by the one node that takes over. Their calls are to be closed."""


@dataclass(frozen=True)
class DeliveryPlan:
    """How callbacks are delivered.

    Attributes:
        backoff_s: How long to wait after the first failure, the second …; the last of them from then on.
        give_up_s: How old a callback becomes before it is given up.
        send_s: How long one try may take, whatever the sender thinks.
        at_once: How many are sent side by side.
        to_one: How many of these go to one server.
        lease_s: After which silence a node counts as dead.
        held: How many wait in memory; others wait in the database.
        held_of_one: How many of these go to one server.
    """

    backoff_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 600.0)
    give_up_s: float = 24 * 3600.0
    send_s: float = 120.0
    at_once: int = 64
    to_one: int = 16
    lease_s: float = 30.0
    held: int = 10_000
    held_of_one: int = 500


DELIVERY = DeliveryPlan()
"""What a carrier does by default."""

_PAGE = 500
_READ_AGAIN_S = 5.0

logger = logging.getLogger(__name__)


@dataclass
class _Lane:
    server: str
    items: list[OutboxItem] = field(default_factory=list)
    is_taken: bool = False  # it is being sent, or its turn has come
    timer: TimerHandle | None = None


class Delivery:
    """Sends the callbacks of one node.

    Args:
        store: Has them.
        send: Sends one.
        now: The wall clock, with a time zone.
        on_attempt: Told of every try.
        on_dead: Told of nodes that are gone, once `start` has returned.
        plan: How.
    """

    def __init__(
        self,
        store: Store,
        send: Send,
        *,
        now: Callable[[], datetime],
        on_attempt: OnAttempt | None = None,
        on_dead: OnDead | None = None,
        plan: DeliveryPlan = DELIVERY,
    ) -> None:
        self._store = store
        self._send = send
        self._now = now
        self._on_attempt = on_attempt
        self._on_dead = on_dead
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._lanes: dict[str, _Lane] = {}
        self._held: set[int] = set()
        self._ready: deque[str] = deque()
        self._parked: dict[str, deque[str]] = {}  # lanes whose turn has come, and whose server has its share
        self._sending = 0
        self._sending_to: Counter[str] = Counter()
        self._held_of: Counter[str] = Counter()
        self._left: set[str] = set()  # servers of which something waits in the database alone
        self._untried: dict[str, int] = {}
        self._watchers: dict[str, list[Future[None]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        # What memory has no room for is read when it has; and until all of that is read, what is put waits there too.
        self._is_behind = True
        self._is_reading = False
        self._reads_again = False
        self._done_meanwhile: set[int] = set()  # while a page is read, which may still have them
        self._cursor = 0
        self._retry: TimerHandle | None = None
        self._closed = False

    async def start(self) -> tuple[str, ...]:
        """Begin: with what this node left when it last ran, and with what dead nodes have left.

        Call it before `Calls.close_abandoned`, so that what that puts comes after what is there.

        Returns:
            The nodes that were taken over, for `close_abandoned`.

        Raises:
            StoreError: The database cannot be used.
        """
        await self._renew()
        dead = await self._store.outbox.take_over(self._now())
        self._store.outbox.listen(self._put)
        self._read()
        if self._store.is_shared:
            self._tasks.spawn(self._keep_alive(), "outbox-lease")
        return dead

    async def tried(self, call_uuid: str, seconds: float) -> bool:
        """Wait until every callback of a call that was put by now has been tried once; False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._store.drained()
                while self._untried.get(call_uuid):
                    watcher: Future[None] = self._loop.create_future()
                    self._watchers.setdefault(call_uuid, []).append(watcher)
                    await watcher
        except TimeoutError:
            return False
        return True

    async def close(self, grace: float = 0.0) -> None:
        """Send nothing more; what was not sent waits in the outbox for another start, or another node.

        Args:
            grace: How long what can be sent now may take, in seconds.
        """
        if self._closed:
            return
        if grace:
            await self._finish(grace)
        self._closed = True
        self._store.outbox.listen(None)
        for timer in (self._retry, *(lane.timer for lane in self._lanes.values())):
            if timer is not None:
                timer.cancel()
        await self._tasks.close(5.0)
        try:
            await self._store.nodes.leave()
        except StoreError as error:
            logger.warning("other nodes wait for the lease of node %s to run out: %s", self._store.node, error)

    async def _finish(self, grace: float) -> None:
        try:
            async with asyncio.timeout(grace):
                await self._store.drained()
                await self._idle.wait()
        except TimeoutError:
            logger.warning("callbacks are still being sent after %.1f s: they wait in the outbox", grace)

    # --- what is to be sent -------------------------------------------------------------------------------------------

    def _put(self, items: Sequence[OutboxItem]) -> None:
        """Items have been committed."""
        for item in items:
            if self._is_behind:
                continue
            if len(self._held) >= self._plan.held:
                self._is_behind = True
                self._cursor = item.seq - 1
                continue
            self._add(item)
        self._pump()

    def _read(self) -> None:
        """Read a page of what waits in the database alone."""
        if self._is_reading or self._closed:
            return
        self._is_reading = True
        room = max(1, min(_PAGE, self._plan.held - len(self._held)))
        reading = self._store.outbox.page(self._cursor, room, lambda items: self._have_read(items, room))
        reading.add_done_callback(self._could_not_read)

    def _have_read(self, items: Sequence[OutboxItem], room: int) -> None:
        """Between two writes: whatever is put after this is told to `_put` after this."""
        self._is_reading = False
        if self._reads_again:
            self._reads_again = False
            self._cursor = 0  # what is before these comes before them
        else:
            for item in items:
                self._cursor = item.seq
                if item.seq not in self._held and item.seq not in self._done_meanwhile:
                    self._add(item)
            self._is_behind = len(items) == room
        self._done_meanwhile.clear()
        self._read_on()
        self._pump()

    def _read_all(self) -> None:
        """Read all that waits once more, from its beginning."""
        self._is_behind = True
        if self._is_reading:
            self._reads_again = True
        else:
            self._cursor = 0
            self._read()

    def _could_not_read(self, future: Future[Sequence[OutboxItem]]) -> None:
        if future.exception() is not None and not self._closed:
            self._is_reading = False
            self._retry = self._loop.call_later(_READ_AGAIN_S, self._read)

    def _read_on(self) -> None:
        if self._is_behind and len(self._held) <= self._plan.held // 2:
            self._read()

    def _add(self, item: OutboxItem) -> None:
        server = server_of(item.url)
        if server in self._left or self._held_of[server] >= self._plan.held_of_one:
            self._left.add(server)  # whatever comes after it for this server waits there too: it has its place
            return
        self._held.add(item.seq)
        self._held_of[server] += 1
        if not item.attempts:
            self._untried[item.call_uuid] = self._untried.get(item.call_uuid, 0) + 1
        key = f"{item.call_uuid} {server}"
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(server)
        insort(lane.items, item, key=lambda one: one.seq)
        self._schedule(key, lane)

    def _schedule(self, key: str, lane: _Lane) -> None:
        """The lane's first item is sent when it is due."""
        if lane.is_taken or lane.timer is not None:
            return
        due = lane.items[0].due
        wait = (due - self._now()).total_seconds() if due is not None else 0.0
        if wait > 0:
            lane.timer = self._loop.call_later(wait, self._is_due, key, lane)
        else:
            lane.is_taken = True
            self._ready.append(key)
            self._idle.clear()

    def _is_due(self, key: str, lane: _Lane) -> None:
        lane.timer = None
        lane.is_taken = True
        self._ready.append(key)
        self._pump()

    # --- sending ------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        while self._ready and self._sending < self._plan.at_once and not self._closed:
            key = self._ready.popleft()
            lane = self._lanes[key]
            if self._sending_to[lane.server] >= self._plan.to_one:
                self._parked.setdefault(lane.server, deque()).append(key)
                continue
            self._sending += 1
            self._sending_to[lane.server] += 1
            self._idle.clear()
            self._tasks.spawn(self._try(key, lane, lane.items.pop(0)), "outbox-send")
        if not self._sending and not self._ready:
            self._idle.set()
        self._read_on()

    async def _try(self, key: str, lane: _Lane, item: OutboxItem) -> None:
        error = ""
        try:
            async with asyncio.timeout(self._plan.send_s):
                await self._send(item)
        except BothwayError as failure:
            error = str(failure) or type(failure).__name__
        except TimeoutError:
            error = f"it was not done within {self._plan.send_s:g} s"
        except Exception as failure:
            # A bug of the sender must not lose a callback, nor hold up those of other calls.
            logger.exception("the sender of callbacks failed")
            error = f"the sender failed: {type(failure).__name__}"
        finally:
            self._sent(lane)
        self._tried(replace(item, attempts=item.attempts + 1), lane, error)
        if lane.items:
            self._schedule(key, lane)
        else:
            del self._lanes[key]
        self._pump()

    def _sent(self, lane: _Lane) -> None:
        """Somebody else's turn, at this server and in all."""
        lane.is_taken = False
        self._sending -= 1
        _count_down(self._sending_to, lane.server)
        parked = self._parked.get(lane.server)
        if parked:
            self._ready.append(parked.popleft())
        else:
            self._parked.pop(lane.server, None)

    def _tried(self, item: OutboxItem, lane: _Lane, error: str) -> None:
        now, plan = self._now(), self._plan
        is_last = bool(error) and (now - item.created).total_seconds() >= plan.give_up_s
        if not error:
            self._store.outbox.done(item)
        else:
            wait = plan.backoff_s[min(item.attempts, len(plan.backoff_s)) - 1]
            item = replace(item, error=error, due=now + timedelta(seconds=wait), abandoned=now if is_last else None)
            self._store.outbox.changed(item)
            logger.warning(
                "a %s callback of call %s to %s failed: %s; %s",
                item.kind,
                item.call_uuid,
                redacted(item.url),
                error,
                f"given up after {item.attempts} tries" if is_last else f"again in {wait:g} s",
            )
        if error and not is_last:
            lane.items.insert(0, item)
        else:
            self._let_go(item, lane.server)
        if item.attempts == 1:
            self._count_tried(item.call_uuid)
        if self._on_attempt is not None:
            self._on_attempt(Attempt(item, error, is_last))

    def _let_go(self, item: OutboxItem, server: str) -> None:
        """Memory has room for another."""
        self._held.discard(item.seq)
        if self._is_reading:
            self._done_meanwhile.add(item.seq)
        _count_down(self._held_of, server)
        if server in self._left and self._held_of[server] <= self._plan.held_of_one // 2:
            self._left.discard(server)
            self._read_all()

    def _count_tried(self, call_uuid: str) -> None:
        left = self._untried.pop(call_uuid) - 1
        if left:
            self._untried[call_uuid] = left
            return
        for watcher in self._watchers.pop(call_uuid, ()):
            if not watcher.done():
                watcher.set_result(None)

    # --- being alive --------------------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        lease_s = self._plan.lease_s
        said = self._loop.time()
        judges_from = said
        while True:
            await asyncio.sleep(lease_s / 3)
            try:
                await self._renew()
                now = self._loop.time()
                if now - said > lease_s / 2:
                    # The database was away, or this process stood still: others may not have had their say either.
                    judges_from = now + lease_s
                said = now
                dead = await self._store.outbox.take_over(self._now()) if now >= judges_from else ()
            except StoreError as error:
                logger.warning("node %s could not say that it is alive: %s", self._store.node, error)
                continue
            if not dead:
                continue
            logger.info("nodes that are gone: %s; their callbacks are sent from here", ", ".join(dead))
            self._read_all()
            if self._on_dead is not None:
                self._on_dead(dead)

    async def _renew(self) -> None:
        await self._store.nodes.renew(self._now() + timedelta(seconds=self._plan.lease_s))


def _count_down(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
