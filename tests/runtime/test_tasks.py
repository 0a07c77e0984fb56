from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from bothway.errors import UsageError
from bothway.runtime.tasks import Tasks

pytestmark = pytest.mark.virtual_time


async def forever() -> None:
    await asyncio.Event().wait()


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("as asked")


async def test_a_task_that_ends_is_forgotten() -> None:
    tasks = Tasks()
    assert await tasks.spawn(answer(), "answer") == 42
    await asyncio.sleep(0)
    assert len(tasks) == 0
    await tasks.close(1)


async def test_close_cancels_and_awaits_all() -> None:
    ended: list[str] = []

    async def careful(name: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            ended.append(name)

    tasks = Tasks()
    spawned = [tasks.spawn(careful(name), name) for name in ("one", "two")]
    await asyncio.sleep(0)
    assert len(tasks) == 2
    await tasks.close(1)
    assert sorted(ended) == ["one", "two"]
    assert all(task.cancelled() for task in spawned)
    assert len(tasks) == 0


async def test_a_failure_is_logged_once_by_name_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    reported: list[tuple[str, str]] = []
    tasks = Tasks(lambda name, error: reported.append((name, str(error))))
    tasks.spawn(fail(), "the failing one")
    other = tasks.spawn(forever(), "another")
    await asyncio.sleep(0.01)
    assert reported == [("the failing one", "as asked")]
    assert not other.done(), "the others go on"
    await tasks.close(1)
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == ["task the failing one failed"]
    assert caplog.records[0].exc_info is not None
    assert complaints == []


async def test_a_failure_while_closing_is_reported_too() -> None:
    async def fail_at_the_end() -> None:
        try:
            await forever()
        finally:
            await fail()

    reported: list[str] = []
    tasks = Tasks(lambda name, error: reported.append(f"{name}: {error}"))
    tasks.spawn(fail_at_the_end(), "late")
    await asyncio.sleep(0)
    await tasks.close(1)
    assert reported == ["late: as asked"]


async def test_a_task_that_will_not_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    tasks = Tasks()
    task = tasks.spawn(stubborn(), "stubborn")
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await tasks.close(0.02)
    assert "cancelled: stubborn" in caplog.text
    stop.set()
    await task


async def test_nothing_is_spawned_after_close() -> None:
    tasks = Tasks()
    await tasks.close(1)
    with pytest.raises(UsageError, match="task late was spawned after"):
        tasks.spawn(forever(), "late")


async def test_a_task_may_close_its_own_owner() -> None:
    tasks = Tasks()
    other = tasks.spawn(forever(), "other")
    await tasks.spawn(tasks.close(1), "closer")
    assert other.cancelled()
