from __future__ import annotations

from pathlib import Path

import pytest
from tests.carrier.store.examples import MAIN, SUB, a_number, ago, an_application, opened

pytestmark = pytest.mark.virtual_time


async def test_applications_are_kept_and_listed_by_prefix(where: str | Path | None) -> None:
    async with opened(where) as store:
        first = an_application("1", app_name="front_desk", answer_url="https://a/b", log_incoming_messages=False)
        await store.applications.save(first)
        store.applications.save(an_application("2", app_name="frontXdesk", created=ago(days=3), sub_account=SUB))
        store.applications.save(an_application("3", app_name="back", created=ago(hours=1)))
        assert await store.applications.get("1") == first
        names = [app.app_name for app in (await store.applications.list(MAIN)).records]
        assert names == ["back", "front_desk", "frontXdesk"]
        assert [app.app_id for app in (await store.applications.list(MAIN, name="front_")).records] == ["1"]
        assert [app.app_id for app in (await store.applications.list(MAIN, sub_account=SUB)).records] == ["2"]
        assert (await store.applications.list(MAIN, name="FRONT")).total == 0


async def test_an_account_has_one_default(where: str | Path | None) -> None:
    async with opened(where) as store:
        assert await store.applications.default(MAIN) is None
        store.applications.save(an_application("1", default_app=True, default_endpoint_app=True))
        store.applications.save(an_application("4", account="MABBBBBBBBBBBBBBBBBB", default_app=True))
        store.applications.save(an_application("2", default_app=True))
        assert await store.applications.default(MAIN) == an_application("2", default_app=True)
        assert await store.applications.get("1") == an_application("1", default_endpoint_app=True)


@pytest.mark.parametrize("heir", [None, "2"])
async def test_its_numbers_get_an_heir(where: str | Path | None, heir: str | None) -> None:
    async with opened(where) as store:
        store.applications.save(an_application("1"))
        store.numbers.save(a_number(account=MAIN, application="1"))
        assert await store.applications.delete("1", heir=heir)
        assert not await store.applications.delete("1")
        assert await store.numbers.get("14155550100") == a_number(account=MAIN, application=heir)


async def test_a_name_is_one_applications_of_its_account(where: str | Path | None) -> None:
    async with opened(where) as store:
        assert await store.applications.add(an_application("1", app_name="front"))
        assert not await store.applications.add(an_application("2", app_name="front"))
        assert await store.applications.get("2") is None
        assert await store.applications.add(an_application("3", app_name="front", account="MABBBBBBBBBBBBBBBBBB"))
        assert await store.applications.add(an_application("4", app_name="back"))
        assert await store.applications.change("4", {"app_name": "front", "answer_url": "http://h"}) == "taken"
        assert await store.applications.change("4", {"app_name": "back", "answer_url": "http://h"}) == "changed"
        assert await store.applications.get("4") == an_application("4", app_name="back", answer_url="http://h")


async def test_one_that_went_stays_gone(where: str | Path | None) -> None:
    async with opened(where) as store:
        assert await store.applications.change("1", {"answer_url": "http://h"}) == "gone"
        assert await store.applications.get("1") is None


async def test_a_sub_account_has_a_default_of_its_own(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.applications.save(an_application("1", default_app=True))
        assert await store.applications.default(MAIN, SUB) == an_application("1", default_app=True), "it has none"
        store.applications.save(an_application("2", sub_account=SUB, default_app=True))
        assert await store.applications.default(MAIN) == an_application("1", default_app=True)
        assert await store.applications.default(MAIN, SUB) == an_application("2", sub_account=SUB, default_app=True)
        assert await store.applications.change("2", {"sub_account": ""}) == "changed"
        assert await store.applications.get("1") == an_application("1"), "the main account has one"
