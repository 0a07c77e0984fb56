from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import Rest
from tests.carrier.world import Request, page, until, world

from bothway.audio.format import MULAW_8K

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


async def test_a_beep_is_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        document = f"<Response><GetDigits action='{w.site.url}/action' timeout='1' playBeep='true'/></Response>"
        caller = await w.call(page(document))
        sounding = [frame for frame in caller.heard if frame != MULAW_8K.silent_frame]
        assert len(sounding) == 10, "200 ms"
