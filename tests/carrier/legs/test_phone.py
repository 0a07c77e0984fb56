"""A telephone in somebody's hand, driven as a call drives a leg."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.carrier.called import ENDED, SUMMONS, PlacedCall

from bothway.audio.format import L16_8K, MULAW_8K
from bothway.carrier.echo_caller import EchoCaller
from bothway.carrier.legs.phone import PhoneLeg
from bothway.carrier.script import Press, Say, Script
from bothway.carrier.scripted_caller import Outcome, ScriptedCaller
from bothway.errors import UsageError
from bothway.wire.digits import read_digits
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Ended

pytestmark = pytest.mark.virtual_time

QUIET = MULAW_8K.silent_frame
BUSY = HangupCause.of(3010, "Carrier")


def nothing(_: PhoneLeg) -> None:
    """Let it ring, and not even say so."""


async def test_it_rings_and_is_answered_and_both_hang_up_once() -> None:
    over: list[str] = []
    records: list[object] = []
    leg = PhoneLeg(MULAW_8K, nothing, on_over=lambda: over.append("over"), on_log=records.append)
    call = PlacedCall(leg).place()
    assert (leg.summons, leg.call_id, leg.over, leg.is_answered) == (SUMMONS, "c-1", False, False)
    leg.log({"event": "call"})
    assert leg.rings()
    await asyncio.sleep(1)
    script = Script((Say("hi"), Press("5")))
    assert leg.answers(ScriptedCaller(script, MULAW_8K, {Say("hi").clip: b"\x01" * 320}))
    result = await leg.result()
    assert call.told == [("rings", 0.0), ("answers", 1.0), ("presses 5", 1.04), ("hangs up", 1.07)]
    assert call.heard == [b"\x01" * 160] * 2 + [QUIET] * 2
    assert (result.call_id, result.outcome, result.heard_ms) == ("c-1", Outcome(ok=True), 80)
    assert result.ended == Ended(code=4000, name="Normal Hangup", source="API Request", ran_to_end=True)
    assert (over, records, leg.over, leg.is_answered) == (["over"], [{"event": "call"}], True, True)


async def test_whoever_has_it_is_told_by_the_loop() -> None:
    rung: list[PhoneLeg] = []
    leg = PhoneLeg(MULAW_8K, rung.append)
    PlacedCall(leg).place()
    assert rung == []
    await asyncio.sleep(0)
    assert rung == [leg]


async def test_it_may_refuse_from_the_moment_it_is_called() -> None:
    def refuse(leg: PhoneLeg) -> None:
        assert leg.refuses(BUSY, "the callee is busy")

    leg = PhoneLeg(MULAW_8K, refuse)
    call = PlacedCall(leg).place()
    await call.over.wait()
    assert call.told == [("refuses", 0.0)]
    assert (call.cause, call.detail) == (BUSY, "the callee is busy")
    result = await leg.result()
    assert (result.outcome.ok, result.heard_ms, result.ended) == (
        True,
        0,
        Ended(code=3010, name="Busy Line", source="Carrier", detail="the callee is busy", ran_to_end=True),
    )
    leg.ended(ENDED, "", ran_to_end=True)  # it does not mind


async def test_a_call_that_is_cancelled_stops_ringing_and_can_be_neither_answered_nor_refused() -> None:
    over: list[int] = []
    leg = PhoneLeg(MULAW_8K, nothing, on_over=lambda: over.append(1))
    call = PlacedCall(leg).place()
    leg.rings()
    call.end(HangupCause.of(1000, "API Request"))
    assert over == [1]
    assert not leg.rings()
    assert not leg.announces(QUIET)
    assert not leg.answers(EchoCaller(MULAW_8K))
    assert not leg.refuses(BUSY)
    leg.send_frames([QUIET])
    leg.send_digits("1")
    assert call.words == ["rings"]
    result = await leg.result()
    assert result.ended is not None
    assert result.ended.code == 1000


async def test_a_call_that_is_cancelled_before_it_rang_never_rings() -> None:
    rung: list[PhoneLeg] = []
    call = PlacedCall(PhoneLeg(MULAW_8K, rung.append)).place()
    call.end()
    await asyncio.sleep(1)
    assert rung == []


async def test_early_media_comes_at_the_calls_own_pace_and_ends_with_the_answer() -> None:
    leg = PhoneLeg(MULAW_8K, nothing)
    call = PlacedCall(leg, early=True).place()
    assert leg.announces(b"\x07" * 200)
    assert leg.announces(b"\x08" * 160)
    await asyncio.sleep(0.07)
    assert call.heard == [b"\x07" * 160, b"\x07" * 40 + b"\xff" * 120, b"\x08" * 160, QUIET]
    leg.answers(EchoCaller(MULAW_8K))
    await asyncio.sleep(0.05)
    assert call.words == ["early media", "answers"]
    assert not leg.announces(QUIET)
    assert not leg.rings()
    call.end()


async def test_early_media_that_nobody_wants_is_not_sent() -> None:
    leg = PhoneLeg(MULAW_8K, nothing)
    call = PlacedCall(leg).place()
    leg.announces(b"\x07" * 160)
    await asyncio.sleep(1)
    assert (call.words, call.heard) == (["early media"], [])
    call.end()


async def test_keys_of_the_summons_are_pressed_from_the_answer_on() -> None:
    leg = PhoneLeg(MULAW_8K, nothing)
    call = PlacedCall(leg).place(replace(SUMMONS, digits=read_digits("1w2")))
    leg.send_digits("9")  # nobody is there to hear it
    await asyncio.sleep(1)
    leg.answers(EchoCaller(MULAW_8K))
    await asyncio.sleep(0.5)
    leg.send_digits("3")
    await asyncio.sleep(0.5)
    assert call.told == [("answers", 1.0), ("presses 1", 1.0), ("presses 3", 1.52), ("presses 2", 1.7)]
    call.end()


async def test_what_is_done_with_it_in_the_wrong_order_is_an_error() -> None:
    leg = PhoneLeg(MULAW_8K, nothing)
    for action in (leg.rings, lambda: leg.refuses(BUSY), lambda: leg.answers(EchoCaller(MULAW_8K))):
        with pytest.raises(UsageError, match="nobody calls this telephone yet"):
            action()
    call = PlacedCall(leg).place()
    with pytest.raises(UsageError, match="talks audio/x-l16;rate=8000, and the call is in audio/x-mulaw"):
        leg.answers(EchoCaller(L16_8K))
    leg.answers(EchoCaller(MULAW_8K))
    with pytest.raises(UsageError, match="the call is answered already"):
        leg.answers(EchoCaller(MULAW_8K))
    with pytest.raises(UsageError, match="can only be hung up"):
        leg.refuses(BUSY)
    call.end()
