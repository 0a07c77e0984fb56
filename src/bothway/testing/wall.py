"""The clocks and the dice of the whole process, which follow a virtual loop while it runs, and only then.

`time.time`, `datetime.now` and their kin are set in C by time-machine, for every thread. The monotonic clocks,
`time.sleep` and `os.urandom` are replaced here, also where a module has imported them by name, and change only on the
loop's thread and on those of its jobs: threads of others, such as a test runner's, keep real ones. A module that needs
real time within a run imports it by a name that begins with `real_`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from bothway.errors import UsageError
from bothway.testing.jobs import Job

__all__ = ["EPOCH", "BlockedLoopWarning", "Wall", "real_monotonic"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What the wall clock says when a loop is new."""

_NS = 1_000_000_000
real_monotonic = time.monotonic
"""The clock of the machine, whatever time it is on a loop."""

_real_sleep = time.sleep
_real_urandom = os.urandom
_real_as_completed = asyncio.as_completed

# Who measures the test, or looks at it from outside, keeps real clocks.
_SPARED = frozenset([*sys.stdlib_module_names, "_pytest", "hypothesis", "pluggy", "pytest", "pytest_asyncio", "xdist"])

_activation = threading.Lock()

_N = TypeVar("_N", int, float)


class BlockedLoopWarning(RuntimeWarning):
    """`time.sleep` was called on the loop's thread: in production every call of the process would stand still."""


class Wall:
    """One loop's wall clock and dice.

    Args:
        epoch: What the wall clock says at first; UTC, or the zone of its `ZoneInfo`, becomes the local time zone.
        seed: What the dice are thrown from.
        clock: The loop's clock, in seconds.
        advance: Moves that clock on, by seconds.
        job: Gives the loop's job that the calling thread runs, if any.

    Raises:
        UsageError: An epoch without a time zone, or time-machine is not installed.
    """

    active: ClassVar[Wall | None] = None
    """The one that the process follows at this moment."""

    def __init__(
        self,
        *,
        epoch: datetime,
        seed: int,
        clock: Callable[[], float],
        advance: Callable[[float], None],
        job: Callable[[], Job | None],
    ) -> None:
        try:
            import time_machine
        except ImportError:
            raise UsageError("virtual time needs the extra `test`: pip install 'bothway[test]'") from None
        if epoch.tzinfo is None:
            raise UsageError(f"the epoch {epoch.isoformat()} has no time zone, so that it is no moment")
        self._travel = time_machine.travel(epoch, tick=False)
        self._traveller: time_machine.Traveller | None = None
        self._ns = 0
        self._clock = clock
        self._advance = advance
        self._job = job
        self._thread = 0
        # Repeatable is what they are for.
        self._random = random.Random(seed).getstate()  # noqa: S311
        self._urandom = random.Random(f"{seed}, os.urandom")  # noqa: S311

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block the process follows the loop, which runs on the calling thread.

        Raises:
            UsageError: Another loop runs in virtual time.
        """
        with _activation:
            if Wall.active is not None:
                raise UsageError("two loops cannot run in virtual time at once: a process has one wall clock")
            Wall.active = self
        try:
            self._thread = threading.get_ident()
            self._traveller = self._travel.start()
            self._traveller.shift(self._ns / _NS)
            with self._dice(), _replacements():
                yield
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the process its clocks back: when a run ends, or when it is one that was forked within a run."""
        if self._traveller is not None:
            self._travel.stop()
            self._traveller = None
        Wall.active = None

    def follow(self, ns: int) -> None:
        """Set the wall clock to `ns` nanoseconds after the epoch."""
        shift = ns - self._ns
        self._ns = ns
        if self._traveller is not None:
            self._traveller.shift(shift / _NS)

    def now(self) -> float | None:
        """The loop's clock in seconds, or None on a thread that is not the loop's."""
        if threading.get_ident() == self._thread or self._job() is not None:
            return self._clock()
        return None

    def sleep(self, seconds: float, depth: int) -> bool:
        """Sleep on the loop's clock.

        Args:
            seconds: For how long.
            depth: How many frames up the sleeper is.

        Returns:
            False on a thread that is not the loop's: it sleeps by itself.
        """
        if threading.get_ident() == self._thread:
            if seconds:
                warnings.warn(
                    f"time.sleep({seconds:g}) blocks the loop, and every call with it: await asyncio.sleep instead",
                    BlockedLoopWarning,
                    stacklevel=depth + 1,
                )
                self._advance(seconds)
            return True
        job = self._job()
        if job is None:
            return False
        job.sleep(seconds)
        return True

    def urandom(self, size: int) -> bytes | None:
        """Bytes that follow from the seed, or None on a thread that is not the loop's."""
        if threading.get_ident() == self._thread:
            return self._urandom.randbytes(size)
        job = self._job()
        return job.random.randbytes(size) if job is not None else None

    @contextmanager
    def _dice(self) -> Iterator[None]:
        outside = random.getstate()
        random.setstate(self._random)
        try:
            yield
        finally:
            self._random = random.getstate()
            random.setstate(outside)


# What follows replaces the real functions. Each asks at every call whether a loop runs, since a module that is imported
# while one does keeps it for good.


def _wall_of_caller() -> Wall | None:
    """The running wall, unless it is the standard library that asks: what it times and waits for is real.

    It waits for processes, locks and files, and an ordinary loop may run on the thread of a job.
    """
    wall = Wall.active
    if wall is not None:
        caller: str = sys._getframe(2).f_globals.get("__name__", "")  # noqa: SLF001
        if caller.partition(".")[0] in _SPARED:
            return None
    return wall


def _clock(real: Callable[[], _N], of: Callable[[float], _N]) -> Callable[[], _N]:
    def clock() -> _N:
        now = wall.now() if (wall := _wall_of_caller()) is not None else None
        return of(now) if now is not None else real()

    return clock


def _in_ns(now: float) -> int:
    return round(now * _NS)


def _sleep(seconds: float, /) -> None:
    wall = _wall_of_caller()
    if wall is None or seconds < 0 or not wall.sleep(seconds, 2):
        _real_sleep(seconds)


def _urandom(size: int, /) -> bytes:
    drawn = wall.urandom(size) if (wall := Wall.active) is not None and size >= 0 else None
    return drawn if drawn is not None else _real_urandom(size)


def _as_completed(fs: Iterable[Any], **options: Any) -> Any:
    # asyncio puts them into a set, and a coroutine's hash is its address: it begins with any of them.
    if Wall.active is not None:
        fs = [asyncio.ensure_future(each) for each in dict.fromkeys(fs)]
    return _real_as_completed(fs, **options)


_OWNERS = {"asyncio", "asyncio.tasks", "os", "random", "time"}
_REPLACEMENTS: dict[int, tuple[Any, Any]] = {
    id(real): (real, ours)
    for real, ours in [
        (real_monotonic, _clock(real_monotonic, float)),
        (time.monotonic_ns, _clock(time.monotonic_ns, _in_ns)),
        (time.perf_counter, _clock(time.perf_counter, float)),
        (time.perf_counter_ns, _clock(time.perf_counter_ns, _in_ns)),
        (_real_sleep, _sleep),
        (_real_urandom, _urandom),
        (_real_as_completed, _as_completed),
    ]
}

_found: list[tuple[dict[str, Any], str, Any, Any]] = []
_searched: dict[str, ModuleType] = {}


@contextmanager
def _replacements() -> Iterator[None]:
    _find_real()
    for namespace, name, real, ours in _found:
        if namespace.get(name) is real:
            namespace[name] = ours
    try:
        yield
    finally:
        for namespace, name, real, ours in _found:
            # Unless a test has put something of its own there meanwhile.
            if namespace.get(name) is ours:
                namespace[name] = real


def _find_real() -> None:
    """Note where the real functions are, in the modules that were imported since the last time."""
    for module_name, module in tuple(sys.modules.items()):
        if _searched.get(module_name) is module:
            continue
        _searched[module_name] = module
        if module_name in _OWNERS or module_name.partition(".")[0] not in _SPARED:
            namespace: dict[str, Any] = getattr(module, "__dict__", {})
            for name, value in tuple(namespace.items()):
                found = _REPLACEMENTS.get(id(value))
                if found is not None and not name.lstrip("_").startswith("real_"):
                    _found.append((namespace, name, *found))


def _forked() -> None:
    if Wall.active is not None:
        Wall.active.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
