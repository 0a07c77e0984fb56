"""REST as a program without an SDK speaks it, in virtual time and over real sockets alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.carrier.world import ACCOUNT, Behaviour, Caller, World, listen, page, until, world

from bothway.carrier.callee import Callee, Callees
from bothway.carrier.config import Account, Config


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


class Rest:
    """One account's way to a carrier."""

    def __init__(self, w: World, account: Account = ACCOUNT) -> None:
        self._root = f"{w.carrier.url}/v1/Account/{account.auth_id}/"
        self._auth = {"Authorization": aiohttp.encode_basic_auth(account.auth_id, account.auth_token)}

    async def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **given: Any) -> Answer:
        content: dict[str, Any] = {"params": given} if method == "GET" else {"json": given}
        async with (
            aiohttp.ClientSession(headers=self._auth) as session,
            session.request(method, self._root + path, headers=headers, **content) as answer,
        ):
            body = await answer.json() if (await answer.read()) else {}
            return Answer(answer.status, body, dict(answer.headers))

    async def get(self, path: str, **given: Any) -> Answer:
        return await self.ask("GET", path, **given)

    async def post(self, path: str, **given: Any) -> Answer:
        return await self.ask("POST", path, **given)

    async def delete(self, path: str, **given: Any) -> Answer:
        return await self.ask("DELETE", path, **given)

    async def call(self, w: World, to: str = "15550100", **given: Any) -> str:
        """Place a call that `/answer` answers and whose ringing and end `/ring` and `/hangup` hear of. Gives its id."""
        url = w.site.url
        usual = {"answer_url": url + "/answer", "hangup_url": url + "/hangup", "ring_url": url + "/ring"}
        answer = await self.post("Call/", **{"from": "15550199", "to": to, **usual, **given})
        assert answer.status == 201, answer.body
        return str(answer["request_uuid"])


LONG = "<Response><Wait length='60'/></Response>"


@asynccontextmanager
async def waiting(
    tmp_path: Path, document: str = LONG, behaviour: Behaviour = listen, **options: object
) -> AsyncIterator[tuple[World, Rest, Caller, str]]:
    """A call that is up."""
    async with world(tmp_path, behaviour, **options) as w:  # type: ignore[arg-type]
        caller, call = w.place(page(document.replace("STREAM", w.streams.url)))
        await until(lambda: caller.heard)
        yield w, Rest(w), caller, f"Call/{call.call_id}/"
        if not caller.done.is_set():
            caller.hang_up()
        await w.over(caller)


WAIT = "<Response><Wait length='5'/></Response>"


@asynccontextmanager
async def placing(
    tmp_path: Path, *entries: Callee, accounts: tuple[Account, ...] = (), **limits: float
) -> AsyncIterator[tuple[World, Rest]]:
    """A carrier with these callees, and a client of its own account."""
    config = Config(accounts=accounts, callees=Callees(entries), barred=("1900",))
    async with world(tmp_path, config=config, limits=limits or None) as w:
        w.site.pages["/answer"] = page(WAIT)
        yield w, Rest(w)


async def hung_up(w: World, count: int = 1) -> list[dict[str, str]]:
    await until(lambda: len(w.site.asked("/hangup")) >= count)
    await until(lambda: not w.carrier.calls)
    return [request.params for request in w.site.asked("/hangup")]
