"""Calls: placing them, and reading those that wait, live or have ended (plivo-protocol.md, 5.3 and 5.4)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from bothway.carrier.api.operations import Answer, Meta, Operation, Paging, Recorded, Request, money, not_found
from bothway.carrier.api.parameters import (
    MAX_INTEGER,
    ApiError,
    Flag,
    HttpUrl,
    Method,
    Text,
    TimeText,
    Uuid,
    bounds,
    time_bounds,
)
from bothway.carrier.api.switch import CallRequest, MachineDetection
from bothway.carrier.store.records import Answer as EarlierAnswer
from bothway.carrier.store.records import CallFilter, CallRecord, CallState
from bothway.errors import UsageError

__all__ = [
    "MAX_DESTINATIONS",
    "OPERATIONS",
    "CallAnswer",
    "CallCreated",
    "CallIds",
    "CallList",
    "CreateCall",
    "ListCalls",
    "LiveCallAnswer",
    "WhichCall",
    "explain_id",
    "find_call",
]

MAX_DESTINATIONS = 1_000
"""Destinations of one request (plivo-protocol.md, section 9)."""

_PARTY = re.compile(r"\+?[0-9]{1,20}|[Ss][Ii][Pp][Ss]?:[^\s<>,]{1,255}", re.ASCII)
_SIP_HEADER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FORMATTED = {"undefined", "null", "none", "nil", "nan", "[object object]", "{}", "{call_uuid}", "{stream_id}"}
"""What clients write where they have no id."""

_LIVE: tuple[CallState, ...] = ("ringing", "in-progress")


class CreateCall(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """The calls to place (plivo-protocol.md, 5.3)."""

    from_: Annotated[str, msgspec.Meta(pattern=r"^[^\s<>,]{1,255}$", extra={"is": "a caller id: a number, or sip:…"})]
    to: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=MAX_DESTINATIONS * 300,
            extra={"join": "<", "is": f"numbers or sip: endpoints between <, {MAX_DESTINATIONS} at most"},
        ),
    ]
    answer_url: HttpUrl
    answer_method: Method = "POST"
    ring_url: HttpUrl | None = None
    ring_method: Method = "POST"
    hangup_url: HttpUrl | None = None
    hangup_method: Method = "POST"
    fallback_url: HttpUrl | None = None
    fallback_method: Method = "POST"
    caller_name: Annotated[str, msgspec.Meta(max_length=50)] = ""
    send_digits: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[0-9*#wW]{0,256}(@[0-9]{1,5})?$",
            extra={"is": "keys 0-9 * #, w and W that wait, and perhaps @ and the milliseconds of a tone"},
        ),
    ] = ""
    send_on_preanswer: Flag = False
    time_limit: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 14_400
    hangup_on_ring: Annotated[int, msgspec.Meta(ge=0, le=86_400)] | None = None
    machine_detection: Literal["true", "hangup", "false"] = "false"
    machine_detection_time: Annotated[int, msgspec.Meta(ge=2_000, le=10_000)] = 5_000
    machine_detection_url: HttpUrl | None = None
    machine_detection_method: Method = "POST"
    machine_detection_maximum_speech_length: Annotated[int, msgspec.Meta(ge=1_000, le=6_000)] = 5_000
    machine_detection_initial_silence: Annotated[int, msgspec.Meta(ge=2_000, le=10_000)] = 4_500
    machine_detection_maximum_words: Annotated[int, msgspec.Meta(ge=2, le=10)] | None = None
    machine_detection_initial_greeting: Annotated[int, msgspec.Meta(ge=1_000, le=5_000)] | None = None
    machine_detection_silence: Annotated[int, msgspec.Meta(ge=100, le=5_000)] | None = None
    sip_headers: Text = ""
    ring_timeout: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 120
    parent_call_uuid: Uuid | None = None
    error_if_parent_not_found: Flag = False
    sip_auth_username: Text | None = None
    sip_auth_password: Text | None = None


class CallCreated(msgspec.Struct):
    """Calls that will be placed: one UUID, or a list where there are several destinations."""

    api_id: str
    message: str
    request_uuid: str | list[str]


class ListCalls(Paging):
    """Which calls are listed: with `status` the live or queued ones, else those that ended, in the last seven days."""

    status: Literal["live", "queued"] | None = None
    subaccount: Text | None = None
    call_direction: Literal["inbound", "outbound"] | None = None
    from_number: Text | None = None
    to_number: Text | None = None
    parent_call_uuid: Uuid | None = None
    bill_duration: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None = None
    bill_duration__gt: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None = None
    bill_duration__gte: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None = None
    bill_duration__lt: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None = None
    bill_duration__lte: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None = None
    end_time: TimeText | None = None
    end_time__gt: TimeText | None = None
    end_time__gte: TimeText | None = None
    end_time__lt: TimeText | None = None
    end_time__lte: TimeText | None = None
    hangup_cause_code: Annotated[int, msgspec.Meta(ge=0, le=99_999)] | None = None
    hangup_source: Text | None = None


class WhichCall(msgspec.Struct):
    """With `status`, a live or a queued call; without it, the record of one that ended."""

    status: Literal["live", "queued"] | None = None


class CallAnswer(msgspec.Struct):
    """The record of a call that ended."""

    api_id: str
    answer_time: str | None
    bill_duration: int
    billed_duration: int
    call_direction: str
    call_duration: int
    call_state: str
    call_uuid: str
    cnam_lookup: str
    conference_uuid: str | None
    end_time: str | None
    from_number: str
    hangup_cause_code: int | None
    hangup_cause_name: str
    hangup_source: str
    initiation_time: str | None
    parent_call_uuid: str | None
    resource_uri: str
    source_ip: str
    stir_attestation: str
    stir_verification: str
    to_number: str
    total_amount: str
    total_rate: str
    voice_network_group: str


class CallList(msgspec.Struct):
    """Records of calls that ended, newest first."""

    api_id: str
    meta: Meta
    objects: list[CallAnswer]


class CallIds(msgspec.Struct):
    """Calls that live or wait."""

    api_id: str
    calls: list[str]


class LiveCallAnswer(msgspec.Struct, rename={"from_": "from"}):
    """A call that lives or waits."""

    api_id: str
    direction: str
    from_: str
    call_status: str
    to: str
    caller_name: str
    call_uuid: str
    session_start: str
    request_uuid: str
    parent_call_uuid: str | None
    stir_verification: str
    stir_attestation: str


def explain_id(what: str, text: str) -> None:
    """Refuse an id that is none, but the text that a client makes of a value that it does not have.

    Raises:
        ApiError: It is (404).
    """
    if text.strip().lower() in _FORMATTED:
        raise ApiError(
            404, f"the {what} in the path is the text {text!r}: the client wrote a value that it did not have"
        )


async def find_call(request: Request) -> CallRecord:
    """The call in the path, whatever its state.

    Raises:
        ApiError: There is none, or it is another account's (404).
    """
    call_uuid = request.path["call_uuid"]
    explain_id("call id", call_uuid)
    record = await request.resources.store.calls.get(call_uuid)
    if record is None or not request.owns(record):
        raise not_found("call")
    return record


# --- placing ------------------------------------------------------------------------------------------------------


async def _create(request: Request, wanted: CreateCall) -> Answer | Recorded:
    resources = request.resources
    placed = _call_request(request, wanted, await _parent(request, wanted))
    key = _idempotency_key(request)
    calls = resources.switch.prepare_calls(request.account, placed)
    ids = [call.call_uuid for call in calls]
    answer = CallCreated(
        request.api_id, "call fired" if len(ids) == 1 else "calls fired", ids[0] if len(ids) == 1 else ids
    )
    if key is None:
        await resources.store.calls.queue(calls)
    else:
        kept = EarlierAnswer(201, msgspec.json.encode(answer))
        try:
            earlier = await resources.store.idempotency.claim(
                request.account.auth_id, key, msgspec.json.encode(placed), kept, now=resources.now(), calls=calls
            )
        except UsageError:
            raise ApiError(422, "this Idempotency-Key was used for another request") from None
        if earlier is not None:
            return Recorded(earlier.status, earlier.body)
    resources.switch.place_calls(request.account, placed, calls)
    return Answer(201, answer)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isprintable() and key.isascii()):
        raise ApiError(400, "the header Idempotency-Key is not 1 to 255 printable characters")
    return key


async def _parent(request: Request, wanted: CreateCall) -> str | None:
    """The live call that the new ones belong to; another carrier of the data folder may have it."""
    parent = wanted.parent_call_uuid
    if parent is None:
        return None
    live = request.resources.switch.live_call(parent)
    if live is not None and request.may_act_on(live.account):
        return parent
    record = await request.resources.store.calls.get(parent) if live is None else None
    if record is not None and record.state in _LIVE and request.owns(record):
        return parent
    if wanted.error_if_parent_not_found:
        raise ApiError(404, f"parent_call_uuid names no live call: {parent}")
    return None


def _call_request(request: Request, wanted: CreateCall, parent: str | None) -> CallRequest:
    from_, to = _bare(wanted.from_), tuple(_bare(one.strip()) for one in wanted.to.split("<"))
    if len(to) > MAX_DESTINATIONS:
        raise ApiError(400, f"to has {len(to)} destinations: {MAX_DESTINATIONS} at most")
    for destination in to:
        if not _PARTY.fullmatch(destination):
            raise ApiError(400, f"to is not numbers or sip: endpoints between <: {destination[:60]!r} is neither")
    if from_ in to:
        raise ApiError(400, "from is among to: a call has two ends")
    return CallRequest(
        from_=from_,
        to=to,
        answer_url=wanted.answer_url,
        answer_method=wanted.answer_method,
        hangup_url=wanted.hangup_url,
        hangup_method=wanted.hangup_method,
        fallback_url=wanted.fallback_url,
        fallback_method=wanted.fallback_method,
        ring_url=wanted.ring_url,
        ring_method=wanted.ring_method,
        caller_name=wanted.caller_name,
        send_digits=wanted.send_digits,
        send_on_preanswer=wanted.send_on_preanswer,
        time_limit=wanted.time_limit,
        hangup_on_ring=wanted.hangup_on_ring,
        ring_timeout=wanted.ring_timeout,
        machine_detection=_machine_detection(wanted),
        sip_headers=_sip_headers(wanted.sip_headers),
        sip_auth_username=wanted.sip_auth_username,
        sip_auth_password=wanted.sip_auth_password,
        parent_call_uuid=parent,
    )


def _bare(party: str) -> str:
    return party if party[:3].lower() == "sip" else party.removeprefix("+")


def _machine_detection(wanted: CreateCall) -> MachineDetection | None:
    if wanted.machine_detection == "false":
        return None
    return MachineDetection(
        mode=wanted.machine_detection,
        time=wanted.machine_detection_time,
        url=wanted.machine_detection_url,
        method=wanted.machine_detection_method,
        maximum_speech_length=wanted.machine_detection_maximum_speech_length,
        initial_silence=wanted.machine_detection_initial_silence,
        maximum_words=wanted.machine_detection_maximum_words,
        initial_greeting=wanted.machine_detection_initial_greeting,
        silence=wanted.machine_detection_silence,
    )


def _sip_headers(text: str) -> tuple[tuple[str, str], ...]:
    """`k=v,k2=v2` as names and values; a name that begins with `X-PH-` already does not get it twice."""
    headers = []
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not _SIP_HEADER.fullmatch(name.strip()) or not value.strip().isprintable():
            raise ApiError(400, "sip_headers is not pairs key=value between commas, with letters and digits in the key")
        bare = re.sub(r"^x-ph-", "", name.strip(), flags=re.IGNORECASE)
        headers.append((bare, value.strip()))
    return tuple(headers)


# --- reading ------------------------------------------------------------------------------------------------------


async def _list(request: Request, wanted: ListCalls) -> Answer:
    store = request.resources.store.calls
    account, limit, offset = request.account.main_id, wanted.limit, wanted.offset
    found = CallFilter(
        sub_account=await request.narrowed(wanted.subaccount),
        direction=wanted.call_direction,
        from_number=wanted.from_number,
        to_number=wanted.to_number,
        parent_call_uuid=wanted.parent_call_uuid,
        bill_duration=bounds(wanted, "bill_duration"),
        end_time=time_bounds(wanted, "end_time"),
        hangup_cause_code=wanted.hangup_cause_code,
        hangup_source=wanted.hangup_source,
    )
    if wanted.status is None:
        page = await store.list(account, found, now=request.resources.now(), limit=limit, offset=offset)
        objects = [_record(request, record) for record in page.records]
        return Answer(200, CallList(request.api_id, request.meta(page, wanted), objects))
    states = _LIVE if wanted.status == "live" else ("queued",)
    page = await store.live(account, states=states, wanted=found, limit=limit, offset=offset)
    return Answer(200, CallIds(request.api_id, [record.call_uuid for record in page.records]))


async def _get(request: Request, wanted: WhichCall) -> Answer:
    record = await find_call(request)
    live = record.end_time is None
    if wanted.status is None:
        if live:
            raise ApiError(
                404, "this call has not ended: its record can be had when it has; until then, ask status=live"
            )
        return Answer(200, _record(request, record))
    if not live:
        raise ApiError(404, "call not found, or it has ended")
    if (record.state == "queued") != (wanted.status == "queued"):
        raise ApiError(404, f"this call is not {wanted.status}: it is {record.state}")
    return Answer(200, _live(request, record))


def _record(request: Request, record: CallRecord) -> CallAnswer:
    return CallAnswer(
        api_id=request.api_id,
        answer_time=request.local(record.answer_time),
        bill_duration=record.bill_duration,
        billed_duration=record.billed_duration,
        call_direction=record.direction,
        call_duration=record.call_duration,
        call_state="ANSWERED" if record.answer_time is not None else record.state.upper(),
        call_uuid=record.call_uuid,
        cnam_lookup=record.cnam_lookup,
        conference_uuid=record.conference_uuid,
        end_time=request.local(record.end_time),
        from_number=record.from_number,
        hangup_cause_code=record.hangup_cause_code,
        hangup_cause_name=record.hangup_cause_name,
        hangup_source=record.hangup_source,
        initiation_time=request.local(record.initiation_time),
        parent_call_uuid=record.parent_call_uuid,
        resource_uri=request.uri("Call", record.call_uuid),
        source_ip=record.source_ip,
        stir_attestation=record.stir_attestation,
        stir_verification=record.stir_verification,
        to_number=record.to_number,
        total_amount=money(record.amount),
        total_rate=money(record.rate),
        voice_network_group=record.voice_network_group,
    )


def _live(request: Request, record: CallRecord) -> LiveCallAnswer:
    return LiveCallAnswer(
        api_id=request.api_id,
        direction=record.direction,
        from_=record.from_number,
        call_status=record.state,
        to=record.to_number,
        caller_name=record.caller_name,
        call_uuid=record.call_uuid,
        session_start=record.initiation_time.strftime("%Y-%m-%d %H:%M:%S.%f"),
        request_uuid=record.request_uuid,
        parent_call_uuid=record.parent_call_uuid,
        stir_verification=record.stir_verification,
        stir_attestation=record.stir_attestation,
    )


OPERATIONS = (
    Operation("POST", "Call/", _create, "Place calls", {201: (CallCreated,)}, CreateCall, errors=(403, 404, 422, 503)),
    Operation("GET", "Call/", _list, "List calls", {200: (CallList, CallIds)}, ListCalls),
    Operation("GET", "Call/{call_uuid}/", _get, "A call", {200: (CallAnswer, LiveCallAnswer)}, WhichCall),
)
"""The operations that place and read calls."""
