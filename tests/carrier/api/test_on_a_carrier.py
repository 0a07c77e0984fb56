"""The REST API of a whole carrier."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import plivo
import pytest
from plivo.exceptions import AuthenticationError, ResourceNotFoundError
from plivo.rest import client as plivo_client
from tests.carrier.world import ACCOUNT, World, world

from bothway.carrier.config import Account, Config

pytestmark = pytest.mark.virtual_time

OTHER = Account("MABBBBBBBBBBBBBBBBBB", "another-token")


def basic(auth_id: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{auth_id}:{token}".encode()).decode()


async def ask(w: World, method: str, path: str, **options: Any) -> tuple[int, str, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.request(method, w.carrier.url + path, **options) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


def rest(account: Account, call_id: str = "x") -> str:
    return f"/v1/Account/{account.auth_id}/Call/{call_id}/"


def credentials(account: Account) -> dict[str, str]:
    return {"Authorization": basic(account.auth_id, account.auth_token)}


async def test_hanging_up(tmp_path: Path) -> None:
    async with world(tmp_path, config=Config(accounts=(OTHER,))) as w:
        caller, call = w.place(w.stream())
        await (await w.streams.first()).until("media")
        path = rest(ACCOUNT, call.call_id)

        status, body, _ = await ask(w, "DELETE", rest(OTHER, call.call_id), headers=credentials(OTHER))
        assert (status, json.loads(body)["error"]) == (404, "call not found, or it has ended"), "another account's call"
        status, body, _ = await ask(w, "DELETE", path, headers=credentials(OTHER))
        assert (status, json.loads(body)["error"]) == (404, "not found"), "another account's path"
        assert not caller.done.is_set()

        status, body, answered = await ask(
            w, "DELETE", path, headers=credentials(ACCOUNT), json={"call_uuid": call.call_id}
        )
        assert (status, body) == (204, "")
        await w.over(caller)
        w.check_accounted(caller, 4000, "API Request")
        status, body, answered = await ask(w, "DELETE", path, headers=credentials(ACCOUNT))
        assert status == 404
        assert set(json.loads(body)) == {"api_id", "error"}
        assert answered["Content-Type"] == "application/json"


async def test_health_and_metrics(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert (await ask(w, "GET", "/healthz"))[0] == 200
        assert (await ask(w, "GET", "/readyz"))[0] == 200
        status, body, answered = await ask(w, "GET", "/metrics")
        assert status == 200
        assert answered["Content-Type"].startswith("text/plain")
        assert "bothway_calls_active 0.0" in body
        w.carrier.health.draining = True
        status, body, _ = await ask(w, "GET", "/readyz")
        assert (status, json.loads(body)["status"]) == (503, "draining")
        assert (await ask(w, "GET", "/healthz"))[0] == 200


def point_plivo_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK has no argument for its base URL: its constants are the way."""
    names = ("PLIVO_API_BASE_URI", "API_VOICE_BASE_URI", *(f"API_VOICE_BASE_URI_FALLBACK_{n}" for n in (1, 2)))
    for name in names:
        monkeypatch.setattr(plivo_client, name, url + "/v1/Account")


@pytest.mark.real_sockets
async def test_the_official_client_hangs_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        point_plivo_at(w.carrier.url, monkeypatch)
        caller, call = w.place(w.stream())
        await (await w.streams.first()).until("media")
        stranger = plivo.RestClient(ACCOUNT.auth_id, "wrong")
        client = plivo.RestClient(ACCOUNT.auth_id, ACCOUNT.auth_token)
        with stranger, client:
            with pytest.raises(AuthenticationError, match="authentication failed"):
                await asyncio.to_thread(stranger.calls.hangup, call.call_id)
            assert await asyncio.to_thread(client.calls.hangup, call.call_id) is None
            await w.over(caller)
            w.check_accounted(caller, 4000, "API Request")
            with pytest.raises(ResourceNotFoundError, match="call not found, or it has ended"):
                await asyncio.to_thread(client.calls.hangup, call.call_id)
