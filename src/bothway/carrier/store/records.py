"""The records of a carrier as values: frozen, complete, and the same whichever database keeps them.

Every moment is a `datetime` with a time zone, and comes back in UTC, to the microsecond. Every price is an exact
`Decimal`, with at most eight decimals. Text holds what was said on the wire; where a number may have a `+` or not, the
lists find it either way.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec

from bothway.errors import PeerError

__all__ = [
    "MAX_PAGE",
    "PRICE_DECIMALS",
    "AccountRecord",
    "Answer",
    "ApplicationRecord",
    "CallFilter",
    "CallRecord",
    "CallState",
    "Closed",
    "Comparison",
    "Direction",
    "Method",
    "NumberFilter",
    "NumberRecord",
    "Operator",
    "OutboxItem",
    "Page",
    "RecordingFilter",
    "RecordingRecord",
    "StoreError",
    "StreamRecord",
    "StreamState",
]

PRICE_DECIMALS = 8
"""How exactly prices are kept: one with more decimals is refused."""

MAX_PAGE = 20
"""Records of one page, at most and by default (plivo-protocol.md, 5.1)."""

Direction: TypeAlias = Literal["inbound", "outbound"]
"""Who placed a call: somebody outside, or the API."""

Method: TypeAlias = Literal["GET", "POST"]
"""How a URL is requested."""

CallState: TypeAlias = Literal[
    "queued", "ringing", "in-progress", "completed", "busy", "failed", "timeout", "no-answer", "cancel"
]
"""`CallStatus` (plivo-protocol.md, 6.2), and `queued` before it. The first three are those of a live call."""

StreamState: TypeAlias = Literal["initiated", "in-progress", "completed", "failed"]
"""Of a stream (plivo-protocol.md, 5.2): asked for, connected, ended, never connected or dropped."""

Operator: TypeAlias = Literal["eq", "gt", "gte", "lt", "lte"]
"""The suffixes of list parameters: `end_time__gte`; without one, `eq`."""

_R = TypeVar("_R")
_V = TypeVar("_V")


class StoreError(PeerError):
    """The database could not be read or written: its disk is full, its server is gone, another process holds it."""


class Page(msgspec.Struct, Generic[_R], frozen=True):
    """A part of a list.

    Attributes:
        records: Newest first.
        total: How many the whole list has.
    """

    records: tuple[_R, ...]
    total: int


class Comparison(msgspec.Struct, Generic[_V], frozen=True):
    """One bound that a list parameter sets."""

    operator: Operator
    value: _V


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A call detail record, from the moment the call is asked for (plivo-protocol.md, 5.4).

    Attributes:
        call_uuid: Names the call; that of one leg.
        request_uuid: What the API answered to the request for it; `call_uuid` of an inbound call.
        account: The main account's auth id.
        sub_account: The sub-account's, or nothing.
        node: The node on which the call lives or lived.
        direction: Who placed it.
        from_number: Who calls: a number or a SIP URI.
        to_number: Who is called.
        caller_name: What the caller is announced as.
        parent_call_uuid: The first leg's call, where this is a second leg.
        state: Where it is; a record with an `end_time` is never live.
        initiation_time: When it was asked for.
        answer_time: When it was answered, if it was.
        end_time: When it ended, if it has.
        call_duration: Seconds from answer to end.
        bill_duration: Seconds that count.
        billed_duration: The same in whole steps of billing.
        rate: Price of a minute.
        amount: Price of the call.
        hangup_cause_code: See `bothway.wire.hangup`; None while it lives.
        hangup_cause_name: Its name.
        hangup_source: Who ended it.
        hangup_cause: The switch's own word, `NORMAL_CLEARING` ….
        stir_verification: Of the caller's number.
        stir_attestation: Of the caller's number.
        country_code: Two letters, or nothing.
        route_type: As the price list calls it, or nothing.
        voice_network_group: As the price list calls it, or nothing.
        source_ip: Where signalling came from, or nothing.
        cnam_lookup: What was asked about the caller's name, or nothing.
        forwarded_from: Who forwarded the call here, or nothing.
        conference_uuid: The last conference that it was in, if any.
        application: The application that answered it, by id, if any.
        answer_url: Where its document came from.
        answer_method: How.
        hangup_url: Who is told of its end, if anybody.
        hangup_method: How.
        sip_headers: `SIP-H-To` and `X-PH-…`, by the names they are sent under.
    """

    call_uuid: str
    request_uuid: str
    account: str
    node: str
    direction: Direction
    from_number: str
    to_number: str
    initiation_time: datetime
    state: CallState = "queued"
    sub_account: str = ""
    caller_name: str = ""
    parent_call_uuid: str | None = None
    answer_time: datetime | None = None
    end_time: datetime | None = None
    call_duration: int = 0
    bill_duration: int = 0
    billed_duration: int = 0
    rate: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    hangup_cause_code: int | None = None
    hangup_cause_name: str = ""
    hangup_source: str = ""
    hangup_cause: str = ""
    stir_verification: str = "Not Applicable"
    stir_attestation: str = "Not Applicable"
    country_code: str = ""
    route_type: str = ""
    voice_network_group: str = ""
    source_ip: str = ""
    cnam_lookup: str = ""
    forwarded_from: str = ""
    conference_uuid: str | None = None
    application: str | None = None
    answer_url: str = ""
    answer_method: Method = "POST"
    hangup_url: str | None = None
    hangup_method: Method = "POST"
    sip_headers: dict[str, str] = {}


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An audio stream (plivo-protocol.md, 5.2).

    Attributes:
        stream_id: Names it.
        call_uuid: Its call.
        account: The main account's auth id.
        sub_account: The sub-account's, or nothing.
        node: Where its call lives or lived.
        service_url: Where it went.
        created_at: When it was asked for.
        status: Where it is.
        bidirectional: Whether the app may play audio.
        audio_track: `inbound`, `outbound` or `both`.
        content_type: Of its audio.
        stream_timeout: How long it may last, in seconds.
        extra_headers: As they were written.
        noise_cancellation_level: What was applied to the caller's track; 0 for nothing.
        status_callback_url: Who is told, if anybody.
        status_callback_method: How.
        start_time: When its socket was up.
        end_time: When it ended.
        bill_duration: Seconds that count.
        rounded_bill_duration: The same in whole steps of billing.
        rate: Price of a minute.
        billed_amount: Price of the stream.
    """

    stream_id: str
    call_uuid: str
    account: str
    node: str
    service_url: str
    created_at: datetime
    status: StreamState = "initiated"
    sub_account: str = ""
    bidirectional: bool = False
    audio_track: str = "inbound"
    content_type: str = ""
    stream_timeout: int = 86_400
    extra_headers: str = ""
    noise_cancellation_level: int = 0
    status_callback_url: str | None = None
    status_callback_method: Method = "POST"
    start_time: datetime | None = None
    end_time: datetime | None = None
    bill_duration: int = 0
    rounded_bill_duration: int = 0
    rate: Decimal = Decimal(0)
    billed_amount: Decimal = Decimal(0)


class RecordingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A recording whose file is complete (plivo-protocol.md, 5.7).

    Attributes:
        recording_id: Names it.
        account: The main account's auth id.
        add_time: When it was complete.
        path: Of its file, below the data folder.
        recording_format: `mp3` or `wav`.
        channels: 1, or 2 with the caller on the left.
        size: Bytes of the file.
        start_ms: When it began, in milliseconds since 1970.
        end_ms: When it ended, likewise.
        duration_ms: How long it is.
        rounded_duration: The same in whole steps of billing, in seconds.
        recording_type: What was recorded: `call` over REST, `conference`, `normal` by the document.
        sub_account: The sub-account's auth id, or nothing.
        call_uuid: Its call, if it is of one.
        from_number: Of its call.
        to_number: Of its call.
        conference_name: Its conference, if it is of one.
        conference_uuid: The same.
        storage_rate: Price of keeping it for a month.
    """

    recording_id: str
    account: str
    add_time: datetime
    path: str
    recording_format: Literal["mp3", "wav"]
    channels: int = 1
    size: int = 0
    start_ms: int = 0
    end_ms: int = 0
    duration_ms: int = 0
    rounded_duration: int = 0
    recording_type: Literal["call", "conference", "normal"] = "normal"
    sub_account: str = ""
    call_uuid: str | None = None
    from_number: str = ""
    to_number: str = ""
    conference_name: str | None = None
    conference_uuid: str | None = None
    storage_rate: Decimal = Decimal(0)


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-account, or what REST has changed of an account of the configuration. Tokens are nowhere in the records.

    Attributes:
        auth_id: `SA…`, or `MA…` of a main account.
        created: When it was made.
        modified: When it was last changed.
        parent: The main account of a sub-account that REST has made; None of an account of the configuration.
        name: What people call it.
        enabled: Whether it may do anything.
        generation: Of its token, which follows from the id and this number; one more makes the old token worthless.
        city: Of its address.
        address: The rest of it.
        state: Of the address.
        timezone: An IANA name.
    """

    auth_id: str
    created: datetime
    modified: datetime
    parent: str | None = None
    name: str = ""
    enabled: bool = True
    generation: int = 0
    city: str = ""
    address: str = ""
    state: str = ""
    timezone: str = "UTC"


class ApplicationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What happens on calls to a number (plivo-protocol.md, 5.8).

    Attributes:
        app_id: Names it: about 17 digits.
        account: The main account's auth id.
        app_name: What people call it; unique within an account.
        created: When it was made.
        sub_account: Whose calls these are, if a sub-account's.
        answer_url: Where the document is.
        answer_method: How it is fetched.
        fallback_answer_url: Where another is, when that one cannot be had.
        fallback_method: How.
        hangup_url: Who is told of the end.
        hangup_method: How.
        message_url: Kept; there are no messages here.
        message_method: The same.
        default_app: Whether numbers get it that are given none. One of an account is; saving another changes that.
        default_endpoint_app: The same for SIP endpoints.
        enabled: Whether it answers.
        public_uri: Whether anybody may call its SIP URI.
        log_incoming_messages: Kept.
        time_limit: How long its calls may last, in seconds.
    """

    app_id: str
    account: str
    app_name: str
    created: datetime
    sub_account: str = ""
    answer_url: str = ""
    answer_method: Method = "POST"
    fallback_answer_url: str = ""
    fallback_method: Method = "POST"
    hangup_url: str = ""
    hangup_method: Method = "POST"
    message_url: str = ""
    message_method: Method = "POST"
    default_app: bool = False
    default_endpoint_app: bool = False
    enabled: bool = True
    public_uri: bool = False
    log_incoming_messages: bool = True
    time_limit: int = 14_400


class NumberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A phone number: an account's, or in the inventory for rent (plivo-protocol.md, 5.9).

    Attributes:
        number: Digits alone, with the country code.
        country: Two letters.
        added_on: When it was rented, or put into the inventory.
        number_type: `local`, `mobile`, `tollfree`, `national`, `fixed`.
        account: Whose it is; None while it is for rent.
        sub_account: Which of the account's, if any.
        application: The application that answers it, by id, if any.
        alias: What people call it.
        voice_enabled: Whether it can be called.
        sms_enabled: As the price list says.
        mms_enabled: As the price list says.
        active: Whether it works.
        monthly_rental_rate: Price of a month.
        setup_rate: Price of renting it.
        voice_rate: Price of a minute of a call to it.
        sms_rate: As the price list says.
        region: Where it is.
        city: Where it is.
        lata: Where it is, in North America.
        rate_center: Where it is, in North America.
        carrier: Who it comes from.
        cnam_lookup: `enabled` or `disabled`.
        compliance_application_id: Under which papers it was rented.
    """

    number: str
    country: str
    added_on: datetime
    number_type: str = "local"
    account: str | None = None
    sub_account: str = ""
    application: str | None = None
    alias: str = ""
    voice_enabled: bool = True
    sms_enabled: bool = False
    mms_enabled: bool = False
    active: bool = True
    monthly_rental_rate: Decimal = Decimal(0)
    setup_rate: Decimal = Decimal(0)
    voice_rate: Decimal = Decimal(0)
    sms_rate: Decimal = Decimal(0)
    region: str = ""
    city: str = ""
    lata: str = ""
    rate_center: str = ""
    carrier: str = ""
    cnam_lookup: str = "disabled"
    compliance_application_id: str = ""


class OutboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A callback that must not be lost.

    Attributes:
        key: Names it, so that it is put once however often it is asked for: `{call_uuid} hangup`.
        call_uuid: Its call: callbacks of one call to one server are sent in the order in which they were put.
        kind: `hangup`, `recording`, `stream`, `transcription` …: what the log and the counters call it.
        account: Whose token signs it: an auth id.
        url: Where it goes, with its delivery policy in the fragment.
        params: What it says.
        created: When it was put.
        method: How it is sent.
        seq: Its place among all of the outbox; 0 until it has been written.
        node: Which node sends it; that of the outbox when it is put.
        attempts: How often it has been tried.
        due: When it may be tried again; None for at once.
        abandoned: When it was given up, if it was.
        error: What went wrong the last time.
    """

    key: str
    call_uuid: str
    kind: str
    account: str
    url: str
    params: dict[str, str]
    created: datetime
    method: Method = "POST"
    seq: int = 0
    node: str = ""
    attempts: int = 0
    due: datetime | None = None
    abandoned: datetime | None = None
    error: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What a request with an idempotency key was answered: an HTTP status, and a body."""

    status: int
    body: bytes


class Closed(msgspec.Struct, frozen=True):
    """A call that lived on a node that is gone, as it was closed, and those of its streams that were open."""

    call: CallRecord
    streams: tuple[StreamRecord, ...]


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls a list has (plivo-protocol.md, 5.4). What is None does not matter.

    Attributes:
        sub_account: Of this sub-account.
        direction: Placed so.
        from_number: Beginning with this, with or without a `+`.
        to_number: The same.
        parent_call_uuid: Second legs of this call.
        bill_duration: In seconds; all of the bounds hold.
        end_time: All of the bounds hold. Without any, the last seven days; with one to one side, thirty days from it.
        hangup_cause_code: Ended so.
        hangup_source: Ended by.
    """

    sub_account: str | None = None
    direction: Direction | None = None
    from_number: str | None = None
    to_number: str | None = None
    parent_call_uuid: str | None = None
    bill_duration: tuple[Comparison[int], ...] = ()
    end_time: tuple[Comparison[datetime], ...] = ()
    hangup_cause_code: int | None = None
    hangup_source: str | None = None


class RecordingFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which recordings a list has (plivo-protocol.md, 5.7). What is None does not matter.

    Attributes:
        sub_account: Of this sub-account.
        call_uuid: Of this call.
        from_number: Of calls whose caller begins with this, with or without a `+`.
        to_number: The same of who was called.
        conference_name: Of this conference.
        conference_uuid: Of this conference.
        add_time: All of the bounds hold; the window is that of `CallFilter.end_time`.
        storage_duration: How long it has been kept, in whole days; where it is asked for there is no window.
    """

    sub_account: str | None = None
    call_uuid: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    conference_name: str | None = None
    conference_uuid: str | None = None
    add_time: tuple[Comparison[datetime], ...] = ()
    storage_duration: tuple[Comparison[int], ...] = ()


class NumberFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which numbers a list or a search has (plivo-protocol.md, 5.9). What is None does not matter.

    Attributes:
        sub_account: Of this sub-account.
        prefix: Beginning with these digits; for a search's `pattern`, the country's own with it behind them.
        number_type: Of this type.
        alias: Called so.
        application: Answered by this application.
        country: In this country: two letters, in either case.
        region: In this region, in either case.
        city: In this city, in either case.
        lata: In this area.
        rate_center: In this area, in either case.
        services: With all of these: `voice`, `sms`, `mms`.
        cnam_lookup: So.
    """

    sub_account: str | None = None
    prefix: str | None = None
    number_type: str | None = None
    alias: str | None = None
    application: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    lata: str | None = None
    rate_center: str | None = None
    services: frozenset[Literal["voice", "sms", "mms"]] = frozenset()
    cnam_lookup: str | None = None
