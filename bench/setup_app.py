"""The application of `bench call_setups`. Usage: python -m bench.setup_app CARRIER_PORT RATE WARM SECONDS

Places calls over REST at a steady rate, gives each its document, waits for each hangup callback, and then reads the
record of each. Prints START and END around the window, then a line of figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs

import uvloop

from bench.frame_gaps import AUTH_ID, AUTH_TOKEN
from bench.rest_client import RestClient, spread

ANSWERING_NUMBER = "15550103"
RING_SECONDS, CALL_SECONDS = 0.2, 1
"""How long the callee lets it ring, and how long the document goes on."""

PATIENCE = 30.0
"""Seconds after the last call was placed, in which its hangup callback comes or is lost."""

DOCUMENT = f'<Response><Wait length="{CALL_SECONDS}"/></Response>'.encode()
READS_AT_ONCE = 20


class Site(asyncio.Protocol):
    """The application's web server: one connection of the carrier's.

    Args:
        seen: When each request came, by its path and the call it names; a list, because each is to come once.
    """

    def __init__(self, seen: dict[tuple[str, str], list[float]]) -> None:
        self._seen = seen
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            fields = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in fields if line.startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            self._received = rest[length:]
            path = head.split(b" ", 2)[1].decode()
            self._seen.setdefault((path, parse_qs(rest[:length].decode())["CallUUID"][0]), []).append(
                time.perf_counter()
            )
            body = DOCUMENT if path == "/answer" else b""
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Setups:
    """Calls that are placed, and what becomes of them.

    Args:
        client: Asks the carrier.
        origin: Where the site is.
        seen: What the site has seen.
    """

    def __init__(self, client: RestClient, origin: str, seen: Mapping[tuple[str, str], list[float]]) -> None:
        self._client = client
        self._seen = seen
        self._body = {
            "from": "15550199", "to": ANSWERING_NUMBER,
            "answer_url": f"{origin}/answer", "hangup_url": f"{origin}/hangup",
        }  # fmt: skip
        self._due: dict[str, float] = {}
        self._taken: list[float] = []
        self._late: list[float] = []
        self._refused = 0

    async def run(self, rate: float, warm: float, seconds: float) -> dict[str, Any]:
        """Place calls at `rate`, at absolute times, and wait for all their ends."""
        start, first = time.perf_counter() + 0.1, round(warm * rate)
        async with asyncio.TaskGroup() as tasks:
            for index in range(first + round(seconds * rate)):
                due = start + index / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if index == first:
                    print("START", flush=True)
                tasks.create_task(self._place(due))
        print("END", flush=True)
        for _ in range(round(PATIENCE * 10)):
            if all(("/hangup", call) in self._seen for call in self._due):
                break
            await asyncio.sleep(0.1)
        return self._figures() | {"records": await self._records()}

    async def _place(self, due: float) -> None:
        self._late.append(time.perf_counter() - due)
        reply = await self._client.ask("POST", "Call/", self._body)
        if reply.status == 201:
            self._taken.append(time.perf_counter() - due)
            self._due[reply.json()["request_uuid"]] = due
        else:
            self._refused += 1

    def _figures(self) -> dict[str, Any]:
        answers = {call: self._seen.get(("/answer", call), []) for call in self._due}
        hangups = {call: self._seen.get(("/hangup", call), []) for call in self._due}
        whole = [call for call in self._due if answers[call] and hangups[call]]
        return {
            "placed": len(self._due),
            "refused": self._refused,
            "answered": sum(bool(found) for found in answers.values()),
            "hangups": sum(bool(found) for found in hangups.values()),
            "twice": sum(len(found) > 1 for found in (*answers.values(), *hangups.values())),
            "taken": spread(self._taken),
            "late": spread(self._late),
            "set up": spread([answers[call][0] - self._due[call] - RING_SECONDS for call in whole]),
            "told": spread([hangups[call][0] - answers[call][0] - CALL_SECONDS for call in whole]),
        }

    async def _records(self) -> int:
        """How many calls have a record that says what happened: answered, and ended with their document."""
        turns = asyncio.Semaphore(READS_AT_ONCE)

        async def is_right(call: str) -> bool:
            async with turns:
                reply = await self._client.ask("GET", f"Call/{call}/")
            if reply.status != 200:
                return False
            record = reply.json()
            return bool(record["call_state"] == "ANSWERED" and record["hangup_cause_code"] == 4010)

        return sum(await asyncio.gather(*map(is_right, self._due)))


async def main() -> None:
    seen: dict[tuple[str, str], list[float]] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Site(seen), "127.0.0.1", 0)
    client = RestClient(int(sys.argv[1]), AUTH_ID, AUTH_TOKEN)
    setups = Setups(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen)
    print("RES " + json.dumps(await setups.run(*map(float, sys.argv[2:5]))), flush=True)
    client.close()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
