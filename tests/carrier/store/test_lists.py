from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert
from tests.carrier.store.examples import NOW, opened

from bothway.carrier.store.lists import begins, bounds, kept_for, page, window
from bothway.carrier.store.records import Comparison, Page
from bothway.carrier.store.tables import accounts, nodes

DAY = timedelta(days=1)


class _Node(msgspec.Struct):
    node: str
    lease_until: datetime


def _bounds(*comparisons: Any) -> list[tuple[str, datetime]]:
    return [(one.operator, one.value) for one in window(comparisons, NOW)]


def test_without_bounds_a_list_is_of_the_last_seven_days() -> None:
    assert _bounds() == [("gte", NOW - 7 * DAY)]


def test_with_a_bound_to_one_side_it_is_of_thirty_days() -> None:
    assert _bounds(Comparison("gt", NOW)) == [("gt", NOW), ("lte", NOW + 30 * DAY)]
    assert _bounds(Comparison("lte", NOW)) == [("lte", NOW), ("gte", NOW - 30 * DAY)]
    stricter = (Comparison("lte", NOW), Comparison("lt", NOW - DAY))
    assert _bounds(*stricter)[-1] == ("gte", NOW - 31 * DAY)


def test_bounds_to_both_sides_or_a_moment_are_left_alone() -> None:
    for given in ((Comparison("gt", NOW - 900 * DAY), Comparison("lt", NOW)), (Comparison("eq", NOW),)):
        assert window(given, NOW) == given


def test_the_ends_of_the_calendar_are_ends_of_windows() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert _bounds(Comparison("lt", first))[-1] == ("gte", first)
    assert _bounds(Comparison("gt", last))[-1] == ("lte", last)
    assert kept_for([Comparison("gte", 10**12)], NOW) == (Comparison("lte", first),)


def test_days_of_storage_are_whole() -> None:
    assert kept_for([Comparison("gt", 2)], NOW) == (Comparison("lte", NOW - 3 * DAY),)
    assert kept_for([Comparison("eq", 2)], NOW) == (Comparison("lte", NOW - 2 * DAY), Comparison("gt", NOW - 3 * DAY))


def test_an_empty_prefix_is_none() -> None:
    assert begins(nodes.c.node, None) == begins(nodes.c.node, "") == []


@pytest.mark.parametrize("prefix", ["\0", "1\0", "\ud800", "1\n"])
async def test_what_no_number_has_begins_none(where: Any, prefix: str) -> None:
    async with opened(where) as store:
        await store.nodes.renew(NOW)
        found = await store._database.read(
            lambda c: c.execute(nodes.select().where(*begins(nodes.c.node, prefix))).all()
        )
        assert found == []


async def test_a_page_is_a_part_of_a_list(where: Any) -> None:
    async with opened(where) as store:

        def fill(connection: Any) -> None:
            for number in range(5):
                connection.execute(insert(nodes).values(node=str(number), lease_until=NOW))

        await store._database.write("nodes", fill)

        async def read(limit: int, offset: int, conditions: Any = ()) -> Page[Any]:
            def job(connection: Any) -> Page[Any]:
                return page(connection, nodes, _Node, conditions, [nodes.c.node], limit, offset)

            return await store._database.read(job)

        assert await read(2, 2) == Page((_Node("2", NOW), _Node("3", NOW)), 5)
        assert await read(2, 5) == await read(0, 0) == Page((), 5)
        assert (await read(9, 0, bounds(nodes.c.node, [Comparison("gt", "3")]))).total == 1
        assert (await read(2**70, 0)).total == 5


async def test_a_bound_of_any_size_is_taken(where: Any) -> None:
    async with opened(where) as store:
        conditions = bounds(accounts.c.generation, [Comparison("lt", 10**30), Comparison("gt", -(10**30))])
        assert await store._database.read(lambda c: c.execute(accounts.select().where(*conditions)).all()) == []
