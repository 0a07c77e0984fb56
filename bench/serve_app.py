"""Serves the apps of the benches, as `bothway serve` does. Usage: python -m bench.serve_app PORT"""

from __future__ import annotations

import sys

from bothway.cli import main

sys.exit(main(["serve", "bench.apps:app", "--http", f"127.0.0.1:{sys.argv[1]}", "--log-level", "warning",
               "--drain-seconds", "0", "--no-check-signatures"]))  # fmt: skip
