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

import aiohttp
import pytest
from tests.carrier.kill_carrier import ANSWERS, OTHERS, RINGS, Settings, carrier_of
from tests.carrier.killing import Left, Reach, Town, all_of, ask, check, check_all_told, town, until_so, victim
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
    async def so() -> bool:
        status, answer = await w.rest("GET", f"Call/{call_id}/?status=live", OTHERS[account])
        return bool(status == 200 and answer["call_status"] == "in-progress")

    await until_so(so)


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
    call_id = await call(w, root, SESSION, STREAM)  # as an MP3 file
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

    def legs() -> list[str]:
        return [row[0] for row in rows(w, "SELECT call_uuid FROM calls WHERE parent_call_uuid = ?", call_id)]

    def rings() -> bool:
        logs = [w.data / "calls" / leg / LOG_NAME for leg in legs()]
        return any(log.exists() and '"ringing"' in log.read_text() for log in logs)

    await until(rings)
    return Left([call_id], legs(), state="failed")


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
    await until(lambda: not rows(w, "SELECT 1 FROM outbox WHERE call_uuid = ?", call_id))
    return Left([call_id], code=4000, source="Answer XML", told=True)


async def its_callback_waits_behind_another(w: Town, root: str) -> Left:
    name = root.rsplit("/", 1)[1]
    w.stall(f"/{name}/status")
    call_id = await call(w, root, STREAM)
    await until(lambda: w.site.asked(f"/{name}/status"))
    await w.victim.tell("hang up", call=call_id)
    await until(lambda: len(rows(w, "SELECT 1 FROM outbox WHERE call_uuid = ?", call_id)) == 3)
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
    waiting = carrier._store.outbox.waiting

    async def nothing_left() -> bool:
        return not await waiting() and not list((w.data / "recordings").glob("*/*.json"))

    await until_so(nothing_left)


ALONE = STEPS if os.environ.get("BOTHWAY_SOAK") else ()


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(STEPS, id="all at once"),
        *(pytest.param((step,), id=step.__name__, marks=pytest.mark.soak) for step in ALONE),
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


async def again(carrier: Carrier, account: int, key: str, **wanted: str) -> tuple[int, Any]:
    return await ask(carrier.url, "POST", "Call/", OTHERS[account], key=key, **wanted)


async def delivered(w: Town) -> float:
    async with aiohttp.ClientSession() as session, session.get(w.victim.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('bothway_callbacks_total{outcome="delivered')
    )


async def test_a_kill_while_nothing_can_be_committed(tmp_path: Path) -> None:
    """An end that is not written, a callback that is sent and not marked so, and calls that are asked for just then."""
    data = tmp_path / "data"
    async with town(data) as w:
        root = w.site.url
        told = await its_callback_is_being_sent(w, root + "/told")
        (answered,) = w.stalls
        ends = await something_is_said(w, root + "/ends")
        before = await delivered(w)
        with w.database_held():
            asked = [
                asyncio.create_task(w.rest("POST", "Call/", OTHERS[0], key=key, **order(root + "/asked", RINGS)))
                for key in ("a key", "")
            ]
            await w.victim.tell("hang up", call=ends.calls[0])
            answered.set()

            async def another() -> bool:
                return await delivered(w) > before

            await until_so(another)
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in asked), "no call is promised before it is written down"
            await w.kill()
        for task in asked:
            with pytest.raises(aiohttp.ClientError):
                await task
        async with carrier_of(Settings(str(data))) as carrier:
            await settled(w, carrier)
            ends.has_log = False  # it has the end as it was, which the records do not know
            await check(w, "told", told, carrier)
            await check(w, "ends", ends, carrier)
            assert len(w.site.asked("/told/hangup")) == 2, "before the kill, and after it: at least once"
            assert w.site.asked("/told/hangup")[0].params == w.site.asked("/told/hangup")[1].params
            assert len(rows(w, "SELECT 1 FROM calls")) == 2
            assert not w.site.asked("/asked/hangup")
            status, answer = await again(carrier, 0, "a key", **order(root + "/asked", RINGS))
            assert status == 201
            (placed,) = rows(w, "SELECT call_uuid FROM calls WHERE account = ?", OTHERS[0].auth_id)
            assert placed[0] == answer["request_uuid"], "one, and not two"


async def test_a_request_with_a_key_is_not_acted_on_again_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with town(data) as w:
        wanted = [order(f"{w.site.url}/{number}", RINGS) for number in range(2)]
        status, first = await w.rest("POST", "Call/", OTHERS[0], key="seen", **wanted[0])
        assert status == 201
        unseen = asyncio.create_task(w.rest("POST", "Call/", OTHERS[1], key="unseen", **wanted[1]))
        await until(lambda: len(rows(w, "SELECT 1 FROM calls")) == 2)
        unseen.cancel()
        await w.kill()
        async with carrier_of(Settings(str(data))) as carrier:
            await settled(w, carrier)
            assert await again(carrier, 0, "seen", **wanted[0]) == (201, first)
            assert (await again(carrier, 0, "seen", **wanted[1]))[0] == 422
            status, second = await again(carrier, 1, "unseen", **wanted[1])
            assert status == 201
            assert len(rows(w, "SELECT 1 FROM calls")) == 2
            for number, answer in enumerate((first, second)):
                left = Left([answer["request_uuid"]], account=OTHERS[number], state="failed", has_log=False)
                await check(w, str(number), left, carrier)
                assert len(w.after(f"/{number}/hangup")) == 1


async def test_the_carrier_that_cleans_up_is_killed_too(tmp_path: Path) -> None:
    data, name = tmp_path / "data", a_stream_is_open.__name__
    async with town(data) as w:
        left = await a_stream_is_open(w, f"{w.site.url}/{name}")
        await w.kill()
        w.killed_at = 0
        answered = w.stall(f"/{name}/status")
        count = len(w.site.requests)
        async with victim(Settings(str(data))) as second:
            await until(lambda: len(w.site.requests) > count)
            closed = rows(w, "SELECT * FROM calls")
            await second.kill()
        w.killed_at = count
        answered.set()
        async with carrier_of(Settings(str(data))) as carrier:
            await settled(w, carrier)
            await check(w, name, left, carrier)
            assert rows(w, "SELECT * FROM calls") == closed, "a call ends once"
            assert [p["Event"] for p in w.after(f"/{name}/status")] == ["failed", "failed"]
            assert len(w.after(f"/{name}/hangup")) == 1
