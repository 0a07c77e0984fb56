"""A callee in a test's hand, called by what could be a call."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.carrier.called import SUMMONS, PlacedCall

from bothway.audio.format import MULAW_8K
from bothway.errors import UsageError
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice
from bothway.testing import CallFailedError, LabCarrier
from bothway.testing.callee import Callee

pytestmark = pytest.mark.virtual_time


def callee() -> Callee:
    return Callee(MULAW_8K, ToneVoice(rate=8000))


def words(call: PlacedCall) -> list[str]:
    reader = ToneReader(MULAW_8K)
    return [word.text for frame in call.heard for word in reader.feed(frame)]


async def test_it_rings_answers_talks_and_hangs_up() -> None:
    jo = callee()
    call = PlacedCall(jo.leg()).place(replace(SUMMONS, caller_name="Ann"))
    assert (await jo.is_called().within(1)).caller_name == "Ann"
    await jo.answers(after=2)
    await jo.say("Hello there")
    await jo.press("5")
    await jo.hears_silence(0.5).within(1)
    call.leg.send_digits("12")
    await jo.hears_digits("12").within(1)
    assert words(call) == ["Hello", "there"]
    jo.telephone.order(jo.telephone.hang_up(), lambda: None)
    await asyncio.sleep(1)
    assert jo.trace.over
    assert [word for word, _ in call.told] == ["rings", "answers", "presses 5", "hangs up"]
    assert call.told[1] == ("answers", 2.0)


async def test_the_call_may_come_later() -> None:
    jo = callee()
    answering = asyncio.create_task(jo.answers(after=1))
    await asyncio.sleep(5)
    call = PlacedCall(jo.leg()).place()
    await answering
    assert call.told == [("rings", 0.1), ("answers", 1.0)]
    call.end()


async def test_it_may_answer_by_itself() -> None:
    jo = Callee(MULAW_8K, ToneVoice(rate=8000), answers_after=1.5)
    call = PlacedCall(jo.leg()).place()
    await jo.say("Hello")
    assert call.told == [("rings", 0.1), ("answers", 1.5)]
    assert words(call) == ["Hello"]
    call.end()
    jo = Callee(MULAW_8K, ToneVoice(rate=8000), answers_after=1.5)
    call = PlacedCall(jo.leg()).place()
    await jo.answers(after=1)
    await asyncio.sleep(1)
    assert call.words == ["rings", "answers"], "once, and when the test says so"
    call.end()


async def test_it_refuses() -> None:
    jo = callee()
    call = PlacedCall(jo.leg()).place()
    await jo.is_busy()
    assert call.told == [("refuses", 0.0)]
    assert call.cause is not None
    assert call.cause.code == 3010
    assert jo.trace.over
    jo = callee()
    call = PlacedCall(jo.leg()).place()
    await jo.rejects(after=1.5)
    assert call.told == [("rings", 0.1), ("refuses", 1.5)]
    assert call.cause is not None
    assert call.cause.code == 3020
    with pytest.raises(UsageError, match="42 is not a hang-up code"):
        await callee().refuses(42)


async def test_it_announces_before_it_answers() -> None:
    jo = callee()
    call = PlacedCall(jo.leg(), early=True).place()
    await jo.announces("please hold")
    await asyncio.sleep(2)
    assert words(call) == ["please", "hold"]
    await jo.answers()
    assert call.words == ["early media", "rings", "answers"]
    call.end()


async def test_a_caller_that_gives_up_fails_what_the_callee_was_to_do() -> None:
    def gone() -> Callee:
        jo = callee()
        call = PlacedCall(jo.leg()).place()
        asyncio.get_running_loop().call_later(1, call.end)
        return jo

    with pytest.raises(CallFailedError, match="the caller gave up before the callee answered after 2 s"):
        await gone().answers(after=2)
    with pytest.raises(CallFailedError, match="the caller gave up before the callee refused"):
        await gone().rejects(after=2)
    jo = gone()
    await asyncio.sleep(2)
    with pytest.raises(CallFailedError, match="the caller gave up before the callee announced"):
        await jo.announces("hold on")


async def test_nobody_calls() -> None:
    with pytest.raises(CallFailedError, match="expected the callee to be called within 3 s"):
        await callee().answers(within=3)


async def test_whoever_has_it_is_told_and_closes_its_trace() -> None:
    told: list[str] = []
    jo = Callee(
        MULAW_8K,
        ToneVoice(rate=8000),
        on_call=lambda jo: told.append(f"called {jo.phone.call_id if jo.phone else ''}"),
        on_over=lambda jo: told.append("over"),
    )
    assert jo.summons is None
    call = PlacedCall(jo.leg()).place()
    with pytest.raises(UsageError, match="a second call needs a second callee"):
        jo.leg()
    await asyncio.sleep(0)
    call.end()
    assert told == ["called c-1", "over"]
    assert not jo.trace.over


async def answer(request: Request) -> Response:
    return Response(
        "<Response><Dial><Number>15550123</Number></Dial><Speak>goodbye</Speak></Response>",
        media_type="application/xml",
    )


APP = Starlette(routes=[Route("/answer", answer, methods=["POST"])])


@pytest.mark.carrier
async def test_a_callee_of_the_lab_and_its_caller_hear_each_other(carrier: LabCarrier) -> None:
    jo = carrier.callee("+15550123", answers_after=2)
    ann = await carrier.call(APP, "/answer")
    await ann.say("Is that Jo")
    await jo.hears("is that jo").within(2)
    await jo.say("Speaking")
    await ann.hears("speaking").within(2)
    await jo.hangs_up()
    await ann.hears("goodbye").within(3)
    await ann.is_hung_up()
    assert jo.summons is not None
    assert jo.summons.to == "15550123"
    assert jo.ended is not None
    assert carrier.calls == [ann, jo]


@pytest.mark.carrier
async def test_each_call_of_the_lab_has_its_own_callee(carrier: LabCarrier) -> None:
    first, second = carrier.callee("15550123"), carrier.callee("+1 5550123")
    refusing = asyncio.create_task(first.is_busy())
    ann = await carrier.call(APP, "/answer")
    await refusing
    await ann.hears("goodbye").within(3)
    assert second.summons is None
    await ann.is_hung_up()
    assert first.trace.over
