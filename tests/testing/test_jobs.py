"""Threads that work for a virtual loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest

from bothway.testing.standstill import PatienceError, StandstillError
from bothway.testing.virtual_loop import START_S, VirtualLoop, run


def elapsed() -> float:
    return round(asyncio.get_running_loop().time() - START_S, 9)


def work(real_seconds: float) -> None:
    """Be busy for so long, whatever the clocks say."""
    threading.Event().wait(real_seconds)


def test_a_job_holds_the_clock_and_not_the_tasks() -> None:
    async def main() -> tuple[int, float]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)
                await asyncio.sleep(0.02)

        turning = asyncio.create_task(turn())
        await asyncio.to_thread(work, 0.03)
        turning.cancel()
        return turns, elapsed()

    assert run(main()) == (1, 0)


def test_results_come_in_the_order_of_submission() -> None:
    async def main() -> list[str]:
        order = []

        async def one(name: str, real_seconds: float) -> None:
            await asyncio.to_thread(work, real_seconds)
            order.append(name)
            await asyncio.sleep(0)
            order.append(f"{name} goes on")

        await asyncio.gather(one("slow", 0.03), one("fast", 0.0), one("faster", 0.0))
        return order

    assert run(main()) == ["slow", "slow goes on", "fast", "fast goes on", "faster", "faster goes on"]


def test_a_set_of_jobs_has_the_order_of_submission() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        done, _ = await asyncio.wait([loop.run_in_executor(None, int, number) for number in range(30)])
        return [job.result() for job in done]

    assert run(main()) == list(range(30))


def test_a_result_comes_when_nothing_else_is_ready() -> None:
    async def main() -> list[str]:
        order = []
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, len, "")
        job.add_done_callback(lambda _: order.append("job"))
        for _ in range(100):
            # The thread is done long before.
            await asyncio.sleep(0)
            os.stat(".")
        order.append("tasks")
        await job
        return order

    assert run(main()) == ["tasks", "job"]


def test_errors_of_a_job_are_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(main())


def test_a_job_sleeps_in_virtual_time_while_others_go_on() -> None:
    async def main() -> tuple[list[float], float, float]:
        ticks = []

        async def tick() -> None:
            for _ in range(4):
                await asyncio.sleep(1)
                ticks.append(elapsed())

        ticking = asyncio.create_task(tick())
        before = time.monotonic()

        def sleeper() -> float:
            time.sleep(2.5)
            return time.monotonic() - before

        seen = await asyncio.to_thread(sleeper)
        slept = elapsed()
        await ticking
        return ticks, seen, slept

    started = time.perf_counter()
    assert run(main()) == ([1, 2, 3, 4], 2.5, 2.5)
    assert time.perf_counter() - started < 2


def test_a_job_that_looks_again_and_again_sees_the_loop_go_on() -> None:
    async def main() -> float:
        flag = threading.Event()

        def poll() -> None:
            while not flag.is_set():
                time.sleep(0.5)

        asyncio.get_running_loop().call_later(3.2, flag.set)
        await asyncio.to_thread(poll)
        return elapsed()

    assert run(main()) == 3.5


def test_more_jobs_may_sleep_than_there_are_threads() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as pool:
            await asyncio.gather(*[loop.run_in_executor(pool, time.sleep, 1) for _ in range(6)])
            return elapsed()

    assert run(main()) == 3


def test_a_job_may_ask_the_loop_for_what_takes_time() -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()

        def ask() -> str:
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(5, "answer"), loop).result()

        return await asyncio.to_thread(ask), elapsed()

    assert run(main()) == ("answer", 5)


def test_a_job_may_ask_for_what_needs_another_job() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()

        def ask() -> str:
            return asyncio.run_coroutine_threadsafe(asyncio.to_thread(str.upper, "answer"), loop).result()

        return await asyncio.to_thread(ask)

    assert run(main()) == "ANSWER"


def test_a_job_waits_no_longer_than_it_says() -> None:
    async def main() -> tuple[float, str]:
        loop = asyncio.get_running_loop()

        def ask() -> None:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(60), loop).result(timeout=5)

        def ask_in_time() -> str:
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(1, "in time"), loop).result(timeout=5)

        with pytest.raises(TimeoutError):
            await asyncio.to_thread(ask)
        return elapsed(), await asyncio.to_thread(ask_in_time)

    assert run(main()) == (5, "in time")


def test_the_calls_of_jobs_come_in_the_order_of_submission() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []

        def speak(name: str, real_seconds: float) -> None:
            work(real_seconds)
            for n in range(3):
                loop.call_soon_threadsafe(order.append, f"{name} {n}")
                work(real_seconds)

        await asyncio.gather(asyncio.to_thread(speak, "slow", 0.01), asyncio.to_thread(speak, "fast", 0))
        return order

    assert run(main()) == ["slow 0", "slow 1", "slow 2", "fast 0", "fast 1", "fast 2"]


def test_each_job_has_dice_of_its_own() -> None:
    async def main() -> list[bytes]:
        def throw(real_seconds: float) -> bytes:
            work(real_seconds)
            return os.urandom(4) + os.urandom(4)

        return list(await asyncio.gather(*[asyncio.to_thread(throw, real / 100) for real in (2, 0, 1)]))

    thrown = run(main())
    assert len(set(thrown)) == 3
    assert run(main()) == thrown


def test_a_cancelled_wait_leaves_the_clock_held_until_the_thread_returns() -> None:
    async def main() -> tuple[bool, float]:
        ended = threading.Event()

        def job() -> None:
            work(0.05)
            ended.set()

        waiting = asyncio.create_task(asyncio.to_thread(job))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(1)
        return ended.is_set(), elapsed()

    assert run(main()) == (True, 1)


def test_a_job_that_was_cancelled_before_it_began_never_begins() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        begun: list[str] = []
        with ThreadPoolExecutor(1) as pool:
            first = loop.run_in_executor(pool, work, 0.02)
            second = loop.run_in_executor(pool, begun.append, "second")
            second.cancel()
            await first
            await asyncio.sleep(1)
        return begun

    assert run(main()) == []


def test_a_job_that_never_returns_is_named() -> None:
    released = threading.Event()

    def stuck_in_the_mud() -> None:
        released.wait(10)

    async def main() -> None:
        await asyncio.to_thread(stuck_in_the_mud)

    with (
        # The end of the run does not wait for it again.
        pytest.raises(PatienceError) as raised,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=0.2)) as runner,
    ):
        runner.run(main())
    assert raised.value.__context__ is None
    released.set()
    line = stuck_in_the_mud.__code__.co_firstlineno
    assert f"stuck_in_the_mud ({__file__}:{line}), now at " in str(raised.value)
    assert f":{line + 1} in " in str(raised.value)
    assert "held for the job" in str(raised.value)


def test_a_job_that_waits_for_nothing_is_listed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ask_for_ever() -> None:
            asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), loop).result()

        with pytest.raises(concurrent.futures.CancelledError):
            await asyncio.to_thread(ask_for_ever)

    with pytest.raises(StandstillError, match=r"the job .*ask_for_ever .*, now at tests"):
        run(main())


def test_a_loop_that_is_closed_lets_its_sleeping_jobs_go() -> None:
    ended: list[type[BaseException]] = []

    def sleeper() -> None:
        try:
            time.sleep(1000)
        except BaseException as error:
            ended.append(type(error))
            raise

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(pool, sleeper)
        await asyncio.sleep(5)

    pool = ThreadPoolExecutor(1)
    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()
    pool.shutdown()
    assert ended == [concurrent.futures.CancelledError]


def test_the_end_of_a_run_waits_for_the_jobs_in_virtual_time() -> None:
    ended: list[float] = []

    def sleeper() -> None:
        time.sleep(1000)
        ended.append(time.monotonic())

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, sleeper)
        await asyncio.sleep(1)

    run(main())
    assert ended == [START_S + 1000]


def test_an_executor_that_needs_no_thread_works() -> None:
    class AtOnce(concurrent.futures.Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
            done: concurrent.futures.Future[Any] = concurrent.futures.Future()
            done.set_result(fn(*args, **kwargs))
            return done

    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(AtOnce(), len, "four")

    assert run(main()) == 4


def test_an_executor_that_was_shut_down_says_so() -> None:
    async def main() -> float:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        with pytest.raises(RuntimeError, match="shutdown"):
            asyncio.get_running_loop().run_in_executor(pool, len, "")
        await asyncio.sleep(1)
        return elapsed()

    assert run(main()) == 1


# --- anyio: the plain endpoints of Starlette and FastAPI ---


def test_the_threads_of_anyio_are_jobs_too() -> None:
    async def main() -> tuple[list[str], float]:
        order = []

        async def endpoint(name: str, real_seconds: float) -> None:
            await anyio.to_thread.run_sync(work, real_seconds)
            order.append(name)

        async def ask() -> float:
            await anyio.to_thread.run_sync(time.sleep, 0.5)
            return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(sleep_and_tell))

        async def sleep_and_tell() -> float:
            await asyncio.sleep(2)
            return elapsed()

        ticking = asyncio.create_task(asyncio.sleep(0.02))
        await asyncio.gather(endpoint("slow", 0.03), endpoint("fast", 0))
        assert elapsed() == 0
        await ticking
        return order, await ask()

    assert run(main()) == (["slow", "fast"], 2.52)


def test_more_of_anyios_jobs_may_sleep_than_its_limiter_lets_in() -> None:
    async def main() -> float:
        limiter = anyio.CapacityLimiter(2)

        def sleeping() -> Awaitable[None]:
            return anyio.to_thread.run_sync(time.sleep, 1, limiter=limiter)

        await asyncio.gather(*[sleeping() for _ in range(5)])
        return elapsed()

    assert run(main()) == 3


def test_anyio_is_as_before_after_a_run() -> None:
    async def main() -> float:
        started = time.perf_counter()
        await anyio.to_thread.run_sync(time.sleep, 0.02)
        return time.perf_counter() - started

    assert run(main()) == pytest.approx(0.02)
    assert 0.015 < asyncio.run(main()) < 5


def test_random_is_not_drawn_from_by_the_machinery() -> None:
    async def with_jobs() -> float:
        await asyncio.to_thread(time.sleep, 1)
        return random.random()

    async def without() -> float:
        return random.random()

    assert run(with_jobs()) == run(without())
