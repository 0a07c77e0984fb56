"""The database goes away in mid-call: the call goes on, what can be written later is, and what cannot be is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.carrier.rest_client import Rest
from tests.carrier.world import Caller, Socket, World, until, world
from tests.postgres import Postgres

from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.usefixtures("cut_sockets")

NOISE = b"\x11" * 160


async def five_seconds(socket: Socket) -> None:
    await socket.play(NOISE * 250)
    await socket.closed.wait()


@asynccontextmanager
async def up(tmp_path: Path, db: str) -> AsyncIterator[tuple[World, Caller]]:
    """A call with a stream, whose records are in this database."""
    async with world(tmp_path, five_seconds, db=db, voice=ToneVoice(rate=8000)) as w:
        caller, _ = w.place(w.stream(statusCallbackUrl=w.site.url + "/status"))
        await caller.hears(NOISE, 5)
        await until(lambda: w.site.asked("/status"))
        yield w, caller


def database(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def cut_connections(postgres: Postgres, url: str) -> int:
    """End every connection to a database; gives how many there were."""
    found = postgres.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database(url)}'"
    ).split()
    assert set(found) <= {"t"}
    return len(found)


async def check_whole(w: World, caller: Caller) -> None:
    """The call is in the records as if nothing had been."""
    w.check_accounted(caller, 4000, "Caller")
    assert w.site.events("/status") == ["started", "stopped"]
    assert w.carrier._store is not None
    record = await w.carrier._store.calls.get(caller.call_id)
    assert record is not None
    assert (record.state, record.hangup_cause_code) == ("completed", 4000)
    (stream,) = (await w.carrier._store.streams.list(caller.call_id)).records
    assert stream.status == "completed"
    assert await w.carrier._store.outbox.waiting() == 0
    assert w.metric("bothway_record_write_failures_total") == 0


async def test_connections_that_are_cut(tmp_path: Path, postgres: Postgres) -> None:
    db = postgres.new_database()
    async with up(tmp_path, db) as (w, caller):
        assert await asyncio.to_thread(cut_connections, postgres, db) >= 1
        heard = len(caller.heard)
        assert (await Rest(w).get(f"Call/{caller.call_id}/", status="live"))["call_status"] == "in-progress"
        await until(lambda: len(caller.heard) >= heard + 25)
        assert await asyncio.to_thread(cut_connections, postgres, db) >= 1
        caller.hang_up()
        await w.over(caller)
        await check_whole(w, caller)


async def test_a_server_that_crashes_and_recovers(tmp_path: Path, postgres: Postgres) -> None:
    """One of its processes is killed: the server ends all others, and refuses connections until it has recovered."""
    db = postgres.new_database()
    async with up(tmp_path, db) as (w, caller):
        pids = postgres.run(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database(db)}'").split()
        os.kill(int(pids[0]), signal.SIGKILL)
        caller.hang_up()
        await w.over(caller)
        await check_whole(w, caller)
        assert postgres.process.poll() is None


async def test_a_server_that_stands_still(tmp_path: Path, postgres: Postgres) -> None:
    """The writer waits; audio, other callbacks and the end of the call do not."""
    db = postgres.new_database()
    async with up(tmp_path, db) as (w, caller):
        pids = postgres.run(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database(db)}'").split()
        for pid in pids:
            os.kill(int(pid), signal.SIGSTOP)
        try:
            rest = asyncio.create_task(Rest(w).get("Call/"))
            heard = caller.heard.count(NOISE)
            await caller.hears(NOISE, heard + 50)
            caller.hang_up()
            await asyncio.sleep(0.2)
            assert caller.cause is not None
            assert not w.site.asked("/hangup"), "it is written down before it is sent"
        finally:
            for pid in pids:
                os.kill(int(pid), signal.SIGCONT)
        assert (await rest).status == 200
        await w.over(caller)
        await check_whole(w, caller)


async def test_a_database_that_refuses_everybody(
    tmp_path: Path, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is told and counted, and the application hears of the end of the call all the same."""
    db = postgres.new_database()
    async with up(tmp_path, db) as (w, caller):
        postgres.run(f"ALTER DATABASE {database(db)} ALLOW_CONNECTIONS false")
        cut_connections(postgres, db)
        heard = len(caller.heard)
        await until(lambda: len(caller.heard) >= heard + 25)
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
        assert w.site.events("/status") == ["started", "stopped"]
        assert w.metric("bothway_record_write_failures_total") >= 3
        assert "and 2 others" in caplog.text, "its stream, its call and a callback"
        assert "is not currently accepting connections" in caplog.text
        assert (await Rest(w).get("Call/")).status == 503
        postgres.run(f"ALTER DATABASE {database(db)} ALLOW_CONNECTIONS true")
        w.site.requests.clear()
        after = await w.call(w.stream(after="<Hangup/>", streamTimeout="1"))
        assert [r.params["CallUUID"] for r in w.site.asked("/hangup")] == [after.call_id]
        answer = await Rest(w).get("Call/")
        assert [call["call_uuid"] for call in answer["objects"]] == [after.call_id]
    async with world(tmp_path, db=db) as w:
        record = await w.carrier._store.calls.get(caller.call_id) if w.carrier._store is not None else None
        assert record is not None
        assert (record.state, record.hangup_cause_code) == ("completed", 4000), "it was written at the last moment"
