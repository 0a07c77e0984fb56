from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bothway.app.control import PlivoControl
from bothway.errors import PeerError, UsageError


@asynccontextmanager
async def api(status: int) -> AsyncIterator[tuple[str, list[str]]]:
    """A REST API that answers everything with `status`, and notes the requests."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        credentials = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        seen.append(f"{request.method} {request.path} {credentials}")
        return web.Response(status=status)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    finally:
        await runner.cleanup()


async def test_204_and_404_say_that_the_call_is_over() -> None:
    for status in (204, 404):
        async with api(status) as (url, seen):
            control = PlivoControl(url + "/", "MA1", "token")
            await control.hangup("call-1")
            await control.hangup("a/b")
            await control.close()
            await control.close()
        assert seen[0] == "DELETE /v1/Account/MA1/Call/call-1/ MA1:token"
        assert len(seen) == 2


async def test_anything_else_is_the_carrier_s_error() -> None:
    for status, words in ((401, "do not belong together"), (500, "answered 500"), (302, "answered 302")):
        async with api(status) as (url, _):
            control = PlivoControl(url, "MA1", "t0k3n")
            with pytest.raises(PeerError, match=words) as caught:
                await control.hangup("call-1")
            assert "t0k3n" not in str(caught.value)
            await control.close()
    control = PlivoControl("http://127.0.0.1:1", "MA1", "token")
    with pytest.raises(PeerError, match="cannot be reached"):
        await control.hangup("call-1")
    await control.close()


async def test_it_needs_an_account() -> None:
    with pytest.raises(UsageError, match="PLIVO_AUTH_ID"):
        await PlivoControl("http://x", "", "t").hangup("c")
    with pytest.raises(UsageError, match="PLIVO_AUTH_TOKEN"):
        await PlivoControl("http://x", "MA", "").hangup("c")
