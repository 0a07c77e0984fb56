"""Audio streams of calls (plivo-protocol.md, 5.2)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bothway.carrier.api.calls import explain_id, find_call
from bothway.carrier.api.live import live_call
from bothway.carrier.api.operations import Answer, Meta, Operation, Paging, Request, money, not_found
from bothway.carrier.api.parameters import ApiError, Flag, HttpUrl, Method, Text
from bothway.carrier.api.switch import StreamRequest
from bothway.carrier.rates import bill
from bothway.carrier.store.records import StreamRecord
from bothway.errors import PeerError
from bothway.wire.content_type import STREAM_CONTENT_TYPES, parse_stream_content_type

__all__ = [
    "MAX_HEADERS",
    "OPERATIONS",
    "StreamAnswer",
    "StreamList",
    "StreamMeta",
    "StreamParameters",
    "StreamStarted",
]

MAX_HEADERS = 512
"""Bytes of `extra_headers` (plivo-protocol.md, section 9)."""


class StreamParameters(msgspec.Struct):
    """The stream that is asked for."""

    service_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[Ww][Ss][Ss]?://[^\s/?#]+[^\s]*$",
            max_length=2048,
            extra={"is": "a ws or wss URL of 2048 characters at most"},
        ),
    ]
    bidirectional: Flag = False
    audio_track: Literal["inbound", "outbound", "both"] = "inbound"
    stream_timeout: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 86_400
    status_callback_url: HttpUrl | None = None
    status_callback_method: Method = "POST"
    content_type: Text | None = None
    extra_headers: Text = ""
    noise_cancellation: Flag = False
    noise_cancellation_level: Annotated[int, msgspec.Meta(ge=60, le=100)] = 85


class StreamStarted(msgspec.Struct):
    """The stream is being opened."""

    api_id: str
    stream_id: str
    message: str = "audio streaming started"


class StreamAnswer(msgspec.Struct):
    """A stream. What it is billed grows as long as it is open."""

    api_id: str
    audio_track: str
    bidirectional: bool
    bill_duration: int
    billed_amount: str
    call_uuid: str
    content_type: str
    created_at: str
    end_time: str | None
    plivo_auth_id: str
    resource_uri: str
    rounded_bill_duration: int
    service_url: str
    start_time: str | None
    status: str
    status_callback_url: str
    stream_id: str


class StreamMeta(Meta):
    """Which part of a list this is; streams have the number of all in `count` too."""

    count: int = 0


class StreamList(msgspec.Struct):
    """The streams of a call."""

    api_id: str
    meta: StreamMeta
    objects: list[StreamAnswer]


async def _start(request: Request, wanted: StreamParameters) -> Answer:
    call = live_call(request)
    if wanted.bidirectional and wanted.audio_track != "inbound":
        raise ApiError(400, "audio_track is inbound where bidirectional is true")
    if len(wanted.extra_headers.encode()) > MAX_HEADERS:
        raise ApiError(400, f"extra_headers is not text of {MAX_HEADERS} bytes at most")
    if wanted.content_type is not None:
        try:
            parse_stream_content_type(wanted.content_type)
        except PeerError:
            raise ApiError(400, "content_type is not one of " + ", ".join(STREAM_CONTENT_TYPES)) from None
    stream_id = await call.start_stream(
        StreamRequest(
            service_url=wanted.service_url,
            bidirectional=wanted.bidirectional,
            audio_track=wanted.audio_track,
            stream_timeout=wanted.stream_timeout,
            status_callback_url=wanted.status_callback_url,
            status_callback_method=wanted.status_callback_method,
            content_type=wanted.content_type,
            extra_headers=wanted.extra_headers,
            noise_cancellation=wanted.noise_cancellation,
            noise_cancellation_level=wanted.noise_cancellation_level,
        )
    )
    return Answer(202, StreamStarted(request.api_id, stream_id))


async def _list(request: Request, paging: Paging) -> Answer:
    record = await find_call(request)
    page = await request.resources.store.streams.list(record.call_uuid, limit=paging.limit, offset=paging.offset)
    meta = StreamMeta(**msgspec.structs.asdict(request.meta(page, paging)), count=page.total)
    return Answer(200, StreamList(request.api_id, meta, [_shown(request, stream) for stream in page.records]))


async def _get(request: Request, _: None) -> Answer:
    record = await find_call(request)
    stream_id = request.path["stream_id"]
    explain_id("stream id", stream_id)
    stream = await request.resources.store.streams.get(stream_id)
    if stream is None or stream.call_uuid != record.call_uuid:
        raise not_found("stream")
    return Answer(200, _shown(request, stream))


async def _stop(request: Request, _: None) -> Answer:
    stream_id = request.path["stream_id"]
    explain_id("stream id", stream_id)
    if not live_call(request).stop_stream(stream_id):
        raise ApiError(404, "stream not found, or it has ended")
    return Answer(204)


async def _stop_all(request: Request, _: None) -> Answer:
    live_call(request).stop_streams()
    return Answer(204)


def _shown(request: Request, record: StreamRecord) -> StreamAnswer:
    bill_duration, rounded, amount = record.bill_duration, record.rounded_bill_duration, record.billed_amount
    if record.start_time is not None and record.end_time is None:
        so_far = (request.resources.now() - record.start_time).total_seconds()
        bill_duration, rounded, amount = bill(so_far, record.rate)
    return StreamAnswer(
        api_id=request.api_id,
        audio_track=record.audio_track,
        bidirectional=record.bidirectional,
        bill_duration=bill_duration,
        billed_amount=money(amount),
        call_uuid=record.call_uuid,
        content_type=record.content_type,
        created_at=record.created_at.isoformat(sep=" ", timespec="microseconds"),
        end_time=request.local(record.end_time),
        plivo_auth_id=record.sub_account or record.account,
        resource_uri=request.uri("Call", record.call_uuid, "Stream", record.stream_id),
        rounded_bill_duration=rounded,
        service_url=record.service_url,
        start_time=request.local(record.start_time),
        status=record.status,
        status_callback_url=record.status_callback_url or "",
        stream_id=record.stream_id,
    )


_ALL = "Call/{call_uuid}/Stream/"
_ONE = _ALL + "{stream_id}/"

OPERATIONS = (
    Operation(
        "POST", _ALL, _start, "Stream a call's audio", {202: (StreamStarted,)}, StreamParameters, errors=(404, 409)
    ),
    Operation("GET", _ALL, _list, "List the streams of a call", {200: (StreamList,)}, Paging),
    Operation("DELETE", _ALL, _stop_all, "Stop all streams of a call", {204: ()}),
    Operation("GET", _ONE, _get, "A stream", {200: (StreamAnswer,)}),
    Operation("DELETE", _ONE, _stop, "Stop a stream", {204: ()}),
)
"""The operations of this resource."""
