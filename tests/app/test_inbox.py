from __future__ import annotations

import asyncio

import pytest

from bothway.app.inbox import Inbox
from bothway.errors import UsageError
from bothway.testing.virtual_loop import run


def never() -> None:
    raise AssertionError("nothing overflows")


def test_items_come_in_order_and_end_with_the_close() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10, never)
        inbox.put(1)
        reading = asyncio.create_task(collect(inbox))
        await asyncio.sleep(0)
        inbox.put(2)
        inbox.put(3)
        await asyncio.sleep(0)
        inbox.put(4)
        inbox.close()
        assert await reading == [1, 2, 3, 4]
        assert await collect(inbox) == []

    run(main())


async def collect(inbox: Inbox[int]) -> list[int]:
    return [item async for item in inbox.reader()]


def test_the_oldest_makes_room_and_is_only_missed_by_readers() -> None:
    async def main() -> None:
        told: list[None] = []
        inbox: Inbox[int] = Inbox(3, lambda: told.append(None))
        for item in range(5):
            inbox.put(item)
        assert (inbox.dropped, told, len(inbox)) == (0, [], 3)
        reader = inbox.reader()
        assert await anext(reader) == 2
        for item in range(5, 9):
            inbox.put(item)
        assert (inbox.dropped, told) == (3, [None])
        assert [await anext(reader) for _ in range(3)] == [6, 7, 8]

    run(main())


def test_a_fresh_reader_forgets_what_waits() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(3, never)
        inbox.put(1)
        reader = inbox.reader(fresh=True)
        inbox.put(2)
        assert await anext(reader) == 2

    run(main())


def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(3, never)
        reading = asyncio.create_task(collect(inbox))
        await asyncio.sleep(0)
        inbox.put(1)
        reading.cancel()  # woken already, and not run yet
        await asyncio.gather(reading, return_exceptions=True)
        assert await anext(inbox.reader()) == 1

    run(main())


def test_two_readers_at_once_are_a_mistake() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(3, never)
        reading = asyncio.create_task(collect(inbox))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="two loops"):
            await anext(inbox.reader())
        inbox.close()
        assert await reading == []

    run(main())
