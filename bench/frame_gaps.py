"""The gaps between the frames that callers get, in N whole calls with both ends on this machine; none is left out.

The carrier and the app run as their own commands, the app streams speech all the time, and a reader in a third process
holds the callers' ends of the legs. A C pacer that does nothing but send is read the same way, just before and just
after: what it shows is the machine's.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from bench.machine import (
    LOAD_CORE,
    ROOT,
    SERVER_CORE,
    YARDSTICKS,
    Running,
    build,
    python,
    records,
    running,
    serve,
    settle,
    window,
)
from bothway.wire.leg import LEG_PATH, Dial, encode

NUMBER = "15550100"
BUSY_NUMBER = "15550102"
AUTH_ID, AUTH_TOKEN = "MABENCHBENCHBENCHBEN", "a token for benches only"
CARRIER_PORT, APP_PORT, PACER_PORT = 9711, 9712, 9713
FRAMES_A_SECOND = 50
PACER_SECONDS = 30.0
"""The pacer shows what the machine does to a program that does nothing; that is seen soon."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench frame_gaps", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="*", default=[50, 200, 400])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm", type=float, default=3.0)
    options = parser.parse_args(arguments)
    print(f"{'stack':<22} {'calls':>5} {'p50':>7} {'p90':>7} {'p99':>7} {'max ms':>8} {'worst drift':>12} "
          f"{'carrier':>8} {'app':>6}  cores")  # fmt: skip
    for calls in options.calls:
        show("C pacer", calls, pacer(calls, options.warm, min(options.seconds, PACER_SECONDS)), [])
        figures, cores, log = whole_calls(calls, options.warm, options.seconds)
        show("carrier, app, legs", calls, figures, cores)
        print(f"{'':<22} log: {log}")
        show("C pacer again", calls, pacer(calls, options.warm, min(options.seconds, PACER_SECONDS)), [])


def show(name: str, calls: int, figures: dict[str, Any], cores: list[float]) -> None:
    used = " ".join(f"{core:>7.2f}" for core in cores)
    print(f"{name:<22} {calls:>5} {figures['p50_ms']:>7.2f} {figures['p90_ms']:>7.2f} {figures['p99_ms']:>7.2f} "
          f"{figures['max_ms']:>8.2f} {figures['worst_drift_ms']:>9.2f} ms {used}"
          + (f"  ENDED {figures['ended']}" if figures["ended"] else ""), flush=True)  # fmt: skip


def reader(port: int, calls: int, warm: float, seconds: float, path: str, auth: str, dial: str, send: int) -> list[str]:
    """The command of the C program that holds the callers' ends of the legs, and times what it reads."""
    program = str(build(ROOT / "bench" / "leg_reader.c"))
    return [program, str(port), str(calls), str(warm), str(seconds), path, auth, dial, str(send), "160", ""]


def pacer(calls: int, warm: float, seconds: float) -> dict[str, Any]:
    """The same reader on a C loop that only sends."""
    with running([str(build(YARDSTICKS / "cfloor.c")), str(PACER_PORT), "0", "send", "160"], SERVER_CORE):
        settle(0.5)
        return window(reader(PACER_PORT, calls, warm, seconds, "/", "", "", 0), LOAD_CORE, [])[0]


def whole_calls(calls: int, warm: float, seconds: float) -> tuple[dict[str, Any], list[float], str]:
    """N calls through carrier and app: the gaps, the cores that both used, and what the carrier's log counted."""
    with tempfile.TemporaryDirectory() as folder, app_end() as app:
        data = Path(folder) / "data"
        with carrier_end(Path(folder) / "carrier.yaml", data) as carrier:
            auth = base64.b64encode(f"{AUTH_ID}:{AUTH_TOKEN}".encode()).decode()
            dial = encode(Dial(to=NUMBER, from_="15550199")).decode()
            load = reader(CARRIER_PORT, calls, warm, seconds, LEG_PATH, auth, dial, 1)
            figures, used = window(load, LOAD_CORE, [carrier, app])
        return figures, [cpu / seconds for cpu in used], _logged(data)


def app_end() -> AbstractContextManager[Running]:
    """The apps of the benches, served by a process of their own."""
    return running(serve(APP_PORT), LOAD_CORE, ready="ready", PLIVO_AUTH_ID=AUTH_ID, PLIVO_AUTH_TOKEN=AUTH_TOKEN)


def carrier_end(
    config: Path,
    data: Path,
    limits: Mapping[str, object] | None = None,
    callees: Sequence[Mapping[str, object]] = (),
    answer_url: str = f"http://127.0.0.1:{APP_PORT}/answer",
) -> AbstractContextManager[Running]:
    """The carrier as a process of its own: `NUMBER` leads to `answer_url`, `BUSY_NUMBER` to nobody."""
    content = {
        "applications": [{"name": "bench", "answer_url": answer_url}],
        "numbers": [{"number": NUMBER, "application": "bench"}],
        "callees": [{"number": BUSY_NUMBER, "does": "busy"}, *callees],
        "limits": dict(limits or {}),
    }
    config.write_text(yaml.safe_dump(content))
    command = python(
        "bothway", "carrier", "--http", f"127.0.0.1:{CARRIER_PORT}", "--config", config, "--data", data,
        "--allow-private", "--log-level", "error", "--drain-seconds", "0",
    )  # fmt: skip
    return running(command, SERVER_CORE, ready="ready", BOTHWAY_AUTH_ID=AUTH_ID, BOTHWAY_AUTH_TOKEN=AUTH_TOKEN)


def _logged(data: Path) -> str:
    """What the calls' own logs say of the same time."""
    slips = gaps = overruns = silent = frames = 0
    for record in records(data):
        # The last record of a call is for what is left of a second, so only whole ones are looked at.
        if record["event"] == "media" and record["t_ms"] > 2000 and record["frames"] % FRAMES_A_SECOND == 0:
            slips += record["slips"]
            gaps += record["gaps"]
            overruns += record["overruns"]
            silent += FRAMES_A_SECOND - record["sounding"]
            frames += FRAMES_A_SECOND
    quiet = 100 * silent / max(frames, 1)
    return f"slips {slips}, caller gaps {gaps}, caller overruns {overruns}, {quiet:.2f} % of frames silent"
