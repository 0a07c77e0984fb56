"""Runs `bothway` as its user does: in a process of its own, in a folder of its own, with nothing of our environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bothway.audio.wav import read_wav
from bothway.console.evidence import read_evidence

ACCOUNT = {"auth_id": "MAEXAMPLEEXAMPLE0001", "auth_token": "an-example-token-that-nobody-may-see"}
CARRIERS = {"BOTHWAY_AUTH_ID": ACCOUNT["auth_id"], "BOTHWAY_AUTH_TOKEN": ACCOUNT["auth_token"]}
APPS = {"PLIVO_AUTH_ID": ACCOUNT["auth_id"], "PLIVO_AUTH_TOKEN": ACCOUNT["auth_token"]}

ECHO = Path(__file__).parents[2] / "examples" / "echo.py"


class Command:
    """One `bothway …`. On leaving the block it is killed, if it still runs, and so is all that it has started.

    Args:
        arguments: Behind `bothway`.
        cwd: Where.
        environment: Added to ours, of which what means anything to Bothway is taken out.
    """

    def __init__(self, *arguments: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> None:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("BOTHWAY_", "PLIVO_"))}
        self.cwd = cwd
        number = len(list(cwd.glob("*.stdout")))
        self._stdout, self._stderr = cwd / f"{number}.stdout", cwd / f"{number}.stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bothway", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=ours | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        left = self.descendants()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in left:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        if error is not None:
            print(f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}")

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8")

    def ready(self) -> dict[str, Any]:
        """What the ready line says."""
        self.until(lambda: "\n" in self.stdout.partition("ready ")[2])
        facts: dict[str, Any] = json.loads(self.stdout.partition("ready ")[2].splitlines()[0])
        return facts

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said `text`."""
        self.until(lambda: (self.stdout + self.stderr).count(text) >= times)

    def until(self, happened: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for something; fail if the process ends before it."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.stderr}"
            assert time.monotonic() < deadline, f"nothing in {seconds:g} s: {self.stdout} {self.stderr}"
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def descendants(self) -> list[int]:
        """The processes that it has started, and those that they have."""
        found, todo = [], [self.process.pid]
        parents = processes()
        while todo:
            parent = todo.pop()
            children = [pid for pid, (above, _) in parents.items() if above == parent]
            found += children
            todo += children
        return found

    def child(self, word: str) -> int:
        """The process among them that was started with this argument."""
        known = processes()
        (pid,) = (pid for pid in self.descendants() if f" {word} " in known[pid][1])
        return pid


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that lives; zombies do not."""
    listed = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True, timeout=10
    )
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return {int(row[0]): (int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")}


def alive(pid: int) -> bool:
    return pid in processes()


def none_left(pids: list[int], seconds: float = 10.0) -> bool:
    """Whether all of them are gone within that time."""
    deadline = time.monotonic() + seconds
    while set(pids) & processes().keys():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def event(out: Path, name: str) -> bool:
    """Whether the log has this event yet."""
    return (out / "log.jsonl").is_file() and f'"event":"{name}"' in (out / "log.jsonl").read_text("utf-8")


def channels(out: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], int]:
    """Left, right and the rate of a recording."""
    evidence = read_evidence(out)
    assert evidence.samples is not None
    assert evidence.rate is not None
    return np.array(evidence.samples[:, 0]), np.array(evidence.samples[:, 1]), evidence.rate


def samples(path: Path) -> npt.NDArray[np.int16]:
    return np.frombuffer(read_wav(path)[1], "<i2")


def script(folder: Path, text: str) -> Path:
    path = folder / "script.yaml"
    path.write_text(text, "utf-8")
    return path
