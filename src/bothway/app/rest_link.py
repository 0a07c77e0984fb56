"""One account's requests to the Voice API, and what they come to (plivo-protocol.md, 5.1).

A request is repeated only where that can do no harm: when no connection was made, and a GET or DELETE also when its
answer was lost or is a 5xx. A POST that may have acted is never sent twice, unless its caller says that the carrier
knows an `Idempotency-Key`.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from bothway.errors import PeerError, UsageError
from bothway.version import __version__

if TYPE_CHECKING:
    import aiohttp

__all__ = ["DEADLINE", "MAX_ANSWER", "MAX_RECORDING", "RestError", "RestLink"]

DEADLINE = 10.0
"""Seconds for one operation, repeats included: twice what the official SDK waits."""

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer. A page of a list has at most 20 objects (plivo-protocol.md, 5.1), some ten thousand bytes."""

MAX_RECORDING = 2 * 1024**3
"""Bytes of a recording's file (plivo-protocol.md, section 9)."""

_CONNECT = 3.0
_REPEATS = (0.2, 1.0)
_IDLE = 10.0
_DOWNLOAD = 3600.0
_KEPT_ALIVE = 4.0  # less than servers commonly do (uvicorn: 5), so that a POST seldom meets a connection being closed
_PIECE = 256 * 1024
_SHOWN = 300
_HOSTED = ".plivo.com"
_HINTS = {401: ": the auth id and the auth token do not belong together"}


class RestError(PeerError):
    """The carrier refused a request, or did not answer it.

    Attributes:
        status: Of the answer; 0 where there is none.
        error: The carrier's own words; empty where it has none.
        may_have_acted: Whether what was asked for may have happened all the same: the answer was lost, or is a 5xx.
        idempotency_key: Of a call that was to be placed: give it again, and a carrier that knows such keys places no
            second call. Empty for everything else.
    """

    def __init__(
        self, message: str, *, status: int = 0, error: str = "", may_have_acted: bool = False, key: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.may_have_acted = may_have_acted
        self.idempotency_key = key


@dataclass(frozen=True)
class _Request:
    method: str
    url: str
    name: str
    body: bytes | None
    headers: Mapping[str, str]
    key: str
    may_repeat: bool

    def failed(self, why: str, *, status: int = 0, error: str = "", may_have_acted: bool = False) -> RestError:
        """What is raised: the request, without its query and body, and what became of it."""
        message = f"{self.name}: {why}"
        return RestError(message, status=status, error=error, may_have_acted=may_have_acted, key=self.key)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    sendings: int


class RestLink:
    """The way to the account's REST API.

    Args:
        api_url: Its base, such as `https://api.plivo.com/v1`.
        auth_id: The account.
        auth_token: Its token; it goes out in the `Authorization` header and nowhere else.
        deadline: Seconds for one operation.
    """

    def __init__(self, api_url: str, auth_id: str, auth_token: str, deadline: float = DEADLINE) -> None:
        self._api_url = api_url.rstrip("/")
        self._auth_id = auth_id
        self._auth_token = auth_token
        self._deadline = deadline
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        *path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str = "",
        may_repeat: bool | None = None,
    ) -> dict[str, Any]:
        """Make a request, and read its answer.

        Args:
            method: `GET`, `POST` or `DELETE`.
            path: What follows the account in the path, segment by segment; `/` is put between and behind.
            query: Parameters of a GET.
            body: Parameters of a POST.
            key: The `Idempotency-Key`.
            may_repeat: Whether it may act twice without harm; a GET and a DELETE may unless told otherwise.

        Returns:
            The JSON object that was answered; an empty one for a 204. So does a DELETE whose first answer was lost,
            and whose second says 404: it has done what it should.

        Raises:
            UsageError: There is no auth id or no auth token, or a segment of the path is empty.
            RestError: The carrier answered anything but a 2xx, or no JSON object, or nothing within the deadline.
        """
        segments = self._segments(path)
        url = f"{self._api_url}/{'/'.join(('Account', *segments))}/"
        if query:
            url += "?" + urlencode({name: _in_query(value) for name, value in query.items()})
        request = _Request(
            method,
            url,
            f"{method} {'/'.join(segments[1:])}/" if len(segments) > 1 else f"{method} of the account",
            msgspec.json.encode(body) if body is not None else None,
            {"Idempotency-Key": key} if key else {},
            key,
            method != "POST" if may_repeat is None else may_repeat,
        )
        answer, doubtful = await self._answered(request)
        if doubtful and method == "DELETE" and answer.status == 404:
            return {}
        return _read(request, answer)

    async def save(self, url: str, path: Path) -> int:
        """Save what is at a URL that the carrier named, as a file. An unfinished file is not left behind.

        Only the API's own origin, and Plivo's own hosts under TLS, are shown the account's credentials.

        Returns:
            Its length in bytes.

        Raises:
            RestError: It cannot be had, or is longer than `MAX_RECORDING`.
            UsageError: There is no auth id or no auth token, or the URL is none.
            OSError: The file cannot be written.
        """
        import aiohttp

        self._check()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"a recording is at an http or https URL: {url[:_SHOWN]!r} is none")
        request = _Request("GET", url, f"the recording at {parts.hostname}{parts.path}", None, {}, "", False)
        headers = {"Accept-Encoding": "identity"}
        if self._is_trusted(url):
            headers["Authorization"] = self._authorization()
        unfinished = path.with_name(path.name + ".part")
        timeout = aiohttp.ClientTimeout(total=_DOWNLOAD, sock_connect=_CONNECT, sock_read=_IDLE)
        try:
            async with self._opened().get(url, headers=headers, timeout=timeout, max_redirects=5) as response:
                if response.status != 200:
                    status = response.status
                    raise request.failed(f"the carrier answered {status}{_HINTS.get(status, '')}", status=status)
                length = await _write(request, response, unfinished)
            os.replace(unfinished, path)
        except TimeoutError:
            raise request.failed("nothing more of it came in time") from None
        except aiohttp.ClientError as error:
            raise request.failed(f"it broke off ({type(error).__name__})") from error
        finally:
            unfinished.unlink(missing_ok=True)
        return length

    async def close(self) -> None:
        """Close the connections. The next request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- how it is done -------------------------------------------------------------------------------------------

    async def _answered(self, request: _Request) -> tuple[_Answer, bool]:
        """The answer that counts, and whether an earlier try may have acted."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._deadline
        waits: Iterator[float] = iter(_REPEATS)
        throttled = doubtful = False
        while True:
            wait: float | None = None
            answer: _Answer | None = None
            failure: RestError | None = None
            try:
                async with asyncio.timeout_at(end):
                    answer = await self._once(request)
            except TimeoutError:
                why = f"no answer within {self._deadline:g} s from {self._api_url}"
                raise request.failed(why, may_have_acted=True) from None
            except RestError as error:
                failure = error
                if request.may_repeat or not error.may_have_acted:
                    wait = next(waits, None)
                doubtful = doubtful or error.may_have_acted
            else:
                doubtful = doubtful or answer.sendings > 1
                if answer.status == 429 and not throttled:
                    wait, throttled = _retry_after(answer), True
                elif answer.status >= 500 and request.may_repeat:
                    wait, doubtful = next(waits, None), True
            if wait is not None and loop.time() + wait < end:
                await asyncio.sleep(wait)
            elif failure is not None:
                raise failure
            elif answer is not None:
                return answer, doubtful

    async def _once(self, request: _Request) -> _Answer:
        # Imported when first needed: an HTTP client takes a tenth of a second, and many apps never need it.
        import aiohttp
        from yarl import URL

        headers = {**request.headers, "Authorization": self._authorization(), "Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        sendings: list[None] = []
        try:
            async with self._opened().request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
                trace_request_ctx=sendings,
            ) as response:
                body = bytearray()
                async for piece in response.content.iter_chunked(_PIECE):
                    body += piece
                    if len(body) > MAX_ANSWER:
                        why = f"the carrier answered with more than {MAX_ANSWER} bytes"
                        raise request.failed(why, status=response.status, may_have_acted=True)
                return _Answer(response.status, response.headers, bytes(body), len(sendings))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise request.failed(f"{self._api_url} cannot be reached: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            why = f"{self._api_url} broke off ({type(error).__name__})"
            raise request.failed(why, may_have_acted=True) from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            # The library itself sends a GET or DELETE again whose connection broke; it must not go unnoticed.
            tracing = aiohttp.TraceConfig()
            tracing.on_request_headers_sent.append(_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=_KEPT_ALIVE),
                headers={"User-Agent": f"bothway/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[tracing],
            )
        return self._session

    def _segments(self, path: Sequence[str]) -> list[str]:
        self._check()
        for segment in path:
            # An empty id would ask for all of them, and one of dots for something else.
            if not segment.strip("."):
                raise UsageError(f"{segment!r} is no id: it has to stand in the path {'/'.join(path)}/")
        return [quote(segment, safe="") for segment in (self._auth_id, *path)]

    def _check(self) -> None:
        if not (self._auth_id and self._auth_token):
            missing = "PLIVO_AUTH_ID" if not self._auth_id else "PLIVO_AUTH_TOKEN"
            raise UsageError(f"the carrier's REST API needs {missing}: it is not set")

    def _authorization(self) -> str:
        return "Basic " + b64encode(f"{self._auth_id}:{self._auth_token}".encode()).decode("ascii")

    def _is_trusted(self, url: str) -> bool:
        theirs, ours = urlsplit(url), urlsplit(self._api_url)
        if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc):
            return True
        is_hosted = (ours.hostname or "").endswith(_HOSTED) and (theirs.hostname or "").endswith(_HOSTED)
        return is_hosted and theirs.scheme == "https"


async def _sent(_session: object, context: Any, _params: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.append(None)


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(request: _Request, answer: _Answer) -> dict[str, Any]:
    status = answer.status
    try:
        found: object = msgspec.json.decode(answer.body) if answer.body.strip() else {}
    except msgspec.DecodeError:
        found = None
    if 200 <= status < 300:
        if isinstance(found, dict):
            return found
        raise request.failed("the carrier's answer is no JSON object", status=status, may_have_acted=True)
    error = ""
    if isinstance(found, dict):
        told = found.get("error", "")
        # Some answers wrap it once more.
        told = told.get("error", told) if isinstance(told, dict) else told
        error = str(told)[:_SHOWN]
    why = f"the carrier answered {status}{f' ({error})' if error else ''}{_HINTS.get(status, '')}"
    raise request.failed(why, status=status, error=error, may_have_acted=status >= 500)


def _retry_after(answer: _Answer) -> float | None:
    """Seconds (RFC 9110, section 10.2.3); None where the header is missing, or is a date."""
    text = answer.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


async def _write(request: _Request, response: aiohttp.ClientResponse, path: Path) -> int:
    length = 0
    file = await asyncio.to_thread(path.open, "wb")
    try:
        async for piece in response.content.iter_chunked(_PIECE):
            length += len(piece)
            if length > MAX_RECORDING:
                raise request.failed(f"it is longer than {MAX_RECORDING} bytes")
            await asyncio.to_thread(file.write, piece)
    finally:
        await asyncio.to_thread(file.close)
    return length
