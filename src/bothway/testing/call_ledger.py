"""What became of an app's audio, by the carrier's books: the truth that the app's own ledger has to agree with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bothway.console.evidence import LogRecord
from bothway.core.media import Media

__all__ = ["CallLedger", "ledger_of"]


@dataclass(frozen=True, slots=True)
class CallLedger:
    """The audio that an app sent on a call's streams, in milliseconds.

    Attributes:
        sent_ms: All of it that the carrier took.
        played_ms: What the caller has heard of it.
        queued_ms: What is still to be played.
        cleared_ms: What a clear has dropped.
        dropped_ms: What was lost with a stream that ended.
        refused_ms: What the carrier did not take, since its queue was full.
    """

    sent_ms: float = 0.0
    played_ms: float = 0.0
    queued_ms: float = 0.0
    cleared_ms: float = 0.0
    dropped_ms: float = 0.0
    refused_ms: float = 0.0


def ledger_of(records: Iterable[LogRecord], media: Media | None) -> CallLedger:
    """The account of a call at this moment.

    Args:
        records: The call's evidence log.
        media: Its audio; None before the answer.
    """
    if media is None:
        return CallLedger()
    lost = {"cleared": 0.0, "dropped": 0.0, "refused": 0.0}
    for record in records:
        if record.event in lost:
            lost[record.event] += record.number("ms")
    queued_ms = media.playout.queued_ms if media.playout is not None else 0.0
    played_ms = media.app_ms - queued_ms - lost["cleared"] - lost["dropped"]
    return CallLedger(media.app_ms, played_ms, queued_ms, lost["cleared"], lost["dropped"], lost["refused"])
