"""The loop whose clock jumps."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.speech.providers.espeak import EspeakVoice
from bothway.testing import virtual_loop
from bothway.testing.standstill import PatienceError, RunawayError, StandstillError
from bothway.testing.virtual_loop import START_S, VirtualLoop, run
from bothway.testing.wall import EPOCH

_MONOTONIC = time.monotonic


@pytest.fixture(autouse=True)
def _nothing_is_left_of_a_run() -> Iterator[None]:
    wall, monotonic, zone, dice = time.time(), time.monotonic(), os.environ.get("TZ"), random.getstate()
    yield
    assert time.monotonic is _MONOTONIC
    passed = time.monotonic() - monotonic
    assert 0 <= passed < 60
    assert abs(time.time() - wall - passed) < 1
    assert abs(datetime.now(UTC).timestamp() - time.time()) < 1
    assert os.environ.get("TZ") == zone
    assert random.getstate() == dice


def elapsed() -> float:
    return round(asyncio.get_running_loop().time() - START_S, 9)


# --- the clock ---


def test_an_hour_of_sleep_takes_no_time_and_ends_at_its_instant() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return elapsed()

    started = time.perf_counter()
    assert run(main()) == 3600
    assert time.perf_counter() - started < 5


def test_the_clock_does_not_move_while_tasks_are_ready() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return elapsed()

    assert run(main()) == 0


@given(st.lists(st.sampled_from([0.0, 0.02, 0.1, 0.1 + 1e-12, 0.3, 0.30000000000000004, 7.0]), max_size=30))
def test_timers_fire_by_nanosecond_and_then_in_the_order_in_which_they_were_set(delays: list[float]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        fired: list[int] = []

        def fire(number: int) -> None:
            fired.append(number)
            assert loop.time() >= start + delays[number] - 1e-9

        for number, delay in enumerate(delays):
            loop.call_at(start + delay, fire, number)
        await asyncio.sleep(8)
        assert fired == sorted(range(len(delays)), key=lambda number: (round((start + delays[number]) * 1e9), number))

    run(main())


def test_ten_sleeps_of_a_tenth_end_with_one_of_a_second_that_was_set_before() -> None:
    async def main() -> list[str]:
        order = []

        async def sleep(name: str, times: int, seconds: float) -> None:
            for _ in range(times):
                await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(sleep("one", 1, 1.0), sleep("ten", 10, 0.1))
        return order

    assert run(main()) == ["one", "ten"]


@given(st.floats(min_value=1e-12, max_value=1e4))
def test_the_clock_is_never_before_the_timer_that_it_jumped_to(delay: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + delay
        reached = loop.create_future()
        loop.call_at(when, lambda: reached.set_result(loop.time()))
        assert await reached >= when

    run(main())


def test_a_task_that_sleeps_until_a_moment_does_not_spin() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        turns = 0
        for n in range(1, 1000):
            deadline = START_S + n * 0.02
            while (left := deadline - loop.time()) > 0:
                turns += 1
                await asyncio.sleep(left)
        return turns

    assert run(main()) < 1100


def test_cancelled_timers_are_let_go_of() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for _ in range(1000):
            loop.call_later(50, print).cancel()
            await asyncio.sleep(0.001)
        return len(loop._scheduled)

    assert run(main()) < 300


def test_a_loop_goes_on_where_it_was() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(asyncio.sleep(5))
        runner.run(asyncio.sleep(5))
        assert runner.get_loop().time() == START_S + 10


def test_an_ordinary_loop_beside_it_stays_ordinary() -> None:
    async def main() -> float:
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(0.02)
        return asyncio.get_running_loop().time() - started

    async def virtual() -> float:
        with asyncio.get_running_loop().hold("another loop"):  # type: ignore[attr-defined]
            return await asyncio.to_thread(asyncio.run, main())

    assert 0.015 < asyncio.run(main()) < 5
    assert 0.015 < run(virtual()) < 5
    assert 0.015 < asyncio.run(main()) < 5


def test_debug_mode_works(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bool:
        await asyncio.sleep(1)
        await asyncio.to_thread(len, "")
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=True)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    assert run(main())
    assert not run(main(), debug=False)


def test_asynchronous_generators_are_closed_in_the_order_in_which_they_were_begun() -> None:
    closed: list[int] = []

    async def chunks(number: int) -> AsyncIterator[bytes]:
        try:
            yield b""
        finally:
            await asyncio.sleep(1)
            closed.append(number)

    async def main() -> list[AsyncIterator[bytes]]:
        begun = [chunks(number) for number in range(30)]
        for each in begun:
            await anext(each)
        return begun

    assert len(run(main())) == 30
    assert closed == list(range(30))


def test_a_timer_that_is_never_due_is_as_good_as_none() -> None:
    async def main(*, lost: bool) -> float:
        async with asyncio.timeout(float("inf")):
            await asyncio.sleep(5)
            if lost:
                await asyncio.Event().wait()
        return elapsed()

    assert run(main(lost=False)) == 5
    with pytest.raises(StandstillError):
        run(main(lost=True))


def test_a_closed_loop_takes_no_more() -> None:
    loop = VirtualLoop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_in_executor(None, print)


# --- sockets ---


def test_bytes_in_a_socket_arrive_at_the_instant_at_which_they_were_sent() -> None:
    async def main() -> list[tuple[float, bytes]]:
        near, far = socket.socketpair()
        near.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=far)
        got = []

        async def read() -> None:
            while data := await reader.read(100):
                got.append((elapsed(), data))

        reading = asyncio.create_task(read())
        for n in range(3):
            await asyncio.sleep(0.25)
            near.send(b"%d" % n)
        near.close()
        await reading
        writer.close()
        await writer.wait_closed()
        return got

    assert run(main()) == [(0.25, b"0"), (0.5, b"1"), (0.75, b"2")]


def test_a_task_that_spins_for_bytes_gets_them() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        far.setblocking(False)
        got: list[bytes] = []
        loop.add_reader(far, lambda: got.append(far.recv(10)))
        near.send(b"x")
        while not got:  # noqa: ASYNC110 - the spinning is what is tested
            await asyncio.sleep(0)
        loop.remove_reader(far)
        near.close()
        far.close()
        return elapsed()

    assert run(main()) == 0


def test_a_connection_whose_other_end_has_gone_is_closed_as_the_run_ends() -> None:
    """On an ordinary loop the last steps of a Runner see to it."""
    lost: list[Exception | None] = []

    class Listener(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    async def main() -> None:
        near, far = socket.socketpair()
        await asyncio.get_running_loop().create_connection(Listener, sock=far)
        near.close()

    run(main())
    assert lost == [None]


def test_wake_ups_do_not_fill_the_loops_own_socket() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(5000):
            loop.call_soon_threadsafe(len, "")
        for _ in range(100):
            await asyncio.sleep(1)
        assert loop._csock.send(b"\0") == 1  # type: ignore[attr-defined]

    run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix signals")
def test_a_signal_is_heard_within_some_turns() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, heard.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        ticks = 0
        while not heard.is_set():
            ticks += 1
            await asyncio.sleep(0.02)
        loop.remove_signal_handler(signal.SIGUSR1)
        return ticks

    assert run(main()) < 200


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix signals")
def test_a_signal_that_has_come_is_heard_where_all_else_stands_still() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, heard.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await heard.wait()
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())


# --- when nothing can happen ---


def test_a_standstill_names_the_tasks_and_where_they_wait() -> None:
    async def lost() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(lost(), name="the lost one")
        await task

    with pytest.raises(StandstillError) as raised:
        run(main())
    assert "everything waits" in str(raised.value)
    line = lost.__code__.co_firstlineno + 1
    assert f"  the lost one: {__file__.removeprefix(os.getcwd() + os.sep)}:{line} in " in str(raised.value)


def test_a_thread_of_others_may_end_a_standstill() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        stranger = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(woken.set))
        stranger.start()
        await woken.wait()
        await asyncio.to_thread(stranger.join)
        return elapsed()

    assert run(main()) == 0


def test_a_standstill_does_not_wait_for_its_own_threads_and_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "GRACE_S", 20.0)

    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []
        async with await asyncio.start_server(lambda _, writer: writers.append(writer), "app.test", 80):
            reader, writer = await asyncio.open_connection("app.test", 80)
            await asyncio.to_thread(len, "")
            await anyio.to_thread.run_sync(len, "")
            try:
                await reader.read()
            finally:
                for each in (writer, *writers):
                    each.close()

    started = time.monotonic()
    with pytest.raises(StandstillError):
        run(main())
    assert time.monotonic() - started < 10


def test_somebody_elses_end_of_a_socket_may_end_a_standstill() -> None:
    async def main() -> bytes:
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=far)
        child = subprocess.Popen(["sh", "-c", "sleep 0.05; echo hello"], stdout=near.fileno())  # noqa: ASYNC220
        near.close()
        heard = await reader.readline()
        child.wait()
        writer.close()
        return heard

    assert run(main()) == b"hello\n"


def test_a_task_that_spins_for_what_a_thread_does_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "LIMIT_TURNS", 1000)

    async def main() -> None:
        job = asyncio.create_task(asyncio.to_thread(len, ""))
        while not job.done():  # noqa: ASYNC110 - the spinning is what is tested
            await asyncio.sleep(0)

    with pytest.raises(RunawayError, match=r"ready 1000 turns long[^$]*`await asyncio.sleep\(0\)`"):
        run(main())


def test_a_timer_that_is_too_far_away_does_not_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(24 * 3600, print)
        await asyncio.Event().wait()

    with pytest.raises(RunawayError, match="or is that far away"):
        run(main())


def test_a_ticker_does_not_run_for_ever() -> None:
    async def main() -> None:
        async def tick() -> None:
            while True:  # noqa: ASYNC110 - it has nothing to wait for
                await asyncio.sleep(0.5)

        ticker = asyncio.create_task(tick(), name="ticker")
        await asyncio.Event().wait()
        ticker.cancel()

    with pytest.raises(RunawayError, match=r"for more than 4 h in one run[^$]*ticker: [^$]* in ") as raised:
        run(main())
    assert isinstance(raised.value, UsageError)


def test_the_limit_is_of_each_run() -> None:
    loop = VirtualLoop(limit=60)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        for _ in range(3):
            runner.run(asyncio.sleep(50))
        with pytest.raises(RunawayError):
            runner.run(asyncio.sleep(70))


def test_two_loops_do_not_run_at_once() -> None:
    def second() -> None:
        loop = VirtualLoop()
        loop.call_soon(loop.stop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    async def main() -> None:
        with pytest.raises(UsageError, match="two loops cannot run in virtual time at once"):
            await asyncio.to_thread(second)

    run(main())
    second()


def test_an_error_passes_through() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(main())


# --- what holds the clock ---


def test_a_hold_stops_the_clock_and_not_the_tasks() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        woken = asyncio.Event()
        stranger = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(woken.set))
        sleeping = asyncio.create_task(asyncio.sleep(1))
        with loop.hold("a thread"):
            stranger.start()
            await woken.wait()
            held = elapsed()
        await sleeping
        stranger.join()
        return held, elapsed()

    assert run(main()) == (0, 1)


def test_a_hold_without_end_is_named() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        with loop.hold("the reply of a far server"):
            await asyncio.sleep(1)

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=0.05)) as runner,
        pytest.raises(PatienceError, match=r"nothing came for 0.05 s .* held for the reply of a far server"),
    ):
        runner.run(main())


# --- processes ---


def test_time_stands_still_while_a_process_is_waited_for() -> None:
    async def main() -> tuple[bytes, int | None, float]:
        ticking = asyncio.create_task(asyncio.sleep(0.02))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", "print(input())", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate(b"hello\n")
        done = elapsed()
        await ticking
        return output, process.returncode, done

    assert run(main()) == (b"hello\n", 0, 0)


def test_a_process_that_nobody_waits_for_does_not_hold_the_clock() -> None:
    async def main() -> tuple[bytes, float, float]:
        process = await asyncio.create_subprocess_shell("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        await asyncio.sleep(3600)
        slept = elapsed()
        ticking = asyncio.create_task(asyncio.sleep(0.02))
        process.stdin.write(b"hello\n")
        said = await process.stdout.readline()
        process.stdin.close()
        await process.wait()
        ended = elapsed()
        await ticking
        return said, slept, ended

    assert run(main()) == (b"hello\n", 3600, 3600)


def test_a_process_that_never_answers_is_named() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            await asyncio.wait_for(process.stdout.readline(), 5)
        finally:
            process.stdin.close()
            await process.wait()

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=0.2)) as runner,
        pytest.raises(PatienceError, match="held for the process cat"),
    ):
        runner.run(main())


def test_the_offline_voice_speaks_at_one_instant() -> None:
    async def main() -> tuple[int, list[float]]:
        voice = EspeakVoice(rate=8000)
        at = []
        size = 0
        for _ in range(2):
            async for chunk in voice.synthesize("Good morning."):
                size += len(chunk)
            at.append(elapsed())
            await asyncio.sleep(600)
        await voice.close()
        return size, at

    size, at = run(main())
    assert size > 8000
    assert at == [0, 600]


# --- the same again ---

PROGRAM = textwrap.dedent(
    """
    import asyncio, os, random, secrets, threading, time, uuid
    from datetime import datetime
    from time import monotonic
    from bothway.testing.virtual_loop import run

    def say(*words):
        print(f"{asyncio.get_running_loop().time():.9f}", *words)

    def job(name, real_seconds):
        # A real delay that differs from run to run: the program must not see which thread was faster.
        threading.Event().wait(real_seconds)
        time.sleep(0.5)
        asked = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.25, name), LOOP)
        return asked.result(), os.urandom(2).hex(), monotonic()

    async def worker(name, seconds):
        try:
            for _ in range(5):
                await asyncio.sleep(seconds)
                say(name, random.random())
            say(name, *await asyncio.to_thread(job, name, REAL.random() / 50))
            await asyncio.sleep(3600)
        finally:
            say(name, "ends")

    async def failing(group):
        await asyncio.sleep(20)
        raise ValueError

    async def main():
        global LOOP
        LOOP = asyncio.get_running_loop()
        say(datetime.now().isoformat(), uuid.uuid4(), secrets.token_hex(4), random.choice("abc"))
        leftovers = [asyncio.create_task(worker(f"left {n}", 0.1)) for n in range(9)]
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(9):
                    group.create_task(worker(f"grouped {n}", 0.5 / (1 + n % 2)))
                group.create_task(failing(group))
        except* ValueError:
            say("failed")
        done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(1, n)) for n in range(9)])
        say([task.result() for task in done])

    REAL = random.Random(os.getpid())
    run(main(), seed=7)
    """
)


def test_fresh_processes_see_the_same() -> None:
    outputs = []
    for hash_seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        outputs.append(ended.stdout)
    lines = outputs[0].splitlines()
    assert sum("ends" in line for line in lines) == 18
    assert lines[0].startswith("1000.000000000 2026-01-01T00:00:00 ")
    assert outputs[1:] == outputs[:1] * 2


def test_another_seed_throws_other_dice() -> None:
    async def main() -> float:
        return random.random()

    assert run(main(), seed=1) == run(main(), seed=1)
    assert run(main(), seed=1) != run(main(), seed=2)


def test_the_epoch_is_what_the_wall_clock_says() -> None:
    async def main() -> datetime:
        await asyncio.sleep(90)
        return datetime.now(UTC)

    assert run(main()) == EPOCH + timedelta(seconds=90)
    christmas = datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert run(main(), epoch=christmas) == christmas + timedelta(seconds=90)
