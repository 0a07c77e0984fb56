"""The same conversation is the same in every process, whatever its hashes and its addresses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.source_tree import ROOT

SOAK = bool(os.environ.get("BOTHWAY_SOAK"))
RUNS = 100 if SOAK else 4
SECONDS = 60 if SOAK else 20


def digest(level: str, hash_seed: int) -> str:
    command = [sys.executable, "-m", "bench.conversation", str(SECONDS), level]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("level", ["messages", "bytes"])
def test_fresh_processes_with_other_hash_seeds_run_alike(level: str) -> None:
    digests = {digest(level, seed) for seed in range(RUNS)}
    assert len(digests) == 1
    assert len(digests.pop()) == 64
