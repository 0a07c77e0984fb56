from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.phone import connect
from tests.carrier.world import ACCOUNT, Request, page, until, world

from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.virtual_time


async def test_a_side_document_is_asked_for_by_a_signed_post(tmp_path: Path) -> None:
    async with world(tmp_path, voice=ToneVoice(rate=8000)) as w:
        bob = connect(w, "2000")
        music = f"{w.site.url}/music?x=1"
        w.site.pages["/music"] = page("<Response><Speak>la</Speak></Response>")
        ann, _ = w.place(page(f"<Response><Dial dialMusic='{music}'><Number>2000</Number></Dial></Response>"))
        await bob.rings(10)
        ann.hang_up()
        await w.over(ann)
        (asked,) = w.site.asked("/music")
        assert (asked.method, asked.form["Event"], asked.form["CallStatus"]) == ("POST", "DialMusic", "ringing")
        assert asked.form["CallUUID"] == ann.call_id
        assert validate_v3_signature(
            "POST",
            asked.url,
            asked.headers["x-plivo-signature-v3-nonce"],
            ACCOUNT.auth_token,
            asked.headers["x-plivo-signature-v3"],
            asked.form,
        )
        assert [record["kind"] for record in ann.events("document")] == ["answer", "DialMusic"]
        assert len(ann.events("prompt_played")) > 5, "one fetch, and over and over"


async def test_a_side_document_that_cannot_be_had_is_on_record(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "2000")
        w.site.pages["/music"] = page("", "500 Broken")
        ann, _ = w.place(
            page(f"<Response><Dial dialMusic='{w.site.url}/music'><Number>2000</Number></Dial></Response>")
        )
        await bob.rings(1)
        ann.hang_up()
        await w.over(ann)
        (failed,) = ann.events("document_failed")
        assert failed["kind"] == "DialMusic"
        assert any("DialMusic cannot be had" in str(record["text"]) for record in ann.events("remark"))


async def test_nobody_waits_for_it_when_the_call_is_over(tmp_path: Path) -> None:
    async def slowly(request: Request) -> bytes:
        await asyncio.sleep(10)
        return page("<Response><Speak>la</Speak></Response>")

    async with world(tmp_path) as w:
        bob = connect(w, "2000")
        w.site.pages["/music"] = slowly
        ann, _ = w.place(
            page(f"<Response><Dial dialMusic='{w.site.url}/music'><Number>2000</Number></Dial></Response>")
        )
        await until(lambda: w.site.asked("/music"))
        ann.hang_up()
        began = asyncio.get_running_loop().time()
        await w.over(ann)
        await w.over(bob)
        assert asyncio.get_running_loop().time() - began < 1
