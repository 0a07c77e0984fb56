from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.store.examples import a_call, an_item, opened

from bothway.carrier.store.delivery import Attempt, Delivery, DeliveryPlan
from bothway.carrier.store.opening import FILE_NAME
from bothway.carrier.store.records import OutboxItem
from bothway.carrier.store.store import Store
from bothway.errors import PeerError

pytestmark = pytest.mark.virtual_time


def now() -> datetime:
    return datetime.now(UTC)


class Receiver:
    """Somebody who is called back: remembers what came, and fails as it is told."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.came: list[tuple[str, float]] = []
        self.fails: Callable[[OutboxItem], BaseException | None] = lambda _: None
        self.takes_s = takes_s
        self.most_at_once = 0
        self._at_once = 0

    async def __call__(self, item: OutboxItem) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.takes_s:
                await asyncio.sleep(self.takes_s)
            self.came.append((item.key, asyncio.get_running_loop().time()))
            error = self.fails(item)
            if error is not None:
                raise error
        finally:
            self._at_once -= 1

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.came]

    def waits(self) -> list[float]:
        """Seconds from each to the next."""
        times = [time for _, time in self.came]
        return [round(later - sooner, 3) for sooner, later in pairwise(times)]


@asynccontextmanager
async def delivering(store: Store, receiver: Receiver, **options: Any) -> AsyncIterator[Delivery]:
    delivery = Delivery(store, receiver, now=now, **options)
    await delivery.start()
    try:
        yield delivery
    finally:
        await delivery.close()


def item(number: int, call: str = "call-1", **facts: Any) -> OutboxItem:
    return an_item(f"{call} {number}", call_uuid=call, **({"created": now()} | facts))


async def test_callbacks_of_a_call_are_sent_in_order_and_forgotten(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=0.05)
    async with opened(where) as store, delivering(store, receiver) as delivery:
        for number in range(5):
            store.outbox.put(item(number))
        assert await delivery.tried("call-1", 10)
        assert receiver.keys == [f"call-1 {number}" for number in range(5)]
        assert receiver.most_at_once == 1
        assert await store.outbox.waiting() == 0


async def test_what_is_put_with_a_record_is_sent(where: str | Path | None) -> None:
    receiver = Receiver()
    async with opened(where) as store, delivering(store, receiver) as delivery:
        store.calls.save(a_call(), [item(1), item(2)])
        store.calls.save(a_call(), [item(1)])
        assert await delivery.tried("call-1", 10)
        assert receiver.keys == ["call-1 1", "call-1 2"]


async def test_it_is_written_before_it_is_sent(shared: str | Path) -> None:
    async with opened(shared) as store, opened(shared, node="2") as witness:
        seen: list[int] = []

        async def send(_: OutboxItem) -> None:
            seen.append(await witness.outbox.waiting("call-1"))

        delivery = Delivery(store, send, now=now)
        await delivery.start()
        store.outbox.put(item(1))
        await delivery.tried("call-1", 10)
        assert seen == [1]
        await delivery.close()


async def test_calls_are_sent_side_by_side_up_to_a_bound(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=1.0)
    async with (
        opened(where) as store,
        delivering(store, receiver, plan=DeliveryPlan(at_once=8)) as delivery,
    ):
        for number in range(20):
            store.outbox.put(item(1, f"call-{number}"))
        for number in range(20):
            assert await delivery.tried(f"call-{number}", 10)
        assert receiver.most_at_once == 8
        assert await store.outbox.waiting() == 0


async def test_a_dead_server_holds_up_its_own_callbacks_alone(where: str | Path | None) -> None:
    receiver = Receiver()
    receiver.fails = lambda one: PeerError("it does not answer") if "dead" in one.url else None
    async with opened(where) as store, delivering(store, receiver) as delivery:
        store.outbox.put(
            item(1, url="https://dead.example/status"), item(2, url="https://dead.example/status"), item(3)
        )
        assert not await delivery.tried("call-1", 0.5), "the second waits for the first"
        assert receiver.keys == ["call-1 1", "call-1 3"]


async def test_what_fails_is_tried_again_later_and_later(
    where: str | Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver()
    left = [PeerError("it answered 500")] * 6
    receiver.fails = lambda _: left.pop() if left else None
    attempts: list[Attempt] = []
    async with opened(where) as store, delivering(store, receiver, on_attempt=attempts.append):
        store.outbox.put(item(1), item(2))
        await asyncio.sleep(1500)
        assert receiver.keys == ["call-1 1"] * 7 + ["call-1 2"]
        assert receiver.waits()[:6] == [1, 5, 30, 120, 600, 600]
        assert await store.outbox.waiting() == 0
    assert [attempt.item.attempts for attempt in attempts] == [1, 2, 3, 4, 5, 6, 7, 1]
    assert [attempt.error for attempt in attempts] == ["it answered 500"] * 6 + ["", ""]
    assert "to https://example.com/hangup" in caplog.text
    assert "secret" not in caplog.text
    assert "again in 120 s" in caplog.text


async def test_after_a_day_it_is_given_up_and_kept_for_people(where: str | Path | None) -> None:
    receiver = Receiver()
    receiver.fails = lambda one: PeerError("x" * 900) if one.key == "call-1 1" else None
    attempts: list[Attempt] = []
    plan = DeliveryPlan(give_up_s=60.0)
    async with opened(where) as store:
        async with delivering(store, receiver, on_attempt=attempts.append, plan=plan) as delivery:
            store.outbox.put(item(1), item(2))
            assert await delivery.tried("call-1", 1000)
            assert receiver.keys == ["call-1 1"] * 5 + ["call-1 2"]
            assert [attempt.abandoned for attempt in attempts] == [False] * 4 + [True, False]
            (given_up,) = await store.outbox.abandoned()
            assert (given_up.key, given_up.attempts, given_up.error) == ("call-1 1", 5, "x" * 500)
        async with delivering(store, receiver):
            await asyncio.sleep(3)
        assert len(receiver.keys) == 6, "it is not tried any more"
        assert await store.sweep(now() + timedelta(days=6)) == 0
        assert await store.sweep(now() + timedelta(days=8)) == 1


async def test_a_sender_with_a_bug_loses_nothing(where: str | Path | None, caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    bugs: list[BaseException] = [ZeroDivisionError()]
    receiver.fails = lambda _: bugs.pop() if bugs else None
    async with opened(where) as store, delivering(store, receiver):
        store.outbox.put(item(1))
        await asyncio.sleep(3)
        assert receiver.keys == ["call-1 1"] * 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_sender_that_hangs_is_given_up_on(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=1e6)
    attempts: list[Attempt] = []
    async with opened(where) as store, delivering(store, receiver, on_attempt=attempts.append) as delivery:
        store.outbox.put(item(1))
        assert await delivery.tried("call-1", 121)
    assert attempts[0].error == "it was not done within 120 s"


async def test_a_restart_sends_what_was_left(shared: str | Path) -> None:
    deaf, receiver = Receiver(takes_s=1e6), Receiver()
    async with opened(shared) as store, delivering(store, deaf):
        await store.outbox.put(item(1), item(2), item(1, "call-2"))
        await asyncio.sleep(1)
    async with opened(shared) as store, delivering(store, receiver) as delivery:
        assert await delivery.tried("call-1", 10)
        assert await delivery.tried("call-2", 10)
    assert sorted(receiver.keys) == ["call-1 1", "call-1 2", "call-2 1"]
    assert receiver.keys.index("call-1 1") < receiver.keys.index("call-1 2")


async def test_a_back_off_outlives_a_restart(shared: str | Path) -> None:
    receiver = Receiver()
    receiver.fails = lambda _: PeerError("not now")
    async with opened(shared) as store, delivering(store, receiver):
        store.outbox.put(item(1))
        await asyncio.sleep(10)
    assert receiver.waits() == [1, 5]
    async with opened(shared) as store, delivering(store, receiver):
        await asyncio.sleep(40)
    assert receiver.waits() == [1, 5, 30]


async def test_a_dead_nodes_callbacks_are_taken_over(shared: str | Path) -> None:
    receiver = Receiver()
    told: list[tuple[str, ...]] = []
    async with opened(shared, node="1") as dying, opened(shared, node="2") as other:  # noqa: SIM117 - delivery ends first
        async with delivering(other, receiver, on_dead=told.append):
            until = now() + timedelta(seconds=30)
            await dying.nodes.renew(until)
            assert await other.nodes.others(now()) == {"1"}
            await dying.outbox.put(item(1), item(2))
            await asyncio.sleep(15)
            assert receiver.keys == [], "its node may be alive"
            await asyncio.sleep(30)
            assert receiver.keys == ["call-1 1", "call-1 2"]
            assert told == [("1",)]
            assert await other.outbox.waiting() == 0


async def test_a_node_that_leaves_is_taken_over_at_once(shared: str | Path) -> None:
    receiver, deaf = Receiver(), Receiver(takes_s=1e6)
    async with opened(shared, node="1") as leaving, opened(shared, node="2") as other:
        async with delivering(leaving, deaf):
            await leaving.outbox.put(item(1))
        delivery = Delivery(other, receiver, now=now)
        assert await delivery.start() == ("1",)
        assert await delivery.tried("call-1", 1)
        assert receiver.keys == ["call-1 1"]
        await delivery.close()


@pytest.mark.real_sockets  # in virtual time a thread that waits for the database holds the clock
async def test_a_database_that_was_away_from_all_makes_nobody_dead(tmp_path: Path) -> None:
    told: list[tuple[str, ...]] = []
    plan = DeliveryPlan(lease_s=0.6)
    async with (
        opened(tmp_path, node="1") as one,
        opened(tmp_path, node="2") as two,
        delivering(one, Receiver(), plan=plan, on_dead=told.append),
        delivering(two, Receiver(), plan=plan, on_dead=told.append),
    ):
        held = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(1.0)
        held.close()
        await asyncio.sleep(0.5)
        assert told == []
        assert await one.nodes.others(now()) == {"2"}


async def test_two_nodes_do_not_both_send(shared: str | Path) -> None:
    first, second = Receiver(takes_s=0.01), Receiver(takes_s=0.01)
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:  # noqa: SIM117 - delivery ends first
        async with delivering(one, first) as of_one, delivering(two, second) as of_two:
            for number in range(50):
                one.outbox.put(item(number, "call-1"))
                two.outbox.put(item(number, "call-2"))
            assert await of_one.tried("call-1", 100)
            assert await of_two.tried("call-2", 100)
            assert await one.outbox.waiting() == 0
    assert first.keys == [f"call-1 {number}" for number in range(50)]
    assert second.keys == [f"call-2 {number}" for number in range(50)]


async def test_what_memory_has_no_room_for_waits_in_the_database(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=0.01)
    plan = DeliveryPlan(held=10, at_once=4)
    async with opened(where) as store, delivering(store, receiver, plan=plan):
        for number in range(200):
            store.outbox.put(item(number, f"call-{number % 7}"))
            if number % 40 == 0:
                await asyncio.sleep(0.05)
        await asyncio.sleep(60)
        assert await store.outbox.waiting() == 0
    assert len(receiver.keys) == len(set(receiver.keys)) == 200
    for call in range(7):
        numbers = [int(key.split()[1]) for key in receiver.keys if key.startswith(f"call-{call} ")]
        assert numbers == sorted(numbers)


async def test_a_server_that_hangs_leaves_room_for_others(where: str | Path | None) -> None:
    sent: list[str] = []

    async def send(one: OutboxItem) -> None:
        sent.append(one.key)
        await asyncio.sleep(50.0 if "slow" in one.url else 0.0)

    plan = DeliveryPlan(at_once=4, to_one=3)
    async with opened(where) as store:
        delivery = Delivery(store, send, now=now, plan=plan)
        await delivery.start()
        for number in range(7):
            store.outbox.put(item(1, f"slow-{number}", url="https://slow.example/status"))
        store.outbox.put(item(1, "live"))
        assert await delivery.tried("live", 1.0)
        assert sent == ["slow-0 1", "slow-1 1", "slow-2 1", "live 1"]
        await asyncio.sleep(160.0)
        assert sent[4:] == [f"slow-{number} 1" for number in range(3, 7)]
        assert await store.outbox.waiting() == 0
        await delivery.close()


async def test_a_dead_server_does_not_fill_memory(where: str | Path | None) -> None:
    receiver = Receiver()
    dead = {"dead.example"}
    receiver.fails = lambda one: PeerError("no answer") if any(name in one.url for name in dead) else None
    plan = DeliveryPlan(held=12, held_of_one=5, backoff_s=(3600.0,))
    async with opened(where) as store, delivering(store, receiver, plan=plan) as delivery:
        for number in range(40):
            store.outbox.put(item(number, f"call-{number % 3}", url="https://dead.example/status"))
        store.outbox.put(item(1, "live"))
        assert await delivery.tried("live", 1.0)
        dead.clear()
        await asyncio.sleep(3700.0)
        assert await store.outbox.waiting() == 0
    done = [key for key in receiver.keys if not key.startswith("live")][3:]  # the first of each call came to nothing
    assert len(done) == len(set(done)) == 40
    for call in range(3):
        numbers = [int(key.split()[1]) for key in done if key.startswith(f"call-{call} ")]
        assert numbers == sorted(numbers)


async def test_what_comes_later_does_not_overtake_what_memory_had_no_room_for(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=1.0)
    async with opened(where) as store, delivering(store, receiver, plan=DeliveryPlan(held_of_one=4)):
        for number in range(5):
            store.outbox.put(item(number))
        await asyncio.sleep(1.5)
        store.outbox.put(item(5))  # memory has room for it now
        await asyncio.sleep(6.0)
        assert receiver.keys == [f"call-1 {number}" for number in range(6)]


async def test_what_is_sent_while_the_outbox_is_read_is_not_sent_again(where: str | Path | None) -> None:
    sent: list[str] = []
    gates = {f"call-{number} 1": asyncio.Event() for number in range(3)}

    async def send(one: OutboxItem) -> None:
        sent.append(one.key)
        await gates[one.key].wait()

    async with opened(where) as store:
        delivery = Delivery(store, send, now=now, plan=DeliveryPlan(held_of_one=2))
        await delivery.start()
        for number in range(3):
            store.outbox.put(item(1, f"call-{number}"))
        await asyncio.sleep(1.0)
        assert sent == ["call-0 1", "call-1 1"]
        for gate in gates.values():  # the first lets the third be read, and the second ends meanwhile
            gate.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.sleep(1.0)
        assert sent == ["call-0 1", "call-1 1", "call-2 1"]
        await delivery.close()


async def test_closing_may_wait_for_what_can_be_sent(where: str | Path | None) -> None:
    receiver = Receiver(takes_s=0.5)
    async with opened(where) as store:
        async with delivering(store, receiver) as delivery:
            store.outbox.put(item(1), item(2))
            await delivery.close(grace=10)
        assert receiver.keys == ["call-1 1", "call-1 2"]
        async with delivering(store, receiver) as delivery:
            store.outbox.put(item(3), item(4))
            await delivery.close(grace=0.7)
        assert await store.outbox.waiting() == 1


_KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from tests.carrier.store.examples import a_call, an_ended_call, an_item
from bothway.carrier.store.delivery import Delivery
from bothway.carrier.store.store import Store

async def send(item):
    print("sent", item.key, flush=True)
    await asyncio.sleep(3600 if sys.argv[2] == "in-mid-send" else 0)

async def main():
    store = await Store.open(sys.argv[1])
    delivery = Delivery(store, send, now=lambda: datetime.now(UTC))
    await delivery.start()
    await store.calls.save(a_call(state="in-progress"))
    print("live", flush=True)
    if sys.argv[2] != "live":
        await store.calls.save(an_ended_call(), [an_item(created=datetime.now(UTC))])
        print("ended", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.real_sockets
@pytest.mark.parametrize(("moment", "last"), [("live", "live"), ("in-mid-send", "sent"), ("after-it", "sent")])
async def test_a_killed_process_loses_nothing(
    shared: str | Path, moment: str, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _KILLED, str(shared), moment, stdout=subprocess.PIPE, cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while not (line := await process.stdout.readline()).startswith(last.encode()):
            assert line
    process.send_signal(signal.SIGKILL)
    await process.wait()
    receiver = Receiver()
    async with opened(shared) as store, delivering(store, receiver) as delivery:
        closed = await store.calls.close_abandoned(now(), dead=["1"], callbacks=lambda one: [an_item(created=now())])
        assert len(closed) == (moment == "live")
        assert await delivery.tried("call-1", 10)
        call = await store.calls.get("call-1")
        assert call is not None
        assert call.hangup_cause_code == (5010 if moment == "live" else 4000)
        if moment != "after-it":  # whether it was still to be forgotten then, nobody knows
            assert receiver.keys == ["call-1 hangup"]
        assert await store.outbox.waiting() == 0
