"""Twenty-odd conversations, each in virtual time and, unchanged, on real sockets."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from tests.testing.apps import VOICE, hold, new_app, said, say, sentences

from bothway import App, Call
from bothway.audio.format import L16_16K, MULAW_8K
from bothway.testing.lab import LabCarrier
from bothway.wire.verbs import Hangup, Speak
from bothway.wire.webhooks import HangupReport, StreamStatus


@pytest.fixture(params=["virtual", pytest.param("real", marks=pytest.mark.real_sockets)], autouse=True)
def _time(request: pytest.FixtureRequest) -> None:
    """Every test of this file runs twice."""


async def test_a_greeting_is_heard(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(greeting("Good morning, this is Bothway.")))
    words = await caller.hears("good morning").within(4)
    assert [word.text for word in words] == ["Good", "morning,"]
    assert (await caller.hears("this is bothway").within(5))[-1].end_ms <= 2200


async def test_the_app_understands_the_caller(carrier: LabCarrier) -> None:
    async def repeat(call: Call) -> None:
        async for sentence in sentences(call):
            await say(call, f"You said {sentence}")

    caller = await carrier.call(new_app(repeat))
    await caller.say("Hello app")
    await caller.hears("You said hello app").within(6)


async def test_a_barge_in_silences_the_app_and_the_ledger_knows_what_was_heard(carrier: LabCarrier) -> None:
    calls: list[Call] = []

    async def talk(call: Call) -> None:
        calls.append(call)
        await say(call, "one two three four five six seven eight nine ten eleven twelve")
        async for sentence in sentences(call, pause_ms=20):
            assert call.clear()
            await asyncio.sleep(0.1)  # for the carrier's answer
            await say(call, f"I heard {sentence}")

    caller = await carrier.call(new_app(talk))
    await caller.interrupts("stop", after=0.6)
    await caller.hears("I heard stop").within(5)
    heard = caller.heard_text.partition(" I heard")[0]
    assert heard.startswith("one two three")
    assert "nine" not in heard
    assert (await caller.logged("cleared").within(4)).number("ms") > 500
    assert calls[0].ledger.utterances[0].heard_text == heard
    assert calls[0].ledger.utterances[0].cleared_ms > 500


async def test_keys_reach_the_app_in_order(carrier: LabCarrier) -> None:
    async def menu(call: Call) -> None:
        pressed = ""
        async for digit in call.dtmf():
            pressed += digit
            if digit == "#":
                await say(call, f"pressed {pressed}")

    caller = await carrier.call(new_app(menu))
    await caller.press("12*#")
    await caller.hears("pressed 12*#").within(5)


async def test_the_app_presses_keys(carrier: LabCarrier) -> None:
    async def dial(call: Call) -> None:
        call.send_dtmf("4711")
        await hold(call)

    caller = await carrier.call(new_app(dial))
    await caller.hears_digits("47").within(4)
    await caller.hears_digits("11").within(4)


async def test_a_silent_caller_is_asked_again(carrier: LabCarrier) -> None:
    async def ask(call: Call) -> None:
        await say(call, "Well?")
        await call.played()
        heard = aiter(sentences(call))
        try:
            async with asyncio.timeout(0.8):
                await anext(heard)
        except TimeoutError:
            await say(call, "Still there?")
            await hold(call)

    caller = await carrier.call(new_app(ask))
    await caller.hears("well").within(4)
    await caller.hears_silence(0.5).within(4)
    await caller.stays_silent(0.1)
    await caller.hears("still there").within(5)


async def test_the_app_says_goodbye_and_hangs_up(carrier: LabCarrier) -> None:
    app = App()

    @app.answer("/answer")
    async def leave(call: Call) -> None:
        await say(call, "Goodbye for now")
        await call.hangup()

    caller = await carrier.call(app)
    request = await caller.asked_by_rest("DELETE").within(6)
    assert request.status == 204
    end = await caller.is_hung_up().within(5)
    assert caller.heard_text == "Goodbye for now", "nothing of it was cut off"
    assert end.facts["code"] == 4000
    assert end.facts["source"] == "API Request"


async def test_a_caller_who_hangs_up_in_the_middle(carrier: LabCarrier) -> None:
    ends: list[str] = []

    async def talk(call: Call) -> None:
        utterance = await call.play(await said("one two three four five six"), format=VOICE.format, text="…")
        await call.ended
        ends.append(f"{call.ended.reason} after {utterance.heard_ms > 300}")

    caller = await carrier.call(new_app(talk))
    await caller.hears("two").within(5)
    end = await caller.hangs_up()
    assert end.facts["source"] == "Caller"
    assert "six" not in caller.heard_text
    await eventually(lambda: ends)


async def test_a_checkpoint_is_passed_when_all_before_it_was_heard(carrier: LabCarrier) -> None:
    async def mark(call: Call) -> None:
        await say(call, "before")
        heard = await call.checkpoint("middle")
        await say(call, f"after {heard}")
        await hold(call)

    caller = await carrier.call(new_app(mark))
    passed = await caller.logged("played", name="middle").within(5)
    (before,) = await caller.hears("before").within(4)
    assert before.end_ms <= passed.t_ms <= before.end_ms + 80
    await caller.hears("after True").within(5)


async def test_verbs_before_and_behind_the_stream(carrier: LabCarrier) -> None:
    async def brief(call: Call) -> None:
        await say(call, "stream")

    app = new_app(brief, before=[Speak("first")], after=[Speak("last"), Hangup()])
    caller = await carrier.call(app)
    await caller.hears("first stream last").within(4)
    end = await caller.is_hung_up().within(5)
    assert caller.heard_text == "first stream last"
    assert end.facts["ran_to_end"] is True


async def test_the_app_leaves_the_stream_and_the_document_goes_on(carrier: LabCarrier) -> None:
    async def leave(call: Call) -> None:
        await say(call, "this is never heard to its end by anybody at all")
        await asyncio.sleep(0.5)
        call.stop_stream()

    caller = await carrier.call(new_app(leave, after=[Speak("operator")]))
    await caller.hears("operator").within(6)
    assert "anybody" not in caller.heard_text


async def test_the_end_and_the_stream_are_told_to_the_callbacks(carrier: LabCarrier) -> None:
    app = new_app(hold)
    told: list[str] = []

    @app.on_status
    async def status(event: StreamStatus) -> None:
        told.append(event.event)

    @app.on_hangup
    async def hangup(report: HangupReport) -> None:
        told.append(str(report.cause.code))

    caller = await carrier.call(app, hangup="/hangup")
    await caller.called_back("/status").within(5)
    await caller.hangs_up()
    await caller.called_back("/hangup", HangupCauseCode="4000", CallUUID=caller.call_id)
    assert sorted(told) == ["4000", "started", "stopped"]


async def test_who_calls_and_what_with_reaches_the_app(carrier: LabCarrier) -> None:
    async def tell(call: Call) -> None:
        await say(call, f"{call.from_} to {call.to} is {call.query['shop']} and {call.headers['plan']}")
        await hold(call)

    app = new_app(tell, extra_headers={"plan": "gold"})
    caller = await carrier.call(app, "/answer?shop=7", from_="+123", to="+456")
    await caller.hears("123 to 456 is 7 and gold").within(4)


async def test_the_fallback_answers_when_the_answer_url_does_not(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(greeting("hello")), "/nowhere", fallback="/answer")
    await caller.called_back("/nowhere").within(4)
    await caller.hears("hello").within(5)


async def test_a_call_that_no_document_answers_ends(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(hold), "/nowhere")
    end = await caller.is_hung_up().within(5)
    assert not caller.answered
    assert end.facts["ran_to_end"] is False
    assert caller.webhooks[0].status == 404


async def test_two_calls_at_once_do_not_hear_each_other(carrier: LabCarrier) -> None:
    async def name(call: Call) -> None:
        async for sentence in sentences(call):
            await say(call, f"for {sentence}")

    app = new_app(name)
    anna, ben = await asyncio.gather(carrier.call(app, from_="+1"), carrier.call(app, from_="+2"))
    await asyncio.gather(anna.say("anna"), ben.say("ben"))
    await asyncio.gather(anna.hears("for anna").within(5), ben.hears("for ben").within(5))
    assert "ben" not in anna.heard_text
    assert "anna" not in ben.heard_text


async def test_another_format_on_the_stream_and_on_the_line(carrier: LabCarrier) -> None:
    async def repeat(call: Call) -> None:
        assert call.format == L16_16K
        async for sentence in sentences(call, pause_ms=200):
            await say(call, f"So {sentence}")

    app = new_app(repeat, content_type="audio/x-l16;rate=16000")
    caller = await carrier.call(app, leg="l16-16000")
    await caller.say("wide Müller ₹500")
    await caller.hears("so wide müller ₹500").within(6)


async def test_an_app_that_fails_ends_its_stream_and_no_other(carrier: LabCarrier) -> None:
    async def fragile(call: Call) -> None:
        async for digit in call.dtmf():
            await say(call, f"took {digit}")
            if digit == "0":
                raise ZeroDivisionError("of the app's")

    app = new_app(fragile)
    first, second = await carrier.call(app), await carrier.call(app)
    await first.press("0")
    end = await first.is_hung_up().within(6)
    assert end.facts["code"] == 4010
    await second.press("1")
    await second.hears("took 1").within(5)


async def test_what_is_signed_by_somebody_else_is_refused(carrier: LabCarrier) -> None:
    app = App(auth_token="another account's token")
    app.answer("/answer", hold)
    caller = await carrier.call(app)
    await caller.is_hung_up().within(5)
    assert caller.webhooks[0].status == 403


def raw(conversation: Callable[[WebSocket, str], Awaitable[None]]) -> FastAPI:
    """A FastAPI app that speaks the protocol by hand, as people write it first."""
    app = FastAPI()

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        url = str(request.url_for("stream"))
        xml = f'<Response><Stream bidirectional="true" keepCallAlive="true">{url}</Stream></Response>'
        return Response(xml, media_type="application/xml")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        start = await websocket.receive_json()
        assert start["event"] == "start"
        await conversation(websocket, start["start"]["streamId"])

    return app


async def played(websocket: WebSocket, text: str) -> None:
    """Play a text by hand."""
    payload = b64encode(await said(text, MULAW_8K)).decode()
    media: dict[str, Any] = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": payload}
    await websocket.send_json({"event": "playAudio", "media": media})


async def test_a_fastapi_app_of_ones_own(carrier: LabCarrier) -> None:
    async def converse(websocket: WebSocket, stream_id: str) -> None:
        await played(websocket, "Press a key")
        while True:
            message = await websocket.receive_json()
            if message["event"] == "dtmf":
                await websocket.send_json({"event": "clearAudio", "streamId": stream_id})
                await played(websocket, f"Key {message['dtmf']['digit']}")
            elif message["event"] == "clearedAudio":
                await websocket.send_json({"event": "checkpoint", "streamId": stream_id, "name": "told"})
            elif message["event"] == "playedStream":
                await websocket.close()
                return

    caller = await carrier.call(raw(converse))
    await caller.hears("press").within(5)
    await caller.press("7")
    await caller.hears("key 7").within(5)
    assert (await caller.is_hung_up().within(6)).facts["code"] == 4010


async def test_a_message_that_the_protocol_does_not_have_is_named(carrier: LabCarrier) -> None:
    async def mistaken(websocket: WebSocket, stream_id: str) -> None:
        await websocket.send_text(json.dumps({"event": "playStream", "media": {"payload": ""}}))
        await played(websocket, "still here")
        while (await websocket.receive())["type"] == "websocket.receive":
            pass

    caller = await carrier.call(raw(mistaken))
    mistake = await caller.logged("mistake").within(5)
    assert "playAudio" in mistake.text("text")
    await caller.hears("still here").within(5)
    await caller.hangs_up()


async def test_a_long_answer_is_heard_whole_and_in_order(carrier: LabCarrier) -> None:
    text = " ".join(f"word{number}" for number in range(8))

    async def recite(call: Call) -> None:
        audio = await said(text)
        for start in range(0, len(audio), 1234):  # no piece is a whole number of frames
            await call.play(audio[start : start + 1234], format=VOICE.format)
        await call.played()

    caller = await carrier.call(new_app(recite))
    await caller.hears(text).within(6)
    await caller.is_hung_up().within(5)
    assert caller.heard_text == text


def greeting(text: str) -> Callable[[Call], Awaitable[None]]:
    """A handler that says one thing and holds the line."""

    async def greet(call: Call) -> None:
        await say(call, text)
        await hold(call)

    return greet


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(3):
        while not condition():  # noqa: ASYNC110 - the condition may be anything
            await asyncio.sleep(0.01)
