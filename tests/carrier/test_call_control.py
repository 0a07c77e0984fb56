"""REST on a live call (plivo-protocol.md, 5.5)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import LONG, Rest, waiting
from tests.carrier.world import page, until, world

from bothway.core.profile import DOCUMENTED, LIVE, Profile

pytestmark = pytest.mark.virtual_time

LOUD = b"\x11" * 160


async def test_a_call_is_transferred_in_the_middle_of_its_document(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        w.site.pages["/next"] = page("<Response><Hangup/></Response>")
        answer = await rest.post(path, legs="aleg", aleg_url=w.site.url + "/next", aleg_method="GET")
        assert (answer.status, answer["message"]) == (202, "call transferred")
        await w.over(caller)
        w.check_accounted(caller, 4000, "Answer XML")
        (request,) = w.site.asked("/next")
        assert (request.method, request.params["CallStatus"]) == ("GET", "in-progress")
        assert (await rest.post(path, aleg_url=w.site.url + "/next")).status == 404


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_a_transfer_ends_the_stream_that_blocks_or_waits_for_it(tmp_path: Path, profile: Profile) -> None:
    document = "<Response><Stream bidirectional='true' keepCallAlive='true'>STREAM</Stream></Response>"
    async with waiting(tmp_path, document, profile=profile) as (w, rest, caller, path):
        socket = await w.streams.first()
        w.site.pages["/next"] = page("<Response><Hangup/></Response>")
        await rest.post(path, aleg_url=w.site.url + "/next")
        await asyncio.sleep(1)
        assert caller.done.is_set() == (profile is DOCUMENTED)
        if profile is LIVE:
            assert not w.site.asked("/next")
            await socket.connection.close()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Answer XML")


async def test_a_transfer_to_a_dead_url_ends_the_call(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        await rest.post(path, aleg_url="http://127.0.0.1:1/")
        await w.over(caller)
        w.check_accounted(caller, 7013, "Error")


async def test_a_call_is_transferred_70_times_at_most(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, _, path):
        w.site.pages["/next"] = page(LONG)
        answers = [await rest.post(path, aleg_url=w.site.url + "/next") for _ in range(71)]
        assert [answer.status for answer in answers] == [202] * 70 + [400]
        assert "Loop detected" in answers[-1]["error"]


async def test_keys_are_pressed_towards_the_caller(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (_, rest, caller, path):
        answer = await rest.post(path + "DTMF/", digits="12w3#")
        assert (answer.status, answer["message"]) == (202, "digits sent")
        await asyncio.sleep(2)
        assert caller.digits == "12w3#".replace("w", "")
        assert (await rest.post(path + "DTMF/", digits="1x")).status == 400
        assert (await rest.post(path + "DTMF/", digits="1", leg="bleg")).status == 404


async def test_before_the_answer_nothing_can_be_done_but_to_end_it(tmp_path: Path) -> None:
    async def slow(_: object) -> bytes:
        await asyncio.sleep(10)
        return page(LONG)

    async with world(tmp_path) as w:
        caller, call = w.place(slow)
        await until(lambda: w.site.asked("/answer"))
        rest, path = Rest(w), f"Call/{call.call_id}/"
        for answer in (
            await rest.post(path + "Play/", urls="http://example.com/a.wav"),
            await rest.post(path + "Speak/", text="hello"),
            await rest.post(path + "DTMF/", digits="1"),
            await rest.post(path + "Record/"),
            await rest.post(path + "Stream/", service_url="wss://example.com/"),
        ):
            assert (answer.status, answer["error"]) == (409, "this call is not answered yet")
        assert (await rest.delete(path)).status == 204
        await w.over(caller)
        w.check_accounted(caller, 4000, "API Request")


async def test_keys_that_were_still_to_come_are_not_pressed_on_a_call_that_is_over(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        assert (await rest.post(path + "DTMF/", digits="1WW2")).status == 202
        await until(lambda: caller.digits)
        caller.hang_up()
        await w.over(caller)
        await asyncio.sleep(3)
        assert caller.digits == "1"
