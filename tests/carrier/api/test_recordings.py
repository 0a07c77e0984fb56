from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.carrier.api.desk import MAIN, NOW, OTHER, UNKNOWN, Desk

from bothway.carrier.keys import recording_path
from bothway.carrier.store.records import RecordingRecord

WAV = b"RIFF" + bytes(range(256))


async def keep(api: Desk, recording_id: str = "r1", **values: Any) -> RecordingRecord:
    given: dict[str, Any] = {
        "account": MAIN.auth_id,
        "add_time": NOW - timedelta(days=2),
        "path": f"recordings/{recording_id}.wav",
        "recording_format": "wav",
        **values,
    }
    record = RecordingRecord(recording_id=recording_id, **given)
    await api.store.recordings.save(record)
    path = api.data / record.path
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(WAV)
    return record


async def test_a_recording(api: Desk) -> None:
    await keep(api, call_uuid=UNKNOWN, duration_ms=1_500, start_ms=1_000, end_ms=2_500, rounded_duration=60)
    shown = (await api.ask("GET", "Recording/r1/")).json
    url = shown.pop("recording_url")
    assert url.startswith(f"http://carrier.test:80{recording_path(MAIN.auth_id, 'r1', 'wav')}?Expires=")
    assert shown == {
        "api_id": shown["api_id"],
        "add_time": "2026-02-27 17:30:00.250000+05:30",
        "call_uuid": UNKNOWN,
        "conference_name": None,
        "conference_uuid": None,
        "from_number": "",
        "monthly_recording_storage_amount": "0.00000",
        "recording_duration_ms": "1500.00000",
        "recording_end_ms": "2500.00000",
        "recording_format": "wav",
        "recording_id": "r1",
        "recording_start_ms": "1000.00000",
        "recording_storage_duration": 2,
        "recording_storage_rate": "0.00000",
        "recording_type": "normal",
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/Recording/r1/",
        "rounded_recording_duration": 60,
        "to_number": "",
    }
    assert (await api.ask("GET", "Recording/r1/", account=OTHER)).status == 404
    assert (await api.ask("DELETE", "Recording/r1/", account=OTHER)).status == 404


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        (f"call_uuid={UNKNOWN}", 1),
        ("call_uuid=x", 0),
        ("from_number=1555", 1),
        ("conference_name=x", 0),
        ("add_time__gte=2026-02-27%2000:00", 1),
        ("add_time__lt=2026-02-27%2000:00", 0),
        ("recording_storage_duration=2", 1),
        ("recording_storage_duration__gt=2", 0),
    ],
)
async def test_filters(api: Desk, query: str, count: int) -> None:
    await keep(api, call_uuid=UNKNOWN, from_number="15550001")
    assert len((await api.ask("GET", f"Recording/?{query}")).json["objects"]) == count


@pytest.mark.parametrize("query", ["mpc_name=x", "mpc_uuid=x", "add_time=x", "recording_storage_duration=x", "limit=x"])
async def test_filters_that_cannot_be(api: Desk, query: str) -> None:
    reply = await api.ask("GET", f"Recording/?{query}")
    assert reply.status == 400
    assert query.partition("=")[0] in reply.error


# --- the file -----------------------------------------------------------------------------------------------------


async def test_the_file_with_credentials(api: Desk) -> None:
    sub = await api.subaccount()
    await keep(api)
    await keep(api, "r2", sub_account=sub.auth_id)
    path = recording_path(MAIN.auth_id, "r1", "wav")
    reply = await api.ask("GET", path)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, WAV, "audio/wav")
    assert reply.headers["content-length"] == str(len(WAV))
    assert (await api.ask("GET", path, account=None)).status == 401
    assert (await api.ask("GET", path, account=OTHER)).status == 404
    assert (await api.ask("GET", path, account=sub)).status == 404
    assert (await api.ask("GET", "Recording/r1.wav", account=sub)).status == 404
    assert (await api.ask("GET", "Recording/r2.wav", account=sub)).status == 200
    assert (await api.ask("GET", "Recording/r2.wav")).status == 200
    assert (await api.ask("HEAD", path)).status == 200


async def test_a_part_of_the_file(api: Desk) -> None:
    await keep(api)
    reply = await api.ask("GET", "Recording/r1.wav", headers={"Range": "bytes=4-7"})
    assert (reply.status, reply.body) == (206, bytes(range(4)))
    assert reply.headers["content-range"] == f"bytes 4-7/{len(WAV)}"
    reply = await api.ask("GET", "Recording/r1.wav", headers={"Range": "bytes=9999-"})
    assert reply.status == 416


async def test_the_file_by_its_signed_url(api: Desk) -> None:
    await keep(api)
    parts = urlsplit((await api.ask("GET", "Recording/r1/")).json["recording_url"])
    target = f"{parts.path}?{parts.query}"
    reply = await api.ask("GET", target, account=None)
    assert (reply.status, reply.body) == (200, WAV)
    for changed in (
        target[:-1] + ("0" if target[-1] != "0" else "1"),
        target.replace("r1.wav", "r2.wav"),
        target.replace("Expires=1", "Expires=9"),
        target.replace("Expires", "Expired"),
        target.partition("&")[0] + "&Signature=",
    ):
        reply = await api.ask("GET", changed, account=None)
        assert reply.status == 403
        assert "signature of this URL" in reply.error
    api.switch.now = NOW + timedelta(seconds=api.resources.signed_seconds + 1)
    assert (await api.ask("GET", target, account=None)).status == 403


@pytest.mark.parametrize("name", ["r9.wav", "r1.mp3", "r1.exe", "..%2Fr1.wav", "%00.wav"])
async def test_files_that_are_none(api: Desk, name: str) -> None:
    await keep(api)
    assert (await api.ask("GET", f"Recording/{name}")).status == 404


async def test_a_file_that_is_gone(api: Desk) -> None:
    record = await keep(api)
    (api.data / record.path).unlink()
    reply = await api.ask("GET", "Recording/r1.wav")
    assert (reply.status, reply.error) == (404, "recording not found: its file is gone")
    assert (await api.ask("DELETE", "Recording/r1/")).status == 204
