"""Accounting for the calls of a carrier that was killed: what was live then is written down when it starts again."""

from __future__ import annotations

import contextlib
import logging
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

    writer.submit(job, lambda error: logger.error("call %s cannot be noted as live: %s", call_id, error))


def unmark_live(writer: Writer, data: Path, call_id: str) -> None:
    """Note on disk that this call has ended and is accounted for."""

    def job() -> None:
        (data / _LIVE / call_id).unlink(missing_ok=True)

    writer.submit(job, lambda error: logger.error("call %s cannot be noted as ended: %s", call_id, error))


def recover(data: Path) -> list[str]:
    """End the logs of the calls that lived when the last carrier on this folder died. Gives their ids.

    A record `ended` with code 5010 is added; a line that the dead process left half-written stays as it is, on a line
    of its own.
    """
    live = data / _LIVE
    if not live.is_dir():
        return []
    recovered = []
    for mark in sorted(live.iterdir()):
        log = data / "calls" / mark.name / LOG_NAME
        if log.is_file():
            with contextlib.suppress(OSError), log.open("rb+") as file:  # a full disk still starts a carrier
                content = file.read()
                record = {
                    "event": "ended",
                    "t_ms": _last_ms(content),
                    "at": 0.0,
                    "code": 5010,
                    "name": HANGUP_CAUSES[5010],
                    "source": "Error",
                    "detail": "the carrier was killed in mid-call",
                    "ran_to_end": False,
                }
                newline = b"" if content.endswith(b"\n") or not content else b"\n"
                file.write(newline + msgspec.json.encode(record) + b"\n")
        mark.unlink(missing_ok=True)
        recovered.append(mark.name)
    return recovered


def _last_ms(content: bytes) -> int:
    """The media clock of the last whole record."""
    for line in reversed(content.splitlines()):
        try:
            record = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("t_ms"), int):
            return int(record["t_ms"])
    return 0
