"""The HTTP client for URLs that other people wrote: answer URLs, callbacks, files to play.

Such a URL must not reach into our own network, hold a call for ever, or fill the memory. So every address is checked at
the moment its socket is made (the address that is checked is the address that is connected to, whatever a name
resolved to before), redirects are followed by hand, every wait has a deadline, and bodies are read up to a bound.
Time-outs and retries are the URL's own, from its fragment (plivo-protocol.md, 6.8).
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias
from urllib.parse import parse_qsl, unquote, urldefrag, urlencode, urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from bothway.errors import PeerError, UsageError

__all__ = [
    "MAX_REDIRECTS",
    "Failure",
    "FetchError",
    "FetchPolicy",
    "FetchReason",
    "HttpClient",
    "HttpRequester",
    "HttpResponse",
    "Sign",
    "is_public",
    "redacted",
    "server_of",
]

MAX_REDIRECTS = 5
"""How many redirects are followed for one request."""

FetchReason: TypeAlias = Literal[
    "connect", "timeout", "status", "redirects", "private", "too-large", "invalid-url", "broken"
]
"""Why a request failed. `connect`: no connection could be made, in time or at all. `timeout`: the answer was not whole
in time. `status`: it is no 2xx. `redirects`: there were too many. `private`: the address is not for us to call.
`too-large`: the body is beyond the bound. `invalid-url`: it is no http(s) URL. `broken`: the answer was cut off, or is
no HTTP."""

Failure: TypeAlias = Literal["ct", "rt", "4xx", "5xx"]
"""The kinds of failure that a URL may ask to be retried for: connecting, reading, and two classes of status."""

Sign: TypeAlias = Callable[[str, str, Mapping[str, str]], Mapping[str, str]]
"""`(method, url, form) -> headers`, called for every hop and every try. The URL is as dialled: a GET's parameters are
in its query, and a user name and password, which the other end cannot see, are not in it. Only a POST has a form."""

_CONNECTIONS = 256
_CONNECTIONS_A_HOST = 128  # one that hangs leaves as many to the others
_KEPT_ALIVE_S = 15.0
_READ_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# The only part of IPv6 from which addresses for hosts are given out (RFC 4291, section 2.4, and IANA's registry).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_FOR_STRANGERS = ("authorization", "proxy-authorization", "cookie", "x-plivo-signature")
_REFUSED = "the address is not a public one"


# --- what a request asks for, and what it gives -------------------------------------------------------------------


@dataclass(frozen=True)
class FetchPolicy:
    """How long to wait for a URL, and when to try it again (plivo-protocol.md, 6.8).

    Attributes:
        connect_ms: For name, TCP and TLS, each time.
        read_ms: For the answer to start, and between two pieces of it.
        total_ms: For everything, retries and redirects included.
        retries: How often it is tried again.
        retry_on: After which failures.
    """

    connect_ms: int = 2000
    read_ms: int = 40_000
    total_ms: int = 55_000
    retries: int = 1
    retry_on: frozenset[Failure] = frozenset({"ct", "rt"})

    @classmethod
    def parse(cls, url: str) -> FetchPolicy:
        """Read `#ct=…&rt=…&tt=…&rc=…&rp=…`; clamp what is out of range, and ignore what cannot be read."""
        given = dict(parse_qsl(url.partition("#")[2]))
        retry_on: set[Failure] = set()
        for word in given.get("rp", "").lower().split(","):
            retry_on |= _RETRY_WORDS.get(word.strip(), frozenset())
        return cls(
            connect_ms=_clamped(given.get("ct"), 100, 10_000, cls.connect_ms),
            read_ms=_clamped(given.get("rt"), 100, 40_000, cls.read_ms),
            total_ms=_clamped(given.get("tt"), 100, 55_000, cls.total_ms),
            retries=_clamped(given.get("rc"), 0, 5, cls.retries),
            retry_on=frozenset(retry_on) or cls.retry_on,
        )


_RETRY_WORDS: dict[str, frozenset[Failure]] = {
    "ct": frozenset({"ct"}),
    "rt": frozenset({"rt"}),
    "4xx": frozenset({"4xx"}),
    "5xx": frozenset({"5xx"}),
    "all": frozenset({"ct", "rt", "4xx", "5xx"}),
}


@dataclass(frozen=True)
class HttpResponse:
    """An answer, read to its end.

    Attributes:
        status: Of the last hop.
        headers: Of the last hop; found in any case.
        body: As sent, and never longer than asked for.
        url: Of the last hop: where redirects led.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class FetchError(PeerError):
    """A request failed; the sentence holds the URL without credentials and query values.

    Attributes:
        reason: In one word.
        response: The answer, where the reason is its status.
        failure: Which retry rule it falls under; None is never retried.
    """

    def __init__(
        self,
        message: str,
        reason: FetchReason,
        *,
        response: HttpResponse | None = None,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message)
        self.reason: FetchReason = reason
        self.response = response
        self.failure = failure


class HttpRequester(Protocol):
    """Whatever can make a request: `HttpClient`, or a transport in memory."""

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
        ...


# --- the client ---------------------------------------------------------------------------------------------------


class HttpClient:
    """An HTTP client that refuses private networks. Use it with `async with`, or `close` it.

    Proxy settings of the environment are ignored: a proxy would connect where we would not. There are no cookies, and
    no compressed bodies, whose size is only known once they are unpacked.

    Args:
        allow_private: Whether any address at all may be called: for development on one machine.
        allow_networks: Networks that may be called in spite of being private, such as `10.1.0.0/16`.
        user_agent: The `User-Agent` header; apps tell carriers apart by it.

    Raises:
        UsageError: One of `allow_networks` is no network.
    """

    def __init__(
        self, *, allow_private: bool = False, allow_networks: Iterable[str] = (), user_agent: str = "Plivo"
    ) -> None:
        self._allow_private = allow_private
        try:
            self._networks = tuple(ipaddress.ip_network(text) for text in allow_networks)
        except ValueError as error:
            raise UsageError(f"a network to allow is written like 10.1.0.0/16: {error}") from None
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. What is still being requested fails; nothing can be requested any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

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
        """Make a request, follow its redirects, try again where the policy says so, and read the whole answer.

        Args:
            method: `GET` or `POST`.
            url: http or https; its fragment is not sent. A user name and password become an `Authorization`.
            form: Appended to the query of a GET, the body of a POST.
            headers: Sent too. A redirect to another origin does not get their credentials.
            policy: Time-outs and retries; usually `FetchPolicy.parse(url)`.
            max_body: The longest body that is accepted, in bytes.
            sign: Makes the signature headers of each hop, because a signature covers the URL.

        Raises:
            FetchError: It failed, or the last answer is no 2xx.
            UsageError: The method is another one, or the client is closed.
        """
        if method not in ("GET", "POST"):
            raise UsageError(f"a webhook is a GET or a POST, not a {method}")
        if self._closed:
            raise UsageError("this HTTP client is closed")
        fetch = _Fetch(headers or {}, policy, max_body, sign)
        try:
            async with asyncio.timeout(policy.total_ms / 1000):
                tries = policy.retries
                while True:
                    try:
                        return await self._follow(fetch, _first_hop(method, url, form))
                    except FetchError as error:
                        if tries == 0 or error.failure not in policy.retry_on:
                            raise
                    tries -= 1
        except TimeoutError:
            raise FetchError(
                f"{redacted(url)} was not done within {policy.total_ms} ms", "timeout", failure="rt"
            ) from None

    async def _follow(self, fetch: _Fetch, hop: _Hop) -> HttpResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._one(fetch, hop)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                break
            hop = hop.redirected(response.status, location)
        else:
            raise FetchError(
                f"{redacted(hop.url)} is beyond {MAX_REDIRECTS} redirects: they seem to go on for ever", "redirects"
            )
        if not 200 <= response.status < 300:
            classes: dict[int, Failure] = {4: "4xx", 5: "5xx"}
            raise FetchError(
                f"{redacted(hop.url)} answered {response.status}",
                "status",
                response=response,
                failure=classes.get(response.status // 100),
            )
        return response

    async def _one(self, fetch: _Fetch, hop: _Hop) -> HttpResponse:
        """One request and its answer, without redirects; what goes wrong becomes a `FetchError`."""
        shown, policy = redacted(hop.url), fetch.policy
        try:
            async with self._opened().request(
                hop.method,
                URL(hop.url, encoded=True),
                data=hop.body,
                headers=self._headers(fetch, hop),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=policy.connect_ms / 1000, sock_read=policy.read_ms / 1000
                ),
            ) as response:
                body = b"" if response.status in _REDIRECTS else await _body(response, fetch, shown)
                return HttpResponse(response.status, response.headers, body, hop.url)
        except aiohttp.ConnectionTimeoutError:
            raise FetchError(
                f"{shown} could not be connected to within {policy.connect_ms} ms", "connect", failure="ct"
            ) from None
        except aiohttp.ServerTimeoutError:
            raise FetchError(f"{shown} sent nothing for {policy.read_ms} ms", "timeout", failure="rt") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(_cause(error), _RefusedError):
                raise FetchError(f"{shown} is in a private network, where requests may not go", "private") from None
            raise FetchError(f"{shown} could not be connected to: {_cause(error)}", "connect", failure="ct") from error
        except aiohttp.InvalidURL:
            raise FetchError(f"{shown} is no URL that can be requested", "invalid-url") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of some of these holds the whole URL, so only their kind is told.
            raise FetchError(
                f"{shown} broke off its answer, or sent no HTTP ({type(error).__name__})", "broken", failure="rt"
            ) from None

    def _headers(self, fetch: _Fetch, hop: _Hop) -> CIMultiDict[str]:
        headers = CIMultiDict({"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "identity"})
        if hop.authorization is not None:
            headers["Authorization"] = hop.authorization
        if hop.method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        for name, value in fetch.headers.items():
            if not (hop.is_elsewhere and name.lower().startswith(_NOT_FOR_STRANGERS)):
                headers[name] = value
        if fetch.sign is not None:
            headers.update(fetch.sign(hop.method, hop.url, hop.form))
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS,
                    limit_per_host=_CONNECTIONS_A_HOST,
                    keepalive_timeout=_KEPT_ALIVE_S,
                    resolver=aiohttp.ThreadedResolver(),
                    socket_factory=self._socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket for one address, or refuse to: nothing is connected to that did not pass here."""
        family, kind, protocol, _, address = info
        if not self._allow_private and not self._may_call(str(address[0])):
            # One text for every address, so that several refusals are still reported as this one error.
            raise _RefusedError(_REFUSED)
        return socket.socket(family, kind, protocol)

    def _may_call(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False  # a number such as 2130706433, which the operating system would take for 127.0.0.1
        return is_public(address) or any(address in network for network in self._networks)


class _RefusedError(OSError):
    """The address may not be called."""


@dataclass(frozen=True)
class _Fetch:
    """What stays the same from hop to hop."""

    headers: Mapping[str, str]
    policy: FetchPolicy
    max_body: int
    sign: Sign | None


@dataclass(frozen=True)
class _Hop:
    """One request of a chain of redirects: `url` is exactly what is dialled and signed."""

    method: str
    url: str
    form: Mapping[str, str]
    authorization: str | None = None
    is_elsewhere: bool = False

    @property
    def body(self) -> bytes | None:
        return _encoded(self.form).encode("ascii") if self.method == "POST" else None

    def redirected(self, status: int, location: str) -> _Hop:
        """The next request, as browsers make it: 301, 302 and 303 turn a POST into a GET, 307 and 308 repeat it."""
        url, authorization = _dialled(location, self.url)
        is_elsewhere = self.is_elsewhere or _origin(url) != _origin(self.url)
        if authorization is None and not is_elsewhere:
            authorization = self.authorization
        if status in (307, 308):
            return _Hop(self.method, url, self.form, authorization, is_elsewhere)
        return _Hop("GET", url, {}, authorization, is_elsewhere)


def _first_hop(method: str, url: str, form: Mapping[str, str] | None) -> _Hop:
    dialled, authorization = _dialled(url, "")
    if method == "POST":
        return _Hop(method, dialled, form or {}, authorization)
    if form:
        dialled += ("&" if urlsplit(dialled).query else "?") + _encoded(form)
    return _Hop(method, dialled, {}, authorization)


def _encoded(form: Mapping[str, str]) -> str:
    return urlencode(form, errors="replace")


def _dialled(reference: str, base: str) -> tuple[str, str | None]:
    """A URL, seen from another one, as it is dialled: without credentials and fragment; and their `Authorization`.

    A URL is left as its writer wrote it, because a signature covers every character; only one that cannot stand in a
    request is quoted.
    """
    try:
        parts = urlsplit(urldefrag(urljoin(base, reference)).url)
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if not _is_sendable(plain):
            plain = str(URL(plain))
        target = URL(plain, encoded=True)
        host = (target.host or "").encode("idna")  # what the resolver will do, and what it must not fail at
        good = bool(host) and target.port is not None and target.scheme in ("http", "https") and _is_sendable(plain)
    except ValueError:
        good = False
    if not good:
        raise FetchError(f"{redacted(reference)} is no http or https URL", "invalid-url")
    if parts.username is None:
        return plain, None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return plain, "Basic " + base64.b64encode(credentials.encode("utf-8", "replace")).decode("ascii")


def _cause(error: aiohttp.ClientConnectorError) -> Exception:
    # A certificate error is built without the attribute that its parent class has.
    return error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error.os_error


def _is_sendable(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


async def _body(response: aiohttp.ClientResponse, fetch: _Fetch, shown: str) -> bytes:
    """The whole body. Never more than one byte beyond the bound is kept, besides the connection's own read buffer."""
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise FetchError(f"{shown} answered in Content-Encoding {coding[:40]!r}, which was not asked for", "broken")
    too_large = FetchError(f"{shown} answered with more than {fetch.max_body} bytes", "too-large")
    if (response.content_length or 0) > fetch.max_body:
        raise too_large
    body = bytearray()
    while chunk := await response.content.read(min(_READ_BYTES, fetch.max_body + 1 - len(body))):
        body += chunk
        if len(body) > fetch.max_body:
            raise too_large
    return bytes(body)


# --- addresses and URLs -------------------------------------------------------------------------------------------


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one host on the internet: not private, shared, loopback, link-local, multicast or reserved.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64 of RFC 6052, 6to4 of RFC 3056) is judged by that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def redacted(url: str) -> str:
    """A URL for people to read: `scheme://host:port/path?…`, without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a text that is no URL"
    query = "?…" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"[:300]


def server_of(url: str) -> str:
    """Host and port of a URL, as it has them, in lower case; nothing of what is no URL, which fails by itself."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = URL(url, encoded=True)
    return parts.scheme, (parts.host or "").lower(), parts.port


def _clamped(text: str | None, low: int, high: int, default: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return default
    return min(high, max(low, int(text)))
