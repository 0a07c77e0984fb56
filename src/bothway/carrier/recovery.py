"""Accounting for the calls of a carrier that was killed: what was live then is written down when one starts again.

A running carrier has a folder of its own below `live`, with an empty file for each call that lives, and holds a lock
beside it. The system drops the lock when the process dies, however it dies: a folder whose lock nobody holds was left
behind. So several carriers can share a data folder, and none takes another's calls for dead.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.writer import Writer
from bothway.wire.hangup import HANGUP_CAUSES

try:
    import fcntl
except ImportError:  # Windows has no such lock: there, one carrier a data folder
    fcntl = None  # type: ignore[assignment]

__all__ = ["LiveCalls", "recover"]

_LIVE = "live"

logger = logging.getLogger(__name__)


class LiveCalls:
    """The calls of this process that live, noted on disk.

    Args:
        writer: Writes the notes.
        data: The data folder.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, writer: Writer, data: Path) -> None:
        self._writer = writer
        self._folder = data / _LIVE / uuid.uuid4().hex
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _take(_lock_of(self._folder))  # first, so that the folder is never there without it
        self._folder.mkdir()

    def add(self, call_id: str) -> None:
        """This call lives."""
        self._submit((self._folder / call_id).touch, f"call {call_id} cannot be noted as live")

    def remove(self, call_id: str) -> None:
        """This call has ended, and is accounted for."""
        path = self._folder / call_id
        self._submit(lambda: path.unlink(missing_ok=True), f"call {call_id} cannot be noted as ended")

    def close(self) -> None:
        """No call follows. What could not be removed is left for the next start."""
        self._submit(self._close, "the notes of which calls live cannot be removed")

    def _close(self) -> None:
        try:
            if not any(self._folder.iterdir()):
                _discard(self._folder)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _submit(self, job: Callable[[], None], failure: str) -> None:
        if not self._writer.submit(job, lambda error: logger.error("%s: %s", failure, error)):
            logger.error("%s: too much is waiting to be written", failure)


def recover(data: Path) -> list[str]:
    """End the logs of the calls that lived when a carrier on this folder died. Gives their ids.

    A record `ended` with code 5010 is added; a line that the dead process left half-written stays as it is, on a line
    of its own. A call that had ended, and only waited for its callbacks to be delivered, has its record already. A log
    that cannot be written is tried again at the next start.

    Raises:
        OSError: The folder cannot be read.
    """
    live = data / _LIVE
    if not live.is_dir():
        return []
    recovered: list[str] = []
    for folder in sorted(path for path in live.iterdir() if path.is_dir()):
        lock = _take(_lock_of(folder))
        if lock is None:
            continue  # its carrier runs
        try:
            recovered += _end_logs(folder, data / "calls")
            if not any(folder.iterdir()):
                _discard(folder)
        finally:
            os.close(lock)
    return recovered


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _take(path: Path) -> int | None:
    """A descriptor that holds the lock, or None while another process holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
    return lock


def _discard(folder: Path) -> None:
    folder.rmdir()
    _lock_of(folder).unlink(missing_ok=True)


def _end_logs(marks: Path, calls: Path) -> Iterator[str]:
    """End the log of every call that has a mark. Gives those whose end was missing."""
    for mark in sorted(marks.iterdir()):
        try:
            if _end_log(calls / mark.name / LOG_NAME):
                yield mark.name
            mark.unlink(missing_ok=True)
        except OSError as error:  # a full disk still starts a carrier
            logger.warning("call %s was live when the carrier died; its log cannot be ended: %s", mark.name, error)


def _end_log(log: Path) -> bool:
    """Whether the record was missing, and is there now."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+b") as file:
        file.seek(0)
        content = file.read()
        last: Mapping[str, object] = {}
        for record in _records(content):
            if record.get("event") == "ended":
                return False
            last = record
        ended = {
            "event": "ended",
            "t_ms": last.get("t_ms", 0),
            "at": last.get("at", 0.0),
            "code": 5010,
            "name": HANGUP_CAUSES[5010],
            "source": "Error",
            "detail": "the carrier was killed in mid-call",
            "ran_to_end": False,
        }
        newline = b"" if content.endswith(b"\n") or not content else b"\n"
        file.write(newline + msgspec.json.encode(ended) + b"\n")
    return True


def _records(content: bytes) -> Iterator[Mapping[str, object]]:
    """The whole records of a log."""
    for line in content.splitlines():
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(record, dict):
            yield record
