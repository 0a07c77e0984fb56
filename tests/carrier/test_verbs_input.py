"""`<GetDigits>`, through whole calls with audio."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.talker import ASK, FALL, THANKS, Talker, doc, get_digits, get_input, offline, sound
from tests.carrier.world import page, until

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import dtmf
from bothway.audio.transcode import to_l16
from bothway.core.profile import DOCUMENTED, LIVE

pytestmark = pytest.mark.virtual_time


# Keys, told and heard.


@pytest.mark.usefixtures("both_times")
async def test_keys_cut_the_prompt_short_and_are_posted_without_the_one_that_ends_them(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.site.pages["/action"] = THANKS
        w.place(doc(get_digits(w.site, ASK), FALL), caller=caller)
        await caller.hears_words("type", "your")
        for digit in "42#":
            caller.press(digit)
        await w.over(caller)
        (request,) = w.site.asked("/action")
        assert (request.method, request.params["Digits"], request.params["Event"]) == ("POST", "42", "GetDigits")
        assert request.params["CallUUID"] == caller.call_id
        assert caller.words == ["type", "your", "thank", "you"], "what was being said was cut off"
        assert [record["digit"] for record in caller.events("dtmf")] == ["4", "2", "#"]
        w.check_accounted(caller, 4010, "Plivo")


@pytest.mark.parametrize("leg", [MULAW_8K, L16_8K, L16_16K], ids=str)
async def test_keys_are_heard_as_tones(tmp_path: Path, leg: AudioFormat) -> None:
    async with offline(tmp_path) as w:
        caller = Talker(leg)
        w.site.pages["/action"] = THANKS
        w.place(doc(get_digits(w.site, ASK, numDigits="5"), FALL), caller=caller)
        await caller.hears_words("type", "your")
        caller.say(dtmf("19*07"))
        await w.over(caller)
        (request,) = w.site.asked("/action")
        assert request.params["Digits"] == "19*07"
        assert caller.words[-2:] == ["thank", "you"]
        assert "digits" not in caller.words


async def test_a_key_that_is_told_and_heard_counts_once(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, timeout="9")), caller=caller)
        await until(lambda: caller.heard)
        for digit in "112":
            caller.say(dtmf(digit, tone_ms=80))
            await asyncio.sleep(0.1)
            caller.press(digit)
            await asyncio.sleep(0.4)
        await w.over(caller)
        assert [request.params["Digits"] for request in w.site.asked("/action")] == ["112"]


async def test_tones_mean_nothing_where_no_verb_listens(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc('<Wait length="1"/>', get_digits(w.site, timeout="1"), FALL), caller=caller)
        await until(lambda: caller.heard)
        caller.say(dtmf("5"))
        caller.press("6")
        await w.over(caller)
        assert w.site.asked("/action") == []
        assert [record["digit"] for record in caller.events("dtmf")] == ["6"]


# How keys end.


@pytest.mark.parametrize(
    ("attributes", "pressed", "digits"),
    [
        ({"numDigits": "3"}, "12345", "123"),
        ({"finishOnKey": "*"}, "12#4*5", "12#4"),
        ({"finishOnKey": "*#"}, "12#4*", "12"),
        ({"finishOnKey": "none", "numDigits": "4"}, "1#*4", "1#*4"),
        ({"finishOnKey": "", "numDigits": "2"}, "##", "##"),
        ({}, "12", "12"),
    ],
)
async def test_what_ends_the_keys(tmp_path: Path, attributes: dict[str, str], pressed: str, digits: str) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, **attributes), FALL), caller=caller)
        await until(lambda: caller.heard)
        for digit in pressed:
            caller.press(digit)
        await w.over(caller)
        assert [request.params["Digits"] for request in w.site.asked("/action")] == [digits]


async def test_the_times_to_the_first_key_and_to_the_next(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, "<Speak>go</Speak>", timeout="3", digitTimeout="2"), FALL), caller=caller)
        await caller.hears_words("go")
        await asyncio.sleep(2.8)
        caller.press("1")
        await asyncio.sleep(1.9)
        caller.press("2")
        at = caller.heard_ms
        await until(lambda: w.site.asked("/action"))
        assert 2000 <= caller.heard_ms - at <= 2060
        assert w.site.asked("/action")[0].params["Digits"] == "12"
        await w.over(caller)


async def test_without_a_key_the_prompt_is_said_again_and_then_the_next_verb_runs(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        ask = '<Speak loop="2">go</Speak><Wait length="1"/><Speak>on</Speak><Speak/>'
        document = doc(get_digits(w.site, ask, timeout="2", retries="2"), FALL)
        caller = Talker()
        await w.call(document, caller=caller)
        assert caller.words == ["go", "go", "on", "go", "go", "on", "nothing", "came"]
        assert w.site.asked("/action") == []
        # Twice: "go" twice, a second, "on", two seconds; and then twelve characters; and the last frames' rounding.
        assert 2 * (3 * 120 + 1000 + 2000) + 720 <= caller.heard_ms <= 2 * (3 * 120 + 1000 + 2000) + 1000
        w.check_accounted(caller, 4010, "Plivo")


async def test_a_finish_key_alone_is_no_input(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, ASK), FALL), caller=caller)
        await caller.hears_words("type")
        caller.press("#")
        await w.over(caller)
        assert caller.words == ["type", "nothing", "came"]
        assert w.site.asked("/action") == []


async def test_a_key_in_the_pause_of_a_prompt_counts(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        ask = '<Speak>go</Speak><Wait length="20"/><Speak>on</Speak>'
        w.place(doc(get_digits(w.site, ask, numDigits="1", timeout="1")), caller=caller)
        await caller.hears_words("go")
        await asyncio.sleep(2)
        caller.press("7")
        await w.over(caller)
        assert w.site.asked("/action")[0].params["Digits"] == "7"
        assert caller.words == ["go"]


async def test_a_beep_says_when(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, "<Speak>go</Speak>", playBeep="true", numDigits="1"), FALL), caller=caller)
        await caller.hears_words("go")
        await asyncio.sleep(1)
        sounding = [frame for frame in caller.heard if rms_dbfs(to_l16(frame, MULAW_8K.encoding)) > -30]
        assert len(sounding) * 20 == 120 + 200
        caller.press("1")
        await w.over(caller)
        assert len(w.site.asked("/action")) == 1


async def test_an_endless_prompt_is_cut_by_the_first_key(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_digits(w.site, '<Speak loop="0">go</Speak>', numDigits="1")), caller=caller)
        await caller.hears_words(*["go"] * 10)
        caller.press("1")
        await w.over(caller)
        assert len(w.site.asked("/action")) == 1


# Keys that are not valid.


async def test_keys_that_are_not_valid_are_answered_with_a_sound_and_another_attempt(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/wrong.wav"] = sound("wrong")
        w.site.pages["/action"] = THANKS
        attributes = {"validDigits": "123", "numDigits": "2", "retries": "3"}
        attributes["invalidDigitsSound"] = w.site.url + "/wrong.wav"
        caller = Talker()
        w.place(doc(get_digits(w.site, "<Speak>go</Speak>", **attributes), FALL), caller=caller)
        await caller.hears_words("go")
        caller.press("1")
        caller.press("9")
        await caller.hears_words("go", "wrong", "go")
        caller.press("9")
        caller.press("9")
        await until(lambda: len(w.site.asked("/wrong.wav")) == 2)
        await asyncio.sleep(0.1)
        caller.press("3")  # while the sound is played: it begins the last attempt
        caller.press("2")
        await w.over(caller)
        assert [request.params["Digits"] for request in w.site.asked("/action")] == ["32"]
        assert caller.words == ["go", "wrong", "go", "thank", "you"]


@pytest.mark.parametrize("has_sound", [True, False])
async def test_after_the_last_attempt_with_keys_that_are_not_valid_the_next_verb_runs(
    tmp_path: Path, has_sound: bool
) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/wrong.wav"] = sound("wrong")
        attributes = {"validDigits": "1", "numDigits": "1"}
        if has_sound:
            attributes["invalidDigitsSound"] = w.site.url + "/wrong.wav"
        caller = Talker()
        w.place(doc(get_digits(w.site, "<Speak>go</Speak>", **attributes), FALL), caller=caller)
        await caller.hears_words("go")
        caller.press("2")
        await until(lambda: not has_sound or w.site.asked("/wrong.wav"))
        caller.press("1")  # too late
        await w.over(caller)
        assert w.site.asked("/action") == []
        assert caller.words == ["go", *["wrong"] * has_sound, "nothing", "came"]


# What becomes of them.


async def test_without_redirect_the_keys_are_told_and_the_document_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = THANKS
        caller = Talker()
        w.place(doc(get_digits(w.site, numDigits="1", redirect="false"), FALL), caller=caller)
        await until(lambda: caller.heard)
        caller.press("8")
        await w.over(caller)
        assert [request.params["Digits"] for request in w.site.asked("/action")] == ["8"]
        assert caller.words == ["nothing", "came"]


async def test_without_an_action_the_document_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc('<GetDigits numDigits="1"></GetDigits>', FALL), caller=caller)
        await until(lambda: caller.heard)
        caller.press("8")
        await w.over(caller)
        assert caller.words == ["nothing", "came"]


VERBS = pytest.mark.parametrize("make", [get_digits, get_input])


@VERBS
@pytest.mark.parametrize(
    ("attributes", "answer", "redirect", "code"),
    [
        ({}, page(b"no", "500 No"), "true", 7012),
        ({}, page(b"no", "500 No"), "false", 4010),
        ({"action": "http://127.0.0.1:9/nobody"}, b"", "true", 7012),
        ({}, page(b"{}"), "true", 8012),
        ({}, page(b"{}"), "false", 4010),
        ({}, page(b""), "true", 8012),
        ({}, doc(), "true", 4010),
        ({"action": "/relative"}, b"", "true", 7022),
        ({"action": "ftp://example.com/"}, b"", "false", 7022),
        ({"method": "PUT"}, b"", "true", 7032),
        ({"method": "PUT"}, b"", "false", 7032),
    ],
)
async def test_an_action_that_cannot_be_reported_to_ends_the_call(
    tmp_path: Path, make: Any, attributes: dict[str, str], answer: bytes, redirect: str, code: int
) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = answer
        caller = Talker()
        w.place(doc(make(w.site, numDigits="1", redirect=redirect, **attributes)), caller=caller)
        await until(lambda: caller.heard)
        caller.press("8")
        await w.over(caller)
        w.check_accounted(caller, code, "Plivo" if code == 4010 else "Error")


@VERBS
async def test_keys_that_are_not_to_be_logged_are_in_no_log(
    tmp_path: Path, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = doc(get_digits(w.site, numDigits="1", action=w.site.url + "/next"))
        caller = Talker()
        secret = make(w.site, log="false", method="GET", finishOnKey="none", numDigits="7")
        w.place(doc(secret), caller=caller)
        await until(lambda: caller.heard)
        caller.say(dtmf("8046"))
        await asyncio.sleep(1)
        for digit in "159":
            caller.press(digit)
        await until(lambda: w.site.asked("/action"))
        await asyncio.sleep(0.5)
        caller.press("3")
        await w.over(caller)
        assert [request.params["Digits"] for request in w.site.asked("/action")] == ["8046159"]
        assert [record["digit"] for record in caller.events("dtmf")] == [*["redacted"] * 7, "3"]
        assert "8046159" not in str(w.log(caller)) + caplog.text


async def test_an_action_that_fails_shows_no_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = page(b"no", "500 No")
        caller = Talker()
        w.place(doc(get_digits(w.site, log="false", method="GET", numDigits="7")), caller=caller)
        await until(lambda: caller.heard)
        for digit in "8046159":
            caller.press(digit)
        await w.over(caller)
        w.check_accounted(caller, 7012)
        assert "8046159" not in str(w.log(caller)) + caplog.text
        assert "8046159" not in str(w.site.asked("/hangup")[0].params)


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_a_transfer_or_a_hang_up_ends_the_listening(tmp_path: Path, profile: Any) -> None:
    async with offline(tmp_path, profile=profile) as w:
        caller = Talker()
        _, call = w.place(doc(get_input(w.site, ASK), FALL), caller=caller)
        await caller.hears_words("type")
        w.site.pages["/other"] = doc("<Speak>elsewhere</Speak>", '<Wait length="3"/>')
        call.transfer(w.site.url + "/other", "POST")
        await caller.hears_words("elsewhere")
        caller.say(dtmf("1"))
        await asyncio.sleep(1)
        assert call.media is not None
        assert call.media._ears == ()
        assert caller.events("dtmf") == []
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
        assert caller.words == ["type", "elsewhere"]


async def test_a_caller_who_hangs_up_while_asked(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_input(w.site, ASK), FALL), caller=caller)
        await caller.hears_words("type")
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
        assert w.site.asked("/action") == []
