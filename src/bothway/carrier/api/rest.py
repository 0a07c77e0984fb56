"""The carrier over HTTP: the REST API, its OpenAPI document, health and metrics, as one ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from starlette.responses import FileResponse, Response
from starlette.routing import Match, Route

from bothway.carrier.api.access import Gate, Visitors
from bothway.carrier.api.asyncapi import asyncapi_document
from bothway.carrier.api.elsewhere import Elsewhere
from bothway.carrier.api.openapi import document
from bothway.carrier.api.operations import Answer, ErrorAnswer, FileAnswer, Operation, Recorded, Request, Resources
from bothway.carrier.api.parameters import ApiError, HttpUrl, Method, parse_body, parse_query, read
from bothway.carrier.api.recordings import media
from bothway.carrier.api.switch import Reason, RefusedError
from bothway.carrier.api.table import OPERATIONS
from bothway.carrier.api.unoffered import refuse_unoffered
from bothway.carrier.neighbours import Asked, Told
from bothway.carrier.store.records import StoreError
from bothway.runtime.asgi import Receive, Scope, Send
from bothway.runtime.health import Health
from bothway.runtime.metrics import Metrics
from bothway.runtime.server import BodyError, read_body

__all__ = [
    "MAX_ASYNCHRONOUS",
    "AsyncParameters",
    "RestApi",
    "SpawnedAnswer",
    "Spawner",
]

MAX_ASYNCHRONOUS = 1_000
"""Asynchronous requests that may be under way at a time; more are refused."""

_PREFIX = "/v1/Account/"
_INSIDE = "bothway.inside"
"""In the scope of a request that another carrier of the data folder has passed on."""

_EXPECTED = (ApiError, RefusedError, StoreError)
_STATUS_OF: dict[Reason, int] = {
    "invalid": 400,
    "barred": 403,
    "not-found": 404,
    "conflict": 409,
    "unavailable": 503,
}

logger = logging.getLogger(__name__)


class Spawner(Protocol):
    """Owns tasks: `runtime.tasks.Tasks`."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run this until it ends, or until the owner closes."""


class AsyncParameters(msgspec.Struct):
    """What makes a request asynchronous (plivo-protocol.md, 5.1)."""

    callback_url: HttpUrl | None = None
    callback_method: Method = "POST"


class SpawnedAnswer(msgspec.Struct):
    """The request was taken, and its result goes to `callback_url`."""

    api_id: str
    message: str = "async api spawned"


@dataclass(frozen=True)
class _Open:
    """What there is while the carrier runs."""

    resources: Resources
    gate: Gate
    tasks: Spawner
    elsewhere: Elsewhere | None


class RestApi:
    """The ASGI application (plivo-protocol.md, section 5). Until it is opened it answers for health and metrics alone.

    Args:
        health: Answers `/healthz` and `/readyz`.
        metrics: Answers `/metrics`.
        new_id: Makes the ids of answers.
        requests_per_5s: What one account may ask for.
    """

    def __init__(
        self, health: Health, metrics: Metrics, new_id: Callable[[], str], *, requests_per_5s: int = 300
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._new_id = new_id
        self._visitors = Visitors(requests_per_5s)
        self._open: _Open | None = None
        self._under_way = 0
        self._document: bytes = b""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        self._routes = [(Route(_PREFIX + "{auth_id}/" + path, _nothing), found) for path, found in by_path.items()]
        self._media = Route(_PREFIX + "{auth_id}/Recording/{recording_id}.{file_format}", _nothing)

    def open(self, resources: Resources, tasks: Spawner, elsewhere: Elsewhere | None = None) -> None:
        """Answer requests from now on; with other carriers at this port, `elsewhere` says which of them is to act."""
        gate = Gate(resources.accounts, resources.store, resources.keys)
        self._open = _Open(resources, gate, tasks, elsewhere)

    def close(self) -> None:
        """Answer for health and metrics alone from now on."""
        self._open = None

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that another carrier of the data folder has passed on: by what is here alone."""
        scheme = next((value for name, value in scope["headers"] if name == b"x-forwarded-proto"), b"http")
        await self({**scope, _INSIDE: True, "scheme": scheme.decode("latin-1")}, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        if path in ("/healthz", "/readyz"):
            status, body = self._health.liveness() if path == "/healthz" else self._health.readiness()
            answer = Response(body, status, media_type="application/json")
        elif path == "/metrics":
            answer = await self._measured(scope)
        elif path == "/v1/openapi.json":
            self._document = self._document or msgspec.json.encode(document())
            answer = Response(self._document, media_type="application/json")
        elif path == "/v1/asyncapi.json":
            answer = Response(msgspec.json.encode(asyncapi_document()), media_type="application/json")
        elif path.startswith(_PREFIX):
            answer = await self._guarded(scope, receive)
        else:
            answer = Response(b'{"error":"not found"}', 404, media_type="application/json")
        await answer(scope, receive, send)

    async def _measured(self, scope: Scope) -> Response:
        """The metrics of this carrier, or of the one at this port that `node` numbers."""
        node = parse_query(scope["query_string"]).get("node")
        if self._open is not None and self._open.elsewhere is not None and node is not None and _INSIDE not in scope:
            told = await self._open.elsewhere.metrics(str(node))
            if told is not None:
                return Response(told.body, told.status, told.headers)
        content, content_type = self._metrics.render()
        return Response(content, headers={"content-type": content_type})

    async def _guarded(self, scope: Scope, receive: Receive) -> Response:
        """Everything that can go wrong becomes an answer here."""
        api_id = self._new_id()
        try:
            return await self._rest(scope, receive, api_id)
        except BodyError as error:
            # After 413 the server reads and drops what still comes; after the others there is nothing to wait for.
            headers = {} if error.status == 413 else {"Connection": "close"}
            return _error(api_id, ApiError(error.status, str(error), headers))
        except _EXPECTED as error:
            return _error(api_id, _translated(error))
        except Exception:
            logger.exception("a request failed: %s %s", scope["method"], scope["path"])
            return _error(api_id, ApiError(500, "internal error"))

    async def _rest(self, scope: Scope, receive: Receive, api_id: str) -> Response:
        opened = self._open
        if opened is None:
            raise ApiError(503, "the carrier is starting or stopping", {"Retry-After": "1"})
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path: str = scope["path"]
        route = {**scope, "path": path if path.endswith("/") else path + "/", "root_path": "", "method": "GET"}
        query = parse_query(scope["query_string"])
        found, child = self._media.matches({**route, "path": path})
        if found is Match.FULL and scope["method"] in ("GET", "HEAD"):
            variables = child["path_params"]
            await self._enter_media(opened, variables, path, headers.get("authorization"), query)
            return await _sent(await media(opened.resources, variables), api_id)
        auth_id = route["path"][len(_PREFIX) :].partition("/")[0]
        visitor, account = await opened.gate.enter(headers.get("authorization"), auth_id)
        if _INSIDE not in scope:  # else it was counted where it came in
            self._visitors.came(visitor.main_id, asyncio.get_running_loop().time())
        operation, variables = self._operation(route, scope["method"])
        if operation.main_only and account.parent is not None:
            raise ApiError(403, "sub-accounts may not do this; their main account may")
        body = await read_body(receive)
        given = {**query, **parse_body(body, headers.get("content-type", ""))}
        request = Request(
            opened.resources,
            account,
            api_id,
            variables,
            route["path"],
            _origin(scope, headers, opened.resources),
            given,
            headers,
        )
        if opened.elsewhere is not None and _INSIDE not in scope:
            routed = await opened.elsewhere.route(operation, request, _as_it_came(scope, headers, body))
            if isinstance(routed, Told):
                return Response(routed.body, routed.status, routed.headers)
            operation = routed
        return await self._acted(opened, operation, request)

    async def _enter_media(
        self,
        opened: _Open,
        variables: Mapping[str, str],
        path: str,
        authorization: str | None,
        query: Mapping[str, Any],
    ) -> None:
        """A recording is had with credentials, or by a signed URL."""
        if "Signature" in query:
            expires, signature = str(query.get("Expires", "")), str(query["Signature"])
            now = opened.resources.now().timestamp()
            if not opened.resources.keys.verify_url(path, expires, signature, now):
                raise ApiError(403, "the signature of this URL is not right, or its time is over")
            return
        visitor, _ = await opened.gate.enter(authorization, variables["auth_id"])
        self._visitors.came(visitor.main_id, asyncio.get_running_loop().time())

    def _operation(self, scope: Scope, method: str) -> tuple[Operation, Mapping[str, str]]:
        for route, operations in self._routes:
            found, child = route.matches(scope)
            if found is not Match.FULL:
                continue
            variables: dict[str, str] = child["path_params"]
            if any("\x00" in value for value in variables.values()):
                break
            operation = operations.get("GET" if method == "HEAD" else method)
            if operation is None:
                raise ApiError(405, "method not allowed", {"Allow": ", ".join(sorted(operations))})
            return operation, variables
        refuse_unoffered(scope["path"])
        raise ApiError(404, "not found")

    async def _acted(self, opened: _Open, operation: Operation, request: Request) -> Response:
        parameters = read(operation.takes, request.given) if operation.takes is not None else None
        later = read(AsyncParameters, request.given) if operation.voice else AsyncParameters()
        if later.callback_url is None:
            return await _sent(await operation.act(request, parameters), request.api_id)
        if self._under_way >= MAX_ASYNCHRONOUS:
            raise ApiError(429, f"{MAX_ASYNCHRONOUS} asynchronous requests are under way", {"Retry-After": "1"})
        self._under_way += 1
        opened.tasks.spawn(self._act_later(operation, request, parameters, later), "asynchronous request")
        return _json(202, SpawnedAnswer(request.api_id))

    async def _act_later(self, operation: Operation, request: Request, parameters: Any, later: AsyncParameters) -> None:
        """The outermost edge of an asynchronous request: whatever becomes of it goes to its callback."""
        assert later.callback_url is not None
        body: msgspec.Struct | bytes | None
        try:
            try:
                answer = await operation.act(request, parameters)
                status, body = answer.status, answer.body
            except _EXPECTED as error:
                problem = _translated(error)
                status, body = problem.status, ErrorAnswer(request.api_id, str(problem))
            except Exception:
                logger.exception("an asynchronous request failed: %s", request.where)
                status, body = 500, ErrorAnswer(request.api_id, "internal error")
            form = _as_form(body) | {"api_id": request.api_id, "status_code": str(status)}
            request.resources.deliver(request.account, later.callback_url, later.callback_method, form)
        finally:
            self._under_way -= 1


async def _nothing(_: object) -> Response:
    """The endpoint of routes that are only matched."""
    return Response(status_code=404)


def _as_it_came(scope: Scope, headers: Mapping[str, str], body: bytes) -> Asked:
    target: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return Asked(scope["method"], target.decode("latin-1"), headers, body, scope.get("scheme", "http"))


def _translated(error: ApiError | RefusedError | StoreError) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RefusedError):
        return ApiError(_STATUS_OF[error.reason], str(error))
    logger.error("the records cannot be had: %s", error)
    return ApiError(503, "the carrier's records cannot be had at this moment", {"Retry-After": "1"})


def _error(api_id: str, error: ApiError) -> Response:
    return _json(error.status, ErrorAnswer(api_id, str(error)), error.headers)


def _json(status: int, body: msgspec.Struct, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


async def _sent(answer: Answer | Recorded | FileAnswer, api_id: str) -> Response:
    if isinstance(answer, FileAnswer):
        return FileResponse(answer.path, media_type=answer.media_type, filename=answer.path.name)
    if isinstance(answer, Recorded):
        return Response(answer.body, answer.status, media_type="application/json")
    if answer.body is None:
        return Response(status_code=answer.status)
    return _json(answer.status, answer.body)


def _as_form(body: msgspec.Struct | bytes | None) -> dict[str, str]:
    """An answer as the fields of a form: what is nested stays JSON."""
    value = msgspec.json.decode(body) if isinstance(body, bytes) else msgspec.to_builtins(body)
    if not isinstance(value, dict):
        return {}
    return {name: one if isinstance(one, str) else msgspec.json.encode(one).decode() for name, one in value.items()}


def _origin(scope: Scope, headers: Mapping[str, str], resources: Resources) -> str:
    if resources.public_url is not None:
        return resources.public_url
    host, port = scope.get("server") or ("localhost", None)
    return f"{scope.get('scheme', 'http')}://{headers.get('host') or f'{host}:{port}'}"
