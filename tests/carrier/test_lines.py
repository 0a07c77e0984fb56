"""How destinations are reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.carrier.called import SUMMONS, PlacedCall

from bothway.audio.format import L16_8K, MULAW_8K, AudioFormat
from bothway.carrier.callee import Callee, Callees, Chance, busy, echo, human
from bothway.carrier.config import Account, Application, Config, Number
from bothway.carrier.leg import CalledLeg, Leg, Summons
from bothway.carrier.legs.loopback import LoopbackCallee, LoopbackCaller
from bothway.carrier.legs.phone import PhoneLeg
from bothway.carrier.lines import MOST_HOPS, BarredError, Lines
from bothway.errors import PeerError, UsageError
from bothway.runtime.tasks import Tasks
from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.virtual_time

BOT = Application("bot", "https://bot.test/answer")
ACCOUNT = Account("MAONE", "a-token")
CONFIG = Config(applications=(BOT,), numbers=(Number("+1 555-0100", "bot"),))


class Incoming:
    """The carrier, as far as `Lines` need it: takes calls, and answers none."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.full = False

    def __call__(
        self,
        leg: Leg,
        *,
        from_: str,
        to: str,
        application: Application,
        account: Account,
        sip_headers: Mapping[str, str] | None = None,
    ) -> None:
        if self.full:
            raise UsageError("the carrier has as many calls as it takes")
        self.calls.append(
            {"leg": leg, "from": from_, "to": to, "of": (application, account), "headers": dict(sip_headers or {})}
        )


async def own_number(number: str) -> tuple[Application, Account] | None:
    if number == "15550109":
        raise PeerError("the records cannot be read")
    application = CONFIG.application_of(number)
    return (application, ACCOUNT) if application is not None else None


@asynccontextmanager
async def lines(*callees: Callee, inbound: Incoming | None = None, **options: Any) -> AsyncIterator[Lines]:
    tasks = Tasks()
    yield Lines(
        callees=Callees(callees),
        own_number=own_number,
        inbound=inbound or Incoming(),
        voice=ToneVoice(rate=8000),
        tasks=tasks,
        **options,
    )
    await tasks.close(1)


def to(destination: str) -> Summons:
    return replace(SUMMONS, to=destination)


async def refused(leg: CalledLeg, destination: str = SUMMONS.to) -> tuple[int, str, str]:
    call = PlacedCall(leg).place(to(destination))
    await call.over.wait()
    assert call.told == [("refuses", 0.0)]
    assert call.cause is not None
    return call.cause.code, call.cause.source, call.detail


@pytest.mark.parametrize(
    ("destination", "code", "detail"),
    [
        ("+15559999", 5020, "no trunk leads to +15559999, and it is no callee"),
        ("15550109", 5010, "the records cannot be read"),
        ("bob", 2000, "'bob' is neither a telephone number nor a SIP address"),
        ("", 2000, "'' is neither"),
        ("1" * 4000, 2000, "is neither"),
        ("sip:", 2000, "'sip:' is neither"),
        ("sip:bob@example.com", 2020, "no endpoint is registered as sip:bob@example.com"),
        ("+1900555", 2030, "barred by the carrier's configuration"),
    ],
)
async def test_who_cannot_be_reached_refuses_and_says_what_is_missing(destination: str, code: int, detail: str) -> None:
    async with lines(barred=("+1 900",)) as found:
        was_code, source, was_detail = await refused(found.leg_to(destination, MULAW_8K), destination)
    assert (was_code, source) == (code, "Error" if code == 5010 else "Plivo")
    assert detail in was_detail
    assert len(was_detail) < 200


async def test_a_barred_region_is_refused_before_it_is_called() -> None:
    async with lines(Callee("1900*", busy()), barred=("+1900", "44")) as found:
        for destination in ("+19005550100", "1 900 1", "44"):
            with pytest.raises(BarredError, match="Calls to this destination region are barred"):
                found.check(destination)
        for destination in ("1901", "4", "sip:1900@example.com", "bob"):
            found.check(destination)
        assert (await refused(found.leg_to("1900", MULAW_8K)))[0] == 2030
    async with lines() as found:
        found.check("+19005550100")


async def test_who_is_connected_comes_first_then_callees_then_own_numbers() -> None:
    made: list[AudioFormat] = []

    def make(fmt: AudioFormat) -> PhoneLeg:
        made.append(fmt)
        return PhoneLeg(fmt, lambda leg: None)

    async with lines(Callee("1555*", busy())) as found:
        found.connect("+1 555-0100", make)
        with pytest.raises(UsageError, match="15550100 is connected already"):
            found.connect("15550100", make)
        assert isinstance(found.leg_to("15550100", L16_8K), PhoneLeg)
        assert made == [L16_8K]
        found.disconnect("+15550100")
        found.disconnect("+15550100")
        call = PlacedCall(found.leg_to("15550100", MULAW_8K)).place()
        await call.over.wait()
        assert call.cause is not None
        assert call.cause.code == 3010
    async with lines() as found:
        assert isinstance(found.leg_to("15550100", MULAW_8K), LoopbackCallee)


async def test_a_callee_talks_in_the_format_of_the_call() -> None:
    async with lines(Callee("sip:*@example.com", busy()), Callee("15550101", human("Yes?", ring=1))) as found:
        assert found.leg_to("15550101", L16_8K).format == L16_8K
        call = PlacedCall(found.leg_to("+1 5550101", MULAW_8K)).place()
        await asyncio.sleep(2)
        assert call.told == [("rings", 0.0), ("answers", 1.0)]
        call.end()
        await asyncio.sleep(0)


async def test_a_seed_makes_the_callees_the_same_in_every_run() -> None:
    async def run(seed: int) -> list[str]:
        met = []
        async with lines(Callee("*", (Chance(0.5, busy()), Chance(0.5, echo(ring=0)))), seed=seed) as found:
            for number in range(40):
                call = PlacedCall(found.leg_to(str(number % 4), MULAW_8K)).place()
                await asyncio.sleep(0.01)
                met.append(call.words[0])
                if not call.over.is_set():
                    call.end()
        return met

    assert await run(1) == await run(1) != await run(2)


async def test_a_call_to_an_own_number_comes_in_at_the_same_carrier() -> None:
    inbound = Incoming()
    async with lines(inbound=inbound) as found:
        call = PlacedCall(found.leg_to("+15550100", MULAW_8K)).place(to("15550100"))
        await asyncio.sleep(0.001)
        (came,) = inbound.calls
        assert isinstance(came.pop("leg"), LoopbackCaller)
        assert came == {"from": SUMMONS.from_, "to": "15550100", "of": (BOT, ACCOUNT), "headers": {}}
        call.end()
        await asyncio.sleep(0)
        inbound.full = True
        assert await refused(found.leg_to("15550100", MULAW_8K), "15550100") == (
            2010,
            "Plivo",
            "the carrier has as many calls as it takes",
        )


async def test_calls_that_go_round_in_a_circle_are_found() -> None:
    inbound = Incoming()
    async with lines(inbound=inbound) as found:
        behind: Leg | None = None
        calls = []
        for hop in range(1, MOST_HOPS + 1):
            leg = found.leg_to("15550100", MULAW_8K, behind=behind)
            assert isinstance(leg, LoopbackCallee)
            assert leg.hops == hop
            calls.append(PlacedCall(leg).place(to("15550100")))
            await asyncio.sleep(0.001)
            behind = inbound.calls[-1]["leg"]
        code, source, detail = await refused(found.leg_to("15550100", MULAW_8K, behind=behind))
        assert (code, source) == (2060, "Plivo")
        assert f"{MOST_HOPS} calls" in detail
        assert (await refused(found.leg_to("19", MULAW_8K, behind=behind)))[0] == 2000
        for call in calls:
            call.end()
        await asyncio.sleep(0)


async def test_a_call_that_is_cancelled_while_its_number_is_looked_up_never_comes_in() -> None:
    inbound, tasks = Incoming(), Tasks()

    async def slow_own_number(_: str) -> tuple[Application, Account]:
        await asyncio.sleep(1)
        return BOT, ACCOUNT

    found = Lines(callees=Callees(), own_number=slow_own_number, inbound=inbound, voice=None, tasks=tasks)
    call = PlacedCall(found.leg_to("15550100", MULAW_8K)).place()
    await asyncio.sleep(0.5)
    call.end()
    await asyncio.sleep(1)
    assert (call.told, inbound.calls, len(tasks)) == ([], [], 0)
    await tasks.close(1)
