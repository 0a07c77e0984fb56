from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.carrier.api.desk import MAIN, OTHER, SUB_ID, Desk, basic

from bothway.carrier.api.access import Gate, Visitors, account_of, credentials
from bothway.carrier.api.parameters import ApiError
from bothway.carrier.config import Account

BAD_CREDENTIALS = [
    None,
    "",
    "Basic",
    "Basic ",
    "Basic !!!",
    "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    "Basic " + base64.b64encode(MAIN.auth_id.encode()).decode(),
    "Basic é",
    "Bearer " + MAIN.auth_token,
    basic(MAIN.auth_id, "wrong"),
    basic(MAIN.auth_id, ""),
    basic("MAX", MAIN.auth_token),
    basic(MAIN.auth_id, OTHER.auth_token),
    basic(SUB_ID, MAIN.auth_token),
    basic("SA\x00", "x"),
]


@pytest.mark.parametrize("authorization", BAD_CREDENTIALS)
async def test_without_good_credentials(api: Desk, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = await api.ask("DELETE", "Call/x/", account=None, headers=headers)
    assert (reply.status, reply.error) == (401, "authentication failed")
    assert reply.headers["www-authenticate"] == 'Basic realm="api"'
    assert MAIN.auth_token.encode() not in reply.body


def test_account_of() -> None:
    accounts = (MAIN, OTHER)
    assert account_of(basic(OTHER.auth_id, OTHER.auth_token), accounts) == OTHER
    assert account_of("basic " + basic("", "")[6:], accounts) is None
    assert account_of(basic(OTHER.auth_id, MAIN.auth_token), accounts) is None
    assert account_of(None, accounts) is None
    odd = Account("MA", "a:b:ü")
    assert account_of(basic("MA", "a:b:ü"), (odd,)) == odd


@given(st.text())
def test_no_header_breaks_it(text: str) -> None:
    found = credentials(text)
    assert found is None or len(found) == 2
    assert credentials("Basic " + base64.b64encode(b"a:b").decode()) == ("a", "b")


async def test_another_accounts_path_is_not_found(api: Desk) -> None:
    reply = await api.ask("GET", "", about=OTHER.auth_id)
    assert (reply.status, reply.error) == (404, "not found")
    assert (await api.ask("GET", "", about="MAX")).status == 404
    sub = await api.subaccount(parent=OTHER)
    assert (await api.ask("GET", "", about=sub.auth_id)).status == 404


async def test_a_main_account_acts_for_its_sub_accounts_and_they_for_themselves(api: Desk) -> None:
    sub = await api.subaccount()
    mine, theirs = api.switch.add(MAIN), api.switch.add(sub)
    assert (await api.ask("GET", "", account=sub)).json["auth_id"] == sub.auth_id
    assert (await api.ask("GET", "", about=sub.auth_id)).json["auth_id"] == sub.auth_id
    assert (await api.ask("GET", "", account=sub, about=MAIN.auth_id)).status == 404

    async def live(**options: str | Account) -> list[str]:
        found = (await api.ask("GET", "Call/?status=live", **options)).json["calls"]  # type: ignore[arg-type]
        assert isinstance(found, list)
        return sorted(found)

    ids = sorted((mine.record.call_uuid, theirs.record.call_uuid))
    assert await live() == ids
    assert await live(account=sub) == await live(about=sub.auth_id) == [theirs.record.call_uuid]

    path = f"Call/{mine.record.call_uuid}/"
    assert (await api.ask("DELETE", path, account=sub)).status == 404
    assert (await api.ask("GET", path + "?status=live", account=sub)).status == 404
    assert (await api.ask("DELETE", path, account=OTHER)).status == 404
    assert (await api.ask("DELETE", "Call/", account=sub)).status == 204
    assert list(api.switch.calls) == [mine.record.call_uuid]
    theirs = api.switch.add(sub)
    assert (await api.ask("DELETE", f"Call/{theirs.record.call_uuid}/")).status == 204
    await api.ask("DELETE", "Call/", account=OTHER)
    assert list(api.switch.calls) == [mine.record.call_uuid]


async def test_a_disabled_sub_account_may_do_nothing_and_its_main_account_still_may(api: Desk) -> None:
    sub = await api.subaccount(enabled=False)
    reply = await api.ask("GET", "", account=sub)
    assert (reply.status, reply.error) == (403, "this sub-account is disabled")
    assert (await api.ask("GET", "", about=sub.auth_id)).status == 200


async def test_a_renewed_token_makes_the_old_one_worthless(api: Desk) -> None:
    sub = await api.subaccount()
    record = await api.store.accounts.get(sub.auth_id)
    assert record is not None
    from msgspec.structs import replace

    await api.store.accounts.save(replace(record, generation=1))
    assert (await api.ask("GET", "", account=sub)).status == 401


async def test_a_sub_account_of_the_configuration_has_its_own_token(api: Desk) -> None:
    sub = Account(SUB_ID, "configured", parent=MAIN.auth_id)
    gate = Gate((MAIN, sub), api.store, api.resources.keys)
    assert await gate.enter(basic(SUB_ID, "configured"), SUB_ID) == (sub, sub)
    assert await gate.enter(basic(MAIN.auth_id, MAIN.auth_token), SUB_ID) == (MAIN, sub)
    assert await gate.account(SUB_ID) == sub
    assert await gate.account("SAZ") is None


def test_visitors_are_counted_in_a_window_that_moves() -> None:
    visitors = Visitors(2)
    visitors.came("A", 0.0)
    visitors.came("A", 4.0)
    with pytest.raises(ApiError) as caught:
        visitors.came("A", 4.9)
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
    visitors.came("B", 4.9)
    visitors.came("A", 5.0)
    with pytest.raises(ApiError):
        visitors.came("A", 8.9)
    visitors.came("A", 9.0)
