"""What the caller sent and the handler has not taken yet: bounded, so that a slow handler loses audio and not memory.

One frame arrives fifty times a second for each call, so this is a deque and one future instead of `asyncio.Queue`: a
put wakes the one reader, costs no task and never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from bothway.errors import UsageError

__all__ = ["Inbox"]

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """A bounded queue to iterate over. The oldest item makes room for the newest.

    Args:
        limit: The most items that wait.
        on_overflow: Called the first time that an item is dropped while somebody reads.

    Attributes:
        dropped: Items dropped since somebody began to read; what nobody ever asked for is not missed.
    """

    __slots__ = ("_closed", "_future", "_items", "_limit", "_on_overflow", "_read", "_waiter", "dropped")

    def __init__(self, limit: int, on_overflow: Callable[[], None]) -> None:
        self.dropped = 0
        self._items: deque[_T] = deque()
        self._limit = limit
        self._on_overflow = on_overflow
        self._future: Callable[[], asyncio.Future[None]] = asyncio.get_running_loop().create_future
        self._waiter: asyncio.Future[None] | None = None
        self._read = False
        self._closed = False

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def put(self, item: _T) -> None:
        """Add an item; it never blocks."""
        if len(self._items) >= self._limit:
            self._overflow()
        self._items.append(item)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Nothing more comes: iteration ends behind what waits."""
        self._closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def reader(self, *, fresh: bool = False) -> Self:
        """The iterator. What came before the first reader is there for it, as far as it fits.

        Args:
            fresh: Forget what waits, and begin with what comes next.
        """
        self._read = True
        if fresh:
            self._items.clear()
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        items = self._items
        while not items:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None and not self._waiter.done():
                raise UsageError(
                    "two loops read the same queue of a call at once, and each would miss what the other got"
                )
            self._waiter = waiter = self._future()
            await waiter
        return items.popleft()

    def _overflow(self) -> None:
        self._items.popleft()
        if self._read:
            self.dropped += 1
            if self.dropped == 1:
                self._on_overflow()
