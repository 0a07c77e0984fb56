"""Is it the carrier that asks? The decision about webhook and upgrade signatures, without I/O.

A carrier signs the URL that it dialled, and an app behind tunnels and proxies can only guess at that. The guesses, in
order: the configured public URL, then the hosts that the request names (`X-Forwarded-Host` and `Host`, then both with
`X-Forwarded-Port`), each under the path as seen and under `X-Forwarded-Prefix`, with every scheme. A guess that is
wrong costs an HMAC and opens nothing: whoever forges a `Host` still lacks the auth token. All that is not a good V3
signature is refused (plivo-protocol.md, sections 8.2 and 8.6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bothway.wire.signature import Match, Params, candidates, upgrade_candidates, verify

__all__ = ["SeenRequest", "Verdict", "check_upgrade", "check_webhook"]

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%-]+)+")

_V3 = "X-Plivo-Signature-V3"
_NO_HEADER = (
    f"it has no {_V3} header: it does not come from the carrier, or a proxy in front of this app drops the header"
)
_EMPTY = f"its {_V3} header is empty"
_NO_NONCE = f"its {_V3}-Nonce header is missing or empty"
_NO_HOST = "it names no usable Host, and no public URL is configured"
_NO_FIT = (
    "no signature fits: the auth token of this app is another account's, or the carrier dialled another URL than those "
    "tried (BOTHWAY_PUBLIC_URL names the origin that the carrier dials)"
)


@dataclass(frozen=True)
class SeenRequest:
    """A request as the app's own server saw it.

    Attributes:
        method: `GET` or `POST`; of an upgrade, `GET`.
        scheme: `http`, `https`, `ws` or `wss`: whether *this* process spoke TLS.
        path: With the percent-encoding as sent.
        query: As sent, without the question mark.
        headers: Names in lower case, and values; repeats kept.
    """

    method: str
    scheme: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str:
        """The value of a header, repeats joined by commas (RFC 9110, section 5.3); empty when it is absent."""
        return ", ".join(value for key, value in self.headers if key == name)

    def forwarded(self, name: str) -> str:
        """The first value of a proxy's list header: what the outermost proxy was asked for."""
        return self.header(f"x-forwarded-{name}").partition(",")[0].strip()


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes:
        match: The signature that is good, and the URL that it covers; None refuses the request.
        reason: Why it is refused, as the end of a sentence about the request; empty where it is not.
        tried: The URLs that the signature was held against, without their queries.
    """

    match: Match | None
    reason: str = ""
    tried: tuple[str, ...] = ()

    @property
    def covers_query(self) -> bool:
        """Whether the query stood in what was signed; some carriers sign an upgrade without it."""
        return self.match is not None and "?" in self.match.url


def check_webhook(
    request: SeenRequest, form: Params | None, *, tokens: Sequence[str], public_url: str | None = None
) -> Verdict:
    """Check the signature of an answer request or a callback.

    Args:
        request: As seen.
        form: The parameters of a POST's body; None of a GET, whose query is in the URL.
        tokens: The auth tokens that may have signed.
        public_url: The origin that the carrier dials, where it is configured; a path in it is a prefix that a proxy
            strips.

    Raises:
        UsageError: A token is empty, or the public URL cannot be split.
    """
    return _check(request, form, tokens, public_url, upgrade=False)


def check_upgrade(
    request: SeenRequest, *, tokens: Sequence[str], public_url: str | None = None, hide: str = ""
) -> Verdict:
    """Check the signature of a stream's WebSocket upgrade: a GET, signed under `http` as a rule, whatever was dialled.

    Args:
        request: As seen.
        tokens: As for `check_webhook`.
        public_url: As for `check_webhook`.
        hide: The part of the path that must not be told: the stream token.

    Raises:
        UsageError: As `check_webhook` does.
    """
    return _check(request, None, tokens, public_url, upgrade=True, hide=hide)


def _check(
    request: SeenRequest,
    form: Params | None,
    tokens: Sequence[str],
    public_url: str | None,
    *,
    upgrade: bool,
    hide: str = "",
) -> Verdict:
    headers = {name: request.header(name) for name, _ in request.headers}
    names = ("x-plivo-signature-v3", "x-plivo-signature-ma-v3")
    if not any(name in headers for name in names):
        return Verdict(None, _NO_HEADER)
    if not any(headers.get(name, "").strip(", ") for name in names):
        return Verdict(None, _EMPTY)
    if not headers.get("x-plivo-signature-v3-nonce", "").strip():
        return Verdict(None, _NO_NONCE)
    urls = _candidates(request, public_url, upgrade=upgrade)
    if not urls:
        return Verdict(None, _NO_HOST)
    match = verify(headers, request.method, urls, form, tokens)
    tried = dict.fromkeys(url.partition("?")[0] for url in urls)
    if hide:
        tried = dict.fromkeys(url.replace(hide, "…") for url in tried)
    return Verdict(match, "" if match else _NO_FIT, tuple(tried))


def _candidates(request: SeenRequest, public_url: str | None, *, upgrade: bool) -> tuple[str, ...]:
    """Every URL that may have been dialled, likeliest first."""
    form = upgrade_candidates if upgrade else candidates
    proto = request.forwarded("proto").lower()
    scheme = proto if proto in ("http", "https", "ws", "wss") else request.scheme
    query = f"?{request.query}" if request.query else ""
    found: list[str] = []
    if public_url:
        # Its host stands for every other one here, so that all its forms come before theirs.
        netloc = urlsplit(public_url).netloc
        for path in _paths(request):
            found += form(f"{scheme}://{netloc}{path}{query}", public_url=public_url)
    for host in _hosts(request):
        for path in _paths(request):
            found += form(f"{scheme}://{host}{path}{query}")
    return tuple(dict.fromkeys(found))


def _hosts(request: SeenRequest) -> tuple[str, ...]:
    host, forwarded, port = request.header("host"), request.forwarded("host"), request.forwarded("port")
    named = [forwarded, host]
    if port.isdigit():
        named += [f"{name}:{port}" for name in (forwarded, host) if name]
    return tuple(dict.fromkeys(name for name in named if _HOST.fullmatch(name)))


def _paths(request: SeenRequest) -> tuple[str, ...]:
    if not request.path.startswith("/"):
        return ()
    prefix = request.forwarded("prefix").rstrip("/")
    if _PREFIX.fullmatch(prefix) and not request.path.startswith(f"{prefix}/"):
        return (request.path, prefix + request.path)
    return (request.path,)
