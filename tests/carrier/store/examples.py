"""Records to fill a store with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bothway.carrier.store.records import (
    AccountRecord,
    ApplicationRecord,
    CallRecord,
    NumberRecord,
    OutboxItem,
    RecordingRecord,
    StreamRecord,
)
from bothway.carrier.store.store import Store

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
MAIN = "MAAAAAAAAAAAAAAAAAAA"
SUB = "SAAAAAAAAAAAAAAAAAAA"


@asynccontextmanager
async def opened(where: str | Path | None, **options: Any) -> AsyncIterator[Store]:
    store = await Store.open(where, **options)
    try:
        yield store
    finally:
        await store.close()


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def a_call(call_uuid: str = "call-1", **facts: Any) -> CallRecord:
    given: dict[str, Any] = {
        "request_uuid": call_uuid,
        "account": MAIN,
        "node": "1",
        "direction": "outbound",
        "from_number": "14155550100",
        "to_number": "+442071838750",
        "initiation_time": ago(minutes=5),
    }
    return CallRecord(call_uuid=call_uuid, **(given | facts))


def an_ended_call(call_uuid: str = "call-1", **facts: Any) -> CallRecord:
    given: dict[str, Any] = {
        "state": "completed",
        "answer_time": ago(minutes=4),
        "end_time": ago(minutes=3),
        "bill_duration": 60,
        "billed_duration": 60,
        "call_duration": 60,
        "rate": Decimal("0.0085"),
        "amount": Decimal("0.0085"),
        "hangup_cause_code": 4000,
        "hangup_cause_name": "Normal Hangup",
        "hangup_source": "Caller",
        "hangup_cause": "NORMAL_CLEARING",
        "sip_headers": {"X-PH-who": "Zoë\0", "SIP-H-To": "<sip:a@b>"},
    }
    return a_call(call_uuid, **(given | facts))


def a_stream(stream_id: str = "stream-1", **facts: Any) -> StreamRecord:
    given: dict[str, Any] = {
        "call_uuid": "call-1",
        "account": MAIN,
        "node": "1",
        "service_url": "wss://example.com/stream",
        "created_at": ago(minutes=4),
    }
    return StreamRecord(stream_id=stream_id, **(given | facts))


def a_recording(recording_id: str = "recording-1", **facts: Any) -> RecordingRecord:
    given: dict[str, Any] = {
        "account": MAIN,
        "add_time": ago(minutes=2),
        "path": f"recordings/{recording_id}.mp3",
        "recording_format": "mp3",
        "start_ms": 1_772_366_400_123,
        "end_ms": 1_772_366_460_123,
        "duration_ms": 60_000,
    }
    return RecordingRecord(recording_id=recording_id, **(given | facts))


def an_account(auth_id: str = SUB, **facts: Any) -> AccountRecord:
    given: dict[str, Any] = {"parent": MAIN, "name": "sales", "created": ago(days=1), "modified": ago(days=1)}
    return AccountRecord(auth_id=auth_id, **(given | facts))


def an_application(app_id: str = "10000000000000001", **facts: Any) -> ApplicationRecord:
    given: dict[str, Any] = {"account": MAIN, "app_name": "front desk", "created": ago(days=1)}
    return ApplicationRecord(app_id=app_id, **(given | facts))


def a_number(number: str = "14155550100", **facts: Any) -> NumberRecord:
    given: dict[str, Any] = {"country": "US", "added_on": ago(days=1)}
    return NumberRecord(number=number, **(given | facts))


def an_item(key: str = "call-1 hangup", **facts: Any) -> OutboxItem:
    given: dict[str, Any] = {
        "call_uuid": "call-1",
        "kind": "hangup",
        "account": MAIN,
        "url": "https://user:secret@example.com/hangup?a=1#rc=2",
        "params": {"Event": "Hangup", "From": "+1415", "CallerName": "Zoë"},
        "created": NOW,
    }
    return OutboxItem(key=key, **(given | facts))
