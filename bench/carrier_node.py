"""A carrier with N calls whose callers are inside it. Usage: python -m bench.carrier_node N STREAM_URL WARM SECONDS

Each call has its answer document fetched over HTTP, its stream opened over a socket, its playout, and its event log on
disk. Prints START and END around the window, then a line of figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.machine import records
from bothway.audio.format import MULAW_8K
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Application
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.script import Hear, Play, Rules, Script
from bothway.carrier.scripted_caller import ScriptedCaller
from bothway.cli.process import settle_memory
from bothway.wire.callxml import to_xml
from bothway.wire.verbs import Stream

FRAMES_A_SECOND = 50


class Heard:
    """Counts what a caller hears that is not silence."""

    def __init__(self) -> None:
        self.frames = 0
        self.sounding = 0

    def __call__(self, _: bytes, heard: bytes) -> None:
        self.frames += 1
        self.sounding += heard != MULAW_8K.silent_frame


async def answer(document: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The least HTTP server: one document for whoever asks."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(document) + document)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # a connection that is closed without a request
    finally:
        writer.close()


async def main() -> None:
    calls, url, warm, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    document = to_xml([Stream(url, bidirectional=True, keep_call_alive=True, content_type=str(MULAW_8K))]).encode()
    web = await asyncio.start_server(lambda reader, writer: answer(document, reader, writer), "127.0.0.1", 0)
    application = Application("bench", f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}/answer")
    # A caller that speaks all the time: a sawtooth is as good as speech, for all that is done here.
    words = Play("speech")
    clip = bytes(range(1, 121)) * 4000
    steps = (words, Hear("hang_up", within_ms=3_600_000))
    script = Script(steps, Rules(3_600_000), on_timeout="continue", on_hang_up="accept")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with Carrier(data=data, allow_private=True) as carrier:
            heard = [Heard() for _ in range(calls)]
            for one in heard:
                leg = ScriptedLeg(ScriptedCaller(script, MULAW_8K, {words.clip: clip}), tap=one)
                carrier.place(leg, from_="15550100", to="15550101", application=application)
                await asyncio.sleep(0.005)
            settle_memory()
            await asyncio.sleep(warm)
            before = [(one.frames, one.sounding) for one in heard]
            print("START", flush=True)
            await asyncio.sleep(seconds)
            print("END", flush=True)
            frames = sum(one.frames - then[0] for one, then in zip(heard, before, strict=True))
            sounding = sum(one.sounding - then[1] for one, then in zip(heard, before, strict=True))
            slips = [record.get("slips", 0) for record in records(data)]
            figures = {
                "frames": frames,
                "expected": round(calls * seconds * FRAMES_A_SECOND),
                "heard_percent": 100 * sounding / max(frames, 1),
                "slips": sum(slips),
                "log_lines": len(slips),
            }
            print("RES " + json.dumps(figures), flush=True)
    web.close()


if __name__ == "__main__":
    uvloop.run(main())
