"""Numbers: those that accounts have, and those that can be rented (plivo-protocol.md, 5.9)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from bothway.carrier.api.accounts import ChangedAnswer
from bothway.carrier.api.applications import find_application
from bothway.carrier.api.calling_codes import CALLING_CODES
from bothway.carrier.api.operations import Answer, Meta, Operation, Paging, Request, money, not_found
from bothway.carrier.api.parameters import ApiError, Flag, Text
from bothway.carrier.destination import bare_number
from bothway.carrier.store.records import NumberFilter, NumberRecord

__all__ = [
    "MAX_NUMBERS",
    "OPERATIONS",
    "BroughtNumbers",
    "ListNumbers",
    "NumberAnswer",
    "NumberChange",
    "NumberList",
    "RentableAnswer",
    "RentableList",
    "RentedAnswer",
    "RentedNumber",
    "RentedStatus",
    "SearchNumbers",
]

MAX_NUMBERS = 100
"""Numbers of one's own that one request can bring."""

_Service = Literal["voice", "sms", "mms"]
_SERVICES: tuple[_Service, ...] = ("voice", "sms", "mms")
_Services = Annotated[str, msgspec.Meta(extra={"join": ",", "is": "some of voice, sms and mms, between commas"})]
_Digits = Annotated[str, msgspec.Meta(pattern=r"^\+?\d{0,20}$", extra={"is": "digits"})]
_Country = Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{2}$", extra={"is": "the two letters of a country"})]
_Lookup = Literal["enabled", "disabled"]


class ListNumbers(Paging):
    """Which numbers are listed."""

    type: Text | None = None
    number_startswith: _Digits | None = None
    subaccount: Text | None = None
    alias: Text | None = None
    services: _Services | None = None
    cnam_lookup: _Lookup | None = None
    application: Text | None = None


class SearchNumbers(Paging, kw_only=True):
    """Which numbers that can be rented are found."""

    country_iso: _Country
    type: Literal["any", "local", "tollfree", "mobile", "national", "fixed"] | None = None
    pattern: _Digits | None = None
    region: Text | None = None
    city: Text | None = None
    services: _Services | None = None
    lata: Text | None = None
    rate_center: Text | None = None


class BroughtNumbers(msgspec.Struct):
    """Numbers of a carrier of one's own."""

    numbers: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^\s*\+?\d{1,20}(\s*,\s*\+?\d{1,20})*\s*$",
            max_length=MAX_NUMBERS * 24,
            extra={"join": ",", "is": f"telephone numbers between commas, {MAX_NUMBERS} at most"},
        ),
    ]
    carrier: Text
    region: Text
    number_type: Text | None = None
    app_id: Text | None = None
    subaccount: Text | None = None


class NumberChange(msgspec.Struct):
    """What is to change of a number; an empty application or sub-account takes it away."""

    app_id: Text | None = None
    subaccount: Text | None = None
    alias: Text | None = None
    verification_info: Any = None
    cnam_lookup: _Lookup | None = None


class RentedNumber(msgspec.Struct):
    """How a number is rented."""

    app_id: Text | None = None
    subaccount: Text | None = None
    alias: Text | None = None
    verification_info: Any = None
    cnam_lookup: _Lookup | None = None
    ha_enable: Flag | None = None
    compliance_application_id: Text | None = None


class NumberAnswer(msgspec.Struct):
    """A number of the account."""

    api_id: str
    added_on: str
    active: bool
    alias: str | None
    application: str | None
    carrier: str
    city: str
    cnam_lookup: str
    compliance_application_id: str | None
    compliance_status: str | None
    country: str
    mms_enabled: bool
    mms_rate: str
    monthly_rental_rate: str
    number: str
    number_type: str
    region: str
    renewal_date: str | None
    resource_uri: str
    sms_enabled: bool
    sms_rate: str
    sub_account: str | None
    tendlc_campaign_id: str | None
    tendlc_registration_status: str | None
    toll_free_sms_verification: str | None
    voice_enabled: bool
    voice_rate: str


class NumberList(msgspec.Struct):
    """Numbers of the account."""

    api_id: str
    meta: Meta
    objects: list[NumberAnswer]


class RentableAnswer(msgspec.Struct):
    """A number that can be rented."""

    city: str
    country: str
    lata: str | None
    mms_enabled: bool
    monthly_rental_rate: str
    number: str
    prefix: str | None
    rate_center: str | None
    region: str
    resource_uri: str
    restriction: str | None
    restriction_text: str | None
    setup_rate: str
    sms_enabled: bool
    sms_rate: str
    type: str
    voice_enabled: bool
    voice_rate: str


class RentableList(msgspec.Struct):
    """Numbers that can be rented."""

    api_id: str
    meta: Meta
    objects: list[RentableAnswer]


class RentedStatus(msgspec.Struct):
    """What became of one number."""

    number: str
    status: str = "Success"


class RentedAnswer(msgspec.Struct):
    """What was rented."""

    api_id: str
    numbers: list[RentedStatus]
    message: str = "created"
    status: str = "fulfilled"


async def _find(request: Request) -> NumberRecord:
    record = await request.resources.store.numbers.get(request.path["number"])
    if record is None or not request.owns(record):
        raise not_found("number")
    return record


async def _application(request: Request, app_id: str | None) -> str | None:
    """The application that a parameter names; None for none.

    Raises:
        ApiError: It is none of this account's (400).
    """
    if not app_id:
        return None
    if await find_application(request, app_id) is None:
        raise ApiError(400, f"app_id is none of this account's applications: {app_id}")
    return app_id


async def _list(request: Request, wanted: ListNumbers) -> Answer:
    found = NumberFilter(
        sub_account=await request.narrowed(wanted.subaccount),
        prefix=wanted.number_startswith.removeprefix("+") if wanted.number_startswith else None,
        number_type=wanted.type,
        alias=wanted.alias,
        services=_services(wanted.services),
        cnam_lookup=wanted.cnam_lookup,
        application=wanted.application,
    )
    page = await request.resources.store.numbers.list(
        request.account.main_id, found, limit=wanted.limit, offset=wanted.offset
    )
    objects = [_shown(request, record) for record in page.records]
    return Answer(200, NumberList(request.api_id, request.meta(page, wanted), objects))


async def _get(request: Request, _: None) -> Answer:
    return Answer(200, _shown(request, await _find(request)))


async def _change(request: Request, change: NumberChange) -> Answer:
    record = await _find(request)
    given: dict[str, Any] = {}
    if change.app_id is not None:
        given["application"] = await _application(request, change.app_id)
    if change.subaccount is not None:
        given["sub_account"] = await request.assigned(change.subaccount)
    if change.alias is not None:
        given["alias"] = change.alias
    if change.cnam_lookup is not None:
        given["cnam_lookup"] = change.cnam_lookup
    if given and not await request.resources.store.numbers.change(record.number, request.account.main_id, given):
        raise not_found("number")
    return Answer(202, ChangedAnswer(request.api_id))


async def _release(request: Request, _: None) -> Answer:
    record = await _find(request)
    if not await request.resources.store.numbers.release(record.number, request.account.main_id):
        raise not_found("number")
    return Answer(204)


async def _bring(request: Request, brought: BroughtNumbers) -> Answer:
    numbers = [bare_number(one) for one in brought.numbers.split(",")]
    if len(numbers) > MAX_NUMBERS:
        raise ApiError(400, f"numbers are {MAX_NUMBERS} at most, not {len(numbers)}")
    application = await _application(request, brought.app_id)
    sub_account = await request.assigned(brought.subaccount)
    known = await request.resources.store.numbers.bring(
        [
            NumberRecord(
                number=number,
                country="",
                added_on=request.resources.now(),
                number_type=brought.number_type or "local",
                account=request.account.main_id,
                sub_account=sub_account,
                application=application,
                region=brought.region,
                carrier=brought.carrier,
            )
            for number in dict.fromkeys(numbers)
        ]
    )
    if known is not None:
        raise ApiError(409, f"numbers: there is a number {known} already")
    return Answer(202, ChangedAnswer(request.api_id))


async def _search(request: Request, wanted: SearchNumbers) -> Answer:
    country = wanted.country_iso.upper()
    found = NumberFilter(
        country=country,
        number_type=wanted.type if wanted.type != "any" else None,
        # The pattern is what follows the country's code: 415 in the US is 1415.
        prefix=CALLING_CODES.get(country, "") + wanted.pattern.removeprefix("+") if wanted.pattern else None,
        region=wanted.region,
        city=wanted.city,
        lata=wanted.lata,
        rate_center=wanted.rate_center,
        services=_services(wanted.services),
    )
    page = await request.resources.store.numbers.search(found, limit=wanted.limit, offset=wanted.offset)
    objects = [_rentable(request, record) for record in page.records]
    return Answer(200, RentableList(request.api_id, request.meta(page, wanted), objects))


async def _rent(request: Request, wanted: RentedNumber) -> Answer:
    store = request.resources.store
    number = bare_number(request.path["number"])
    found = await store.numbers.get(number)
    if found is None or found.account is not None:
        raise ApiError(404, f"{number} is not for rent")
    account = request.account
    if found.country == "IN" and not (account.currency == "INR" and account.compliance_accepted):
        raise ApiError(403, f"{number} cannot place calls as its compliance application is not in 'accepted' status")
    sub_account = await request.assigned(wanted.subaccount)
    application = await _application(request, wanted.app_id)
    if application is None:
        default = await store.applications.default(account.main_id, sub_account)
        application = default.app_id if default is not None else None
    rented = await store.numbers.rent(
        number,
        account.main_id,
        at=request.resources.now(),
        application=application,
        sub_account=sub_account,
        alias=wanted.alias or "",
        cnam_lookup=wanted.cnam_lookup or found.cnam_lookup,
        compliance_application_id=wanted.compliance_application_id or "",
    )
    if rented is None:
        raise ApiError(409, f"{number} was rented by somebody else at this moment")
    return Answer(201, RentedAnswer(request.api_id, [RentedStatus(number)]))


def _services(text: str | None) -> frozenset[_Service]:
    """The services that a parameter names.

    Raises:
        ApiError: One of them is none (400).
    """
    named = {one.strip().lower() for one in (text or "").split(",")} - {""}
    found = frozenset(service for service in _SERVICES if service in named)
    if len(found) != len(named):
        raise ApiError(400, "services is not some of voice, sms and mms, between commas")
    return found


def _shown(request: Request, record: NumberRecord) -> NumberAnswer:
    return NumberAnswer(
        api_id=request.api_id,
        added_on=record.added_on.astimezone(request.account.zone).date().isoformat(),
        active=record.active,
        alias=record.alias or None,
        application=request.uri("Application", record.application) if record.application else None,
        carrier=record.carrier,
        city=record.city,
        cnam_lookup=record.cnam_lookup,
        compliance_application_id=record.compliance_application_id or None,
        compliance_status=None,
        country=record.country,
        mms_enabled=record.mms_enabled,
        mms_rate="0.00000",
        monthly_rental_rate=money(record.monthly_rental_rate),
        number=record.number,
        number_type=record.number_type,
        region=record.region,
        renewal_date=None,
        resource_uri=request.uri("Number", record.number),
        sms_enabled=record.sms_enabled,
        sms_rate=money(record.sms_rate),
        sub_account=f"/v1/Account/{record.sub_account}/" if record.sub_account else None,
        tendlc_campaign_id=None,
        tendlc_registration_status=None,
        toll_free_sms_verification=None,
        voice_enabled=record.voice_enabled,
        voice_rate=money(record.voice_rate),
    )


def _rentable(request: Request, record: NumberRecord) -> RentableAnswer:
    return RentableAnswer(
        city=record.city,
        country=record.country,
        lata=record.lata or None,
        mms_enabled=record.mms_enabled,
        monthly_rental_rate=money(record.monthly_rental_rate),
        number=record.number,
        prefix=None,
        rate_center=record.rate_center or None,
        region=record.region,
        resource_uri=request.uri("PhoneNumber", record.number),
        restriction=None,
        restriction_text=None,
        setup_rate=money(record.setup_rate),
        sms_enabled=record.sms_enabled,
        sms_rate=money(record.sms_rate),
        type=record.number_type,
        voice_enabled=record.voice_enabled,
        voice_rate=money(record.voice_rate),
    )


_ONE = "Number/{number}/"

OPERATIONS = (
    Operation("GET", "Number/", _list, "List numbers", {200: (NumberList,)}, ListNumbers, voice=False),
    Operation(
        "POST", "Number/", _bring, "Bring numbers of one's own", {202: (ChangedAnswer,)}, BroughtNumbers,
        voice=False, errors=(409,),
    ),
    Operation("GET", _ONE, _get, "A number", {200: (NumberAnswer,)}, voice=False),
    Operation("POST", _ONE, _change, "Change a number", {202: (ChangedAnswer,)}, NumberChange, voice=False),
    Operation("DELETE", _ONE, _release, "Give a number back", {204: ()}, voice=False),
    Operation("GET", "PhoneNumber/", _search, "Find numbers", {200: (RentableList,)}, SearchNumbers, voice=False),
    Operation(
        "POST", "PhoneNumber/{number}/", _rent, "Rent a number", {201: (RentedAnswer,)}, RentedNumber,
        voice=False, errors=(404, 409),
    ),
)  # fmt: skip
"""The operations of these resources."""
