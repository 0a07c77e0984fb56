"""Who may ask: HTTP Basic credentials, main accounts and their sub-accounts, and how often."""

from __future__ import annotations

import base64
import hmac
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from bothway.carrier.api.parameters import ApiError
from bothway.carrier.config import Account
from bothway.carrier.keys import Keys
from bothway.carrier.store.records import AccountRecord
from bothway.carrier.store.store import Store

__all__ = [
    "WINDOW_SECONDS",
    "Gate",
    "Visitors",
    "account_of",
    "credentials",
    "sub_account",
]

WINDOW_SECONDS = 5.0
"""The time over which an account's requests are counted (plivo-protocol.md, section 9)."""

_NOBODY = "no account has this token, and to compare with it takes as long as with one that does"


def credentials(authorization: str | None) -> tuple[str, str] | None:
    """The auth id and the token of an HTTP Basic header (RFC 7617); None if it is none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        auth_id, colon, token = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:  # no base64, or no UTF-8 in it
        return None
    return (auth_id, token) if colon else None


def account_of(authorization: str | None, accounts: Iterable[Account]) -> Account | None:
    """The one of these accounts whose id and token a header carries, compared in constant time."""
    given = credentials(authorization)
    if given is None:
        return None
    auth_id, token = given
    found = next((account for account in accounts if account.auth_id == auth_id), None)
    return found if _same(token, found.auth_token if found is not None else _NOBODY) and found is not None else None


def sub_account(record: AccountRecord, parent: Account, keys: Keys) -> Account:
    """A sub-account that was made over REST. What it does not have of its own it has from its parent."""
    return msgspec.structs.replace(
        parent,
        auth_id=record.auth_id,
        auth_token=keys.subaccount_token(record.auth_id, record.generation),
        name=record.name,
        parent=parent.auth_id,
    )


class Gate:
    """Lets requests in.

    Args:
        accounts: The main accounts, and sub-accounts with tokens of their own.
        store: Has the sub-accounts that were made over REST.
        keys: Derives their tokens.
    """

    def __init__(self, accounts: Sequence[Account], store: Store, keys: Keys) -> None:
        self._accounts = accounts
        self._store = store
        self._keys = keys

    async def enter(self, authorization: str | None, auth_id: str) -> tuple[Account, Account]:
        """Who asks, and about whose resources: those of the account in the path.

        Args:
            authorization: The request's header.
            auth_id: In the request's path.

        Raises:
            ApiError: Nobody has these credentials (401), the sub-account is disabled (403), or the path names an
                account that is not theirs (404: nobody learns by it which accounts there are).
        """
        given = credentials(authorization)
        visitor = await self._known(given[0]) if given is not None else None
        if given is None or not _same(given[1], visitor[0].auth_token if visitor else _NOBODY) or visitor is None:
            raise ApiError(401, "authentication failed", {"WWW-Authenticate": 'Basic realm="api"'})
        account, enabled = visitor
        if not enabled:
            raise ApiError(403, "this sub-account is disabled")
        if auth_id == account.auth_id:
            return account, account
        other = await self._known(auth_id)
        if other is None or other[0].parent != account.auth_id:
            raise ApiError(404, "not found")
        return account, other[0]

    async def account(self, auth_id: str) -> Account | None:
        """The account or sub-account of this id."""
        found = await self._known(auth_id)
        return found[0] if found is not None else None

    async def _known(self, auth_id: str) -> tuple[Account, bool] | None:
        for account in self._accounts:
            if account.auth_id == auth_id:
                return account, True
        record = await self._store.accounts.get(auth_id) if auth_id.startswith("SA") else None
        if record is None or record.parent is None:
            return None
        parent = next((account for account in self._accounts if account.auth_id == record.parent), None)
        return (sub_account(record, parent, self._keys), record.enabled) if parent is not None else None


class Visitors:
    """Counts the requests of accounts, so that none asks for more than its share.

    Args:
        limit: Requests of one account in any `WINDOW_SECONDS`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: dict[str, deque[float]] = {}

    def came(self, auth_id: str, now: float) -> None:
        """A request of this account.

        Raises:
            ApiError: It is one too many (429).
        """
        times = self._times.setdefault(auth_id, deque())
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._limit:
            wait = max(1, round(times[0] + WINDOW_SECONDS - now + 0.5))
            text = f"more than {self._limit} requests in {WINDOW_SECONDS:g} seconds"
            raise ApiError(429, text, {"Retry-After": str(wait)})
        times.append(now)


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
