"""Servers for tests: an app behind the package's own server, and any ASGI application behind uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from bothway import App
from bothway.runtime.server import Server


@asynccontextmanager
async def served(app: App) -> AsyncIterator[str]:
    """Serve by the package's own server; gives its URL."""
    server = Server(app, app.accept)
    await app.start()
    await server.start()
    try:
        yield server.url
    finally:
        await app.stop(0.0)
        await server.stop(0.0)


@asynccontextmanager
async def uvicorn_at(asgi: Any) -> AsyncIterator[int]:
    """Serve by uvicorn's protocols, without the process that `uvicorn.Server` takes over; gives the port."""
    config = uvicorn.Config(asgi, ws="websockets-sansio", lifespan="off", log_config=None, ws_per_message_deflate=False)
    config.load()
    state = ServerState()
    protocol: Any = config.http_protocol_class
    listener = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=5)
