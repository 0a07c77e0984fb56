"""What listens in the memory network."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
import weakref
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import TypeAlias

from bothway.errors import UsageError
from bothway.testing.memory_socket import MemorySocket

__all__ = ["MakeTransport", "MemoryServer"]

MakeTransport: TypeAlias = Callable[[MemorySocket, asyncio.BaseProtocol, "MemoryServer"], asyncio.Transport]
"""Makes the transport of a connection that was accepted; it calls the server's `_detach` in the end."""


class MemoryServer(asyncio.AbstractServer):
    """What `create_server` gives: an `asyncio.Server` of the memory network.

    Args:
        factory: Makes the protocol of every connection.
        make_transport: Makes its transport.
        tls: The context that was given for TLS, which is taken as agreed on.
        closed: Called when it is closed.

    Attributes:
        tls: As given.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        make_transport: MakeTransport,
        tls: ssl.SSLContext | None,
        closed: Callable[[MemoryServer], None],
    ) -> None:
        self.tls = tls
        self._factory = factory
        self._on_close = closed
        self._make_transport = make_transport
        self._loop = asyncio.get_running_loop()
        # A connection is accepted on behalf of who listens: what it runs must not see the context of who connects.
        self._context = contextvars.copy_context()
        self._sockets: list[socket.socket] = []
        self._serving = False
        self._closed = False
        self._active = 0
        self._accepted = 0
        self._clients: weakref.WeakValueDictionary[int, asyncio.Transport] = weakref.WeakValueDictionary()
        self._gone = asyncio.Event()
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<MemoryServer at {', '.join(str(sock.getsockname()) for sock in self._sockets) or 'no address'}>"

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """One for each address that is listened at; empty once it is closed."""
        return tuple(TransportSocket(sock) for sock in self._sockets)

    def add(self, sock: socket.socket) -> None:
        """Listen at the address of this socket, and close it in the end."""
        self._sockets.append(sock)

    def connect(self, sock: MemorySocket) -> None:
        """Accept a connection in the next loop step."""
        self._loop.call_soon(self._accept, sock, context=self._context)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it takes connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Begin to take connections.

        Raises:
            UsageError: It is closed.
        """
        if self._closed:
            raise UsageError("a server that was closed does not listen again")
        self._serving = True

    async def serve_forever(self) -> None:
        """Take connections until cancelled or closed; either way this raises CancelledError."""
        await self.start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._on_close(self)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if not self._active:
            self._gone.set()

    def close_clients(self) -> None:
        """Close every connection."""
        for transport in list(self._clients.values()):
            transport.close()

    def abort_clients(self) -> None:
        """Drop every connection."""
        for transport in list(self._clients.values()):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it is closed and every connection has gone: the meaning that Python 3.12 gave to this."""
        await self._gone.wait()

    def _accept(self, sock: MemorySocket) -> None:
        if not self._serving:
            sock.close()
            return
        try:
            transport = self._make_transport(sock, self._factory(), self)
        except Exception as error:  # noqa: BLE001 - the edge of what the loop calls, and it is reported to the loop
            sock.close()
            self._loop.call_exception_handler(
                {"message": f"{self!r} could not accept a connection", "exception": error}
            )
            return
        self._active += 1
        self._accepted += 1
        self._clients[self._accepted] = transport

    def _attach(self, _transport: object = None) -> None:
        """A transport: it is open. asyncio's say so, with themselves from Python 3.13 on; aiofastnet's do not."""

    def _detach(self, _transport: object = None) -> None:
        """A transport: it is closed."""
        self._active -= 1
        if self._closed and not self._active:
            self._gone.set()
