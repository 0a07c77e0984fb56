from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.store.examples import MAIN, NOW, SUB, a_recording, ago, an_item, opened

from bothway.carrier.store.records import Comparison, RecordingFilter
from bothway.carrier.store.store import Store

pytestmark = pytest.mark.virtual_time


async def _ids(store: Store, **wanted: Any) -> list[str]:
    page = await store.recordings.list(MAIN, RecordingFilter(**wanted), now=NOW)
    assert page.total == len(page.records)
    return [recording.recording_id for recording in page.records]


async def test_a_recording_comes_back_as_it_was_saved(where: str | Path | None) -> None:
    async with opened(where) as store:
        stereo = a_recording(channels=2, size=2**33, call_uuid="call-1", recording_type="call")
        await store.recordings.save(stereo, [an_item("recording-1")])
        assert await store.recordings.get("recording-1") == stereo
        assert await store.outbox.waiting() == 1
        assert await store.recordings.delete("recording-1")
        assert not await store.recordings.delete("recording-1")
        assert await store.recordings.get("recording-1") is None


async def test_the_filters_of_the_list(where: str | Path | None) -> None:
    async with opened(where) as store:
        of_call = {"call_uuid": "call-1", "from_number": "14155550100", "to_number": "+442071838750"}
        store.recordings.save(a_recording("a", add_time=ago(minutes=1), **of_call))
        of_conference = {"conference_name": "Monday", "conference_uuid": "c-1"}
        store.recordings.save(a_recording("b", add_time=ago(minutes=2), **of_conference, sub_account=SUB))
        store.recordings.save(a_recording("c", add_time=ago(minutes=3), account="MABBBBBBBBBBBBBBBBBB"))
        assert await _ids(store) == ["a", "b"]
        assert await _ids(store, sub_account=SUB) == ["b"]
        assert await _ids(store, call_uuid="call-1") == ["a"]
        assert await _ids(store, from_number="+1415") == ["a"]
        assert await _ids(store, to_number="44") == ["a"]
        assert await _ids(store, conference_name="Monday") == ["b"]
        assert await _ids(store, conference_uuid="c-2") == []


async def test_the_window_of_the_list(where: str | Path | None) -> None:
    async with opened(where) as store:
        for days in (0, 6, 8, 20, 40, 60):
            store.recordings.save(a_recording(str(days), add_time=ago(days=days)))
        assert await _ids(store) == ["0", "6"]
        assert await _ids(store, add_time=(Comparison("lt", ago(days=6)),)) == ["8", "20"]
        assert await _ids(store, add_time=(Comparison("gte", ago(days=40)),)) == ["20", "40"]
        both = (Comparison("gte", ago(days=60)), Comparison("lte", ago(days=8)))
        assert await _ids(store, add_time=both) == ["8", "20", "40", "60"]


@pytest.mark.parametrize(
    ("operator", "found"),
    [
        ("eq", ["8"]),
        ("gt", ["20", "40"]),
        ("gte", ["8", "20", "40"]),
        ("lt", ["0", "7"]),
        ("lte", ["0", "7", "8"]),
    ],
)
async def test_days_of_storage(where: str | Path | None, operator: Any, found: list[str]) -> None:
    async with opened(where) as store:
        for days in (0, 7, 8, 20, 40):
            store.recordings.save(a_recording(str(days), add_time=ago(days=days, hours=5)))
        assert await _ids(store, storage_duration=(Comparison(operator, 8),)) == found
        assert await _ids(store, storage_duration=(Comparison(operator, 10**40),)) == (
            ["0", "7", "8", "20", "40"] if operator in {"lt", "lte"} else []
        )


async def test_what_is_too_old_oldest_first(where: str | Path | None) -> None:
    async with opened(where) as store:
        for days in (1, 5, 3):
            store.recordings.save(a_recording(str(days), add_time=ago(days=days), account=f"MA{days}"))
        old = await store.recordings.expired(NOW - timedelta(days=2))
        assert [recording.recording_id for recording in old] == ["5", "3"]
        assert len(await store.recordings.expired(NOW, limit=1)) == 1
