"""`python -m bench [NAME] [OPTIONS]`: every benchmark, or one."""

from __future__ import annotations

import argparse
import sys

from bench import call_memory, call_setups, frame_gaps, resample, rest_load, stream_cost, virtual_time, workers
from bench.machine import BenchError

BENCHES = {
    "stream_cost": stream_cost.main,
    "frame_gaps": frame_gaps.main,
    "resample": resample.main,
    "virtual_time": virtual_time.main,
    "rest_load": rest_load.main,
    "call_setups": call_setups.main,
    "call_memory": call_memory.main,
    "workers": workers.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run every benchmark, or one.")
    parser.add_argument("name", nargs="?", choices=BENCHES, help="without one, all are run, with their defaults")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="those of the one named; --help tells them")
    chosen = parser.parse_args()
    for name in [chosen.name] if chosen.name else BENCHES:
        print(f"\n== {name} ==", flush=True)
        try:
            BENCHES[name](chosen.options)
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


sys.exit(main())
