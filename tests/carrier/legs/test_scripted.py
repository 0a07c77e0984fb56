"""The scripted leg, driven as a call drives one."""

from __future__ import annotations

import asyncio

import pytest

from bothway.audio.format import MULAW_8K
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.script import Press, Rules, Say, Script, Wait
from bothway.carrier.scripted_caller import CallResult, Outcome, ScriptedCaller
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Ended

pytestmark = pytest.mark.virtual_time

QUIET = MULAW_8K.silent_frame
WORDS = b"\x01" * 160 + b"\x02" * 160


class Call:
    """A call that remembers what its leg tells it, and ends when the caller hangs up."""

    def __init__(self, leg: ScriptedLeg) -> None:
        self.leg = leg
        self.told: list[object] = []

    def caller_frame(self, frame: bytes) -> None:
        self.told.append(frame)

    def caller_digit(self, digit: str) -> None:
        self.told.append(digit)

    def caller_hung_up(self) -> None:
        self.told.append("hung up")
        self.leg.ended(HangupCause.of(4000, "Caller"), "", ran_to_end=True)


def a_leg(*steps: Say | Press | Wait, **options: object) -> ScriptedLeg:
    script = Script(steps, Rules())
    clips = {words.clip: WORDS for words in script.clips}
    return ScriptedLeg(ScriptedCaller(script, MULAW_8K, clips), **options)  # type: ignore[arg-type]


async def test_a_call_from_ring_to_end() -> None:
    crossed: list[tuple[bytes, bytes]] = []
    records: list[object] = []
    leg = a_leg(Say("hi"), Press("5"), tap=lambda *pair: crossed.append(pair), on_log=records.append)
    call = Call(leg)
    assert leg.format == MULAW_8K
    leg.attach(call)
    leg.ringing("c-1")
    leg.log({"event": "call"})
    leg.answered()
    for _ in range(4):
        leg.send_frames([QUIET])
        leg.send_digits("#")
        await asyncio.sleep(0)
    result = await asyncio.wait_for(leg.result(), 1)
    assert call.told == [WORDS[:160], WORDS[160:], QUIET, "5", QUIET, "hung up"]
    assert crossed[:3] == [(WORDS[:160], QUIET), (WORDS[160:], QUIET), (QUIET, QUIET)]
    assert records == [{"event": "call"}]
    assert result == CallResult(
        "c-1",
        Ended(code=4000, name="Normal Hangup", source="Caller", ran_to_end=True),
        Outcome(ok=True),
        80,
        result.events,
    )
    assert [event.kind for event in result.events].count("heard_digits") == 4
    assert result.ok


async def test_the_call_is_never_called_from_inside_send_frames() -> None:
    leg = a_leg(Say("hi"))
    call = Call(leg)
    leg.attach(call)
    leg.send_frames([QUIET, QUIET, QUIET])
    assert call.told == []
    await asyncio.sleep(0)
    assert call.told == [WORDS[:160], WORDS[160:], QUIET]
    await asyncio.sleep(0.015)
    assert call.told[3:] == ["hung up"], "between two frames"


async def test_a_caller_that_hangs_up_when_the_call_has_just_ended_has_not_hung_up() -> None:
    leg = a_leg(Say("hi"))
    call = Call(leg)
    leg.attach(call)
    leg.send_frames([QUIET, QUIET, QUIET])
    await asyncio.sleep(0)
    leg.ended(HangupCause.of(4010, "Plivo"), "", ran_to_end=True)
    await asyncio.sleep(0.015)
    assert call.told == [WORDS[:160], WORDS[160:], QUIET]


async def test_an_ended_call_is_told_nothing_more() -> None:
    leg = a_leg(Wait(1000))
    call = Call(leg)
    leg.attach(call)
    leg.send_frames([QUIET])
    leg.ended(HangupCause.of(5010, "Error"), "a fault", ran_to_end=False)
    await asyncio.sleep(0)
    assert call.told == []
    result = await leg.result()
    assert (result.ok, result.outcome.ok) == (False, True)
    assert result.ended is not None
    assert result.ended.detail == "a fault"


async def test_a_leg_without_a_call_cannot_hear() -> None:
    with pytest.raises(UsageError, match="before it is attached"):
        a_leg(Wait(20)).send_frames([QUIET])
