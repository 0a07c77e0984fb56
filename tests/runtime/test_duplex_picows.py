"""The client side, and what only picows' duplex does: pings. The contract that it shares is in test_duplex.py."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
import websockets.asyncio.server
from picows import WSListener, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from bothway.errors import PeerError, UsageError
from bothway.runtime.duplex import Duplex, Receiver, Refusal, UpgradeRequest
from bothway.runtime.duplex_picows import (
    ConnectTimeoutError,
    TlsError,
    UnreachableError,
    UpgradeRefusedError,
    connect,
)
from bothway.runtime.server import Server


class Notes:
    """Notes all it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.over = asyncio.Event()
        self.duplex: Duplex

    def opened(self, duplex: Duplex) -> None:
        self.duplex = duplex
        self.told.append(("opened",))

    def received_text(self, message: bytes) -> None:
        self.messages.put_nowait(message)

    received_binary = received_text

    def closed(self, code: int, reason: str) -> None:
        self.told.append(("closed", code, reason))
        self.over.set()


class Echo(Notes):
    """Sends back what comes."""

    def received_text(self, message: bytes) -> None:
        if message == b"close, please":
            self.duplex.close(4001, "as you wish")
        else:
            self.duplex.send_text(message)

    def received_binary(self, message: bytes) -> None:
        self.duplex.send_binary(message)


async def no_http(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("only upgrades are asked for")


@asynccontextmanager
async def serving(accept: Callable[[UpgradeRequest], Receiver | Refusal], **options: Any) -> AsyncIterator[Server]:
    server = Server(no_http, accept, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def answering(answer: bytes, *, then_close: bool = False) -> AsyncIterator[str]:
    """A TCP server that reads a request and says `answer`."""
    leave = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not then_close:
            await leave.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/call/token-in-the-path"
    finally:
        leave.set()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


def ws(server: Server) -> str:
    return server.url.replace("http", "ws", 1)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_both_ends_of_ours(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    tls: bool,
    http: str,
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def main() -> None:
        echo, notes = Echo(), Notes()
        seen: list[UpgradeRequest] = []

        def accept(request: UpgradeRequest) -> Receiver:
            seen.append(request)
            return echo

        async with asyncio.timeout(5), serving(accept, ssl=certificate[0] if tls else None, http=http) as server:
            duplex = await connect(
                f"{ws(server)}/a%20b?x=1", notes, headers=[("X-Name", "value")], ssl=certificate[1] if tls else None
            )
            for message in (b"hello", b"x" * 65536, b""):
                duplex.send_text(message)
                assert await notes.messages.get() == message
            duplex.send_binary(bytes(range(256)))
            assert await notes.messages.get() == bytes(range(256))
            assert duplex.unsent_bytes == 0
            duplex.close(3000, "done")
            duplex.send_text(b"too late")
            await notes.over.wait()
            await echo.over.wait()
        assert notes.told == echo.told == [("opened",), ("closed", 3000, "done")]
        [request] = seen
        assert (request.target, request.header("x-name")) == ("/a%20b?x=1", "value")
        assert request.scheme == ("wss" if tls else "ws")
        assert request.header("sec-websocket-extensions") is None
        assert request.header("sec-websocket-protocol") is None

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def test_the_server_closes() -> None:
    echo, notes = Echo(), Notes()
    async with serving(lambda _: echo) as server:
        duplex = await connect(ws(server), notes)
        duplex.send_text(b"close, please")
        await notes.over.wait()
        await echo.over.wait()
    assert notes.told == echo.told == [("opened",), ("closed", 4001, "as you wish")]


async def test_an_independent_server() -> None:
    async def talk(peer: websockets.asyncio.server.ServerConnection) -> None:
        await peer.send(["in ", "two parts"])
        async for message in peer:
            await peer.send(message)
        await peer.wait_closed()

    notes = Notes()
    async with websockets.asyncio.server.serve(talk, "127.0.0.1", 0) as server:
        duplex = await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", notes)
        assert await notes.messages.get() == b"in two parts"
        duplex.send_text("größer".encode())
        assert await notes.messages.get() == "größer".encode()
        duplex.close(1000, "bye")
        await notes.over.wait()
    assert notes.told == [("opened",), ("closed", 1000, "bye")]


async def test_a_refusal_is_told_without_the_path() -> None:
    async with serving(lambda _: Refusal(403, b"wrong signature")) as server:
        with pytest.raises(UpgradeRefusedError, match=f"^ws://127.0.0.1:{server.port} .* HTTP status 403$") as refused:
            await connect(f"{ws(server)}/secret-token", Notes())
    assert refused.value.status == 403
    assert isinstance(refused.value, PeerError)


@pytest.mark.parametrize("status", [302, 404, 499, 503])
async def test_any_other_status_is_told_and_no_redirect_followed(status: int) -> None:
    answer = b"HTTP/1.1 %d So\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" % status
    async with answering(answer) as url:
        with pytest.raises(UpgradeRefusedError, match=f"HTTP status {status}$") as refused:
            await connect(url, Notes())
    assert "token" not in str(refused.value)


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n\r\n", ACCEPTED + b"Sec-WebSocket-Accept: wrong\r\n\r\n"], ids=["ssh", "wrong key"]
)
async def test_what_is_no_websocket_is_unreachable(answer: bytes) -> None:
    notes = Notes()
    async with answering(answer) as url:
        with pytest.raises(UnreachableError, match="broke the WebSocket handshake"):
            await connect(url, notes)
    assert notes.told == []


async def test_an_extension_that_was_not_offered_is_refused() -> None:
    def factory(request: Any) -> Any:
        response = WSUpgradeResponse.create_101_response([("Sec-WebSocket-Extensions", "permessage-deflate")])
        return WSUpgradeResponseWithListener(response, WSListener())

    server = await ws_create_server(factory, "127.0.0.1", 0)
    with pytest.raises(UnreachableError, match="none was offered"):
        await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Notes())
    server.close()


async def test_a_server_that_hangs_up_instead_of_answering() -> None:
    async with answering(b"", then_close=True) as url:
        with pytest.raises(UnreachableError, match="instead of answering"):
            await connect(url, Notes())


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(UnreachableError, match=rf"^ws://127.0.0.1:{port} cannot be connected to: "):
        await connect(f"ws://127.0.0.1:{port}/", Notes())


async def test_an_unknown_name() -> None:
    with pytest.raises(UnreachableError, match=r"^ws://nowhere\.invalid: its name was not found"):
        await connect("ws://nowhere.invalid/", Notes())


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async with answering(b"HTTP/1.1 101 Swit") as url:
        with pytest.raises(ConnectTimeoutError, match=r"did not open a WebSocket within 0\.05 s$"):
            await connect(url, Notes(), timeout=0.05)


async def test_connect_can_be_cancelled() -> None:
    async with answering(b"") as url:
        task = asyncio.create_task(connect(url, Notes()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_certificate_that_is_not_trusted(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(lambda _: Echo(), ssl=certificate[0]) as server:
        with pytest.raises(TlsError, match=r"(?i)certificate_verify_failed"):
            await connect(ws(server), Notes())
        with pytest.raises(TlsError, match=r"(?i)localhost.*certificate_verify_failed"):
            await connect(ws(server).replace("127.0.0.1", "localhost"), Notes(), ssl=certificate[1])
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        await asyncio.sleep(0.02)
    assert caplog.records == [], "a port scan is no news"


async def test_tls_to_a_server_without_tls(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(lambda _: Echo()) as server:
        with pytest.raises(PeerError):
            await connect(ws(server).replace("ws", "wss"), Notes(), ssl=certificate[1])


async def test_an_address_is_checked_before_it_is_connected_to() -> None:
    checked: list[str] = []

    def refuse(address: str) -> None:
        checked.append(address)
        raise UsageError(f"{address} is private")

    def never(request: UpgradeRequest) -> Receiver:
        raise AssertionError("it must not come to this")

    async with serving(never) as server:
        with pytest.raises(UsageError, match=r"127\.0\.0\.1 is private"):
            await connect(ws(server), Notes(), check_address=refuse)
    assert checked == ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        "http://here/",
        "wss:///path",
        "ws://user:pass@here/",
        "ws://here/#part",
        "ws://here:99999/",
        "ws://[::1/",
        "here",
    ],
)
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="a WebSocket URL"):
        await connect(url, Notes())


async def test_a_url_outside_of_ascii_is_encoded() -> None:
    seen: list[str] = []

    def accept(request: UpgradeRequest) -> Refusal:
        seen.append(request.target)
        return Refusal(404)

    async with serving(accept) as server:
        with pytest.raises(UpgradeRefusedError):
            await connect(f"{ws(server)}/grüße now?für=a b&c=%2F", Notes())
    assert seen == ["/gr%C3%BC%C3%9Fe%20now?f%C3%BCr=a%20b&c=%2F"]


@pytest.mark.parametrize("header", [("X-A", "a\r\nX-B: b"), ("X A", "a"), ("", "a"), ("X:", "a"), ("X-A", "\x00")])
async def test_a_header_cannot_smuggle_another(header: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        await connect("ws://127.0.0.1:1/", Notes(), headers=[header])


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_small_send_buffer_shows_a_slow_reader_soon(
    tls: bool, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server_tls, client_tls = certificate if tls else (None, None)
    async with answering_picows(reading=False, ssl=server_tls) as url:
        notes = Notes()
        duplex = await connect(url, notes, send_buffer=8192, ssl=client_tls)
        sent = 0
        while duplex.unsent_bytes < 100_000:
            duplex.send_text(b"x" * 1000)
            sent += 1000
            assert sent < 6_000_000
        duplex.abort()
        await notes.over.wait()
    assert notes.told == [("opened",), ("closed", 1006, "aborted at this end")]


@asynccontextmanager
async def answering_picows(*, reading: bool, **options: Any) -> AsyncIterator[str]:
    """A server that opens WebSockets and then neither sends nor, unless `reading`, reads: half open, or nearly."""
    made: list[Any] = []

    class Silent(Notes):
        def opened(self, duplex: Duplex) -> None:
            super().opened(duplex)
            made.append(duplex)
            if not reading:
                transport: Any = duplex._transport.underlying_transport  # type: ignore[attr-defined]
                transport.pause_reading()

    async with serving(lambda _: Silent(), **options) as server:
        yield ws(server)
        for duplex in made:
            duplex.abort()


async def test_a_peer_that_answers_pings_stays() -> None:
    async with answering_picows(reading=True) as url:
        notes = Notes()
        duplex = await connect(url, notes, ping_interval=0.02)
        await asyncio.sleep(0.15)
        assert notes.told == [("opened",)]
        duplex.abort()
        await notes.over.wait()


async def test_a_half_open_socket_dies() -> None:
    async with asyncio.timeout(2), answering_picows(reading=False) as url:
        notes = Notes()
        await connect(url, notes, ping_interval=0.02)
        await notes.over.wait()
    assert notes.told == [("opened",), ("closed", 1006, "no answer to a ping within 0.02 s")]


async def test_a_peer_behind_a_backlog_gets_longer_and_dies_too() -> None:
    async with asyncio.timeout(2), answering_picows(reading=False) as url:
        notes = Notes()
        duplex = await connect(url, notes, ping_interval=0.02, send_buffer=8192)
        while duplex.unsent_bytes < 1_000_000:
            duplex.send_text(b"x" * 10_000)
        await notes.over.wait()
    assert notes.told == [("opened",), ("closed", 1006, "no answer to a ping within 0.06 s")]


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (
            b"\x82\x7f" + (10**12).to_bytes(8, "big"),
            (1009, "message of 1000000000000 bytes is over the limit of 65536"),
        ),
        (b"\x81\x85mask12345", (1002, None)),
        (b"\x88\x02\x03\xed", (1002, None)),
        (b"\x88\x04\x0f\xa0\xff\xff", (1007, None)),
    ],
    ids=["a terabyte", "masked", "close 1005", "reason not UTF-8"],
)
async def test_what_the_parser_refuses_is_told_and_nothing_is_left_to_asyncio(
    frame: bytes, verdict: tuple[int, str | None]
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    async def talk(peer: websockets.asyncio.server.ServerConnection) -> None:
        peer.transport.write(frame)
        await peer.wait_closed()

    notes = Notes()
    async with asyncio.timeout(2), websockets.asyncio.server.serve(talk, "127.0.0.1", 0) as server:
        await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", notes)
        await notes.over.wait()
        await asyncio.sleep(0.02)
    gc.collect()
    code, reason = verdict
    [_, told] = notes.told
    assert told[:2] == ("closed", code)
    assert reason is None or told[2] == reason
    assert complaints == []


async def test_a_frame_too_large_is_not_delivered_when_the_rest_comes_at_once() -> None:
    async def talk(peer: websockets.asyncio.server.ServerConnection) -> None:
        peer.transport.write(b"\x82\x7f" + (70_000).to_bytes(8, "big"))
        await asyncio.sleep(0.002)
        peer.transport.write(bytes(70_000))
        await peer.wait_closed()

    notes = Notes()
    async with asyncio.timeout(2), websockets.asyncio.server.serve(talk, "127.0.0.1", 0) as server:
        await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", notes)
        await notes.over.wait()
    assert notes.messages.empty()
    assert notes.told == [("opened",), ("closed", 1009, "message of 70000 bytes is over the limit of 65536")]
