from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.carrier.api.desk import MAIN, NOW, OTHER, Desk, desk

from bothway.carrier.api.numbers import MAX_NUMBERS
from bothway.carrier.store.records import NumberRecord


async def stock(api: Desk, number: str, country: str = "US", **values: Any) -> None:
    await api.store.numbers.save(
        NumberRecord(number=number, country=country, added_on=NOW, monthly_rental_rate=Decimal("0.8"), **values)
    )


async def found(api: Desk, query: str) -> list[str]:
    reply = await api.ask("GET", f"PhoneNumber/?{query}")
    assert reply.status == 200
    return [one["number"] for one in reply.json["objects"]]


async def test_searches(api: Desk) -> None:
    await stock(api, "14150001", region="California", city="San Francisco", lata="722")
    await stock(api, "14150002", number_type="tollfree")
    await stock(api, "12120001", voice_enabled=False, sms_enabled=True)
    await stock(api, "44200001", country="GB")
    await stock(api, "14150003", account=OTHER.auth_id)
    everything = ["12120001", "14150001", "14150002"]
    for query, numbers in (
        ("country_iso=us", everything),
        ("country_iso=US&type=any", everything),
        ("country_iso=US&type=tollfree", ["14150002"]),
        ("country_iso=US&pattern=415", ["14150001", "14150002"]),
        ("country_iso=US&services=voice", ["14150001", "14150002"]),
        ("country_iso=US&services=voice,sms", []),
        ("country_iso=US&region=california", ["14150001"]),
        ("country_iso=US&city=San%20Francisco&lata=722", ["14150001"]),
        ("country_iso=GB&pattern=20", ["44200001"]),
        ("country_iso=DE", []),
    ):
        assert sorted(await found(api, query)) == numbers, query


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "country_iso is required: it is the two letters of a country"),
        ("country_iso=USA", "country_iso is not the two letters"),
        ("country_iso=US&type=odd", "type is not one of "),
        ("country_iso=US&services=fax", "services is not some of voice, sms and mms"),
        ("country_iso=US&pattern=4x", "pattern is not digits"),
    ],
)
async def test_searches_that_cannot_be(api: Desk, query: str, text: str) -> None:
    reply = await api.ask("GET", f"PhoneNumber/?{query}")
    assert reply.status == 400
    assert reply.error.startswith(text)


async def test_what_a_search_shows(api: Desk) -> None:
    await stock(api, "14150001", region="California")
    (shown,) = (await api.ask("GET", "PhoneNumber/?country_iso=US")).json["objects"]
    assert (shown["monthly_rental_rate"], shown["type"], shown["region"]) == ("0.80000", "local", "California")
    assert shown["resource_uri"] == f"/v1/Account/{MAIN.auth_id}/PhoneNumber/14150001/"


async def test_a_number_is_rented_once(api: Desk) -> None:
    await stock(api, "14150001")
    replies = await asyncio.gather(
        *(api.ask("POST", "PhoneNumber/14150001/", account=account) for account in (MAIN, OTHER) * 5)
    )
    assert min(reply.status for reply in replies) == 201
    assert {reply.status for reply in replies if reply.status != 201} <= {404, 409}
    assert sum(reply.status == 201 for reply in replies) == 1


async def test_a_rented_number_gets_the_default_application_or_the_one_it_is_given(api: Desk) -> None:
    sub = await api.subaccount()
    for number in ("14150001", "14150002", "14150003"):
        await stock(api, number)
    await api.ask("POST", "PhoneNumber/14150001/")
    app = (await api.ask("POST", "Application/", {"app_name": "a", "default_number_app": True})).json["app_id"]
    await api.ask("POST", "PhoneNumber/14150002/", {"alias": "desk", "cnam_lookup": "enabled"})
    await api.ask("POST", "PhoneNumber/+14150003/", {"subaccount": sub.auth_id})
    listed = (await api.ask("GET", "Number/")).json["objects"]
    by_number = {one["number"]: one for one in listed}
    uri = f"/v1/Account/{MAIN.auth_id}/Application/{app}/"
    assert [by_number[f"1415000{n}"]["application"] for n in (1, 2, 3)] == [None, uri, uri]
    assert (by_number["14150002"]["alias"], by_number["14150002"]["cnam_lookup"]) == ("desk", "enabled")
    assert by_number["14150003"]["sub_account"] == f"/v1/Account/{sub.auth_id}/"
    assert [one["number"] for one in (await api.ask("GET", "Number/", account=sub)).json["objects"]] == ["14150003"]
    assert (await api.ask("GET", "Number/14150001/", account=sub)).status == 404


@pytest.mark.parametrize(
    ("currency", "accepted", "status"), [("USD", True, 403), ("INR", False, 403), ("INR", True, 201)]
)
async def test_indian_numbers(tmp_path: Path, currency: str, accepted: bool, status: int) -> None:
    account = msgspec.structs.replace(MAIN, currency=currency, compliance_accepted=accepted)
    async with desk(tmp_path, accounts=(account,)) as api:
        await stock(api, "918000001", country="IN")
        assert await found(api, "country_iso=IN&pattern=8") == ["918000001"]
        reply = await api.ask("POST", "PhoneNumber/918000001/", {"compliance_application_id": "c1"})
        assert reply.status == status
        if status == 403:
            assert "cannot place calls as its compliance application is not in 'accepted' status" in reply.error
        else:
            number = (await api.ask("GET", "Number/918000001/")).json
            assert number["compliance_application_id"] == "c1"


async def test_a_number(api: Desk) -> None:
    await stock(api, "14150001", account=MAIN.auth_id, voice_rate=Decimal("0.0085"))
    shown = (await api.ask("GET", "Number/+14150001/")).json
    assert (shown["added_on"], shown["voice_rate"], shown["alias"], shown["sub_account"]) == (
        "2026-03-01",
        "0.00850",
        None,
        None,
    )
    for method in ("GET", "POST", "DELETE"):
        assert (await api.ask(method, "Number/14150001/", account=OTHER)).status == 404


async def test_changes(api: Desk) -> None:
    sub = await api.subaccount()
    await stock(api, "14150001", account=MAIN.auth_id)
    app = (await api.ask("POST", "Application/", {"app_name": "a"})).json["app_id"]
    changed = {"app_id": app, "subaccount": sub.auth_id, "alias": "desk", "verification_info": {"a": 1}}
    assert (await api.ask("POST", "Number/14150001/", changed)).json["message"] == "changed"
    shown = (await api.ask("GET", "Number/14150001/", account=sub)).json
    assert (shown["application"], shown["alias"]) == (
        f"/v1/Account/{sub.auth_id}/Application/{app}/",
        "desk",
    )
    assert (await api.ask("POST", "Number/14150001/", {"app_id": "", "subaccount": ""})).status == 202
    shown = (await api.ask("GET", "Number/14150001/")).json
    assert (shown["application"], shown["sub_account"], shown["alias"]) == (None, None, "desk")
    reply = await api.ask("POST", "Number/14150001/", {"app_id": "1"})
    assert (reply.status, reply.error) == (400, "app_id is none of this account's applications: 1")
    assert (await api.ask("POST", "Number/14150001/", {"cnam_lookup": "maybe"})).status == 400


async def test_filters(api: Desk) -> None:
    await stock(api, "14150001", account=MAIN.auth_id, alias="desk")
    await stock(api, "14150002", account=MAIN.auth_id, number_type="mobile", sms_enabled=True)
    for query, numbers in (
        ("alias=desk", ["14150001"]),
        ("type=mobile", ["14150002"]),
        ("services=voice,sms", ["14150002"]),
        ("number_startswith=%2B1415&limit=1&offset=0", ["14150001"]),
        ("cnam_lookup=enabled", []),
    ):
        listed = (await api.ask("GET", f"Number/?{query}")).json["objects"]
        assert [one["number"] for one in listed][:1] == numbers, query


async def test_a_number_that_is_given_back_is_for_rent_again(api: Desk) -> None:
    await stock(api, "14150001")
    await api.ask("POST", "PhoneNumber/14150001/")
    assert await found(api, "country_iso=US") == []
    assert (await api.ask("DELETE", "Number/14150001/")).status == 204
    assert (await api.ask("DELETE", "Number/14150001/")).status == 404
    assert await found(api, "country_iso=US") == ["14150001"]


async def test_one_that_is_given_back_while_it_is_changed_stays_given_back(api: Desk) -> None:
    await stock(api, "14150001", account=MAIN.auth_id)
    change = api.ask("POST", "Number/14150001/", {"alias": "desk"})
    replies = await asyncio.gather(api.ask("DELETE", "Number/14150001/"), change)
    assert [reply.status for reply in replies] == [204, 404]
    assert (await api.ask("POST", "PhoneNumber/14150001/", account=OTHER)).status == 201


async def test_numbers_of_ones_own(api: Desk) -> None:
    content = {"numbers": "+15550001, 15550002", "carrier": "ours", "region": "Texas"}
    assert (await api.ask("POST", "Number/", content)).status == 202
    shown = (await api.ask("GET", "Number/15550001/")).json
    assert (shown["carrier"], shown["region"], shown["number_type"]) == ("ours", "Texas", "local")
    assert (await api.ask("POST", "Number/", {**content, "numbers": "15550003,15550002"})).status == 409
    assert (await api.ask("GET", "Number/15550003/")).status == 404
    for numbers in ("", "x", "1,,2", ",".join(["1"] * (MAX_NUMBERS + 1))):
        assert (await api.ask("POST", "Number/", {**content, "numbers": numbers})).status == 400
