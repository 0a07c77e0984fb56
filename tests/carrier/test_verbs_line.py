"""`<DTMF>`, `<Wait>` and `<PreAnswer>`, and verbs that there are not, through whole calls with audio."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.talker import ASK, Talker, doc, get_digits, offline, sound
from tests.carrier.world import ACCOUNT

from bothway.audio.format import MULAW_8K
from bothway.audio.tones import beep, dtmf, tone
from bothway.audio.wav import read_wav
from bothway.audio.word_tones import encode
from bothway.carrier.evidence import RECORDING_NAME
from bothway.carrier.legs.client import RemoteCaller
from bothway.carrier.script import Hear, Press, Script
from bothway.carrier.scripted_caller import ScriptedCaller
from bothway.wire.leg import Dial

pytestmark = pytest.mark.virtual_time


# Keys that are pressed towards the caller.


async def test_keys_are_pressed_one_after_another_while_the_document_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        pressed: list[tuple[int, str]] = []
        caller.send_digits = lambda digits: pressed.append((caller.heard_ms, digits))  # type: ignore[method-assign]
        await w.call(
            doc("<DTMF>1w2W3</DTMF>", "<DTMF>4</DTMF>", "<Speak>hello there my dear old new friend</Speak>"),
            caller=caller,
        )
        assert [key for _, key in pressed] == ["1", "2", "3"], "the call ended before the last"
        begun = pressed[0][0]
        assert [at - begun for at, _ in pressed] == pytest.approx([0, 700, 1900], abs=20)
        assert caller.words[0] == "hello"
        assert caller.heard_ms == pytest.approx(34 * 60, abs=60)
        assert [record["digits"] for record in caller.events("send_dtmf")] == ["123"]


async def test_keys_are_all_pressed_before_the_next_verb_where_that_is_asked_for(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        document = doc('<DTMF>9</DTMF><DTMF async="false">12wW</DTMF>', "<Speak>done</Speak>")
        await w.call(document, caller=caller)
        assert caller.digits == "912"
        assert caller.words == ["done"]
        assert caller.heard_ms == pytest.approx(200 + 400 + 1500 + 240, abs=60)


@pytest.mark.parametrize("text", ["", "12x", "9" * 300])
async def test_what_cannot_be_pressed_is_remarked(tmp_path: Path, text: str) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        await w.call(doc(f'<DTMF async="false">{text}</DTMF>', "<Speak>done</Speak>"), caller=caller)
        assert (caller.digits, caller.words) == ("", ["done"])
        assert caller.events("remark")


async def test_the_end_of_a_call_ends_the_pressing(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc('<DTMF async="false">1WWWWWW2</DTMF>'), caller=caller)
        await asyncio.sleep(2)
        caller.hang_up()
        await w.over(caller)
        await asyncio.sleep(9)
        assert caller.digits == "1"


# Waits that end early.


@pytest.mark.parametrize(
    ("attributes", "spoken_ms", "waited_ms"),
    [
        ('length="9" silence="true" minSilence="700"', 3000, 3700),
        ('length="9" silence="true"', 1000, 3000),
        ('length="9" silence="true"', 0, 2000),
        ('length="3" silence="true" minSilence="2500"', 1000, 3000),
        ('length="3"', 0, 3000),
        ('length="3" silence="true" minSilence="500" beep="true"', 1000, 1500),
    ],
)
async def test_a_wait_ends_when_the_caller_falls_silent(
    tmp_path: Path, attributes: str, spoken_ms: int, waited_ms: int
) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        caller.say(tone((400, 700), spoken_ms, 8000, -20))
        await w.call(doc(f"<Wait {attributes}/>", "<Speak>now</Speak>"), caller=caller)
        assert caller.words == ["now"]
        assert waited_ms + 180 <= caller.heard_ms <= waited_ms + 180 + 120


@pytest.mark.parametrize(
    ("written", "beep_ms", "waited_ms"),
    [
        ("true", 400, 2000 + 400 + 60),
        ("true", 150, 9000),
        ("duration=100,inter_silence=200", 150, 2000 + 150 + 200),
        ("duration=600", 400, 9000),
        ("threshold=1", 400, 2000 + 400 + 60),
        ("pitch=9", 400, 2000 + 400 + 60),
    ],
)
async def test_a_wait_ends_at_the_beep(tmp_path: Path, written: str, beep_ms: int, waited_ms: int) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        caller.say(encode("leave a message", 8000) + bytes(2 * (8000 * 2 - 15 * 480)) + beep(8000, ms=beep_ms))
        await w.call(doc(f'<Wait length="9" beep="{written}"/>', "<Speak>now</Speak>"), caller=caller)
        assert caller.words == ["now"]
        assert waited_ms + 180 <= caller.heard_ms <= waited_ms + 180 + 140


# Before the answer.


async def test_early_media_is_heard_before_the_call_is_answered(tmp_path: Path) -> None:
    async with offline(tmp_path, record_audio=True) as w:
        caller = Talker()
        w.place(doc("<PreAnswer><Speak>ringing for you</Speak></PreAnswer>", "<Speak>here</Speak>"), caller=caller)
        await caller.hears_words("ringing", "for")
        assert caller.events("answered") == []
        await w.over(caller)
        assert caller.is_answered
        assert caller.words == ["ringing", "for", "you", "here"]
        names = [record["event"] for record in caller.records]
        assert names.index("early_media") < names.index("prompt_played") < names.index("answered")
        ended = w.site.asked("/hangup")[0].params
        assert float(ended["Duration"]) <= 1, "only what follows the answer"
        (early,), (answered,) = caller.events("early_media"), caller.events("answered")
        assert early["t_ms"] == 0
        assert answered["t_ms"] == pytest.approx(15 * 60, abs=60)
        _, recorded = read_wav(w.data / "calls" / caller.call_id / RECORDING_NAME)
        assert len(recorded) == 2 * 160 * len(caller.heard), "from the first frame on, as the media clock"
        w.check_accounted(caller, 4010, "Plivo")


async def test_a_caller_who_hangs_up_before_the_answer_has_cancelled(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc("<PreAnswer><Speak>ringing for you</Speak></PreAnswer>", "<Speak>here</Speak>"), caller=caller)
        await caller.hears_words("ringing")
        caller.hang_up()
        await w.over(caller)
        assert not caller.is_answered
        w.check_accounted(caller, 1000, "Caller")
        assert w.site.asked("/hangup")[0].params["AnswerTime"] == ""


async def test_a_call_can_be_turned_away_after_early_media(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.site.pages["/closed"] = doc('<Hangup reason="busy"/>')
        leave = f"<Speak>we are closed</Speak><Redirect>{w.site.url}/closed</Redirect>"
        await w.call(doc(f"<PreAnswer>{leave}</PreAnswer>", "<Speak>here</Speak>"), caller=caller)
        assert not caller.is_answered
        assert caller.words == ["we", "are", "closed"]
        w.check_accounted(caller, 3010, "Answer XML")


async def test_every_verb_of_early_media_leaves_the_call_unanswered(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.site.pages["/sound.wav"] = sound("bell")
        inside = (
            f'<Play>{w.site.url}/sound.wav</Play><Wait length="1"/><DTMF async="false">5</DTMF>'
            '<Message src="1" dst="2&lt;3">hi</Message>' + get_digits(w.site, ASK, numDigits="1", redirect="false")
        )
        w.place(doc(f"<PreAnswer>{inside}</PreAnswer>", "<Speak>here</Speak>"), caller=caller)
        await caller.hears_words("bell", "type")
        assert not caller.is_answered
        caller.say(dtmf("6"))
        await caller.hears_words("here")
        await w.over(caller)
        assert caller.digits == "5"
        assert w.site.asked("/action")[0].params["Digits"] == "6"
        assert caller.words == ["bell", "type", "here"]
        names = [record["event"] for record in caller.records]
        assert names.count("answered") == 1
        assert names.index("dtmf") < names.index("answered")


async def test_after_the_answer_there_is_no_before(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        document = doc("<Speak>one</Speak><PreAnswer><Speak>two</Speak></PreAnswer><Speak>three</Speak>")
        await w.call(document, caller=caller)
        assert caller.words == ["one", "two", "three"]
        assert caller.events("early_media") == []
        assert "after the answer" in str(caller.events("remark")[0]["text"])


async def test_an_empty_pre_answer_is_answered_at_once(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = await w.call(doc("<PreAnswer></PreAnswer>"))
        assert caller.is_answered
        w.check_accounted(caller, 4010, "Plivo")


async def test_early_media_reaches_a_caller_over_a_socket(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        script = Script((Hear(until="speech"), Press("7"), Hear(until="hang_up")))
        ask = get_digits(w.site, ASK, numDigits="1", redirect="false")
        w.site.pages["/answer"] = doc(f"<PreAnswer>{ask}</PreAnswer>", "<Speak>here</Speak>")
        dial = Dial(answer_url=w.site.url + "/answer", events=True)
        records: list[Any] = []
        leg = RemoteCaller(ScriptedCaller(script, MULAW_8K, {}), dial, on_log=records.append)
        result = await leg.call(w.carrier.leg_url, auth_id=ACCOUNT.auth_id, auth_token=ACCOUNT.auth_token)
        assert result.ok, result
        assert w.site.asked("/action")[0].params["Digits"] == "7"
        names = [record["event"] for record in records]
        assert names.index("early_media") < names.index("dtmf") < names.index("answered")


# Verbs that there are not.


async def test_a_message_is_not_sent_and_the_document_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        message = '<Message src="15550001" dst="15550002&lt;15550003">a secret</Message>'
        await w.call(doc(message, "<Speak>on</Speak>"), caller=caller)
        assert caller.words == ["on"]
        (remark,) = caller.events("remark")
        assert remark["text"] == "this carrier sends no messages: a <Message> to 2 number(s) was not sent"
        assert str(remark["text"]) in caplog.text
        assert "a secret" not in caplog.text
        w.check_accounted(caller, 4010, "Plivo")


async def test_a_multi_party_call_ends_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with offline(tmp_path) as w:
        caller = await w.call(doc('<MultiPartyCall role="Agent">room</MultiPartyCall>', "<Speak>on</Speak>"))
        detail = w.check_accounted(caller, 5010, "Error")
        assert detail == "this carrier does not execute <MultiPartyCall>"
        assert detail in caplog.text
