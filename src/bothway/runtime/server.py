"""One port for HTTP and WebSocket: uvicorn's HTTP protocols speak HTTP, and picows takes over at the upgrade.

uvicorn brings the HTTP parsing (httptools when it is installed, else h11), keep-alive, pipelining and bodies, and
runs an ASGI application. Its own `Server` is not used, for it owns signals, a lifespan and a main loop. At an upgrade
uvicorn asks its configuration for a WebSocket protocol, feeds it the request and gives it the transport. What it gets
here *is* a picows protocol, so that from the first frame on nothing of uvicorn and no Python of ours stands between
the event loop and picows.

What uvicorn leaves open is closed here: a request head that never ends, one without bound, an answer that nobody
reads, and the number of connections.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any, cast

import aiofastnet
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # httptools is an optional speed-up of uvicorn's
    HttpToolsProtocol = None  # type: ignore[assignment,misc]

from bothway.errors import PeerError, UsageError
from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send
from bothway.runtime.duplex import (
    CLOSE_DEADLINE,
    MAX_MESSAGE,
    PING_INTERVAL,
    Accept,
    CloseCode,
    Refusal,
    UpgradeRequest,
)
from bothway.runtime.duplex_picows import PicowsDuplex, PicowsProtocol, quiet_tls

__all__ = [
    "BODY_LIMIT",
    "HEAD_LIMIT",
    "KEEP_ALIVE",
    "WRITE_DEADLINE",
    "BodyError",
    "Server",
    "read_body",
]

logger = logging.getLogger(__name__)

# What a peer gets wrong is no news: uvicorn's warnings about it stay out, its errors do not.
_uvicorn_log = logging.getLogger("bothway.uvicorn")
_uvicorn_log.setLevel(logging.ERROR)

BODY_LIMIT = 1024 * 1024
"""The largest request body that `read_body` takes unless told otherwise, in bytes."""

HEAD_LIMIT = 64 * 1024
"""The largest request head, in bytes; picows takes 16 KB of it for an upgrade."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept for the next request: longer than HTTP clients keep theirs (aiohttp: 15)."""

WRITE_DEADLINE = 60.0
"""Seconds that a peer may leave an answer unread before its connection is dropped."""

_LINGER = 1.0
"""Seconds that a connection that was refused may take to read why."""


class BodyError(PeerError):
    """A request body that could not be read.

    Args:
        message: What happened, as a sentence.
        status: What to answer: 413 too large, 408 too slow, 400 cut off.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Receive, limit: int = BODY_LIMIT, deadline: float = 10.0) -> bytes:
    """The whole body of a request. `Server` answers for an application that lets `BodyError` rise.

    Args:
        receive: The ASGI application's.
        limit: The largest body, in bytes.
        deadline: Seconds for all of it.

    Raises:
        BodyError: It is too large or too slow, or the client left.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadline):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyError("the client left before its whole body had come", status=400)
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise BodyError(f"a body of {size} bytes or more is over the limit of {limit}", status=413)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise BodyError(f"{size} bytes of the body came within {deadline:g} s, and not its end", status=408) from None


class Server:
    """HTTP to `app` and WebSockets to `accept`, on one port.

    Args:
        app: An ASGI application for plain HTTP. No lifespan is run.
        accept: Decides about every upgrade; one that raises is logged and answered with 500.
        host: The address or name to listen at. With a name of several addresses and port 0, `port` is the first's.
        port: 0 for a free one.
        ssl: TLS on this port, for `https` and `wss`.
        path: Listen at this Unix socket instead, which must not be there yet.
        reuse_port: Let several processes listen at the same port (SO_REUSEPORT).
        header_timeout: Seconds for the TLS handshake, and again for a whole request head.
        max_connections: HTTP and WebSocket together; more are answered with 503.
        max_message: The largest WebSocket message, in bytes.
        ping_interval: See `PicowsDuplex`.
        http: `httptools`, `h11`, or None for the first that is installed.
    """

    def __init__(
        self,
        app: ASGIApp,
        accept: Accept,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: Path | None = None,
        ssl: ssl.SSLContext | None = None,
        reuse_port: bool = False,
        header_timeout: float = 10.0,
        max_connections: int = 10_000,
        max_message: int = MAX_MESSAGE,
        ping_interval: float = PING_INTERVAL,
        http: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.header_timeout = header_timeout
        self.max_connections = max_connections
        self.max_message = max_message
        self.ping_interval = ping_interval
        self.state = ServerState()
        self._app = app
        self._accept = accept
        self._path = path
        self._ssl = ssl
        self._reuse_port = reuse_port
        self._exchange = _exchange_class(http)
        self._listener: asyncio.AbstractServer | None = None
        self.upgrades: set[_Upgrade] = set()
        self._requests = 0
        self._stopping = False
        self._change = asyncio.Event()
        self._dated = 0
        self.config = Config(
            cast("Any", self._serve),
            http=self._exchange,
            ws=cast("Any", self._upgraded),
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            h11_max_incomplete_event_size=HEAD_LIMIT,
        )

    @property
    def url(self) -> str:
        """`http://host:port` or `https://host:port`; the WebSocket URL is the same with `ws` for `http`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._ssl else 'http'}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open, of either kind."""
        return len(self.state.connections) + len(self.upgrades)

    async def start(self) -> None:
        """Bind and listen; `port` and `url` are known afterwards.

        Raises:
            UsageError: The address cannot be listened at, or the server was started before.
        """
        if self._listener is not None:
            raise UsageError("a server can be started once")
        self.config.load()
        if self._path is not None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_unix_server(lambda: self._exchange(self), self._path, backlog=2048)
            return
        options: dict[str, Any] = {"ssl": self._ssl, "backlog": 2048, "reuse_port": self._reuse_port or None}
        if self._ssl is not None:
            quiet_tls(asyncio.get_running_loop())
            options["ssl_handshake_timeout"] = self.header_timeout
            options["ssl_shutdown_timeout"] = CLOSE_DEADLINE
        try:
            listener = await aiofastnet.create_server(
                asyncio.get_running_loop(), lambda: self._exchange(self), self.host, self.port, **options
            )
        except OSError as error:
            raise UsageError(f"cannot listen at {self.host}:{self.port}: {error.strerror or error}") from error
        self._listener = listener
        self.port = listener.sockets[0].getsockname()[1]
        logger.debug("listening at %s", self.url)

    async def stop(self, grace: float) -> None:
        """Stop listening and let what is under way end; then end it. Returns when every connection has gone.

        Args:
            grace: Seconds for requests in flight and WebSockets to end by themselves. After it the WebSockets
                are closed with 1001, the requests are cancelled, and at most `CLOSE_DEADLINE` passes.
        """
        self._stopping = True
        if self._listener is not None:
            self._listener.close()
        for exchange in list(self.state.connections):
            if not exchange.transport.is_closing():
                exchange.shutdown()
        if await self._wait_empty(grace):
            return
        for upgrade in list(self.upgrades):
            upgrade.close(CloseCode.GOING_AWAY, "the server is stopping")
        for task in list(self.state.tasks):
            task.cancel()
        # One step, in which the cancelled requests are answered.
        await asyncio.sleep(0)
        for exchange in list(self.state.connections):
            exchange.transport.close()
        if not await self._wait_empty(CLOSE_DEADLINE):
            for exchange in list(self.state.connections):
                exchange.transport.abort()
            await self._wait_empty(CLOSE_DEADLINE)

    async def _wait_empty(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self.connections or self._requests:
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            return False
        return True

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._requests += 1
        try:
            await self._app(scope, receive, sending)
        except BodyError as error:
            if not started:
                # After 413 the rest of the body is read and dropped, up to a bound: else the client might miss it.
                await _answer(send, error.status, f"{error}\n".encode(), close=error.status != 413)
            else:
                raise
        except asyncio.CancelledError:
            if started or not self._stopping:
                raise
            await _answer(send, 503, b"the server is stopping\n")
        except Exception:
            if started:
                raise
            logger.exception("the application failed at %s %s", scope["method"], scope["path"])
            await _answer(send, 500, b"internal server error\n")
        finally:
            self._requests -= 1
            self._change.set()

    def _upgraded(self, **_: Any) -> _Upgrade:
        return _Upgrade(self)

    def ask(self, request: UpgradeRequest) -> PicowsDuplex | Refusal:
        """Ask `accept` about an upgrade."""
        if self._stopping:
            return Refusal(503, b"the server is stopping\n")
        try:
            outcome = self._accept(request)
        except Exception:
            logger.exception("accept failed")
            return Refusal(500, b"internal server error\n")
        if isinstance(outcome, Refusal):
            return outcome
        return PicowsDuplex(outcome, max_message=self.max_message, ping_interval=self.ping_interval)

    def left(self) -> None:
        """A connection has gone."""
        self._change.set()

    def date(self) -> None:
        """Keep the `Date` header of answers right (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._dated:
            self._dated = now
            self.state.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]


class _Upgrade(PicowsProtocol):
    """What uvicorn hands an upgrade to: a picows protocol that can be fed the request, and then has the transport."""

    def __init__(self, server: Server) -> None:
        super().__init__(self._listen, server.max_message)
        self._server = server

    def connection_made(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        self._client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._scheme = "wss" if transport.get_extra_info("sslcontext") else "ws"
        self._server.upgrades.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.upgrades.discard(self)
        self._server.left()

    def close(self, code: int, reason: str) -> None:
        if self.listener is not None and not self.transport.underlying_transport.is_closing():
            self.listener.close(code, reason)

    def data_received(self, data: bytes) -> None:
        """Take the request as if it had come from the socket."""
        rest = memoryview(data)
        while rest:
            room = self.get_buffer(-1)
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            self.buffer_updated(size)
            rest = rest[size:]

    def _listen(self, request: WSUpgradeRequest) -> PicowsDuplex | WSUpgradeResponseWithListener:
        path, _, query = request.path.decode("latin-1").partition("?")
        headers = tuple((name.lower(), _latin1(value)) for name, value in request.headers.items())
        outcome = self._server.ask(UpgradeRequest(path, query, headers, self._client, self._scheme))
        if isinstance(outcome, PicowsDuplex):
            # uvicorn has found the token among others (Firefox: "keep-alive, Upgrade"); picows wants it alone.
            request.headers["Connection"] = "Upgrade"
            return outcome
        response = WSUpgradeResponse.create_error_response(outcome.status, outcome.body)
        return WSUpgradeResponseWithListener(response, None)


class _Exchange(asyncio.Protocol):
    """Mixed into uvicorn's HTTP protocols: the deadlines and bounds that they do not have."""

    transport: Any
    cycle: Any
    connections: Any

    def __init__(self, server: Server) -> None:
        super().__init__(config=server.config, server_state=server.state, app_state={})  # type: ignore[call-arg]
        self._server = server
        self._refused = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.access_log = False
        self.logger = _uvicorn_log

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        full = self._server.connections >= self._server.max_connections
        super().connection_made(transport)
        if full:
            self._refuse(503)
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._server.date()
        super().data_received(data)
        self._watch(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._disarm()
        self._server.left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_came()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            self._await_reader()

    def send_400_response(self, msg: str) -> None:
        if self._busy():
            self.transport.abort()
        else:
            self._refuse(400)

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def _watch(self, size: int) -> None:
        if self not in self.connections:  # upgraded
            self._disarm()
        elif self._busy():
            self._head_came()
        elif not (self._refused or self.transport.is_closing()):
            self._await_head()
            self._head_bytes += size
            if self.cycle is None and self._head_bytes > HEAD_LIMIT:
                self._refuse(431)
            elif self._head_bytes > BODY_LIMIT:  # the body of a request that was answered unread counts here too
                self.transport.abort()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._server.header_timeout, self.transport.abort)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_reader(self) -> None:
        if self._write_timer is None:
            self._write_timer = asyncio.get_running_loop().call_later(WRITE_DEADLINE, self.transport.abort)

    def _reader_came(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _disarm(self) -> None:
        self._head_came()
        self._reader_came()

    def _refuse(self, status: int) -> None:
        # To close with bytes unread would reset the connection, and the peer might never see the answer: what still
        # comes is taken and forgotten until the peer has closed too, for a moment at most.
        self._refused = True
        self.transport.write(b"HTTP/1.1 %d \r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._disarm()
        self._head_timer = asyncio.get_running_loop().call_later(_LINGER, self.transport.abort)


class _H11Exchange(_Exchange, H11Protocol):
    pass


if HttpToolsProtocol is not None:

    class _HttpToolsExchange(_Exchange, HttpToolsProtocol):
        pass


def _exchange_class(name: str | None) -> Any:
    if name == "h11" or (name is None and HttpToolsProtocol is None):
        return _H11Exchange
    if name in ("httptools", None) and HttpToolsProtocol is not None:
        return _HttpToolsExchange
    raise UsageError(f"HTTP by {name!r} is not available here")


def _latin1(value: str) -> str:
    # picows decodes headers as ASCII with escapes; ASGI servers, and HTTP of old, as Latin-1.
    return value if value.isascii() else value.encode("ascii", "surrogateescape").decode("latin-1")


async def _answer(send: Send, status: int, body: bytes, *, close: bool = True) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
