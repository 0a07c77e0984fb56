"""Who waits for what, in words."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import types
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import bothway
from bothway.testing.standstill import MAX_LISTED, bystanders, has_strangers, place_of_frame, waiting_tasks

_HERE = __file__.removeprefix(os.getcwd() + os.sep)
_PACKAGE = str(Path(bothway.__file__).parent)


@types.coroutine
def _forever() -> Iterator[None]:
    while True:
        yield


async def _inner() -> None:
    await _forever()


async def _chunks() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _reader() -> None:
    async for _ in _chunks():
        pass


async def test_a_task_waits_at_the_innermost_line_of_the_users() -> None:
    async def main() -> None:
        await asyncio.wait_for(asyncio.shield(asyncio.create_task(_inner(), name="inner")), 60)

    outer = asyncio.create_task(main(), name="outer")
    await asyncio.sleep(0.01)
    text = waiting_tasks(asyncio.get_running_loop())
    assert f"  outer: {_HERE}:{main.__code__.co_firstlineno + 1} in {main.__qualname__}" in text
    # The generator is the user's too.
    assert f"  inner: {_HERE}:{_forever.__code__.co_firstlineno + 3} in _forever" in text
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([outer])


async def test_a_loop_over_an_asynchronous_generator_is_where_its_task_waits() -> None:
    reading = asyncio.create_task(_reader(), name="reader")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    text = waiting_tasks(asyncio.get_running_loop())
    reading.cancel()
    await asyncio.wait([reading])
    assert f"  reader: {_HERE}:{_reader.__code__.co_firstlineno + 1} in _reader" in text


async def test_no_more_than_some_tasks_are_listed() -> None:
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(MAX_LISTED + 5)]
    await asyncio.sleep(0)
    lines = waiting_tasks(asyncio.get_running_loop()).splitlines()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(lines) == MAX_LISTED + 1
    # The test's own is the sixth that is left out.
    assert lines[-1] == "  and 6 more tasks"


def test_no_task_is_said_to_be_none() -> None:
    loop = asyncio.new_event_loop()
    assert waiting_tasks(loop) == "  no task at all"
    loop.close()


def test_a_thread_is_where_the_users_code_is() -> None:
    assert place_of_frame(sys._getframe()).startswith(f"{_HERE}:")
    place = place_of_frame(sys._getframe())
    line = test_a_thread_is_where_the_users_code_is.__code__.co_firstlineno + 2
    assert place == f"{_HERE}:{line} in {sys._getframe().f_code.co_name}: `place = place_of_frame(sys._getframe())`"
    assert place_of_frame(None) == "C code that the event loop runs"


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (["app.py", f"{_PACKAGE}/app/call.py", f"{_PACKAGE}/testing/caller.py", asyncio.locks.__file__], 0),
        (["/x/site-packages/a.py", f"{_PACKAGE}/app/call.py", f"{_PACKAGE}/testing/caller.py", "<frozen os>"], 1),
        ([f"{_PACKAGE}/app/call.py", "/x/site-packages/a.py", f"{_PACKAGE}/testing/caller.py"], 1),
        ([asyncio.locks.__file__, f"{_PACKAGE}/testing/caller.py", asyncio.locks.__file__], 1),
        ([asyncio.tasks.__file__, asyncio.locks.__file__], 1),
    ],
)
def test_of_many_files_the_one_nearest_to_the_user_is_shown(files: list[str], shown: int) -> None:
    """Whatever is outside of a loop's callback, such as this test, has nothing to do with it."""
    seen: list[str] = []

    def look() -> None:
        seen.append(place_of_frame(sys._getframe().f_back))

    called = look
    for file in reversed(files):
        called = eval(compile("lambda: inner()", file, "eval"), {"inner": called})
    loop = asyncio.new_event_loop()
    loop.call_soon(called)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert seen[0].startswith(f"{files[shown].removeprefix(os.getcwd() + os.sep)}:1 in <lambda>")


def test_a_thread_that_only_watches_is_no_stranger() -> None:
    def others() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each is not here and each not in bystanders]

    here = threading.current_thread()
    assert has_strangers() == bool(others())
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert has_strangers()
    bystanders.add(thread)
    assert has_strangers() == bool(others())
    over.set()
    thread.join()
