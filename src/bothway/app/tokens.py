"""The token in a stream URL's path: which call the socket is for, signed by us, kept nowhere.

A carrier's `start` names a call and proves nothing, and whoever sends it first would own the call's audio. So the
answer document gives each call a URL of its own: the call's facts as JSON and an HMAC over them, both base64url
(RFC 4648, section 5). Any process that knows the secret can read it; nobody else can make one. It says who may connect,
not that it is the carrier who does: that is the upgrade's signature (`bothway.app.verify`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import re
from typing import Literal, TypeAlias, TypeVar

import msgspec

from bothway.errors import PeerError, UsageError
from bothway.runtime.logs import REDACTED

__all__ = [
    "LIFETIME",
    "MAX_TOKEN",
    "DocumentToken",
    "StreamToken",
    "TokenError",
    "TokenFault",
    "derive_secret",
    "hide_from_servers",
    "issue",
    "read",
]

LIFETIME = 3600.0
"""Seconds for which a token opens a stream. Verbs before `<Stream>` and a long ring may take minutes, never an hour."""

MAX_TOKEN = 2048
"""Characters of a token that are looked at: it stands in a URL of at most that many (plivo-protocol.md, 1.1)."""

_LABEL = b"bothway stream token, version 1"

_SERVERS = ("uvicorn.error", "uvicorn.access", "hypercorn.error", "hypercorn.access", "django.channels.server")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")  # `{"` in base64url, a dot, and 32 octets

TokenFault: TypeAlias = Literal["malformed", "forged", "expired"]
"""Why a token opens nothing: it is no token, it was not made with our secret, or its time is over."""


class StreamToken(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={
        "call_id": "c",
        "route": "r",
        "from_": "f",
        "to": "t",
        "direction": "d",
        "query": "q",
        "expires": "e",
        "app_url": "u",
    },
):
    """What a token says.

    Attributes:
        call_id: The call's UUID; the socket's `start` must name the same.
        route: The path of the answer URL within the app: which handler the call is for.
        expires: Unix time in seconds from which the token opens nothing.
        from_: Who placed the call, as the answer request said.
        to: Who was called.
        direction: `inbound` or `outbound`.
        query: Of the answer URL, as pairs of name and value.
        app_url: Where the app was for the carrier: the answer URL without its path within the app.
    """

    call_id: str
    route: str
    expires: int
    from_: str = ""
    to: str = ""
    direction: str = ""
    query: tuple[tuple[str, str], ...] = ()
    app_url: str = ""


class DocumentToken(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"call_id": "c", "document": "x", "expires": "e"}
):
    """A document for one call, in the URL that a transfer goes to; no process has to remember it.

    Attributes:
        call_id: The call's UUID; the request for the document must name the same.
        document: The answer XML.
        expires: Unix time in seconds from which the token opens nothing.
    """

    call_id: str
    document: str
    expires: int


class TokenError(PeerError):
    """A token that opens nothing.

    Attributes:
        fault: Which of the three it is; for the log alone, the peer is told nothing.
    """

    def __init__(self, message: str, fault: TokenFault) -> None:
        super().__init__(message)
        self.fault: TokenFault = fault


_TokenT = TypeVar("_TokenT", StreamToken, DocumentToken)

_encode = msgspec.json.Encoder().encode


def derive_secret(auth_token: str) -> bytes:
    """The secret of an app that was given none of its own: an HMAC of the account's auth token, under a label.

    Every process of the app derives the same, and it tells nothing about the auth token.

    Raises:
        UsageError: The auth token is empty, and anybody could derive that.
    """
    if not auth_token:
        raise UsageError("no secret can be derived from an empty auth token")
    return hmac.digest(auth_token.encode(), _LABEL, "sha256")


def issue(token: StreamToken | DocumentToken, secret: bytes) -> str:
    """Write a token: letters, digits, `-`, `_` and one dot, so that it can stand in a path as it is."""
    payload = _base64url(_encode(token))
    return f"{payload}.{_base64url(_mac(payload, secret))}"


def read(text: str, secret: bytes, now: float, kind: type[_TokenT]) -> _TokenT:
    """Read a token; the comparison takes the same time wherever the first difference is.

    Args:
        text: As it stands in the URL.
        secret: What it must have been made with.
        now: Unix time, in seconds.
        kind: Which kind it is: one is never taken for the other.

    Raises:
        TokenError: It opens nothing; `fault` says why.
    """
    payload, dot, mac = text.partition(".")
    if not dot or len(text) > MAX_TOKEN or not text.isascii():
        raise TokenError("the URL holds no token", "malformed")
    if not hmac.compare_digest(mac.encode(), _base64url(_mac(payload, secret)).encode()):
        raise TokenError("the token was not made with this app's secret", "forged")
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=kind)
    except (binascii.Error, ValueError):
        # Made with our secret, so this is the other kind or another version's: nobody else can get here.
        raise TokenError("the token is of another kind, or of another version of this app", "malformed") from None
    if now >= token.expires:
        raise TokenError(f"the token ran out {now - token.expires:.0f} s ago", "expired")
    return token


class _Hidden(logging.Filter):
    """Cuts stream tokens out of a logger's lines, whatever handlers they go to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every line may pass, once it is cut."""
        record.msg = _cut(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_cut(value) for value in record.args)
        elif isinstance(record.args, dict):
            # In place: hypercorn's is a dict of a class of its own.
            record.args.update({name: _cut(value) for name, value in record.args.items()})
        return True


_HIDDEN = _Hidden()


def hide_from_servers() -> None:
    """Keep stream tokens out of what other servers log: they write the path of every WebSocket, good or refused.

    Their own log configuration stays as it is; only the lines are cut. Any number of calls are as good as one.
    """
    for name in _SERVERS:
        logging.getLogger(name).addFilter(_HIDDEN)


def _cut(value: object) -> object:
    return _TOKEN.sub(REDACTED, value) if isinstance(value, str) else value


def _mac(payload: str, secret: bytes) -> bytes:
    return hmac.digest(secret, payload.encode(), "sha256")


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
