from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.carrier.store.examples import MAIN, NOW, a_call, an_ended_call, opened

from bothway.carrier.store import database
from bothway.carrier.store.records import Answer
from bothway.carrier.store.store import SWEEP_SECONDS, Store

OPENING_S = {"file": 0.030, "memory": 0.010}


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_a_new_store_is_quick(kind: str, tmp_path: Path) -> None:
    """Measured as processor time; the best of five counts."""
    spent = []
    for number in range(5):
        where = tmp_path / str(number) if kind == "file" else None
        began = time.process_time()
        async with opened(where):
            spent.append(time.process_time() - began)
    assert min(spent) < OPENING_S[kind]


async def test_a_store_leaves_no_thread(where: str | Path | None) -> None:
    before = threading.active_count()
    async with opened(where) as store:
        await asyncio.gather(*(store.calls.get("x") for _ in range(9)))
        assert threading.active_count() > before
    assert threading.active_count() == before


async def test_records_outlive_the_store(shared: str | Path) -> None:
    async with opened(shared) as store:
        store.calls.save(an_ended_call())
    async with opened(shared) as store:
        assert await store.calls.get("call-1") == an_ended_call()


async def test_a_database_in_memory_does_not(tmp_path: Path) -> None:
    async with opened(None) as one, opened(None) as other:
        assert not one.is_shared
        await one.calls.save(a_call())
        assert await other.calls.get("call-1") is None


def test_it_has_a_name_and_a_node(shared: str | Path) -> None:
    async def main() -> None:
        async with opened(shared, node="7") as store:
            assert store.name.startswith("the database ")
            assert store.node == "7"
            assert store.is_shared

    asyncio.run(main())


@pytest.mark.virtual_time
async def test_in_virtual_time_the_clock_stands_still(where: str | Path | None) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with opened(where) as store:
        for number in range(100):
            await store.calls.save(a_call(f"call-{number}"))
        assert (await store.calls.live(MAIN, states=["queued"])).total == 100
        await store.sweep(NOW)
    assert loop.time() == began


@pytest.mark.virtual_time
async def test_in_virtual_time_a_run_is_the_same_each_time(where: str | Path | None) -> None:
    """Which writes are one transaction, and when each is heard of, follows from the program alone."""

    async def story(store: Store, mark: str) -> list[str]:
        heard: list[str] = []

        async def caller(number: int) -> None:
            await asyncio.sleep(number % 3 * 0.02)
            await store.calls.save(a_call(f"{mark}-{number}"))
            heard.append(f"saved {number}")
            await store.calls.get(f"{mark}-{number}")
            heard.append(f"read {number}")

        await asyncio.gather(*(caller(number) for number in range(30)))
        return heard

    async with opened(where) as store:
        assert await story(store, "a") == await story(store, "b")


@pytest.mark.virtual_time
async def test_what_nobody_needs_is_swept_every_hour(where: str | Path | None) -> None:
    async with opened(where) as store:
        begun = datetime.now(UTC)
        sweeping = asyncio.create_task(store.keep_swept(lambda: datetime.now(UTC)))
        for age in (23, 1):
            at = begun - timedelta(hours=age)
            await store.idempotency.claim(MAIN, f"key of {age} h", b"request", Answer(201, b"{}"), now=at)
        await asyncio.sleep(2 * SWEEP_SECONDS + 1)
        assert await store.sweep(begun + timedelta(hours=2)) == 0, "the older one is gone"
        assert await store.sweep(begun + timedelta(hours=24)) == 1
        sweeping.cancel()


@pytest.mark.virtual_time
async def test_a_sweep_that_fails_has_its_turn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(None) as store:
        begun = datetime.now(UTC)
        await store.idempotency.claim(MAIN, "key", b"request", Answer(201, b"{}"), now=begun - timedelta(hours=25))
        monkeypatch.setattr(database, "MAX_WRITES", 0)
        sweeping = asyncio.create_task(store.keep_swept(lambda: datetime.now(UTC)))
        await asyncio.sleep(1)
        monkeypatch.undo()
        await asyncio.sleep(SWEEP_SECONDS)
        assert await store.sweep(begun) == 0
        sweeping.cancel()
