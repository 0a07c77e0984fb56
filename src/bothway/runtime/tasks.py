"""Tasks with an owner: each is awaited in the end, and what goes wrong in one is told once, by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from bothway.errors import UsageError

__all__ = ["OnError", "Tasks"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

OnError: TypeAlias = Callable[[str, BaseException], None]
"""Told the name of a task and what it died of."""


class Tasks:
    """The tasks of one owner.

    Whoever spawns closes. A task that fails is logged once and reported to `on_error`; the others go on.

    Args:
        on_error: Called after a failed task was logged, on the event loop, with its name and the exception.
    """

    def __init__(self, on_error: OnError | None = None) -> None:
        self._on_error = on_error
        self._running: dict[asyncio.Task[Any], None] = {}  # in the order in which they are cancelled
        self._closed = False

    def __len__(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def spawn(self, coro: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Start a task that this owner will end. It may be awaited too, and then raises there as well.

        Raises:
            UsageError: The owner has closed.
        """
        if self._closed:
            coro.close()
            raise UsageError(f"task {name} was spawned after its owner had closed")
        task = asyncio.create_task(coro, name=name)
        self._running[task] = None
        task.add_done_callback(self._done)
        return task

    async def close(self, deadline: float) -> None:
        """Cancel every task and wait until all have ended; called from one of them, spare that one.

        Args:
            deadline: Seconds to wait. A task that has not obeyed by then is logged as an error and left behind.
        """
        self._closed = True
        own = asyncio.current_task()
        leaving = [task for task in self._running if task is not own]
        for task in leaving:
            task.cancel()
        if not leaving:
            return
        _, stuck = await asyncio.wait(leaving, timeout=deadline)
        if stuck:
            names = ", ".join(sorted(task.get_name() for task in stuck))
            logger.error("tasks still run %.1f s after they were cancelled: %s", deadline, names)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        logger.error("task %s failed", task.get_name(), exc_info=error)
        if self._on_error is not None:
            self._on_error(task.get_name(), error)
