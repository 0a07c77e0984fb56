"""Libraries that go past the loop's methods, and their own functions afterwards."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiofastnet
import aiohttp
import anyio
import anyio.streams.tls
import picows
import pytest
from tests.runtime.receivers import Echo
from tests.testing.in_network import in_network, network, steps

from bothway.runtime.duplex import Receiver, UpgradeRequest
from bothway.runtime.duplex_picows import TlsError, UnreachableError, connect
from bothway.runtime.http import FetchPolicy, HttpClient
from bothway.runtime.server import Server
from bothway.testing.network import NetworkLoop


class Notes(Echo):
    """Notes what comes, and sends nothing."""

    def received_text(self, message: bytes) -> None:
        self.told.append(("text", message))
        self.heard.set()


async def scheme(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the scheme that the request came by, and from where."""
    body = f"{scope['scheme']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def accept(request: UpgradeRequest) -> Receiver:
    """Answers every WebSocket with an echo."""
    return Echo()


def replaced() -> list[Any]:
    """What is replaced while a network is open, as it is now."""
    return [
        aiofastnet.create_connection,
        aiofastnet.create_server,
        aiohttp.AsyncResolver.resolve,
        anyio.streams.tls.TLSStream.wrap,
    ]


@contextmanager
def functions() -> Iterator[None]:
    """What is replaced while a network is open is as before afterwards."""
    before = replaced()
    yield
    assert replaced() == before


def test_the_functions_are_replaced_while_any_network_is_open() -> None:
    with functions():
        original = replaced()
        one, other = NetworkLoop(), NetworkLoop()
        replacement = replaced()
        assert all(now is not before for now, before in zip(replacement, original, strict=True))
        one.close()
        one.close()
        assert replaced() == replacement
        other.close()
        assert replaced() == original


def test_on_another_loop_they_do_what_they_always_do() -> None:
    async def main() -> None:
        server = Server(scheme, accept)
        await server.start()
        notes = Notes()
        duplex = await connect(server.url.replace("http", "ws"), notes)
        duplex.send_text(b"hello")
        await notes.heard.wait()
        duplex.abort()
        await notes.over.wait()
        with pytest.raises(AttributeError):  # from its own way of asking, which it was not made ready for
            await Elsewhere().resolve("127.0.0.1")
        async with await anyio.connect_tcp("127.0.0.1", server.port):
            pass
        with pytest.raises(ssl.SSLError):
            await anyio.connect_tcp("127.0.0.1", server.port, tls=True)
        await server.stop(0.0)

    with functions(), asyncio.Runner() as runner:
        network_loop = NetworkLoop()
        runner.run(main())
        network_loop.close()


@in_network
async def test_the_package_s_own_server_and_client_speak_tls_in_the_network() -> None:
    server = Server(scheme, accept, host="carrier.test", port=443, ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    await server.start()
    async with HttpClient(allow_private=True) as http:
        answer = await http.request("GET", "https://carrier.test/", policy=FetchPolicy(), max_body=100)
        assert answer.body == b"https 10.255.0.1"
    notes = Notes()
    duplex = await connect("wss://carrier.test/stream", notes)
    assert [str(link.host) for link in network().links] == ["carrier.test"]
    duplex.send_text(b"hello")
    await notes.heard.wait()
    assert notes.told == [("opened",), ("text", b"hello")]
    duplex.close()
    await notes.over.wait()
    await server.stop(1.0)
    await steps()
    assert network().links == ()


@in_network
async def test_tls_to_a_listener_without_it_fails_as_tls_does() -> None:
    server = Server(scheme, accept, host="carrier.test", port=80)
    await server.start()
    with pytest.raises(TlsError, match=r"carrier.test:80 listens without TLS in this network"):
        await connect("wss://carrier.test:80/", Notes())
    with pytest.raises(UnreachableError, match="refused"):
        await connect("ws://carrier.test:81/", Notes())
    with pytest.raises(UnreachableError, match=r"there is: http://carrier.test:80"):
        await connect("ws://nobody.test/", Notes())
    await server.stop(0.0)
    await steps()


@in_network
async def test_picows_itself_connects_and_listens_in_the_network() -> None:
    class Repeat(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())

    class Client(picows.WSListener):
        def __init__(self) -> None:
            super().__init__()
            self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if not self.heard.done():
                self.heard.set_result(frame.get_payload_as_bytes())

    server = await picows.ws_create_server(lambda _: Repeat(), "ticks.test", 80)
    transport, client = await picows.ws_connect(Client, "ws://ticks.test/")
    assert isinstance(client, Client)
    transport.send(picows.WSMsgType.TEXT, b"tick")
    assert await client.heard == b"tick"
    transport.disconnect()
    await transport.wait_disconnected()
    server.close()
    await server.wait_closed()


class Elsewhere(aiohttp.AsyncResolver):
    """What aiohttp makes where aiodns is installed, and without anybody to ask."""

    def __init__(self) -> None:
        pass

    async def close(self) -> None:
        """Nothing was opened."""


@in_network
async def test_aiohttp_looks_names_up_in_the_network_though_it_has_aiodns() -> None:
    server = Server(scheme, accept, host="carrier.test", port=80)
    await server.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Elsewhere())) as session:
        async with session.get("http://carrier.test/") as answer:
            assert await answer.text() == "http 10.255.0.1"
        with pytest.raises(aiohttp.ClientConnectorDNSError, match=r"nobody is called x.test in this network"):
            await session.get("http://x.test/")
    await server.stop(0.0)
    await steps()


@in_network
async def test_anyio_takes_the_tls_of_the_network_as_agreed_on() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.read(100))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = await asyncio.start_server(answer, "api.test", 443, ssl=context)
    plain = await asyncio.start_server(answer, "api.test", 80)
    async with await anyio.connect_tcp("api.test", 443, tls=True) as stream:
        await stream.send(b"you")
        assert await stream.receive() == b"heard you"
    with pytest.raises(ssl.SSLError, match="listens without TLS"):
        await anyio.connect_tcp("api.test", 80, tls=True)
    for each in (server, plain):
        each.close()
        await each.wait_closed()
