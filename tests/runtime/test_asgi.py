from __future__ import annotations

from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send


async def test_an_application_written_with_these_types_is_one() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "echo", "of": (scope["type"], (await receive())["type"])})

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    app: ASGIApp = application
    await app({"type": "http"}, receive, send)
    assert sent == [{"type": "echo", "of": ("http", "http.request")}]
