"""WebSockets at the level of messages: from a `Receiver` straight into an ASGI application, without bytes or sockets.

`connect_app` stands in for `duplex_picows.connect`. Our end behaves as `PicowsDuplex` does, and the application's end
as uvicorn 0.54 does (`WebSocketsSansIOProtocol` with its defaults, compression off): the same scope, the same
messages in the same order, the same close codes, the same exceptions. So an application whose socket died is told
1005 without a reason, as uvicorn tells it, and the carrier is told 1006. What arrives is handed over in the next pass
of the event loop, never from inside the call that sent it.

What differs from two processes and a socket:

* Nothing takes time, and nothing is cut into frames.
* uvicorn's own pings are left out, except after `AppDuplex.vanish`. Left at its defaults it would close with 1011 on an
  application that takes no message for 20 to 40 s; here such an application lasts until the carrier drops it.
* The application's `send` waits for no more than a pass of the event loop, for the carrier always reads.
* A close code or a reason that no Close frame can hold is a `UsageError`; it is an exception of the library
  `websockets` there.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote

from bothway.runtime.asgi import ASGIApp, Scope
from bothway.runtime.duplex import (
    CLOSE_DEADLINE,
    MAX_MESSAGE,
    PING_INTERVAL,
    CloseCode,
    Receiver,
    check_close,
    over_limit,
)
from bothway.runtime.duplex_picows import ConnectTimeoutError, UnreachableError, UpgradeRefusedError
from bothway.runtime.tasks import Tasks
from bothway.runtime.websocket_url import Target, checked_headers, parse_url
from bothway.testing.network import CLIENT_ADDRESS, FIRST_HOST, FIRST_PORT
from bothway.testing.uvicorn_websocket import BINARY, KERNEL_BYTES, TEXT, Kind, UvicornWebSocket

__all__ = ["AppDuplex", "AppSockets", "connect_app", "swallowed_bytes"]

logger = logging.getLogger(__name__)

_DIED = "the socket died without a close frame"  # `PicowsDuplex` says it so
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
_PINGS_BEHIND_BACKLOG = 3  # as in `PicowsDuplex`
_FAILED_PARSE_SECONDS = 0.01  # picows waits so long after the Close frame for a message that is too big


def swallowed_bytes(send_buffer: int | None) -> int:
    """Bytes that a socket takes for an application that reads nothing, before the first has to wait in our process.

    Measured over loopback on Linux with picows at one end and uvicorn at the other: 53 to 56 KB for a send buffer of
    16 KB, 224 to 258 KB for 64 KB, and `KERNEL_BYTES` when the kernel has the choice.

    Args:
        send_buffer: SO_SNDBUF, or None.
    """
    return KERNEL_BYTES if send_buffer is None else send_buffer * 10 // 3


class AppDuplex:
    """One WebSocket with an application in this process: a `Duplex` to our side. `connect_app` makes it.

    Args:
        url: What it was asked for with.
        receiver: Is told what comes.
        server: The other end.
        answered: Gets the answer to the upgrade: None, an HTTP status, or what was done in its stead.
        max_message: The largest message taken, in bytes; a larger one closes with 1009.
        ping_interval: See `PicowsDuplex`.
        swallowed: Bytes that may wait for the application without counting as unsent.
    """

    def __init__(
        self,
        url: str,
        receiver: Receiver,
        server: UvicornWebSocket,
        answered: asyncio.Future[int | str | None],
        *,
        max_message: int,
        ping_interval: float,
        swallowed: int,
    ) -> None:
        self.url = url
        self._receiver = receiver
        self._server = server
        self._answered = answered
        self._limit = max_message
        self._ping_interval = ping_interval
        self._swallowed = swallowed
        self._loop = asyncio.get_running_loop()
        # A socket's callbacks run in the context in which it was opened, whoever wrote to its other end.
        self._context = contextvars.copy_context()
        self._inbox: list[tuple[Kind, Any]] = []
        self._verdict: tuple[int, str] | None = None
        self._opened = self._told = self._gone = self._vanished = False
        self._heard = False
        self._unanswered = 0
        self._alive_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        server.deliver = self._deliver

    @property
    def is_open(self) -> bool:
        """Whether the Receiver was told `opened`, and not yet `closed`."""
        return self._opened and not self._told

    def send_text(self, message: bytes) -> None:
        """Queue a text message; see `Duplex`."""
        if self._verdict is None:
            self._server.arrive(TEXT, message)

    def send_binary(self, message: bytes) -> None:
        """Queue a binary message; see `Duplex`."""
        if self._verdict is None:
            self._server.arrive(BINARY, message)

    @property
    def unsent_bytes(self) -> int:
        """Bytes beyond those that a socket would have swallowed; see `Duplex` and `swallowed_bytes`."""
        return max(0, self._server.wire_bytes - self._swallowed)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the close handshake; see `Duplex`."""
        reason = check_close(code, reason)
        if self._verdict is None:
            self._verdict = (int(code), reason)
            self._send_close(self._verdict, CLOSE_DEADLINE)

    def abort(self) -> None:
        """Drop the socket now; see `Duplex`. What a kernel would have had already still reaches the application."""
        self._drop("aborted at this end")

    def drop(self) -> None:
        """Cut the connection under both ends, as a reset does; what is on its way is lost.

        The Receiver is told 1006, the application 1005 without a reason: uvicorn's word for a socket that died.
        """
        if not self._gone:
            self._server.cut()
            self._drop(_DIED)

    def vanish(self) -> None:
        """Make the connection half-open: from now on nothing passes in either direction, and neither end is told.

        Both find out by their pings: our end within twice `ping_interval`, with 1006, and up to four times when
        messages wait; the application after 20 to 40 s, as behind uvicorn.
        """
        if not self._gone:
            self._vanished = True
            self._inbox.clear()
            self._server.freeze()

    def _deliver(self, kind: Kind, data: Any) -> bool:
        if self._vanished:
            return True
        if self._gone:
            return False
        if not self._inbox:
            self._loop.call_soon(self._hand_over, context=self._context)
        self._inbox.append((kind, data))
        return True

    def _hand_over(self) -> None:
        inbox, self._inbox = self._inbox, []
        for kind, data in inbox:
            if kind is TEXT or kind is BINARY:
                if self._verdict is None:
                    self._take_message(kind, data)
            elif not self._gone:
                self._take_rare(kind, data)

    def _take_message(self, kind: Kind, message: bytes) -> None:
        size = len(message)
        if size > self._limit:
            self._verdict = (CloseCode.TOO_BIG, over_limit(size, self._limit))
            words = f"Received frame with payload size exceeding max allowed size, {size} > {self._limit}"  # picows'
            self._send_close((CloseCode.TOO_BIG, words), _FAILED_PARSE_SECONDS)
            return
        self._heard = True
        try:
            if kind is TEXT:
                self._receiver.received_text(message)
            else:
                self._receiver.received_binary(message)
        except Exception:
            logger.exception("%s raised on a message", type(self._receiver).__name__)
            self.close(CloseCode.INTERNAL, "internal error")

    def _take_rare(self, kind: Kind, data: Any) -> None:
        if kind is Kind.PING:
            self._unanswered = 0
        elif kind is Kind.ANSWER:
            self._take_answer(data)
        elif kind is Kind.CLOSE:
            if self._verdict is None:
                self._verdict = data
                self._send_close(data, CLOSE_DEADLINE)
            self._tell_closed()
        else:
            self._gone = True
            self._take_answer("closed the connection instead of answering the upgrade")
            self._ended()

    def _take_answer(self, answer: int | str | None) -> None:
        if self._answered.done():
            return
        self._answered.set_result(answer)
        if answer is not None:
            return
        self._opened = True
        self._alive_timer = self._loop.call_later(self._ping_interval, self._check_alive)
        try:
            self._receiver.opened(self)
        except Exception:
            logger.exception("%s raised when opened", type(self._receiver).__name__)
            self.close(CloseCode.INTERNAL, "internal error")

    def _send_close(self, frame: tuple[int, str], patience: float) -> None:
        self._server.arrive(Kind.CLOSE, frame)
        self._close_timer = self._loop.call_later(patience, self._leave, context=self._context)

    def _check_alive(self) -> None:
        allowed = _PINGS_BEHIND_BACKLOG if self.unsent_bytes else 1
        if self._heard:
            self._heard = False
            self._unanswered = 0
        elif self._unanswered >= allowed:
            self._drop(f"no answer to a ping within {allowed * self._ping_interval:g} s")
            return
        else:
            self._unanswered += 1
            self._server.arrive(Kind.PING, None)
        self._alive_timer = self._loop.call_later(self._ping_interval, self._check_alive)

    def _drop(self, reason: str) -> None:
        if self._verdict is None:
            self._verdict = (CloseCode.DIED, reason)
        self._leave()

    def _leave(self) -> None:
        if not self._gone:
            self._gone = True
            self._server.abandon(self._swallowed)
            self._loop.call_soon(self._ended, context=self._context)

    def _ended(self) -> None:
        for timer in (self._alive_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        if self._verdict is None:
            self._verdict = (CloseCode.DIED, _DIED)
        if self._opened:
            self._tell_closed()

    def _tell_closed(self) -> None:
        if self._told:
            return
        self._told = True
        assert self._verdict is not None
        code, reason = self._verdict
        logger.debug("websocket closed: %d %s", code, reason)
        try:
            self._receiver.closed(code, reason)
        except Exception:
            logger.exception("%s raised when closed", type(self._receiver).__name__)


class AppSockets:
    """The owner of the WebSockets that go to applications of this process, and of the tasks in which these run.

    Attributes:
        errors: What applications raised, in order.
    """

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self._tasks = Tasks()
        self._owned: dict[AppDuplex, asyncio.Task[None]] = {}
        # A server's application does not run in its client's context.
        self._context = contextvars.copy_context()

    @property
    def live(self) -> list[AppDuplex]:
        """The WebSockets that are open, in the order in which they were asked for."""
        return [duplex for duplex in self._owned if duplex.is_open]

    @property
    def running(self) -> int:
        """How many applications run, those included whose WebSocket is over: a server does not cancel them."""
        return len(self._tasks)

    def own(self, duplex: AppDuplex, serving: Coroutine[Any, Any, None], name: str) -> None:
        """Keep a WebSocket until it is over, and run the application that has its other end.

        Args:
            duplex: Our end.
            serving: What runs the application.
            name: What its task is called in the log, without secrets.

        Raises:
            UsageError: `close` was called.
        """
        self._owned = {other: task for other, task in self._owned.items() if other.is_open or not task.done()}
        self._owned[duplex] = self._context.run(self._tasks.spawn, serving, name)

    async def close(self, deadline: float = CLOSE_DEADLINE) -> None:
        """Cancel the applications that still run, wait for them, and drop every WebSocket that is left.

        Args:
            deadline: Seconds to wait. An application that has not obeyed by then is logged and left behind.
        """
        await self._tasks.close(deadline)
        for duplex in self._owned:
            duplex.drop()
        self._owned.clear()
        await asyncio.sleep(0)  # the pass of the loop in which Receivers are told


async def connect_app(
    app: ASGIApp,
    url: str,
    receiver: Receiver,
    *,
    owner: AppSockets,
    headers: Iterable[tuple[str, str]] = (),
    timeout: float = 10.0,  # noqa: ASYNC109 - as in `duplex_picows.connect`
    max_message: int = MAX_MESSAGE,
    ping_interval: float = PING_INTERVAL,
    check_address: Callable[[str], None] | None = None,
    send_buffer: int | None = None,
    client: tuple[str, int] = (CLIENT_ADDRESS, FIRST_PORT),
    server: tuple[str, int] | None = None,
    state: Mapping[str, Any] | None = None,
) -> AppDuplex:
    """Open a WebSocket to an ASGI application.

    `receiver.opened` is called before this returns. Once it was, `closed` will be too.

    Args:
        app: The application.
        url: `ws://` or `wss://`, without credentials.
        receiver: Is told what comes.
        owner: Owns the WebSocket and the application's task.
        headers: Sent with the upgrade, beside those that the handshake needs; `Host` replaces the URL's own.
        timeout: Seconds that the application may take to answer the upgrade.
        max_message: The largest message taken, in bytes.
        ping_interval: See `PicowsDuplex`.
        check_address: Called with the server's IP address; it raises to refuse.
        send_buffer: What SO_SNDBUF would be, in bytes; see `swallowed_bytes`.
        client: IP address and port of this end, as the application sees them.
        server: IP address and port of the application; `FIRST_HOST` and the URL's port when None.
        state: The application's lifespan state; its scope holds a shallow copy.

    Raises:
        UsageError: The URL or a header cannot be used, or `owner` is closed.
        UnreachableError, ConnectTimeoutError, UpgradeRefusedError: What the application did. All are PeerErrors.
    """
    target = parse_url(url)
    server = server or (FIRST_HOST, target.port)
    if check_address is not None:
        check_address(server[0])
    scope = _scope(target, checked_headers(headers), client, server, state or {})
    end = UvicornWebSocket()
    answered = asyncio.get_running_loop().create_future()
    swallowed = swallowed_bytes(send_buffer)
    duplex = AppDuplex(
        url, receiver, end, answered, max_message=max_message, ping_interval=ping_interval, swallowed=swallowed
    )
    owner.own(duplex, end.run(app, scope, owner.errors.append), f"application at {target}")
    with ExitStack() as undoing:
        undoing.callback(duplex.abort)
        try:
            async with asyncio.timeout(timeout):
                answer = await answered
        except TimeoutError:
            raise ConnectTimeoutError(f"{target} did not open a WebSocket within {timeout:g} s") from None
        if isinstance(answer, int):
            raise UpgradeRefusedError(f"{target} answered the upgrade with HTTP status {answer}", status=answer)
        if answer is not None:
            raise UnreachableError(f"{target} {answer}")
        undoing.pop_all()
    return duplex


def _scope(
    target: Target,
    headers: Iterable[tuple[str, str]],
    client: tuple[str, int],
    server: tuple[str, int],
    state: Mapping[str, Any],
) -> Scope:
    path, _, query = target.resource.partition("?")
    sent = {b"host": target.netloc.encode()}
    rest = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", _KEY),
    ]
    for name, value in headers:
        pair = (name.lower().encode(), value.strip(" \t").encode())
        if pair[0] == b"host":
            sent.update([pair])
        else:
            rest.append(pair)
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if target.secure else "ws",
        "server": server,
        "client": client,
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*sent.items(), *rest],
        "subprotocols": [],
        "state": dict(state),
        "extensions": {"websocket.http.response": {}},
    }
