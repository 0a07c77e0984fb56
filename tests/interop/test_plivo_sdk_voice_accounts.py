"""The official SDK on what calls belong to: applications, numbers, accounts and sub-accounts; with calls to each."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from plivo.exceptions import (
    AuthenticationError,
    ForbiddenError,
    InvalidRequestError,
    ResourceNotFoundError,
    ValidationError,
)
from tests.carrier.world import page, until
from tests.interop.sdk_voice import MAIN, SUB, SdkVoice, sdk_voice

from bothway.carrier.callee import Callee, human
from bothway.carrier.config import Account, RentableNumber

pytestmark = pytest.mark.virtual_time

INVENTORY = (
    RentableNumber("14150001", "US", region="California", city="San Francisco"),
    RentableNumber("14150002", "US", "tollfree", voice=False),
    RentableNumber("12120001", "US", region="New York"),
    RentableNumber("442071234567", "GB", "fixed", monthly_rental_rate=Decimal("1.5")),
    RentableNumber("912212345678", "IN", "local"),
)
RUPEES = Account("MAINDIAINDIAINDIAIND", "a-third-token", currency="INR", compliance_accepted=True)
UNACCEPTED = Account("MAINDIAINDIAINDIANOT", "a-fourth-token", currency="INR")
QUICK = Callee("1555*", human("hello", ring=0.2))
WAIT = "<Response><Wait length='3'/></Response>"

APPLICATION = {
    "answer_method", "answer_url", "app_id", "app_name", "default_app", "default_endpoint_app", "enabled",
    "fallback_answer_url", "fallback_method", "hangup_method", "hangup_url", "message_method", "message_url",
    "public_uri", "resource_uri", "sip_uri", "sub_account", "api_id",
}  # fmt: skip
NUMBER = {
    "added_on", "active", "alias", "application", "carrier", "city", "cnam_lookup", "country", "mms_enabled",
    "monthly_rental_rate", "number", "number_type", "region", "resource_uri", "sms_enabled", "sms_rate",
    "sub_account", "voice_enabled", "voice_rate",
}  # fmt: skip
ACCOUNT = {
    "account_type", "address", "api_id", "auth_id", "auto_recharge", "billing_mode", "cash_credits", "city", "name",
    "resource_uri", "state", "timezone",
}  # fmt: skip
"""The fields of plivo-protocol.md, 5.8, 5.9 and 5.10."""


async def call_to(v: SdkVoice, number: str) -> tuple[str, str]:
    """Let a call of ours ring a number of ours, whose application answers: the ids of both calls."""
    v.pages(caller=f"<Response><Dial><Number>{number}</Number></Dial></Response>")

    def answered() -> list[str]:
        return [told["CallUUID"] for told in v.told("answer") if told["To"] == number]

    count = len(answered())
    outer = await v.create("15550100", answer_url=v.url + "/caller")
    await until(lambda: len(answered()) > count)
    return outer, answered()[-1]


async def test_an_application_answers_a_rented_number(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, answer=WAIT, inventory=INVENTORY) as v:
        created = await v.sdk(
            "applications.create", "front", answer_url=v.url + "/answer", answer_method="GET",
            hangup_url=v.url + "/hangup", hangup_method="GET", fallback_answer_url=v.url + "/fallback",
            fallback_method="GET",
        )  # fmt: skip
        assert created.message == "created"
        app = await v.sdk("applications.get", created.app_id)
        assert vars(app).keys() >= APPLICATION, APPLICATION - vars(app).keys()
        assert (app.answer_url, app.answer_method, app.hangup_url) == (v.url + "/answer", "GET", v.url + "/hangup")
        assert app.resource_uri == f"/v1/Account/{MAIN.auth_id}/Application/{created.app_id}/"
        assert app.sip_uri == f"sip:{created.app_id}@app.plivo.com"
        bought = await v.sdk("numbers.buy", "14150001", app_id=created.app_id)
        assert (bought.status, bought.numbers[0].status) == ("fulfilled", "Success")

        outer, inner = await call_to(v, "14150001")
        ends = [await v.over(call_id) for call_id in (inner, outer)]
        assert [(end.call_direction, end.hangup_cause_code) for end in ends] == [("inbound", 4010), ("outbound", 4010)]
        await v.until_asked("hangup", inner)
        assert v.kinds(inner) == ["answer", "hangup"]
        assert {one.method for one in v.w.site.requests if one.params.get("CallUUID") == inner} == {"GET"}
        assert v.told("answer", inner)[0]["From"] == "15550199"

        v.w.site.pages["/answer"] = page("", "503 Busy")
        v.pages(fallback=WAIT)
        _, inner = await call_to(v, "14150001")
        await v.over(inner)
        assert v.kinds(inner)[:2] == ["answer", "fallback"]

        changed = await v.sdk("applications.update", created.app_id, answer_url=v.url + "/answer?new=1")
        assert changed.message == "changed"
        v.pages(answer=WAIT)
        _, inner = await call_to(v, "14150001")
        await v.over(inner)
        (asked,) = (one for one in v.w.site.asked("/answer") if one.params["CallUUID"] == inner)
        assert (asked.method, asked.url[-6:]) == ("POST", "?new=1"), "the SDK says POST where it is told nothing"

        other = await v.sdk("applications.create", "back", answer_url=v.url + "/answer?back=1")
        assert (await v.sdk("numbers.update", "14150001", app_id=other.app_id, alias="desk")).message == "changed"
        _, inner = await call_to(v, "14150001")
        await v.over(inner)
        assert v.w.site.asked("/answer")[-1].url.endswith("?back=1")
        with pytest.raises(InvalidRequestError, match="app_name is taken"):
            await v.sdk("applications.create", "front")
        assert {one.app_name for one in await v.sdk("applications.list")} == {"front", "back"}
        assert [one.app_name for one in await v.sdk("applications.list", app_name="fr")] == ["front"]
        assert await v.sdk("applications.delete", created.app_id) is None
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("applications.get", created.app_id)
        assert await v.sdk("numbers.delete", "14150001") is None
        outer = await v.create("14150001")
        assert (await v.over(outer)).hangup_cause_code == 5020, "nobody has it"


async def test_numbers_are_found_rented_and_changed(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, inventory=INVENTORY) as v:

        async def found(country: str, **wanted: Any) -> list[str]:
            return [one.number for one in await v.sdk("numbers.search", country, **wanted)]

        assert await found("US") == ["12120001", "14150001", "14150002"]
        assert await found("US", type="tollfree") == ["14150002"]
        assert await found("US", services="voice") == ["12120001", "14150001"]
        assert await found("US", pattern="415", services="voice") == ["14150001"]
        assert await found("US", region="New York") == ["12120001"]
        assert await found("GB", type="fixed") == ["442071234567"]
        assert await found("FR") == []
        (offer,) = await v.sdk("numbers.search", "GB")
        assert (offer.monthly_rental_rate, offer.voice_enabled, offer.country) == ("1.50000", True, "GB")
        bought = await v.sdk("numbers.buy", "442071234567")
        assert (bought.message, bought.status) == ("created", "fulfilled")
        assert await found("GB") == []
        with pytest.raises(ResourceNotFoundError, match="not for rent"):
            await v.sdk("numbers.buy", "442071234567")
        number = await v.sdk("numbers.get", "442071234567")
        assert vars(number).keys() >= NUMBER, NUMBER - vars(number).keys()
        assert (number.number_type, number.application, number.alias) == ("fixed", None, None)
        changed = await v.sdk("numbers.update", "442071234567", alias="London", subaccount=SUB.auth_id)
        assert changed.message == "changed"
        number = await v.sdk("numbers.get", "442071234567")
        assert (number.alias, number.sub_account) == ("London", f"/v1/Account/{SUB.auth_id}/")
        assert [one.number for one in await v.sdk("numbers.list", number_startswith="44")] == ["442071234567"]
        assert len(await v.sdk("numbers.list", alias="Paris")) == 0
        with pytest.raises(ValidationError):
            await v.sdk("numbers.update", "442071234567", app_id="1234567890")
        assert await v.sdk("numbers.delete", "442071234567") is None
        assert await found("GB") == ["442071234567"]
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("numbers.get", "442071234567")


async def test_indian_numbers_want_rupees_and_compliance(tmp_path: Path) -> None:
    accounts = (MAIN, RUPEES, UNACCEPTED)
    async with sdk_voice(tmp_path, inventory=INVENTORY, accounts=accounts) as v:
        refused = "cannot place calls as its compliance application is not in 'accepted' status"
        for account in (MAIN, UNACCEPTED):
            with pytest.raises(ForbiddenError, match=refused):
                await v.client(account)("numbers.buy", "912212345678")
        mine = v.client(RUPEES)
        assert (await mine("numbers.buy", "912212345678")).status == "fulfilled"
        assert (await mine("numbers.get", "912212345678")).country == "IN"
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("numbers.get", "912212345678")


async def test_the_account(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path) as v:
        account = await v.sdk("account.get")
        assert vars(account).keys() >= ACCOUNT, ACCOUNT - vars(account).keys()
        assert (account.auth_id, account.timezone) == (MAIN.auth_id, "Asia/Kolkata")
        assert (await v.sdk("account.update", name="New", city="Pune", address="1 Road")).message == "changed"
        account = await v.sdk("account.get")
        assert (account.name, account.city, account.address) == ("New", "Pune", "1 Road")
        stranger = v.client(Account(MAIN.auth_id, "wrong"))
        v.accounts[MAIN.auth_id] = MAIN
        with pytest.raises(AuthenticationError, match="authentication failed"):
            await stranger("account.get")


async def test_a_sub_account_has_its_own_calls(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, answer=WAIT, inventory=INVENTORY) as v:
        made = await v.sdk("subaccounts.create", "team", enabled=True)
        assert (made.message, made.auth_id[:2], len(made.auth_id)) == ("created", "SA", 20)
        assert (await v.sdk("subaccounts.get", made.auth_id)).auth_token == made.auth_token
        assert made.auth_id in {one.auth_id for one in await v.sdk("subaccounts.list")}
        team = Account(made.auth_id, made.auth_token, parent=MAIN.auth_id)
        mine, other = v.client(team), v.client(SUB)
        call_id = await v.up(client=mine)
        theirs = await v.up("15550101", client=other)
        for visitor in (other,):
            with pytest.raises(ResourceNotFoundError):
                await visitor("calls.hangup", call_id)
            with pytest.raises(ResourceNotFoundError):
                await visitor("live_calls.get", call_id)
        assert (await v.sdk("live_calls.get", call_id)).call_uuid == call_id, "its main account sees all"
        assert (await mine("live_calls.list_ids")).calls == [call_id]
        for one in (call_id, theirs):
            await v.over(one)
        assert {one.call_uuid for one in await mine("calls.list")} == {call_id}
        assert {one.call_uuid for one in await v.sdk("calls.list", subaccount=made.auth_id)} == {call_id}
        assert {told["ParentAuthID"] for told in v.told("answer", call_id)} == {made.auth_id}
        with pytest.raises(ForbiddenError, match="sub-accounts may not"):
            await mine("subaccounts.create", "deeper")
        assert (await v.sdk("subaccounts.update", made.auth_id, "team", enabled=False)).message == "changed"
        with pytest.raises(ForbiddenError, match="disabled"):
            await mine("account.get")
        await v.sdk("subaccounts.update", made.auth_id, "team", enabled=True)

        urls = {"answer_url": v.url + "/answer", "hangup_url": v.url + "/hangup"}
        app = await mine("applications.create", "of the team", **urls)
        await v.sdk("numbers.buy", "14150001")
        await v.sdk("numbers.update", "14150001", app_id=app.app_id, subaccount=made.auth_id)
        assert [one.number for one in await mine("numbers.list")] == ["14150001"]
        _, inner = await call_to(v, "14150001")
        await v.over(inner)
        await v.until_asked("hangup", inner)
        assert {told["ParentAuthID"] for told in v.told("answer", inner)} == {made.auth_id}
