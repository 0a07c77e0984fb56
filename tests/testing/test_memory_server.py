"""What `create_server` gives in a memory network, held against what `asyncio.Server` promises."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from typing import Any

import pytest
from tests.testing.in_network import in_network, network, running_loop, steps

from bothway.errors import UsageError
from bothway.testing.memory_server import MemoryServer

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Greeter(asyncio.Protocol):
    """Says who it thinks it is, and keeps its connection."""

    def connection_made(self, transport: Any) -> None:
        transport.write(who.get().encode())


async def greeting(**options: Any) -> MemoryServer:
    """A server of greeters at `greet.test:7`."""
    server = await running_loop().create_server(Greeter, "greet.test", 7, **options)
    assert isinstance(server, MemoryServer)
    return server


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client of it."""
    return await asyncio.open_connection("greet.test", 7)


async def close(*writers: asyncio.StreamWriter) -> None:
    """Leave nothing behind."""
    for writer in writers:
        writer.close()
    await steps()


@in_network
async def test_it_serves_until_it_is_closed_and_waits_for_its_connections() -> None:
    server = await greeting()
    assert isinstance(server, asyncio.AbstractServer)
    assert server.is_serving()
    assert server.get_loop() is asyncio.get_running_loop()
    assert [sock.getsockname() for sock in server.sockets] == [("10.0.0.1", 7)]
    assert repr(server) == "<MemoryServer at ('10.0.0.1', 7)>"
    reader, writer = await connect()
    assert await reader.read(10) == b"nobody"
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    waiting = asyncio.create_task(server.wait_closed())
    await steps()
    assert not waiting.done()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await close(writer)
    await waiting


@in_network
async def test_waiting_for_the_end_waits_though_nobody_is_connected() -> None:
    server = await greeting()
    waiting = asyncio.create_task(server.wait_closed())
    await steps()
    assert not waiting.done()
    server.close()
    await waiting


@in_network
async def test_it_leaves_its_block_closed() -> None:
    async with await greeting() as server:
        assert server.is_serving()
    assert not server.is_serving()


@in_network
async def test_it_may_begin_later() -> None:
    server = await greeting(start_serving=False)
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await server.start_serving()
    _, writer = await connect()
    await close(writer)
    server.close()
    with pytest.raises(UsageError, match="does not listen again"):
        await server.start_serving()


@in_network
async def test_serving_for_ever_ends_by_cancelling_or_closing() -> None:
    server = await greeting()
    serving = asyncio.create_task(server.serve_forever())
    await steps()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not server.is_serving()
    server = await greeting()
    serving = asyncio.create_task(server.serve_forever())
    await steps()
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await serving


@in_network
async def test_its_connections_can_be_closed_and_dropped() -> None:
    server = await greeting()
    (first, one), (second, other) = await connect(), await connect()
    await first.read(10)
    await second.read(10)
    server.close()
    server.close_clients()
    server.abort_clients()
    assert await first.read() == b""
    assert await second.read() == b""
    await server.wait_closed()
    await close(one, other)


@in_network
async def test_a_connection_that_comes_as_it_closes_is_dropped() -> None:
    server = await greeting()
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("greet.test", 7))
        server.close()
        assert await asyncio.get_running_loop().sock_recv(sock, 10) == b""
    await server.wait_closed()


@in_network
async def test_connections_are_accepted_on_behalf_of_who_listens() -> None:
    who.set("the server")
    server = await greeting()
    who.set("the client")
    reader, writer = await connect()
    assert await reader.read(20) == b"the server"
    await close(writer)
    server.close()


@in_network
async def test_a_protocol_that_cannot_be_made_is_reported_and_its_client_dropped() -> None:
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    server = await loop.create_server(lambda: asyncio.Protocol(1), "greet.test", 7)  # type: ignore[call-arg]
    reader, writer = await connect()
    assert await reader.read() == b""
    assert [str(report["exception"]) for report in reports] == ["Protocol() takes no arguments"]
    await close(writer)
    server.close()
    await server.wait_closed()
    assert network().links == ()
