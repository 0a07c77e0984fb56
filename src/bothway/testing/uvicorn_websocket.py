"""The application's end of a WebSocket in memory: what uvicorn does with one, message by message.

This follows uvicorn 0.54, `WebSocketsSansIOProtocol`, without compression: which messages an application is given and
in which order, when its reading holds up the carrier, what its own messages and its exceptions lead to, and which
exceptions it is answered with. Bytes, frames and pings are left out; `asgi_websocket` names what that changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected

from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp, Message, Scope
from bothway.runtime.duplex import CloseCode, check_close

__all__ = ["BINARY", "KERNEL_BYTES", "SERVER_MAX_MESSAGE", "TEXT", "Kind", "UvicornWebSocket"]

logger = logging.getLogger(__name__)

SERVER_MAX_MESSAGE = 16 * 1024 * 1024
"""The largest message that the server takes, in bytes: uvicorn's `--ws-max-size`, as it is by default."""

KERNEL_BYTES = 4_000_000
"""Bytes that two kernels hold between them for an end that reads nothing: measured over loopback on Linux."""

_UNASKED = "broke the WebSocket handshake: it chose an extension or a subprotocol, and none was offered"
_NOT_UTF8 = 1007  # RFC 6455, section 7.4.1
_READ_CHUNK = 256 * 1024  # asyncio's transports read so much at once
_HIGH_WATER = 64 * 1024  # asyncio's transports ask for a pause when so much waits
_FRAME_HEAD = 4  # bytes in front of a message of 126 bytes and more, unmasked
_CLOSE_SECONDS = 10.0  # uvicorn waits so long for the answer to its Close frame
_PING_SECONDS = 20.0  # uvicorn's --ws-ping-interval and --ws-ping-timeout, as they are by default


class Kind(Enum):
    """What passes from end to end."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping, and its answer"
    ANSWER = "answer to the upgrade"  # with: None, an HTTP status, or what was done in its stead
    CLOSE = "close frame"  # with: code and reason
    END = "end of the connection"


TEXT = Kind.TEXT
"""Whoever asks per message finds it faster here."""

BINARY = Kind.BINARY
"""See `TEXT`."""


class UvicornWebSocket:
    """The application's end of one WebSocket.

    Attributes:
        deliver: Takes what goes to our end; False when nobody is there any more.
        wire_bytes: What was sent to this end and is not read yet, in bytes.
    """

    def __init__(self) -> None:
        self.deliver: Callable[[Kind, Any], bool]
        self.wire_bytes = 0
        self._loop = asyncio.get_running_loop()
        # uvicorn reads the next chunk when the application has taken every message of the last: that bounds the queue.
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._paused = False
        self._wire: deque[tuple[Kind, Any]] = deque()
        self._frozen = False
        self._complete = False
        self._denial: int | None = None
        self._accepted_at = 0.0
        self._open = False
        self._close_sent = False
        self._closing = False
        self._reset = False
        self._lost = False
        self._over = asyncio.Event()
        self._burst = 0
        self._burst_limit = _HIGH_WATER
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, app: ASGIApp, scope: Scope, failed: Callable[[Exception], None]) -> None:
        """Run the application from the upgrade on, and see to what it leaves open.

        Args:
            app: The application.
            scope: What it is told of the upgrade.
            failed: Told what the application raised.
        """
        self._queue.put_nowait({"type": "websocket.connect"})
        try:
            await app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass  # the carrier has gone, and the application did not look
        except Exception as error:
            logger.exception("the application raised while it had a WebSocket")
            failed(error)
        else:
            if not self._complete:
                logger.error("the application returned without an answer to the upgrade")
        finally:
            if not self._complete and self._denial is None:
                self.deliver(Kind.ANSWER, 500)
            if not self._close_sent:
                self._close_transport()

    async def receive(self) -> Message:
        """ASGI's `receive`."""
        message = await self._queue.get()
        if self._paused and self._queue.empty():
            self._resume()
        return message

    async def send(self, message: Message) -> None:
        """ASGI's `send`.

        Raises:
            ClientDisconnected: The carrier has gone; an OSError.
            RuntimeError: The message may not come now.
            UsageError: A close code or a reason that no Close frame can hold.
        """
        if self._burst > self._burst_limit:
            await self._drain()
        if self._lost:
            raise ClientDisconnected
        if not self._open or message["type"] != "websocket.send":
            self._send_rare(message["type"], message)
            return
        data = message.get("bytes")
        if data is not None:
            kind, data = BINARY, bytes(data)
        elif (text := message.get("text")) is not None:
            kind, data = TEXT, text.encode()
        else:
            return
        self._burst += len(data) + _FRAME_HEAD
        if not self.deliver(kind, data):
            if self._reset:
                self._loop.call_soon(self._lose)
            self._reset = True  # TCP answers the first write to nobody, and the second finds that out

    def arrive(self, kind: Kind, data: Any) -> None:
        """Something comes: it is read in the next pass of the loop, with all that came meanwhile."""
        if self._closing and not self._frozen:
            return
        wire = self._wire
        wire.append((kind, data))
        if kind is TEXT or kind is BINARY:
            self.wire_bytes += len(data)
        if len(wire) == 1 and not self._paused:
            self._loop.call_soon(self._read)

    def abandon(self, swallowed: int) -> None:
        """The carrier has dropped its socket: what is in the kernel's hands still comes, and then the end.

        Args:
            swallowed: How much that may be, in bytes.
        """
        while self.wire_bytes > swallowed:
            kind, data = self._wire.pop()
            self.wire_bytes -= len(data) if kind in (TEXT, BINARY) else 0
        if not self._frozen:
            self.arrive(Kind.END, None)

    def cut(self) -> None:
        """The connection dies under both ends."""
        self._closing = True
        self._drop_wire()
        self._loop.call_soon(self._lose)

    def freeze(self) -> None:
        """Nothing passes any more; uvicorn finds out by its next ping."""
        self._frozen = True
        self._burst, self._burst_limit = 0, KERNEL_BYTES
        if not self._close_sent:
            since_ping = (self._loop.time() - self._accepted_at) % _PING_SECONDS
            self._give_up_after(2 * _PING_SECONDS - since_ping)

    async def _drain(self) -> None:
        if self._frozen:
            await self._over.wait()
        else:
            self._burst = 0
            await asyncio.sleep(0)  # the pass of the loop in which the carrier reads

    def _send_rare(self, kind: str, message: Message) -> None:
        if self._denial is not None:
            self._deny(kind, message)
        elif not self._complete:
            self._answer(kind, message)
        elif self._close_sent:
            raise RuntimeError(f"the application sent {kind!r} after it had closed the WebSocket")
        elif kind == "websocket.close":
            if not self._closing:
                self._close(message.get("code", CloseCode.NORMAL), message.get("reason") or "")
        elif kind == "websocket.send":
            raise ClientDisconnected
        else:
            raise RuntimeError(f"the application sent {kind!r} on an open WebSocket")

    def _answer(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            names = {name.decode("latin-1").lower() for name, _ in message.get("headers", ())}
            chose = message.get("subprotocol") or names & {"sec-websocket-extensions", "sec-websocket-protocol"}
            if not self._closing:
                self._complete = self._open = True
                self._accepted_at = self._loop.time()
                self.deliver(Kind.ANSWER, _UNASKED if chose else None)
        elif kind == "websocket.close":
            self._complete = True
            self._finish_denial(403)
        elif kind == "websocket.http.response.start":
            if not 100 <= message["status"] < 600:
                raise RuntimeError(f"the application denied the upgrade with the HTTP status {message['status']}")
            self._denial = message["status"]
        else:
            raise RuntimeError(f"the application sent {kind!r} before it had answered the upgrade")

    def _deny(self, kind: str, message: Message) -> None:
        if kind != "websocket.http.response.body" or self._close_sent:
            raise RuntimeError(f"the application sent {kind!r} where the rest of its answer to the upgrade belongs")
        if not message.get("more_body", False):
            self._finish_denial(self._denial)

    def _finish_denial(self, status: int | None) -> None:
        self._queue.put_nowait(_disconnect(CloseCode.DIED))
        self.deliver(Kind.ANSWER, status)
        self._close_sent = True
        self._close_transport()

    def _close(self, code: int, reason: str) -> None:
        if check_close(code, reason) != reason:
            raise UsageError(f"a close reason of {len(reason.encode())} bytes is more than a Close frame holds")
        self._queue.put_nowait(_disconnect(code, reason))
        self.deliver(Kind.CLOSE, (code, reason))
        self._close_sent = True
        self._open = False
        if self._paused:
            self._resume()
        self._give_up_after(_CLOSE_SECONDS)

    def _resume(self) -> None:
        self._paused = False
        if self._wire:
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._frozen:
            return
        wire = self._wire
        room = _READ_CHUNK
        while wire and room > 0:
            kind, data = wire.popleft()
            if kind is TEXT or kind is BINARY:
                self.wire_bytes -= len(data)
                room -= len(data)
                self._take_message(kind, data)
            elif kind is Kind.PING:
                self.deliver(kind, None)
            elif kind is Kind.CLOSE:
                self._take_close(*data)
            else:
                self._close_transport()
        if wire and not self._paused:
            self._loop.call_soon(self._read)

    def _take_message(self, kind: Kind, message: bytes) -> None:
        if len(message) > SERVER_MAX_MESSAGE:
            limit = SERVER_MAX_MESSAGE
            self._fail(CloseCode.TOO_BIG, f"frame with {len(message)} bytes exceeds limit of {limit} bytes")
            return
        if self._close_sent:
            return
        if kind is TEXT:
            try:
                text = message.decode()
            except UnicodeDecodeError:
                self._fail(_NOT_UTF8, "")
                return
            self._queue.put_nowait({"type": "websocket.receive", "text": text})
        else:
            self._queue.put_nowait({"type": "websocket.receive", "bytes": message})
        self._paused = True

    def _take_close(self, code: int, reason: str) -> None:
        if not self._close_sent:
            self._open = False
            self._queue.put_nowait(_disconnect(code, reason))
            self.deliver(Kind.CLOSE, (code, reason))
        self._close_transport()

    def _fail(self, code: int, reason: str) -> None:
        if not self._close_sent:
            self.deliver(Kind.CLOSE, (code, reason))
        self._queue.put_nowait(_disconnect(code, reason))
        self._close_sent = True
        self._open = False
        self._close_transport()

    def _close_transport(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._frozen:
                self._drop_wire()
            self.deliver(Kind.END, None)
            self._loop.call_soon(self._lose)

    def _drop_wire(self) -> None:
        self._wire.clear()
        self.wire_bytes = 0

    def _lose(self) -> None:
        if self._lost:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._queue.put_nowait(_disconnect(CloseCode.NO_CODE if self._complete else CloseCode.DIED))
        self._complete = self._closing = self._lost = True
        self._open = False
        self._over.set()
        if not self._frozen:
            self._drop_wire()

    def _give_up_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._close_transport)


def _disconnect(code: int, reason: str | None = None) -> Message:
    message: Message = {"type": "websocket.disconnect", "code": int(code)}
    if reason is not None:
        message["reason"] = reason
    return message
