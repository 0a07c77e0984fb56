"""An app on the official stream SDK, examples/sdk_agent.py, as it is: its conversations, to the millisecond.

The app knows nothing of Bothway. A test takes its text-to-speech away and puts `ToneVoice` there, as any user would.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeAlias

import plivo
import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from plivo import plivoxml
from plivo.exceptions import ResourceNotFoundError

from bothway.speech.voices import ToneVoice
from bothway.testing.caller import Caller
from bothway.testing.lab import LabCarrier
from bothway.testing.link import Link
from bothway.testing.wall import EPOCH

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK has warnings of its own, which are not ours to fix
    from examples import sdk_agent
    from plivo_stream import PlivoFastAPIStreamingHandler

OWN_VOICE = sdk_agent.speak
GREETING = [
    ("Hello,", 0, 360),
    ("this", 420, 660),
    ("is", 720, 840),
    ("the", 900, 1080),
    ("bakery.", 1140, 1560),
    ("How", 1620, 1800),
    ("can", 1860, 2040),
    ("I", 2100, 2160),
    ("help", 2220, 2460),
    ("you?", 2520, 2760),
]
CUT_OFF = "We were cut off. Please call again."
ORDER = "A loaf of bread"  # 900 ms


def wires(*levels: str) -> list[Any]:
    """Both profiles on each of these levels."""
    return [
        pytest.param(profile, marks=pytest.mark.carrier(level=level, profile=profile), id=f"{level}-{profile}")
        for level in levels
        for profile in ("documented", "live")
    ]


Fault: TypeAlias = Callable[[LabCarrier], None]
"""Something that happens to the stream's connection."""

on_every_wire = pytest.mark.parametrize("profile", wires("messages", "bytes"))
on_messages = pytest.mark.parametrize("profile", wires("messages"))
on_bytes = pytest.mark.parametrize("profile", wires("bytes"))


@pytest.fixture(autouse=True)
def _app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_agent, "speak", ToneVoice(rate=sdk_agent.RATE).synthesize)
    sdk_agent.ended.clear()


async def greeted(carrier: LabCarrier) -> Caller:
    """A call whose caller has heard the greeting and is about to speak."""
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    await caller.hears("How can I help you").within(4)
    return caller


def stream_link(carrier: LabCarrier) -> Link:
    """The connection that the stream goes over: the last one opened."""
    return carrier.network.links[-1]


def callbacks(caller: Caller) -> list[str]:
    """What the app was told of the stream, in order, and that it took every word of it as signed."""
    told = [webhook for webhook in caller.webhooks if webhook.path == "/status"]
    assert [webhook.status for webhook in told] == [200] * len(told)
    return [webhook.params["Event"] for webhook in told]


# --- conversations ------------------------------------------------------------------------------------------------


@on_every_wire
async def test_the_greeting_is_heard_word_by_word(carrier: LabCarrier, profile: str) -> None:
    caller = await carrier.call(sdk_agent.api)
    words = await caller.hears("Hello, this is the bakery. How can I help you?").within(3)
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == GREETING
    assert caller.now_ms == 2760, "heard with its very last sample"
    played = await caller.logged("played", name="greeting").within(0.1)
    assert played.t_ms == 2780
    if profile == "live":
        await caller.called_back("/status", Event="PlayedStream", Name="greeting").within(0.1)


@on_every_wire
async def test_the_app_answers_when_the_caller_has_been_silent_for_600_ms(carrier: LabCarrier, profile: str) -> None:
    caller = await greeted(carrier)
    spoken_ms = caller.now_ms
    await caller.say(ORDER)
    answer = await caller.hears("You spoke for 0.9 seconds.").within(3)
    assert answer[0].start_ms == spoken_ms + 900 + 600 + 20, "the frame that ends the pause, and the next is the answer"
    assert answer[-1].end_ms - answer[0].start_ms == 26 * 60
    await caller.hears_silence(2.0).within(3)
    assert caller.heard_text.count("You spoke") == 1


@on_every_wire
async def test_a_pause_of_less_does_not_end_the_turn(carrier: LabCarrier, profile: str) -> None:
    caller = await greeted(carrier)
    await caller.say("White bread")
    await caller.stays_silent(0.5)
    await caller.say("and butter")
    await caller.hears("You spoke for 1.78 seconds.").within(3)
    assert caller.heard_text.count("You spoke") == 1


@on_every_wire
async def test_a_barge_in_is_silence_within_a_frame(carrier: LabCarrier, profile: str) -> None:
    caller = await carrier.call(sdk_agent.api)
    await caller.interrupts("Stop", after=1.3)
    cleared = await caller.logged("cleared").within(0.1)
    silent_from = await caller.hears_silence(0.3).within(1)
    assert silent_from == cleared.t_ms, "the next frame is silent"
    assert caller.heard_text == "Hello, this is the", "“bakery” was cut in the middle"
    assert 1140 < silent_from < 1560
    assert cleared.number("ms") == 2760 - silent_from

    await caller.hears("You spoke for 0.24 seconds.").within(3)
    assert "can" not in caller.heard_text, "nothing from before the clear comes after it"
    assert [record.facts["name"] for record in caller.records if record.event == "played"] == []
    if profile == "live":
        await caller.called_back("/status", Event="ClearedAudio").within(0.1)
        assert "PlayedStream" not in callbacks(caller)


@on_every_wire
async def test_who_speaks_while_nothing_is_unplayed_interrupts_nothing(carrier: LabCarrier, profile: str) -> None:
    caller = await greeted(carrier)
    await caller.stays_silent(0.1)
    await caller.say(ORDER)
    await caller.hears("seconds").within(3)
    assert not [record for record in caller.records if record.event == "cleared"]


@on_every_wire
async def test_digits_are_read_back_in_order_and_the_last_one_hangs_up(carrier: LabCarrier, profile: str) -> None:
    caller = await greeted(carrier)
    await caller.press("140#", gap=0.06)
    words = await caller.hears("You pressed 1. You pressed 4. You pressed 0. Goodbye.").within(5)
    assert [later.start_ms - sooner.end_ms for sooner, later in pairwise(words)] == [60, 60, 0] * 3, "without a gap"
    asked = await caller.asked_by_rest("DELETE").within(0.1)
    assert asked.status == 204
    end = await caller.is_hung_up().within(0.1)
    assert (end.facts["code"], end.facts["source"]) == (4000, "API Request")
    assert end.t_ms == words[-1].end_ms + 20, "not a word is cut, and no time is lost"
    assert end.facts["ran_to_end"] is True
    assert CUT_OFF not in caller.heard_text
    await caller.called_back("/hangup", HangupCauseCode="4000", HangupSource="API Request").within(0.1)
    assert callbacks(caller)[-1] == ("stopped" if profile == "documented" else "PlayedStream")
    await the_app_is_done(caller, keys="140#", unplayed=())


@on_every_wire
async def test_a_caller_who_hangs_up_in_the_middle(carrier: LabCarrier, profile: str) -> None:
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    await caller.hears("bakery").within(3)
    end = await caller.hangs_up()
    assert (end.facts["code"], end.facts["source"]) == (4000, "Caller")
    await caller.called_back("/hangup", HangupCauseCode="4000", HangupSource="Caller").within(0.1)
    assert callbacks(caller) == (["started", "stopped"] if profile == "documented" else ["StartStream"])
    await the_app_is_done(caller, keys="", unplayed=("greeting",))


async def paced(text: str) -> AsyncIterator[bytes]:
    """A text-to-speech that is no faster than speech, as many are: 20 ms at a time."""
    frame = sdk_agent.RATE * 2 // 50
    async for audio in ToneVoice(rate=sdk_agent.RATE).synthesize(text):
        for start in range(0, len(audio), frame):
            yield audio[start : start + frame]
            await asyncio.sleep(0.02)


@on_every_wire
async def test_what_is_not_yet_made_is_not_said_after_a_barge_in(
    carrier: LabCarrier, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_agent, "speak", paced)
    caller = await carrier.call(sdk_agent.api)
    await caller.press("12")
    await caller.interrupts("Stop", after=1.0)
    await caller.hears("You spoke for 0.24 seconds.").within(4)
    assert "pressed" not in caller.heard_text
    await caller.press("3")
    await caller.hears("You pressed").within(2)
    await caller.hangs_up()
    await the_app_is_done(caller, keys="123", unplayed=("key 3",))


@on_every_wire
async def test_a_caller_who_hangs_up_while_the_app_sends(carrier: LabCarrier, profile: str) -> None:
    """The frame that makes the app clear, and the end: left alone, the SDK reads from a closed socket for ever."""
    caller = await carrier.call(sdk_agent.api)
    await caller.hears("bakery").within(3)
    await asyncio.gather(caller.say("A"), caller.hangs_up())
    await the_app_is_done(caller)


@on_every_wire
async def test_two_callers_at_once(carrier: LabCarrier, profile: str) -> None:
    anna, ben = await asyncio.gather(greeted(carrier), greeted(carrier))
    await asyncio.gather(anna.press("1"), ben.press("2"))
    await asyncio.gather(anna.hears("You pressed 1").within(2), ben.hears("You pressed 2").within(2))
    await asyncio.gather(anna.hangs_up(), ben.hangs_up())
    await carrier.calls[0].stays_silent(0.02)
    assert {call.call_id: call.keys for call in sdk_agent.ended} == {anna.call_id: "1", ben.call_id: "2"}


@on_messages
async def test_a_voice_that_no_machine_reads(
    carrier: LabCarrier, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_agent, "speak", OWN_VOICE)
    caller = await carrier.call(sdk_agent.api)
    assert await caller.hears_speech(0.5).within(1) == 500, "a pause between words is none"
    await caller.interrupts("Stop", after=1.0)
    assert await caller.hears_silence(0.4).within(1) == (await caller.logged("cleared").within(0.1)).t_ms
    await caller.hears_speech(0.5).within(2)
    assert caller.heard_text == ""


@on_messages
async def test_what_another_account_has_signed_is_refused(
    carrier: LabCarrier, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", "the token of another account")
    caller = await carrier.call(sdk_agent.api)
    await caller.called_back("/answer").within(1)
    end = await caller.is_hung_up().within(1)
    assert not caller.answered
    assert end.facts["code"] == 7011
    assert caller.webhooks[0].status == 403


# --- a socket dies ------------------------------------------------------------------------------------------------


def drop(carrier: LabCarrier) -> None:
    """Cut the stream's socket, at the level of messages."""
    carrier.sockets.live[0].drop()


def vanish(carrier: LabCarrier) -> None:
    """Leave the stream's socket half-open, at the level of messages."""
    carrier.sockets.live[0].vanish()


def reset(carrier: LabCarrier) -> None:
    """Reset the stream's connection, at the level of bytes."""
    stream_link(carrier).reset()


def end_of_file(carrier: LabCarrier) -> None:
    """End the stream's connection in order, but without a close frame."""
    stream_link(carrier).close()


def cut_cable(carrier: LabCarrier) -> None:
    """Leave the stream's connection half-open, at the level of bytes."""
    stream_link(carrier).vanish()


def faults(on_messages: list[Fault], on_bytes: list[Fault]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("fault", "profile"),
        [
            pytest.param(fault, wire.values[0], marks=wire.marks, id=f"{fault.__name__}-{wire.id}")
            for level, those in (("messages", on_messages), ("bytes", on_bytes))
            for fault in those
            for wire in wires(level)
        ],
    )


@faults([drop], [reset, end_of_file])
async def test_the_socket_dies_in_the_middle(carrier: LabCarrier, profile: str, fault: Fault) -> None:
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    await caller.hears("this is").within(2)
    cut_ms, cut_at = caller.now_ms, now()
    fault(carrier)
    words = await caller.hears(CUT_OFF).within(3)
    assert caller.heard_text == f"Hello, this is {CUT_OFF}", "the rest of the greeting has gone with its stream"
    assert words[0].start_ms == cut_ms, "the document goes on at once"
    await the_call_is_accounted_for(caller, profile, "connection_failed")
    assert (await the_app_is_done(caller, unplayed=("greeting",))).at == cut_at


@faults([vanish], [cut_cable])
async def test_a_socket_that_is_half_open(carrier: LabCarrier, profile: str, fault: Fault) -> None:
    """Neither end is told: the carrier gives up when 40 s of audio wait, the app's server when its ping of 20 s is
    not answered for 20 s more."""
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    await caller.hears("this is").within(2)
    fault(carrier)
    await caller.say(ORDER)
    words = await caller.hears(CUT_OFF).within(50)
    assert caller.heard_text == f"Hello, this is the bakery. How can I help you? {CUT_OFF}", "no answer was heard"
    assert 40_000 < words[0].start_ms < 45_000, "40 s of audio, and what the kernel took"
    await the_call_is_accounted_for(caller, profile, "buffer_overflow")
    if profile == "live":
        assert callbacks(caller).count("DegradedStream") == 3, "at 30, 60 and 90 %"
    end = await the_app_is_done(caller, unplayed=("greeting",))
    assert (end.at - EPOCH).total_seconds() == 40


@faults([vanish], [cut_cable])
async def test_a_caller_who_hangs_up_on_a_socket_that_is_half_open(
    carrier: LabCarrier, profile: str, fault: Fault
) -> None:
    caller = await greeted(carrier)
    fault(carrier)
    end = await caller.hangs_up()
    assert (end.facts["code"], end.facts["source"]) == (4000, "Caller")
    await caller.called_back("/hangup", HangupCauseCode="4000").within(0.1)
    assert not sdk_agent.ended
    await caller.stays_silent(40)
    await the_app_is_done(caller, unplayed=("greeting",))


@on_bytes
async def test_a_network_that_stalls_for_three_seconds_loses_nothing(carrier: LabCarrier, profile: str) -> None:
    caller = await greeted(carrier)
    began_ms = caller.now_ms
    stream_link(carrier).stall(3.0)
    await caller.say(ORDER)
    answer = await caller.hears("You spoke for 0.9 seconds.").within(5)
    assert answer[0].start_ms == began_ms + 3000
    await caller.press("1")
    await caller.hears("You pressed 1").within(2)
    end = await caller.hangs_up()
    assert end.facts["ran_to_end"] is True


@on_bytes
async def test_a_slow_network_is_slow_both_ways(carrier: LabCarrier, profile: str) -> None:
    carrier.network.latency = 0.1
    caller = await greeted(carrier)
    spoken_ms = caller.now_ms
    await caller.say(ORDER)
    answer = await caller.hears("You spoke for 0.9 seconds.").within(3)
    assert answer[0].start_ms == spoken_ms + 900 + 600 + 20 + 200
    await caller.press("#")
    await caller.is_hung_up().within(3)
    assert caller.heard_text.endswith("Goodbye.")


@on_bytes
async def test_a_network_that_cuts_everything_into_pieces_changes_nothing(carrier: LabCarrier, profile: str) -> None:
    carrier.network.pieces = 11
    caller = await carrier.call(sdk_agent.api)
    words = await caller.hears("Hello, this is the bakery. How can I help you?").within(3)
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == GREETING
    await caller.say("Stop")
    await caller.hears("You spoke for 0.24 seconds.").within(3)
    await caller.press("7#")
    await caller.hears("You pressed 7. Goodbye.").within(3)
    await caller.is_hung_up().within(0.1)
    assert [record for record in caller.records if record.event == "mistake"] == []


async def the_call_is_accounted_for(caller: Caller, profile: str, reason: str) -> None:
    """The document has run to its end behind the stream that broke, and every callback tells of it."""
    end = await caller.is_hung_up().within(0.1)
    assert (end.facts["code"], end.facts["source"]) == (4010, "Plivo")
    assert end.facts["ran_to_end"] is False, "a stream of it broke"
    if profile == "documented":
        told = await caller.called_back("/status", Event="failed", StatusReason=reason).within(0.1)
    else:
        told = await caller.called_back("/status", Event="DroppedStream").within(0.1)
        assert told.params["Error"] == "connection disconnected with the remote service"
    assert callbacks(caller)[-1] == told.params["Event"], "and nothing after it"
    await caller.called_back("/hangup", HangupCauseCode="4010", HangupSource="Plivo").within(0.1)


async def the_app_is_done(caller: Caller, *, keys: str = "", unplayed: tuple[str, ...] = ()) -> sdk_agent.Ended:
    """What the app has written down of the call when it noticed the end; nothing of the call is left in it."""
    await caller.stays_silent(0.02)
    (end,) = sdk_agent.ended
    assert (end.call_id, end.keys, end.unplayed) == (caller.call_id, keys, unplayed)
    assert not [task for task in asyncio.all_tasks() if "Conversation" in repr(task)]
    return end


def now() -> datetime:
    """The wall clock, which follows the call."""
    return datetime.now(UTC)


# --- the synchronous REST client ----------------------------------------------------------------------------------


async def blocking(call_id: str) -> None:
    """As people write it first: it holds the loop until the answer is there."""
    plivo.RestClient().calls.delete(call_id)


async def in_a_thread(call_id: str) -> None:
    """As it should be."""
    await asyncio.to_thread(plivo.RestClient().calls.delete, call_id)


def app_that_hangs_up(how: Callable[[str], Awaitable[None]], failures: list[Exception]) -> FastAPI:
    """It ends the call when a key is pressed, and then tries to end it once more."""
    app = FastAPI()

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        stream = plivoxml.StreamElement(str(request.url_for("stream")), bidirectional=True, keepCallAlive=True)
        return Response(plivoxml.ResponseElement().add(stream).to_string(), media_type="application/xml")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        line = PlivoFastAPIStreamingHandler(websocket)

        @line.on_dtmf  # type: ignore[untyped-decorator]
        async def pressed(_event: object) -> None:
            await how(line.get_call_id())
            try:
                await how(line.get_call_id())
            except ResourceNotFoundError as error:
                failures.append(error)

        await line.start()

    return app


@on_every_wire
@pytest.mark.parametrize("how", [blocking, in_a_thread])
async def test_the_rest_client_hangs_up(
    carrier: LabCarrier, profile: str, how: Callable[[str], Awaitable[None]]
) -> None:
    failures: list[Exception] = []
    caller = await carrier.call(app_that_hangs_up(how, failures))
    await caller.stays_silent(0.5)
    await caller.press("0")
    pressed_ms = caller.now_ms
    end = await caller.is_hung_up().within(1)
    assert (end.facts["code"], end.facts["source"]) == (4000, "API Request")
    assert end.t_ms == pressed_ms, "no time goes by, in whatever thread"
    assert (await caller.asked_by_rest("DELETE").within(0.1)).status == 204
    await caller.stays_silent(0.02)
    assert [request.status for request in caller.rest] == [204, 404]
    assert len(failures) == 1
