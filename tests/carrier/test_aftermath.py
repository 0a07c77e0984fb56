"""Carriers that share records: one is killed, or only seems to be, and another accounts for its calls."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.carrier.kill_carrier import Settings, carrier_of
from tests.carrier.killing import Left, Town, all_of, ask, check, town, until_so
from tests.carrier.test_kills import (
    a_stream_is_open,
    it_is_recorded,
    its_callback_is_being_sent,
    something_is_said,
)
from tests.carrier.world import ACCOUNT, Caller, until
from tests.postgres import Postgres

from bothway.carrier import carrier as carrier_module
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Application
from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.store.records import CallRecord

LEASE_S = 0.9


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `carrier_of` does about them does not outlive a test."""
    monkeypatch.setattr(carrier_module, "Delivery", vars(carrier_module)["Delivery"])


@asynccontextmanager
async def two_carriers(w: Town, settings: Settings) -> AsyncIterator[tuple[Carrier, Caller]]:
    """Another carrier beside the one in a process, with a call of its own."""
    async with carrier_of(settings) as carrier:
        caller = Caller()
        w.site.pages["/own/answer"] = w.site.pages["/something_is_said/answer"]
        application = Application("own", w.site.url + "/own/answer", hangup_url=w.site.url + "/own/hangup")
        carrier.place(caller, from_="15550001", to="15550002", application=application)
        await until(lambda: caller.heard)
        yield carrier, caller
        assert not w.site.asked("/own/hangup"), "a call that lives is left alone"
        assert await state_of(carrier, caller.call_id) == "in-progress"


async def record_of(carrier: Carrier, call_id: str) -> CallRecord:
    assert carrier._store is not None
    record = await carrier._store.calls.get(call_id)
    assert record is not None
    return record


async def state_of(carrier: Carrier, call_id: str) -> str:
    return (await record_of(carrier, call_id)).state


async def is_closed(carrier: Carrier, call_id: str) -> bool:
    return (await record_of(carrier, call_id)).end_time is not None


async def nothing_waits(carrier: Carrier) -> bool:
    assert carrier._store is not None
    return not await carrier._store.outbox.waiting()


async def test_a_killed_carrier_of_the_same_folder(tmp_path: Path) -> None:
    """A worker that nobody starts again: its calls, logs, recordings and callbacks are accounted for all the same."""
    settings = Settings(str(tmp_path), lease_s=LEASE_S)
    steps = (something_is_said, a_stream_is_open, it_is_recorded, its_callback_is_being_sent)
    async with town(tmp_path, settings) as w:
        async with asyncio.TaskGroup() as tasks:
            reached = [tasks.create_task(step(w, f"{w.site.url}/{step.__name__}")) for step in steps]
        async with two_carriers(w, settings) as (carrier, _):
            await w.kill()
            await until_so(lambda: is_closed(carrier, reached[0].result().calls[0]))
            await until(lambda: w.after("/it_is_recorded/recorded"))
            await until(lambda: w.after("/its_callback_is_being_sent/hangup"))
            await until_so(lambda: nothing_waits(carrier))
            await until(lambda: not list(tmp_path.glob("recordings/*/*.json")))
            for step, left in zip(steps, reached, strict=True):
                await check(w, step.__name__, left.result(), carrier)


async def test_a_killed_carrier_of_another_folder(tmp_path: Path, postgres: Postgres) -> None:
    db, mine, other = postgres.new_database(), tmp_path / "mine", tmp_path / "other"
    settings = Settings(str(mine), db, LEASE_S)
    async with town(mine, settings) as w:
        async with asyncio.TaskGroup() as tasks:
            waits = tasks.create_task(its_callback_is_being_sent(w, w.site.url + "/waits"))
            lives = tasks.create_task(something_is_said(w, w.site.url + "/something_is_said"))
        for left in (waits.result(), lives.result()):
            left.has_log = False  # nobody here can write it
        async with two_carriers(w, Settings(str(other), db, LEASE_S)) as (carrier, _):
            await w.kill()
            await until(lambda: w.after("/waits/hangup"))
            await until(lambda: w.after("/something_is_said/hangup"))
            await until_so(lambda: nothing_waits(carrier))
            await check(w, "waits", waits.result(), carrier)
            await check(w, "something_is_said", lives.result(), carrier)
            told = len(w.site.requests)
            closed = await record_of(carrier, lives.result().calls[0])
            async with carrier_of(settings) as back:
                log = mine / "calls" / closed.call_uuid / LOG_NAME
                assert json.loads(log.read_text().splitlines()[-1])["code"] == 5010
                assert await record_of(back, closed.call_uuid) == closed, "a call ends once"
                await until_so(lambda: nothing_waits(back))
            assert len(w.site.requests) == told


async def test_a_carrier_of_the_same_folder_that_stands_still(tmp_path: Path) -> None:
    """It has not said for long that it is alive; but it has its lock, and so its calls are its own."""
    settings = Settings(str(tmp_path), lease_s=LEASE_S)
    async with town(tmp_path, settings) as w:
        left = await something_is_said(w, w.site.url + "/something_is_said")
        async with two_carriers(w, settings) as (carrier, _):
            w.victim.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2.5 * LEASE_S)
            assert not await is_closed(carrier, left.calls[0])
            w.victim.process.send_signal(signal.SIGCONT)
            await went_on(w, carrier, left)
            assert len(w.site.asked("/something_is_said/hangup")) == 1


async def test_a_carrier_of_another_folder_that_stands_still(tmp_path: Path, postgres: Postgres) -> None:
    """It is taken for dead, and what it says when it comes back counts."""
    db, mine, other = postgres.new_database(), tmp_path / "mine", tmp_path / "other"
    async with town(mine, Settings(str(mine), db, LEASE_S)) as w:
        left = await something_is_said(w, w.site.url + "/something_is_said")
        async with two_carriers(w, Settings(str(other), db, LEASE_S)) as (carrier, caller):
            w.victim.process.send_signal(signal.SIGSTOP)
            await until_so(lambda: is_closed(carrier, left.calls[0]))
            w.victim.process.send_signal(signal.SIGCONT)
            await went_on(w, carrier, left)
            codes = [params["HangupCauseCode"] for params in all_of(w, "/something_is_said/hangup")]
            assert codes == ["5010", "4000"]
            assert await state_of(carrier, caller.call_id) == "in-progress", "nor is the other one taken for dead"


async def went_on(w: Town, carrier: Carrier, left: Left) -> None:
    """The call goes on in its process, and its end is the one that is kept."""
    (call_id,) = left.calls
    heard = await w.victim.tell("heard", call=call_id)
    await w.victim.hears(call_id, heard + 20)
    await w.victim.tell("hang up", call=call_id)

    async def ended() -> bool:
        return (await record_of(carrier, call_id)).hangup_cause_code == 4000

    await until_so(ended)
    await until(lambda: all_of(w, "/something_is_said/hangup"))
    await until_so(lambda: nothing_waits(carrier))
    status, shown = await ask(carrier.url, "GET", f"Call/{call_id}/", ACCOUNT)
    assert (status, shown["hangup_cause_code"], shown["hangup_source"]) == (200, 4000, "Caller")
