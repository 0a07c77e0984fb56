"""Names, addresses and ports; and every asyncio library that people connect with, unchanged, under each fault."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.runtime.receivers import Echo
from tests.testing.in_network import in_network, network, open_descriptors, running_loop, steps

from bothway.errors import UsageError
from bothway.runtime.duplex_picows import PicowsDuplex, UnreachableError, connect
from bothway.testing.asgi_server import serve
from bothway.testing.link import Link
from bothway.testing.memory_server import MemoryServer
from bothway.testing.memory_socket import MemorySocket
from bothway.testing.network import CLIENT_ADDRESS, FIRST_PORT, NetworkLoop


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, to its end."""
    try:
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
        writer.write_eof()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def listening(*places: tuple[str | None, int], tls: bool = False) -> AsyncIterator[list[asyncio.Server]]:
    """Echo servers at these hosts and ports."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    servers = [await asyncio.start_server(echo, host, port, ssl=context) for host, port in places]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()
        for server in servers:
            await server.wait_closed()


async def ask(host: str, port: int, **options: Any) -> tuple[Any, Any, bytes]:
    """Connect, send and read; gives the client's address, the server's and the answer."""
    reader, writer = await asyncio.open_connection(host, port, **options)
    writer.write(b"hello")
    writer.write_eof()
    answer = await reader.read()
    names = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    writer.close()
    await writer.wait_closed()
    return (*names, answer)


# --- names and addresses ------------------------------------------------------------------------------------------


@in_network
async def test_names_get_addresses_and_connections_ports_in_order() -> None:
    async with listening(("app.test", 80), ("api.test", 443), ("app.test", 8080), ("127.0.0.1", 0)) as servers:
        assert [server.sockets[0].getsockname() for server in servers] == [
            ("10.0.0.1", 80),
            ("10.0.0.2", 443),
            ("10.0.0.1", 8080),
            ("127.0.0.1", FIRST_PORT),
        ]
        assert await ask("APP.test.", 8080) == ((CLIENT_ADDRESS, FIRST_PORT + 1), ("10.0.0.1", 8080), b"hello")
        assert await ask("10.0.0.2", 443) == ((CLIENT_ADDRESS, FIRST_PORT + 2), ("10.0.0.2", 443), b"hello")
        assert await ask("localhost", FIRST_PORT) == (
            ("127.0.0.1", FIRST_PORT + 3),
            ("127.0.0.1", FIRST_PORT),
            b"hello",
        )
        assert str(network()) == (
            f"http://app.test:80, http://api.test:443, http://app.test:8080, http://127.0.0.1:{FIRST_PORT}"
        )
    assert str(network()) == "nothing"
    assert network().resolve("api.test") == "10.0.0.2"


@in_network
async def test_a_listener_at_no_host_is_found_under_every_address_that_has_no_other() -> None:
    network().add_host("app.test")
    async with listening((None, 80), ("other.test", 80)) as servers:
        assert servers[0].sockets[0].getsockname() == ("0.0.0.0", 80)
        assert (await ask("app.test", 80))[1] == ("10.0.0.1", 80)
        assert (await ask("127.0.0.1", 80))[1] == ("127.0.0.1", 80)
        assert (await ask("other.test", 80))[1] == ("10.0.0.2", 80)
        assert str(network()) == "http://*:80, http://other.test:80"


@in_network
async def test_one_server_may_have_several_places_and_a_place_one_server() -> None:
    async with await asyncio.start_server(echo, ["a.test", "b.test"], 80) as server:
        assert [sock.getsockname() for sock in server.sockets] == [("10.0.0.1", 80), ("10.0.0.2", 80)]
        with pytest.raises(OSError, match=r"http://b.test:80 is taken in this network"):
            await asyncio.start_server(echo, ["c.test", "b.test"], 80)
        with pytest.raises(ConnectionRefusedError):
            await ask("c.test", 80)


@in_network
async def test_who_looks_for_what_is_not_there_is_told_what_is() -> None:
    async with listening(("app.test", 80)):
        with pytest.raises(
            OSError, match=r"no one listens at https://app.test:443 in this network; there is: http://a"
        ):
            await ask("app.test", 443)
        with pytest.raises(socket.gaierror, match=r"nobody is called x.test in this network; there is: http://app.tes"):
            await ask("x.test", 80)
        with pytest.raises(OSError, match="serve it there, or mark the test real_sockets"):
            await ask("93.184.216.34", 80)


@in_network
async def test_names_resolve_as_getaddrinfo_says_it() -> None:
    loop = asyncio.get_running_loop()
    network().add_host("büro.test")
    tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    assert await loop.getaddrinfo("büro.test", "https") == [(*tcp, ("10.0.0.1", 443))]
    assert await loop.getaddrinfo(b"xn--bro-hoa.test", b"80", family=socket.AF_INET) == [(*tcp, ("10.0.0.1", 80))]
    assert await loop.getaddrinfo(None, None) == [(*tcp, ("127.0.0.1", 0))]
    assert await loop.getaddrinfo("", 80, flags=socket.AI_PASSIVE) == [(*tcp, ("0.0.0.0", 80))]
    assert (await loop.getaddrinfo("::1", 80))[0][4] == ("::1", 80, 0, 0)
    assert (await loop.getaddrinfo("10.9.9.9", 80, type=socket.SOCK_DGRAM))[0][1:3] == (
        socket.SOCK_DGRAM,
        socket.IPPROTO_UDP,
    )
    with pytest.raises(socket.gaierror, match="another family"):
        await loop.getaddrinfo("localhost", 80, family=socket.AF_INET6)
    with pytest.raises(socket.gaierror, match="'gopher' is no port"):
        await loop.getaddrinfo("localhost", "gopher")
    assert await loop.getnameinfo(("10.0.0.1", 80)) == ("xn--bro-hoa.test", "80")
    assert await loop.getnameinfo(("10.0.0.1", 80), socket.NI_NUMERICHOST) == ("10.0.0.1", "80")


@in_network
async def test_ports_that_are_in_use_are_not_given_out() -> None:
    async with listening(("app.test", FIRST_PORT + 1), ("app.test", 0), ("app.test", 0)) as servers:
        assert [server.sockets[0].getsockname()[1] - FIRST_PORT for server in servers] == [1, 0, 2]


@in_network
async def test_ports_go_round_and_leave_out_what_anybody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothway.testing.network._LAST_PORT", FIRST_PORT + 2)
    async with listening(("a.test", FIRST_PORT + 1)):
        async with listening(("b.test", FIRST_PORT + 1)):
            pass
        given = []
        for _ in range(4):
            async with listening(("a.test", 0)) as servers:
                given.append(servers[0].sockets[0].getsockname()[1] - FIRST_PORT)
        assert given == [0, 2, 0, 2]


@in_network
async def test_ipv6_addresses_are_the_same_however_they_are_written() -> None:
    async with listening(("2001:DB8:0::1", 80)):
        assert (await ask("2001:db8::0:1", 80))[1:] == (("2001:db8::1", 80), b"hello")
        assert str(network()) == "http://[2001:db8::1]:80"


@in_network
async def test_a_socket_that_somebody_bound_can_listen() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with await asyncio.start_server(echo, sock=bound) as server:
            assert server.sockets[0].getsockname() == ("127.0.0.1", port)
            assert (await ask("127.0.0.1", port))[2] == b"hello"


@in_network
async def test_what_is_no_tcp_is_as_always_or_refused() -> None:
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=one)
    other.send(b"hello")
    assert await reader.read(10) == b"hello"
    writer.close()
    other.close()
    with pytest.raises(UsageError, match="what needs UDP needs real sockets"):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 5060))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(UsageError, match="what needs UDP needs real sockets"):
            await loop.sock_connect(sock, ("127.0.0.1", 5060))
    with pytest.raises(ValueError, match="host and port was not specified"):
        await loop.create_connection(asyncio.Protocol)


@in_network
async def test_unix_sockets_with_a_path_are_real(tmp_path: Any) -> None:
    path = str(tmp_path / "echo")
    async with await asyncio.start_unix_server(echo, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path + "2")
        async with await asyncio.start_server(echo, sock=bound) as server:
            assert server.sockets[0].getsockname() == path + "2"


class Special(socket.socket):
    """A socket with a class of its own."""


@in_network
async def test_a_socket_that_somebody_made_becomes_one_of_the_network() -> None:
    loop = asyncio.get_running_loop()
    async with listening(("app.test", 80)):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("app.test", 80))
            assert isinstance(sock, MemorySocket)
            assert sock.getpeername() == ("10.0.0.1", 80)
            await loop.sock_sendall(sock, b"hello")
            assert await loop.sock_recv(sock, 10) == b"hello"
        closed = socket.socket()
        closed.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_connect(closed, ("app.test", 80))
        with Special() as special, pytest.raises(UsageError, match="a Special cannot be connected in memory"):
            await loop.sock_connect(special, ("app.test", 80))
        with socket.socket() as sock:
            loop.set_debug(True)
            with pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_connect(sock, ("app.test", 80))


def test_two_runs_are_the_same() -> None:
    def one() -> list[Any]:
        told: list[Any] = []

        async def main() -> None:
            network().on_connect = lambda link: told.append(repr(link))
            async with listening(("b.test", 0), ("a.test", 80), (None, 81)) as servers:
                told.extend(server.sockets[0].getsockname() for server in servers)
                asked = [asyncio.create_task(ask("a.test", port)) for port in (80, 81, 80)]
                for task in asked:
                    task.add_done_callback(lambda task: told.append(task.result()))
                await asyncio.gather(*asked)

        with asyncio.Runner(loop_factory=NetworkLoop) as runner:
            runner.run(main())
        return told

    first = one()
    assert len(first) == 9
    assert first == one()


# --- links --------------------------------------------------------------------------------------------------------


@in_network
async def test_the_links_are_listed_in_the_order_of_connection() -> None:
    async with listening(("app.test", 80), ("api.test", 443)):
        _, first = await asyncio.open_connection("app.test", 80)
        _, second = await asyncio.open_connection("api.test", 443)
        _, third = await asyncio.open_connection("app.test", 80)
        assert [(link.number, link.host, link.server[1]) for link in network().links] == [
            (1, "app.test", 80),
            (2, "api.test", 443),
            (3, "app.test", 80),
        ]
        second.close()
        await steps()
        assert [link.number for link in network().links] == [1, 3]
        first.close()
        third.close()
        await steps()
        assert network().links == ()


@in_network
async def test_a_socket_is_an_end_of_its_own_link_whoever_else_has_its_port() -> None:
    accepted: list[Any] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            accepted.append(transport.get_extra_info("socket"))

    loop = asyncio.get_running_loop()
    async with listening(("127.0.0.1", 80)):
        _, writer = await asyncio.open_connection("127.0.0.1", 80)
        server = await loop.create_server(Server, *writer.get_extra_info("sockname"))
        transport, _ = await loop.create_connection(asyncio.Protocol, *writer.get_extra_info("sockname"))
        await steps()
        first, second = network().links
        assert network().link_of(writer.get_extra_info("socket")) is first
        assert network().link_of(transport.get_extra_info("socket")) is network().link_of(accepted[0]) is second
        transport.close()
        writer.close()
        server.close()
        await server.wait_closed()


@in_network
async def test_connections_are_refused_on_demand() -> None:
    async with listening(("app.test", 80), ("api.test", 80)):
        network().refuse(1)
        network().refuse(2, "api.test")
        for host in ("app.test", "api.test", "api.test"):
            with pytest.raises(ConnectionRefusedError, match="as the network was told to"):
                await ask(host, 80)
        assert (await ask("app.test", 80))[2] == (await ask("api.test", 80))[2] == b"hello"


@in_network
async def test_links_to_come_get_the_network_s_faults_and_are_shown_first() -> None:
    loop = asyncio.get_running_loop()
    seen: list[Link] = []
    async with listening(("app.test", 80)):
        network().latency = 0.01
        network().pieces = 1
        network().on_connect = seen.append
        start = loop.time()
        assert (await ask("app.test", 80))[2] == b"hello"
        assert loop.time() >= start + 0.04  # a round trip to connect, and one for the answer
        assert [(link.latency, link.pieces) for link in seen] == [(0.01, 1)]
        network().on_connect = Link.reset
        with pytest.raises(ConnectionError):
            await ask("app.test", 80)


@in_network
async def test_an_attempt_to_connect_can_be_given_up() -> None:
    async with listening(("app.test", 80)):
        network().latency = 0.02
        for seconds in (0.01, 0.03):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.open_connection("app.test", 80)
        network().latency = 0.0
        network().on_connect = {}.__getitem__  # type: ignore[assignment]
        with pytest.raises(KeyError):
            await asyncio.open_connection("app.test", 80)
        await asyncio.sleep(0.05)
        assert network().links == ()


@in_network
async def test_a_protocol_that_cannot_be_made_leaves_no_socket() -> None:
    async with listening(("app.test", 80)):
        with pytest.raises(TypeError):
            await asyncio.get_running_loop().create_connection(lambda: asyncio.Protocol(1), "app.test", 80)  # type: ignore[call-arg]
        await steps()
        assert network().links == ()


def test_closing_the_loop_closes_the_network() -> None:
    before = open_descriptors()

    async def main() -> None:
        loop = running_loop()
        await loop.create_server(asyncio.Protocol, "app.test", 80, start_serving=False)
        server = await loop.create_server(asyncio.Protocol, "app.test", 81)
        transport, _ = await loop.create_connection(asyncio.Protocol, "app.test", 81)
        network().links[0].vanish()
        transport.abort()
        assert isinstance(server, MemoryServer)
        server.abort_clients()
        await steps()
        assert len(network().links) == 1

    with asyncio.Runner(loop_factory=NetworkLoop) as runner:
        runner.run(main())
    assert open_descriptors() == before


# --- TLS ----------------------------------------------------------------------------------------------------------


@in_network
async def test_tls_is_taken_as_agreed_on_and_both_ends_know_of_it() -> None:
    told: list[Any] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            told.append(transport.get_extra_info("sslcontext"))
            transport.close()

    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = await loop.create_server(Server, "app.test", 443, ssl=context)
    _, writer = await asyncio.open_connection("app.test", 443, ssl=True, server_hostname="app.test")
    assert writer.get_extra_info("sslcontext") is context
    await steps()
    assert told == [context]
    writer.close()
    server.close()
    await server.wait_closed()


@in_network
async def test_a_place_can_be_told_to_have_tls() -> None:
    network().add_tls("app.test")
    async with listening(("app.test", 443), ("app.test", 80)):
        assert (await ask("app.test", 443, ssl=True))[2] == b"hello"
        with pytest.raises(ssl.SSLError, match=r"app.test:80 listens without TLS"):
            await ask("app.test", 80, ssl=True)
        assert str(network()) == "https://app.test:443, http://app.test:80"
        await steps()
        assert network().links == ()


@in_network
async def test_a_place_with_tls_resets_who_speaks_without(caplog: pytest.LogCaptureFixture) -> None:
    network().add_tls("app.test", 81)
    async with listening(("app.test", 443), tls=True), listening(("app.test", 81)):
        for port in (443, 81):
            _, silent = await asyncio.open_connection("app.test", port)
            silent.close()
            await steps()
            assert caplog.text == ""
            reader, writer = await asyncio.open_connection("app.test", port)
            writer.write(b"hello")
            with closing(writer), pytest.raises(ConnectionResetError):
                await reader.read()
            assert f"to app.test:{port}>: the client sent something without TLS" in caplog.text
            caplog.clear()
        with pytest.raises(UnreachableError, match="closed the connection instead of answering"):
            await connect("ws://app.test:443/", Echo())
    await steps()
    assert network().links == ()


# --- libraries ----------------------------------------------------------------------------------------------------


@in_network
async def test_aiohttp_serves_and_asks_with_its_own_connector() -> None:
    async def hello(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response([request.scheme, request.host, request.remote])

    app = aiohttp.web.Application()
    app.router.add_get("/", hello)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "app.test", 80).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await aiohttp.web.TCPSite(runner, "app.test", 443, ssl_context=context).start()
    async with aiohttp.ClientSession() as session:
        for scheme in ("http", "https"):
            async with session.get(f"{scheme}://app.test/") as response:
                assert await response.json() == [scheme, "app.test", CLIENT_ADDRESS]
        with pytest.raises(aiohttp.ClientConnectorDNSError, match=r"nobody is called x.test in this network"):
            await session.get("http://x.test/")
    await runner.cleanup()


@in_network
async def test_websockets_serves_and_connects() -> None:
    async def repeat(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with (
        websockets.asyncio.server.serve(repeat, "ws.test", 443, ssl=context),
        websockets.asyncio.client.connect("wss://ws.test/") as client,
    ):
        assert client.remote_address == ("10.0.0.1", 443)
        for link in network().links:
            link.pieces = 1
        await client.send("one byte at a time, please")
        assert await client.recv() == "one byte at a time, please"


# --- a stream of audio, under each fault --------------------------------------------------------------------------


class App:
    """A Starlette app that echoes texts, and remembers how each WebSocket ended."""

    def __init__(self) -> None:
        self.codes: asyncio.Queue[int] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()
        self.asgi = Starlette(routes=[WebSocketRoute("/stream", self._echo)])

    async def _echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await self.reading.wait()
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect as end:
            self.codes.put_nowait(end.code)


class Caller(Echo):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def received_text(self, message: bytes) -> None:
        self.messages.put_nowait(message)


@asynccontextmanager
async def streaming(**options: Any) -> AsyncIterator[tuple[App, Caller, PicowsDuplex, Link]]:
    """picows, over the network, to Starlette under uvicorn."""
    app, caller = App(), Caller()
    async with serve(app.asgi, "app.test", 443, tls=True):
        duplex = await connect("wss://app.test/stream", caller, **options)
        (link,) = network().links
        yield app, caller, duplex, link
        app.reading.set()
        duplex.abort()
        link.reset()
        await caller.over.wait()


@in_network
async def test_messages_pass_as_they_are() -> None:
    async with streaming() as (app, caller, duplex, _):
        duplex.send_text(b"hello")
        assert await caller.messages.get() == b"hello"
        duplex.close()
        await caller.over.wait()
        assert caller.told[-1] == ("closed", 1000, "")
        assert await app.codes.get() == 1000


@in_network
async def test_frames_in_pieces_of_one_byte_are_messages_again() -> None:
    async with streaming() as (_, caller, duplex, link):
        link.pieces = 1
        for size in (1, 125, 126, 1000):
            duplex.send_text(b"x" * size)
            assert await caller.messages.get() == b"x" * size


@in_network
async def test_the_handshake_comes_in_pieces_too() -> None:
    network().pieces = 1
    async with streaming() as (_, caller, duplex, _link):
        duplex.send_text(b"hello")
        assert await caller.messages.get() == b"hello"


@in_network
async def test_latency_is_seen_by_the_stream() -> None:
    loop = asyncio.get_running_loop()
    async with streaming() as (_, caller, duplex, link):
        link.latency = 0.02
        start = loop.time()
        duplex.send_text(b"hello")
        await caller.messages.get()
        assert loop.time() >= start + 0.04


@in_network
async def test_a_reset_in_the_middle_of_a_message_ends_both_sides_with_1006() -> None:
    async with streaming() as (app, caller, duplex, link):
        link.pieces = 10
        duplex.send_text(b"x" * 1000)
        await steps()
        link.reset()
        await caller.over.wait()
        assert caller.told[-1] == ("closed", 1006, "the socket died without a close frame")
        assert await app.codes.get() in (1005, 1006)  # uvicorn's words for it


@in_network
async def test_a_link_that_vanished_is_found_out_by_pings() -> None:
    async with streaming(ping_interval=0.02) as (app, caller, duplex, link):
        duplex.send_text(b"hello")
        await caller.messages.get()
        link.vanish()
        await caller.over.wait()
        assert caller.told[-1] == ("closed", 1006, "no answer to a ping within 0.02 s")
        assert app.codes.empty()


@in_network
async def test_what_a_stalled_link_does_not_take_shows_as_unsent() -> None:
    async with streaming() as (_, caller, duplex, link):
        link.to_server.stall()
        sent = 0
        while duplex.unsent_bytes < 100_000:
            duplex.send_text(b"x" * 400)
            sent += 1
            assert sent < 1500
        link.to_server.resume()
        for _ in range(sent):
            await caller.messages.get()
        assert duplex.unsent_bytes == 0


@in_network
async def test_an_app_that_does_not_read_holds_up_its_caller() -> None:
    async with streaming(send_buffer=8192) as (app, caller, duplex, _link):
        app.reading.clear()
        sent = 0
        while duplex.unsent_bytes < 100_000:
            duplex.send_text(b"x" * 400)
            sent += 1
            assert sent < 5000
            await asyncio.sleep(0)
        app.reading.set()
        for _ in range(sent):
            await caller.messages.get()


@in_network
async def test_half_of_a_connection_can_end() -> None:
    async with listening(("app.test", 80)):
        reader, writer = await asyncio.open_connection("app.test", 80)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
