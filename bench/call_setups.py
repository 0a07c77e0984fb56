"""Calls set up one after another at a steady rate, each from its REST request to its record, and none lost.

A call is placed over REST to a callee that rings for 0.2 s and answers; its document is fetched from the application
and waits for a second; the call ends with it, its hangup callback is delivered, and its record is read. The carrier
runs as its own command, with its records in a SQLite file; the application, which also places the calls, is another
process. The limits of requests and of calls a second are raised by setting.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.frame_gaps import CARRIER_PORT, carrier_end
from bench.machine import LOAD_CORE, BenchError, python, window
from bench.rest_load import LIMITS
from bench.setup_app import ANSWERING_NUMBER, RING_SECONDS

CALLEE = {"number": ANSWERING_NUMBER, "ring": f"{RING_SECONDS * 1000:.0f}ms", "does": "human"}
PERCENTILES = ("p50", "p90", "p99", "max")
TIMES = {
    "taken": "REST request to its answer",
    "set up": "REST request to the call's document, without the ringing",
    "told": "the document's end to the hangup callback",
    "late": "(the generator, behind its own times)",
}


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench call_setups", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=1, help="of the same with one carrier, to see whether it grows")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config, data = Path(folder) / "carrier.yaml", Path(folder) / "data"
        with carrier_end(config, data, LIMITS, [CALLEE]) as carrier:
            load = python("bench.setup_app", CARRIER_PORT, options.rate, options.warm, options.seconds)
            for _ in range(options.rounds):
                figures, (used,) = window(load, LOAD_CORE, [carrier])
                show(figures, used / options.seconds, options.rate, carrier.resident_kb())
                if not figures["placed"] == figures["answered"] == figures["hangups"] == figures["records"]:
                    raise BenchError("calls, callbacks or records were lost")


def show(figures: dict[str, Any], cores: float, rate: float, resident_kb: int) -> None:
    print(f"{figures['placed']} placed, {figures['refused']} refused, {figures['answered']} answered, "
          f"{figures['hangups']} hangup callbacks, {figures['twice']} told twice, "
          f"{figures['records']} records")  # fmt: skip
    print(f"carrier: {cores:.2f} cores, {cores / rate * 1000:.1f} ms a call; {resident_kb} KB resident at the end")
    print(f"{'from … to, in ms':<58} " + "".join(f" {key:>8}" for key in PERCENTILES))
    for name, what in TIMES.items():
        print(f"{what:<58}" + "".join(f" {figures[name][key]:>8.2f}" for key in PERCENTILES), flush=True)
