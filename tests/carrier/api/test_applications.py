from __future__ import annotations

import asyncio
import uuid
from typing import Any

from tests.carrier.api.desk import MAIN, NOW, OTHER, UNKNOWN, Desk

from bothway.carrier.api.applications import new_app_id
from bothway.carrier.store.records import NumberRecord


async def make(api: Desk, name: str, **values: Any) -> str:
    reply = await api.ask("POST", "Application/", {"app_name": name, **values})
    assert reply.status == 201
    return str(reply.json["app_id"])


def test_a_new_app_id_is_17_digits() -> None:
    ids = {new_app_id(str(uuid.uuid4())) for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 17 and one.isdecimal() for one in ids)


async def test_an_application(api: Desk) -> None:
    app_id = await make(api, "front", answer_url="http://h/a", public_uri="True", message_url="http://h/m")
    found = (await api.ask("GET", f"Application/{app_id}/")).json
    assert found == {
        "api_id": found["api_id"],
        "answer_method": "POST",
        "answer_url": "http://h/a",
        "app_id": app_id,
        "app_name": "front",
        "default_app": False,
        "default_endpoint_app": False,
        "enabled": True,
        "fallback_answer_url": "",
        "fallback_method": "POST",
        "hangup_method": "POST",
        "hangup_url": "",
        "log_incoming_messages": True,
        "message_method": "POST",
        "message_url": "http://h/m",
        "public_uri": True,
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/Application/{app_id}/",
        "sip_uri": f"sip:{app_id}@app.plivo.com",
        "sub_account": None,
    }


async def test_changes(api: Desk) -> None:
    sub = await api.subaccount()
    app_id = await make(api, "front", answer_url="http://h/a", hangup_url="http://h/b")
    await make(api, "back")
    path = f"Application/{app_id}/"
    assert (await api.ask("POST", path, {"hangup_url": "", "subaccount": sub.auth_id})).status == 202
    found = (await api.ask("GET", path, account=sub)).json
    assert (found["answer_url"], found["hangup_url"]) == ("http://h/a", "")
    assert found["sub_account"] == f"/v1/Account/{sub.auth_id}/"
    assert (await api.ask("POST", path, {"subaccount": ""})).status == 202
    assert (await api.ask("GET", path, account=sub)).status == 404
    assert (await api.ask("POST", path, {"app_name": "back"})).status == 409
    assert (await api.ask("POST", path, {"app_name": "front", "app_id": "ignored"})).status == 202
    assert (await api.ask("POST", path, {"answer_url": "x"})).status == 400
    assert (await api.ask("POST", path, {"subaccount": OTHER.auth_id})).status == 400
    for method in ("GET", "POST", "DELETE"):
        assert (await api.ask(method, path, account=OTHER)).status == 404


async def test_names(api: Desk) -> None:
    for name in ("", None, "x" * 256):
        assert (await api.ask("POST", "Application/", {"app_name": name})).status == 400
    await make(api, "front")
    assert (await api.ask("POST", "Application/", {"app_name": "front"})).status == 409
    assert (await api.ask("POST", "Application/", {"app_name": "front"}, account=OTHER)).status == 201
    for n in range(22):
        await make(api, f"fr{n}")
    assert (await api.ask("POST", "Application/", {"app_name": "front"})).status == 409
    listed = (await api.ask("GET", "Application/?app_name=fr1&limit=20")).json
    assert listed["meta"]["total_count"] == 11
    assert (await api.ask("GET", "Application/?limit=5")).json["meta"]["next"].endswith("?limit=5&offset=5")


async def test_of_two_that_want_a_name_at_once_one_gets_it(api: Desk) -> None:
    replies = await asyncio.gather(*(api.ask("POST", "Application/", {"app_name": "front"}) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409]
    first, second = await make(api, "a"), await make(api, "b")
    replies = await asyncio.gather(
        *(api.ask("POST", f"Application/{one}/", {"app_name": "back"}) for one in (first, second))
    )
    assert sorted(reply.status for reply in replies) == [202, 409]


async def test_one_that_goes_while_it_is_changed_stays_gone(api: Desk) -> None:
    path = f"Application/{await make(api, 'front')}/"
    replies = await asyncio.gather(api.ask("DELETE", path), api.ask("POST", path, {"answer_url": "http://h/new"}))
    assert [reply.status for reply in replies] == [204, 404]
    assert (await api.ask("GET", path)).status == 404


async def test_a_sub_accounts_default_is_its_own(api: Desk) -> None:
    sub = await api.subaccount()
    first = await make(api, "a", default_number_app=True)
    reply = await api.ask("POST", "Application/", {"app_name": "b", "default_number_app": True}, account=sub)
    assert (await api.ask("GET", f"Application/{first}/")).json["default_app"], "the main account keeps its own"
    mine = await api.store.applications.default(MAIN.auth_id)
    its = await api.store.applications.default(MAIN.auth_id, sub.auth_id)
    assert mine is not None
    assert its is not None
    assert (mine.app_id, its.app_id) == (first, reply.json["app_id"])


async def test_one_application_of_an_account_is_the_default(api: Desk) -> None:
    first, second = await make(api, "a", default_number_app=True), await make(api, "b", default_number_app=True)
    flags = [(await api.ask("GET", f"Application/{one}/")).json["default_app"] for one in (first, second)]
    assert flags == [False, True]
    await api.ask("POST", f"Application/{second}/", {"default_number_app": False})
    assert await api.store.applications.default(MAIN.auth_id) is None


async def test_the_numbers_of_an_application_that_goes(api: Desk) -> None:
    first, second, third = [await make(api, name) for name in "abc"]
    await api.store.numbers.save(
        NumberRecord(number="1555", country="US", added_on=NOW, account=MAIN.auth_id, application=first)
    )
    for heir in (first, UNKNOWN):
        reply = await api.ask("DELETE", f"Application/{first}/", {"new_endpoint_application": heir})
        assert (reply.status, reply.error[:24]) == (400, "new_endpoint_application")
    await api.ask("DELETE", f"Application/{first}/", {"cascade": False, "new_endpoint_application": second})
    number = (await api.ask("GET", "Number/1555/")).json
    assert number["application"] == f"/v1/Account/{MAIN.auth_id}/Application/{second}/"
    assert (await api.ask("DELETE", f"Application/{second}/")).status == 204
    assert (await api.ask("GET", "Number/1555/")).json["application"] is None
    assert (await api.ask("DELETE", f"Application/{third}/")).status == 204
