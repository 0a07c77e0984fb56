"""The seam's contract, held against both implementations over real sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from tests.runtime.receivers import Echo
from tests.serving import uvicorn_at

from bothway.errors import UsageError
from bothway.runtime import duplex as seam
from bothway.runtime.duplex import Accept, Duplex, Refusal, UpgradeRequest, check_close, over_limit
from bothway.runtime.duplex_asgi import serve_asgi
from bothway.runtime.server import Server

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


class Obedient(Echo):
    """Does what it is asked to, and sends back all else."""

    def received_text(self, message: bytes) -> None:
        if not message.endswith(b", please"):
            super().received_text(message)
            return
        self.told.append(("text", message))
        if message == b"close, please":
            self.duplex.close(3001, "as you wish")
            self.duplex.send_text(b"too late")
        elif message == b"abort, please":
            self.duplex.abort()
        else:
            raise ValueError("as you wish")


class Peer:
    """A WebSocket client that can also misbehave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def dial(cls, port: int, target: str = "/", headers: str = "") -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        peer = cls(reader, writer)
        request = (
            f"GET {target} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        )
        writer.write(request.encode("latin-1"))
        peer.head = await reader.readuntil(b"\r\n\r\n")
        return peer

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> None:
        size = len(payload)
        length = (
            bytes([0x80 | size])
            if size < 126
            else struct.pack("!BH", 0xFE, size)
            if size < 65536
            else struct.pack("!BQ", 0xFF, size)
        )
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.writer.write(bytes([fin << 7 | reserved << 4 | opcode]) + length + mask + masked)

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80, "every frame of ours is final and plain"
        size = second
        if size == 126:
            size = struct.unpack("!H", await self.reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
        return first & 15, await self.reader.readexactly(size)

    async def receive_close(self) -> tuple[int, str]:
        opcode, payload = await self.receive()
        assert opcode == CLOSE
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def leave(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass  # the other end may have reset it


@asynccontextmanager
async def over_picows(accept: Accept) -> AsyncIterator[int]:
    async def no_http(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("only upgrades are asked for")

    server = Server(no_http, accept)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(0)


@asynccontextmanager
async def over_asgi(accept: Accept) -> AsyncIterator[int]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await serve_asgi(scope, receive, send, accept)

    async with uvicorn_at(app) as port:
        yield port


Serving = Callable[[Accept], Any]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=["picows-asyncio", "picows-uvloop", "asgi-asyncio", "asgi-uvloop"])
def exchange(request: pytest.FixtureRequest) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs one client against an Echo, and gives what the Echo was told."""
    name, loop = request.param.split("-")
    serving: Serving = over_picows if name == "picows" else over_asgi

    def run(client: Callable[[Peer], Awaitable[None]], target: str = "/") -> list[tuple[Any, ...]]:
        async def main() -> list[tuple[Any, ...]]:
            echo = Obedient()
            async with asyncio.timeout(10), serving(lambda _: echo) as port:
                peer = await Peer.dial(port, target)
                await client(peer)
                await echo.over.wait()
                await peer.leave()
            return echo.told

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            return runner.run(main())

    return run


Exchange = Callable[..., list[tuple[Any, ...]]]


def test_messages_of_both_kinds_and_a_close_by_the_peer(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b'{"event":"media"}')
        assert await peer.receive() == (TEXT, b'{"event":"media"}')
        peer.send(BINARY, bytes(range(256)) * 100)
        assert await peer.receive() == (BINARY, bytes(range(256)) * 100)
        peer.send(TEXT)
        assert await peer.receive() == (TEXT, b"")
        peer.send(CLOSE, struct.pack("!H", 4000) + b"bye")
        assert await peer.receive_close() == (4000, "bye")
        assert await peer.reader.read() == b"", "the server closes TCP"

    binary = bytes(range(256)) * 100
    told = [("opened",), ("text", b'{"event":"media"}'), ("binary", binary), ("text", b""), ("closed", 4000, "bye")]
    assert exchange(client) == told


def test_fragments_are_joined_around_a_ping(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"one ", fin=False)
        peer.send(CONTINUATION, b"two ", fin=False)
        peer.send(PING, b"there?")
        assert await peer.receive() == (PONG, b"there?")
        peer.send(CONTINUATION, b"three")
        assert await peer.receive() == (TEXT, b"one two three")
        peer.send(BINARY, b"\x00", fin=False)
        peer.send(CONTINUATION, b"\x01")
        assert await peer.receive() == (BINARY, b"\x00\x01")
        peer.send(CLOSE)
        opcode, _ = await peer.receive()
        assert opcode == CLOSE

    told = [("opened",), ("text", b"one two three"), ("binary", b"\x00\x01"), ("closed", 1005, "")]
    assert exchange(client) == told


def test_the_largest_message_passes_and_one_byte_more_closes_with_1009(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"x" * 65536)
        assert await peer.receive() == (TEXT, b"x" * 65536)
        peer.send(TEXT, b"y" * 65537)
        code, _ = await peer.receive_close()
        assert code == 1009

    reason = "message of 65537 bytes is over the limit of 65536"
    assert exchange(client) == [("opened",), ("text", b"x" * 65536), ("closed", 1009, reason)]


def test_fragments_count_together(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"x" * 40_000, fin=False)
        peer.send(CONTINUATION, b"x" * 40_000)
        assert await peer.receive_close() == (1009, "message of 80000 bytes is over the limit of 65536")
        peer.send(CLOSE, struct.pack("!H", 1009))

    assert exchange(client) == [("opened",), ("closed", 1009, "message of 80000 bytes is over the limit of 65536")]


def test_a_close_from_here_waits_for_the_peer_and_lets_nothing_follow(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"close, please")
        peer.send(TEXT, b"ignored")
        assert await peer.receive_close() == (3001, "as you wish")
        peer.send(CLOSE, struct.pack("!H", 3001))
        assert await peer.reader.read() == b""

    assert exchange(client) == [("opened",), ("text", b"close, please"), ("closed", 3001, "as you wish")]


@pytest.mark.parametrize("how", ["reset", "gone"])
def test_a_socket_that_dies_is_1006(exchange: Exchange, how: str) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"hello")
        assert await peer.receive() == (TEXT, b"hello")
        if how == "reset":
            peer.reset()
        else:
            peer.writer.close()

    reason = "the socket died without a close frame"
    assert exchange(client) == [("opened",), ("text", b"hello"), ("closed", 1006, reason)]


def test_abort_drops_the_socket_without_a_close_frame(exchange: Exchange) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"abort, please")
        assert await peer.reader.read() == b""

    assert exchange(client) == [("opened",), ("text", b"abort, please"), ("closed", 1006, "aborted at this end")]


def test_a_receiver_that_raises_is_logged_once_and_closed_with_1011(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    async def client(peer: Peer) -> None:
        peer.send(TEXT, b"fail, please")
        assert await peer.receive_close() == (1011, "internal error")
        peer.send(CLOSE, struct.pack("!H", 1011))

    with caplog.at_level(logging.WARNING):
        assert exchange(client) == [("opened",), ("text", b"fail, please"), ("closed", 1011, "internal error")]
    assert [record.getMessage() for record in caplog.records] == ["Obedient raised on a message"]


@pytest.mark.parametrize(
    "frames",
    [
        [(CONTINUATION, b"of nothing", True, 0)],
        [(TEXT, b"begun", False, 0), (TEXT, b"and begun again", True, 0)],
        [(TEXT, b"compressed?", True, 4)],
        [(3, b"no such opcode", True, 0)],
        [(PING, b"fragmented", False, 0)],
    ],
    ids=["nothing to continue", "two at once", "reserved bit", "opcode", "fragmented ping"],
)
def test_what_breaks_the_protocol_closes_with_1002(
    exchange: Exchange, frames: list[tuple[int, bytes, bool, int]]
) -> None:
    async def client(peer: Peer) -> None:
        for opcode, payload, fin, reserved in frames:
            peer.send(opcode, payload, fin=fin, reserved=reserved)
        code, _ = await peer.receive_close()
        assert code == 1002
        peer.send(CLOSE, struct.pack("!H", 1002))

    told = exchange(client)
    assert [what[:2] for what in told] == [("opened",), ("closed", 1002)]


@pytest.mark.parametrize("serving", [over_picows, over_asgi])
async def test_accept_sees_the_request_as_it_was_sent(serving: Serving) -> None:
    seen: list[UpgradeRequest] = []

    def accept(request: UpgradeRequest) -> Refusal:
        seen.append(request)
        return Refusal(403, b"not you\n")

    headers = "X-Plivo-Signature-V3: abc,\r\nX-plivo-signature-v3: def\r\nX-Name: J\xf6rg\r\n"
    async with serving(accept) as port:
        peer = await Peer.dial(port, "/stream/a%20b?x=%2F&y", headers)
        assert peer.head.startswith(b"HTTP/1.1 403 ")
        assert (await peer.reader.read()).endswith(b"not you\n")
        await peer.leave()
    [request] = seen
    assert (request.path, request.query, request.target) == ("/stream/a%20b", "x=%2F&y", "/stream/a%20b?x=%2F&y")
    assert request.header("X-Plivo-Signature-V3") == "abc,, def"
    assert request.header("x-name") == "Jörg"
    assert request.header("absent") is None
    assert request.scheme == "ws"
    assert request.client is not None
    assert request.client[0] == "127.0.0.1"


@pytest.mark.parametrize("serving", [over_picows, over_asgi])
async def test_a_policy_may_refuse_in_opened(serving: Serving) -> None:
    class Refusing(Echo):
        def opened(self, duplex: Duplex) -> None:
            super().opened(duplex)
            duplex.close(1008, "no room")

    receiver = Refusing()
    async with serving(lambda _: receiver) as port:
        peer = await Peer.dial(port)
        assert peer.head.startswith(b"HTTP/1.1 101 ")
        assert await peer.receive_close() == (1008, "no room")
        peer.send(CLOSE, struct.pack("!H", 1008))
        await receiver.over.wait()
        await peer.leave()
    assert receiver.told == [("opened",), ("closed", 1008, "no room")]


@pytest.mark.parametrize("serving", [over_picows, over_asgi])
async def test_a_peer_that_never_answers_a_close_is_dropped_at_the_deadline(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("duplex_picows", "duplex_asgi"):
        monkeypatch.setattr(f"bothway.runtime.{module}.CLOSE_DEADLINE", 0.05)
    receiver = Obedient()
    async with serving(lambda _: receiver) as port:
        peer = await Peer.dial(port)
        peer.send(TEXT, b"close, please")
        async with asyncio.timeout(2):
            await receiver.over.wait()
        await peer.leave()
    assert receiver.told[-1] == ("closed", 3001, "as you wish")


@pytest.mark.parametrize("serving", [over_picows, over_asgi])
async def test_what_a_slow_reader_leaves_is_counted(serving: Serving) -> None:
    receiver = Obedient()
    async with serving(lambda _: receiver) as port:
        peer = await Peer.dial(port)
        peer.send(TEXT, b"hello")
        assert await peer.receive() == (TEXT, b"hello")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while not receiver.duplex.unsent_bytes:
            receiver.duplex.send_binary(b"\x00" * 65536)
            sent += 65536
            await asyncio.sleep(0)
            assert sent < 50_000_000
        receiver.duplex.abort()
        await receiver.over.wait()
        await peer.leave()
    receiver.duplex.send_text(b"after the end")


def test_a_close_reason_is_cut_to_a_frame() -> None:
    assert check_close(1000, "fine") == "fine"
    assert check_close(4999, "é" * 100) == "é" * 61


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(UsageError, match=f"{code} is not a code"):
        check_close(code, "")


@pytest.mark.parametrize("status", [101, 200, 302, 399, 499, 600])
def test_only_an_error_status_refuses(status: int) -> None:
    with pytest.raises(UsageError, match="cannot be refused"):
        Refusal(status)


def test_limits_are_the_documented_ones() -> None:
    assert (seam.MAX_MESSAGE, seam.CLOSE_DEADLINE, seam.PING_INTERVAL) == (65536, 5.0, 20.0)
    assert over_limit(70000, 65536) == "message of 70000 bytes is over the limit of 65536"
