"""HTTP and WebSocket on one port, over real sockets; the WebSocket's own contract is in test_duplex.py."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import uvloop

from bothway.errors import UsageError
from bothway.runtime import server as module
from bothway.runtime.duplex import Duplex, Receiver, Refusal, UpgradeRequest
from bothway.runtime.duplex_picows import PicowsProtocol, UpgradeRefusedError, connect
from bothway.runtime.server import BodyError, Server, read_body


class Notes:
    """Notes all it is told, and echoes text."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.over = asyncio.Event()
        self.heard = asyncio.Event()
        self.duplex: Duplex

    def opened(self, duplex: Duplex) -> None:
        self.duplex = duplex

    def received_text(self, message: bytes) -> None:
        self.told.append(("text", message))
        self.heard.set()

    def received_binary(self, message: bytes) -> None:
        self.told.append(("binary", message))

    def closed(self, code: int, reason: str) -> None:
        self.told.append(("closed", code, reason))
        self.over.set()


class Echo(Notes):
    def received_text(self, message: bytes) -> None:
        super().received_text(message)
        self.duplex.send_text(message)


class App:
    """A plain HTTP application with one behaviour per path."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        path = scope["path"]
        body = b""
        if path == "/echo":
            body = await read_body(receive)
        elif path == "/wait":
            self.entered.set()
            await self.go_on.wait()
            body = b"waited"
        elif path == "/fail":
            raise ValueError("as asked")
        elif path == "/huge":
            body = bytes(20_000_000)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if path == "/half":
            raise ValueError("as asked, later")
        await send({"type": "http.response.body", "body": body})


def refuse(request: UpgradeRequest) -> Refusal:
    return Refusal(404)


@asynccontextmanager
async def serving(
    accept: Callable[[UpgradeRequest], Receiver | Refusal] = refuse, app: Any = None, **options: Any
) -> AsyncIterator[Server]:
    server = Server(app or App(), accept, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


class Client:
    """Bytes to the server, and answers from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split(" ")[1]), headers, body

    async def end(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def calling(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass  # the server may have reset it


UPGRADE = (
    b"GET /stream?x=1 HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = b"\x81\x85\x00\x00\x00\x00hello"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_one_connection_posts_gets_and_upgrades(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    tls: bool,
    http: str,
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def main() -> None:
        echo = Echo()
        server_tls, client_tls = certificate if tls else (None, None)
        async with serving(lambda _: echo, http=http, ssl=server_tls) as server, calling(server, client_tls) as client:
            body = b"To=%2B15551234567&" * 3000
            client.writer.write(b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status, headers, got = await client.answer()
            assert (status, got) == (200, body)
            assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 5
            client.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await client.answer())[0] == 200
            client.writer.write(UPGRADE)
            status, headers, _ = await client.answer()
            assert (status, headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            client.writer.write(HELLO)
            assert await client.reader.readexactly(7) == b"\x81\x05hello"
            assert server.connections == 1
            client.writer.write(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
            assert await client.end() == b"\x88\x02\x03\xe8"
            await echo.over.wait()
        assert echo.told == [("text", b"hello"), ("closed", 1000, "")]
        assert server.connections == 0

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.fixture(params=["h11", "httptools"])
def http(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_nothing_of_uvicorn_stays_under_a_websocket(http: str) -> None:
    notes = Notes()
    async with serving(lambda _: notes, http=http) as server:
        client = Notes()
        await connect(server.url.replace("http", "ws"), client)
        [upgrade] = server.upgrades
        assert upgrade.transport.underlying_transport.get_protocol() is upgrade
        # Only the C methods of picows run for what arrives.
        assert not {"buffer_updated", "get_buffer"} & (vars(type(upgrade)).keys() | vars(PicowsProtocol).keys())


async def test_an_upgrade_with_its_first_frame_in_pieces(http: str) -> None:
    echo = Echo()
    async with serving(lambda _: echo, http=http) as server, calling(server) as client:
        for byte in UPGRADE:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 101
        for byte in HELLO:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await client.reader.readexactly(7) == b"\x81\x05hello"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
        (b"Version: 13", b"Version: 12"),
        (b"GET ", b"POST "),
    ],
)
async def test_a_wrong_handshake_is_400_and_leaves_nothing_behind(http: str, old: bytes, new: bytes) -> None:
    async with serving(lambda _: Notes(), http=http) as server, calling(server) as client:
        client.writer.write(UPGRADE.replace(old, new))
        assert (await client.answer())[0] == 400
        await client.end()
        await asyncio.sleep(0)
        assert server.connections == 0


async def test_an_accept_that_raises_is_500_and_tells_nothing(http: str, caplog: pytest.LogCaptureFixture) -> None:
    def accept(request: UpgradeRequest) -> Receiver:
        raise ValueError("a secret")

    async with serving(accept, http=http) as server:
        with pytest.raises(UpgradeRefusedError, match="status 500"):
            await connect(server.url.replace("http", "ws"), Notes())
    assert [record.getMessage() for record in caplog.records] == ["accept failed"]


async def test_an_application_that_raises_is_500_once(http: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(http=http) as server, calling(server) as client:
        client.writer.write(b"GET /fail HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await client.answer())[0::2] == (500, b"internal server error\n")
    assert [record.getMessage() for record in caplog.records] == ["the application failed at GET /fail"]


async def test_an_application_that_raises_in_its_answer_is_cut_off(http: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(http=http) as server, calling(server) as client:
        client.writer.write(b"GET /half HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await client.answer())[0] == 200
        assert await client.end() == b""
    assert len(caplog.records) == 1


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_body_over_the_limit_is_413(http: str, chunked: bool) -> None:
    async with serving(http=http) as server, calling(server) as client:
        head = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 2000000"
        client.writer.write(b"POST /echo HTTP/1.1\r\nHost: here\r\n" + head + b"\r\n\r\n")
        for _ in range(20):
            client.writer.write(b"186a0\r\n" + b"x" * 100_000 + b"\r\n" if chunked else b"x" * 100_000)
            await asyncio.sleep(0)
        status, _, body = await client.answer()
        assert status == 413
        assert body.endswith(b"is over the limit of 1048576\n")


async def test_a_body_that_does_not_end_is_408() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive, deadline=0.05)

    async with serving(app=app) as server, calling(server) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.answer())[0::2] == (408, b"3 bytes of the body came within 0.05 s, and not its end\n")


async def test_a_client_that_leaves_inside_its_body() -> None:
    failed: asyncio.Future[BodyError] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await read_body(receive)
        except BodyError as error:
            failed.set_result(error)
            raise

    async with serving(app=app) as server:
        async with calling(server) as client:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc")
        assert (await failed).status == 400


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"hello?\r\n\r\n"])
async def test_garbage_is_400_and_no_news(http: str, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(http=http) as server, calling(server) as client:
            client.writer.write(garbage)
            assert (await client.end()).startswith(b"HTTP/1.1 400")
    assert caplog.records == []


async def test_garbage_behind_a_request_ends_the_connection(http: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    async with serving(http=http, app=app) as server, calling(server) as client:
        client.writer.write(b"POST /wait HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        await app.entered.wait()
        client.writer.write(b"no size\r\n")
        assert await client.end() == b""
        app.go_on.set()
    assert caplog.records == []


async def test_a_head_without_end_is_431(http: str) -> None:
    async with serving(http=http) as server, calling(server) as client:
        client.writer.write(b"GET / HTTP/1.1\r\n")
        for i in range(80):
            client.writer.write(b"X-%d: " % i + b"x" * 1000 + b"\r\n")
            await asyncio.sleep(0)
        assert (await client.end()).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))  # h11 says 400


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: he"], ids=["silent", "half a head"])
async def test_a_head_that_takes_too_long_ends_the_connection(http: str, first: bytes) -> None:
    async with serving(http=http, header_timeout=0.05) as server, calling(server) as client:
        client.writer.write(first)
        async with asyncio.timeout(2):
            assert await client.end() == b""


async def test_a_slow_head_is_found_on_a_kept_connection_too(http: str) -> None:
    async with serving(http=http, header_timeout=0.05) as server, calling(server) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await client.answer())[0] == 200
        await asyncio.sleep(0.1)
        client.writer.write(b"GET / HTTP/1.1\r\n")  # idle between requests is no offence; this begins one
        async with asyncio.timeout(2):
            assert await client.end() == b""


async def test_an_idle_connection_is_given_up(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE", 0.05)
    async with serving(http=http) as server, calling(server) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await client.answer())[0] == 200
        async with asyncio.timeout(2):
            assert await client.end() == b""


async def test_a_websocket_outlives_the_header_timeout(http: str) -> None:
    notes = Notes()
    async with serving(lambda _: notes, http=http, header_timeout=0.05) as server, calling(server) as client:
        client.writer.write(UPGRADE)
        assert (await client.answer())[0] == 101
        await asyncio.sleep(0.1)
        client.writer.write(HELLO)
        await notes.heard.wait()


async def test_an_answer_that_nobody_reads_ends_the_connection(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_DEADLINE", 0.05)
    async with serving(http=http) as server, calling(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(b"GET /huge HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.sleep(0.02)
        assert server.connections == 1
        await asyncio.sleep(0.1)
        assert server.connections == 0


async def test_too_many_connections_are_503(http: str) -> None:
    notes = Notes()
    async with serving(lambda _: notes, http=http, max_connections=2) as server, calling(server) as first:
        first.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await first.answer())[0] == 200
        async with calling(server) as second:
            second.writer.write(UPGRADE)
            assert (await second.answer())[0] == 101
            async with calling(server) as third:
                assert (await third.answer())[0] == 503
                assert await third.end() == b""
            await asyncio.sleep(0.02)
            assert server.connections == 2


async def test_stop_lets_a_request_end_and_takes_no_more(http: str) -> None:
    app = App()
    server = Server(app, refuse, http=http)
    await server.start()
    async with calling(server) as idle, calling(server) as client:
        idle.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await idle.answer())[0] == 200
        client.writer.write(b"GET /wait HTTP/1.1\r\nHost: here\r\n\r\n")
        await app.entered.wait()
        stopping = asyncio.create_task(server.stop(5))
        assert await idle.end() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        app.go_on.set()
        assert (await client.answer())[0::2] == (200, b"waited")
        assert await client.end() == b""
        await stopping


async def test_stop_closes_websockets_with_1001_after_the_grace(http: str) -> None:
    notes, client = Notes(), Notes()
    server = Server(App(), lambda _: notes, http=http)
    await server.start()
    duplex = await connect(server.url.replace("http", "ws"), client)
    stopping = asyncio.create_task(server.stop(0.05))
    await asyncio.sleep(0.01)
    duplex.send_text(b"still here")
    await notes.heard.wait()
    await stopping
    assert notes.told == [("text", b"still here"), ("closed", 1001, "the server is stopping")]
    await client.over.wait()
    assert client.told == [("closed", 1001, "the server is stopping")]


async def test_stop_answers_503_for_a_request_that_will_not_end(http: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    server = Server(app, refuse, http=http)
    await server.start()
    async with calling(server) as client:
        client.writer.write(b"GET /wait HTTP/1.1\r\nHost: here\r\n\r\n")
        await app.entered.wait()
        async with asyncio.timeout(2):
            await server.stop(0)
        assert (await client.answer())[0] == 503
    assert caplog.records == []


async def test_stop_drops_a_websocket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothway.runtime.duplex_picows.CLOSE_DEADLINE", 0.05)
    notes = Notes()
    server = Server(App(), lambda _: notes)
    await server.start()
    async with calling(server) as client:
        client.writer.write(UPGRADE)
        assert (await client.answer())[0] == 101
        async with asyncio.timeout(2):
            await server.stop(0)
    assert notes.told == [("closed", 1001, "the server is stopping")]


async def test_stop_without_connections_is_immediate() -> None:
    async with asyncio.timeout(1):
        async with serving() as server:
            assert server.port
        await Server(App(), refuse).stop(10)


async def test_a_port_that_is_taken() -> None:
    async with serving() as server:
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1:{server.port}: "):
            await Server(App(), refuse, port=server.port).start()
        with pytest.raises(UsageError, match="once"):
            await server.start()


async def test_several_processes_may_share_a_port() -> None:
    async with serving(reuse_port=True) as server, serving(reuse_port=True, port=server.port) as other:
        assert server.url == other.url == f"http://127.0.0.1:{server.port}"


def test_an_http_that_does_not_exist() -> None:
    async def main() -> None:
        Server(App(), refuse, http="h3")

    with pytest.raises(UsageError, match="'h3' is not available"):
        asyncio.run(main())
