"""Duplex over an ASGI websocket scope: the way into uvicorn, hypercorn, Starlette, FastAPI and Django.

ASGI's `send` is a coroutine, so that messages pass a bounded queue and one writer task; nothing else differs from
`duplex_picows`, except what the server keeps to itself: pings and the largest frame it reads are its own settings,
and it closes with 1007 on text that is not UTF-8.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from bothway.runtime.asgi import Message, Receive, Send
from bothway.runtime.duplex import (
    CLOSE_DEADLINE,
    MAX_MESSAGE,
    Accept,
    CloseCode,
    Receiver,
    Refusal,
    UpgradeRequest,
    check_close,
    over_limit,
)

__all__ = ["MAX_UNSENT", "AsgiDuplex", "serve_asgi"]

logger = logging.getLogger(__name__)

MAX_UNSENT = 8 * 1024 * 1024
"""Bytes that may wait for a slow reader before the WebSocket is dropped."""


async def serve_asgi(
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    accept: Accept,
    *,
    accepted: bool = False,
    max_message: int = MAX_MESSAGE,
    max_unsent: int = MAX_UNSENT,
) -> None:
    """Serve one WebSocket from its upgrade to its end.

    Args:
        scope: An ASGI scope of type `websocket`; with Starlette, `websocket.scope`.
        receive: ASGI's, or `websocket.receive`.
        send: ASGI's, or `websocket.send`.
        accept: Decides about the upgrade. A Refusal becomes its HTTP status where the server can
            (`websocket.http.response`), else the 403 of ASGI.
        accepted: The application has accepted the WebSocket itself: a Refusal closes it with 1008.
        max_message: The largest message taken, in bytes.
        max_unsent: The most that may wait to be sent, in bytes; above it the WebSocket is dropped.
    """
    if not accepted:
        await receive()  # websocket.connect, which says nothing
    try:
        outcome = accept(_request(scope))
    except Exception:
        logger.exception("accept failed")
        outcome = Refusal(500, b"internal server error\n")
    if isinstance(outcome, Refusal):
        await _refuse(scope, send, outcome, accepted=accepted)
        return
    if not accepted:
        await send({"type": "websocket.accept"})
    await AsgiDuplex(outcome, max_message=max_message, max_unsent=max_unsent).run(receive, send)


class AsgiDuplex:
    """One WebSocket over ASGI: a `Duplex` to our side.

    Args:
        receiver: Is told what comes.
        max_message: The largest message taken, in bytes.
        max_unsent: The most that may wait to be sent, in bytes.
    """

    def __init__(self, receiver: Receiver, *, max_message: int = MAX_MESSAGE, max_unsent: int = MAX_UNSENT) -> None:
        self._receiver = receiver
        self._limit = max_message
        self._max_unsent = max_unsent
        self._unsent = 0
        self._queue: deque[tuple[Message, int]] = deque()
        self._wake = asyncio.Event()
        self._verdict: tuple[int, str] | None = None
        self._over = asyncio.Event()
        self._close_timer: asyncio.TimerHandle | None = None

    def send_text(self, message: bytes) -> None:
        """Queue a text message; see `Duplex`."""
        self._enqueue({"type": "websocket.send", "text": message.decode()}, len(message))

    def send_binary(self, message: bytes) -> None:
        """Queue a binary message; see `Duplex`."""
        self._enqueue({"type": "websocket.send", "bytes": message}, len(message))

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the queue, the message that the server is at work on included; see `Duplex`."""
        return self._unsent

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the close handshake, behind what is queued; see `Duplex`."""
        reason = check_close(code, reason)
        if self._verdict is None:
            self._enqueue({"type": "websocket.close", "code": int(code), "reason": reason}, 0)
            self._verdict = (int(code), reason)
            self._close_timer = asyncio.get_running_loop().call_later(CLOSE_DEADLINE, self._over.set)

    def abort(self) -> None:
        """Give the socket back to the server, which closes it; see `Duplex`."""
        self._end(CloseCode.DIED, "aborted at this end")

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the accepted WebSocket until it is over. Cancelled, it ends with 1006.

        Args:
            receive: ASGI's.
            send: ASGI's.
        """
        tasks: list[asyncio.Task[None]] = []
        try:
            try:
                self._receiver.opened(self)
            except Exception:
                logger.exception("%s raised when opened", type(self._receiver).__name__)
                self.close(CloseCode.INTERNAL, "internal error")
            tasks = [asyncio.create_task(self._read(receive)), asyncio.create_task(self._write(send))]
            await self._over.wait()
        finally:
            if self._close_timer is not None:
                self._close_timer.cancel()
            self._end(CloseCode.DIED, "the server cancelled the websocket")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tell_closed()

    async def _read(self, receive: Receive) -> None:
        try:
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                if text is not None:
                    self._received(self._receiver.received_text, text.encode())
                else:
                    self._received(self._receiver.received_binary, message.get("bytes") or b"")
        except Exception as error:  # noqa: BLE001 - the task's outer edge: each server raises its own at a dead socket
            self._end(CloseCode.DIED, f"the server failed to read: {error!r}")
        else:
            self._end(*_verdict(message))

    async def _write(self, send: Send) -> None:
        try:
            while True:
                while self._queue:
                    message, size = self._queue[0]
                    await send(message)
                    self._queue.popleft()
                    self._unsent -= size
                self._wake.clear()
                await self._wake.wait()
        except Exception as error:  # noqa: BLE001 - the task's outer edge, as above
            self._end(CloseCode.DIED, f"the server failed to send: {error!r}")

    def _enqueue(self, message: Message, size: int) -> None:
        if self._verdict is not None:
            return
        self._unsent += size
        if self._unsent > self._max_unsent:
            self._end(CloseCode.DIED, f"{self._unsent} bytes wait to be sent, over the limit of {self._max_unsent}")
            return
        self._queue.append((message, size))
        self._wake.set()

    def _received(self, receiver: Callable[[bytes], None], message: bytes) -> None:
        if self._verdict is not None:
            return
        if len(message) > self._limit:
            self.close(CloseCode.TOO_BIG, over_limit(len(message), self._limit))
            return
        try:
            receiver(message)
        except Exception:
            logger.exception("%s raised on a message", type(self._receiver).__name__)
            self.close(CloseCode.INTERNAL, "internal error")

    def _end(self, code: int, reason: str) -> None:
        if self._verdict is None:
            self._verdict = (code, reason)
        self._over.set()

    def _tell_closed(self) -> None:
        assert self._verdict is not None
        code, reason = self._verdict
        logger.debug("websocket closed: %d %s", code, reason)
        try:
            self._receiver.closed(code, reason)
        except Exception:
            logger.exception("%s raised when closed", type(self._receiver).__name__)


def _request(scope: Mapping[str, Any]) -> UpgradeRequest:
    raw = scope.get("raw_path")
    client = scope.get("client")
    return UpgradeRequest(
        path=raw.decode("latin-1") if raw else quote(scope["path"]),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
        client=(str(client[0]), int(client[1])) if client else None,
        scheme=scope.get("scheme", "ws"),
    )


def _verdict(message: Message) -> tuple[int, str]:
    code = int(message.get("code", CloseCode.NO_CODE))
    if code == CloseCode.NO_CODE and "reason" not in message:
        # What uvicorn says of a socket that died; a Close frame without a code comes with a reason, an empty one.
        return CloseCode.DIED, "the socket died without a close frame"
    return code, message.get("reason") or ""


async def _refuse(scope: Mapping[str, Any], send: Send, refusal: Refusal, *, accepted: bool) -> None:
    if accepted:
        reason = check_close(CloseCode.POLICY, refusal.body.decode(errors="replace"))
        await send({"type": "websocket.close", "code": int(CloseCode.POLICY), "reason": reason})
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(refusal.body))]
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": refusal.body})
    else:
        await send({"type": "websocket.close"})
