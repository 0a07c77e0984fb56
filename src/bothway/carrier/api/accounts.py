"""Accounts and sub-accounts (plivo-protocol.md, 5.10)."""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec

from bothway.carrier.api.operations import Answer, Meta, Operation, Paging, Request, money, not_found
from bothway.carrier.api.parameters import ApiError, Flag, Text
from bothway.carrier.store.records import AccountRecord

__all__ = [
    "OPERATIONS",
    "AccountAnswer",
    "AccountChange",
    "ChangedAnswer",
    "SubaccountAnswer",
    "SubaccountChange",
    "SubaccountCreated",
    "SubaccountList",
    "SubaccountParameters",
    "SubaccountRemoval",
    "new_auth_id",
]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class ChangedAnswer(msgspec.Struct):
    """What was asked for was done."""

    api_id: str
    message: str = "changed"


class AccountAnswer(msgspec.Struct):
    """An account."""

    api_id: str
    account_type: str
    address: str
    auth_id: str
    auto_recharge: bool
    billing_mode: str
    cash_credits: str
    city: str
    name: str
    resource_uri: str
    state: str
    timezone: str


class AccountChange(msgspec.Struct):
    """What can be changed of an account; at least one of these."""

    name: _Name | None = None
    city: Text | None = None
    address: Text | None = None
    state: Text | None = None


class SubaccountParameters(msgspec.Struct):
    """A sub-account."""

    name: _Name
    enabled: Flag = False


class SubaccountChange(msgspec.Struct):
    """What can be changed of a sub-account."""

    name: _Name | None = None
    enabled: Flag | None = None


class SubaccountRemoval(msgspec.Struct):
    """How a sub-account goes: with `cascade` its applications go too, else they fall to the main account."""

    cascade: Flag = False


class SubaccountCreated(msgspec.Struct):
    """A new sub-account, with its token."""

    api_id: str
    auth_id: str
    auth_token: str
    message: str = "created"


class SubaccountAnswer(msgspec.Struct):
    """A sub-account."""

    api_id: str
    account: str
    auth_id: str
    auth_token: str
    created: str
    enabled: bool
    modified: str | None
    name: str
    new_auth_token: str
    resource_uri: str


class SubaccountList(msgspec.Struct):
    """Sub-accounts."""

    api_id: str
    meta: Meta
    objects: list[SubaccountAnswer]


def new_auth_id(unique: str) -> str:
    """The auth id of a new sub-account: `SA` and 18 letters or digits, as the official SDK checks.

    Args:
        unique: A UUID that nothing else has.
    """
    number, letters = uuid.UUID(unique).int, ""
    for _ in range(18):
        number, place = divmod(number, len(_LETTERS))
        letters += _LETTERS[place]
    return "SA" + letters


async def _get(request: Request, _: None) -> Answer:
    account = request.account
    record = await request.resources.store.accounts.get(account.auth_id)
    shown = record or account
    return Answer(
        200,
        AccountAnswer(
            api_id=request.api_id,
            account_type="standard",
            address=shown.address,
            auth_id=account.auth_id,
            auto_recharge=False,
            billing_mode="prepaid",
            cash_credits=money(account.cash_credits),
            city=shown.city,
            name=shown.name,
            resource_uri=request.uri(),
            state=shown.state,
            timezone=account.timezone,
        ),
    )


async def _change(request: Request, change: AccountChange) -> Answer:
    account, accounts, now = request.account, request.resources.store.accounts, request.resources.now()
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
    if not given:
        raise ApiError(400, "one of name, city, address and state is required")
    if await accounts.get(account.auth_id) is not None:
        if not await accounts.change(account.auth_id, {"modified": now, **given}):
            raise not_found("account")
        return Answer(202, ChangedAnswer(request.api_id))
    record = AccountRecord(
        auth_id=account.auth_id,
        created=now,
        modified=now,
        name=account.name,
        city=account.city,
        address=account.address,
        state=account.state,
        timezone=account.timezone,
    )
    await accounts.save(msgspec.structs.replace(record, **given))
    return Answer(202, ChangedAnswer(request.api_id))


async def _create_sub(request: Request, wanted: SubaccountParameters) -> Answer:
    resources, now = request.resources, request.resources.now()
    record = AccountRecord(
        auth_id=new_auth_id(resources.new_id()),
        created=now,
        modified=now,
        parent=request.account.auth_id,
        name=wanted.name,
        enabled=wanted.enabled,
        timezone=request.account.timezone,
    )
    await resources.store.accounts.save(record)
    token = resources.keys.subaccount_token(record.auth_id, record.generation)
    return Answer(201, SubaccountCreated(request.api_id, record.auth_id, token))


async def _find_sub(request: Request) -> AccountRecord:
    record = await request.resources.store.accounts.get(request.path["subauth_id"])
    if record is None or record.parent != request.account.auth_id:
        raise not_found("subaccount")
    return record


async def _get_sub(request: Request, _: None) -> Answer:
    return Answer(200, _shown(request, await _find_sub(request)))


async def _list_subs(request: Request, paging: Paging) -> Answer:
    page = await request.resources.store.accounts.list(
        request.account.auth_id, limit=paging.limit, offset=paging.offset
    )
    objects = [_shown(request, record) for record in page.records]
    return Answer(200, SubaccountList(request.api_id, request.meta(page, paging), objects))


async def _change_sub(request: Request, change: SubaccountChange) -> Answer:
    record = await _find_sub(request)
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
    if not given:
        raise ApiError(400, "one of name and enabled is required")
    changed = {"modified": request.resources.now(), **given}
    if not await request.resources.store.accounts.change(record.auth_id, changed):
        raise not_found("subaccount")
    return Answer(202, ChangedAnswer(request.api_id))


async def _delete_sub(request: Request, removal: SubaccountRemoval) -> Answer:
    record = await _find_sub(request)
    await request.resources.store.accounts.delete(record.auth_id, cascade=removal.cascade)
    return Answer(204)


def _shown(request: Request, record: AccountRecord) -> SubaccountAnswer:
    token = request.resources.keys.subaccount_token(record.auth_id, record.generation)
    zone = request.account.zone
    changed = record.modified != record.created
    return SubaccountAnswer(
        api_id=request.api_id,
        account=request.uri(),
        auth_id=record.auth_id,
        auth_token=token,
        created=record.created.astimezone(zone).date().isoformat(),
        enabled=record.enabled,
        modified=record.modified.astimezone(zone).date().isoformat() if changed else None,
        name=record.name,
        new_auth_token=token,
        resource_uri=request.uri("Subaccount", record.auth_id),
    )


_ONE = "Subaccount/{subauth_id}/"

OPERATIONS = (
    Operation("GET", "", _get, "The account", {200: (AccountAnswer,)}, voice=False),
    Operation("POST", "", _change, "Change the account", {202: (ChangedAnswer,)}, AccountChange, voice=False),
    Operation(
        "POST", "Subaccount/", _create_sub, "Make a sub-account", {201: (SubaccountCreated,)}, SubaccountParameters,
        voice=False, main_only=True,
    ),
    Operation(
        "GET", "Subaccount/", _list_subs, "List sub-accounts", {200: (SubaccountList,)}, Paging,
        voice=False, main_only=True,
    ),
    Operation("GET", _ONE, _get_sub, "A sub-account", {200: (SubaccountAnswer,)}, voice=False, main_only=True),
    Operation(
        "POST", _ONE, _change_sub, "Change a sub-account", {202: (ChangedAnswer,)}, SubaccountChange,
        voice=False, main_only=True,
    ),
    Operation(
        "DELETE", _ONE, _delete_sub, "Delete a sub-account", {204: ()}, SubaccountRemoval, voice=False, main_only=True
    ),
)  # fmt: skip
"""The operations of these resources."""
