"""Recordings: their records, and their files (plivo-protocol.md, 5.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from bothway.carrier.api.operations import (
    Answer,
    FileAnswer,
    Meta,
    Operation,
    Paging,
    Request,
    Resources,
    money,
    not_found,
)
from bothway.carrier.api.parameters import MAX_INTEGER, ApiError, Text, TimeText, Uuid, bounds, time_bounds
from bothway.carrier.keys import recording_path
from bothway.carrier.store.records import RecordingFilter, RecordingRecord

__all__ = [
    "OPERATIONS",
    "ListRecordings",
    "RecordingAnswer",
    "RecordingList",
    "media",
    "recording_url",
]

_MEDIA_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}

_Days = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]


class ListRecordings(Paging):
    """Which recordings are listed: the last seven days unless `add_time` says otherwise."""

    subaccount: Text | None = None
    call_uuid: Uuid | None = None
    from_number: Text | None = None
    to_number: Text | None = None
    conference_name: Text | None = None
    conference_uuid: Uuid | None = None
    mpc_name: Text | None = None
    mpc_uuid: Uuid | None = None
    add_time: TimeText | None = None
    add_time__gt: TimeText | None = None
    add_time__gte: TimeText | None = None
    add_time__lt: TimeText | None = None
    add_time__lte: TimeText | None = None
    recording_storage_duration: _Days | None = None
    recording_storage_duration__gt: _Days | None = None
    recording_storage_duration__gte: _Days | None = None
    recording_storage_duration__lt: _Days | None = None
    recording_storage_duration__lte: _Days | None = None


class RecordingAnswer(msgspec.Struct):
    """A recording. `recording_url` can be fetched without credentials until its signature expires."""

    api_id: str
    add_time: str
    call_uuid: str | None
    conference_name: str | None
    conference_uuid: str | None
    from_number: str
    monthly_recording_storage_amount: str
    recording_duration_ms: str
    recording_end_ms: str
    recording_format: str
    recording_id: str
    recording_start_ms: str
    recording_storage_duration: int
    recording_storage_rate: str
    recording_type: str
    recording_url: str
    resource_uri: str
    rounded_recording_duration: int
    to_number: str


class RecordingList(msgspec.Struct):
    """Recordings."""

    api_id: str
    meta: Meta
    objects: list[RecordingAnswer]


def recording_url(request: Request, recording_id: str, file_format: str) -> str:
    """Where a recording can be fetched without credentials, for as long as the setting says."""
    resources = request.resources
    path = recording_path(request.account.auth_id, recording_id, file_format)
    return request.origin + resources.keys.sign_url(path, resources.now().timestamp() + resources.signed_seconds)


async def media(resources: Resources, variables: Mapping[str, str]) -> FileAnswer:
    """The file of a recording, for somebody who may have what is this account's.

    Raises:
        ApiError: There is none of this id and format (404).
    """
    auth_id, recording_id = variables["auth_id"], variables["recording_id"]
    record = await resources.store.recordings.get(recording_id)
    if (
        record is None
        or resources.data is None
        or record.recording_format != variables["file_format"]
        or auth_id not in (record.account, record.sub_account)
    ):
        raise not_found("recording")
    path = resources.data / record.path
    if not await asyncio.to_thread(path.is_file):
        raise ApiError(404, "recording not found: its file is gone")
    return FileAnswer(path, _MEDIA_TYPES[record.recording_format])


async def _find(request: Request) -> RecordingRecord:
    record = await request.resources.store.recordings.get(request.path["recording_id"])
    if record is None or not request.owns(record):
        raise not_found("recording")
    return record


async def _get(request: Request, _: None) -> Answer:
    return Answer(200, _shown(request, await _find(request)))


async def _list(request: Request, wanted: ListRecordings) -> Answer:
    if wanted.mpc_name is not None or wanted.mpc_uuid is not None:
        raise ApiError(400, "mpc_name and mpc_uuid name multi-party calls, which are not offered here")
    found = RecordingFilter(
        sub_account=await request.narrowed(wanted.subaccount),
        call_uuid=wanted.call_uuid,
        from_number=wanted.from_number,
        to_number=wanted.to_number,
        conference_name=wanted.conference_name,
        conference_uuid=wanted.conference_uuid,
        add_time=time_bounds(wanted, "add_time"),
        storage_duration=bounds(wanted, "recording_storage_duration"),
    )
    page = await request.resources.store.recordings.list(
        request.account.main_id, found, now=request.resources.now(), limit=wanted.limit, offset=wanted.offset
    )
    objects = [_shown(request, record) for record in page.records]
    return Answer(200, RecordingList(request.api_id, request.meta(page, wanted), objects))


async def _delete(request: Request, _: None) -> Answer:
    record, resources = await _find(request), request.resources
    if resources.data is not None:
        # The file first: a record without one is told of as such, and a file without a record would stay for ever.
        await asyncio.to_thread(_unlink, resources.data / record.path)
    await resources.store.recordings.delete(record.recording_id)
    return Answer(204)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _shown(request: Request, record: RecordingRecord) -> RecordingAnswer:
    added = request.local(record.add_time, fraction=True)
    assert added is not None
    age = request.resources.now() - record.add_time
    return RecordingAnswer(
        api_id=request.api_id,
        add_time=added,
        call_uuid=record.call_uuid,
        conference_name=record.conference_name,
        conference_uuid=record.conference_uuid,
        from_number=record.from_number,
        monthly_recording_storage_amount=money(record.storage_rate),
        recording_duration_ms=f"{record.duration_ms:.5f}",
        recording_end_ms=f"{record.end_ms:.5f}",
        recording_format=record.recording_format,
        recording_id=record.recording_id,
        recording_start_ms=f"{record.start_ms:.5f}",
        recording_storage_duration=max(0, age.days),
        recording_storage_rate=money(record.storage_rate),
        recording_type=record.recording_type,
        recording_url=recording_url(request, record.recording_id, record.recording_format),
        resource_uri=request.uri("Recording", record.recording_id),
        rounded_recording_duration=record.rounded_duration,
        to_number=record.to_number,
    )


_ONE = "Recording/{recording_id}/"

OPERATIONS = (
    Operation("GET", "Recording/", _list, "List recordings", {200: (RecordingList,)}, ListRecordings),
    Operation("GET", _ONE, _get, "A recording", {200: (RecordingAnswer,)}),
    Operation("DELETE", _ONE, _delete, "Delete a recording and its file", {204: ()}),
)
"""The operations of this resource."""
