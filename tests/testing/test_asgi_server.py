"""ASGI applications behind uvicorn's protocols, in the network and on real sockets; and their lifespan."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import trustme
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from tests.testing.in_network import in_network, network, steps

from bothway.errors import UsageError
from bothway.runtime.asgi import Message, Receive, Scope, Send
from bothway.runtime.http import FetchError, FetchPolicy, HttpClient, HttpResponse
from bothway.testing.asgi_server import Lifespan, serve


def new_app() -> FastAPI:
    """An app with a lifespan, that moves, fails, waits and talks."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        app.state.log = ["started"]
        yield {"greeting": "hello"}
        app.state.log.append("stopped")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root(request: Request) -> Any:
        return [str(request.url), request.client, request.state.greeting]

    @app.get("/moved")
    async def moved() -> Any:
        return RedirectResponse("https://app.test/")

    @app.get("/fails")
    async def fails() -> Any:
        raise LookupError("no such table")

    @app.get("/waits")
    async def waits() -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            app.state.log.append("no longer waiting")

    @app.get("/soon")
    async def soon() -> Any:
        await asyncio.sleep(0.02)
        return JSONResponse("done")

    @app.get("/endless")
    async def endless() -> Any:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield bytes(100_000)

        return StreamingResponse(parts())

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{websocket.url.scheme}: {text}")
        app.state.log.append("hung up")

    return app


async def get(url: str) -> HttpResponse:
    """Fetch by the package's own client."""
    async with HttpClient(allow_private=True) as http:
        return await http.request("GET", url, policy=FetchPolicy(retries=0), max_body=10_000)


# --- serving ------------------------------------------------------------------------------------------------------


@in_network
async def test_an_app_is_served_under_its_name_with_its_lifespan_around() -> None:
    app = new_app()
    async with serve(app, "app.test", 443, tls=True) as origin:
        assert origin == "https://app.test"
        assert app.state.log == ["started"]
        answer = await get(origin + "/")
        assert answer.body == b'["https://app.test/",["10.255.0.1",49152],"hello"]'
    assert app.state.log == ["started", "stopped"]
    await steps()
    assert network().links == ()


@in_network
async def test_redirects_lead_from_one_origin_to_the_other() -> None:
    async with serve(new_app(), "old.test", 8080) as old, serve(new_app(), "app.test", 443, tls=True):
        assert old == "http://old.test:8080"
        answer = await get(old + "/moved")
        assert answer.url == "https://app.test/"


@in_network
async def test_an_app_may_be_served_without_its_lifespan() -> None:
    app = new_app()
    async with serve(app, "app.test", 80, lifespan=False) as origin:
        assert (await get(origin + "/soon")).body == b'"done"'
    assert not hasattr(app.state, "log")


@in_network
async def test_websockets_are_there_too() -> None:
    app = new_app()
    async with serve(app, "app.test", 443, tls=True), aiohttp.ClientSession() as session:
        async with session.ws_connect("wss://app.test/ws") as websocket:
            assert websocket.compress == 0
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "wss: hello"
        await steps()
        assert app.state.log == ["started", "hung up"]


async def test_the_same_code_serves_on_real_sockets() -> None:
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(trusting)
    async with serve(new_app()) as origin:
        assert (await get(origin + "/")).body.startswith(f'["{origin}/"'.encode())
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with serve(new_app(), tls=context) as origin, aiohttp.ClientSession(connector=connector) as session:
        assert origin.startswith("https://127.0.0.1:")
        async with session.ws_connect(origin + "/ws") as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "wss: hello"


async def test_real_tls_needs_a_certificate_and_an_address_of_this_machine() -> None:
    app = new_app()
    with pytest.raises(UsageError, match=r"needs a certificate: give an ssl.SSLContext"):
        async with serve(app, tls=True):
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen at 127"):
            async with serve(app, port=taken.getsockname()[1]):
                pass
    assert app.state.log == ["started", "stopped"]


@in_network
async def test_what_an_app_raises_is_logged_and_answered_with_500(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(new_app(), "app.test", 80) as origin:
        with pytest.raises(FetchError, match="answered 500"):
            await get(origin + "/fails")
    assert "LookupError: no such table" in caplog.text


@in_network
async def test_a_client_that_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        try:
            await send({"type": "websocket.send", "text": "are you there?"})
        finally:
            ended.set()

    async with (
        serve(app, "app.test", 80, lifespan=False) as origin,
        aiohttp.ClientSession() as session,
        session.ws_connect(origin),
    ):
        network().links[0].reset()
        await ended.wait()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- the end ------------------------------------------------------------------------------------------------------


@in_network
async def test_at_the_end_requests_are_awaited_and_websockets_told() -> None:
    app = new_app()
    async with aiohttp.ClientSession() as session:
        async with serve(app, "app.test", 80) as origin:
            asking = asyncio.create_task(get(origin + "/soon"))
            websocket = await session.ws_connect(origin + "/ws")
            await steps()
        assert (await asking).body == b'"done"'
        told = await websocket.receive()
        assert (told.type, told.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert app.state.log == ["started", "hung up", "stopped"]


@in_network
async def test_at_the_end_what_takes_too_long_is_cancelled() -> None:
    app = new_app()
    loop = asyncio.get_running_loop()
    async with serve(app, "app.test", 80, deadline=0.02) as origin:
        asking = asyncio.create_task(get(origin + "/waits"))
        await asyncio.sleep(0.01)
        start = loop.time()
    assert loop.time() - start < 1
    assert app.state.log == ["started", "no longer waiting", "stopped"]
    with pytest.raises(FetchError):
        await asking


@in_network
async def test_at_the_end_a_connection_that_has_just_been_accepted_is_closed_too() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        async with serve(new_app(), "app.test", 80):
            await loop.sock_connect(sock, ("app.test", 80))
            sock.send(b"GET /waits HTTP/1.1\r\nHost: app.test\r\n\r\n")
            await asyncio.sleep(0)
            start = loop.time()
        assert loop.time() - start < 1
        assert len(asyncio.all_tasks()) == 1


@in_network
async def test_at_the_end_a_client_that_does_not_read_is_dropped() -> None:
    async with serve(new_app(), "app.test", 80, deadline=0.02):
        reader, writer = await asyncio.open_connection("app.test", 80)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: app.test\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await steps(100)
    await steps()
    writer.close()


# --- lifespan -----------------------------------------------------------------------------------------------------


async def answering(startup: str | None, shutdown: str | None = None) -> tuple[Lifespan, list[str]]:
    """A lifespan of an app that answers so, and what it was asked."""
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for answer in (startup, shutdown):
            message = await receive()
            asked.append(message["type"])
            if answer is None:
                await asyncio.sleep(60)
            reply: Message = {"type": f"{message['type']}.{answer}"}
            if answer == "failed":
                reply["message"] = "no database"
            await send(reply)

    return Lifespan(app, deadline=0.02), asked


async def test_an_app_is_started_and_stopped_once() -> None:
    lifespan, asked = await answering("complete", "complete")
    await lifespan.startup()
    assert asked == ["lifespan.startup"]
    with pytest.raises(UsageError, match="started once"):
        await lifespan.startup()
    await lifespan.shutdown()
    await lifespan.shutdown()
    assert asked == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_app_that_fails_to_start_says_why() -> None:
    lifespan, _ = await answering("failed")
    with pytest.raises(UsageError, match="the application failed at its startup: no database"):
        await lifespan.startup()
    await lifespan.shutdown()


async def test_the_error_of_a_framework_s_startup_is_told() -> None:
    @asynccontextmanager
    async def broken(app: FastAPI) -> AsyncIterator[None]:
        if app.title:
            raise LookupError("no such table")
        yield

    with pytest.raises(UsageError, match="LookupError: no such table"):
        async with serve(FastAPI(lifespan=broken)):
            pass


async def test_an_app_that_fails_to_stop_says_so() -> None:
    lifespan, _ = await answering("complete", "failed")
    await lifespan.startup()
    with pytest.raises(UsageError, match="the application failed at its shutdown: no database"):
        await lifespan.shutdown()


async def test_an_app_that_is_never_done_is_cancelled() -> None:
    slow, _ = await answering(None)
    with pytest.raises(UsageError, match=r"not done with its startup within 0.02 s"):
        await slow.startup()
    sticky, _ = await answering("complete", None)
    await sticky.startup()
    with pytest.raises(UsageError, match=r"not done with its shutdown within 0.02 s"):
        await sticky.shutdown()
    assert len(asyncio.all_tasks()) == 1


async def test_an_app_without_a_lifespan_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "lifespan"

    lifespan = Lifespan(app)
    await lifespan.startup()
    await lifespan.shutdown()
    assert "raised in its lifespan, which may mean that it has none" in caplog.text
    assert "AssertionError" in caplog.text
    unused = Lifespan(app)
    await unused.shutdown()


async def test_what_an_app_says_without_having_been_asked_is_its_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.startup.complete"})

    lifespan = Lifespan(app)
    await lifespan.startup()
    await asyncio.sleep(0)
    assert "lifespan.startup.complete was sent, and nothing had been asked" in caplog.text
