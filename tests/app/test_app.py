"""The app in its several places: mounted, handed a WebSocket, started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from tests.app.fake_carrier import CALL, FRAME, PATIENCE, ask, dialled, new_app, served_by_uvicorn, start_message
from tests.app.fake_rest import fake_rest
from tests.serving import served

from bothway import App, Call, UsageError
from bothway.runtime.asgi import Receive, Scope, Send

pytestmark = pytest.mark.virtual_time


async def echo(call: Call) -> None:
    async for frame in call.audio():
        await call.play(frame)


async def talk(url: str, **options: Any) -> None:
    async with dialled(url, **options) as carrier:
        await carrier.say(FRAME, FRAME)
        await carrier.until(lambda: len(carrier.heard) == 2 * len(FRAME))


@pytest.mark.usefixtures("both_times")
async def test_mounted_in_fastapi() -> None:
    app = new_app()
    app.answer("/answer", echo)

    @app.on_status
    async def status(_: object) -> None: ...

    api = FastAPI()
    api.mount("/voice", app)
    async with served_by_uvicorn(api) as url:
        answer = await ask(f"{url}/voice/answer")
        assert answer.stream.url.startswith(url.replace("http", "ws") + "/voice/answer/stream/")
        assert answer.stream.status_callback_url == f"{url}/voice/status"
        await talk(answer.stream.url)
        assert (await ask(f"{url}/voice/status", {"Event": "started"})).status == 200
    await app.stop(0.0)


async def test_mounted_within_what_is_mounted() -> None:
    app = new_app()
    app.answer("/", echo)
    inner = FastAPI()
    inner.mount("/y", app)
    outer = FastAPI()
    outer.mount("/a b", inner)
    async with served_by_uvicorn(outer) as url:
        answer = await ask(f"{url}/a%20b/y/")
        assert answer.stream.url.startswith(url.replace("http", "ws") + "/a%20b/y/stream/")
        await talk(answer.stream.url)
    await app.stop(0.0)


async def test_in_django_the_path_is_chosen_by_hand() -> None:
    app = new_app()
    app.answer("/answer", echo)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app({**scope, "root_path": "/calls"}, receive, send)

    async with served_by_uvicorn(application) as url:
        await talk((await ask(f"{url}/calls/answer")).stream.url)
    await app.stop(0.0)


async def test_a_mounted_app_says_that_it_checks_no_signatures(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app(check_signatures=False)
    app.answer("/answer", echo)
    async with served_by_uvicorn(app) as url:
        for _ in range(2):
            await ask(f"{url}/answer", sign=None)
    assert sum("signatures are not checked" in record.getMessage() for record in caplog.records) == 1


async def test_handed_one_websocket() -> None:
    app = new_app()
    api = FastAPI()

    @api.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await app.serve(websocket, echo)

    @api.websocket("/accepted")
    async def accepted(websocket: WebSocket) -> None:
        await websocket.accept()
        await app.serve(websocket, echo)

    async with served_by_uvicorn(api) as url:
        for path in ("/ws", "/accepted"):
            await talk(url.replace("http", "ws") + path)
            async with dialled(url.replace("http", "ws") + path, sign=None) as carrier:
                assert await carrier.until_closed() == (1008, "policy")
        await app.stop(0.0)
        for path in ("/ws", "/accepted"):
            async with dialled(url.replace("http", "ws") + path) as carrier:
                assert await carrier.until_closed() == (1013, "draining")


async def test_serve_needs_to_know_whom() -> None:
    app = new_app()
    with pytest.raises(UsageError, match="0 are registered"):
        await app.serve(None)  # type: ignore[arg-type]


async def test_an_agent_is_a_handler_too() -> None:
    class Agent:
        async def __call__(self, call: Call) -> None:
            await echo(call)

    app = new_app()
    app.answer("/answer", Agent())
    async with served(app) as url:
        await talk((await ask(f"{url}/answer")).stream.url)


async def test_one_handler_that_fails_leaves_the_others_alone() -> None:
    app = new_app()
    app.answer("/answer", echo)

    @app.answer("/broken")
    async def broken(call: Call) -> None:
        raise ValueError("a bug")

    async with served(app) as url:
        good = (await ask(f"{url}/answer")).stream.url
        bad = (await ask(f"{url}/broken", {"CallUUID": "other"})).stream.url
        async with dialled(good) as carrier:
            await carrier.say(FRAME)
            async with dialled(bad, start=start_message("other")) as other:
                assert await other.until_closed() == (1011, "internal error")
            await carrier.say(FRAME)
            await carrier.until(lambda: len(carrier.heard) == 2 * len(FRAME))


async def test_draining_lets_live_calls_go_on() -> None:
    app = new_app()
    app.answer("/answer", echo)
    async with served(app) as url:
        async with dialled((await ask(f"{url}/answer")).stream.url) as carrier:
            await carrier.say(FRAME)
            await carrier.until(lambda: carrier.heard)
            stopping = asyncio.create_task(app.stop(PATIENCE))
            await asyncio.sleep(0)
            assert (await ask(f"{url}/answer")).status == 503
            await carrier.say(FRAME)
            await carrier.until(lambda: len(carrier.heard) == 2 * len(FRAME))
            assert not stopping.done()
        await asyncio.wait_for(stopping, PATIENCE)


async def test_a_stopped_app_can_be_started_again() -> None:
    app = new_app()
    app.answer("/answer", echo)
    async with served(app) as url:
        stream = (await ask(f"{url}/answer")).stream.url
        for _ in range(2):
            await app.start()
            await talk(stream)
            await app.stop(PATIENCE)
            assert (await ask(f"{url}/answer")).status == 503


async def test_stopping_ends_what_does_not_end() -> None:
    app = new_app()
    app.answer("/answer", echo)
    async with served(app) as url, dialled((await ask(f"{url}/answer")).stream.url) as carrier:
        await carrier.say(FRAME)
        await carrier.until(lambda: carrier.heard)
        await app.stop()
        assert await carrier.until_closed() == (1001, "the app is stopping")
        assert app.live_calls == 0


async def test_hanging_up_waits_for_the_goodbye() -> None:
    async with fake_rest() as rest:
        app = new_app(api_url=rest.url)
        heard_at_hangup: list[float] = []

        @app.answer("/answer")
        async def goodbye(call: Call) -> None:
            await call.play(FRAME * 50)
            await call.hangup()
            heard_at_hangup.append(call.ledger.heard_ms())

        async with served(app) as url, dialled((await ask(f"{url}/answer")).stream.url) as carrier:
            await carrier.until_closed()
    assert heard_at_hangup == [1000]
    assert rest.lines == [f"DELETE /Call/{CALL}/"]


async def lifespan(app: App, *kinds: str) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []
    messages = [{"type": f"lifespan.{kind}"} for kind in kinds]

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_lifespan() -> None:
    app = new_app(check_signatures=False)
    assert [m["type"] for m in await lifespan(app, "startup", "shutdown")] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert app.health.draining
    (failed,) = await lifespan(App(auth_token="", check_signatures=True), "startup")
    assert failed["type"] == "lifespan.startup.failed"
    assert "PLIVO_AUTH_TOKEN" in failed["message"]


async def test_an_app_without_its_token_says_so_at_the_first_request() -> None:
    app = App(auth_token="", check_signatures=True)
    with pytest.raises(UsageError, match="PLIVO_AUTH_TOKEN"):
        await app.start()
    with pytest.raises(UsageError, match="PLIVO_AUTH_TOKEN"):
        await app({"type": "http", "method": "GET", "path": "/healthz"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is not asked for 'mail'"):
        await app({"type": "mail"}, None, None)  # type: ignore[arg-type]


def test_mistakes_are_told_when_they_are_made() -> None:
    app = new_app()
    app.answer("/answer", echo)
    with pytest.raises(UsageError, match="is taken"):
        app.answer("/answer", echo)
    with pytest.raises(UsageError, match="bidirectional"):
        app.answer("/a", echo, track="both")
    app.answer("/a", echo, track="both", bidirectional=False)
    with pytest.raises(UsageError, match="`async def`"):
        app.on_status(lambda _: None)  # type: ignore[type-var]
