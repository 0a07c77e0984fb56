"""The carrier is killed at each step of a call's life, and another one starts on what it has left.

`make soak` takes each step by itself as well; `make test` takes those that can be at once together, with one kill.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.kill_carrier import ANSWERS, OTHERS, RINGS, Settings, carrier_of
from tests.carrier.killing import Left, Reach, Town, all_of, ask, check, check_all_told, town, victim
from tests.carrier.recorded import noise_file
from tests.carrier.world import page, until

from bothway.carrier.carrier import Carrier
from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.store.opening import FILE_NAME

WAIT = "<Wait length='300'/>"
STREAM = "<Stream bidirectional='true' keepCallAlive='true' statusCallbackUrl='{root}/status'>{url}</Stream>"
RECORD = "<Record {more} callbackUrl='{root}/recorded' action='{root}/nothing' redirect='false' maxLength='300'/>"
SESSION = RECORD.replace("{more}", "recordSession='true'")


async def call(w: Town, root: str, *elements: str, **urls: str) -> str:
    """A call comes in, and these elements answer it."""
    name = root.rsplit("/", 1)[1]
    if elements:
        document = "".join(elements).replace("{root}", root).replace("{url}", urls.get("url", w.streams.url))
        w.site.pages[f"/{name}/answer"] = page(f"<Response>{document}</Response>")
    placed: str = await w.victim.tell("place", answer=root + "/answer", hangup=root + "/hangup")
    return placed


async def place(w: Town, root: str, account: int, to: str = ANSWERS, **given: str) -> str:
    """A call is placed over REST, and answered with a wait."""
    w.site.pages["/" + root.rsplit("/", 1)[1] + "/answer"] = page(f"<Response>{WAIT}</Response>")
    status, answer = await w.rest("POST", "Call/", OTHERS[account], **order(root, to), **given)
    assert status == 201, answer
    return str(answer["request_uuid"])


def order(root: str, to: str = ANSWERS) -> dict[str, str]:
    return {"from": "15550199", "to": to, "answer_url": root + "/answer", "hangup_url": root + "/hangup"}


async def is_up(w: Town, call_id: str, account: int) -> None:
    async with asyncio.timeout(20):
        while True:
            status, answer = await w.rest("GET", f"Call/{call_id}/?status=live", OTHERS[account])
            if status == 200 and answer["call_status"] == "in-progress":
                return
            await asyncio.sleep(0.02)


# The steps of a call that comes in.


async def its_document_is_fetched(w: Town, root: str) -> Left:
    w.stall("/" + root.rsplit("/", 1)[1] + "/answer")
    call_id = await call(w, root)
    await until(lambda: w.site.asked("/" + root.rsplit("/", 1)[1] + "/answer"))
    return Left([call_id], state="failed")


async def it_has_early_media(w: Town, root: str) -> Left:
    call_id = await call(w, root, "<PreAnswer><Speak loop='50'>wait a moment</Speak></PreAnswer>", WAIT)
    await w.victim.hears(call_id, 10)
    return Left([call_id], state="failed")


async def something_is_said(w: Town, root: str) -> Left:
    call_id = await call(w, root, "<Speak loop='50'>how do you do</Speak>")
    await w.victim.hears(call_id, 10)
    return Left([call_id])


async def a_stream_is_opened(w: Town, root: str) -> Left:
    call_id = await call(w, root, STREAM, url=w.silent)
    await w.victim.has(call_id, "stream_opening")
    return Left([call_id], streams=1)


async def a_stream_is_open(w: Town, root: str) -> Left:
    call_id = await call(w, root, STREAM)
    name = root.rsplit("/", 1)[1]
    await w.victim.has(call_id, "play")
    await until(lambda: w.site.asked(f"/{name}/status"))
    return Left([call_id], streams=1)


async def it_is_recorded(w: Town, root: str) -> Left:
    call_id = await call(w, root, RECORD.replace("{more}", "playBeep='false' fileFormat='wav'"))
    await w.victim.hears(call_id, 75)
    return Left([call_id], recordings=1)


async def its_session_is_recorded_and_streamed(w: Town, root: str) -> Left:
    call_id = await call(w, root, SESSION.replace("/>", " fileFormat='wav'/>"), STREAM)
    await w.victim.hears(call_id, 75)
    return Left([call_id], streams=1, recordings=1)


async def legs_of(w: Town, name: str, action: str) -> list[str]:
    """The legs of which the Dial's callback URL hears this."""

    def told() -> list[str]:
        return [params["DialBLegUUID"] for params in all_of(w, f"/{name}/dial") if params["DialAction"] == action]

    await until(told)
    return told()


async def a_dialled_leg_rings(w: Town, root: str) -> Left:
    call_id = await call(w, root, f"<Dial callbackUrl='{{root}}/dial'><Number>{RINGS}</Number></Dial>")
    legs: list[str] = []
    async with asyncio.timeout(20):
        while not (legs and '"ringing"' in (w.data / "calls" / legs[0] / LOG_NAME).read_text()):
            await asyncio.sleep(0.02)
            legs = [row[0] for row in rows(w, "SELECT call_uuid FROM calls WHERE parent_call_uuid = ?", call_id)]
    return Left([call_id], legs, state="failed")


async def a_dialled_leg_is_joined(w: Town, root: str) -> Left:
    call_id = await call(w, root, f"<Dial callbackUrl='{{root}}/dial'><Number>{ANSWERS}</Number></Dial>")
    return Left([call_id], await legs_of(w, root.rsplit("/", 1)[1], "connected"))


async def two_are_in_a_conference(w: Town, root: str) -> Left:
    name = root.rsplit("/", 1)[1]
    room = f"<Conference callbackUrl='{{root}}/conference'>{name}</Conference>"
    calls = [await call(w, root, room) for _ in range(2)]
    await until(lambda: [p["ConferenceAction"] for p in all_of(w, f"/{name}/conference")].count("enter") == 2)
    return Left(calls)


# The steps of its end.


async def all_is_done(w: Town, root: str) -> Left:
    call_id = await call(w, root, "<Hangup/>")
    name = root.rsplit("/", 1)[1]
    await until(lambda: w.site.asked(f"/{name}/hangup"))
    async with asyncio.timeout(20):
        while rows(w, "SELECT 1 FROM outbox WHERE call_uuid = ?", call_id):
            await asyncio.sleep(0.02)
    return Left([call_id], code=4000, source="Answer XML", state="failed", told=True)


async def its_callback_waits_behind_another(w: Town, root: str) -> Left:
    name = root.rsplit("/", 1)[1]
    w.stall(f"/{name}/status")
    call_id = await call(w, root, STREAM)
    await until(lambda: w.site.asked(f"/{name}/status"))
    await w.victim.tell("hang up", call=call_id)
    async with asyncio.timeout(20):
        while len(rows(w, "SELECT 1 FROM outbox WHERE call_uuid = ?", call_id)) < 3:
            await asyncio.sleep(0.02)
    assert not w.site.asked(f"/{name}/hangup")
    return Left([call_id], code=4000, source="Caller", streams=1)


async def its_callback_is_being_sent(w: Town, root: str) -> Left:
    name = root.rsplit("/", 1)[1]
    w.stall(f"/{name}/hangup")
    call_id = await call(w, root, WAIT)
    await w.victim.hears(call_id, 1)
    await w.victim.tell("hang up", call=call_id)
    await until(lambda: w.site.asked(f"/{name}/hangup"))
    return Left([call_id], code=4000, source="Caller")


# The steps of a call that is placed.


async def it_is_queued(w: Town, root: str) -> Left:
    await is_up(w, await place(w, root, 0), 0)
    call_id = await place(w, root, 0)
    return Left([call_id], account=OTHERS[0], state="failed", has_log=False)


async def its_party_is_rung(w: Town, root: str) -> Left:
    call_id = await place(w, root, 1, RINGS, ring_url=root + "/ring")
    await until(lambda: w.site.asked("/" + root.rsplit("/", 1)[1] + "/ring"))
    return Left([call_id], account=OTHERS[1], state="failed")


async def its_party_has_answered(w: Town, root: str) -> Left:
    call_id = await place(w, root, 2)
    await is_up(w, call_id, 2)
    return Left([call_id], account=OTHERS[2])


async def rest_records_it(w: Town, root: str) -> Left:
    call_id = await place(w, root, 3)
    await is_up(w, call_id, 3)
    wanted = {"callback_url": root + "/recorded", "file_format": "wav"}
    assert (await w.rest("POST", f"Call/{call_id}/Record/", OTHERS[3], **wanted))[0] == 202
    await asyncio.sleep(1.5)
    return Left([call_id], account=OTHERS[3], recordings=1)


async def rest_plays_to_it(w: Town, root: str) -> Left:
    call_id = await place(w, root, 4)
    await is_up(w, call_id, 4)
    name = root.rsplit("/", 1)[1]
    w.site.pages[f"/{name}/sound"] = noise_file(1.0)
    status, _ = await w.rest("POST", f"Call/{call_id}/Play/", OTHERS[4], urls=root + "/sound", loop="true")
    assert status == 202
    await until(lambda: w.site.asked(f"/{name}/sound"))
    return Left([call_id], account=OTHERS[4])


STEPS: tuple[Reach, ...] = (
    its_document_is_fetched,
    it_has_early_media,
    something_is_said,
    a_stream_is_opened,
    a_stream_is_open,
    it_is_recorded,
    its_session_is_recorded_and_streamed,
    a_dialled_leg_rings,
    a_dialled_leg_is_joined,
    two_are_in_a_conference,
    its_callback_waits_behind_another,
    its_callback_is_being_sent,
    all_is_done,
    it_is_queued,
    its_party_is_rung,
    its_party_has_answered,
    rest_records_it,
    rest_plays_to_it,
)


def rows(w: Town, sql: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(w.data / FILE_NAME)) as connection:
        return connection.execute(sql, values).fetchall()


async def settled(w: Town, carrier: Carrier) -> None:
    """Wait until the carrier has sent all that it owes, and all recordings are filed."""
    assert carrier._store is not None
    assert not carrier.calls
    async with asyncio.timeout(30):
        while await carrier._store.outbox.waiting() or list((w.data / "recordings").glob("*/*.json")):
            await asyncio.sleep(0.02)


SOAK = pytest.mark.skipif(not os.environ.get("BOTHWAY_SOAK"), reason="each step by itself: only in `make soak`")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(STEPS, id="all at once"),
        *(pytest.param((step,), id=step.__name__, marks=[SOAK, pytest.mark.soak]) for step in STEPS),
    ],
)
async def test_a_kill_at_each_step(tmp_path: Path, steps: tuple[Reach, ...]) -> None:
    data = tmp_path / "data"
    async with town(data) as w:
        async with asyncio.TaskGroup() as tasks:
            reached = [tasks.create_task(step(w, f"{w.site.url}/{step.__name__}")) for step in steps]
        before = [row[0] for row in rows(w, "SELECT call_uuid FROM calls")]
        await w.kill()
        async with carrier_of(Settings(str(data))) as carrier:
            await settled(w, carrier)
            wrong = []
            for step, left in zip(steps, reached, strict=True):
                try:
                    await check(w, step.__name__, left.result(), carrier)
                except AssertionError as error:
                    error.add_note(f"when {step.__name__}")
                    wrong.append(error)
            if wrong:
                raise ExceptionGroup("steps after which something is wrong", wrong)
            assert rows(w, "SELECT 1 FROM calls WHERE end_time IS NULL") == []
            assert rows(w, "SELECT 1 FROM streams WHERE end_time IS NULL") == []
            assert [row[0] for row in rows(w, "SELECT call_uuid FROM calls")] == before, "no call came, and none went"
            assert not list((data / "live").glob("*/*"))
            whose = {row[0]: row[1] for row in rows(w, "SELECT call_uuid, account FROM calls")}
            accounts = {account.auth_id: account for account in (carrier.account, *OTHERS)}
            check_all_told(w, {call_id: accounts[auth_id] for call_id, auth_id in whose.items()})
