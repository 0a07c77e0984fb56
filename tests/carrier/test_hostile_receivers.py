"""Callback receivers that do what they should not: calls end accounted for, and nobody else waits."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.carrier.world import World, page, until, world

from bothway.carrier.webhook_client import MAX_BODY
from bothway.runtime.http import HttpClient

pytestmark = pytest.mark.virtual_time

Does: TypeAlias = Callable[["Receiver", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DOCUMENT = "<Response><Wait length='1'/><Hangup/></Response>"


class Receiver:
    """A server that takes whole requests, and then misbehaves."""

    def __init__(self, does: Does) -> None:
        self.does = does
        self.url = ""
        self.asked = 0
        self.sent = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            self.asked += 1
            await self.does(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the carrier has had enough
        finally:
            self._tasks.discard(task)
            writer.close()


async def hangs(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def resets(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def breaks_off(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")


async def talks_nonsense(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff\x16\x03 SSH-2.0 who are you?\r\n" * 100)
    await writer.drain()


async def sends_headers_for_ever(self: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await flood(self, writer, b"X-More: " + b"y" * 1000 + b"\r\n")


async def sends_a_body_for_ever(self: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await flood(self, writer, b"z" * 16384)


async def sends_chunks_for_ever(self: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await flood(self, writer, b"4000\r\n" + b"z" * 16384 + b"\r\n")


async def flood(self: Receiver, writer: asyncio.StreamWriter, piece: bytes) -> None:
    while self.sent < 1 << 30:
        writer.write(piece)
        self.sent += len(piece)
        await writer.drain()
        await asyncio.sleep(0.001)


async def drips(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(10)


def redirects_to(url: str) -> Does:
    async def redirects(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(page(b"", "307 Elsewhere", f"Location: {url}"))
        await writer.drain()

    return redirects


@asynccontextmanager
async def receiver(does: Does) -> AsyncIterator[Receiver]:
    found = Receiver(does)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    found.url = f"http://{host}:{port}/hangup"
    try:
        yield found
    finally:
        server.close()
        for task in found._tasks:
            task.cancel()
        await asyncio.gather(*found._tasks, return_exceptions=True)


async def waiting(w: World) -> int:
    assert w.carrier._store is not None
    return await w.carrier._store.outbox.waiting()


@pytest.mark.parametrize(
    "does",
    [hangs, resets, breaks_off, talks_nonsense, sends_headers_for_ever, sends_a_body_for_ever, sends_chunks_for_ever,
     drips],
)  # fmt: skip
async def test_a_receiver_that_does_no_http(tmp_path: Path, does: Does) -> None:
    async with receiver(does) as bad, world(tmp_path) as w:
        loop = asyncio.get_running_loop()
        hostile, _ = w.place(page(DOCUMENT), hangup_url=bad.url)
        good, _ = w.place(page(DOCUMENT))
        began = loop.time()
        await w.over(good)
        assert loop.time() - began < 2, "another call's callbacks do not wait"
        assert [request.params["CallUUID"] for request in w.site.asked("/hangup")] == [good.call_id]
        await until(lambda: hostile.call_id not in w.carrier.calls, 130)
        assert hostile.cause is not None
        assert hostile.cause.code == 4000
        assert w.carrier._store is not None
        record = await w.carrier._store.calls.get(hostile.call_id)
        assert record is not None
        assert (record.state, record.hangup_cause_code) == ("completed", 4000)
        (failed,) = [record for record in hostile.events("callback") if record["kind"] == "hangup"]
        assert bad.url in str(failed["error"])
        assert 1 <= bad.asked <= 2
        assert bad.sent < 2 * (MAX_BODY + (1 << 20)), "what comes for ever is not read for ever"
        assert await waiting(w) == 1, "it may do better later"
        bad.does = redirects_to(w.site.url + "/later")
        await until(lambda: w.site.asked("/later"), 200)
        assert w.site.asked("/later")[0].params["CallUUID"] == hostile.call_id


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "127.0.0.2", "[::1]"])
async def test_a_receiver_that_redirects_into_a_private_network(tmp_path: Path, host: str) -> None:
    async with (
        receiver(redirects_to(f"http://{host}:80/steal")) as bad,
        HttpClient(allow_networks=["127.0.0.1/32"]) as http,
        world(tmp_path, allow_private=False, http=http) as w,
    ):
        caller = await w.call(page(DOCUMENT), hangup_url=bad.url)
        (failed,) = [record for record in caller.events("callback") if record["kind"] == "hangup"]
        assert "in a private network" in str(failed["error"])
        assert await waiting(w) == 0, "nor would it be allowed later"
        assert bad.asked == 1


async def test_many_calls_to_a_receiver_that_sends_for_ever_share_a_bounded_memory(tmp_path: Path) -> None:
    count = 30
    async with receiver(sends_a_body_for_ever) as bad, world(tmp_path) as w:
        await w.call(page(DOCUMENT))
        tracemalloc.start()
        try:
            callers = [w.place(page(DOCUMENT), hangup_url=bad.url)[0] for _ in range(count)]
            for caller in callers:
                await until(lambda caller=caller: caller.call_id not in w.carrier.calls, 130)  # type: ignore[misc]
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert bad.asked == count
        assert most < count * (2 * MAX_BODY), f"{most / count / 1e6:.1f} MB a call"
