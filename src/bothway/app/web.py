"""The app's HTTP side: answer requests, callbacks, health and metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, quote

from bothway.app.answer import answer_document, answer_query, outside_url
from bothway.app.config import Config
from bothway.app.dial import DIAL_PARAMETER, DIAL_PATH
from bothway.app.documents import DOCUMENT_PARAMETER, DOCUMENT_PATH, document_of
from bothway.app.live import LiveCalls
from bothway.app.routes import AnswerRoute, Routes
from bothway.app.tokens import TokenError
from bothway.app.upgrades import below
from bothway.app.verify import SeenRequest, check_webhook
from bothway.errors import PeerError
from bothway.runtime.asgi import Receive, Scope, Send
from bothway.runtime.health import CONTENT_TYPE, Health
from bothway.runtime.logs import get_logger
from bothway.wire.signature import Match
from bothway.wire.webhooks import (
    AnswerRequest,
    HangupReport,
    StreamStatus,
    parse_answer,
    parse_hangup,
    parse_stream_status,
)

if TYPE_CHECKING:
    from bothway.runtime.metrics import Metrics

__all__ = ["BODY_LIMIT", "Callbacks", "Reply", "Web"]

BODY_LIMIT = 64 * 1024
"""Bytes of a request body. A carrier's form has some hundred."""

_MAX_FIELDS = 500
_XML = "application/xml; charset=utf-8"

_Pairs: TypeAlias = list[tuple[str, str]]

log = get_logger(__name__)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class Callbacks:
    """Who is told what the carrier reports.

    Attributes:
        on_status: Of the life of streams; by path.
        on_hangup: Of the end of calls; by path.
        on_dial: Of the end of calls that the app placed; with the key of each.
    """

    on_status: dict[str, Callable[[StreamStatus], Awaitable[object]]] = field(default_factory=dict)
    on_hangup: dict[str, Callable[[HangupReport], Awaitable[object]]] = field(default_factory=dict)
    on_dial: Callable[[str, HangupReport], Awaitable[object]] | None = None

    @property
    def status_path(self) -> str | None:
        """Where streams shall report, if anybody wants to know."""
        return next(iter(self.on_status), None)


class Web:
    """Answers HTTP requests.

    Args:
        config: The account.
        routes: The answer URLs.
        callbacks: The callback URLs.
        calls: Who is on the line.
        health: For `/healthz` and `/readyz`.
        metrics: For `/metrics`.
    """

    def __init__(
        self, config: Config, routes: Routes, callbacks: Callbacks, calls: LiveCalls, health: Health, metrics: Metrics
    ) -> None:
        self._config = config
        self._routes = routes
        self._callbacks = callbacks
        self._calls = calls
        self._health = health
        self._metrics = metrics

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI request.

        Raises:
            UsageError: Signatures shall be checked, and there is no auth token.
        """
        reply = await self._reply(scope, receive)
        body = b"" if scope["method"] == "HEAD" else reply.body
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        path = below(scope.get("root_path", ""), scope["path"])
        own = self._own(path)
        if own is not None:
            return own if scope["method"] in ("GET", "HEAD") else _not_allowed(b"GET, HEAD")
        known = (self._routes.answers, self._callbacks.on_status, self._callbacks.on_hangup, (DOCUMENT_PATH,))
        if not any(path in table for table in known):
            return Reply(404, b"nothing is here\n")
        if scope["method"] not in ("GET", "POST"):
            return _not_allowed(b"GET, POST")
        request = _seen(scope)
        # Imported when first needed: it brings an HTTP server, a tenth of a second of it.
        from bothway.runtime.server import BodyError, read_body

        try:
            body = await read_body(receive, BODY_LIMIT)
        except BodyError as error:
            return Reply(error.status, f"{error}\n".encode())
        return await self._webhook(path, request, body)

    async def _webhook(self, path: str, request: SeenRequest, body: bytes) -> Reply:
        try:
            form = _form(request, body)
            query = parse_qsl(request.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError:
            return Reply(400, f"a webhook has at most {_MAX_FIELDS} parameters\n".encode())
        self._config.check()
        match: Match | None = None
        if self._config.check_signatures:
            verdict = check_webhook(
                request,
                form if request.method == "POST" else None,
                tokens=[self._config.auth_token],
                public_url=self._config.public_url,
            )
            if verdict.match is None:
                self._metrics.refused("webhook").inc()
                log.warning(
                    "a webhook is refused",
                    reason=verdict.reason,
                    method=request.method,
                    path=path,
                    tried=verdict.tried,
                )
                return Reply(403, b"the signature is not good\n")
            match = verdict.match
            log.debug("a webhook's signature is good", url=match.url.partition("?")[0])
        params = dict(form if request.method == "POST" else query)
        try:
            told = self._told(path, request, params, query, match)
        except PeerError as error:
            log.warning("a webhook cannot be understood", path=path, reason=str(error))
            return Reply(400, f"{error}\n".encode())
        if isinstance(told, Reply):
            return told
        # Outside of the `try`: a PeerError of the app's own code is not about this webhook.
        for telling in told:
            await telling()
        return Reply(200)

    def _told(
        self, path: str, request: SeenRequest, params: Mapping[str, str], query: _Pairs, match: Match | None
    ) -> Reply | list[Callable[[], Awaitable[object]]]:
        """The answer document, or whom a callback is for, with what it says."""
        on_status = self._callbacks.on_status.get(path)
        if on_status is not None:
            return [partial(on_status, parse_stream_status(params))]
        if path == DOCUMENT_PATH:
            token = dict(query).get(DOCUMENT_PARAMETER, "")
            return self._document(token, parse_answer(params))
        route = self._routes.answers.get(path)
        if route is not None and params.get("Event") != "Hangup":
            return self._answer(route, request, params, query, match)
        # A hang-up also comes to the answer URL where no other was configured (plivo-protocol.md, 5.3).
        report = parse_hangup(params)
        told = self._callbacks.on_hangup.values() if route else [self._callbacks.on_hangup[path]]
        telling: list[Callable[[], Awaitable[object]]] = [partial(on_hangup, report) for on_hangup in told]
        if path == DIAL_PATH and self._callbacks.on_dial is not None:
            telling.insert(0, partial(self._callbacks.on_dial, dict(query).get(DIAL_PARAMETER, ""), report))
        return telling

    def _answer(
        self, route: AnswerRoute, request: SeenRequest, params: Mapping[str, str], query: _Pairs, match: Match | None
    ) -> Reply:
        asked = parse_answer(params)
        if self._calls.draining:
            return Reply(503, b"this app is draining\n", headers=((b"retry-after", b"5"),))
        document = answer_document(
            route,
            asked,
            answer_query(query) if request.method == "GET" else query,
            url=outside_url(request, match, self._config.public_url),
            status_path=self._callbacks.status_path,
            secret=self._config.secret,
            now=time.time(),
        )
        return Reply(200, document.encode(), _XML)

    def _document(self, token: str, asked: AnswerRequest) -> Reply:
        try:
            document = document_of(token, asked.call_uuid, self._config.secret, time.time())
        except TokenError as error:
            log.warning("no document for a transfer", call=asked.call_uuid, fault=error.fault, reason=str(error))
            return Reply(404, b"no document is here\n")
        return Reply(200, document.encode(), _XML)

    def _own(self, path: str) -> Reply | None:
        """What the app answers to everybody who watches over it."""
        match path:
            case "/healthz":
                status, body = self._health.liveness()
                return Reply(status, body, CONTENT_TYPE)
            case "/readyz":
                status, body = self._health.readiness()
                return Reply(status, body, CONTENT_TYPE)
            case "/metrics":
                self._calls.count()
                text, content_type = self._metrics.render()
                return Reply(200, text, content_type)
        return None


def _not_allowed(allowed: bytes) -> Reply:
    return Reply(405, b"this method is not allowed here\n", headers=((b"allow", allowed),))


def _seen(scope: Scope) -> SeenRequest:
    raw = scope.get("raw_path")
    return SeenRequest(
        method=scope["method"],
        scheme=scope.get("scheme", "http"),
        path=raw.decode("latin-1") if raw else quote(scope["path"]),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
    )


def _form(request: SeenRequest, body: bytes) -> _Pairs:
    """The parameters of a form; a body of any other kind has none, for a signature too (plivo-protocol.md, 8.2)."""
    if not request.header("content-type").lower().startswith("application/x-www-form-urlencoded"):
        return []
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
