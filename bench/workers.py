"""How many calls one and two workers of a carrier carry for each second of CPU, and what the rest of the machine uses.

Whole calls: a leg over a WebSocket, an answer document, a stream to an app that talks without a pause. What holds the
callers' ends and the app run on the same machine; what they use is shown apart, and is no part of the figure. Nothing
is bound to a core, since two workers are to have both. One worker carries what one second of CPU does; two carry twice
that where there are cores for them, less what the figure of two is below that of one.
"""

from __future__ import annotations

import argparse
import base64
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from bench.frame_gaps import AUTH_ID, AUTH_TOKEN, NUMBER, reader
from bench.machine import ANY_CORE, Running, cpu_of, python, running, serve, settle, window
from bothway.carrier.node import node_of
from bothway.wire.leg import LEG_PATH, Dial, encode

CARRIER_PORT, APP_PORT = 9721, 9722


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench workers", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="*", default=[50, 100])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm", type=float, default=5.0)
    options = parser.parse_args(arguments)
    print(f"{'workers':>7} {'calls':>6} {'at each':>12} {'carrier':>8} {'app':>6} {'legs':>6}  cores; "
          f"{'calls a CPU second':>18} {'p99 gap':>8} {'ended':>6}")  # fmt: skip
    for calls in options.calls:
        for workers in options.workers:
            measure(workers, calls, options.warm, options.seconds)
            settle(2.0)


def measure(workers: int, calls: int, warm: float, seconds: float) -> None:
    app_environment = {"PLIVO_AUTH_ID": AUTH_ID, "PLIVO_AUTH_TOKEN": AUTH_TOKEN}
    carrier_environment = {"BOTHWAY_AUTH_ID": AUTH_ID, "BOTHWAY_AUTH_TOKEN": AUTH_TOKEN}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(serve(APP_PORT), ANY_CORE, ready="ready", **app_environment) as app,
        running(carrier(Path(folder), workers), ANY_CORE, ready="ready", **carrier_environment) as carriers,
    ):
        auth = base64.b64encode(f"{AUTH_ID}:{AUTH_TOKEN}".encode()).decode()
        dial = encode(Dial(to=NUMBER, from_="15550199")).decode()
        load = reader(CARRIER_PORT, calls, warm, seconds, LEG_PATH, auth, dial, 1)
        figures, used = window(load, ANY_CORE, [carriers, app, Legs(carriers.process)])
        # The id of a call says which worker has it.
        at_each = Counter(node_of(call.name) for call in (Path(folder) / "data" / "calls").iterdir())
    cores = " ".join(f"{cpu / seconds:>7.2f}" for cpu in used)
    spread = " + ".join(str(count) for _, count in sorted(at_each.items(), key=lambda item: item[0] or 0))
    print(f"{workers:>7} {calls:>6} {spread:>12} {cores}         {calls * seconds / used[0]:>18.0f} "
          f"{figures['p99_ms']:>5.1f} ms {figures['ended']:>6}", flush=True)  # fmt: skip


class Legs(Running):
    """The program that holds the callers' ends, once it runs: `window` starts it, as a child of this process."""

    def cpu_seconds(self) -> float:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        mine = [pid for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith("leg_reader")]
        return sum(cpu_of(int(pid)) for pid in mine)


def carrier(folder: Path, workers: int) -> list[str]:
    content = {
        "applications": [{"name": "bench", "answer_url": f"http://127.0.0.1:{APP_PORT}/answer"}],
        "numbers": [{"number": NUMBER, "application": "bench"}],
    }
    (folder / "carrier.yaml").write_text(yaml.safe_dump(content))
    return python(
        "bothway", "carrier", "--http", f"127.0.0.1:{CARRIER_PORT}", "--config", folder / "carrier.yaml",
        "--data", folder / "data", "--allow-private", "--log-level", "error", "--drain-seconds", "0",
        "--workers", workers,
    )  # fmt: skip
