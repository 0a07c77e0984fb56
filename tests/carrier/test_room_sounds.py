"""What all members hear when somebody comes or goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.conferring import Speaker, callbacks, did_hear, enter, leave, now_ms
from tests.carrier.talker import Talker, offline
from tests.carrier.world import Request, page

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K
from bothway.audio.tones import tone
from bothway.audio.transcode import convert, from_l16
from bothway.carrier.room_sounds import MOST_SECONDS, MOST_WAITING, beeps

pytestmark = pytest.mark.virtual_time

BEEP = tone(700, 300, 8000) + bytes(3200)


def sounding(caller: Speaker, since: int) -> bytes:
    """What was heard since then, from its first sound to its last."""
    heard = list(did_hear(caller, since).values())
    silent = caller.format.silent_frame
    loud = [place for place, frame in enumerate(heard) if frame != silent]
    return b"".join(heard[loud[0] : loud[-1] + 1]) if loud else b""


def test_beeps() -> None:
    assert beeps("beep:1", L16_8K) == BEEP
    assert beeps("beep:2", L16_8K) == BEEP * 2
    assert beeps("beep:1", MULAW_8K) == convert(BEEP, L16_8K, MULAW_8K)
    assert beeps("beep:3", L16_8K) is None


async def test_beeps_of_who_comes_and_goes_are_heard_by_all(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other, wide = Speaker(), Speaker(), Speaker(L16_16K)
        await enter(w, one)
        await enter(w, wide)
        await asyncio.sleep(1)
        since = now_ms()
        await enter(w, other, enterSound="beep:1", exitSound="beep:2")
        await asyncio.sleep(1)
        once, twice = from_l16(BEEP, MULAW_8K.encoding), from_l16(BEEP * 2, MULAW_8K.encoding)
        heard = sounding(one, since)
        assert heard == once[: len(heard)]
        assert len(heard) == 300 * 8
        assert sounding(other, since) == heard
        assert len(sounding(wide, since)) >= 300 * 32
        since = now_ms()
        await leave(w, other)
        await asyncio.sleep(1)
        heard = sounding(one, since)
        assert heard == twice[: len(heard)]
        assert len(heard) == 800 * 8
        await leave(w, one, wide)


async def test_a_document_is_said_to_all_even_for_one_that_has_hung_up(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/enter"] = page("<Response><Speak loop='2'>in</Speak><Wait/><Speak>here</Speak></Response>")
        w.site.pages["/exit"] = page("<Response><Hangup/><Speak loop='0'>out</Speak></Response>")
        one, other = Speaker(), Speaker()
        await enter(w, one)
        await enter(w, other, enterSound=w.site.url + "/enter", exitSound=w.site.url + "/exit")
        await asyncio.sleep(3)
        assert one.words == other.words == ["in", "in", "here"]
        await leave(w, other)
        await asyncio.sleep(2)
        assert one.words == ["in", "in", "here", "out"]
        for path, action in (("/enter", "enterSound"), ("/exit", "exitSound")):
            (asked,) = w.site.asked(path)
            assert (asked.method, asked.params["Event"]) == ("POST", "ConferenceRemoteSounds")
            assert (asked.params["ConferenceAction"], asked.params["ConferenceMemberID"]) == (action, "2")
            assert asked.params["CallUUID"] == other.call_id
            assert "x-plivo-signature-v3" in asked.headers
        await leave(w, one)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("no document", "syntax error"),
        ("<Response><Play>http://127.0.0.1:1/x.wav</Play></Response>", "127.0.0.1"),
        ("<Response><Wait length='3600'/></Response>", f"more than {MOST_SECONDS} s"),
        ("<Response><Speak loop='1000'>again</Speak></Response>", f"more than {MOST_SECONDS} s"),
    ],
)
async def test_what_cannot_be_heard_is_left_out(tmp_path: Path, document: str, text: str) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/enter"] = page(document)
        one = Speaker()
        await enter(w, one, enterSound=w.site.url + "/enter")
        await asyncio.sleep(3)
        (failed,) = one.events("sounds_failed")
        assert text in str(failed["text"])
        assert sounding(one, 0) == b""
        await leave(w, one)


async def test_a_sound_that_is_none_is_remarked(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Talker()
        await enter(w, one, enterSound="boing")
        (remark,) = one.events("remark")
        assert "'boing'" in str(remark["text"])
        await leave(w, one)


async def test_a_site_that_hangs_holds_up_a_bounded_number_and_nothing_else(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        hangs = asyncio.Event()

        async def never(_: Request) -> bytes:
            await hangs.wait()
            return page("")

        w.site.pages["/hangs"] = never
        host = Speaker()
        await enter(w, host)
        guests = [Talker() for _ in range(MOST_WAITING + 2)]
        for guest in guests:
            await enter(w, guest, enterSound=w.site.url + "/hangs", hangupOnStar="true")
            guest.press("*")
            await w.over(guest)
        assert len(callbacks(w.site, "exit")) == len(guests)
        remarks = [remark["text"] for guest in guests for remark in guest.events("remark")]
        assert len([text for text in remarks if "left out" in str(text)]) == 2
        await leave(w, host)
        hangs.set()
