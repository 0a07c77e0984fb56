"""What an operation of the REST API is: a row of the table from which routes, checks and the OpenAPI document come."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias
from urllib.parse import urlencode

import msgspec

from bothway.carrier.api.parameters import MAX_INTEGER, ApiError
from bothway.carrier.api.switch import Switch
from bothway.carrier.config import Account
from bothway.carrier.keys import Keys
from bothway.carrier.store.records import MAX_PAGE, Page
from bothway.carrier.store.store import Store

__all__ = [
    "Act",
    "Answer",
    "Deliver",
    "ErrorAnswer",
    "FileAnswer",
    "Meta",
    "Operation",
    "Owned",
    "Paging",
    "Recorded",
    "Request",
    "Resources",
    "money",
    "not_found",
]

Deliver: TypeAlias = Callable[[Account, str, str, Mapping[str, str]], None]
"""`(account, url, method, parameters)`: sends the result of an asynchronous request, signed, once and by and by."""


@dataclass(frozen=True)
class Resources:
    """What all requests share.

    Attributes:
        store: The records.
        switch: The live calls.
        accounts: The main accounts, and sub-accounts with tokens of their own.
        keys: Derives tokens, and signs URLs.
        new_id: Makes UUIDs.
        deliver: Sends the results of asynchronous requests.
        data: The folder that recordings' paths start from; None where they are kept nowhere.
        public_url: The origin that clients see, without a slash at its end; None takes each request's own.
        signed_seconds: How long the signed URL of a recording can be used.
        now: The time, in UTC.
    """

    store: Store
    switch: Switch
    accounts: Sequence[Account]
    keys: Keys
    new_id: Callable[[], str]
    deliver: Deliver
    data: Path | None = None
    public_url: str | None = None
    signed_seconds: float = 7 * 86_400.0
    now: Callable[[], datetime] = field(default=lambda: datetime.fromtimestamp(time.time(), UTC))


class Owned(Protocol):
    """A record that says whose it is."""

    @property
    def account(self) -> str | None:
        """The main account's auth id."""

    @property
    def sub_account(self) -> str:
        """The sub-account's, or nothing."""


@dataclass(frozen=True)
class Request:
    """One request that was let in.

    Attributes:
        resources: What all requests share.
        account: Whose resources it is about: that which the path names.
        api_id: Names the request.
        path: The path's variables.
        where: The path itself, with a slash at its end.
        origin: Scheme and host that the client used.
        given: All parameters, as they came.
        headers: In lower case.
    """

    resources: Resources
    account: Account
    api_id: str
    path: Mapping[str, str]
    where: str
    origin: str
    given: Mapping[str, object]
    headers: Mapping[str, str]

    @property
    def sub_account(self) -> str | None:
        """The sub-account whose resources alone are seen; None sees all of the main account's."""
        return self.account.auth_id if self.account.parent else None

    def owns(self, record: Owned) -> bool:
        """Whether the account may see and change this record."""
        return record.account == self.account.main_id and self.sub_account in (None, record.sub_account)

    def may_act_on(self, account: Account) -> bool:
        """Whether the account may act on live things of that account."""
        return self.account.auth_id in (account.auth_id, account.parent)

    async def narrowed(self, subaccount: str | None) -> str | None:
        """The sub-account that a list is narrowed to by its parameter.

        Raises:
            ApiError: It is none of this account's (400).
        """
        if not subaccount or subaccount == self.account.auth_id:
            return self.sub_account
        if not await self._is_mine(subaccount):
            raise ApiError(400, f"subaccount is none of this account's sub-accounts: {subaccount}")
        return subaccount

    async def assigned(self, subaccount: str | None) -> str:
        """The sub-account that something is given to by a parameter: "" for the account itself.

        Raises:
            ApiError: It is none of this account's (400).
        """
        return await self.narrowed(subaccount) or ""

    def uri(self, *parts: str) -> str:
        """A `resource_uri` of this account."""
        return "/".join(("/v1/Account", self.account.auth_id, *parts)) + "/"

    def local(self, at: datetime | None, *, fraction: bool = False) -> str | None:
        """A time as lists write it: in the account's time zone, with its offset (plivo-protocol.md, 5.1)."""
        if at is None:
            return None
        written = at.astimezone(self.account.zone)
        return written.isoformat(sep=" ", timespec="microseconds" if fraction else "seconds")

    def meta(self, page: Page[Any], paging: Paging) -> Meta:
        """The `meta` of a list, with the paths of its neighbours, which keep the filters."""
        limit, offset, total = paging.limit, paging.offset, page.total
        return Meta(
            limit=limit,
            offset=offset,
            total_count=total,
            next=self._page(limit, offset + limit) if offset + limit < total else None,
            previous=self._page(limit, max(0, offset - limit)) if offset > 0 else None,
        )

    def _page(self, limit: int, offset: int) -> str:
        kept = {name: value for name, value in self.given.items() if name not in ("limit", "offset")}
        query = {name: str(value) for name, value in kept.items() if isinstance(value, str | int)}
        return f"{self.where}?{urlencode({**query, 'limit': limit, 'offset': offset})}"

    async def _is_mine(self, auth_id: str) -> bool:
        for known in self.resources.accounts:
            if known.auth_id == auth_id:
                return known.parent == self.account.auth_id
        found = await self.resources.store.accounts.get(auth_id)
        return found is not None and found.parent == self.account.auth_id


# --- what is answered ---------------------------------------------------------------------------------------------


class ErrorAnswer(msgspec.Struct):
    """What went wrong (plivo-protocol.md, 5.1)."""

    api_id: str
    error: str


class Meta(msgspec.Struct):
    """Which part of a list this is. `next` and `previous` are paths."""

    limit: int
    offset: int
    total_count: int
    next: str | None = None
    previous: str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer: a status, and a body unless it is 204."""

    status: int
    body: msgspec.Struct | None = None


@dataclass(frozen=True)
class Recorded:
    """An answer that was given before: its bytes are repeated."""

    status: int
    body: bytes


@dataclass(frozen=True)
class FileAnswer:
    """A file as an answer.

    Attributes:
        path: Where it is.
        media_type: What it is.
    """

    path: Path
    media_type: str


class Paging(msgspec.Struct):
    """Which part of a list is wanted."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] = 0


Act: TypeAlias = Callable[[Request, Any], Awaitable[Answer | Recorded]]
"""Does what an operation does, with its parameters read."""


@dataclass(frozen=True)
class Operation:
    """One method at one path.

    Attributes:
        method: `GET`, `POST` or `DELETE`.
        path: Below `/v1/Account/{auth_id}/`, with a slash at its end unless it is empty.
        act: What it does.
        summary: One line for the document.
        answers: What it answers with, by status; without any there is no body.
        takes: Its parameters; None takes none.
        voice: Whether `callback_url` makes it asynchronous (plivo-protocol.md, 5.1).
        main_only: Whether sub-accounts may not do it.
        errors: The statuses of errors that it has besides those that all operations have.
    """

    method: str
    path: str
    act: Act
    summary: str
    answers: Mapping[int, Sequence[type[msgspec.Struct]]]
    takes: type[msgspec.Struct] | None = None
    voice: bool = True
    main_only: bool = False
    errors: tuple[int, ...] = (404,)

    @property
    def tag(self) -> str:
        """The resource: the first word of the path."""
        return self.path.partition("/")[0] or "Account"


def not_found(what: str) -> ApiError:
    """The error for something that is not there, or is another account's: nobody is told which."""
    return ApiError(404, f"{what} not found")


def money(amount: Decimal) -> str:
    """An amount as records write it: five decimals (plivo-protocol.md, 5.4)."""
    return f"{amount:.5f}"
