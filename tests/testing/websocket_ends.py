"""The two ends of a WebSocket in memory, for tests."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.runtime.receivers import Echo

from bothway.runtime.asgi import ASGIApp, Receive, Scope, Send
from bothway.runtime.duplex import Receiver
from bothway.testing.asgi_websocket import AppDuplex, AppSockets, connect_app

URL = "ws://app.test/stream/1%202?x=y"
ACCEPT = {"type": "websocket.accept"}


class Noted(Echo):
    """Notes what it is told, and answers nothing."""

    def received_text(self, message: bytes) -> None:
        self.told.append(("text", message))
        self.heard.set()


class Scripted:
    """A raw application: it accepts, reads while it is `free`, and notes what it is told and when."""

    def __init__(self, *, free: bool = True, echoes: bool = True) -> None:
        self.echoes = echoes
        self.free = asyncio.Event()
        if free:
            self.free.set()
        self.seen: list[tuple[float, Any]] = []
        self.scope: Scope = {}
        self.send: Send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.send = scope, send
        assert (await receive())["type"] == "websocket.connect"
        await send(ACCEPT)
        while True:
            await self.free.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.note((message["code"], message.get("reason")))
                return
            self.note(message.get("text"))
            if self.echoes:
                await send({**message, "type": "websocket.send"})

    def note(self, what: Any) -> None:
        self.seen.append((asyncio.get_running_loop().time() - 1000, what))

    def texts(self) -> list[Any]:
        return [what for _, what in self.seen]


async def opened(app: ASGIApp, receiver: Receiver, **options: Any) -> tuple[AppDuplex, AppSockets]:
    sockets = AppSockets()
    return await connect_app(app, URL, receiver, owner=sockets, **options), sockets


async def passes(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
