from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.carrier.store.examples import NOW, a_call, an_item, opened

from bothway.carrier.store.records import OutboxItem

pytestmark = pytest.mark.virtual_time


async def test_an_item_is_put_once_while_it_waits(where: str | Path | None) -> None:
    heard: list[OutboxItem] = []
    async with opened(where) as store:
        store.outbox.listen(heard.extend)
        await store.outbox.put(an_item("a"), an_item("a"), an_item("b"))
        await store.outbox.put(an_item("b"))
        store.outbox.listen(None)
        await store.outbox.put(an_item("c", call_uuid="call-2"))
        assert [item.key for item in heard] == ["a", "b"]
        assert heard[0] == replace(an_item("a"), seq=heard[0].seq, node="1")
        assert heard[0].seq < heard[1].seq
        assert (await store.outbox.waiting(), await store.outbox.waiting("call-2")) == (3, 1)


async def test_a_page_has_this_nodes_own_in_order(shared: str | Path) -> None:
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:
        await one.outbox.put(*(an_item(f"one {number}") for number in range(4)))
        await two.outbox.put(an_item("two"))
        heard: list[OutboxItem] = []
        items: Sequence[OutboxItem] = await one.outbox.page(0, 3, heard.extend)
        assert [item.key for item in items] == ["one 0", "one 1", "one 2"]
        assert [*items] == heard
        assert [item.key for item in await one.outbox.page(items[-1].seq, 3, heard.extend)] == ["one 3"]


async def test_numbers_are_never_given_twice(where: str | Path | None) -> None:
    async with opened(where) as store:
        heard: list[OutboxItem] = []
        store.outbox.listen(heard.extend)
        for number in range(3):
            await store.outbox.put(an_item(str(number)))
            await store.outbox.done(heard[-1])
        assert [item.seq for item in heard] == sorted({item.seq for item in heard})


async def test_what_became_of_an_item_is_kept(where: str | Path | None) -> None:
    async with opened(where) as store:
        heard: list[OutboxItem] = []
        store.outbox.listen(heard.extend)
        await store.outbox.put(an_item("a"), an_item("b"))
        tried = replace(heard[0], attempts=2, due=NOW + timedelta(seconds=5), error="it hung up")
        await store.outbox.changed(tried)
        assert await store.outbox.page(0, 1, heard.extend) == (tried,)
        await store.outbox.changed(replace(heard[1], abandoned=NOW, error="x" * 1000))
        assert [item.key for item in await store.outbox.page(0, 9, heard.extend)] == ["a"]
        (gone,) = await store.outbox.abandoned()
        assert (gone.key, gone.abandoned, len(gone.error)) == ("b", NOW, 500)


async def test_a_dead_nodes_items_go_to_one_other(shared: str | Path) -> None:
    async with (
        opened(shared, node="dead") as dead,
        opened(shared, node="1") as one,
        opened(shared, node="2") as two,
    ):
        await dead.nodes.renew(NOW)
        await dead.outbox.put(*(an_item(str(number)) for number in range(5)))
        first, second = one.outbox.take_over(NOW), two.outbox.take_over(NOW)
        assert sorted([await first, await second]) == [(), ("dead",)]
        sizes = [len(await store.outbox.page(0, 9, lambda _: None)) for store in (one, two)]
        assert sorted(sizes) == [0, 5]


async def test_nobody_hears_of_what_was_not_committed(where: str | Path | None) -> None:
    heard: list[OutboxItem] = []
    async with opened(where) as store:
        store.outbox.listen(heard.extend)
        store.calls.save(a_call(initiation_time=NOW.replace(tzinfo=None)), [an_item("a")])
        await store.drained()
        assert heard == []
        assert await store.outbox.waiting() == 0
