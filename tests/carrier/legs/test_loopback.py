"""Two calls, each the other's far end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.carrier.called import SUMMONS, PlacedCall

from bothway.audio.format import FRAME_MS, MULAW_8K
from bothway.carrier.leg import Summons
from bothway.carrier.legs.loopback import QUEUE_FRAMES, LoopbackCallee, LoopbackCaller, _Wire
from bothway.errors import UsageError
from bothway.testing import run
from bothway.wire.digits import read_digits
from bothway.wire.hangup import HangupCause

pytestmark = pytest.mark.virtual_time


class IncomingCall:
    """The call that comes in: a `LegSink` that answers when it is told to."""

    def __init__(self) -> None:
        self.leg: LoopbackCaller
        self.summons: Summons | None = None
        self.heard: list[bytes] = []
        self.told: list[str] = []
        self.fails = ""
        self._inside = False
        self._timer: asyncio.TimerHandle | None = None
        self._says: Callable[[int], bytes] = lambda _: MULAW_8K.silent_frame
        self._sent = 0

    def take(self, leg: LoopbackCaller, summons: Summons) -> None:
        if self.fails:
            raise UsageError(self.fails)
        self.leg, self.summons = leg, summons
        leg.attach(self)
        self.do(lambda: leg.ringing("c-2"))

    def answer(self, says: Callable[[int], bytes] | None = None) -> None:
        self._says = says or self._says
        self.do(self.leg.answered)
        self._tick()

    def end(self, code: int = 4010, source: str = "Plivo") -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.do(lambda: self.leg.ended(HangupCause.of(code, source), "as it was told", ran_to_end=True))

    def do(self, method: Callable[[], None]) -> None:
        self._inside = True
        method()
        self._inside = False

    def caller_frame(self, frame: bytes) -> None:
        assert not self._inside
        self.heard.append(frame)

    def caller_digit(self, digit: str) -> None:
        assert not self._inside
        self.told.append(f"presses {digit}")

    def caller_hung_up(self) -> None:
        assert not self._inside
        self.told.append("hangs up")
        self.end(4000, "Caller")

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(FRAME_MS / 1000, self._tick)
        frame = self._says(self._sent)
        self._sent += 1
        self.do(lambda: self.leg.send_frames([frame]))


def from_caller(number: int) -> bytes:
    return bytes((number * 3 + at) % 256 for at in range(160))


def to_caller(number: int) -> bytes:
    return bytes((number * 5 + at * 7) % 256 for at in range(160))


async def test_a_call_from_ring_to_end_sample_by_sample() -> None:
    incoming = IncomingCall()
    leg = LoopbackCallee(MULAW_8K, incoming.take)
    summons = replace(SUMMONS, headers=(("X-PH-a", "1"),), caller_name="Jo")
    call = PlacedCall(leg, says=from_caller).place(summons)
    await asyncio.sleep(1)
    assert incoming.summons == summons
    assert incoming.leg.format == MULAW_8K
    incoming.answer(to_caller)
    await asyncio.sleep(10)
    call.end()
    await asyncio.sleep(1)
    assert call.told == [("rings", 0.0), ("answers", 1.0)]
    assert len(call.heard) >= 498
    assert call.heard == [to_caller(number) for number in range(len(call.heard))]
    assert len(incoming.heard) >= 498
    assert incoming.heard == [from_caller(number) for number in range(len(incoming.heard))]
    assert incoming.told == ["hangs up"]
    assert leg.dropped_frames == incoming.leg.dropped_frames == 0


async def test_keys_go_both_ways_and_pauses_do_not() -> None:
    incoming = IncomingCall()
    leg = LoopbackCallee(MULAW_8K, incoming.take)
    call = PlacedCall(leg).place(replace(SUMMONS, digits=read_digits("7w8")))
    await asyncio.sleep(0.1)
    leg.send_digits("1")  # before the answer nobody listens
    await asyncio.sleep(0.1)
    incoming.answer()
    await asyncio.sleep(0.01)
    leg.send_digits("1w2")
    incoming.do(lambda: incoming.leg.send_digits("#W0"))
    await asyncio.sleep(1)
    assert incoming.told == ["presses 7", "presses 1", "presses 2", "presses 8"]
    assert call.words == ["rings", "answers", "presses #", "presses 0"]
    call.end()
    await asyncio.sleep(0.1)


async def test_the_called_end_hangs_up_behind_all_that_it_said() -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    await asyncio.sleep(0)
    incoming.answer()
    await asyncio.sleep(0.5)
    incoming.do(lambda: incoming.leg.send_frames([b"\x01" * 160]))
    incoming.do(lambda: incoming.leg.send_digits("5"))
    incoming.end()
    await call.over.wait()
    assert call.heard[-1] == b"\x01" * 160
    assert call.words == ["rings", "answers", "presses 5", "hangs up"]
    await asyncio.sleep(1)
    assert incoming.told == []


@pytest.mark.parametrize(
    ("code", "source", "seen"),
    [
        (3010, "Answer XML", 3010),
        (3020, "Answer XML", 3020),
        (3000, "Plivo", 3000),
        (2060, "Plivo", 2060),
        (5030, "Plivo", 5030),
        (4010, "Plivo", 3020),
        (1000, "API Request", 3020),
        (7011, "Error", 3080),
        (8011, "Error", 3080),
        (5010, "Error", 3080),
    ],
)
async def test_a_call_that_is_not_answered_is_refused_for_a_reason(code: int, source: str, seen: int) -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    await asyncio.sleep(1)
    incoming.end(code, source)
    await call.over.wait()
    assert call.words == ["rings", "refuses"]
    assert call.cause == HangupCause.of(seen, "Carrier")
    assert call.detail == "as it was told"


async def test_a_carrier_that_takes_no_calls_refuses() -> None:
    incoming = IncomingCall()
    incoming.fails = "this carrier takes no calls"
    leg = LoopbackCallee(MULAW_8K, incoming.take)
    call = PlacedCall(leg).place()
    await call.over.wait()
    assert call.cause == HangupCause.of(2010, "Plivo")
    assert call.detail == "this carrier takes no calls"
    leg.ended(HangupCause.of(4000, "Plivo"), "", ran_to_end=True)


async def test_a_call_that_is_cancelled_before_it_came_in_never_does() -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    call.end()
    await asyncio.sleep(1)
    assert incoming.summons is None
    assert call.told == []


async def test_a_call_that_is_cancelled_while_it_rings_loses_its_caller() -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    await asyncio.sleep(1)
    call.end(HangupCause.of(1000, "API Request"))
    await asyncio.sleep(1)
    assert incoming.told == ["hangs up"]
    assert call.words == ["rings"]


async def test_answer_and_cancel_that_cross_are_no_answer() -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    await asyncio.sleep(1)
    incoming.answer()
    call.end()
    await asyncio.sleep(1)
    assert incoming.told == ["hangs up"]
    assert call.words == ["rings"]


async def test_both_hang_up_at_once() -> None:
    incoming = IncomingCall()
    call = PlacedCall(LoopbackCallee(MULAW_8K, incoming.take)).place()
    await asyncio.sleep(0)
    incoming.answer()
    await asyncio.sleep(1)
    incoming.end()
    call.end()
    await asyncio.sleep(1)
    assert incoming.told == []
    assert call.words == ["rings", "answers"]


async def test_what_waits_for_a_process_that_stands_still_is_bounded() -> None:
    incoming = IncomingCall()
    leg = LoopbackCallee(MULAW_8K, incoming.take)
    call = PlacedCall(leg).place()
    await asyncio.sleep(0)
    incoming.answer()
    await asyncio.sleep(0.11)
    incoming.heard.clear()
    frames = [from_caller(number) for number in range(QUEUE_FRAMES + 10)]
    leg.send_frames(frames[:5])
    leg.send_digits("5")
    leg.send_frames(frames[5:])
    await asyncio.sleep(0.001)
    assert incoming.heard == frames[10:]
    assert incoming.leg.dropped_frames == 10
    assert incoming.told == ["presses 5"], "a key is not audio"
    call.end()
    await asyncio.sleep(0.1)


@given(st.lists(st.sampled_from(["answer", "a ends", "b ends", "a says", "b says", "a presses", "b presses", "wait"])))
def test_whatever_the_order_each_end_is_over_once_and_told_nothing_behind_it(steps: list[str]) -> None:
    async def calls() -> None:
        incoming = IncomingCall()
        leg = LoopbackCallee(MULAW_8K, incoming.take)
        call = PlacedCall(leg).place()
        await asyncio.sleep(0.01)
        ended: set[str] = set()
        for step in steps:
            who, _, what = step.partition(" ")
            if who in ended:
                continue
            if step == "answer":
                if not {"answer", "b"} & ended and not incoming.told:
                    incoming.answer()
                ended.add("answer")
            elif step == "wait":
                await asyncio.sleep(0.05)
            elif what == "ends":
                ended.add(who)
                if who == "b":
                    incoming.end()
                elif not call.over.is_set():
                    call.end()
            elif what == "says":
                (leg if who == "a" else incoming.leg).send_frames([from_caller(1)])
            elif what == "presses":
                (leg if who == "a" else incoming.leg).send_digits("1")
        if not call.over.is_set():
            call.end()
        await asyncio.sleep(0.1)
        assert incoming.told.count("hangs up") <= 1
        assert sum(word in ("hangs up", "refuses") for word in call.words) <= 1
        if {"hangs up"} & set(incoming.told):
            assert incoming.told[-1] == "hangs up"

    run(calls())


async def test_whoever_takes_the_call_may_refuse_it_later() -> None:
    taken: list[LoopbackCaller] = []
    call = PlacedCall(LoopbackCallee(MULAW_8K, lambda leg, _: taken.append(leg))).place()
    await asyncio.sleep(1)
    assert not taken[0].is_gone
    for _ in range(2):
        taken[0].refuse(HangupCause.of(5020, "Plivo"), "there is no such number")
    await call.over.wait()
    assert call.told == [("refuses", 1.0)]
    assert (call.cause, call.detail) == (HangupCause.of(5020, "Plivo"), "there is no such number")
    assert taken[0].is_gone


async def test_a_wire_that_is_closed_by_what_it_carries_carries_no_more() -> None:
    wire, carried = _Wire(), list[str]()
    wire.tell(wire.close)
    wire.tell(lambda: carried.append("behind it"))
    await asyncio.sleep(0.1)
    wire.tell(lambda: carried.append("later"))
    await asyncio.sleep(0.1)
    assert carried == []
