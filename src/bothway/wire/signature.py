"""Plivo's request signatures: make them, check them, and say which form of the URL they covered.

A carrier signs the URL *it dialled*; an app sees the URL *its own server was asked for*. Tunnels, TLS terminators and
reverse proxies make the two differ, so a verifier tries a short list of candidate URLs, and reports which one matched.
The rules are those of plivo-protocol.md, section 8; nonces are arguments, because nothing here draws random numbers.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bothway.errors import UsageError

__all__ = [
    "MAX_SIGNATURES",
    "Match",
    "Nonces",
    "Params",
    "candidates",
    "sign_v1",
    "sign_v2",
    "sign_v3",
    "upgrade_candidates",
    "upgrade_signature_header",
    "v3_string",
    "verify",
    "webhook_headers",
]

Params: TypeAlias = Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str]]
"""A form: names to one value or several, or name and value pairs in any order."""

MAX_SIGNATURES = 16
"""How many signatures of one request are looked at. A carrier sends one per active token and URL form, so fewer than
ten; without a bound, a header of commas would buy a stranger thousands of HMACs."""


class Nonces(NamedTuple):
    """The two nonces of one webhook; 20 decimal digits each, as observed (plivo-protocol.md, 6.1)."""

    v2: str
    v3: str


@dataclass(frozen=True)
class Match:
    """A signature that was found good.

    Attributes:
        url: The candidate that the signature covers.
        version: Which rule was used.
        scheme_form: The scheme of that candidate: `http`, `https`, `ws` or `wss`.
    """

    url: str
    version: Literal["V1", "V2", "V3"]
    scheme_form: str


# --- signing ------------------------------------------------------------------------------------------------------


def v3_string(method: str, url: str, nonce: str, params: Params | None = None) -> str:
    """The text that a V3 signature covers, for signing and for showing to whoever hunts a mismatch.

    Query values are percent-decoded and never encoded again; names and values are sorted by code point, which is the
    byte order of UTF-8 (plivo-protocol.md, 8.2).

    Args:
        method: `GET` or `POST`, in either case.
        url: As dialled, with its query; a fragment is dropped.
        nonce: Of the `X-Plivo-Signature-V3-Nonce` header.
        params: The form of a POST. Those of a GET are merged into the query.

    Raises:
        UsageError: The method is another one, or the URL cannot be split.
    """
    parts = _split(url)
    base = f"{parts.scheme}://{parts.netloc}{parts.path}"
    query = parse_qsl(parts.query, keep_blank_values=True)
    form = _pairs(params)
    match method.upper():
        case "GET":
            merged = _sorted_query(query + form)
            text = f"{base}?{merged}" if merged else base
        case "POST":
            # The question mark stands as soon as there is either, the dot only when there are both.
            mark = "?" if query or form else ""
            dot = "." if query and form else ""
            text = f"{base}{mark}{_sorted_query(query)}{dot}{_concatenated(form)}"
        case _:
            raise UsageError(f"a V3 signature is defined for GET and POST, not for {method!r}")
    return f"{text}.{nonce}"


def sign_v3(method: str, url: str, nonce: str, token: str, params: Params | None = None) -> str:
    """The V3 signature in base64: HMAC-SHA256 over `v3_string`.

    Raises:
        UsageError: As `v3_string` does.
    """
    return _hmac(token, v3_string(method, url, nonce, params), "sha256")


def sign_v2(url: str, nonce: str, token: str) -> str:
    """The V2 signature in base64: HMAC-SHA256 over the URL without its query, and the nonce (plivo-protocol.md, 8.3).

    Raises:
        UsageError: The URL cannot be split.
    """
    parts = _split(url)
    return _hmac(token, f"{parts.scheme}://{parts.netloc}{parts.path}{nonce}", "sha256")


def sign_v1(url: str, params: Params | None, token: str) -> str:
    """The V1 signature in base64: HMAC-SHA1 over the whole URL and the sorted form (plivo-protocol.md, 8.4).

    There is no nonce. A GET carries its parameters in the URL, so it passes none here.
    """
    return _hmac(token, url.partition("#")[0] + _concatenated(_pairs(params)), "sha1")


def webhook_headers(
    method: str, url: str, params: Params | None, token: str, main_token: str, nonces: Nonces
) -> dict[str, str]:
    """Every signature header of one webhook (plivo-protocol.md, 6.1 and 8.1).

    Args:
        method: `GET` or `POST`.
        url: As dialled. Of a GET, with the parameters already in its query.
        params: The form of a POST; nothing for a GET.
        token: Of the account or subaccount that owns the call.
        main_token: Of the main account: the same text unless a subaccount owns the call.
        nonces: One for each of V2 and V3.

    Raises:
        UsageError: As `v3_string` does.
    """
    return {
        "X-Plivo-Signature": sign_v1(url, params, token),
        "X-Plivo-Signature-V2": sign_v2(url, nonces.v2, token),
        "X-Plivo-Signature-Ma-V2": sign_v2(url, nonces.v2, main_token),
        "X-Plivo-Signature-V2-Nonce": nonces.v2,
        "X-Plivo-Signature-V3": sign_v3(method, url, nonces.v3, token, params),
        "X-Plivo-Signature-Ma-V3": sign_v3(method, url, nonces.v3, main_token, params),
        "X-Plivo-Signature-V3-Nonce": nonces.v3,
    }


def upgrade_signature_header(url: str, nonce: str, token: str, *, every_form: bool) -> str:
    """The `X-Plivo-Signature-V3` value of a stream's WebSocket upgrade, signed as a GET (plivo-protocol.md, 8.6).

    Args:
        url: The stream's URL as dialled, `ws://` or `wss://`.
        nonce: Of the header beside it.
        token: Of the account that owns the call.
        every_form: True signs the http, https and literal forms and joins them with commas, without the spaces that
            some verifiers do not trim (profile `documented`); False signs the http form only (profile `live`).

    Raises:
        UsageError: The URL is no WebSocket URL.
    """
    scheme = _split(url).scheme
    if scheme not in ("ws", "wss"):
        raise UsageError(f"a stream is dialled at ws:// or wss://, not at {scheme or 'no scheme'}")
    rest = url.partition(":")[2]
    forms = ("http", "https", scheme) if every_form else ("http",)
    return ",".join(sign_v3("GET", f"{form}:{rest}", nonce, token) for form in forms)


# --- verifying ----------------------------------------------------------------------------------------------------


def verify(
    headers: Mapping[str, str],
    method: str,
    candidates: Iterable[str],
    params: Params | None,
    tokens: Sequence[str],
    *,
    allow_old: bool = False,
) -> Match | None:
    """Find the candidate URL that a request's signature covers, or nothing.

    V3 and Ma-V3 headers may each list several signatures: any one that is good will do. Where a V3 header is present
    the older versions are not looked at, so that nobody can choose the weaker rule.

    Args:
        headers: Of the request; names in any case.
        method: Of the request: `GET` for an upgrade.
        candidates: URLs that the carrier may have dialled, from `candidates` or `upgrade_candidates`.
        params: The form of a POST; nothing for a GET, whose query is in the URL.
        tokens: Every auth token that may have signed: the account's, its main account's, old and new in a rotation.
        allow_old: Whether V2 and V1 are good enough for a request without V3. V1 has no nonce and neither covers
            what V3 does.

    Raises:
        UsageError: One of the tokens is empty, and anybody can sign with that.
    """
    if "" in tokens:
        raise UsageError("an empty auth token verifies anybody's signature: configure the account's token")
    if method.upper() not in ("GET", "POST"):
        return None
    sent = {name.lower(): value for name, value in headers.items()}
    dialled = [url for url in candidates if _splits(url)]
    if "x-plivo-signature-v3" in sent or "x-plivo-signature-ma-v3" in sent:
        nonce = sent.get("x-plivo-signature-v3-nonce", "")
        return _verify_nonced("V3", sent, nonce, dialled, tokens, method, params) if nonce else None
    if not allow_old:
        return None
    if nonce := sent.get("x-plivo-signature-v2-nonce", ""):
        return _verify_nonced("V2", sent, nonce, dialled, tokens, method, params)
    signatures = _listed(sent.get("x-plivo-signature", ""))
    for url in dialled:
        if any(_is_among(sign_v1(url, params, token), signatures) for token in tokens):
            return Match(url, "V1", _split(url).scheme)
    return None


def _verify_nonced(
    version: Literal["V2", "V3"],
    sent: Mapping[str, str],
    nonce: str,
    dialled: Sequence[str],
    tokens: Sequence[str],
    method: str,
    params: Params | None,
) -> Match | None:
    name = version.lower()
    listed = (sent.get(f"x-plivo-signature-{name}", ""), sent.get(f"x-plivo-signature-ma-{name}", ""))
    signatures = _listed(",".join(listed))
    for url in dialled:
        for token in tokens:
            good = sign_v3(method, url, nonce, token, params) if version == "V3" else sign_v2(url, nonce, token)
            if _is_among(good, signatures):
                return Match(url, version, _split(url).scheme)
    return None


def candidates(
    url_as_seen: str, *, public_url: str | None = None, host: str | None = None, forwarded_host: str | None = None
) -> tuple[str, ...]:
    """The URLs that a carrier may have dialled for a webhook, likeliest first (plivo-protocol.md, 8.2).

    Args:
        url_as_seen: As the app's own server sees it: its path and query are trusted, and its scheme is not.
        public_url: The origin that the outside sees, if it is configured. Its path, if any, is a prefix that a proxy
            strips.
        host: The `Host` header; the authority of `url_as_seen` unless given.
        forwarded_host: The first value of `X-Forwarded-Host`, only from a proxy that is trusted to set it.

    Raises:
        UsageError: One of the URLs cannot be split.
    """
    seen = _split(url_as_seen)
    query = f"?{seen.query}" if seen.query else ""
    found: list[str] = []
    for scheme, netloc, prefix in _origins(seen, public_url, host, forwarded_host):
        first, second = ("http", "https") if scheme in ("http", "ws") else ("https", "http")
        for path in _paths(seen.path, prefix):
            found += (f"{first}://{netloc}{path}{query}", f"{second}://{netloc}{path}{query}")
    return tuple(dict.fromkeys(found))


def upgrade_candidates(
    url_as_seen: str, *, public_url: str | None = None, host: str | None = None, forwarded_host: str | None = None
) -> tuple[str, ...]:
    """The URLs that a carrier may have signed for a WebSocket upgrade, likeliest first.

    Every origin is tried with and without the query, as http (what was seen live), https, ws and wss
    (plivo-protocol.md, 8.6; contracts.md, 1.1). A signature without the query does not cover what is in it: an app
    that trusts its query looks at `Match.url`.

    Args:
        url_as_seen: As the app's own server sees it.
        public_url: As for `candidates`; `http`, `https`, `ws` and `wss` are all accepted.
        host: As for `candidates`.
        forwarded_host: As for `candidates`.

    Raises:
        UsageError: One of the URLs cannot be split.
    """
    seen = _split(url_as_seen)
    found: list[str] = []
    for _, netloc, prefix in _origins(seen, public_url, host, forwarded_host):
        for path in _paths(seen.path, prefix):
            for query in (f"?{seen.query}", "") if seen.query else ("",):
                found += (f"{scheme}://{netloc}{path}{query}" for scheme in ("http", "https", "ws", "wss"))
    return tuple(dict.fromkeys(found))


def _origins(
    seen: SplitResult, public_url: str | None, host: str | None, forwarded_host: str | None
) -> list[tuple[str, str, str]]:
    """Scheme, authority and path prefix of each place where the app may be known to the outside."""
    origins = []
    if public_url:
        public = _split(public_url)
        origins.append((public.scheme, public.netloc, public.path.rstrip("/")))
    origins += [(seen.scheme, name, "") for name in (forwarded_host, host or seen.netloc) if name]
    return origins


def _paths(path: str, prefix: str) -> tuple[str, ...]:
    if prefix and path != prefix and not path.startswith(f"{prefix}/"):
        path = prefix + path
    # A URL that was dialled without a path reaches the server as "/", but is signed without one (vector D12).
    return (path, "") if path == "/" else (path,)


# --- what both sides share ----------------------------------------------------------------------------------------


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"a URL that cannot be split cannot be signed: {error}") from None


def _splits(url: str) -> bool:
    try:
        _split(url)
    except UsageError:
        return False
    return True


def _pairs(params: Params | None) -> list[tuple[str, str]]:
    if params is None:
        return []
    if not isinstance(params, Mapping):
        return list(params)
    listed = ((name, (values,) if isinstance(values, str) else values) for name, values in params.items())
    return [(name, value) for name, values in listed for value in values]


def _sorted_query(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _concatenated(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(pairs))


def _hmac(token: str, text: str, digest: Literal["sha1", "sha256"]) -> str:
    # A form may hold lone surrogates where its bytes were not UTF-8; they must give a wrong signature, not an error.
    mac = hmac.digest(token.encode(), text.encode("utf-8", "surrogatepass"), digest)
    return base64.b64encode(mac).decode("ascii")


def _listed(header: str) -> list[bytes]:
    return [one.strip().encode("utf-8", "replace") for one in header.split(",", MAX_SIGNATURES)][:MAX_SIGNATURES]


def _is_among(signature: str, listed: Iterable[bytes]) -> bool:
    good = signature.encode("ascii")
    found = False
    for one in listed:  # all of them, so that the time taken does not say which one was close
        found |= hmac.compare_digest(good, one)
    return found
