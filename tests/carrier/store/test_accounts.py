from __future__ import annotations

from pathlib import Path

import pytest
from tests.carrier.store.examples import MAIN, SUB, a_number, ago, an_account, an_application, opened

pytestmark = pytest.mark.virtual_time


async def test_accounts_are_kept_and_listed(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.accounts.save(an_account(generation=2))
        store.accounts.save(an_account("SABBBBBBBBBBBBBBBBBB", created=ago(days=2)))
        store.accounts.save(an_account(MAIN, parent=None, timezone="Asia/Kolkata"))
        assert await store.accounts.get(SUB) == an_account(generation=2)
        page = await store.accounts.list(MAIN)
        assert [account.auth_id for account in page.records] == [SUB, "SABBBBBBBBBBBBBBBBBB"]
        assert await store.accounts.get("SA") is None


async def test_what_a_sub_account_had_becomes_the_main_accounts(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.accounts.save(an_account())
        store.applications.save(an_application(sub_account=SUB, default_app=True, default_endpoint_app=True))
        store.numbers.save(a_number(account=MAIN, sub_account=SUB))
        assert await store.accounts.delete(SUB)
        assert not await store.accounts.delete(SUB)
        assert await store.applications.get("10000000000000001") == an_application()
        assert await store.numbers.get("14155550100") == a_number(account=MAIN)


async def test_or_goes_with_it(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.accounts.save(an_account())
        store.applications.save(an_application(sub_account=SUB))
        store.numbers.save(a_number(account=MAIN, sub_account=SUB))
        store.numbers.save(a_number("2", account=MAIN, application="10000000000000001"))
        assert await store.accounts.delete(SUB, cascade=True)
        assert (await store.applications.list(MAIN)).total == 0
        assert [number.number for number in (await store.numbers.search()).records] == ["14155550100"]
        assert await store.numbers.get("2") == a_number("2", account=MAIN)


async def test_one_that_went_stays_gone(where: str | Path | None) -> None:
    async with opened(where) as store:
        store.accounts.save(an_account())
        assert await store.accounts.change(SUB, {"enabled": False})
        assert await store.accounts.get(SUB) == an_account(enabled=False)
        store.accounts.delete(SUB)
        assert not await store.accounts.change(SUB, {"enabled": True})
        assert await store.accounts.get(SUB) is None
