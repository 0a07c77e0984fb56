"""The calls that are live in this process, and the tasks that their handlers run in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from bothway.runtime.tasks import Tasks

if TYPE_CHECKING:
    from bothway.runtime.metrics import Metrics

__all__ = ["LiveCalls", "LiveStream"]


class LiveStream(Protocol):
    """One stream's socket, as the app as a whole sees it."""

    def leave(self) -> None:
        """Close it now: the app is stopping."""

    def count(self) -> None:
        """Bring the metrics up to date with what has passed."""


class LiveCalls:
    """Who is on the line.

    Args:
        metrics: Where streams are counted.

    Attributes:
        draining: Whether new calls are refused.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.draining = False
        self.metrics = metrics
        self._tasks = Tasks()
        self._streams: dict[LiveStream, None] = {}  # in the order in which they are told to leave
        self._by_call: dict[str, LiveStream] = {}
        self._change: asyncio.Event | None = None

    def __len__(self) -> int:
        """How many calls have a stream."""
        return len(self._by_call)

    def opened(self, stream: LiveStream) -> None:
        """A socket is open; which call it is for comes later."""
        self._streams[stream] = None

    def claim(self, call_id: str, stream: LiveStream) -> bool:
        """The call is this stream's from now on; False if another stream has it."""
        mine = self._by_call.setdefault(call_id, stream) is stream
        self.metrics.streams_active.set(len(self._by_call))
        return mine

    def closed(self, call_id: str | None, stream: LiveStream) -> None:
        """The socket is closed, and the call it had is free."""
        self._streams.pop(stream, None)
        if call_id is not None and self._by_call.get(call_id) is stream:
            del self._by_call[call_id]
            self.metrics.streams_active.set(len(self._by_call))
        self._changed()

    def spawn(self, handler: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run one call's handler."""
        task = self._tasks.spawn(handler, name)
        task.add_done_callback(lambda _: self._changed())
        return task

    def count(self) -> None:
        """Bring the metrics up to date with every live stream; no frame is added to them on its own."""
        for stream in self._by_call.values():
            stream.count()

    async def drain(self, seconds: float) -> None:
        """Take no more calls, and end when those that are live have; or end them after `seconds`."""
        self.draining = True
        if not await self._empty(seconds):
            for stream in list(self._streams):
                stream.leave()
            # Each handler sees its call end; what does not return from that is cancelled.
            await self._empty(_LAST_SECONDS)
        await self._tasks.close(_LAST_SECONDS)
        self._tasks = Tasks()

    def reopen(self) -> None:
        """Take calls again after a drain."""
        self.draining = False

    async def _empty(self, seconds: float) -> bool:
        self._change = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                while self._streams or len(self._tasks):
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            return False
        return True

    def _changed(self) -> None:
        if self._change is not None:
            self._change.set()


_LAST_SECONDS = 5.0
