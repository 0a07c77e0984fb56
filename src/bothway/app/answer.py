"""The answer document: where the app is for the outside, and the stream URL with its token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urlsplit

import msgspec

from bothway.app.routes import STREAM_SEGMENT, AnswerRoute
from bothway.app.tokens import LIFETIME, StreamToken, issue
from bothway.app.verify import SeenRequest
from bothway.runtime.logs import get_logger
from bothway.wire.callxml import to_xml
from bothway.wire.signature import Match
from bothway.wire.verbs import URL_LIMIT
from bothway.wire.webhooks import AnswerRequest

__all__ = ["answer_document", "answer_query", "outside_url"]

_MAX_PARTY = 256

_CARRIERS_OWN = frozenset(
    (
        *(
            "ALegRequestUUID",
            "ALegUUID",
            "BillRate",
            "CallStatus",
            "CallUUID",
            "CallerName",
            "CountryCode",
            "Direction",
        ),
        *("Event", "ForwardedFrom", "From", "ParentAuthID", "RequestUUID", "RouteType", "STIRAttestation"),
        *("STIRVerification", "SessionStart", "To"),
    )
)
"""What the carrier itself adds to the query of a GET (plivo-protocol.md, 6.2)."""

log = get_logger(__name__)


def outside_url(request: SeenRequest, match: Match | None, public_url: str | None) -> str:
    """The URL of a request as the carrier dialled it, without its query.

    The configured public URL outweighs all; else it is the URL that the signature was good for; without a signature,
    what the request and the proxies in front say.

    Args:
        request: As seen.
        match: The signature that was found good.
        public_url: The configured origin.
    """
    if public_url:
        parts = urlsplit(public_url)
        prefix = parts.path.rstrip("/")
        path = request.path
        if prefix and path != prefix and not path.startswith(f"{prefix}/"):
            path = prefix + path
        return f"{parts.scheme}://{parts.netloc}{path}"
    if match is not None:
        return match.url.partition("?")[0]
    scheme = request.forwarded("proto") or request.scheme
    host = request.forwarded("host") or request.header("host")
    return f"{scheme}://{host}{request.forwarded('prefix').rstrip('/')}{request.path}"


def answer_query(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The part of an answer URL's query that the app put there itself."""
    return tuple((name, value) for name, value in pairs if name not in _CARRIERS_OWN)


def answer_document(
    route: AnswerRoute,
    asked: AnswerRequest,
    query: Sequence[tuple[str, str]],
    *,
    url: str,
    status_path: str | None,
    secret: bytes,
    now: float,
) -> str:
    """The document that connects a call to its stream.

    Args:
        route: Whose.
        asked: The carrier's request for it.
        query: What the handler gets as the call's query.
        url: The answer URL as the carrier dialled it, without query.
        status_path: The path within the app for status callbacks, if they are wanted.
        secret: What the token is made with.
        now: Unix time, in seconds.

    Raises:
        UsageError: The document cannot be written.
    """
    scheme, _, rest = url.partition("://")
    base = ("wss://" if scheme in ("https", "wss") else "ws://") + rest.rstrip("/") + STREAM_SEGMENT
    token = StreamToken(
        call_id=asked.call_uuid,
        route=route.path,
        expires=int(now + LIFETIME),
        from_=asked.from_[:_MAX_PARTY],
        to=asked.to[:_MAX_PARTY],
        direction=asked.direction[:_MAX_PARTY],
        query=tuple(query),
        app_url=_sibling(url, route.path, ""),
    )
    stream_url = base + issue(token, secret)
    if len(stream_url) > URL_LIMIT:
        log.warning(
            "the query of the answer URL does not fit into the stream's URL: the handler gets none of it",
            call=asked.call_uuid,
            limit=URL_LIMIT,
        )
        token = msgspec.structs.replace(token, query=())
        stream_url = base + issue(token, secret)
    stream = replace(route.stream, url=stream_url)
    if status_path is not None:
        stream = replace(stream, status_callback_url=_sibling(url, route.path, status_path))
    return to_xml((*route.before, stream, *route.after))


def _sibling(url: str, path: str, other: str) -> str:
    """The URL of another path of the same app."""
    for written in (path, quote(path)):
        if url.endswith(written):
            return url[: -len(written)] + quote(other)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{quote(other)}"
