"""What goes between carrier and app beside the stream, kept for a test to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send
from bothway.runtime.http import FetchError, FetchPolicy, HttpRequester, HttpResponse, Sign

__all__ = ["RecordedApi", "RecordedHttp", "RestRequest", "Webhook"]

_CALL = re.compile(r"/v1/Account/[^/]+/Call/(?P<call_id>[^/]+)(?P<rest>/.*)?\Z")


@dataclass(frozen=True, slots=True)
class Webhook:
    """One request of the carrier's to the app, and what became of it.

    Attributes:
        method: `GET` or `POST`.
        url: As the document or the application names it.
        params: What the app was told.
        status: What the app answered; None if it did not.
        body: What it answered with.
        error: Why the request failed; empty if it did not.
    """

    method: str
    url: str
    params: Mapping[str, str]
    status: int | None
    body: bytes = b""
    error: str = ""

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One request of the app's to the carrier's REST API about a call.

    Attributes:
        method: Such as `DELETE`.
        path: All of it.
        status: What the carrier answered.
    """

    method: str
    path: str
    status: int


class RecordedHttp:
    """An `HttpRequester` that tells of every request when it is done.

    Args:
        http: Makes them.
        tell: Called with the UUID of the request's call, and what became of it.
    """

    def __init__(self, http: HttpRequester, tell: Callable[[str, Webhook], None]) -> None:
        self._http = http
        self._tell = tell

    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        policy: FetchPolicy,
        max_body: int,
        sign: Sign | None = None,
    ) -> HttpResponse:
        """See `HttpClient.request`."""
        params = dict(form or parse_qsl(urlsplit(url).query))
        try:
            response = await self._http.request(
                method, url, form=form, headers=headers, policy=policy, max_body=max_body, sign=sign
            )
        except FetchError as error:
            answer = error.response
            status, body = (answer.status, answer.body) if answer is not None else (None, b"")
            self._tell(params.get("CallUUID", ""), Webhook(method, url, params, status, body, str(error)))
            raise
        self._tell(params.get("CallUUID", ""), Webhook(method, url, params, response.status, response.body))
        return response


class RecordedApi:
    """The carrier's HTTP API, an ASGI application that tells of every REST request when it is answered.

    Args:
        api: The API.
        tell: Called with the UUID of the call that the request is about, and the request.
    """

    def __init__(self, api: ASGIApp, tell: Callable[[str, RestRequest], None]) -> None:
        self._api = api
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._api(scope, receive, noted)
        found = _CALL.match(scope["path"])
        if found is not None:
            self._tell(found["call_id"], RestRequest(scope["method"], scope["path"], status))
