from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.store.examples import MAIN, NOW, SUB, a_number, ago, an_application, opened

from bothway.carrier.store.records import NumberFilter
from bothway.carrier.store.store import Store

pytestmark = pytest.mark.virtual_time


async def _found(store: Store, **wanted: Any) -> list[str]:
    page = await store.numbers.list(MAIN, NumberFilter(**wanted))
    assert page.total == len(page.records)
    return [number.number for number in page.records]


async def test_numbers_go_by_their_digits(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.numbers.save(a_number("+1 415-555-0100", monthly_rental_rate=Decimal("0.8")))
        kept = a_number(monthly_rental_rate=Decimal("0.8"))
        assert await store.numbers.get("14155550100") == await store.numbers.get("+14155550100") == kept
        assert await store.numbers.get("1415") is None


async def test_who_answers_a_number(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.applications.save(an_application("1"))
        store.numbers.save(a_number("1", account=MAIN, application="1"))
        store.numbers.save(a_number("2", account=MAIN))
        store.numbers.save(a_number("3"))
        assert await store.numbers.application_of("+1") == (
            a_number("1", account=MAIN, application="1"),
            an_application("1"),
        )
        assert await store.numbers.application_of("2") == (a_number("2", account=MAIN), None)
        assert await store.numbers.application_of("3") is None
        assert await store.numbers.application_of("4") is None


async def test_the_filters_of_the_list(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.numbers.save(a_number("1415", account=MAIN, added_on=ago(hours=1), city="San Francisco", region="Ärea"))
        store.numbers.save(
            a_number(
                "1888",
                account=MAIN,
                added_on=ago(hours=2),
                number_type="tollfree",
                sms_enabled=True,
                sub_account=SUB,
                alias="help",
                application="7",
                lata="722",
                rate_center="SNFC",
                cnam_lookup="enabled",
            )
        )
        store.numbers.save(a_number("4420", account=MAIN, added_on=ago(hours=3), country="GB", voice_enabled=False))
        store.numbers.save(a_number("9999"))
        assert await _found(store) == ["1415", "1888", "4420"]
        assert await _found(store, prefix="1") == ["1415", "1888"]
        assert await _found(store, prefix="+44") == ["4420"]
        assert await _found(store, country="gb") == ["4420"]
        assert await _found(store, city="san francisco") == await _found(store, region="Ärea") == ["1415"]
        assert await _found(store, services=frozenset({"voice"})) == ["1415", "1888"]
        assert await _found(store, services=frozenset({"voice", "sms"})) == ["1888"]
        assert await _found(store, services=frozenset({"mms"})) == []
        for wanted in (
            {"number_type": "tollfree"},
            {"sub_account": SUB},
            {"alias": "help"},
            {"application": "7"},
            {"lata": "722"},
            {"rate_center": "snfc"},
            {"cnam_lookup": "enabled"},
        ):
            assert await _found(store, **wanted) == ["1888"]


async def test_the_inventory_is_stocked_once(where: str | Path | None) -> None:
    async with opened(where) as store:
        assert await store.numbers.stock([a_number("1"), a_number("+2")]) == 2
        await store.numbers.rent("1", MAIN, at=NOW)
        assert await store.numbers.stock([a_number("1"), a_number("2", city="x"), a_number("3")]) == 1
        free = await store.numbers.search(NumberFilter(country="US"))
        assert [number.number for number in free.records] == ["2", "3"]
        assert (await store.numbers.list(MAIN)).total == 1


async def test_a_number_is_rented_once(shared: str | Path) -> None:
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:
        await one.numbers.stock([a_number(str(number)) for number in range(20)])
        asked = [
            store.numbers.rent(str(n), account, at=NOW)
            for n in range(20)
            for store, account in ((one, "A"), (two, "B"))
        ]
        given = [number for number in await asyncio.gather(*asked) if number is not None]
        assert sorted(int(number.number) for number in given) == [*range(20)]
        for number in given:
            assert await one.numbers.get(number.number) == number


async def test_a_number_is_released_by_whoever_has_it(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.numbers.save(a_number())
        rented = await store.numbers.rent("+14155550100", MAIN, at=NOW, application="7", sub_account=SUB)
        assert rented == a_number(account=MAIN, added_on=NOW, application="7", sub_account=SUB)
        assert await store.numbers.rent("14155550100", MAIN, at=NOW) is None
        assert not await store.numbers.release("14155550100", "somebody else")
        assert await store.numbers.release("+14155550100", MAIN)
        assert await store.numbers.get("14155550100") == a_number(added_on=NOW)


async def test_a_number_is_changed_by_whoever_has_it(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.numbers.save(a_number(account="MABBBBBBBBBBBBBBBBBB"))
        assert not await store.numbers.change("+14155550100", MAIN, {"alias": "desk"})
        assert await store.numbers.change("+14155550100", "MABBBBBBBBBBBBBBBBBB", {"alias": "desk"})
        assert await store.numbers.get("14155550100") == a_number(account="MABBBBBBBBBBBBBBBBBB", alias="desk")


async def test_numbers_are_brought_all_or_none(where: str | Path | None) -> None:
    async with opened(where) as store:
        assert await store.numbers.bring([a_number("+1", account=MAIN), a_number("2", account=MAIN)]) is None
        assert await store.numbers.bring([a_number("3", account=SUB), a_number("2", account=SUB)]) == "2"
        assert await _found(store) == ["1", "2"]
