"""An asyncio loop whose clock jumps: ten minutes of a call take a second of a test, and are the same each time.

Time stands still while anything can be done: while a callback is ready, bytes lie in a local socket, or a thread that
works for the loop is busy. When nothing is left to do, the clock jumps to the next timer. What the program sees depends
on the program alone, and on a seed: not on the machine, its load, or the hashes of a process.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import selectors
import threading
import weakref
from asyncio import Future, Handle
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime
from math import inf
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from bothway.testing.jobs import Jobs, anyio_counted
from bothway.testing.network import NetworkLoop
from bothway.testing.standstill import PatienceError, RunawayError, StandstillError, has_strangers, waiting_tasks
from bothway.testing.wall import EPOCH, Wall, real_monotonic

__all__ = ["GRACE_S", "LIMIT_S", "LIMIT_TURNS", "PATIENCE_S", "START_S", "VirtualLoop", "run"]

START_S = 1000.0
"""What the clock of a new loop shows, in seconds: not 0, which programs take for "never"."""

LIMIT_S = 4 * 3600.0
"""How far the clock goes in one run, in seconds: longer than any call, and half a minute of real time for a ticker."""

LIMIT_TURNS = 1_000_000
"""How many turns the loop takes while the clock stands: some seconds of real time."""

PATIENCE_S = 30.0
"""How long the loop waits for a thread or a process that says nothing, in seconds of real time."""

GRACE_S = 1.0
"""How long a loop on which nothing can happen waits for threads and sockets of others, in seconds of real time."""

_START_NS = round(START_S * 1e9)
_NEVER_NS = 1 << 64

# Looking at the sockets costs a system call. While callbacks are ready it is done once in so many turns: bytes come
# when nothing else is to be done, and a task that spins until they do still sees them.
_LOOK_BUSY = 16
# And once in so many jumps where there is only asyncio's own socket, which wakes a loop that sleeps, as this one does
# not. But it must not fill up, and Unix signals come by it.
_LOOK_IDLE = 64

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Events = list[tuple[selectors.SelectorKey, int]]


class _Timer(asyncio.TimerHandle):
    """A timer that knows its turn: the nanosecond in which it is due, then the order in which timers were set."""

    __slots__ = ("turn",)

    _scheduled: bool
    turn: tuple[int, int]

    def __lt__(self, other: object) -> bool:
        return self.turn < other.turn if isinstance(other, _Timer) else NotImplemented


# What is below has hashes and an order that do not follow from addresses, for asyncio keeps it in sets.


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class _Outcome(asyncio.Future[Any]):
    """What becomes of a job: a future whose hash is its number. asyncio awaits one of its own class a little faster."""

    def __init__(self, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Generators(weakref.WeakKeyDictionary[Any, None]):
    """A weak set that knows its order, of the asynchronous generators that are to be closed in the end."""

    def add(self, generator: object) -> None:
        self[generator] = None

    def discard(self, generator: object) -> None:
        self.pop(generator, None)


class _Selector(selectors.DefaultSelector):
    """Looks at the sockets without waiting, and leaves it to the loop what waiting means."""

    _fd_to_key: dict[int, selectors.SelectorKey]

    def __init__(self, idle: Callable[[], _Events], spin: Callable[[], NoReturn]) -> None:
        super().__init__()
        self._idle = idle
        self._spin = spin
        self._turns = 0
        self._jumps = 0

    def select(self, timeout: float | None = None) -> _Events:
        if timeout == 0:
            self._turns += 1
            if self._turns % _LOOK_BUSY:
                return []
            if self._turns > LIMIT_TURNS:
                self._spin()
            return super().select(0)
        self._turns = 0
        self._jumps += 1
        if len(self._fd_to_key) > 1 or self._jumps > _LOOK_IDLE:
            self._jumps = 0
            events = super().select(0)
            if events:
                return events
        return self._idle()

    def look(self) -> None:
        """Look at the sockets the next time, whatever is ready."""
        self._turns = -1

    def wait(self, seconds: float) -> _Events:
        """Wait in real time."""
        return super().select(seconds)

    def has_others(self, ours: set[int]) -> bool:
        """Whether a descriptor is watched that is neither among `ours` nor asyncio's own."""
        return len(self._fd_to_key.keys() - ours) > 1


class _Subprocess:
    """A process that was started on the loop."""

    def __init__(self, transport: Any, protocol: Any, name: str) -> None:
        self._transport = transport
        self._protocol = protocol
        self.name = name

    @property
    def is_over(self) -> bool:
        return self._transport.get_returncode() is not None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for its end, for its output, or for it to take its input."""
        if self.is_over:
            return False
        if not isinstance(self._protocol, asyncio.subprocess.SubprocessStreamProtocol):
            return True
        # asyncio has no public word for any of these.
        waiters = list(getattr(self._transport, "_exit_waiters", None) or ())
        waiters += [getattr(output, "_waiter", None) for output in (self._protocol.stdout, self._protocol.stderr)]
        return getattr(self._protocol, "_paused", False) or any(
            waiter is not None and not waiter.done() for waiter in waiters
        )


class VirtualLoop(NetworkLoop):
    """An event loop in virtual time, whose TCP is a `MemoryNetwork`.

    - `time()` moves only when nothing is ready: to the next timer, at once. Timers that are due in the same nanosecond
      fire in the order in which they were set.
    - While it runs, and only then, the clocks of `time` and `datetime` follow it, for the whole process, and `random`,
      `os.urandom`, `uuid4` and `secrets` follow the seed.
    - Jobs given to threads (`run_in_executor`, `asyncio.to_thread`, plain endpoints of Starlette and FastAPI) hold the
      clock until they return; their results come in the order in which they were submitted. A job that sleeps, or
      waits for `asyncio.run_coroutine_threadsafe`, sleeps and waits in virtual time.
    - Processes started with asyncio hold the clock while somebody waits for what they write, or for their end.
    - Anything else that happens outside needs `hold`.

    Args:
        seed: What all randomness follows from.
        epoch: What the wall clock says at first; UTC, or the zone of its `ZoneInfo`, is the local time.
        patience: How long a held clock may stand while nothing comes from outside, in seconds of real time.
        limit: How far the clock may go in one run, in seconds.

    Raises:
        UsageError: The extra `test` is not installed, or the epoch has no time zone.

    What `run_forever`, and so `run_until_complete` and `asyncio.Runner.run`, raise besides:
        StandstillError: Everything waits, and no timer runs.
        RunawayError: The clock has reached the limit, or it stands, and something has been ready a million turns long.
        PatienceError: The clock was held, and nothing came, for longer than `patience`.
        UsageError: Another loop runs in virtual time.
    """

    # What asyncio calls so in Python 3.11 to 3.14.
    _ready: deque[Handle]
    _scheduled: list[_Timer]
    _default_executor: ThreadPoolExecutor | None
    _write_to_self: Callable[[], None]
    _check_thread: Callable[[], None]

    def __init__(
        self, *, seed: int = 0, epoch: datetime = EPOCH, patience: float = PATIENCE_S, limit: float = LIMIT_S
    ) -> None:
        self._now = START_S
        self._waits = _Selector(self._idle, self._spin)
        super().__init__(self._waits)
        self._asyncgens = _Generators()
        # How early a timer may fire. Windows and macOS have others, which would be seen in the order of callbacks.
        self._clock_resolution = 1e-9
        self._patience = patience
        self._limit = limit
        self._has_lost_patience = False
        self._end = START_S
        self._running_on: int | None = None
        self._turns = itertools.count()
        self._numbers = itertools.count()
        self._holds: list[str] = []
        self._processes: list[_Subprocess] = []
        self._jobs = Jobs(self, wake=self._write_to_self, seed=seed)
        try:
            self._wall = Wall(
                epoch=epoch, seed=seed, clock=self.time, advance=self._advance, job=self._jobs.of_this_thread
            )
        except BaseException:
            self.close()
            raise
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """The loop's clock, in seconds; `START_S` when it was new. Never less than `when()` of a timer jumped to."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` when the clock has reached `when`; see `asyncio`."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if self.get_debug():
            self._check_thread()
        timer = _Timer(when, callback, args, self, context)
        timer.turn = (round(when * 1e9) if when < inf else _NEVER_NS, next(self._turns))
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # noqa: SLF001 - so that asyncio counts it, should it be cancelled
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> Handle:
        """Call `callback` on the loop, from any thread: from another one, when the loop has nothing else to do."""
        if self._running_on is None or self._running_on == threading.get_ident():
            return super().call_soon_threadsafe(callback, *args, context=context)
        handle = Handle(callback, args, self, context)
        self._jobs.add_call(handle, callback)
        self._write_to_self()
        return handle

    def run_forever(self) -> None:
        """Run until `stop()`, in virtual time; see the class for what it raises."""
        with anyio_counted(self._jobs), self._wall.running():
            self._end = self._now + self._limit
            self._running_on = threading.get_ident()
            # The short runs with which a Runner ends are what closes connections whose other end has gone.
            self._waits.look()
            try:
                super().run_forever()
            finally:
                self._running_on = None

    def close(self) -> None:
        """Close the loop. Threads of its jobs that wait for it go on with an error."""
        super().close()
        self._jobs.abandon()

    @contextmanager
    def hold(self, what: str = "a hold() without a name") -> Iterator[None]:
        """Within the block the clock does not jump; on the loop's thread.

        For what happens outside the loop and its jobs: a reply of another process, of a thread of a library's own, of a
        server on the network. The loop waits for it in real time, and still runs what is ready.

        Args:
            what: What it is for; a `PatienceError` says it.
        """
        self._holds.append(what)
        try:
            yield
        finally:
            self._holds.remove(what)

    def run_in_executor(self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts) -> Future[_T]:
        """Run `func` on a thread, which holds the clock until it returns; see `asyncio`."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if executor is None:
            executor = self._default_executor or ThreadPoolExecutor(thread_name_prefix="asyncio")
            self.set_default_executor(executor)
        outcome = _Outcome(number=next(self._numbers), loop=self)
        self._jobs.submit(executor, func, args, outcome)
        return outcome

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's
        """Wait for the jobs, and end the default executor's threads.

        Args:
            timeout: Not used: the loop's patience and its limit are what bounds the wait.
        """
        if self._has_lost_patience:
            # Some thread will not end, and the error that says so must not wait for it once more.
            if self._default_executor is not None:
                self._default_executor.shutdown(wait=False, cancel_futures=True)
            return
        await self._jobs.none_left.wait()
        with self.hold("the end of the executor's threads"):
            await super().shutdown_default_executor()

    async def subprocess_exec(self, protocol_factory: Any, program: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a process; it holds the clock while somebody waits for it. See `asyncio`."""
        return await self._start(super().subprocess_exec(protocol_factory, program, *args, **kwargs), program)

    async def subprocess_shell(self, protocol_factory: Any, cmd: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a shell; it holds the clock while somebody waits for it. See `asyncio`."""
        return await self._start(super().subprocess_shell(protocol_factory, cmd, *args, **kwargs), cmd)

    async def _start(self, starting: Coroutine[Any, Any, tuple[Any, Any]], program: object) -> tuple[Any, Any]:
        name = f"the process {program}"
        with self.hold(f"the start of {name}"):
            transport, protocol = await starting
        self._processes.append(_Subprocess(transport, protocol, name))
        return transport, protocol

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _Task:
        return _Task(coro, loop=loop, number=next(self._numbers), **options)

    def _idle(self) -> _Events:
        """Nothing is ready: hear of one thing from a thread, wait while the clock is held, or let it jump."""
        jobs = self._jobs
        if self._holds or self._processes or jobs.jobs or jobs.calls:
            until = real_monotonic() + self._patience
            while True:
                if jobs.next_into(self._ready):
                    return []
                if not self._is_held():
                    break
                left = until - real_monotonic()
                if left <= 0:
                    self._has_lost_patience = True
                    raise PatienceError(self._say_impatience())
                events = self._waits.wait(left)
                if events:
                    return events
        if not self._scheduled:
            return self._stand_still()
        timer = self._scheduled[0]
        when = timer.when()
        if when > self._end:
            if when == inf:
                return self._stand_still()
            raise RunawayError(
                f"the clock would go on for more than {self._limit / 3600:g} h in one run (the loop's `limit`): a "
                "timer runs for ever, or is that far away, and something waits for what never comes. "
                f"{self._say_who_waits()}"
            )
        ns = timer.turn[0]
        # Rounding to the nanosecond may go below `when`: then a task that sleeps until then would find itself too soon.
        self._now = max(ns / 1e9, when)
        self._wall.follow(ns - _START_NS)
        return []

    def _stand_still(self) -> _Events:
        """No timer: only somebody else's thread can go on with the run, or somebody at the other end of a socket."""
        ours = {sock.fileno() for link in self.network.links for sock in link.sockets}
        # Whoever calls from a thread writes into the loop's own socket, and so does a signal.
        events = self._waits.wait(GRACE_S if has_strangers() or self._waits.has_others(ours) else 0)
        if events:
            return events
        raise StandstillError(
            f"everything waits, and no timer runs: nothing can happen any more. {self._say_who_waits()}"
        )

    def _spin(self) -> NoReturn:
        raise RunawayError(
            f"something has been ready {LIMIT_TURNS} turns long, so that the clock stands, and threads are not heard: "
            "what waits in a loop around `asyncio.sleep(0)` must sleep for longer, or wait for an event. "
            f"{self._say_who_waits()}"
        )

    def _is_held(self) -> bool:
        if self._processes:
            self._processes = [process for process in self._processes if not process.is_over]
        return bool(self._holds or self._jobs.busy() or any(process.is_awaited for process in self._processes))

    def _say_impatience(self) -> str:
        holders = [
            *self._holds,
            *(f"the job {job.describe()}" for job in self._jobs.busy()),
            *(process.name for process in self._processes if process.is_awaited),
        ]
        return (
            f"nothing came for {self._patience:g} s of real time, while the clock was held for {'; '.join(holders)}. "
            "What never ends must not be a job of the loop, and what talks to the outside belongs in a test that is "
            f"marked `real_sockets`. {self._say_who_waits()}"
        )

    def _say_who_waits(self) -> str:
        jobs = [f"  the job {job.describe()}" for job in self._jobs.jobs if job.is_waiting]
        return "\n".join(["These tasks wait:", waiting_tasks(self), *jobs])

    def _advance(self, seconds: float) -> None:
        self._now += seconds
        self._wall.follow(round(self._now * 1e9) - _START_NS)


def run(main: Coroutine[Any, Any, _T], *, seed: int = 0, epoch: datetime = EPOCH, debug: bool | None = None) -> _T:
    """Run `main` on a virtual loop of its own, as `asyncio.run` does on an ordinary one.

    Args:
        main: What to run.
        seed: See `VirtualLoop`.
        epoch: See `VirtualLoop`.
        debug: asyncio's debug mode; by default as the environment says.

    Returns:
        What `main` returns.

    Raises:
        UsageError: See `VirtualLoop`. Whatever `main` raises passes through.
    """
    with asyncio.Runner(debug=debug, loop_factory=functools.partial(VirtualLoop, seed=seed, epoch=epoch)) as runner:
        return runner.run(main)
