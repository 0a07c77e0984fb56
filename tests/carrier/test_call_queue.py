"""Calls at a rate, to the millisecond of virtual time."""

from __future__ import annotations

import asyncio

import pytest

from bothway.carrier.call_queue import CallQueue, QueueFullError
from bothway.errors import UsageError
from bothway.testing import VirtualLoop

pytestmark = pytest.mark.virtual_time


class Started:
    """What was started, and when, in seconds since this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.calls: list[tuple[str, float]] = []

    def __call__(self, request: str) -> None:
        self.calls.append((request, round(self._loop.time() - self._began, 6)))


async def test_requests_start_in_order_on_an_absolute_grid() -> None:
    started = Started()
    queue = CallQueue(2.0, started)
    assert [queue.put(name, name) for name in "abcd"] == [True, False, False, False]
    assert started.calls == [], "never from inside `put`"
    await asyncio.sleep(10)
    assert started.calls == [("a", 0.0), ("b", 0.5), ("c", 1.0), ("d", 1.5)]
    assert queue.close() == []


async def test_a_thousand_calls_at_7_a_second_do_not_drift() -> None:
    started = Started()
    queue = CallQueue(7.0, started)
    for number in range(1000):
        queue.put(str(number), str(number))
    await asyncio.sleep(200)
    assert [at for _, at in started.calls] == pytest.approx([number / 7 for number in range(1000)], abs=2e-6)
    queue.close()


async def test_an_idle_queue_starts_at_once_and_a_busy_one_keeps_its_grid() -> None:
    started = Started()
    queue = CallQueue(2.0, started)
    queue.put("a", "a")
    await asyncio.sleep(0.3)
    assert queue.put("b", "b") is False
    await asyncio.sleep(5)
    assert queue.put("c", "c") is True
    await asyncio.sleep(1)
    assert started.calls == [("a", 0.0), ("b", 0.5), ("c", 5.3)]
    queue.close()


async def test_what_waits_is_listed_and_can_be_cancelled() -> None:
    started = Started()
    queue = CallQueue(1.0, started)
    for name in "abcd":
        queue.put(name, name.upper())
    await asyncio.sleep(0.1)
    assert queue.waiting == [("b", "B"), ("c", "C"), ("d", "D")]
    assert (len(queue), "b" in queue, "a" in queue, queue.find("d"), queue.find("a")) == (3, True, False, "D", None)
    assert queue.cancel("b") == "B"
    assert queue.cancel("b") is None
    assert queue.cancel("a") is None, "it was started"
    await asyncio.sleep(1)
    assert started.calls == [("A", 0.0), ("C", 1.0)], "who is behind moves up"
    assert queue.close() == ["D"]
    await asyncio.sleep(10)
    assert len(started.calls) == 2


async def test_a_queue_whose_last_request_was_cancelled_goes_on_later() -> None:
    started = Started()
    queue = CallQueue(1.0, started)
    queue.put("a", "a")
    queue.cancel("a")
    await asyncio.sleep(3)
    assert queue.put("b", "b") is True
    await asyncio.sleep(0.1)
    assert started.calls == [("b", 3.0)]
    queue.close()


async def test_a_call_that_cannot_be_started_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    started = Started()

    def start(request: str) -> None:
        if request == "a":
            raise ValueError(request)
        started(request)

    queue = CallQueue(2.0, start)
    queue.put("a", "a")
    queue.put("b", "b")
    await asyncio.sleep(2)
    assert started.calls == [("b", 0.5)]
    assert "a queued call could not be started" in caplog.text
    queue.close()


async def test_a_start_may_put_and_close() -> None:
    started = Started()

    def start(request: str) -> None:
        started(request)
        if request == "a":
            queue.put("b", "b")
        else:
            queue.put("c", "c")
            assert queue.close() == ["c"]

    queue = CallQueue(2.0, start)
    queue.put("a", "a")
    await asyncio.sleep(5)
    assert started.calls == [("a", 0.0), ("b", 0.5)]


async def test_a_short_delay_is_caught_up_and_a_long_one_lets_no_crowd_loose() -> None:
    started = Started()

    def start(request: str) -> None:
        started(request)
        if request in ("1", "7"):  # the process stands still
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop._advance(0.6 if request == "1" else 60.0)

    queue = CallQueue(10.0, start)
    for number in range(20):
        queue.put(str(number), str(number))
    await asyncio.sleep(100)
    times = [at for _, at in started.calls]
    assert len(times) == 20
    assert times[2:8] == [0.7] * 6, "what was due is caught up, and the grid stays"
    assert times[8:11] == pytest.approx([60.7, 60.8, 60.9]), "and here it begins anew"
    assert max(sum(at - 1 < other <= at for other in times) for at in times) <= 11
    queue.close()


async def test_bounds() -> None:
    queue = CallQueue(2.0, Started(), most=2)
    queue.put("a", "a")
    with pytest.raises(UsageError, match="the request a waits already"):
        queue.put("a", "a")
    queue.put("b", "b")
    with pytest.raises(QueueFullError, match="2 calls wait to be placed at 2 a second"):
        queue.put("c", "c")
    assert queue.close() == ["a", "b"]
    with pytest.raises(UsageError, match="the queue is closed"):
        queue.put("d", "d")
    with pytest.raises(UsageError, match="0 calls a second is no rate"):
        CallQueue(0, Started())
