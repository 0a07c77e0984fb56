"""The load generator of `bench rest_load`.

Usage: python -m bench.rest_asker PORT CALLS RATE WARM SECONDS KIND STREAM_URL

Waits until that many calls live, and asks so many requests a second. KIND is `health`, which the carrier answers
without a look at anything, or `mix`: calls that live and have ended, lists of both, an application, streams started and
stopped. Prints START and END around the window, then a line of figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle

import uvloop

from bench.frame_gaps import AUTH_ID, AUTH_TOKEN, BUSY_NUMBER
from bench.machine import BenchError
from bench.rest_client import Latencies, Reply, RestClient

MIX = (
    "live call", "ended call", "stream start", "live list", "live call",
    "ended call", "stream stop", "live call", "application", "ended list",
    "live call", "ended call", "stream start", "live call", "application",
    "ended call", "stream stop", "live list", "ended call", "ended list",
)  # fmt: skip
"""One round of requests."""

ENDED_CALLS = 50
PATIENCE = 60.0
"""Seconds after which what is waited for will not come."""


class Mix:
    """The requests of an application that watches its calls.

    Args:
        client: Asks.
        stream_url: Where streams are sent that are started.
    """

    def __init__(self, client: RestClient, stream_url: str) -> None:
        self._client = client
        self._stream_url = stream_url
        self._streams: deque[str] = deque()
        self.asks: dict[str, Callable[[], Awaitable[Reply]]] = {}

    async def prepare(self, live: Sequence[str]) -> None:
        """Make calls that end at once, beside those that live."""
        client = self._client
        body = {"from": "15550199", "to": BUSY_NUMBER, "answer_url": "http://127.0.0.1:9/never"}
        placed = [(await client.wanted(201, "POST", "Call/", body))["request_uuid"] for _ in range(ENDED_CALLS)]
        (application, *_) = (await client.wanted(200, "GET", "Application/"))["objects"]
        some, ended = cycle(live), cycle(placed)
        for call in placed:
            await self._until(f"Call/{call}/")
        self.asks = {
            "live call": lambda: client.ask("GET", f"Call/{next(some)}/?status=live"),
            "live list": lambda: client.ask("GET", "Call/?status=live"),
            "ended call": lambda: client.ask("GET", f"Call/{next(ended)}/"),
            "ended list": lambda: client.ask("GET", "Call/?limit=20"),
            "application": lambda: client.ask("GET", f"Application/{application['app_id']}/"),
            "stream start": lambda: self._start(next(some)),
            "stream stop": self._stop,
        }

    async def _until(self, path: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self._client.ask("GET", path)).status != 200:  # noqa: ASYNC110 - the answer is in another process
                await asyncio.sleep(0.1)

    async def _start(self, call: str) -> Reply:
        body = {"service_url": self._stream_url, "audio_track": "inbound"}
        reply = await self._client.ask("POST", f"Call/{call}/Stream/", body)
        if reply.status == 202:
            self._streams.append(f"Call/{call}/Stream/{reply.json()['stream_id']}/")
        return reply

    async def _stop(self) -> Reply:
        if not self._streams:  # the first start is still under way
            return await self.asks["live call"]()
        return await self._client.ask("DELETE", self._streams.popleft())


async def live_calls(client: RestClient, count: int) -> list[str]:
    """The calls that live, once there are that many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found: list[str] = []
            while page := (await client.wanted(200, "GET", f"Call/?status=live&limit=20&offset={len(found)}"))["calls"]:
                found += page
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)


async def main() -> None:
    port, calls, rate, warm, seconds = int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:6])
    client = RestClient(port, AUTH_ID, AUTH_TOKEN)
    live = await live_calls(client, calls)
    kinds: tuple[str, ...] = ("health",)
    asks: dict[str, Callable[[], Awaitable[Reply]]] = {"health": lambda: client.ask("GET", "/healthz")}
    if sys.argv[6] == "mix":
        mix = Mix(client, sys.argv[7])
        await mix.prepare(live)
        kinds, asks = MIX, mix.asks
    figures = await paced(kinds, asks, rate, warm, seconds)
    client.close()
    print("RES " + json.dumps(figures), flush=True)


async def paced(
    kinds: tuple[str, ...], asks: dict[str, Callable[[], Awaitable[Reply]]], rate: float, warm: float, seconds: float
) -> dict[str, object]:
    """Ask at `rate`, at absolute times; what was due in the last `seconds` counts."""
    now = time.perf_counter  # uvloop's own clock counts whole milliseconds
    measured, refused = Latencies(), deque[str](maxlen=5)
    errors = 0

    async def one(kind: str, due: float, counts: bool) -> None:
        nonlocal errors
        late = now() - due
        reply = await asks[kind]()
        if reply.status >= 300:
            errors += 1
            refused.append(f"{kind}: {reply.status} {reply.body[:120]!r}")
        elif counts:
            measured.add(kind, now() - due, late)

    start, first = now() + 0.1, round(warm * rate)
    async with asyncio.TaskGroup() as tasks:
        for index in range(first + round(seconds * rate)):
            due = start + index / rate
            await asyncio.sleep(max(0.0, due - now()))
            if index == first:
                print("START", flush=True)
            tasks.create_task(one(kinds[index % len(kinds)], due, index >= first))
    print("END", flush=True)
    if errors * 100 > len(measured.late):
        raise BenchError(f"{errors} requests were refused, among them {list(refused)}")
    return {**measured.figures(), "errors": errors, "refused": list(refused)}


if __name__ == "__main__":
    uvloop.run(main())
