from __future__ import annotations

from pathlib import Path

import pytest
from tests.carrier.rest_client import Rest
from tests.carrier.world import ACCOUNT, World, world

from bothway.carrier.config import Account, Application, Config, Number, RentableNumber
from bothway.carrier.directory import Directory

pytestmark = pytest.mark.virtual_time

SUB = Account("SABBBBBBBBBBBBBBBBBB", "the-sub-accounts-token", parent=ACCOUNT.auth_id)
CONFIG = Config(
    accounts=(SUB,),
    applications=(
        Application("desk", "https://example.com/desk", fallback_url="https://example.com/f", time_limit=60),
        Application("team", "https://example.com/team", "GET", account=SUB.auth_id),
    ),
    numbers=(Number("+1 555-0100", "desk"), Number("15550101", "team")),
    inventory=(RentableNumber("15550150", "US", region="Texas"),),
)


def directory(w: World) -> Directory:
    found = w.carrier._directory
    assert found is not None
    return found


async def test_what_the_configuration_names_answers(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        found = await directory(w).answering("15550100")
        assert found is not None
        application, account = found
        assert (application.name, application.answer_url, application.fallback_url, application.time_limit) == (
            "desk", "https://example.com/desk", "https://example.com/f", 60,
        )  # fmt: skip
        assert (application.hangup_url, account.auth_id) == (None, ACCOUNT.auth_id)
        found = await directory(w).answering("+15550101")
        assert found is not None
        assert (found[0].answer_method, found[1].auth_id) == ("GET", SUB.auth_id)
        for nobody in ("15550150", "15559999", ""):
            assert await directory(w).answering(nobody) is None


async def test_an_application_that_is_disabled_answers_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        store = directory(w)._store
        (desk,) = (await store.applications.list(ACCOUNT.auth_id, name="desk")).records
        await store.applications.change(desk.app_id, {"enabled": False})
        assert await directory(w).answering("15550100") is None


async def test_rest_finds_it_and_can_change_it(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        rest = Rest(w)
        applications = {found["app_name"]: found for found in (await rest.get("Application/"))["objects"]}
        assert set(applications) == {"desk", "team"}
        numbers = {found["number"] for found in (await rest.get("Number/"))["objects"]}
        assert numbers == {"15550100", "15550101"}
        team = applications["team"]["app_id"]
        assert (await rest.post("Number/15550100/", app_id=team)).status == 202
        found = await directory(w).answering("15550100")
        assert found is not None
        assert found[0].name == "team"
        assert [found["number"] for found in (await rest.get("PhoneNumber/", country_iso="US"))["objects"]] == [
            "15550150"
        ]
        assert (await rest.post("PhoneNumber/15550150/", app_id=applications["desk"]["app_id"])).status == 201
        found = await directory(w).answering("15550150")
        assert found is not None
        assert found[0].name == "desk"
    async with world(tmp_path, config=CONFIG) as w:
        again = {found["app_name"]: found["app_id"] for found in (await Rest(w).get("Application/"))["objects"]}
        assert again == {name: found["app_id"] for name, found in applications.items()}
        found = await directory(w).answering("15550100")
        assert found is not None
        assert found[0].name == "desk", "what the file says outweighs what REST has made of it"
        found = await directory(w).answering("15550150")
        assert found is not None


async def test_what_is_known_of_a_number_outlives_a_start(tmp_path: Path) -> None:
    for _ in range(2):
        async with world(tmp_path, config=CONFIG) as w:
            rest = Rest(w)
            assert (await rest.post("Number/15550100/", alias="front", cnam_lookup="enabled")).status == 202
    async with world(tmp_path, config=CONFIG) as w:
        found = await Rest(w).get("Number/15550100/")
        assert (found["alias"], found["cnam_lookup"]) == ("front", "enabled")


async def test_accounts_and_whose_token_signs_for_them(tmp_path: Path) -> None:
    async with world(tmp_path, config=CONFIG) as w:
        assert await directory(w).account(ACCOUNT.auth_id) == (ACCOUNT, ACCOUNT.auth_token)
        assert await directory(w).account(SUB.auth_id) == (SUB, ACCOUNT.auth_token)
        assert await directory(w).account("MANOBODY") is None
        made = await Rest(w).post("Subaccount/", name="third")
        found = await directory(w).account(made["auth_id"])
        assert found is not None
        assert (found[0].auth_token, found[1]) == (made["auth_token"], ACCOUNT.auth_token)
