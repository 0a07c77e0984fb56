from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.carrier.store.examples import a_call, opened

from bothway.carrier.store import overdue
from bothway.carrier.store.opening import FILE_NAME
from bothway.carrier.store.records import CallRecord, StoreError
from bothway.carrier.store.store import Store

pytestmark = pytest.mark.virtual_time

LIVE = a_call("live", state="in-progress", end_time=None)
ENDED = msgspec.structs.replace(LIVE, state="completed", end_time=datetime(2026, 1, 2, tzinfo=UTC))


def refuse(folder: Path, yes: bool) -> None:
    """Have the database refuse every call, or none."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        if yes:
            for event in ("INSERT", "UPDATE"):
                connection.execute(
                    f"CREATE TRIGGER no_{event} BEFORE {event} ON calls BEGIN SELECT RAISE(FAIL, 'no room'); END"
                )
        else:
            for event in ("INSERT", "UPDATE"):
                connection.execute(f"DROP TRIGGER no_{event}")
        connection.commit()


async def save(store: Store, call: CallRecord) -> None:
    with pytest.raises(StoreError, match="no room"):
        await store.calls.save(call)


async def test_an_end_is_written_when_it_can_be(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.calls.save(LIVE)
        refuse(tmp_path, yes=True)
        await save(store, ENDED)
        await asyncio.sleep(3 * overdue.RETRY_S)
        assert await store.calls.get("live") == LIVE
        refuse(tmp_path, yes=False)
        await asyncio.sleep(2 * overdue.RETRY_S)
        assert await store.calls.get("live") == ENDED
        failures = store.failures
        await asyncio.sleep(3 * overdue.RETRY_S)
        assert store.failures == failures >= 3


async def test_an_end_is_tried_a_last_time_when_the_store_closes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.calls.save(LIVE)
        refuse(tmp_path, yes=True)
        await save(store, ENDED)
        refuse(tmp_path, yes=False)
    async with opened(tmp_path) as store:
        assert await store.calls.get("live") == ENDED


async def test_what_comes_before_the_end_is_not_tried_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        refuse(tmp_path, yes=True)
        await save(store, LIVE)
        refuse(tmp_path, yes=False)
        await asyncio.sleep(3 * overdue.RETRY_S)
        assert await store.calls.get("live") is None


async def test_only_so_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(overdue, "MOST_OVERDUE", 1)
    async with opened(tmp_path) as store:
        refuse(tmp_path, yes=True)
        for number in range(3):
            await save(store, msgspec.structs.replace(ENDED, call_uuid=f"call-{number}"))
        refuse(tmp_path, yes=False)
        await asyncio.sleep(2 * overdue.RETRY_S)
        assert await store.calls.get("call-0") is not None
        assert await store.calls.get("call-1") is None
        told = [record for record in caplog.records if record.name == overdue.__name__]
        assert [record.getMessage().partition(": ")[2] for record in told] == [
            "1 ends wait for another try, and no more can"
        ]
