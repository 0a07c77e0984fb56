"""The parameters of every webhook, made by the carrier and read by the app.

Builders give form fields as text, in the shape of captured requests (plivo-protocol.md, sections 4 and 6); the
carrier's shell sends them, and adds what a verb knows (`Digits`, `RecordUrl` …) to `standard_params`. Readers are
liberal: a field that is missing or unreadable is empty, and one that is unknown is kept in `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

from bothway.errors import PeerError, UsageError
from bothway.wire.billing import MINUTE, billed_seconds, started_seconds
from bothway.wire.hangup import HANGUP_CAUSES, HangupCause

__all__ = [
    "AnswerRequest",
    "CallFacts",
    "HangupReport",
    "StatusForm",
    "StreamEvent",
    "StreamStatus",
    "answer_params",
    "hangup_params",
    "machine_params",
    "parse_answer",
    "parse_hangup",
    "parse_stream_status",
    "ring_params",
    "standard_params",
    "stream_status_params",
    "unanswered_status",
]

_UNANSWERED_STATUS = {
    1000: "cancel",
    3000: "no-answer",
    3010: "busy",
    3070: "timeout",
    3100: "busy",
    4000: "completed",  # hung up normally, as a document may that takes no call
    6010: "timeout",
    9000: "cancel",
}

StatusForm: TypeAlias = Literal["documented", "live"]
"""Which vocabulary a stream's status callbacks use: the newer documents' or the live one (plivo-protocol.md, 4)."""

StreamEvent: TypeAlias = Literal["started", "stopped", "failed", "degraded", "played", "cleared"]
"""What happened to a stream, in the words of the documents where they have one."""

_LIVE_EVENTS: dict[StreamEvent, str] = {
    "started": "StartStream",
    "stopped": "StopStream",
    "failed": "DroppedStream",
    "degraded": "DegradedStream",
    "played": "PlayedStream",
    "cleared": "ClearedAudio",
}
_DOCUMENTED_EVENTS: tuple[StreamEvent, ...] = ("started", "stopped", "failed")
_EVENTS: dict[str, StreamEvent] = {
    spelling.lower(): event for event, live in _LIVE_EVENTS.items() for spelling in (event, live)
}
_LIVE_ERRORS: dict[StreamEvent, str] = {
    "failed": "connection disconnected with the remote service",
    "degraded": "connection degraded",
}


# --- facts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CallFacts:
    """What every webhook of a call says about it.

    Attributes:
        call_uuid: Names the call.
        from_: Who placed it: a number, or a SIP URI.
        to: Who was called.
        direction: Who the call was placed by: `inbound` from outside, `outbound` through the API.
        auth_id: Of the account.
        session_start: When the call was made, with its time zone.
        bill_rate: Price of a minute.
        country_code: Two letters, or nothing.
        route_type: As the account's price list calls it, or nothing.
        caller_name: What the caller is announced as; `from_` where it is empty.
        request_uuid: What the API answered to the request for an outbound call; `call_uuid` where it is empty.
        parent_call_uuid: The first leg's call, where this is another call's second leg.
        forwarded_from: Who forwarded the call here.
        stir_verification: Of the caller's number.
        stir_attestation: Of the caller's number.
        sip_headers: `SIP-H-To` and `X-PH-*` of a SIP call, by the names they are sent under.

    Raises:
        UsageError: `session_start` has no time zone.
    """

    call_uuid: str
    from_: str
    to: str
    direction: Literal["inbound", "outbound"]
    auth_id: str
    session_start: datetime
    bill_rate: Decimal = Decimal(0)
    country_code: str = ""
    route_type: str = ""
    caller_name: str = ""
    request_uuid: str = ""
    parent_call_uuid: str = ""
    forwarded_from: str = ""
    stir_verification: str = "Not Applicable"
    stir_attestation: str = "Not Applicable"
    sip_headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        _aware(self.session_start, "session_start")


# --- builders -----------------------------------------------------------------------------------------------------


def standard_params(facts: CallFacts, *, event: str, status: str) -> dict[str, str]:
    """The parameters that every request for a document carries (plivo-protocol.md, 6.2).

    Args:
        facts: Of the call.
        event: `Event`: `StartApp`, `Redirect`, `DialHangup` ….
        status: `CallStatus`: ringing, in-progress, completed, busy, failed, timeout, no-answer, cancel.
    """
    params = _identity(facts, event, status)
    params |= {
        "BillRate": _money(facts.bill_rate),
        "CountryCode": facts.country_code,
        "RouteType": facts.route_type,
        "STIRAttestation": facts.stir_attestation,
        "STIRVerification": facts.stir_verification,
    }
    if facts.direction == "outbound":
        params |= _outbound_ids(facts)
    else:
        params["CallerName"] = facts.caller_name or facts.from_
    if facts.forwarded_from:
        params["ForwardedFrom"] = facts.forwarded_from
    return params | dict(facts.sip_headers)


def answer_params(facts: CallFacts, *, status: str | None = None) -> dict[str, str]:
    """What the answer URL and the fallback URL get (plivo-protocol.md, 6.3).

    Args:
        facts: Of the call.
        status: Another `CallStatus` than `ringing` for an inbound and `in-progress` for an outbound call.
    """
    usual = "ringing" if facts.direction == "inbound" else "in-progress"
    return standard_params(facts, event="StartApp", status=status or usual)


def ring_params(facts: CallFacts) -> dict[str, str]:
    """What the ring URL gets (plivo-protocol.md, 6.3)."""
    return _identity(facts, "Ring", "ringing") | {
        "CallerName": facts.caller_name or facts.from_,
        "RequestUUID": facts.request_uuid or facts.call_uuid,
    }


def machine_params(facts: CallFacts, *, if_machine: Literal["continue", "hangup"]) -> dict[str, str]:
    """What the machine detection URL gets once a machine was heard (plivo-protocol.md, 6.3)."""
    params = _identity(facts, "MachineDetection", "in-progress") | _outbound_ids(facts)
    return params | {"Machine": "true", "IfMachine": if_machine}


def hangup_params(
    facts: CallFacts,
    cause: HangupCause,
    *,
    start_time: datetime,
    answer_time: datetime | None,
    end_time: datetime,
    status: str | None = None,
    duration: float | None = None,
    total_cost: Decimal | None = None,
    zone: tzinfo = UTC,
) -> dict[str, str]:
    """What the hang-up URL gets (plivo-protocol.md, 6.3).

    A call is billed by the started minute: 66 s answered are a `Duration` of 66 and a `BillDuration` of 120. One that
    nobody answered has an empty `AnswerTime` and no `ALeg…`.

    Args:
        facts: Of the call.
        cause: Why it ended.
        start_time: When it was placed, or came in.
        answer_time: When it was answered, if it was.
        end_time: When it ended.
        status: Another `CallStatus` than the cause tells.
        duration: Other seconds that count than those from the answer to the end.
        total_cost: Another price than `bill_rate` times the started minutes.
        zone: The account's time zone, in which the three times are written, without naming it.

    Raises:
        UsageError: A time has no time zone.
    """
    for name, at in (("start_time", start_time), ("answer_time", answer_time), ("end_time", end_time)):
        if at is not None:
            _aware(at, name)
    answered = answer_time is not None
    if duration is None:
        duration = (end_time - answer_time).total_seconds() if answer_time is not None else 0.0
    billed = billed_seconds(duration)
    cost = facts.bill_rate * (billed // MINUTE) if total_cost is None else total_cost
    usual = "completed" if answered else unanswered_status(cause)
    params = _identity(facts, "Hangup", status or usual) | {
        "AnswerTime": _local(answer_time, zone) if answer_time is not None else "",
        "BillDuration": str(billed),
        "BillRate": _money(facts.bill_rate),
        "Duration": str(started_seconds(duration)),
        "EndTime": _local(end_time, zone),
        "HangupCause": cause.cause,
        "HangupCauseCode": str(cause.code),
        "HangupCauseName": cause.name,
        "HangupSource": cause.source,
        "STIRAttestation": facts.stir_attestation,
        "STIRVerification": facts.stir_verification,
        "StartTime": _local(start_time, zone),
        "TotalCost": f"{cost:.5f}",
    }
    if facts.direction == "inbound":
        params["CallerName"] = facts.caller_name or facts.from_
    elif answered:
        params |= _outbound_ids(facts)
    else:
        params["RequestUUID"] = facts.request_uuid or facts.call_uuid
    return params | dict(facts.sip_headers)


def unanswered_status(cause: HangupCause) -> str:
    """The `CallStatus` of a call that nobody answered: busy, no-answer, timeout, cancel or failed."""
    return _UNANSWERED_STATUS.get(cause.code, "failed")


def stream_status_params(
    form: StatusForm,
    event: StreamEvent,
    facts: CallFacts,
    *,
    stream_id: str,
    at: datetime,
    service_url: str = "",
    reason: str = "",
    duration: float | None = None,
    name: str = "",
    callback_url: str = "",
    callback_method: str = "POST",
) -> dict[str, str] | None:
    """What a stream's status callback URL gets (plivo-protocol.md, 4.1 `live`, 4.2 `documented`).

    Args:
        form: Whose vocabulary.
        event: What happened.
        facts: Of the call.
        stream_id: Names the stream.
        at: When, with its time zone.
        service_url: The stream's URL, as the document names it; `live` sends it when the stream starts or fails.
        reason: Why it stopped, failed or degraded: `StatusReason` in `documented` (`completed`, `connection_failed`,
            `authentication_failed`, `invalid_content_type`, `buffer_overflow`), `Error` in `live`.
        duration: How long it lasted in seconds, when it stopped.
        name: Of the checkpoint that was played.
        callback_url: Echoed in `live`.
        callback_method: Echoed in `live`.

    Returns:
        The form, or None where this vocabulary has no such event: `documented` knows started, stopped and failed.

    Raises:
        UsageError: `at` has no time zone.
    """
    _aware(at, "at")
    params = {
        "CallUUID": facts.call_uuid,
        "StreamID": stream_id,
        "From": facts.from_,
        "To": facts.to,
        "Direction": facts.direction,
    }
    if form == "documented":
        return params | _documented_status(event, at, reason, duration) if event in _DOCUMENTED_EVENTS else None
    params |= {
        "Event": _LIVE_EVENTS[event],
        "ParentAuthID": facts.auth_id,
        "Timestamp": _local(at, UTC),
        "status_callback_url": callback_url,
        "status_callback_method": callback_method,
    }
    if event in ("started", "failed"):
        params["ServiceURL"] = service_url
    if event in _LIVE_ERRORS:
        params["Error"] = reason or _LIVE_ERRORS[event]
    if event == "played":
        params["Name"] = name
    return params


def _documented_status(event: StreamEvent, at: datetime, reason: str, duration: float | None) -> dict[str, str]:
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    params = {"Event": event, "Timestamp": moment}
    if event != "started":
        params["StatusReason"] = reason or ("completed" if event == "stopped" else "connection_failed")
    if event == "stopped" and duration is not None:
        params["Duration"] = f"{duration:.3f}".rstrip("0").rstrip(".")
    return params


def _identity(facts: CallFacts, event: str, status: str) -> dict[str, str]:
    params = {
        "CallStatus": status,
        "CallUUID": facts.call_uuid,
        "Direction": facts.direction,
        "Event": event,
        "From": facts.from_,
        "ParentAuthID": facts.auth_id,
        "SessionStart": facts.session_start.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "To": facts.to,
    }
    if facts.parent_call_uuid:
        params["ParentCallUUID"] = facts.parent_call_uuid
    return params


def _outbound_ids(facts: CallFacts) -> dict[str, str]:
    request = facts.request_uuid or facts.call_uuid
    return {"ALegUUID": facts.call_uuid, "ALegRequestUUID": request, "RequestUUID": request}


def _money(amount: Decimal) -> str:
    return f"{amount:f}"


def _local(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _aware(at: datetime, name: str) -> None:
    if at.tzinfo is None:
        raise UsageError(f"{name} has no time zone, and so names no moment")


# --- readers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnswerRequest:
    """A request for a document, as an app reads it: of the answer URL, the fallback URL, or an action URL.

    Attributes:
        call_uuid: Names the call.
        from_: Who placed it, as sent: with or without a `+`.
        to: Who was called, as sent.
        direction: `inbound` or `outbound`, as sent.
        status: `CallStatus`.
        event: `Event`, `StartApp` at first.
        auth_id: Of the account.
        caller_name: What the caller is announced as.
        request_uuid: What the API answered to the request for an outbound call, or empty.
        session_start: When the call was made, in UTC; None where it cannot be read.
        extra: Every other parameter.
    """

    call_uuid: str
    from_: str = ""
    to: str = ""
    direction: str = ""
    status: str = ""
    event: str = ""
    auth_id: str = ""
    caller_name: str = ""
    request_uuid: str = ""
    session_start: datetime | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HangupReport:
    """The end of a call, as an app reads it.

    Attributes:
        call_uuid: Names the call.
        from_: Who placed it.
        to: Who was called.
        direction: `inbound` or `outbound`, as sent.
        status: `CallStatus`: completed, busy, failed, timeout, no-answer, cancel.
        cause: Why it ended; its code is 0 where none can be read.
        request_uuid: What the API answered to the request for an outbound call, or empty.
        duration: Seconds from answer to end; None where it cannot be read.
        bill_duration: Seconds billed; None where it cannot be read.
        total_cost: None where it cannot be read.
        start_time: As written: in the account's time zone, which is not named.
        answer_time: As written; empty if nobody answered.
        end_time: As written.
        extra: Every other parameter.
    """

    call_uuid: str
    cause: HangupCause
    from_: str = ""
    to: str = ""
    direction: str = ""
    status: str = ""
    request_uuid: str = ""
    duration: int | None = None
    bill_duration: int | None = None
    total_cost: Decimal | None = None
    start_time: str = ""
    answer_time: str = ""
    end_time: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether anybody answered."""
        return bool(self.answer_time)


@dataclass(frozen=True)
class StreamStatus:
    """What a status callback of either vocabulary says.

    Attributes:
        event: What happened.
        call_uuid: Names the call.
        stream_id: Names the stream.
        at: When, in UTC; None where it cannot be read.
        timestamp: The same as sent.
        reason: Why it stopped, failed or degraded.
        duration: How long it lasted, in seconds.
        name: Of the checkpoint that was played.
        service_url: The stream's URL.
        from_: Who placed the call.
        to: Who was called.
        direction: `inbound` or `outbound`, as sent.
        extra: Every other parameter.
    """

    event: StreamEvent
    call_uuid: str = ""
    stream_id: str = ""
    at: datetime | None = None
    timestamp: str = ""
    reason: str = ""
    duration: float | None = None
    name: str = ""
    service_url: str = ""
    from_: str = ""
    to: str = ""
    direction: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, StreamEvent, str, str]:
        """Equal for two deliveries of one event: stream, event, checkpoint (plivo-protocol.md, 4.2).

        What can happen to a stream more than once (degraded, played, cleared) is told apart by its time too.
        """
        again = "" if self.event in _DOCUMENTED_EVENTS else self.timestamp
        return self.stream_id, self.event, self.name, again


def parse_answer(params: Mapping[str, str]) -> AnswerRequest:
    """Read a request for a document.

    Raises:
        PeerError: It has no `CallUUID`.
    """
    left = dict(params)
    return AnswerRequest(
        call_uuid=_call_uuid(left, "a request for a document"),
        from_=left.pop("From", ""),
        to=left.pop("To", ""),
        direction=left.pop("Direction", ""),
        status=left.pop("CallStatus", ""),
        event=left.pop("Event", ""),
        auth_id=left.pop("ParentAuthID", ""),
        caller_name=left.pop("CallerName", ""),
        request_uuid=left.pop("RequestUUID", ""),
        session_start=_moment(left.pop("SessionStart", "")),
        extra=left,
    )


def parse_hangup(params: Mapping[str, str]) -> HangupReport:
    """Read a hang-up callback.

    Raises:
        PeerError: It has no `CallUUID`.
    """
    left = dict(params)
    code = _integer(left.pop("HangupCauseCode", "")) or 0
    cause = HangupCause(
        code=code,
        name=left.pop("HangupCauseName", "") or HANGUP_CAUSES.get(code, ""),
        source=left.pop("HangupSource", "") or "Unknown",
        cause=left.pop("HangupCause", ""),
    )
    return HangupReport(
        call_uuid=_call_uuid(left, "a hang-up callback"),
        cause=cause,
        from_=left.pop("From", ""),
        to=left.pop("To", ""),
        direction=left.pop("Direction", ""),
        status=left.pop("CallStatus", ""),
        request_uuid=left.pop("RequestUUID", ""),
        duration=_integer(left.pop("Duration", "")),
        bill_duration=_integer(left.pop("BillDuration", "")),
        total_cost=_decimal(left.pop("TotalCost", "")),
        start_time=left.pop("StartTime", ""),
        answer_time=left.pop("AnswerTime", ""),
        end_time=left.pop("EndTime", ""),
        extra=left,
    )


def parse_stream_status(params: Mapping[str, str]) -> StreamStatus:
    """Read a stream's status callback in either vocabulary, with `StreamID` or `StreamId`, in any case of `Event`.

    Raises:
        PeerError: Its `Event` is none that a stream has.
    """
    left = dict(params)
    word = left.pop("Event", "")
    event = _EVENTS.get(word.strip().lower())
    if event is None:
        raise PeerError(f"a stream's status callback has Event {word[:60]!r}, and none of {', '.join(_EVENTS)}")
    timestamp = left.pop("Timestamp", "")
    duration = _decimal(left.pop("Duration", ""))
    stream_ids = left.pop("StreamID", ""), left.pop("StreamId", "")
    reasons = left.pop("StatusReason", ""), left.pop("Error", "")
    return StreamStatus(
        event=event,
        call_uuid=left.pop("CallUUID", ""),
        stream_id=stream_ids[0] or stream_ids[1],
        at=_moment(timestamp),
        timestamp=timestamp,
        reason=reasons[0] or reasons[1],
        duration=None if duration is None else float(duration),
        name=left.pop("Name", ""),
        service_url=left.pop("ServiceURL", ""),
        from_=left.pop("From", ""),
        to=left.pop("To", ""),
        direction=left.pop("Direction", ""),
        extra=left,
    )


def _call_uuid(left: dict[str, str], what: str) -> str:
    call_uuid = left.pop("CallUUID", "")
    if not call_uuid:
        raise PeerError(f"{what} has no CallUUID, and so cannot be told to belong to any call")
    return call_uuid


def _moment(text: str) -> datetime | None:
    """A time of either style; one without a zone is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _integer(text: str) -> int | None:
    amount = _decimal(text)
    return None if amount is None else int(amount)


def _decimal(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    # A duration or a price; what is longer would only be a way to make int() slow.
    return amount if amount.is_finite() and abs(amount) < 10**12 else None
