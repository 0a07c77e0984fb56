"""The client of the REST benches: connections that are kept, and requests that leave when they are due.

Nothing waits for an earlier answer, so a server that falls behind is asked as often as one that does not, and what it
keeps waiting is in the figures. How late the generator itself was is told apart.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bench.machine import BenchError

MOST_CONNECTIONS = 64
"""Kept at a time: what a busy application's pool would have."""


@dataclass(frozen=True)
class Reply:
    """One answer: its status and body, and how many seconds lie between the request's first byte and its last."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body) if self.body else None


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        self._sent = 0.0
        self._received = b""
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Send a request, and give its answer."""
        assert self._transport is not None
        self._reply = self._loop.create_future()
        self._received = b""
        self._sent = time.perf_counter()
        self._transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or self._reply is None:
            return
        fields = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in fields if line.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        reply, self._reply = self._reply, None
        reply.set_result(Reply(int(head[9:12]), body, time.perf_counter() - self._sent))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(BenchError("the server closed a connection instead of answering"))

    def close(self) -> None:
        """No more requests."""
        if self._transport is not None:
            self._transport.close()


class RestClient:
    """Asks one carrier at 127.0.0.1 for one account.

    Args:
        port: Where it listens.
        auth_id: Of the account.
        auth_token: Of the account.
    """

    def __init__(self, port: int, auth_id: str, auth_token: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._free: list[_Connection] = []
        self._count = asyncio.Semaphore(MOST_CONNECTIONS)
        credentials = base64.b64encode(f"{auth_id}:{auth_token}".encode()).decode()
        self._fields = f"Host: 127.0.0.1:{port}\r\nAuthorization: Basic {credentials}\r\n"
        self._account = f"/v1/Account/{auth_id}/"

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Reply:
        """One request; `path` is seen from the account, unless it begins with a slash."""
        content = json.dumps(body).encode() if body is not None else b""
        target = path if path.startswith("/") else self._account + path
        head = f"{method} {target} HTTP/1.1\r\n{self._fields}"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        async with self._count:
            connection = await self._connection()
            reply = await connection.ask(head.encode() + b"\r\n" + content)
            self._free.append(connection)
            return reply

    async def wanted(self, status: int, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON of an answer that must have this status."""
        reply = await self.ask(method, path, body)
        if reply.status != status:
            raise BenchError(f"{method} {path} was answered {reply.status}: {reply.body[:200]!r}")
        return reply.json()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._free:
            connection.close()

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.is_open:
                return connection
        _, made = await self._loop.create_connection(lambda: _Connection(self._loop), "127.0.0.1", self._port)
        return made


@dataclass
class Latencies:
    """What was measured, in seconds: from when a request was due, and how late the generator sent it."""

    by_kind: dict[str, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)

    def add(self, kind: str, seconds: float, late: float) -> None:
        """One request."""
        self.by_kind.setdefault(kind, []).append(seconds)
        self.late.append(late)

    def figures(self) -> dict[str, Any]:
        """Milliseconds, ready to be printed as JSON."""
        everything = [one for kind in self.by_kind.values() for one in kind]
        return {
            "requests": len(everything),
            **spread(everything),
            "late_p99": spread(self.late)["p99"],
            "kinds": {kind: spread(found) for kind, found in sorted(self.by_kind.items())},
        }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles in milliseconds; none is left out."""
    ordered = sorted(seconds) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)}
