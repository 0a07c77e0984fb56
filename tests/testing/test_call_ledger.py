from __future__ import annotations

from typing import Any

from bothway.audio.format import MULAW_8K
from bothway.console.evidence import LogRecord
from bothway.core.media import Media
from bothway.testing.call_ledger import CallLedger, ledger_of


def record(event: str, **facts: Any) -> LogRecord:
    return LogRecord(event, 0, 0.0, facts)


def test_before_the_answer_there_is_nothing() -> None:
    assert ledger_of([record("call")], None) == CallLedger()


def test_what_was_sent_is_played_or_accounted_for() -> None:
    media = Media(MULAW_8K, start=0.0, playout_seconds=60.0)
    media.app_ms = 1000.0
    records = [
        record("cleared", ms=200.0),
        record("media", app_ms=1000),
        record("cleared", ms=50.0),
        record("dropped", ms=100.0),
        record("refused", ms=640.0, queued_ms=60_000),
    ]
    expected = CallLedger(sent_ms=1000, played_ms=650, cleared_ms=250, dropped_ms=100, refused_ms=640)
    assert ledger_of(records, media) == expected
