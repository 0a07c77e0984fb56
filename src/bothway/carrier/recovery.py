"""Accounting for the calls of a carrier that was killed: what was live then is written down when it starts again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.writer import Writer
from bothway.wire.hangup import HANGUP_CAUSES

__all__ = ["mark_live", "recover", "unmark_live"]

_LIVE = "live"

logger = logging.getLogger(__name__)


def mark_live(writer: Writer, data: Path, call_id: str) -> None:
    """Note on disk that this call lives."""

    def job() -> None:
        (data / _LIVE).mkdir(parents=True, exist_ok=True)
        (data / _LIVE / call_id).touch()

    _submit(writer, job, f"call {call_id} cannot be noted as live")


def unmark_live(writer: Writer, data: Path, call_id: str) -> None:
    """Note on disk that this call has ended and is accounted for."""

    def job() -> None:
        (data / _LIVE / call_id).unlink(missing_ok=True)

    _submit(writer, job, f"call {call_id} cannot be noted as ended")


def _submit(writer: Writer, job: Callable[[], None], failure: str) -> None:
    if not writer.submit(job, lambda error: logger.error("%s: %s", failure, error)):
        logger.error("%s: too much is waiting to be written", failure)


def recover(data: Path) -> list[str]:
    """End the logs of the calls that lived when the last carrier on this folder died. Gives their ids.

    A record `ended` with code 5010 is added; a line that the dead process left half-written stays as it is, on a line
    of its own. A call that had ended, and only waited for its callbacks to be delivered, has its record already. A log
    that cannot be written is tried again at the next start.

    Raises:
        OSError: The folder cannot be read.
    """
    live = data / _LIVE
    if not live.is_dir():
        return []
    recovered = []
    for mark in sorted(live.iterdir()):
        try:
            if _end_log(data / "calls" / mark.name / LOG_NAME):
                recovered.append(mark.name)
            mark.unlink(missing_ok=True)
        except OSError as error:  # a full disk still starts a carrier
            logger.warning("call %s was live when the carrier died; its log cannot be ended: %s", mark.name, error)
    return recovered


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
