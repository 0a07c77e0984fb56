"""How long the REST API takes while calls stream in the same node, and what that does to their frames.

The carrier runs as its own command, with its records in a SQLite file, and so does the app, which streams speech into
every call; the callers' ends of the legs are held by the reader of `frame_gaps`, and a generator asks at a steady rate,
each in a process of its own. The same calls are read without requests, and with requests for `/healthz`, which ask the
node's HTTP server for next to nothing: what the mix costs more than that is the REST API's and the database's.
The limits of requests and of calls a second are raised by setting.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.frame_gaps import AUTH_ID, AUTH_TOKEN, CARRIER_PORT, NUMBER, app_end, carrier_end, pacer, reader
from bench.machine import LOAD_CORE, python, running, settle, window
from bench.stream_cost import bare
from bothway.wire.leg import LEG_PATH, Dial, encode

LIMITS = {"requests_per_5s": 1_000_000, "calls_per_second": 1_000.0, "streams_per_call": 2}
LISTENER_PORT = 9714
"""Where the streams go that REST starts: an app takes one stream of a call, and has it."""

MARGIN = 3.0
"""Seconds by which the generator is done before the reader hangs its calls up."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench rest_load", description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--warm", type=float, default=4.0)
    parser.add_argument("--only", choices=["health", "mix"], help="this load alone, and no pacer")
    options = parser.parse_args(arguments)
    print(f"{options.calls} calls, {options.rate:g} requests/s for {options.seconds:g} s. Gaps between the frames that "
          f"callers hear, and answers from the moment a request was due, in ms")  # fmt: skip
    print(f"{'load':<14} {'gap p50':>8} {'p99':>7} {'max':>7} {'carrier':>8} {'app':>5}   "
          f"{'REST p50':>8} {'p90':>7} {'p99':>7} {'max':>7} {'late p99':>9}  refused")  # fmt: skip
    if options.only is None:
        show("C pacer", pacer(options.calls, options.warm, min(options.seconds, 20.0)), [], {})
    for kind in [options.only] if options.only else ["", "health", "mix"]:
        gaps, cores, asked = loaded(kind, options.calls, options.rate, options.warm, options.seconds)
        show(kind or "calls alone", gaps, cores, asked)
        if kind == "mix":
            for name, found in asked["kinds"].items():
                print(f"{'':<47} {name:<13}" + "".join(f" {found[key]:>7.2f}" for key in ("p50", "p90", "p99", "max")))
        settle()


def show(name: str, gaps: dict[str, Any], cores: list[float], asked: dict[str, Any]) -> None:
    used = "{:>8.2f} {:>5.2f}".format(*cores) if cores else " " * 14
    line = f"{name:<14} {gaps['p50_ms']:>8.2f} {gaps['p99_ms']:>7.2f} {gaps['max_ms']:>7.2f} {used}"
    if asked:
        line += f"   {asked['p50']:>8.2f} {asked['p90']:>7.2f} {asked['p99']:>7.2f} {asked['max']:>7.2f}"
        line += f" {asked['late_p99']:>9.2f}  {asked['errors']} of {asked['requests']}"
        line += f" {asked['refused']}" if asked["errors"] else ""
    print(line + (f"  ENDED {gaps['ended']}" if gaps["ended"] else ""), flush=True)


def loaded(
    kind: str, calls: int, rate: float, warm: float, seconds: float
) -> tuple[dict[str, Any], list[float], dict[str, Any]]:
    """The gaps of the calls, the cores that carrier and app used, and what the generator measured."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        app = stack.enter_context(app_end())
        carrier = stack.enter_context(carrier_end(Path(folder) / "carrier.yaml", Path(folder) / "data", LIMITS))
        auth = base64.b64encode(f"{AUTH_ID}:{AUTH_TOKEN}".encode()).decode()
        dial = encode(Dial(to=NUMBER, from_="15550199")).decode()
        load = reader(CARRIER_PORT, calls, warm, seconds, LEG_PATH, auth, dial, 1)
        asking = None
        if kind:
            stack.enter_context(running(bare("recv", port=LISTENER_PORT), LOAD_CORE))
            listen = f"ws://127.0.0.1:{LISTENER_PORT}/"
            command = python("bench.rest_asker", CARRIER_PORT, calls, rate, 1.0, seconds - MARGIN, kind, listen)
            asking = stack.enter_context(running(command, LOAD_CORE))
        gaps, used = window(load, LOAD_CORE, [carrier, app])
        asked = asking.wait_for("RES ") if asking is not None else {}
    return gaps, [cpu / seconds for cpu in used], asked
