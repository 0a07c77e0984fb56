from __future__ import annotations

import asyncio
import logging
import time

import pytest

from bothway.carrier.ticker import PHASES, STEP_SECONDS, Ticker
from bothway.core.playout import FRAME_SECONDS, FrameClock
from bothway.testing.wall import BlockedLoopWarning

pytestmark = pytest.mark.virtual_time

_MS = 0.001
_US = 0.000_001


def nothing(error: BaseException) -> None:
    raise AssertionError(error)


class Member:
    """Remembers when it was ticked; each tick asks its frame clock how many frames leave."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticks: list[float] = []
        self.frames: list[int] = []
        self.first = ticker.join(self.tick, nothing)
        self.clock = FrameClock(self.first)

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.frames.append(self.clock.take(now))


async def test_a_member_is_ticked_at_its_deadlines() -> None:
    lateness: list[float] = []
    ticker = Ticker(lateness.append)
    member = Member(ticker)
    began = asyncio.get_running_loop().time()
    assert member.first == pytest.approx(began + STEP_SECONDS, abs=_US)
    await asyncio.sleep(60)
    ticker.close()
    assert member.ticks == pytest.approx([member.clock.due(number) for number in range(3000)], abs=_US)
    assert member.frames == [1] * 3000
    assert max(lateness) < _US


@pytest.mark.real_sockets
async def test_in_real_time_ticks_are_late_at_times_and_do_not_drift() -> None:
    ticker = Ticker()
    member = Member(ticker)
    began = asyncio.get_running_loop().time()
    assert began < member.first <= began + FRAME_SECONDS
    await asyncio.sleep(0.5)
    ticker.close()
    assert 23 <= len(member.ticks) <= 26
    assert sum(member.frames) == pytest.approx(0.5 / FRAME_SECONDS, abs=2)
    for now in member.ticks:
        offset = (now - member.first) % FRAME_SECONDS
        assert min(offset, FRAME_SECONDS - offset) < 15 * _MS, "late at times, but always from the same grid"
    assert member.clock.due(10) == pytest.approx(member.first + 0.2)


async def test_members_are_spread_over_four_phases_and_each_is_ticked_once_a_frame() -> None:
    ticker = Ticker()
    members = [Member(ticker) for _ in range(8)]
    assert len(ticker) == 8
    phases = sorted(round(member.first / STEP_SECONDS) % PHASES for member in members)
    base = phases[0]
    assert [phase - base for phase in phases] == [0, 0, 1, 1, 2, 2, 3, 3]
    await asyncio.sleep(0.2)
    ticker.close()
    assert [len(member.ticks) for member in members] == [10] * 8


async def test_after_a_stall_each_member_is_called_once_and_takes_two_frames_at_a_time() -> None:
    lateness: list[float] = []
    ticker = Ticker(lateness.append)
    members = [Member(ticker) for _ in range(5)]
    await asyncio.sleep(0.05)
    before = [len(member.ticks) for member in members]
    with pytest.warns(BlockedLoopWarning):
        time.sleep(0.12)  # noqa: ASYNC251 - the stall is the point
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(member.ticks) for member in members] == [count + 1 for count in before]
    assert {member.frames[-1] for member in members} == {2}
    assert lateness[-1] == max(lateness) == pytest.approx(0.115, abs=_US)
    await asyncio.sleep(0.252)
    ticker.close()
    for member in members:
        passed = (asyncio.get_running_loop().time() - member.first) / FRAME_SECONDS
        assert sum(member.frames) == int(passed) + 1, "it has caught up, and is no frame behind"
        assert max(member.frames) == 2


async def test_lateness_is_told_at_every_wake_up() -> None:
    told: list[float] = []
    ticker = Ticker(told.append)
    member = Member(ticker)
    await asyncio.sleep(0.1)
    ticker.close()
    assert len(told) == len(member.ticks) == 5
    assert told == pytest.approx([0] * 5, abs=_US)


async def test_leaving_during_a_tick() -> None:
    ticker = Ticker()
    ticks: list[str] = []

    def first(now: float) -> None:
        ticks.append("first")
        ticker.leave(first)
        ticker.leave(fifth)

    def fifth(now: float) -> None:
        ticks.append("fifth")

    ticker.join(first, nothing)
    for _ in range(PHASES - 1):
        ticker.join(lambda now: None, nothing)
    ticker.join(fifth, nothing)  # in the phase of the first
    await asyncio.sleep(0.06)
    assert ticks == ["first"]
    ticker.leave(fifth)  # again, which is nothing
    assert len(ticker) == PHASES - 1
    ticker.close()


async def test_joining_during_a_tick_does_not_make_time_run_faster() -> None:
    lateness: list[float] = []
    ticker = Ticker(lateness.append)
    late: list[Member] = []

    def joins(now: float) -> None:
        late.append(Member(ticker))
        ticker.leave(joins)

    ticker.join(joins, nothing)
    await asyncio.sleep(0.22)
    ticker.close()
    (member,) = late
    assert len(member.ticks) == 11
    assert member.frames == [1] * 11
    assert member.clock.slips == 0
    assert all(now >= member.first for now in member.ticks)


async def test_a_member_that_fails_is_taken_off_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    ticker = Ticker()
    failures: list[BaseException] = []

    def fails(now: float) -> None:
        raise ValueError("a bug")

    def told_and_fails_again(error: BaseException) -> None:
        failures.append(error)
        raise RuntimeError("another")

    with caplog.at_level(logging.CRITICAL, "bothway.carrier.ticker"):
        ticker.join(fails, failures.append)
        ticker.join(lambda now: fails(now), told_and_fails_again)
        member = Member(ticker)
        await asyncio.sleep(0.1)
    assert [type(failure) for failure in failures] == [ValueError, ValueError]
    assert len(member.ticks) == 5
    assert len(ticker) == 1
    ticker.close()


async def test_it_sleeps_while_it_has_no_members() -> None:
    lateness: list[float] = []
    ticker = Ticker(lateness.append)
    first = Member(ticker)
    await asyncio.sleep(0.03)
    ticker.leave(first.tick)
    await asyncio.sleep(0.03)
    assert ticker._timer is None
    again = Member(ticker)
    await asyncio.sleep(0.05)
    ticker.close()
    assert again.frames == [1] * 3
    assert again.clock.slips == 0
    assert max(lateness) < _US
