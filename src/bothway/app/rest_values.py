"""What the Voice API is told and what it tells (plivo-protocol.md, 5.2 to 5.10).

Readers are liberal: amounts and durations may be numbers or text, what cannot be read is None, and everything that
was answered, known here or not, stays in `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Generic, Literal, TypedDict, TypeVar

import msgspec

from bothway.errors import PeerError, UsageError

__all__ = [
    "Accepted",
    "AccountRecord",
    "ApplicationOptions",
    "ApplicationRecord",
    "CallFilters",
    "CallOptions",
    "CallRecord",
    "ConferenceMember",
    "ConferenceRecord",
    "FiredCalls",
    "Legs",
    "Method",
    "NumberRecord",
    "OpenCall",
    "Page",
    "PlayOptions",
    "RecordOptions",
    "Recording",
    "RecordingFilters",
    "RecordingStarted",
    "SpeakOptions",
    "StreamOptions",
    "StreamRecord",
    "StreamStarted",
    "When",
    "chosen",
    "joined",
    "page",
    "read",
]

Legs = Literal["aleg", "bleg", "both"]
"""Whose leg: the caller's, the called party's behind a `<Dial>`, or both."""

Method = Literal["GET", "POST"]
When = str | datetime

_T = TypeVar("_T", bound=msgspec.Struct)


# --- what is answered ---------------------------------------------------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An operation was accepted.

    Attributes:
        message: The carrier's words.
        api_id: Names the request.
        raw: All that was answered.
    """

    message: str = ""
    api_id: str = ""
    raw: dict[str, Any] = {}


class FiredCalls(Accepted, frozen=True, kw_only=True):
    """Calls were placed.

    Attributes:
        request_ids: One for each destination. The call's own id is the same (plivo-protocol.md, 5.3).
        idempotency_key: What it was placed with.
    """

    request_ids: tuple[str, ...] = ()
    idempotency_key: str = ""


class StreamStarted(Accepted, frozen=True, kw_only=True):
    """A stream was started.

    Attributes:
        stream_id: Names it; empty where the carrier only tells later.
    """

    stream_id: str = ""


class RecordingStarted(Accepted, frozen=True, kw_only=True):
    """A recording was started.

    Attributes:
        recording_id: Names it.
        url: Where it will be.
    """

    recording_id: str = ""
    url: str = ""


class OpenCall(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A call that is not over: queued, ringing or in progress.

    Attributes:
        call_status: `queued`, `ringing`, `in-progress` ….
        session_start: When it was made, in UTC.
    """

    call_uuid: str
    call_status: str = ""
    direction: str = ""
    from_: str = ""
    to: str = ""
    caller_name: str = ""
    request_uuid: str = ""
    session_start: datetime | None = None
    raw: dict[str, Any] = {}


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is over.

    Attributes:
        call_duration: Seconds.
        bill_duration: Seconds that are paid for.
        billed_duration: The same, rounded up as the price is.
        total_amount: What it cost.
        total_rate: Per minute.
    """

    call_uuid: str
    call_direction: str = ""
    from_number: str = ""
    to_number: str = ""
    call_state: str = ""
    initiation_time: datetime | None = None
    answer_time: datetime | None = None
    end_time: datetime | None = None
    call_duration: int | None = None
    bill_duration: int | None = None
    billed_duration: int | None = None
    total_amount: Decimal | None = None
    total_rate: Decimal | None = None
    hangup_cause_code: int | None = None
    hangup_cause_name: str = ""
    hangup_source: str = ""
    parent_call_uuid: str = ""
    raw: dict[str, Any] = {}


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stream, live or over.

    Attributes:
        bill_duration: Seconds.
        rounded_bill_duration: Seconds, rounded up as the price is.
        billed_amount: What it cost.
    """

    stream_id: str
    call_uuid: str = ""
    status: str = ""
    service_url: str = ""
    audio_track: str = ""
    bidirectional: bool | None = None
    content_type: str = ""
    created_at: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    bill_duration: int | None = None
    rounded_bill_duration: int | None = None
    billed_amount: Decimal | None = None
    raw: dict[str, Any] = {}


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording.

    Attributes:
        recording_duration_ms: Milliseconds.
        recording_start_ms: Unix time in milliseconds.
        recording_end_ms: Unix time in milliseconds.
    """

    recording_id: str
    call_uuid: str = ""
    conference_name: str = ""
    recording_type: str = ""
    recording_format: str = ""
    recording_url: str = ""
    recording_duration_ms: Decimal | None = None
    recording_start_ms: Decimal | None = None
    recording_end_ms: Decimal | None = None
    add_time: datetime | None = None
    raw: dict[str, Any] = {}


class ApplicationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An application: the URLs that the calls of its numbers go to."""

    app_id: str
    app_name: str = ""
    answer_url: str = ""
    answer_method: str = ""
    hangup_url: str = ""
    hangup_method: str = ""
    fallback_answer_url: str = ""
    fallback_method: str = ""
    sip_uri: str = ""
    raw: dict[str, Any] = {}


class NumberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A phone number: one of the account's, or one that can be had.

    Attributes:
        application: The path of its application.
    """

    number: str
    alias: str = ""
    application: str = ""
    country: str = ""
    region: str = ""
    number_type: str = ""
    voice_enabled: bool | None = None
    monthly_rental_rate: Decimal | None = None
    raw: dict[str, Any] = {}


class ConferenceMember(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One who is in a conference.

    Attributes:
        join_time: Seconds since it was joined.
    """

    member_id: str
    call_uuid: str = ""
    from_: str = ""
    to: str = ""
    direction: str = ""
    muted: bool | None = None
    deaf: bool | None = None
    join_time: int | None = None
    raw: dict[str, Any] = {}


class ConferenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A conference that is going on.

    Attributes:
        conference_run_time: Seconds.
    """

    conference_name: str
    conference_run_time: int | None = None
    conference_member_count: int | None = None
    members: tuple[ConferenceMember, ...] = ()
    raw: dict[str, Any] = {}


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The account."""

    auth_id: str
    name: str = ""
    account_type: str = ""
    billing_mode: str = ""
    cash_credits: Decimal | None = None
    timezone: str = ""
    raw: dict[str, Any] = {}


class Page(msgspec.Struct, Generic[_T], frozen=True, kw_only=True):
    """A part of a list.

    Attributes:
        objects: At most `limit` of them.
        offset: How many were before.
        total: How many there are in all; None where the carrier does not say.
        next_offset: To be asked for next; None behind the last page.
        raw: All that was answered.
    """

    objects: tuple[_T, ...]
    limit: int
    offset: int
    total: int | None = None
    next_offset: int | None = None
    raw: dict[str, Any] = {}


# --- what is asked ------------------------------------------------------------------------------------------------


class CallOptions(TypedDict, total=False):
    """How a call is placed (plivo-protocol.md, 5.3). Durations are seconds, those of machine detection milliseconds."""

    answer_method: Method
    ring_url: str
    ring_method: Method
    hangup_url: str
    hangup_method: Method
    fallback_url: str
    fallback_method: Method
    caller_name: str
    send_digits: str
    send_on_preanswer: bool
    time_limit: int
    hangup_on_ring: int
    ring_timeout: int
    machine_detection: Literal["true", "hangup"]
    machine_detection_time: int
    machine_detection_url: str
    machine_detection_method: Method
    machine_detection_maximum_speech_length: int
    machine_detection_initial_silence: int
    machine_detection_maximum_words: int
    machine_detection_initial_greeting: int
    machine_detection_silence: int
    sip_headers: str | Mapping[str, str]
    sip_auth_username: str
    sip_auth_password: str
    parent_call_uuid: str
    error_if_parent_not_found: bool
    callback_url: str
    callback_method: Method


class CallFilters(TypedDict, total=False):
    """Which records of calls are listed (plivo-protocol.md, 5.4). Times are UTC."""

    subaccount: str
    call_direction: Literal["inbound", "outbound"]
    from_number: str
    to_number: str
    parent_call_uuid: str
    hangup_cause_code: int
    hangup_source: str
    bill_duration: int
    bill_duration__gt: int
    bill_duration__gte: int
    bill_duration__lt: int
    bill_duration__lte: int
    end_time: When
    end_time__gt: When
    end_time__gte: When
    end_time__lt: When
    end_time__lte: When


class RecordOptions(TypedDict, total=False):
    """How a call is recorded (plivo-protocol.md, 5.5). `time_limit` is 60 s unless given."""

    time_limit: int
    file_format: Literal["mp3", "wav"]
    record_channel_type: Literal["mono", "stereo"]
    transcription_type: str
    transcription_url: str
    transcription_method: Method
    transcription_report_type: str
    callback_url: str
    callback_method: Method


class PlayOptions(TypedDict, total=False):
    """How files are played (plivo-protocol.md, 5.5). `length` is seconds."""

    length: int
    legs: Legs
    loop: bool
    mix: bool


class SpeakOptions(TypedDict, total=False):
    """How a text is said (plivo-protocol.md, 5.5)."""

    voice: str
    language: str
    legs: Legs
    loop: bool
    mix: bool
    type: str


class StreamOptions(TypedDict, total=False):
    """How a stream is started (plivo-protocol.md, 5.2). `stream_timeout` is seconds."""

    bidirectional: bool
    audio_track: Literal["inbound", "outbound", "both"]
    stream_timeout: int
    status_callback_url: str
    status_callback_method: Method
    content_type: str
    extra_headers: str | Mapping[str, str]
    noise_cancellation: Literal["true", "false"]
    noise_cancellation_level: int


class RecordingFilters(TypedDict, total=False):
    """Which recordings are listed (plivo-protocol.md, 5.7). Times are UTC."""

    subaccount: str
    call_uuid: str
    from_number: str
    to_number: str
    conference_name: str
    conference_uuid: str
    mpc_name: str
    mpc_uuid: str
    add_time__gt: When
    add_time__gte: When
    add_time__lt: When
    add_time__lte: When
    recording_storage_duration: int
    recording_storage_duration__gt: int
    recording_storage_duration__gte: int
    recording_storage_duration__lt: int
    recording_storage_duration__lte: int


class ApplicationOptions(TypedDict, total=False):
    """What an application says (plivo-protocol.md, 5.8)."""

    answer_url: str
    answer_method: Method
    hangup_url: str
    hangup_method: Method
    fallback_answer_url: str
    fallback_method: Method
    message_url: str
    message_method: Method
    default_number_app: bool
    default_endpoint_app: bool
    subaccount: str
    log_incoming_messages: bool
    public_uri: bool


def chosen(kind: Any, options: Mapping[str, object]) -> dict[str, Any]:
    """Options as the wire has them: without those that are None, pairs and times written out.

    Args:
        kind: One of the dictionaries above.
        options: As given.

    Raises:
        UsageError: One of them is not among `kind`'s.
    """
    for name in options:
        if name not in kind.__annotations__:
            close = get_close_matches(name, kind.__annotations__, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"there is no option {name!r}{hint}")
    return {name: _written(value) for name, value in options.items() if value is not None}


def _written(value: object) -> object:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat(" ")
    return value


# --- reading ------------------------------------------------------------------------------------------------------


def read(kind: type[_T], found: object) -> _T:
    """Read an object.

    Raises:
        PeerError: It is none, or lacks what names it.
    """
    if not isinstance(found, dict):
        raise PeerError(f"the carrier answered {type(found).__name__} where an object belongs")
    values: dict[str, Any] = {"raw": found}
    for field in msgspec.structs.fields(kind):
        given = found.get(field.encode_name)
        if field.name == "raw" or given is None:
            continue
        try:
            value = msgspec.convert(str(given) if field.type is str else given, field.type, strict=False)
        except msgspec.ValidationError:
            continue
        if isinstance(value, datetime) and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        values[field.name] = value
    missing = [
        field.encode_name for field in msgspec.structs.fields(kind) if field.required and field.name not in values
    ]
    if missing:
        raise PeerError(f"the carrier answered an object without {', '.join(missing)}")
    return kind(**values)


def page(kind: type[_T], found: Mapping[str, Any], limit: int, offset: int) -> Page[_T]:
    """Read a page of a list (plivo-protocol.md, 5.1).

    Raises:
        PeerError: It has no list of objects, or one of them cannot be read.
    """
    objects, meta = found.get("objects"), found.get("meta")
    if not isinstance(objects, list):
        raise PeerError("the carrier answered a list without objects")
    meta = meta if isinstance(meta, dict) else {}
    total = meta.get("total_count", meta.get("count"))
    total = total if isinstance(total, int) else None
    end = offset + len(objects)
    more = bool(meta["next"]) if "next" in meta else total is not None and end < total
    return Page(
        objects=tuple(read(kind, one) for one in objects),
        limit=limit,
        offset=offset,
        total=total,
        next_offset=end if more and objects else None,
        raw=dict(found),
    )


def joined(values: str | Sequence[str], separator: str) -> str:
    """One text of one or several.

    Raises:
        UsageError: There are none.
    """
    text = values if isinstance(values, str) else separator.join(values)
    if not text:
        raise UsageError("at least one is needed: an empty list was given")
    return text
