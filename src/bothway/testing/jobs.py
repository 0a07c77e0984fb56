"""The threads that work for a virtual loop: the order in which the loop hears of them, and whether one is busy.

Threads run in real time, which no virtual clock can know, so that the loop hears of them by rules instead: only when it
has nothing else to do, one call or result at a time, and those of a job only when every job that was submitted before
is waiting. The same program then sees the same order on a fast and on a slow machine.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import importlib
import random
import sys
import threading
from asyncio import Future, Handle
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bothway.testing.standstill import bystanders, place_of_frame

_AnyioBackend: Any
try:
    _AnyioBackend = importlib.import_module("anyio._backends._asyncio").AsyncIOBackend
except (ImportError, AttributeError):
    # It comes with Starlette and httpx; where neither is, nothing asks for it.
    _AnyioBackend = None

__all__ = ["Job", "Jobs", "anyio_counted"]

_Concurrent = concurrent.futures.Future


class Job:
    """One function that a thread, or another process, runs for the loop.

    Args:
        loop: The loop that it works for.
        function: What runs.
        wake: Wakes the loop, from any thread.
        number: How many jobs of the loop were submitted before.
        seed: The loop's; the job's own dice are thrown from it and the number.
        pool: Whose threads these are, and how many of its jobs run at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., object],
        *,
        wake: Callable[[], None],
        number: int,
        seed: int,
        pool: tuple[object, float],
    ) -> None:
        self._loop = loop
        self._function = function
        self._wake = wake
        self._seed = f"{seed}, job {number}"
        self._random: random.Random | None = None
        self._asked: _Concurrent[Any] | None = None
        self.pool, self.room = pool
        self.calls: deque[Handle] = deque()
        """The callbacks that its thread has handed to the loop, and that the loop has not taken up yet."""
        self.thread: int | None = None
        """The thread's identity, once it has begun; None for ever in another process."""
        self.outcome: _Concurrent[Any] | None = None
        """Where an executor puts the result; None for a job that its caller ends."""
        self.waiter: Future[Any] | None = None
        """Where the loop then puts it."""

    @property
    def random(self) -> random.Random:
        """The job's own dice: other threads do not change what it throws."""
        if self._random is None:
            self._random = random.Random(self._seed)  # noqa: S311 - repeatable is what it is for
        return self._random

    @property
    def is_over(self) -> bool:
        """Whether the function has returned, or will never begin."""
        return self.outcome is not None and self.outcome.done()

    @property
    def is_waiting(self) -> bool:
        """Whether the thread can go on only when the loop has: it sleeps, or waits for a coroutine's result."""
        asked = self._asked
        return asked is not None and not asked.done()

    def describe(self) -> str:
        """The function's name and place, and where the thread is now, for an error's text."""
        function = self._function
        while isinstance(function, functools.partial):
            is_context = isinstance(getattr(function.func, "__self__", None), contextvars.Context)
            function = function.args[0] if is_context and function.args else function.func
        code = getattr(function, "__code__", None)
        name = getattr(function, "__qualname__", repr(function))
        place = f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
        # A thread of that identity may have ended by now: then it has no frame.
        frame = sys._current_frames().get(self.thread) if self.thread is not None else None  # noqa: SLF001
        return f"{place}, now at {place_of_frame(frame)}" if frame is not None else place

    def sleep(self, seconds: float) -> None:
        """Sleep on the loop's clock; called by the job's own thread.

        Raises:
            concurrent.futures.CancelledError: The loop was closed meanwhile.
        """
        slept: _Concurrent[None] = _Concurrent()
        self._loop.call_soon_threadsafe(self._set_timer, seconds, slept)
        self._wait(slept)

    def wait_for(self, asked: _Concurrent[Any], timeout: float | None = None) -> Any:
        """Wait for what the loop alone can answer; on the job's own thread this does not hold the loop's clock.

        Args:
            asked: What is waited for.
            timeout: For how long, in seconds of the loop's clock.

        Returns:
            Its result.

        Raises:
            TimeoutError: It took longer.
            concurrent.futures.CancelledError: The loop was closed meanwhile.
        """
        result = type(asked).result
        if threading.get_ident() != self.thread:
            return result(asked, timeout)
        if timeout is None:
            self._wait(asked)
        elif not asked.done():
            ended: _Concurrent[None] = _Concurrent()
            self._loop.call_soon_threadsafe(self._set_timer, timeout, ended)
            asked.add_done_callback(lambda _: _resolve(ended))
            self._wait(ended)
            if not asked.done():
                raise TimeoutError
        return result(asked)

    def watch(self, callback: Callable[..., object]) -> None:
        """See to it that the job counts as waiting when it waits for the result of a coroutine that it hands over.

        `asyncio.run_coroutine_threadsafe` gives the loop a closure over the future that it returns.
        """
        for cell in getattr(callback, "__closure__", None) or ():
            try:
                asked = cell.cell_contents
            except ValueError:
                # The cell is empty.
                continue
            if isinstance(asked, _Concurrent):
                asked.result = functools.partial(self.wait_for, asked)  # type: ignore[method-assign]

    def settle(self) -> None:
        """Hand the result to the coroutine that waits for it."""
        if self.waiter is None or self.outcome is None or self.waiter.done():
            return
        if self.outcome.cancelled():
            self.waiter.cancel()
        elif (error := self.outcome.exception()) is not None:
            self.waiter.set_exception(error)
        else:
            self.waiter.set_result(self.outcome.result())

    def abandon(self) -> None:
        """Let the thread go on with an error: the loop will answer nothing any more."""
        if self._asked is not None:
            self._asked.cancel()

    def _set_timer(self, seconds: float, end: _Concurrent[None]) -> None:
        timer = self._loop.call_later(seconds, _resolve, end)
        end.add_done_callback(lambda _: timer.cancel())

    def _wait(self, asked: _Concurrent[Any]) -> None:
        self._asked = asked
        self._wake()
        try:
            # It waits for the end, whatever that is; only a cancelled future's has it raise.
            asked.exception()
        finally:
            self._asked = None


def _resolve(future: _Concurrent[None]) -> None:
    if not future.done():
        future.set_result(None)


class Jobs:
    """All the jobs of one loop, in order of submission, and the calls of threads that are nobody's job.

    Args:
        loop: The loop.
        wake: Wakes it, from any thread.
        seed: The loop's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, wake: Callable[[], None], seed: int) -> None:
        self.loop = loop
        self._wake = wake
        self._seed = seed
        self._count = 0
        self._of_threads: dict[int, Job] = {}
        self.none_left = asyncio.Event()
        """Set while there is no job."""
        self.none_left.set()
        self.jobs: list[Job] = []
        """Those that have not ended, in order of submission."""
        self.calls: deque[Handle] = deque()
        """The callbacks of other threads that the loop has not taken up yet."""

    def of_this_thread(self) -> Job | None:
        """The job that the calling thread runs, if any."""
        return self._of_threads.get(threading.get_ident())

    def submit(
        self,
        executor: concurrent.futures.Executor,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        waiter: Future[Any],
    ) -> None:
        """Give a job to an executor, and its result to `waiter`.

        Raises:
            RuntimeError: The executor has been shut down.
        """
        job = self._add(function, (executor, getattr(executor, "_max_workers", float("inf"))))
        try:
            # What another process or interpreter runs must be sent there, so that it is left as it is.
            if isinstance(executor, concurrent.futures.ThreadPoolExecutor) and not isinstance(executor, _INTERPRETERS):
                outcome = executor.submit(self.run, job, function, *args)
            else:
                outcome = executor.submit(function, *args)
        except BaseException:
            self.end(job)
            raise
        job.outcome, job.waiter = outcome, waiter
        outcome.add_done_callback(lambda _: self._wake())
        waiter.add_done_callback(lambda _: outcome.cancel() if waiter.cancelled() else None)

    @contextmanager
    def counted(self, function: Callable[..., object], pool: tuple[object, float]) -> Iterator[Job]:
        """A job that somebody else's thread runs with `run`, and that lasts as long as the block."""
        job = self._add(function, pool)
        try:
            yield job
        finally:
            self.end(job)

    def run(self, job: Job, function: Callable[..., Any], *args: Any) -> Any:
        """Run the job's function on the calling thread, from now on known as the job's."""
        bystanders.add(threading.current_thread())
        job.thread = threading.get_ident()
        self._of_threads[job.thread] = job
        return function(*args)

    def end(self, job: Job) -> None:
        """Forget a job; the loop takes up what its thread has still handed over."""
        self.jobs.remove(job)
        self.calls.extend(job.calls)
        if job.thread is not None and self._of_threads.get(job.thread) is job:
            del self._of_threads[job.thread]
        if not self.jobs:
            self.none_left.set()

    def add_call(self, handle: Handle, callback: Callable[..., object]) -> None:
        """Keep a callback that the calling thread hands to the loop, for `next_into`."""
        job = self.of_this_thread()
        if job is None:
            self.calls.append(handle)
        else:
            job.watch(callback)
            job.calls.append(handle)

    def next_into(self, ready: deque[Handle]) -> bool:
        """Let the loop hear of one thing: put a callback into `ready`, or settle a job's result.

        Returns:
            False when there is nothing to hear of at this moment.
        """
        if self.calls:
            ready.append(self.calls.popleft())
            return True
        for job, is_at_rest in self._in_order():
            # Asked first: what a job called, it called before it was over.
            is_over = job.is_over
            if job.calls:
                ready.append(job.calls.popleft())
                return True
            if is_over:
                job.settle()
                self.end(job)
                return True
            if not is_at_rest:
                return False
        return False

    def busy(self) -> list[Job]:
        """The jobs that are running, and not waiting for the loop."""
        return [job for job, is_at_rest in self._in_order() if job.calls or not is_at_rest]

    def abandon(self) -> None:
        """Let every thread that waits for the loop go on with an error."""
        for job in self.jobs:
            job.abandon()

    def _add(self, function: Callable[..., object], pool: tuple[object, float]) -> Job:
        job = Job(self.loop, function, wake=self._wake, number=self._count, seed=self._seed, pool=pool)
        self._count += 1
        self.jobs.append(job)
        self.none_left.clear()
        return job

    def _in_order(self) -> Iterator[tuple[Job, bool]]:
        """Each job, and whether it can do nothing until the loop, or a job before it, has gone on."""
        before: dict[int, int] = {}
        for job in tuple(self.jobs):
            running = before.get(id(job.pool), 0)
            yield job, job.is_waiting or (job.thread is None and running >= job.room)
            if not job.is_over:
                before[id(job.pool)] = running + 1


_INTERPRETERS: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", ())


@contextmanager
def anyio_counted(jobs: Jobs) -> Iterator[None]:
    """Within the block, what anyio's threads run counts as a job.

    Starlette and FastAPI give plain functions (`def` and not `async def`) to anyio, which has threads of its own
    instead of the loop's executor.
    """
    if _AnyioBackend is None:
        yield
        return
    original = vars(_AnyioBackend)["run_sync_in_worker_thread"]

    async def counted(cls: Any, func: Any, args: Any, abandon_on_cancel: bool = False, limiter: Any = None) -> Any:
        plain = original.__get__(None, cls)
        if asyncio.get_running_loop() is not jobs.loop:
            return await plain(func, args, abandon_on_cancel, limiter)
        pool = limiter or cls.current_default_thread_limiter()
        with jobs.counted(func, (pool, pool.total_tokens)) as job:
            return await plain(functools.partial(jobs.run, job, func), args, abandon_on_cancel, limiter)

    _AnyioBackend.run_sync_in_worker_thread = classmethod(counted)
    try:
        yield
    finally:
        _AnyioBackend.run_sync_in_worker_thread = original
