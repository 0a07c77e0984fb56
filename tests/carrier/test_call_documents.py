from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import Rest
from tests.carrier.world import Request, page, until, world

from bothway.audio.format import MULAW_8K
from bothway.audio.tones import tone
from bothway.audio.wav import wav_header

pytestmark = pytest.mark.virtual_time


async def test_a_document_on_its_way_is_not_waited_for_once_another_is_wanted(tmp_path: Path) -> None:
    async def slow(_: Request) -> bytes:
        await asyncio.sleep(10)
        return page("<Response><Hangup/></Response>")

    async with world(tmp_path) as w:
        w.site.pages["/slow"] = slow
        w.site.pages["/other"] = page("<Response><Wait length='3'/></Response>")
        redirect = f"<Response><Wait length='1'/><Redirect>{w.site.url}/slow</Redirect></Response>"
        caller, call = w.place(page(redirect))
        await until(lambda: w.site.asked("/slow"))
        await Rest(w).post(f"Call/{call.call_id}/", aleg_url=w.site.url + "/other")
        await w.over(caller)
        w.check_accounted(caller, 4010)
        assert [record["kind"] for record in w.log(caller) if record["event"] == "document"] == ["answer", "transfer"]


async def test_a_call_that_is_over_waits_for_no_document(tmp_path: Path) -> None:
    async def slow(_: Request) -> bytes:
        await asyncio.sleep(10)
        return page("<Response/>")

    async with world(tmp_path) as w:
        caller, _ = w.place(slow)
        await until(lambda: w.site.asked("/answer"))
        caller.hang_up()
        await w.over(caller)
        tasks = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in tasks if name == f"document of {caller.call_id}"]


async def test_each_kind_of_document_says_what_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/action"] = page(f"<Response><Redirect method='GET'>{w.site.url}/next</Redirect></Response>")
        w.site.pages["/next"] = page("<Response/>")
        document = f"<Response><GetDigits action='{w.site.url}/action' timeout='2' numDigits='1'/></Response>"
        caller, _ = w.place(page(document))
        await until(lambda: caller.heard)
        caller.press("7")
        await w.over(caller)
        events = {request.path: request.params["Event"] for request in w.site.requests}
        assert events == {"/answer": "StartApp", "/action": "GetDigits", "/next": "Redirect", "/hangup": "Hangup"}
        status = {request.path: request.params["CallStatus"] for request in w.site.requests}
        assert status == {
            "/answer": "ringing",
            "/action": "in-progress",
            "/next": "in-progress",
            "/hangup": "completed",
        }
        assert w.site.asked("/action")[0].params["Digits"] == "7"


async def test_a_prompt_that_is_cut_off_falls_silent_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/next"] = page("<Response><Wait length='2'/></Response>")
        caller, call = w.place(page("<Response><Speak loop='0'>one two three four five six</Speak></Response>"))
        await until(lambda: any(frame != MULAW_8K.silent_frame for frame in caller.heard))
        await Rest(w).post(f"Call/{call.call_id}/", aleg_url=w.site.url + "/next")
        await until(lambda: len(w.site.asked("/next")) == 1)
        await asyncio.sleep(0.1)
        assert set(caller.heard[-3:]) == {MULAW_8K.silent_frame}
        await w.over(caller)
        w.check_accounted(caller, 4010)


async def test_a_file_that_comes_when_the_document_has_moved_on_is_not_heard(tmp_path: Path) -> None:
    async def slow(_: Request) -> bytes:
        await asyncio.sleep(2)
        l16 = tone(440, 1000, 8000)
        return page(wav_header(8000, 1, len(l16)) + l16)

    async with world(tmp_path) as w:
        w.site.pages["/slow.wav"] = slow
        w.site.pages["/next"] = page("<Response><Wait length='5'/></Response>")
        caller, call = w.place(page(f"<Response><Play>{w.site.url}/slow.wav</Play></Response>"))
        await until(lambda: w.site.asked("/slow.wav"))
        await Rest(w).post(f"Call/{call.call_id}/", aleg_url=w.site.url + "/next")
        await w.over(caller)
        w.check_accounted(caller, 4010)
        assert set(caller.heard) == {MULAW_8K.silent_frame}


async def test_a_beep_is_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        document = f"<Response><GetDigits action='{w.site.url}/action' timeout='1' playBeep='true'/></Response>"
        caller = await w.call(page(document))
        sounding = [frame for frame in caller.heard if frame != MULAW_8K.silent_frame]
        assert len(sounding) == 10, "200 ms"
