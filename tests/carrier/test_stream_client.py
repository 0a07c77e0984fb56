from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.world import ACCOUNT, Caller, Socket, World, until, world
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as Upgrade
from websockets.http11 import Response

from bothway.carrier.stream_client import RETRY_SECONDS
from bothway.core.execution import cause
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.wire.signature import verify

pytestmark = pytest.mark.virtual_time


async def outcome(w: World, url: str) -> tuple[Caller, dict[str, Any], dict[str, str]]:
    """A call whose stream goes to `url`: the caller, the record of the stream's end, and the last status callback."""
    caller = await w.call(w.stream(url=url, statusCallbackUrl=w.site.url + "/status"))
    w.check_accounted(caller, 4010)
    (ended,) = [record for record in w.log(caller) if record["event"] == "stream_ended"]
    return caller, ended, w.site.asked("/status")[-1].params


@asynccontextmanager
async def refusing(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[str, float]]]]:
    """A server that answers upgrades with these statuses in turn, and in the end takes one.

    Gives its URL, and a list of the nonces with which it was asked, and when.
    """
    asked: list[tuple[str, float]] = []

    def answer(connection: ServerConnection, request: Upgrade) -> Response | None:
        asked.append((request.headers["X-Plivo-Signature-V3-Nonce"], asyncio.get_running_loop().time()))
        if len(asked) > len(statuses):
            return None
        return connection.respond(HTTPStatus(statuses[len(asked) - 1]), "no\n")

    async def leave(connection: ServerConnection) -> None:
        await connection.close()

    async with serve(leave, "127.0.0.1", 0, process_request=answer) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}/secret-token?x=1", asked


@pytest.mark.usefixtures("both_times")
async def test_nobody_listens(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller, ended, status = await outcome(w, "ws://127.0.0.1:1/secret-token")
        assert ended["failed"]
        assert "ws://127.0.0.1:1 cannot be connected to: Connection refused (tried 3 times)" in ended["text"]
        assert "secret-token" not in str(w.log(caller))
        assert (status["Event"], status["StatusReason"]) == ("failed", "connection_failed")
        assert not caller.ran_to_end
        assert w.metric("bothway_streams_total", outcome="failed") == 1


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ((401, 401, 401), "authentication_failed"),
        ((403, 403, 403), "authentication_failed"),
        ((500, 500, 500), "connection_failed"),
        ((302, 302, 302), "connection_failed"),
        ((500, 503, 401), "authentication_failed"),
    ],
)
async def test_three_tries(tmp_path: Path, statuses: tuple[int, ...], word: str) -> None:
    async with refusing(*statuses) as (url, asked), world(tmp_path) as w:
        _, ended, status = await outcome(w, url)
        nonces, times = zip(*asked, strict=True)
        assert len(nonces) == len(set(nonces)) == 3, "each try has a nonce of its own"
        assert [time - times[0] for time in times] == pytest.approx([0, RETRY_SECONDS, 3 * RETRY_SECONDS])
        assert f"answered the upgrade with HTTP status {statuses[-1]} (tried 3 times)" in ended["text"]
        assert status["StatusReason"] == word


async def test_the_second_try_may_do_it(tmp_path: Path) -> None:
    async with refusing(503) as (url, asked), world(tmp_path) as w:
        caller, ended, status = await outcome(w, url)
        assert len(asked) == 2
        assert not ended["failed"]
        assert status["Event"] == "stopped"
        assert caller.ran_to_end


async def test_a_handshake_that_never_ends(tmp_path: Path) -> None:
    connections = 0
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()
        if connections == 3:
            gone.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, world(tmp_path) as w:
        _, ended, status = await outcome(w, f"ws://127.0.0.1:{port}/")
        assert "did not open a WebSocket within 5 s (tried 3 times)" in ended["text"]
        assert status["StatusReason"] == "connection_failed"
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_server_that_speaks_no_websocket(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        _, ended, _ = await outcome(w, w.site.url.replace("http", "ws") + "/page")
        assert ended["failed"]
        assert "HTTP status 200" in ended["text"]


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_the_upgrade(tmp_path: Path, profile: Profile) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("start")

    async with world(tmp_path, app, profile=profile) as w:
        url = w.streams.url + "/a%20b?token=x%20y&z=1"
        await w.call(w.stream(url=url))
        (socket,) = w.streams.sockets
        headers = socket.headers
        assert socket.path == "/stream/a%20b?token=x%20y&z=1"
        assert headers["User-Agent"] == "Plivo"
        assert headers["Upgrade"].lower() == "websocket"
        for name in ("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Origin"):
            assert name not in headers
        signatures = headers["X-Plivo-Signature-V3"].split(",")
        assert len(signatures) == (3 if profile is DOCUMENTED else 1)
        assert headers["X-Plivo-Signature-Ma-V3"] == headers["X-Plivo-Signature-V3"]
        nonce, rest = headers["X-Plivo-Signature-V3-Nonce"], url.partition(":")[2]
        for form in ("http", "https") if profile is DOCUMENTED else ("http",):
            assert validate_v3_signature(
                "GET", f"{form}:{rest}", nonce, ACCOUNT.auth_token, headers["X-Plivo-Signature-V3"]
            )
        forms = [form for form in ("http", "https", "ws", "wss") if verify(
            dict(headers), "GET", [f"{form}:{rest}"], None, [ACCOUNT.auth_token]
        )]  # fmt: skip
        assert forms == (["http", "https", "ws"] if profile is DOCUMENTED else ["http"])


CLOSES = [
    (1000, "bye", False, "completed", "the app closed the stream: 1000 (bye)"),
    (1001, "", False, "completed", "the app closed the stream: 1001"),
    (1008, "Signature validation failed", True, "authentication_failed", "the app refused the stream (Signature"),
    (1011, "Connection setup failed", True, "connection_failed", "the stream closed with 1011 (Connection setup"),
    (4400, "", True, "connection_failed", "the stream closed with 4400"),
]


@pytest.mark.parametrize(("code", "reason", "failed", "word", "text"), CLOSES, ids=[str(case[0]) for case in CLOSES])
async def test_close_codes(tmp_path: Path, code: int, reason: str, failed: bool, word: str, text: str) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("start")
        await socket.connection.close(code, reason)

    async with world(tmp_path, app) as w:
        caller, ended, status = await outcome(w, w.streams.url)
        assert ended["failed"] is failed
        assert ended["text"].startswith(text)
        assert status["Event"] == ("failed" if failed else "stopped")
        assert status["StatusReason"] == word
        assert caller.ran_to_end is not failed
        assert w.streams.sockets[0].close_code == code


@pytest.mark.usefixtures("both_times")
async def test_a_socket_that_dies(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 2)
        socket.connection.transport.abort()

    async with world(tmp_path, app, profile=LIVE) as w:
        _, ended, status = await outcome(w, w.streams.url)
        assert ended["failed"]
        assert "the app's socket died" in ended["text"]
        assert status["Event"] == "DroppedStream"
        assert status["Error"] == "connection disconnected with the remote service"
        assert status["ServiceURL"] == w.streams.url


async def test_a_hang_up_while_the_stream_is_being_opened(tmp_path: Path) -> None:
    opening = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opening.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, world(tmp_path) as w:
        document = w.stream(url=f"ws://127.0.0.1:{port}/", statusCallbackUrl=w.site.url + "/status")
        caller, _ = w.place(document)
        await opening.wait()
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
        assert not w.site.asked("/status"), "a stream that never was has not stopped"


async def test_what_is_queued_goes_out_before_the_socket_closes(tmp_path: Path) -> None:
    """An app that ends the call by REST right after it sent something still gets the stop, and a clean close."""
    async with world(tmp_path) as w:
        caller, call = w.place(w.stream())
        socket = await w.streams.first()
        await socket.until("media", 3)
        call.hangup(cause(4000, "API Request"))
        await w.over(caller)
        await until(socket.closed.is_set)
        assert (socket.close_code, socket.messages[-1]["event"]) == (1000, "stop")
        assert socket.messages[-1]["sequenceNumber"] == len(socket.messages)
        w.check_accounted(caller, 4000, "API Request")
