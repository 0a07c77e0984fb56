"""Which of the carriers that share a data folder this process is: a number that it holds for as long as it lives.

Each running carrier holds the lock of one numbered file, the lowest that was free. The system drops the lock when the
process dies, however it dies, so a number whose lock nobody holds is that of a carrier that is gone; and one that is
started again gets its number again. The folder has a name of its own, for a database that several folders share.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from bothway.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no such lock: there, one carrier a data folder
    fcntl = None  # type: ignore[assignment]

__all__ = ["MOST_NODES", "START_SECONDS", "NodeSlot", "StartTurn"]

MOST_NODES = 256
"""Carriers of one data folder: a call's id has a byte for the number."""


START_SECONDS = 60.0
"""How long a carrier waits for its turn to start."""

_PAUSE_SECONDS = 0.02


class StartTurn:
    """The turn of one carrier of a data folder to start: another waits until it is over.

    A carrier that starts takes a number, and closes the calls of numbers that nobody holds. One that took such a number
    meanwhile, and had calls already, would lose them.

    Args:
        lock: The descriptor that holds it, if anything does.
    """

    def __init__(self, lock: int | None = None) -> None:
        self._lock = lock

    @classmethod
    def take(cls, data: Path, seconds: float = START_SECONDS) -> StartTurn:
        """Wait for the turn; the thread sleeps meanwhile.

        Raises:
            OSError: The folder cannot be written.
            UsageError: Another carrier has been starting all the time.
        """
        (data / "nodes").mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + seconds
        while (lock := _lock(data / "nodes" / "starting")) is None:
            if time.monotonic() > deadline:
                raise UsageError(f"another carrier of the data folder {data} has been starting for {seconds:g} s")
            time.sleep(_PAUSE_SECONDS)
        return cls(lock)

    def end(self) -> None:
        """The carrier has started, or will not."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class NodeSlot:
    """A number, held.

    Args:
        number: From 1.
        name: Of the node: no other process has it, and this one has it again after a restart.
        dead: The names of the folder's nodes that do not run: this one's own from before it started, and others'.
        lock: The descriptor that holds it, if there is a folder.
        folder: That of all numbers.
    """

    def __init__(
        self,
        number: int = 1,
        name: str = "1",
        dead: frozenset[str] = frozenset(),
        lock: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.number = number
        self.name = name
        self.dead = dead
        self._lock = lock
        self._folder = folder

    @classmethod
    def take(cls, data: Path) -> NodeSlot:
        """The lowest number that is free in a data folder.

        Raises:
            OSError: The folder cannot be written.
            UsageError: Too many carriers use it.
        """
        folder = data / "nodes"
        folder.mkdir(parents=True, exist_ok=True)
        name = _folder_name(folder)
        mine: tuple[int, int] | None = None
        dead = set()
        for number in range(1, MOST_NODES + 1):
            path = folder / f"{number}.lock"
            if mine is not None and not path.exists():
                break
            lock = _lock(path)
            if lock is None:
                continue
            dead.add(f"{name}/{number}")
            if mine is None:
                mine = number, lock
            else:
                os.close(lock)
        if mine is None:
            raise UsageError(f"{MOST_NODES} carriers use the data folder {data}, and there is no number for another")
        return cls(mine[0], f"{name}/{mine[0]}", frozenset(dead), mine[1], folder)

    def runs(self, name: str) -> bool:
        """Whether a node is known to run, by its lock: False of what is not of this folder."""
        folder, _, number = name.partition("/")
        if self._folder is None or folder != self.name.partition("/")[0]:
            return False
        if name == self.name:
            return True
        lock = _lock(self._folder / f"{number}.lock")
        if lock is None:
            return True
        os.close(lock)
        return False

    def release(self) -> None:
        """Another carrier may have the number."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _folder_name(folder: Path) -> str:
    path = folder / "name"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")[:8] or "local"
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        name = secrets.token_hex(4)
        file.write(name)
    return name


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
    return descriptor
