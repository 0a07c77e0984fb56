"""Callbacks that must not be lost, on their way through the outbox."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.rest_client import Rest, hung_up, placing
from tests.carrier.world import ACCOUNT, Request, World, page, until, world

from bothway.carrier.callee import Callee, human
from bothway.carrier.config import Account, Config
from bothway.carrier.store.store import Store

pytestmark = pytest.mark.virtual_time

HANGUP = "<Response><Hangup/></Response>"
SUB = Account("SABBBBBBBBBBBBBBBBBB", "the-sub-accounts-token", parent=ACCOUNT.auth_id)


async def waiting(w: World) -> int:
    store = w.carrier._store
    assert store is not None
    return await store.outbox.waiting()


def is_signed(request: Request, header: str, token: str) -> bool:
    nonce = request.headers["x-plivo-signature-v3-nonce"]
    signature = request.headers[f"x-plivo-signature-{header}"]
    return bool(validate_v3_signature(request.method, request.url, nonce, token, signature, dict(request.form)))


async def test_a_server_that_fails_gets_the_callback_again_and_again(tmp_path: Path) -> None:
    times: list[float] = []

    async def third_time_lucky(_: Request) -> bytes:
        times.append(asyncio.get_running_loop().time())
        return page(b"", "200 OK" if len(times) == 3 else "503 Busy")

    async with world(tmp_path) as w:
        w.site.pages["/hangup"] = third_time_lucky
        await w.call(page(HANGUP))
        assert await waiting(w) == 1
        await until(lambda: len(times) == 3)
        await asyncio.sleep(0.1)
        assert await waiting(w) == 0
        assert [round(later - sooner) for sooner, later in itertools.pairwise(times)] == [1, 5]
        bodies = [request.body for request in w.site.asked("/hangup")]
        assert bodies == [bodies[0]] * 3


@pytest.mark.parametrize("status", ["400 Bad", "404 Not Found", "410 Gone"])
async def test_a_server_that_does_not_want_it_is_not_asked_again(tmp_path: Path, status: str) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/hangup"] = page(b"", status)
        caller = await w.call(page(HANGUP))
        assert await waiting(w) == 0
        assert len(w.site.asked("/hangup")) == 1
        assert [record.get("error", "")[-3:] for record in w.log(caller) if record["event"] == "callback"]


@pytest.mark.parametrize("status", ["408 Slow", "425 Early", "429 Much"])
async def test_a_server_that_asks_for_it_later_gets_it_later(tmp_path: Path, status: str) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/hangup"] = page(b"", status)
        await w.call(page(HANGUP))
        assert await waiting(w) == 1
        w.site.pages["/hangup"] = page(b"")
        await until(lambda: len(w.site.asked("/hangup")) == 2)
        await asyncio.sleep(0.1)
        assert await waiting(w) == 0


async def test_an_address_that_may_not_be_called_is_not_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page(HANGUP), hangup_url="http:///nowhere")
        assert await waiting(w) == 0
        (record,) = [record for record in w.log(caller) if record["event"] == "callback"]
        assert "error" in record


async def test_what_a_stopped_carrier_could_not_deliver_the_next_one_does(tmp_path: Path) -> None:
    async with world(tmp_path / "site") as w:
        w.site.pages["/hangup"] = page(b"", "500 Sorry")
        w.site.pages["/answer"] = page(HANGUP)
        async with world(tmp_path / "carrier") as first:
            first.site.pages = w.site.pages
            caller, _ = first.place(page(HANGUP), hangup_url=w.site.url + "/hangup")
            await first.over(caller)
        assert len(w.site.asked("/hangup")) == 1
        w.site.pages["/hangup"] = page(b"")
        async with world(tmp_path / "carrier") as second:
            await until(lambda: len(w.site.asked("/hangup")) == 2)
            await asyncio.sleep(0.1)
            assert await waiting(second) == 0
        one, two = w.site.asked("/hangup")
        assert one.body == two.body


async def test_a_sub_account_signs_with_its_own_token_and_its_main_accounts(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=1)), accounts=(SUB,)) as (w, _):
        await Rest(w, SUB).call(w)
        await hung_up(w)
        assert [request.path for request in w.site.requests] == ["/ring", "/answer", "/hangup"]
        for request in w.site.requests:
            assert request.params["ParentAuthID"] == SUB.auth_id
            assert is_signed(request, "v3", SUB.auth_token)
            assert is_signed(request, "ma-v3", ACCOUNT.auth_token)


async def test_an_account_that_was_made_over_rest_signs_too(tmp_path: Path) -> None:
    async with placing(tmp_path, Callee("15550100", human(ring=1))) as (w, rest):
        made = await rest.post("Subaccount/", name="team", enabled=True)
        assert made.status == 201
        account = Account(made["auth_id"], made["auth_token"], parent=ACCOUNT.auth_id)
        await Rest(w, account).call(w)
        await hung_up(w)
        for request in w.site.requests:
            assert is_signed(request, "v3", account.auth_token)
            assert is_signed(request, "ma-v3", ACCOUNT.auth_token)
        assert isinstance(w.carrier._store, Store)
        database = (tmp_path / "records.db").read_bytes() + (tmp_path / "records.db-wal").read_bytes()
        assert account.auth_token.encode() not in database, "it is derived, and stored nowhere"


async def test_the_callback_of_an_account_that_is_gone_is_given_up(tmp_path: Path) -> None:
    config = Config(accounts=(SUB,))
    async with world(tmp_path / "site") as w:
        w.site.pages["/hangup"] = page(b"", "500 Sorry")
        async with world(tmp_path / "carrier", config=config, account=SUB) as first:
            caller, _ = first.place(page(HANGUP), hangup_url=w.site.url + "/hangup")
            await first.over(caller)
        async with world(tmp_path / "carrier") as second:
            await asyncio.sleep(60)
            assert await waiting(second) == 0
        assert len(w.site.asked("/hangup")) == 1
