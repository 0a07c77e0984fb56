"""Calls that are placed at no more than a rate: what comes faster waits, and is never refused for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from bothway.errors import UsageError

__all__ = ["MOST_WAITING", "CallQueue", "QueueFullError"]

MOST_WAITING = 100_000
"""Requests that may wait: at 2 a second, more than half a day."""

_CATCH_UP = 1.0
"""Seconds that the queue may be late and still start what was due: a process that stood still for longer would let
loose more calls in a moment than its account may place in a second."""

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class QueueFullError(UsageError):
    """No more requests can wait."""


class CallQueue(Generic[_T]):
    """The requests of one account, in order (plivo-protocol.md, section 9).

    While requests wait they are started on a grid of absolute times, 1/rate apart; the first of them at once, unless
    another was started less than that ago.

    Args:
        rate: Calls a second.
        start: Starts one. It is called by the loop, never from inside a method of the queue. What it raises is logged,
            and the next one's turn comes.
        most: Requests that may wait.

    Raises:
        UsageError: The rate is not above zero.
    """

    def __init__(self, rate: float, start: Callable[[_T], None], *, most: int = MOST_WAITING) -> None:
        if not rate > 0:
            raise UsageError(f"{rate:g} calls a second is no rate")
        self._loop = asyncio.get_running_loop()
        self._rate = rate
        self._start = start
        self._most = most
        self._waiting: OrderedDict[str, _T] = OrderedDict()
        self._grid = self._loop.time()  # its origin
        self._step = 0  # the next one that is free, counted from the origin
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._waiting

    @property
    def most_waiting(self) -> int:
        """How many requests may wait."""
        return self._most

    @property
    def waiting(self) -> list[tuple[str, _T]]:
        """The requests that wait and their ids, the next one first."""
        return list(self._waiting.items())

    def find(self, request_id: str) -> _T | None:
        """A request that waits."""
        return self._waiting.get(request_id)

    def put(self, request_id: str, request: _T) -> bool:
        """Let a request wait its turn. Gives whether its turn is now: it is started with the loop's next round.

        Raises:
            QueueFullError: As many as may wait do.
            UsageError: One of this id waits already, or the queue is closed.
        """
        if self._closed:
            raise UsageError("no calls are placed any more: the queue is closed")
        if request_id in self._waiting:
            raise UsageError(f"the request {request_id} waits already")
        if len(self._waiting) >= self._most:
            raise QueueFullError(f"{self._most} calls wait to be placed at {self._rate:g} a second, and no more can")
        self._waiting[request_id] = request
        now = self._loop.time()
        if self._timer is None:
            if now >= self._due():  # it has been idle: a new grid
                self._grid, self._step = now, 0
            self._arm()
        return len(self._waiting) == 1 and self._due() <= now

    def cancel(self, request_id: str) -> _T | None:
        """Take a request out, and give it; None if it does not wait (any more)."""
        return self._waiting.pop(request_id, None)

    def close(self) -> list[_T]:
        """Start nothing more. Gives what waited, in order."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = list(self._waiting.values())
        self._waiting.clear()
        return left

    def _due(self) -> float:
        return self._grid + self._step / self._rate

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self._due(), self._wake)

    def _wake(self) -> None:
        due = self._due()
        now = max(self._loop.time(), due)  # a timer may fire early by the clock's resolution
        if now - due > _CATCH_UP:
            self._grid, self._step = now, 0
        while self._waiting and self._due() <= now:
            self._step += 1
            _, request = self._waiting.popitem(last=False)
            try:
                self._start(request)
            except Exception:
                logger.exception("a queued call could not be started")
        self._timer = None
        if self._waiting and not self._closed:
            self._arm()
