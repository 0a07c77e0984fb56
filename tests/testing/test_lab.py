from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
import requests
from fastapi import FastAPI, Request, Response, WebSocket
from plivo import RestClient
from tests.testing.apps import hold, new_app, say

from bothway import App, Call
from bothway.carrier.config import Account
from bothway.errors import UsageError
from bothway.testing.blocking import BlockingCallError
from bothway.testing.expectation import CallFailedError
from bothway.testing.lab import AUTH_ID, AUTH_TOKEN, LabCarrier
from bothway.testing.virtual_loop import run


async def greet(call: Call) -> None:
    """Say hello, and hold the line."""
    await say(call, "hello")
    await hold(call)


def test_the_account_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_ID", "MAXXXXXXXXXXXXXXXXXX")
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", "of the environment")
    assert LabCarrier().account == Account("MAXXXXXXXXXXXXXXXXXX", "of the environment")
    other = Account("MAYYYYYYYYYYYYYYYYYY", "given")
    assert LabCarrier(account=other).account == other
    monkeypatch.delenv("PLIVO_AUTH_ID")
    monkeypatch.delenv("PLIVO_AUTH_TOKEN")
    assert LabCarrier().account == Account(AUTH_ID, AUTH_TOKEN)


async def test_apps_are_served_at_origins_of_their_own(carrier: LabCarrier) -> None:
    first, second = new_app(greet), new_app(greet)
    assert await carrier.serve(first) == "https://app.test"
    assert await carrier.serve(second) == "https://app2.test"
    assert await carrier.serve(first) == "https://app.test", "it is served already"
    assert await carrier.serve(first, "http://voice.example.com:8080") == "http://voice.example.com:8080"
    with pytest.raises(UsageError, match=r"another app is served at https://app\.test already"):
        await carrier.serve(App(), "https://app.test")
    for wrong in ("app.test", "ws://app.test", "https://", "https://app.test/path"):
        with pytest.raises(UsageError, match="an app is served at an origin such as"):
            await carrier.serve(App(), wrong)


async def test_an_app_with_a_name_of_its_own(carrier: LabCarrier) -> None:
    app = App(public_url="https://voice.example.com")
    app.answer("/answer", greet)
    caller = await carrier.call(app, "https://voice.example.com/answer")
    await caller.hears("hello")
    assert b">wss://voice.example.com/answer/stream/" in caller.webhooks[0].body


async def test_a_stream_to_where_nobody_is(carrier: LabCarrier) -> None:
    app = FastAPI()

    @app.post("/answer")
    async def answer() -> Response:
        return Response("<Response><Stream bidirectional='true'>wss://elsewhere.example.com/stream</Stream></Response>")

    caller = await carrier.call(app)
    end = await caller.logged("stream_ended", failed=True)
    assert "elsewhere.example.com" in end.text("text")


def test_there_are_two_levels() -> None:
    with pytest.raises(UsageError, match="there is no level 'byte': choose messages or bytes"):
        LabCarrier(level="byte")  # type: ignore[arg-type]


async def test_a_calls_headers_reach_the_app_and_no_others(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(greet), headers={"X-PH-Shop": "7"})
    assert caller.webhooks[0].params["X-PH-Shop"] == "7"
    with pytest.raises(UsageError, match="the header 'shop' is none of a call's"):
        await carrier.call(new_app(greet), headers={"shop": "7"})


def test_an_expectation_that_is_never_awaited_fails_the_test() -> None:
    async def main() -> None:
        async with LabCarrier() as carrier:
            app = App(check_signatures=False)
            app.answer("/answer", greet)
            caller = await carrier.call(app)
            caller.hears("this is not said")

    with pytest.raises(CallFailedError, match="never awaited: the caller to hear “this is not said”"):
        run(main())


async def test_when_a_call_is_over_the_app_has_noticed(carrier: LabCarrier) -> None:
    tidied: list[str] = []

    async def tidy(call: Call) -> None:
        await call.ended
        for _ in range(5):
            await asyncio.sleep(0)
        tidied.append(call.id)

    caller = await carrier.call(new_app(tidy))
    await caller.hangs_up()
    assert tidied == [caller.call_id]


async def test_two_carriers_of_one_seed_place_the_same_calls() -> None:
    def conversation(seed: int) -> list[Any]:
        async def main() -> list[Any]:
            async with LabCarrier(seed=seed) as carrier:
                app = App(auth_id=carrier.account.auth_id, auth_token=carrier.account.auth_token)
                app.answer("/answer", greet)
                caller = await carrier.call(app, hangup="/hangup")
                await caller.hears("hello")
                await caller.hangs_up()
                return [caller.records, caller.webhooks, caller.heard, caller.telephone.tape()]

        return run(main())

    first = await asyncio.to_thread(conversation, 0)
    assert first == await asyncio.to_thread(conversation, 0)
    assert first != await asyncio.to_thread(conversation, 1)


async def test_rest_is_where_the_official_sdks_look_for_it(carrier: LabCarrier) -> None:
    assert carrier.api_url == os.environ["BOTHWAY_API_URL"] == "https://api.plivo.com/v1"
    caller = await carrier.call(new_app(greet))
    url = f"{carrier.api_url}/Account/{carrier.account.auth_id}/Call/{caller.call_id}/"
    credentials = aiohttp.encode_basic_auth(carrier.account.auth_id, carrier.account.auth_token)
    headers = {"Authorization": credentials}
    async with aiohttp.ClientSession() as session, session.delete(url, headers=headers) as response:
        assert response.status == 204
    assert (await caller.asked_by_rest("DELETE")).status == 204
    assert (await caller.is_hung_up()).facts["source"] == "API Request"


@pytest.mark.parametrize("threaded", [False, True])
async def test_the_synchronous_client_hangs_up_from_an_async_function(carrier: LabCarrier, threaded: bool) -> None:
    async def leave(call: Call) -> None:
        client = RestClient(carrier.account.auth_id, carrier.account.auth_token)
        if threaded:
            await asyncio.to_thread(client.calls.hangup, call.id)
        else:
            client.calls.hangup(call.id)

    caller = await carrier.call(new_app(leave))
    await caller.is_hung_up().within(1)
    assert caller.rest[0].status == 204


async def test_what_is_not_in_the_test_cannot_be_reached(carrier: LabCarrier) -> None:
    await carrier.serve(new_app(greet))
    with pytest.raises(requests.ConnectionError, match=r"no one listens at https://crm\.example\.com"):
        await asyncio.to_thread(requests.get, "https://crm.example.com/", timeout=5)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("https://crm.example.com/")


def test_what_blocks_the_loop_fails_the_test_even_if_the_app_caught_it() -> None:
    async def main() -> None:
        async with LabCarrier() as carrier:

            async def blocking(call: Call) -> None:
                import http.client

                try:
                    http.client.HTTPConnection("192.0.2.1", 80).request("GET", "/")
                except UsageError:
                    await say(call, "sorry")
                await hold(call)

            app = App(check_signatures=False)
            app.answer("/answer", blocking)
            await (await carrier.call(app)).hears("sorry")

    with pytest.raises(BlockingCallError, match=r"test_lab.py.*blocking"):
        run(main())


async def test_the_lifespan_is_run_around_the_calls() -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        happened.append("up")
        yield {"greeting": "hello from the state"}
        happened.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        return Response(f"<Response><Speak>{request.state.greeting}</Speak></Response>")

    def conversation() -> None:
        async def main() -> None:
            async with LabCarrier() as carrier:
                caller = await carrier.call(app)
                await caller.hears("hello from the state")
                await caller.is_hung_up()
                assert happened == ["up"]

        run(main())

    await asyncio.to_thread(conversation)
    assert happened == ["up", "down"]


async def test_the_lifespans_state_is_there_on_a_stream_too(carrier: LabCarrier) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"name": "Ada"}

    app = FastAPI(lifespan=lifespan)
    names: list[str] = []

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        url = str(request.url_for("stream"))
        return Response(f"<Response><Stream bidirectional='true' keepCallAlive='true'>{url}</Stream></Response>")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        names.append(websocket.state.name)
        await websocket.accept()
        await websocket.close()

    caller = await carrier.call(app)
    await caller.is_hung_up()
    assert names == ["Ada"]


async def test_a_lifespan_that_fails_is_told(carrier: LabCarrier) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if app.title == "an app without a database":
            raise RuntimeError("no database")
        yield

    with pytest.raises(UsageError, match="no database"):
        await carrier.call(FastAPI(title="an app without a database", lifespan=lifespan))


async def test_every_call_is_ended_with_the_carrier() -> None:
    ends: list[Any] = []

    def conversation() -> None:
        async def main() -> None:
            async with LabCarrier() as carrier:
                app = App(auth_token=carrier.account.auth_token)
                app.answer("/answer", greet)
                callers = [await carrier.call(app) for _ in range(3)]
            for caller in callers:
                assert caller.ended is not None
                ends.append((caller.ended.facts["code"], caller.ended.facts["detail"]))
            with pytest.raises(UsageError, match="takes no calls"):
                await carrier.call(app)

        run(main())

    await asyncio.to_thread(conversation)
    assert ends == [(4000, "")] * 3, "their callers hung up"


@pytest.mark.carrier(level="bytes")
async def test_at_the_level_of_bytes_a_stream_has_a_link_that_can_be_cut(carrier: LabCarrier) -> None:
    assert carrier.virtual
    caller = await carrier.call(new_app(greet))
    await caller.hears("hello")
    assert carrier.sockets.live == []
    carrier.network.links[-1].reset()
    end = await caller.is_hung_up().within(2)
    assert end.facts["code"] == 4010
    assert (await caller.logged("stream_ended")).facts["failed"] is True


async def test_at_the_level_of_messages_a_stream_can_be_cut_too(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(greet))
    await caller.hears("hello")
    (socket,) = carrier.sockets.live
    socket.drop()
    await caller.is_hung_up().within(2)
    assert carrier.sockets.live == []
    assert (await caller.logged("stream_ended")).facts["failed"] is True


@pytest.mark.carrier(profile="live")
async def test_the_profile_can_be_chosen(carrier: LabCarrier) -> None:
    app = new_app(greet)
    app.on_status(_nothing)
    caller = await carrier.call(app)
    await caller.called_back("/status", Event="StartStream")


async def _nothing(status: object) -> None:
    """Take a status callback."""


@pytest.mark.real_sockets
async def test_on_real_sockets_there_is_no_network_to_cut(carrier: LabCarrier) -> None:
    assert not carrier.virtual
    with pytest.raises(UsageError, match="runs on real sockets"):
        carrier.network  # noqa: B018
    began = time.monotonic()
    caller = await carrier.call(new_app(greet), "https://voice.example.com/answer")
    assert caller.webhooks[0].url.startswith("http://127.0.0.1:")
    with pytest.raises(CallFailedError):
        await caller.hears("nothing").within(0.5)
    assert time.monotonic() - began >= 0.5


async def test_what_a_caller_says_and_presses_is_input(carrier: LabCarrier) -> None:
    app = FastAPI()

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        return Response(
            f"<Response><GetInput action='{request.url_for('got')}'><Speak>well</Speak></GetInput></Response>"
        )

    @app.post("/got")
    async def got(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        return Response(f"<Response><Speak>{form.get('Speech') or form['Digits']} it is</Speak></Response>")

    caller = await carrier.call(app)
    await caller.hears("well")
    await caller.say("number nine")
    await caller.hears("number nine it is")
    caller = await carrier.call(app)
    await caller.hears("well")
    await caller.press("9#")
    await caller.hears("9 it is")
