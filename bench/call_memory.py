"""What a call takes of its carrier's memory, and whether anything is left of calls that are over.

The carrier runs as its own command; callers' ends and apps are other processes. Idle calls are answered and have a
`<Wait>`; streaming calls play speech of which the app keeps nearly 5 s queued. What counts is the resident memory that
a number of calls adds to those that are there already, divided by their number.

Whether it grows is seen in virtual time, in a process of its own: batches of calls with their streams, records and
callbacks, and after each of them the resident memory and the objects that the garbage collector tracks.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.frame_gaps import APP_PORT, AUTH_ID, AUTH_TOKEN, CARRIER_PORT, NUMBER, app_end, carrier_end, reader
from bench.machine import LOAD_CORE, SERVER_CORE, python, records, running
from bothway.wire.leg import LEG_PATH, Dial, encode

SITE_PORT = 9715
WAITING = '<Response><Wait length="3600"/></Response>'
FIRST = 50
"""Calls that are there before the count begins: they make what all calls share."""

UP_SECONDS = 7.0
"""For how long calls are up before they are counted: the app has queued what it will."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench call_memory", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="that are counted at a time")
    parser.add_argument("--batches", type=int, default=24, help="of calls that end, the first four to warm up")
    parser.add_argument("--batch", type=int, default=500, help="calls of one of them")
    options = parser.parse_args(arguments)
    idle, _ = a_call(options.calls, streaming=False)
    print(f"idle call:      {idle:7.1f} KB", flush=True)
    streaming, queued_ms = a_call(options.calls, streaming=True)
    print(f"streaming call: {streaming:7.1f} KB, with up to {queued_ms / 1000:.1f} s queued", flush=True)
    rounds(options.batches, options.batch)


def a_call(calls: int, *, streaming: bool) -> tuple[float, float]:
    """KB of the carrier's for one of so many calls, and the most that one had queued, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if streaming:
            stack.enter_context(app_end())
            url = f"http://127.0.0.1:{APP_PORT}/ahead"
        else:
            site = python("bench.document_site", SITE_PORT, WAITING)
            stack.enter_context(running(site, LOAD_CORE, ready="ready"))
            url = f"http://127.0.0.1:{SITE_PORT}/answer"
        data = Path(folder) / "data"
        carrier = stack.enter_context(carrier_end(Path(folder) / "carrier.yaml", data, answer_url=url))
        before = _held(stack, FIRST, carrier.resident_kb)
        after = _held(stack, calls, carrier.resident_kb)
        queued = max(record["queued_ms"] for record in records(data) if record["event"] == "media")
    return (after - before) / calls, queued


def _held(stack: ExitStack, calls: int, look: Callable[[], int]) -> int:
    """What `look` sees when so many more calls are up, which stay until the stack is left."""
    auth = base64.b64encode(f"{AUTH_ID}:{AUTH_TOKEN}".encode()).decode()
    dial = encode(Dial(to=NUMBER, from_="15550199")).decode()
    legs = reader(CARRIER_PORT, calls, UP_SECONDS, 3600.0, LEG_PATH, auth, dial, 1)
    stack.enter_context(running(legs, LOAD_CORE)).wait_for("START")
    return look()


def rounds(batches: int, calls: int) -> None:
    """Batches of calls that end, and what is left of them."""
    with running(python("bench.call_rounds", batches, calls), SERVER_CORE) as child:
        found = [child.wait_for("BATCH ") for _ in range(batches)]
    warm = min(4, batches - 1)
    print(f"{'calls':>7} {'resident KB':>12} {'objects':>9}")
    for batch in found[warm - 1 :: 4]:
        print(f"{batch['calls']:>7} {batch['resident_kb']:>12} {batch['objects']:>9}")
    first, last = found[warm - 1], found[-1]
    more = last["calls"] - first["calls"]
    print(f"{more} calls left {(last['resident_kb'] - first['resident_kb']) / more:.3f} KB and "
          f"{(last['objects'] - first['objects']) / more:.3f} objects each; "
          f"{last['hangups']} hangup callbacks")  # fmt: skip
