"""Applications: what happens on calls to the numbers that are mapped to them (plivo-protocol.md, 5.8)."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import msgspec

from bothway.carrier.api.accounts import ChangedAnswer
from bothway.carrier.api.operations import Answer, Meta, Operation, Paging, Request, not_found
from bothway.carrier.api.parameters import ApiError, Flag, Method, OptionalUrl, Text
from bothway.carrier.store.records import ApplicationRecord

__all__ = [
    "OPERATIONS",
    "ApplicationAnswer",
    "ApplicationChange",
    "ApplicationCreated",
    "ApplicationList",
    "ApplicationParameters",
    "ApplicationRemoval",
    "ListApplications",
    "find_application",
    "new_app_id",
]

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class ApplicationParameters(msgspec.Struct):
    """An application."""

    app_name: _Name
    answer_url: OptionalUrl = ""
    answer_method: Method = "POST"
    hangup_url: OptionalUrl = ""
    hangup_method: Method = "POST"
    fallback_answer_url: OptionalUrl = ""
    fallback_method: Method = "POST"
    message_url: OptionalUrl = ""
    message_method: Method = "POST"
    default_number_app: Flag = False
    default_endpoint_app: Flag = False
    subaccount: Text = ""
    log_incoming_messages: Flag = True
    public_uri: Flag = False


class ApplicationChange(msgspec.Struct):
    """What is to change of an application; an empty URL or sub-account takes it away."""

    app_name: _Name | None = None
    answer_url: OptionalUrl | None = None
    answer_method: Method | None = None
    hangup_url: OptionalUrl | None = None
    hangup_method: Method | None = None
    fallback_answer_url: OptionalUrl | None = None
    fallback_method: Method | None = None
    message_url: OptionalUrl | None = None
    message_method: Method | None = None
    default_number_app: Flag | None = None
    default_endpoint_app: Flag | None = None
    subaccount: Text | None = None
    log_incoming_messages: Flag | None = None
    public_uri: Flag | None = None


class ListApplications(Paging):
    """Which applications are listed; `app_name` is a prefix."""

    subaccount: Text | None = None
    app_name: Text | None = None


class ApplicationRemoval(msgspec.Struct):
    """How an application goes: its numbers go to `new_endpoint_application`, or have none any more."""

    cascade: Flag = True
    new_endpoint_application: Text | None = None


class ApplicationCreated(msgspec.Struct):
    """A new application."""

    api_id: str
    app_id: str
    message: str = "created"


class ApplicationAnswer(msgspec.Struct):
    """An application."""

    api_id: str
    answer_method: str
    answer_url: str
    app_id: str
    app_name: str
    default_app: bool
    default_endpoint_app: bool
    enabled: bool
    fallback_answer_url: str
    fallback_method: str
    hangup_method: str
    hangup_url: str
    log_incoming_messages: bool
    message_method: str
    message_url: str
    public_uri: bool
    resource_uri: str
    sip_uri: str
    sub_account: str | None


class ApplicationList(msgspec.Struct):
    """Applications."""

    api_id: str
    meta: Meta
    objects: list[ApplicationAnswer]


def new_app_id(unique: str) -> str:
    """The id of a new application: 17 digits.

    Args:
        unique: A UUID that nothing else has.
    """
    return str(10**16 + uuid.UUID(unique).int % (9 * 10**16))


async def find_application(request: Request, app_id: str) -> ApplicationRecord | None:
    """The application of this id, if the account may use it."""
    record = await request.resources.store.applications.get(app_id)
    return record if record is not None and request.owns(record) else None


async def _find(request: Request) -> ApplicationRecord:
    record = await find_application(request, request.path["app_id"])
    if record is None:
        raise not_found("application")
    return record


def _taken(name: str) -> ApiError:
    return ApiError(409, f"app_name is taken: there is an application {name} already")


async def _create(request: Request, wanted: ApplicationParameters) -> Answer:
    sub_account = await request.assigned(wanted.subaccount)
    values: dict[str, Any] = msgspec.structs.asdict(wanted)
    del values["subaccount"]
    record = ApplicationRecord(
        app_id=new_app_id(request.resources.new_id()),
        account=request.account.main_id,
        created=request.resources.now(),
        sub_account=sub_account,
        default_app=values.pop("default_number_app"),
        **values,
    )
    if not await request.resources.store.applications.add(record):
        raise _taken(record.app_name)
    return Answer(201, ApplicationCreated(request.api_id, record.app_id))


async def _get(request: Request, _: None) -> Answer:
    return Answer(200, _shown(request, await _find(request)))


async def _list(request: Request, wanted: ListApplications) -> Answer:
    page = await request.resources.store.applications.list(
        request.account.main_id,
        name=wanted.app_name,
        sub_account=await request.narrowed(wanted.subaccount),
        limit=wanted.limit,
        offset=wanted.offset,
    )
    objects = [_shown(request, record) for record in page.records]
    return Answer(200, ApplicationList(request.api_id, request.meta(page, wanted), objects))


async def _change(request: Request, change: ApplicationChange) -> Answer:
    record = await _find(request)
    given: dict[str, Any] = {n: value for n, value in msgspec.structs.asdict(change).items() if value is not None}
    if "subaccount" in given:
        given["sub_account"] = await request.assigned(given.pop("subaccount"))
    if "default_number_app" in given:
        given["default_app"] = given.pop("default_number_app")
    became = await request.resources.store.applications.change(record.app_id, given)
    if became == "taken":
        raise _taken(given["app_name"])
    if became == "gone":
        raise not_found("application")
    return Answer(202, ChangedAnswer(request.api_id))


async def _delete(request: Request, removal: ApplicationRemoval) -> Answer:
    record = await _find(request)
    heir = removal.new_endpoint_application
    if heir is not None and (heir == record.app_id or await find_application(request, heir) is None):
        raise ApiError(400, f"new_endpoint_application is none of this account's other applications: {heir}")
    await request.resources.store.applications.delete(record.app_id, heir=heir)
    return Answer(204)


def _shown(request: Request, record: ApplicationRecord) -> ApplicationAnswer:
    return ApplicationAnswer(
        api_id=request.api_id,
        answer_method=record.answer_method,
        answer_url=record.answer_url,
        app_id=record.app_id,
        app_name=record.app_name,
        default_app=record.default_app,
        default_endpoint_app=record.default_endpoint_app,
        enabled=record.enabled,
        fallback_answer_url=record.fallback_answer_url,
        fallback_method=record.fallback_method,
        hangup_method=record.hangup_method,
        hangup_url=record.hangup_url,
        log_incoming_messages=record.log_incoming_messages,
        message_method=record.message_method,
        message_url=record.message_url,
        public_uri=record.public_uri,
        resource_uri=request.uri("Application", record.app_id),
        sip_uri=f"sip:{record.app_id}@app.plivo.com",
        sub_account=f"/v1/Account/{record.sub_account}/" if record.sub_account else None,
    )


_ONE = "Application/{app_id}/"

OPERATIONS = (
    Operation(
        "POST", "Application/", _create, "Make an application", {201: (ApplicationCreated,)}, ApplicationParameters,
        errors=(409,),
    ),
    Operation("GET", "Application/", _list, "List applications", {200: (ApplicationList,)}, ListApplications),
    Operation("GET", _ONE, _get, "An application", {200: (ApplicationAnswer,)}),
    Operation(
        "POST", _ONE, _change, "Change an application", {202: (ChangedAnswer,)}, ApplicationChange, errors=(404, 409)
    ),
    Operation("DELETE", _ONE, _delete, "Delete an application", {204: ()}, ApplicationRemoval),
)  # fmt: skip
"""The operations of this resource."""
