"""Two carriers of one data folder, asked for what the other has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.carrier.world import ACCOUNT, Caller, Site, page, site, until

from bothway.carrier.callee import Callee, Callees, rings_on
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Application, Config
from bothway.carrier.node import node_of
from bothway.core.profile import DOCUMENTED
from bothway.errors import UsageError

LONG = "<Response><Wait length='60'/></Response>"
UNKNOWN = "6f9619ff-8b86-4d01-b42d-00cf4fc96402"
"""The id of a call of the second carrier that there is not."""


@dataclass
class Pair:
    one: Carrier
    other: Carrier
    site: Site
    session: aiohttp.ClientSession

    async def ask(self, carrier: Carrier, method: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        url = f"{carrier.url}/v1/Account/{ACCOUNT.auth_id}/{path}"
        async with self.session.request(method, url, json=body or None) as answer:
            return answer.status, await answer.json() if await answer.read() else {}

    async def place(self, carrier: Carrier, document: str = LONG) -> Caller:
        """A call that is up."""
        self.site.pages["/answer"] = page(document)
        caller = Caller()
        hangup = self.site.url + "/hangup"
        carrier.place(
            caller,
            from_="15550001",
            to="15550002",
            application=Application("test", self.site.url + "/answer", hangup_url=hangup),
        )
        await until(lambda: caller.heard)
        return caller

    async def dial(self, carrier: Carrier, **given: Any) -> str:
        answer_url = self.site.url + "/answer"
        status, body = await self.ask(
            carrier, "POST", "Call/", **{"from": "15550199", "to": "15550100", "answer_url": answer_url, **given}
        )
        assert status == 201
        return str(body["request_uuid"])


@asynccontextmanager
async def pair(data: Path) -> AsyncIterator[Pair]:
    def made() -> Carrier:
        config = Config(callees=Callees((Callee("15550100", rings_on()),)))
        return Carrier(account=ACCOUNT, config=config, data=data, allow_private=True, workers=2)

    login = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT.auth_id, ACCOUNT.auth_token)}
    async with site() as web, made() as one, made() as other, aiohttp.ClientSession(headers=login) as session:
        yield Pair(one, other, web, session)


async def test_a_live_call_is_had_at_either(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        caller = await p.place(p.other)
        assert node_of(caller.call_id) == 2
        path = f"Call/{caller.call_id}/"
        for carrier in (p.one, p.other):
            status, live = await p.ask(carrier, "GET", path + "?status=live")
            assert (status, live["call_uuid"], live["call_status"]) == (200, caller.call_id, "in-progress")
            status, listed = await p.ask(carrier, "GET", "Call/?status=live")
            assert (status, listed["calls"]) == (200, [caller.call_id])
        assert (await p.ask(p.one, "POST", path + "DTMF/", digits="12"))[0] == 202
        await until(lambda: caller.digits == "12")
        status, refused = await p.ask(p.one, "POST", path + "DTMF/", digits="x")
        assert status == 400
        assert "digits" in refused["error"]
        p.site.pages["/next"] = page("<Response><Hangup/></Response>")
        status, _ = await p.ask(p.one, "POST", path, legs="aleg", aleg_url=p.site.url + "/next")
        assert status == 202
        await asyncio.wait_for(caller.done.wait(), 10)
        await until(lambda: not p.other.calls)
        status, cdr = await p.ask(p.one, "GET", path)
        assert (status, cdr["call_uuid"]) == (200, caller.call_id)
        assert (await p.ask(p.one, "DELETE", path))[0] == 404


async def test_what_is_not_there_and_who_may_not(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        caller = await p.place(p.other)
        for path in (f"Call/{UNKNOWN}/", f"Call/{UNKNOWN}/Stream/undefined/"):
            for carrier in (p.one, p.other):
                assert (await p.ask(carrier, "DELETE", path))[0] == 404
        url = f"{p.one.url}/v1/Account/{ACCOUNT.auth_id}/Call/{caller.call_id}/"
        async with aiohttp.ClientSession() as nobody, nobody.delete(url) as answer:
            assert answer.status == 401
        assert not caller.done.is_set()
        caller.hang_up()
        await until(lambda: not p.other.calls)


async def test_calls_that_were_asked_for(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        first = await p.dial(p.one)
        await until(lambda: p.one.calls)
        assert (await p.ask(p.other, "DELETE", f"Request/{first}/"))[0] == 204
        await until(lambda: not p.one.calls)
        parent = await p.place(p.other)
        child = await p.dial(p.one, parent_call_uuid=parent.call_id, error_if_parent_not_found=True)
        await until(lambda: p.one.calls)
        status, live = await p.ask(p.other, "GET", f"Call/{child}/?status=live")
        assert (status, live["parent_call_uuid"]) == (200, parent.call_id)
        assert (await p.ask(p.one, "DELETE", "Call/"))[0] == 204
        await until(lambda: not p.one.calls and not p.other.calls)
        assert parent.cause is not None
        assert parent.cause.code == 4000
        assert (await p.ask(p.one, "GET", "Call/?status=live"))[1]["calls"] == []


async def test_conferences_are_found_where_they_are(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        here = await p.place(p.one, "<Response><Conference>left &amp; right/1</Conference></Response>")
        there = await p.place(p.other, "<Response><Conference>room</Conference></Response>")
        await until(lambda: p.one._switchboard and p.one._switchboard.conferences.all())
        await until(lambda: p.other._switchboard and p.other._switchboard.conferences.all())
        for carrier in (p.one, p.other):
            status, listed = await p.ask(carrier, "GET", "Conference/")
            assert (status, sorted(listed["conferences"])) == (200, ["left & right/1", "room"])
            status, room = await p.ask(carrier, "GET", "Conference/room/")
            assert (status, room["conference_member_count"]) == (200, "1")
            assert room["members"][0]["call_uuid"] == there.call_id
            assert (await p.ask(carrier, "GET", "Conference/no-such-room/"))[0] == 404
        assert (await p.ask(p.one, "DELETE", "Conference/room/"))[0] == 204
        await asyncio.wait_for(there.done.wait(), 10)
        assert not here.done.is_set()
        assert (await p.ask(p.other, "DELETE", "Conference/"))[0] == 204
        await asyncio.wait_for(here.done.wait(), 10)
        await until(lambda: not p.one.calls and not p.other.calls)


async def test_metrics_of_each(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        caller = await p.place(p.other)
        asked = [(p.one, "", 0), (p.other, "", 1)]
        asked += [(carrier, f"?node={number}", number - 1) for carrier in (p.one, p.other) for number in (1, 2)]
        for carrier, query, active in asked:
            async with p.session.get(f"{carrier.url}/metrics{query}") as answer:
                assert answer.status == 200
                assert f"bothway_calls_active {float(active)}" in await answer.text()
        for strange in ("3", "0", "x", "-1", "99999999999999999999", "%2e%2e"):
            async with p.session.get(f"{p.one.url}/metrics?node={strange}") as answer:
                assert answer.status == 404
        caller.hang_up()
        await until(lambda: not p.other.calls)


async def test_the_rate_of_calls_is_shared(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        assert p.one.profile.limits == replace(DOCUMENTED.limits, calls_per_second=1.0)


async def test_one_that_is_gone(tmp_path: Path) -> None:
    """A carrier that was killed leaves its note: what it had is over, and its records are everybody's."""
    async with pair(tmp_path) as p:
        caller = await p.place(p.other)
        caller.hang_up()
        await until(lambda: not p.other.calls)
        note = (tmp_path / "nodes" / "2.json").read_text()
        assert p.other._neighbours is not None
        await p.other._neighbours.close()
        (tmp_path / "nodes" / "2.json").write_text(note)
        status, cdr = await p.ask(p.one, "GET", f"Call/{caller.call_id}/")
        assert (status, cdr["call_uuid"]) == (200, caller.call_id)
        status, body = await p.ask(p.one, "DELETE", f"Call/{caller.call_id}/")
        assert status == 503
        assert "cannot be asked at this moment" in body["error"]
        assert (await p.ask(p.one, "DELETE", "Call/"))[0] == 204
        assert (await p.ask(p.one, "GET", "Conference/"))[1]["conferences"] == []


def test_carriers_share_a_folder_or_nothing() -> None:
    with pytest.raises(UsageError, match="share a data folder"):
        Carrier(workers=2)
