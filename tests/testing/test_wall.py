"""The clocks and dice of the process while a loop runs in virtual time."""

# ruff: noqa: ASYNC251, DTZ001, DTZ005, DTZ011 - what should not be called is what is tested

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import random
import secrets
import sys
import threading
import time
import uuid
import warnings
from asyncio import as_completed
from collections.abc import Coroutine, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic, perf_counter, sleep
from time import monotonic as real_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bothway.errors import UsageError
from bothway.testing.virtual_loop import START_S, VirtualLoop, run
from bothway.testing.wall import EPOCH, BlockedLoopWarning

_REAL = {
    name: getattr(time, name) for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")
}
_URANDOM = os.urandom


@pytest.fixture(autouse=True)
def _nothing_is_left_of_a_run() -> Iterator[None]:
    wall, started, zone, dice = time.time(), time.monotonic(), os.environ.get("TZ"), random.getstate()
    yield
    assert {name: getattr(time, name) for name in _REAL} == _REAL
    assert (monotonic, perf_counter, sleep) == (_REAL["monotonic"], _REAL["perf_counter"], _REAL["sleep"])
    assert os.urandom is _URANDOM
    assert 0 <= time.monotonic() - started < 60
    assert abs(time.time() - wall - (time.monotonic() - started)) < 1
    assert abs(datetime.now(UTC).timestamp() - time.time()) < 1
    assert time.gmtime().tm_year == datetime.now(UTC).year
    assert os.environ.get("TZ") == zone
    assert random.getstate() == dice


def test_every_clock_follows_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for seconds in (0.0, 0.020000001, 86.4, 3600.0):
            await asyncio.sleep(seconds)
            now = loop.time()
            ns = round(now * 1e9)
            passed = ns - round(START_S * 1e9)
            assert time.monotonic() == time.perf_counter() == monotonic() == perf_counter() == now
            assert time.monotonic_ns() == time.perf_counter_ns() == ns
            assert time.time_ns() == int(EPOCH.timestamp()) * 10**9 + passed
            assert time.time() == pytest.approx(EPOCH.timestamp() + passed / 1e9, abs=1e-6)
            whole = int(time.time())
            assert int(datetime.now(UTC).timestamp()) == whole
            assert datetime.now() == datetime.now(UTC).replace(tzinfo=None)
            assert date.today() == date(2026, 1, 1)
            assert time.gmtime() == time.localtime() == time.gmtime(whole)
            assert time.strftime("%H") == f"{passed // (3600 * 10**9):02}"

    run(main())


def test_the_local_time_is_that_of_the_epochs_zone() -> None:
    async def main() -> tuple[datetime, int]:
        return datetime.now(), time.localtime().tm_hour

    kolkata = datetime(2026, 7, 1, 9, 30, tzinfo=ZoneInfo("Asia/Kolkata"))
    assert run(main(), epoch=kolkata) == (datetime(2026, 7, 1, 9, 30), 9)


def test_an_epoch_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="no time zone"):
        VirtualLoop(epoch=datetime(2026, 1, 1))


def test_without_time_machine_there_is_no_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "time_machine", None)
    with pytest.raises(UsageError, match=r"virtual time needs the extra `test`: pip install 'bothway\[test\]'"):
        VirtualLoop()


def test_the_dice_follow_the_seed() -> None:
    async def main() -> tuple[object, ...]:
        return (
            random.random(),
            random.choice("abcdef"),
            os.urandom(8),
            uuid.uuid4(),
            secrets.token_hex(8),
            secrets.randbelow(10**9),
            random.SystemRandom().random(),
        )

    first = run(main(), seed=5)
    assert run(main(), seed=5) == first
    other = run(main(), seed=6)
    assert all(a != b for a, b in zip(first[2:], other[2:], strict=True))


def test_the_dice_go_on_where_they_were() -> None:
    async def main(times: int) -> list[object]:
        return [value for _ in range(times) for value in (random.random(), os.urandom(4))]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        drawn = runner.run(main(1)) + runner.run(main(2))
    assert drawn == run(main(3))


def test_sleep_on_the_loops_thread_is_a_fault_that_takes_its_time() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        at: list[float] = []
        loop.call_later(1, lambda: at.append(loop.time()))
        await asyncio.sleep(0.5)
        with pytest.warns(BlockedLoopWarning, match=r"time.sleep\(2\) blocks the loop") as caught:
            time.sleep(2)
        assert caught[0].filename == __file__
        with pytest.warns(BlockedLoopWarning):
            sleep(0.25)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [*at, loop.time(), time.time() - EPOCH.timestamp()]

    started = time.perf_counter()
    assert run(main()) == pytest.approx([START_S + 2.75, START_S + 2.75, 2.75])
    assert time.perf_counter() - started < 1


def test_a_sleep_of_nothing_and_one_below_are_as_ever() -> None:
    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            time.sleep(0)
        with pytest.raises(ValueError, match="non-negative"):
            time.sleep(-1)
        with pytest.raises(ValueError, match="negative argument"):
            os.urandom(-1)

    run(main())


def test_threads_of_others_keep_real_clocks_and_dice() -> None:
    seen: list[object] = []

    def stranger() -> None:
        started = time.monotonic()
        time.sleep(0.02)
        seen.extend([time.monotonic() - started, real_time() - time.monotonic(), os.urandom(8)])

    async def main() -> None:
        thread = threading.Thread(target=stranger)
        thread.start()
        thread.join()
        assert real_time() != monotonic()

    run(main())
    run(main())
    assert isinstance(seen[0], float)
    assert isinstance(seen[1], float)
    assert 0.015 < seen[0] < 5
    assert abs(seen[1]) < 1
    assert seen[2] != seen[5]


def test_what_a_module_imports_while_a_loop_runs_is_real_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_late.py").write_text("from time import monotonic, sleep\nfrom os import urandom\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> float:
        module = importlib.import_module("imported_late")
        now: float = module.monotonic()
        return now

    assert run(main()) == START_S
    module = sys.modules.pop("imported_late")
    assert abs(module.monotonic() - time.monotonic()) < 1
    started = time.perf_counter()
    module.sleep(0.02)
    assert time.perf_counter() - started > 0.015
    assert module.urandom(8) != module.urandom(8)


def test_a_module_that_is_imported_anew_follows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_twice.py").write_text("from time import monotonic\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> float:
        now: float = sys.modules["imported_twice"].monotonic()
        return now

    for _ in range(2):
        importlib.import_module("imported_twice")
        assert run(main()) == START_S
        del sys.modules["imported_twice"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_within_a_run_has_real_clocks() -> None:
    forks = multiprocessing.get_context("fork")
    seen = forks.SimpleQueue()

    def child() -> None:
        began, at = time.monotonic(), time.time()
        time.sleep(0.02)
        seen.put((time.monotonic() - began, time.time() - at, time.time()))

    process = forks.Process(target=child)

    async def main() -> float:
        process.start()
        process.join(20)
        return time.monotonic()

    assert run(main()) == START_S
    assert process.exitcode == 0, "or nothing would ever come out of the queue"
    slept, passed, now = seen.get()
    assert 0.015 < slept < 5
    assert 0.015 < passed < 5
    assert abs(now - time.time()) < 60


def test_whoever_measures_a_test_keeps_real_clocks() -> None:
    async def main() -> tuple[float, ...]:
        return tuple(eval("time.monotonic()", {"__name__": name, "time": time}) for name in ("hypothesis.core", "app"))

    measured, virtual = run(main())
    assert abs(measured - time.monotonic()) < 60
    assert virtual == START_S


def test_coroutines_begin_in_the_order_in_which_they_were_given() -> None:
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(1)
        return number

    async def main() -> list[int]:
        return [await each for each in as_completed([work(number) for number in range(30)], timeout=5)]

    assert run(main()) == begun == list(range(30))
    assert sorted(asyncio.run(_all_of([asyncio.sleep(0, number) for number in range(3)]))) == [0, 1, 2]
    assert as_completed is asyncio.as_completed


async def _all_of(given: list[Coroutine[Any, Any, int]]) -> list[int]:
    return [await each for each in as_completed(given)]


def test_what_a_test_puts_in_place_of_a_clock_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> float:
        monkeypatch.setattr(time, "monotonic", lambda: 7.0)
        return time.monotonic()

    assert run(main()) == 7.0
    assert time.monotonic() == 7.0
    monkeypatch.undo()
    # What it found, and puts back, is what stood there within the run: that is real again too.
    assert abs(time.monotonic() - real_time()) < 1
    run(asyncio.sleep(0))
    assert time.monotonic is _REAL["monotonic"]


def test_an_error_in_a_run_gives_the_clocks_back() -> None:
    async def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert abs(time.time() - datetime.now(UTC).timestamp()) < 1


def test_starting_and_stopping_is_cheap() -> None:
    loop = VirtualLoop()
    took = []
    for _ in range(50):
        started = time.perf_counter()
        loop.call_soon(loop.stop)
        loop.run_forever()
        took.append(time.perf_counter() - started)
    loop.close()
    assert min(took) < 0.001
