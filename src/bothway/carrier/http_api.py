"""The carrier over HTTP: REST, health and metrics, as an ASGI application."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from bothway.carrier.config import Account
from bothway.runtime.asgi import Receive, Scope, Send
from bothway.runtime.health import Health
from bothway.runtime.metrics import Metrics
from bothway.runtime.server import read_body

__all__ = ["ApiOwner", "HttpApi"]

_CALL = re.compile(r"/v1/Account/(?P<auth_id>[^/]+)/Call/(?P<call_id>[^/]+)/?\Z")


class ApiOwner(Protocol):
    """What the API answers for."""

    health: Health
    metrics: Metrics

    def authenticate(self, authorization: str | None) -> Account | None:
        """The account that presents itself."""

    def hangup(self, call_id: str, account: Account) -> bool:
        """End a call of this account."""

    def new_id(self) -> str:
        """A UUID, for the `api_id` of an answer."""


class HttpApi:
    """The ASGI application (plivo-protocol.md, section 5).

    Args:
        owner: The carrier.
    """

    def __init__(self, owner: ApiOwner) -> None:
        self._owner = owner

    @staticmethod
    def account_of(authorization: str | None, accounts: Iterable[Account]) -> Account | None:
        """The account whose id and token an HTTP Basic header (RFC 7617) carries, compared in constant time."""
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            auth_id, _, token = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8 in it
            return None
        for account in accounts:
            if account.auth_id == auth_id and hmac.compare_digest(account.auth_token.encode(), token.encode()):
                return account
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        if path in ("/healthz", "/readyz"):
            status, body = self._owner.health.liveness() if path == "/healthz" else self._owner.health.readiness()
            await _answer(send, status, body)
        elif path == "/metrics":
            content, content_type = self._owner.metrics.render()
            await _answer(send, 200, content, content_type)
        elif path.startswith("/v1/Account/"):
            await read_body(receive)  # official SDKs send a body with a DELETE, and it says nothing new (section 5.1)
            await self._rest(path, method, _header(scope, b"authorization"), send)
        else:
            await _answer(send, 404, b'{"error":"not found"}')

    async def _rest(self, path: str, method: str, authorization: str | None, send: Send) -> None:
        account = self._owner.authenticate(authorization)
        if account is None:
            challenge = (b"www-authenticate", b'Basic realm="api"')
            await _answer(send, 401, self._error("authentication failed"), extra=(challenge,))
            return
        found = _CALL.match(path)
        if found is None or found["auth_id"] != account.auth_id:
            await _answer(send, 404, self._error("not found"))
        elif method != "DELETE":
            await _answer(send, 405, self._error("method not allowed"), extra=((b"allow", b"DELETE"),))
        elif self._owner.hangup(found["call_id"], account):
            await _answer(send, 204, b"")
        else:
            await _answer(send, 404, self._error("call not found, or it has ended"))

    def _error(self, text: str) -> bytes:
        """The body of an error (plivo-protocol.md, 5.1)."""
        return msgspec.json.encode({"api_id": self._owner.new_id(), "error": text})


def _header(scope: Scope, name: bytes) -> str | None:
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    value = headers.get(name)
    return value.decode("latin-1") if value is not None else None


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: str = "application/json",
    *,
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    headers = [(b"content-length", str(len(body)).encode()), *extra]
    if body:
        headers.append((b"content-type", content_type.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
