from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.world import ACCOUNT, Caller, World, page, until, world

from bothway.audio.format import MULAW_8K
from bothway.carrier.call_order import CallOrder, Party
from bothway.carrier.callee import Callee, Callees, busy, human
from bothway.carrier.config import Application, Config
from bothway.carrier.leg import Summons
from bothway.carrier.live_call import LiveCall
from bothway.carrier.switchboard import Switchboard
from bothway.core.course import CallPlan, State
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause

pytestmark = pytest.mark.virtual_time

CONFIG = Config(callees=Callees((Callee("15550100", human(ring=2)), Callee("15550101", busy(ring=1)))))


class Watcher:
    """Who had a leg dialled."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def leg_ringing(self) -> None:
        self.told.append("ringing")

    def leg_early_media(self) -> None:
        self.told.append("early media")

    def leg_answered(self) -> None:
        self.told.append("answered")

    def leg_digit(self, digit: str, *, in_band: bool) -> None:
        self.told.append(f"{digit} in band" if in_band else digit)

    def leg_transferred(self) -> None:
        self.told.append("transferred")

    def leg_confirmed(self, *, confirmed: bool) -> None:
        self.told.append(f"confirmed {confirmed}")

    def leg_ended(self, end_cause: HangupCause, detail: str) -> None:
        self.told.append(f"ended {end_cause.code}")


def switchboard(w: World) -> Switchboard:
    found = w.carrier._switchboard
    assert found is not None
    return found


def dial(w: World, to: str, watcher: Watcher, url: str | None = None) -> LiveCall:
    board = switchboard(w)
    order = CallOrder(CallPlan(url, outbound=True))
    leg = board.lines.leg_to(to, MULAW_8K)
    placed = board.dial(
        leg, Summons(from_="1", to=to), Party("1", to, direction="outbound"), order, ACCOUNT, watcher=watcher
    )
    assert isinstance(placed, LiveCall)
    return placed


async def test_a_call_without_a_document_waits_for_whoever_had_it_dialled(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        watcher = Watcher()
        call = dial(w, "15550100", watcher)
        await until(lambda: call.media is not None)
        assert watcher.told == ["ringing", "answered"]
        assert call.core.state is State.PARKED
        await asyncio.sleep(5)
        w.site.pages["/next"] = page("<Response><Hangup/></Response>")
        call.transfer(w.site.url + "/next", "POST")
        await call.accounted.wait()
        assert watcher.told[2:] == ["transferred", "ended 4000"]
        assert call.core.end_cause is not None
        assert call.core.end_cause.source == "Answer XML"


async def test_a_call_that_nobody_takes(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        watcher = Watcher()
        call = dial(w, "15550101", watcher)
        await call.accounted.wait()
        assert watcher.told == ["ringing", "ended 3010"]
        assert not switchboard(w).calls


async def test_a_board_that_was_closed_takes_and_places_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        caller, call = w.place(page("<Response><Wait length='60'/></Response>"))
        await until(lambda: caller.heard)
        await switchboard(w).close(0.0)
        assert call.over
        assert caller.cause is not None
        assert (caller.cause.code, caller.cause.source) == (5010, "Plivo")
        application = Application("test", w.site.url + "/answer")
        with pytest.raises(UsageError, match="is being stopped"):
            w.carrier.place(Caller(), from_="1", to="2", application=application)
        with pytest.raises(UsageError, match="is being stopped"):
            dial(w, "15550100", Watcher())


async def test_a_grace_lets_calls_end_by_themselves(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller, _ = w.place(page("<Response><Wait length='5'/></Response>"))
        await until(lambda: caller.heard)
        await switchboard(w).close(30.0)
        assert caller.cause is not None
        assert caller.cause.code == 4010


async def test_a_grace_is_for_the_last_call_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        long, _ = w.place(page("<Response><Wait length='5'/></Response>"))
        await until(lambda: long.heard)
        short, _ = w.place(page("<Response><Wait length='1'/></Response>"))
        await until(lambda: short.heard)
        await switchboard(w).close(30.0)
        assert [caller.cause and caller.cause.code for caller in (long, short)] == [4010, 4010]
