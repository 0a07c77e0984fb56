from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.carrier.store.examples import MAIN, a_call, opened
from tests.postgres import Postgres

from bothway.carrier.store import database as module
from bothway.carrier.store.database import Database
from bothway.carrier.store.opening import FILE_NAME
from bothway.carrier.store.records import StoreError
from bothway.carrier.store.store import Store
from bothway.errors import UsageError


def _database(store: Store) -> Database:
    return store._database


def _insert(number: int) -> str:
    return f"INSERT INTO nodes VALUES ('{number}', {number})"


def _do(sql: str) -> module.Job[None]:
    def job(connection: Connection) -> None:
        connection.execute(text(sql))

    return job


async def _count(store: Store) -> int:
    return await _database(store).read(lambda c: c.execute(text("SELECT count(*) FROM nodes")).scalar_one())


async def test_writes_run_in_order_and_in_groups(where: str | Path | None) -> None:
    async with opened(where) as store:
        transactions: set[int] = set()
        order: list[int] = []

        def job(connection: Connection, number: int) -> int:
            transactions.add(id(connection.get_transaction()))
            order.append(number)
            return number

        futures = [_database(store).write("a number", partial(job, number=n)) for n in range(1000)]
        assert await asyncio.gather(*futures) == [*range(1000)]
        assert order == [*range(1000)]
        assert len(transactions) <= 1000 / module.MAX_BATCH


async def test_a_write_that_fails_leaves_its_neighbours_alone(
    where: str | Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, StoreError]] = []
    async with opened(where, on_failure=lambda what, error: told.append((what, error))) as store:
        database = _database(store)
        before = database.write("the one before", _do(_insert(1)))
        bad = database.write("the bad one", _do("INSERT INTO nodes VALUES (NULL, NULL)"))
        after = database.write("the one after", _do(_insert(2)))
        await before
        await after
        with pytest.raises(StoreError, match=r"(?i)cannot be written: .*null"):
            await bad
        assert await _count(store) == 2
        assert store.failures == 1
        assert [what for what, _ in told] == ["the bad one"]
        assert "not written: the bad one: " in caplog.text


async def test_a_failure_that_nobody_awaits_is_told_once(
    where: str | Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(where) as store:
        _database(store).write("the lost one", _do("INSERT INTO nodes VALUES (NULL, NULL)"))
        await store.drained()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_bug_in_a_job_is_told_with_its_traceback(
    where: str | Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(where) as store:

        def job(_: Connection) -> int:
            return int("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await _database(store).write("a bug", job)
        assert caplog.records[0].exc_info is not None
        with pytest.raises(ValueError, match="a bug"):
            await _database(store).read(job)


async def test_a_cancelled_writer_still_writes(where: str | Path | None) -> None:
    async with opened(where) as store:
        heard: list[None] = []
        future = _database(store).write("a number", _do(_insert(1)), heard.append)
        future.cancel()
        await store.drained()
        assert await _count(store) == 1
        assert heard == [None]


async def test_a_closed_store_is_the_callers_mistake(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.calls.save(a_call())
    with pytest.raises(UsageError, match="the store is closed"):
        store.calls.save(a_call())
    with pytest.raises(UsageError, match="the store is closed"):
        store.outbox.put()
    with pytest.raises(UsageError, match="the store is closed"):
        await store.calls.get("call-1")
    await store.close()
    if where is not None:
        async with opened(where) as again:
            assert await again.calls.get("call-1") is not None, "what was asked for was written"


async def test_too_many_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WRITES", 3)
    async with opened(None) as store:
        futures = [_database(store).write("a number", _do(_insert(number))) for number in range(5)]
        done = await asyncio.gather(*futures, return_exceptions=True)
        assert done[:3] == [None] * 3
        for error in done[3:]:
            assert isinstance(error, StoreError)
            assert "does not keep up" in str(error)
        assert store.failures == 2
        assert await _count(store) == 3


async def test_too_many_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READS", 2)
    async with opened(None) as store:
        done = await asyncio.gather(*(store.calls.get("x") for _ in range(3)), return_exceptions=True)
        assert done[:2] == [None, None]
        assert isinstance(done[2], StoreError)


async def test_a_read_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "FRESH_S", 0.01)
    async with opened(tmp_path) as store:
        gate = threading.Event()
        _database(store).write("a slow one", lambda _: gate.wait(30))
        assert await store.calls.get("x") is None
        gate.set()


async def test_a_full_disk_is_told_and_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as store:
        database = _database(store)

        def pages(connection: Connection) -> int:
            return int(connection.execute(text("PRAGMA page_count")).scalar_one())

        def limit(connection: Connection) -> None:
            connection.execute(text(f"PRAGMA max_page_count = {full}"))

        full = await database.read(pages)
        await database.write("the limit", limit)
        futures = [store.calls.save(a_call(f"call-{n}", caller_name="x" * 5_000)) for n in range(3)]
        for error in await asyncio.gather(*futures, return_exceptions=True):
            assert isinstance(error, StoreError)
            assert str(error).endswith("records.db cannot be written: database or disk is full")
        assert "not written: call call-0 and 2 others" in caplog.text
        assert (await store.calls.live(MAIN, states=["queued"])).total == 0
        full = 1_000_000
        await database.write("the limit", limit)
        await store.calls.save(a_call("later"))
        assert await store.calls.get("later") is not None


def _hold(file: Path, held: threading.Event, release: threading.Event) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    held.set()
    release.wait(30)
    connection.execute("COMMIT")
    connection.close()


async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    async with opened(tmp_path) as store:
        other = spawn.Process(target=_hold, args=(tmp_path / FILE_NAME, held, release))
        other.start()
        await asyncio.to_thread(held.wait)
        write = store.calls.save(a_call())
        await asyncio.sleep(0.1)
        assert not write.done()
        release.set()
        await write
        assert await store.calls.get("call-1") is not None
        other.join()


async def test_another_process_that_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.1)
    async with opened(tmp_path) as store:
        connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        done = await asyncio.gather(*(store.calls.save(a_call(f"call-{n}")) for n in range(5)), return_exceptions=True)
        assert all(isinstance(error, StoreError) and "locked" in str(error) for error in done)
        assert time.monotonic() - began < 5
        connection.close()
        await store.calls.save(a_call())


async def test_two_stores_write_one_database(shared: str | Path) -> None:
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:
        await asyncio.gather(
            *(store.calls.save(a_call(f"{store.node}-{n}")) for n in range(50) for store in (one, two))
        )
        assert (await one.calls.live(MAIN, states=["queued"])).total == 100


@pytest.mark.usefixtures("cut_sockets")
async def test_a_lost_connection_is_made_again(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    url = postgres.new_database()
    async with opened(url) as store:
        await store.calls.save(a_call())
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bothway'")
        await store.calls.save(a_call("call-2"))
        assert await store.calls.get("call-1") is not None
        assert store.failures == 0
    assert "14155550100" not in caplog.text, "what was written is in no log"
