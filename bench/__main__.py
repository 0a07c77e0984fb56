"""`python -m bench [NAME] [OPTIONS]`: every benchmark, or one."""

from __future__ import annotations

import sys

from bench import frame_gaps, resample, stream_cost

BENCHES = {"stream_cost": stream_cost.main, "frame_gaps": frame_gaps.main, "resample": resample.main}


def main() -> int:
    chosen = sys.argv[1:2]
    if chosen and chosen[0] not in BENCHES:
        print(f"there is no benchmark {chosen[0]}: choose one of {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in chosen or BENCHES:
        print(f"\n== {name} ==", flush=True)
        BENCHES[name](sys.argv[2:])
    return 0


sys.exit(main())
