from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from bothway.carrier import writer as module
from bothway.carrier.writer import Writer


def unexpected(error: OSError) -> None:
    raise AssertionError(error)


def _wait(begun: threading.Event, gate: threading.Event) -> None:
    begun.set()
    gate.wait()


async def test_jobs_run_in_order_on_a_thread_of_their_own() -> None:
    writer = Writer()
    ran: list[tuple[int, str]] = []

    def note(number: int) -> None:
        ran.append((number, threading.current_thread().name))

    for number in range(100):
        assert writer.submit(partial(note, number), unexpected)
    await writer.drained()
    assert ran == [(number, "bothway-writer") for number in range(100)]
    await writer.close()


async def test_an_oserror_is_told_on_the_loop_and_the_next_job_runs() -> None:
    writer = Writer()
    told: list[tuple[OSError, threading.Thread]] = []
    ran: list[int] = []

    def fails() -> None:
        raise OSError(28, "No space left on device")

    writer.submit(fails, lambda error: told.append((error, threading.current_thread())))
    writer.submit(lambda: ran.append(1), unexpected)
    await writer.drained()
    assert ran == [1]
    ((error, thread),) = told
    assert error.errno == 28
    assert thread is threading.main_thread()
    await writer.close()


async def test_a_bug_in_a_job_is_logged_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer()
    ran: list[int] = []
    writer.submit(partial(int, "a bug"), unexpected)  # type: ignore[arg-type]
    writer.submit(lambda: ran.append(1), unexpected)
    await writer.close()
    assert ran == [1]
    assert "a job of the writer failed" in caplog.text


async def test_too_many_jobs_are_refused_and_draining_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 3)
    writer = Writer()
    begun, gate = threading.Event(), threading.Event()
    ran: list[int] = []
    writer.submit(partial(_wait, begun, gate), unexpected)
    await asyncio.to_thread(begun.wait)
    taken = [writer.submit(partial(ran.append, number), unexpected) for number in range(5)]
    assert taken == [True, True, True, False, False]
    draining = asyncio.create_task(writer.drained())
    await asyncio.sleep(0.01)
    assert not draining.done()
    gate.set()
    await draining
    assert ran == [0, 1, 2]
    await writer.close()


async def test_close_runs_what_was_submitted_and_ends_the_thread() -> None:
    writer = Writer()
    ran: list[int] = []
    for number in range(1000):
        writer.submit(partial(ran.append, number), unexpected)
    await writer.close()
    assert len(ran) == 1000
    assert not writer._thread.is_alive()
