"""Processes pinned to cores, what CPU they used, and what they logged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
YARDSTICKS = ROOT.parent / "shared" / "bench"
SERVER_CORE, LOAD_CORE, ANY_CORE = 0, 1, -1


class BenchError(Exception):
    """The benchmark cannot be run here."""


def build(source: Path) -> Path:
    """Compile a C program into the temporary folder, once for each version of it."""
    if shutil.which("gcc") is None:
        raise BenchError("gcc is needed for the C yardsticks: apt-get install gcc libc6-dev")
    if not source.is_file():
        raise BenchError(f"{source} is missing: the yardsticks lie beside the repository, in shared/bench")
    folder = Path(tempfile.gettempdir()) / "bothway-bench"
    folder.mkdir(exist_ok=True)
    program = folder / f"{source.stem}-{int(source.stat().st_mtime)}"
    if not program.exists():
        command = ["gcc", "-O2", "-w", "-o", str(program), str(source)]
        subprocess.run(command, check=True)
    return program


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """`command`, bound to one core where there are two and it is not to have any."""
    if core == ANY_CORE or shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return list(command)
    return ["taskset", "-c", str(core), *command]


@contextmanager
def running(command: Sequence[str], core: int, *, ready: str | None = None, **environment: str) -> Iterator[Running]:
    """A process that runs inside the block, and is ended behind it."""
    process = subprocess.Popen(
        pinned(core, command),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    run = Running(process)
    try:
        if ready is not None:
            run.facts = run.wait_for(ready)
        yield run
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Running:
    """A process under test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.facts: dict[str, Any] = {}

    def wait_for(self, prefix: str) -> dict[str, Any]:
        """Read lines until one begins with `prefix`; the JSON behind it, if there is any."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(prefix):
                rest = line[len(prefix) :].strip()
                facts: dict[str, Any] = json.loads(rest) if rest.startswith("{") else {}
                return facts
        raise BenchError(f"{self.process.args!r} ended before it said {prefix!r}")

    def cpu_seconds(self) -> float:
        """CPU used so far by the process and its children, by every thread."""
        return sum(cpu_of(pid) for pid in _tree(self.process.pid))

    def resident_kb(self) -> int:
        """The resident memory of the process, in KB."""
        return resident_kb(self.process.pid)


def resident_kb(pid: int | str = "self") -> int:
    """The resident memory of a process, in KB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def window(load: Sequence[str], core: int, measured: Sequence[Running]) -> tuple[dict[str, Any], list[float]]:
    """Run a load generator that prints START, END and a line of JSON.

    Gives those figures, and the CPU seconds that each of `measured` used between START and END.
    """
    process = subprocess.Popen(pinned(core, load), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    before: list[float] = []
    used: list[float] = []
    figures: dict[str, Any] = {}
    for line in process.stdout:
        if line.startswith("START"):
            before = [one.cpu_seconds() for one in measured]
        elif line.startswith("END"):
            used = [one.cpu_seconds() - then for one, then in zip(measured, before, strict=True)]
        elif "{" in line:
            figures = json.loads(line[line.index("{") :])
    if process.wait() != 0 or not figures:
        raise BenchError(f"the load generator failed: {' '.join(load)}")
    return figures, used


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [pid]
    if children.exists():
        for child in children.read_text().split():
            found += _tree(int(child))
    return found


def cpu_of(pid: int) -> float:
    """CPU used so far by every thread of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(task.read_text().split()[0])
    return total / 1e9


def python(module: str, *arguments: object) -> list[str]:
    """A module of ours as a command."""
    return [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]


def serve(port: int, log_level: str = "error") -> list[str]:
    """The command that serves the apps of the benches at `port`. It says `ready` when it does."""
    return python(
        "bothway", "serve", "bench.apps:app", "--http", f"127.0.0.1:{port}", "--log-level", log_level,
        "--drain-seconds", "0", "--no-check-signatures",
    )  # fmt: skip


def records(data: Path) -> Iterator[dict[str, Any]]:
    """Every line of the logs of all calls in a carrier's data folder."""
    for log in data.glob("calls/*/log.jsonl"):
        for line in log.read_bytes().splitlines():
            yield json.loads(line)


def settle(seconds: float = 0.5) -> None:
    """Let the machine come to rest between two runs."""
    time.sleep(seconds)
