"""What only ASGI has: Starlette in front, servers that lack extensions, and the outgoing queue.

The contract shared with the other duplex is in test_duplex.py, over uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from tests.runtime.receivers import Echo
from tests.serving import uvicorn_at

from bothway.runtime.duplex import Duplex, Receiver, Refusal, UpgradeRequest
from bothway.runtime.duplex_asgi import AsgiDuplex, serve_asgi
from bothway.runtime.duplex_picows import connect


class Listener(Echo):
    """Answers nothing."""

    def received_text(self, message: bytes) -> None:
        self.heard.set()


class Asgi:
    """An ASGI server of two queues: `events` go to the application, `sent` is what it says."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.scope: dict[str, Any] = {"type": "websocket", "path": "/a b", "headers": [(b"X-Name", b"value")]}
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.taking = asyncio.Event()
        self.taking.set()
        for event in ({"type": "websocket.connect"}, *events):
            self.events.put_nowait(event)

    async def receive(self) -> Any:
        return await self.events.get()

    async def send(self, message: Any) -> None:
        await self.taking.wait()
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.events.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    async def serve(self, receiver: Receiver | Refusal, **options: Any) -> None:
        async with asyncio.timeout(2):
            await serve_asgi(self.scope, self.receive, self.send, lambda _: receiver, **options)


def text(message: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": message}


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_fastapi_route_hands_its_websocket_over(accepted: bool) -> None:
    app, echo, client = FastAPI(), Echo(), Listener()
    seen: list[UpgradeRequest] = []

    def accept(request: UpgradeRequest) -> Receiver:
        seen.append(request)
        return echo

    @app.websocket("/stream/{call}")
    async def stream(websocket: WebSocket, call: str) -> None:
        if accepted:
            await websocket.accept()
        await serve_asgi(websocket.scope, websocket.receive, websocket.send, accept, accepted=accepted)

    async with asyncio.timeout(5), uvicorn_at(app) as port:
        duplex = await connect(f"ws://127.0.0.1:{port}/stream/1%202?x=y", client)
        duplex.send_text(b"hello")
        await client.heard.wait()
        duplex.close(1000, "bye")
        await echo.over.wait()
    assert echo.told == [("opened",), ("text", b"hello"), ("closed", 1000, "bye")]
    assert [request.target for request in seen] == ["/stream/1%202?x=y"]


async def test_the_scope_of_a_spare_server() -> None:
    asgi = Asgi({"type": "websocket.disconnect", "code": 1000})
    seen: list[UpgradeRequest] = []

    def accept(request: UpgradeRequest) -> Receiver:
        seen.append(request)
        return Echo()

    await serve_asgi(asgi.scope, asgi.receive, asgi.send, accept)
    assert seen == [UpgradeRequest(path="/a%20b", headers=(("x-name", "value"),))]


async def test_a_refusal_is_a_response_where_the_server_can() -> None:
    asgi = Asgi()
    asgi.scope["extensions"] = {"websocket.http.response": {}}
    await asgi.serve(Refusal(403, b"not you"))
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"7")]
    assert asgi.sent == [
        {"type": "websocket.http.response.start", "status": 403, "headers": headers},
        {"type": "websocket.http.response.body", "body": b"not you"},
    ]


async def test_a_refusal_is_a_close_elsewhere() -> None:
    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    asgi = Asgi()
    await serve_asgi(asgi.scope, asgi.receive, send, lambda _: Refusal(403))
    assert sent == [{"type": "websocket.close"}]


async def test_a_refusal_of_what_was_accepted_is_1008() -> None:
    asgi = Asgi()
    await asgi.serve(Refusal(403, b"not you"), accepted=True)
    assert asgi.sent == [{"type": "websocket.close", "code": 1008, "reason": "not you"}]


async def test_an_accept_that_raises_refuses_with_500(caplog: pytest.LogCaptureFixture) -> None:
    def accept(request: UpgradeRequest) -> Receiver:
        raise ValueError("as asked")

    asgi = Asgi()
    asgi.scope["extensions"] = {"websocket.http.response": {}}
    await serve_asgi(asgi.scope, asgi.receive, asgi.send, accept)
    assert asgi.sent[0]["status"] == 500
    assert [record.getMessage() for record in caplog.records] == ["accept failed"]


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        ({"code": 1000, "reason": "bye"}, (1000, "bye")),
        ({"code": 4000, "reason": None}, (4000, "")),
        ({"code": 1005, "reason": ""}, (1005, "")),
        ({"code": 1005}, (1006, "the socket died without a close frame")),
        ({}, (1006, "the socket died without a close frame")),
        ({"code": 1006}, (1006, "")),
    ],
)
async def test_the_code_of_a_disconnect(event: dict[str, Any], verdict: tuple[int, str]) -> None:
    echo = Echo()
    await Asgi({"type": "websocket.disconnect", **event}).serve(echo)
    assert echo.told == [("opened",), ("closed", *verdict)]


async def test_a_queue_that_nobody_takes_is_counted_and_bounded() -> None:
    asgi, echo = Asgi(), Echo()
    serving = asyncio.create_task(asgi.serve(echo, max_unsent=1000))
    await echo.ready.wait()
    asgi.taking.clear()
    for size in range(100, 1001, 100):
        echo.duplex.send_binary(bytes(100))
        assert echo.duplex.unsent_bytes == size
        await asyncio.sleep(0)
    assert not echo.over.is_set()
    echo.duplex.send_text(b"x")
    assert not echo.over.is_set(), "closed is never told from inside a send"
    await serving
    assert echo.told[-1] == ("closed", 1006, "1001 bytes wait to be sent, over the limit of 1000")


async def test_what_was_queued_goes_before_the_close() -> None:
    asgi, echo = Asgi(), Echo()
    serving = asyncio.create_task(asgi.serve(echo))
    await echo.ready.wait()
    echo.duplex.send_text("größer".encode())
    echo.duplex.send_binary(b"\x00")
    echo.duplex.close(4000, "done")
    echo.duplex.close(4001, "again")
    echo.duplex.send_text(b"too late")
    await serving
    assert asgi.sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "größer"},
        {"type": "websocket.send", "bytes": b"\x00"},
        {"type": "websocket.close", "code": 4000, "reason": "done"},
    ]
    assert echo.told == [("opened",), ("closed", 4000, "done")]
    assert echo.duplex.unsent_bytes == 0


async def test_a_server_that_cancels_is_told_as_a_death() -> None:
    asgi, echo = Asgi(), Echo()
    serving = asyncio.create_task(asgi.serve(echo))
    await echo.ready.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert echo.told == [("opened",), ("closed", 1006, "the server cancelled the websocket")]
    assert len(asyncio.all_tasks()) == 1, "no task is left behind"


@pytest.mark.parametrize("what", ["receive", "send"])
async def test_a_server_that_raises_at_a_dead_socket(what: str) -> None:
    asgi, echo = Asgi(), Echo()

    async def fail(message: Any = None) -> Any:
        if asgi.sent and not asgi.events.qsize():
            raise OSError("it has gone")
        return await asgi.send(message) if message else await asgi.receive()

    receive, send = (fail, asgi.send) if what == "receive" else (asgi.receive, fail)
    duplex_task = asyncio.create_task(serve_asgi(asgi.scope, receive, send, lambda _: echo))
    await echo.ready.wait()
    echo.duplex.send_text(b"hello")
    await duplex_task
    [_, (name, code, reason)] = echo.told
    assert (name, code) == ("closed", 1006)
    assert reason.endswith("OSError('it has gone')")


async def test_a_receiver_that_raises_when_opened_or_closed(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def opened(self, duplex: Duplex) -> None:
            super().opened(duplex)
            raise ValueError("as asked")

        def closed(self, code: int, reason: str) -> None:
            super().closed(code, reason)
            raise ValueError("as asked")

    failing = Failing()
    with caplog.at_level(logging.WARNING):
        await Asgi().serve(failing)
    assert failing.told == [("opened",), ("closed", 1011, "internal error")]
    assert [record.getMessage() for record in caplog.records] == [
        "Failing raised when opened",
        "Failing raised when closed",
    ]


async def test_messages_behind_a_close_are_not_delivered() -> None:
    class Hasty(Echo):
        def received_text(self, message: bytes) -> None:
            self.told.append(("text", message))
            self.duplex.close(4000)

    hasty = Hasty()
    await Asgi(text("one"), text("two")).serve(hasty)
    assert hasty.told == [("opened",), ("text", b"one"), ("closed", 4000, "")]


def test_it_is_a_duplex() -> None:
    async def main() -> Duplex:
        return AsgiDuplex(Echo())

    assert asyncio.run(main()).unsent_bytes == 0
