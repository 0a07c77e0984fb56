"""Calls in batches, in virtual time, and what is left of them. Usage: python -m bench.call_rounds BATCHES CALLS

Every call fetches its document, streams for two seconds to an app that says nothing, is hung up by its caller, and has
its records and its hangup callback. When the last call of a batch is accounted for, prints a line of figures: the
process's memory in KB, and the objects that the garbage collector tracks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.machine import resident_kb
from bothway.audio.format import MULAW_8K
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Application
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.script import Hear, Rules, Script
from bothway.carrier.scripted_caller import ScriptedCaller
from bothway.runtime.duplex import CloseCode, Duplex, Receiver
from bothway.runtime.http import FetchPolicy, HttpResponse, Sign
from bothway.testing.virtual_loop import run

DOCUMENT = b'<Response><Stream bidirectional="true" keepCallAlive="true">ws://app.test/stream</Stream></Response>'
CALL_MS = 2000


class Site:
    """The application: it has one document, and is told of the ends of calls."""

    def __init__(self) -> None:
        self.hangups = 0

    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        policy: FetchPolicy,
        max_body: int,
        sign: Sign | None = None,
    ) -> HttpResponse:
        assert sign is not None, "whatever the carrier asks an application, it signs"
        sign(method, url, form or {})
        self.hangups += url.endswith("/hangup")
        return HttpResponse(200, {}, DOCUMENT if url.endswith("/answer") else b"", url)


class Mute:
    """The socket to an app that says nothing. It is a `Duplex`."""

    unsent_bytes = 0

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def send_text(self, message: bytes) -> None:
        pass

    def send_binary(self, message: bytes) -> None:
        pass

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        asyncio.get_running_loop().call_soon(self._receiver.closed, code, reason)

    def abort(self) -> None:
        self.close(CloseCode.DIED)


async def connect(
    url: str,
    receiver: Receiver,
    *,
    headers: Iterable[tuple[str, str]],
    timeout: float,  # noqa: ASYNC109 - as `Connect` has it
    check_address: Callable[[str], None] | None,
    send_buffer: int | None,
) -> Duplex:
    """Open such a socket."""
    duplex = Mute(receiver)
    receiver.opened(duplex)
    return duplex


async def main(batches: int, calls: int) -> None:
    site = Site()
    script = Script((Hear("hang_up", within_ms=CALL_MS),), Rules(3_600_000), on_timeout="continue")
    application = Application("bench", "http://app.test/answer", hangup_url="http://app.test/hangup")
    with tempfile.TemporaryDirectory() as folder:
        async with Carrier(host=None, data=Path(folder), allow_private=True, http=site, connect=connect) as carrier:
            for batch in range(batches):
                for _ in range(calls):
                    leg = ScriptedLeg(ScriptedCaller(script, MULAW_8K, {}))
                    carrier.place(leg, from_="15550100", to="15550101", application=application)
                    await asyncio.sleep(0.005)
                while carrier.calls:  # noqa: ASYNC110 - they go one by one
                    await asyncio.sleep(0.1)
                await asyncio.sleep(5.0)
                gc.collect()
                figures = {
                    "calls": (batch + 1) * calls,
                    "hangups": site.hangups,
                    "resident_kb": resident_kb(),
                    "objects": len(gc.get_objects()),
                }
                print("BATCH " + json.dumps(figures), flush=True)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    run(main(int(sys.argv[1]), int(sys.argv[2])))
