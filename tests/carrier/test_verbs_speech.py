"""`<GetInput>`, through whole calls with audio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.talker import ASK, FALL, THANKS, Talker, doc, get_input, offline
from tests.carrier.world import until

from bothway.audio.format import L16_16K, MULAW_8K, AudioFormat
from bothway.audio.tones import dtmf
from bothway.audio.word_tones import encode
from bothway.errors import ProviderError
from bothway.speech.protocols import Transcript
from bothway.speech.tone_ears import ToneEars, ToneTranscription

pytestmark = pytest.mark.virtual_time


# Keys or speech.


async def test_speech_is_recognised_and_reported(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = THANKS
        caller = Talker()
        w.place(doc(get_input(w.site, ASK, inputType="speech"), FALL), caller=caller)
        await caller.hears_words("type", "your")
        caller.say(encode("a table for two", 8000))
        await w.over(caller)
        (request,) = w.site.asked("/action")
        said = {name: request.params[name] for name in ("InputType", "Digits", "Speech", "SpeechConfidenceScore")}
        assert said == {"InputType": "speech", "Digits": "", "Speech": "a table for two", "SpeechConfidenceScore": "1"}
        assert (request.params["BilledAmount"], request.params["Event"]) == ("0.00000", "GetInput")
        assert "hurry" not in caller.words, "the first word cuts the prompt short"
        assert caller.words[-2:] == ["thank", "you"]
        assert [record["text"] for record in caller.events("speech")] == ["a table for two"]


@pytest.mark.parametrize("leg", [MULAW_8K, L16_16K], ids=str)
async def test_the_first_of_keys_and_speech_wins(tmp_path: Path, leg: AudioFormat) -> None:
    async with offline(tmp_path) as w:
        for first, then in [("speech", "dtmf"), ("dtmf", "speech")]:
            w.site.requests.clear()
            caller = Talker(leg)
            w.place(doc(get_input(w.site, digitEndTimeout="4")), caller=caller)
            await caller.hears(leg.silent_frame)
            for input_type in (first, then):
                if input_type == "speech":
                    caller.say(encode("yes please", 8000))
                else:
                    caller.say(dtmf("12"))
                await asyncio.sleep(0.9)
            await w.over(caller)
            (request,) = w.site.asked("/action")
            assert request.params["InputType"] == first
            assert request.params["Digits"] + request.params["Speech"] == {"speech": "yes please", "dtmf": "12"}[first]


@pytest.mark.parametrize(
    ("attributes", "pressed", "digits"),
    [
        ({"numDigits": "2"}, "123", "12"),
        ({"finishOnKey": "*"}, "1#*", "1#"),
        ({"digitEndTimeout": "3", "finishOnKey": "none"}, "##", "##"),
        ({"inputType": "dtmf"}, "77", "77"),
    ],
)
async def test_what_ends_the_keys_of_an_input(
    tmp_path: Path, attributes: dict[str, str], pressed: str, digits: str
) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_input(w.site, ASK, **attributes), FALL), caller=caller)
        await caller.hears_words("type")
        for digit in pressed:
            caller.press(digit)
        at = caller.heard_ms
        await until(lambda: w.site.asked("/action"))
        waited = {"numDigits": 0, "digitEndTimeout": 3000, "inputType": 2000, "finishOnKey": 0}[next(iter(attributes))]
        assert waited <= caller.heard_ms - at <= waited + 100
        await w.over(caller)
        (request,) = w.site.asked("/action")
        assert (request.params["InputType"], request.params["Digits"]) == ("dtmf", digits)
        assert (request.params["Speech"], request.params["SpeechConfidenceScore"]) == ("", "")


async def test_only_the_wanted_type_of_input_counts(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        first = get_input(w.site, "<Speak>first</Speak>", inputType="dtmf", executionTimeout="5")
        second = get_input(w.site, "<Speak>second</Speak>", inputType="speech", executionTimeout="5")
        w.place(doc(first, second, FALL), caller=caller)
        await caller.hears_words("first")
        caller.say(encode("no key", 8000))
        await caller.hears_words("second")
        caller.press("1")
        await w.over(caller)
        assert w.site.asked("/action") == []
        assert caller.words == ["first", "second", "nothing", "came"]


async def test_speech_that_goes_on_ends_with_its_own_time_out_or_the_executions(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_input(w.site, speechEndTimeout="3", executionTimeout="20")), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("one", 8000) + bytes(2 * 8000 * 2) + encode("two", 8000))
        await w.over(caller)
        assert w.site.asked("/action")[0].params["Speech"] == "one two"
        assert 180 + 2000 + 180 + 3000 <= caller.heard_ms <= 180 + 2000 + 180 + 3000 + 200
        caller = Talker()
        w.place(doc(get_input(w.site, executionTimeout="5")), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("word " * 40, 8000))
        await w.over(caller)
        words = w.site.asked("/action")[1].params["Speech"].split()
        assert words == ["word"] * 16, "5 s of it"


async def test_no_input_is_asked_for_again(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        document = doc(get_input(w.site, "<Speak>go</Speak>", executionTimeout="5", retries="2"), FALL)
        w.place(document, caller=caller)
        await caller.hears_words("go", "go")
        caller.press("#")  # is no input either, and there is no third attempt
        await w.over(caller)
        assert caller.words == ["go", "go", "nothing", "came"]
        assert 120 + 5000 + 120 + 720 <= caller.heard_ms <= 120 + 5000 + 120 + 720 + 300
        assert w.site.asked("/action") == []


async def test_the_time_to_the_start_of_an_input(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        await w.call(doc(get_input(w.site, "<Speak>go</Speak>", startInputTimeout="2"), FALL), caller=caller)
        assert 120 + 2000 + 720 <= caller.heard_ms <= 120 + 2000 + 720 + 200


async def test_interim_results_are_told_in_order(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Talker()
        url = w.site.url + "/interim"
        given = {"interimSpeechResultsCallback": url, "interimSpeechResultsCallbackMethod": "GET"}
        w.place(doc(get_input(w.site, speechEndTimeout="2", hints="up, down,", **given)), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("up and", 8000) + bytes(2 * 8000) + encode("down", 8000))
        await w.over(caller)
        told = [request.params for request in w.site.asked("/interim")]
        names = ("StableSpeech", "UnstableSpeech", "Stability", "SequenceNumber")
        assert [tuple(params[name] for name in names) for params in told] == [
            ("", "up", "0.5", "1"),
            ("", "up and", "0.5", "2"),
            ("up and", "", "1", "3"),
            ("up and", "down", "0.5", "4"),
            ("up and down", "", "1", "5"),
        ]
        assert {request.method for request in w.site.asked("/interim")} == {"GET"}
        assert {params["CallUUID"] for params in told} == {caller.call_id}
        assert w.site.asked("/action")[0].params["Speech"] == "up and down"


async def test_words_that_are_not_to_be_logged_are_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with offline(tmp_path) as w:
        caller = Talker()
        w.place(doc(get_input(w.site, inputType="speech", log="false")), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("swordfish", 8000))
        await w.over(caller)
        assert w.site.asked("/action")[0].params["Speech"] == "swordfish"
        assert [record["text"] for record in caller.events("speech")] == ["redacted"]
        assert "swordfish" not in str(w.log(caller)) + caplog.text


async def test_without_a_recogniser_speech_is_no_input(tmp_path: Path) -> None:
    async with offline(tmp_path, ears=None) as w:
        caller = Talker()
        ask = get_input(w.site, "<Speak>go</Speak>", executionTimeout="5", retries="2")
        w.place(doc(ask, FALL), caller=caller)
        await caller.hears_words("go")
        caller.say(encode("hello", 8000))
        await w.over(caller)
        assert caller.words == ["go", "go", "nothing", "came"]
        (remark,) = caller.events("remark")
        assert remark["text"] == "this carrier has no recogniser of speech: what the caller says is no input"


class Failing(ToneEars):
    """Understands a word, and breaks."""

    def transcribe(self, rate: int = 8000, **_: Any) -> ToneTranscription:
        class Line(ToneTranscription):
            async def transcripts(self) -> AsyncGenerator[Transcript]:
                async for transcript in super().transcripts():
                    yield transcript
                    raise ProviderError("the recogniser is overloaded", retryable=True)

        return Line(rate)


async def test_a_recogniser_that_fails_leaves_what_it_understood(tmp_path: Path) -> None:
    async with offline(tmp_path, ears=Failing()) as w:
        w.site.pages["/action"] = THANKS
        caller = Talker()
        w.place(doc(get_input(w.site, inputType="speech"), FALL), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("half of this", 8000))
        await w.over(caller)
        assert w.site.asked("/action")[0].params["Speech"] == "half"
        assert w.site.asked("/action")[0].params["SpeechConfidenceScore"] == "0"
        (remark,) = caller.events("remark")
        assert remark["text"] == "what the caller says is no input any more: the recogniser is overloaded"
        w.check_accounted(caller, 4010, "Plivo")


class Silent(ToneEars):
    """Never has a last word."""

    def transcribe(self, rate: int = 8000, **_: Any) -> ToneTranscription:
        class Line(ToneTranscription):
            def finish(self) -> None:
                """Takes its time."""

        return Line(rate)


async def test_a_recogniser_that_hangs_holds_no_call(tmp_path: Path) -> None:
    async with offline(tmp_path, ears=Silent()) as w:
        caller = Talker()
        w.place(doc(get_input(w.site, inputType="speech", executionTimeout="5"), FALL), caller=caller)
        await until(lambda: caller.heard)
        caller.say(encode("word " * 40, 8000))
        await w.over(caller)
        assert w.site.asked("/action")[0].params["Speech"].split() == ["word"] * 16
        assert 5000 + 2000 <= caller.heard_ms <= 5000 + 2000 + 200
