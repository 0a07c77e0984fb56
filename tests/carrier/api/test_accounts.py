from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from tests.carrier.api.desk import MAIN, OTHER, SUB_ID, Desk, desk

from bothway.carrier.api.accounts import new_auth_id
from bothway.carrier.config import Account


def test_a_new_auth_id_is_what_the_official_client_checks() -> None:
    ids = {new_auth_id(str(uuid.uuid4())) for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 20 and one.startswith("SA") and one.isalnum() and one.isupper() for one in ids)


async def test_the_account(api: Desk) -> None:
    reply = await api.ask("GET", "")
    assert reply.json == {
        "api_id": reply.json["api_id"],
        "account_type": "standard",
        "address": "",
        "auth_id": MAIN.auth_id,
        "auto_recharge": False,
        "billing_mode": "prepaid",
        "cash_credits": "4.50000",
        "city": "",
        "name": "Main",
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/",
        "state": "",
        "timezone": "Asia/Kolkata",
    }


async def test_what_was_changed_stays(api: Desk) -> None:
    assert (await api.ask("POST", "", {"name": "New"})).json["message"] == "changed"
    assert (await api.ask("POST", "", {"city": "Pune", "address": None})).status == 202
    found = (await api.ask("GET", "")).json
    assert (found["name"], found["city"]) == ("New", "Pune")
    assert (await api.ask("POST", "", {})).error == "one of name, city, address and state is required"


async def test_a_sub_account(api: Desk) -> None:
    created = (await api.ask("POST", "Subaccount/", {"name": "Sub"})).json
    path = f"Subaccount/{created['auth_id']}/"
    found = (await api.ask("GET", path)).json
    assert found == {
        "api_id": found["api_id"],
        "account": f"/v1/Account/{MAIN.auth_id}/",
        "auth_id": created["auth_id"],
        "auth_token": created["auth_token"],
        "created": "2026-03-01",
        "enabled": False,
        "modified": None,
        "name": "Sub",
        "new_auth_token": created["auth_token"],
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/{path}",
    }
    listed = (await api.ask("GET", "Subaccount/")).json
    assert [one["auth_id"] for one in listed["objects"]] == [created["auth_id"]]
    assert (await api.ask("POST", path, {})).status == 400
    for method in ("GET", "POST", "DELETE"):
        assert (await api.ask(method, path, {"name": "x"}, account=OTHER)).status == 404
    assert (await api.ask("GET", f"Subaccount/{OTHER.auth_id}/")).status == 404


async def test_a_sub_account_of_the_configuration_is_not_rests_to_change(tmp_path: Path) -> None:
    sub = Account(SUB_ID, "configured", parent=MAIN.auth_id)
    async with desk(tmp_path, accounts=(MAIN, sub)) as api:
        for _ in range(2):
            assert (await api.ask("POST", "", {"city": "Pune"}, account=sub)).status == 202
        assert (await api.ask("GET", "", account=sub)).json["city"] == "Pune"
        assert (await api.ask("GET", "Subaccount/")).json["objects"] == [], "its token is not what REST would show"
        assert (await api.ask("DELETE", f"Subaccount/{SUB_ID}/")).status == 404


async def test_one_that_goes_while_it_is_changed_stays_gone(api: Desk) -> None:
    sub = await api.subaccount()
    path = f"Subaccount/{sub.auth_id}/"
    replies = await asyncio.gather(api.ask("DELETE", path), api.ask("POST", path, {"enabled": True}))
    assert [reply.status for reply in replies] == [204, 404]
    assert (await api.ask("GET", "", account=sub)).status == 401


async def test_the_applications_of_a_sub_account_that_goes(api: Desk) -> None:
    for cascade, left in ((False, ["kept"]), (True, ["kept"])):
        created = (await api.ask("POST", "Subaccount/", {"name": "Sub", "enabled": True})).json
        name = "gone" if cascade else "kept"
        content = {"app_name": name, "subaccount": created["auth_id"]}
        assert (await api.ask("POST", "Application/", content)).status == 201
        assert (await api.ask("DELETE", f"Subaccount/{created['auth_id']}/", {"cascade": cascade})).status == 204
        listed = (await api.ask("GET", "Application/")).json["objects"]
        assert [one["app_name"] for one in listed] == left
        assert [one["sub_account"] for one in listed] == [None]


async def test_sub_accounts_have_none(api: Desk) -> None:
    sub = await api.subaccount()
    for account, about in ((sub, None), (MAIN, sub.auth_id)):
        reply = await api.ask("POST", "Subaccount/", {"name": "x"}, account=account, about=about)
        assert (reply.status, reply.error) == (403, "sub-accounts may not do this; their main account may")
