"""Where libraries go past the event loop's own methods, and ask a `NetworkLoop` all the same.

aiofastnet, on which picows and this package's own server stand, takes the loop as an argument and makes sockets,
transports and TLS by itself. anyio, on which httpx stands, connects by the loop and then speaks TLS above it. aiohttp
looks names up by aiodns, where that is installed, which asks servers of its own. For as long as a `NetworkLoop` is
open, these functions of theirs are replaced by ones that ask the loop first. On any other loop they do what they always
do.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import aiofastnet
import aiohttp
from aiofastnet.api_utils import SelectorSocketTransport  # type: ignore[attr-defined] # it has moved before

from bothway.testing.memory_server import MakeTransport, MemoryServer
from bothway.testing.memory_socket import MemorySocket, end_of

try:
    from anyio.abc import SocketAttribute
    from anyio.streams.tls import TLSStream
except ImportError:  # it comes with Starlette and httpx; where neither is, nothing asks for it
    TLSStream = None  # type: ignore[assignment,misc]

__all__ = ["SeamedLoop", "enter", "leave"]


class SeamedLoop(Protocol):
    """What is asked of a loop here."""

    async def connect_with(
        self,
        create: Callable[..., Awaitable[Any]],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | bytes | None,
        port: int | str | None,
        **options: Any,
    ) -> tuple[asyncio.Transport, Any]:
        """Connect in memory, and let `create` make the transport from the socket."""
        ...

    async def listen_with(
        self,
        make_transport: MakeTransport,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any,
        port: int | str | None,
        **options: Any,
    ) -> MemoryServer:
        """Listen in memory, with transports of this making."""
        ...

    def agree_on_tls(self, sock: Any, tls: bool | ssl.SSLContext | None) -> bool:
        """Whether a socket is of the memory network, where TLS that is asked for needs nothing more."""
        ...


_loops: list[SeamedLoop] = []
_originals: list[tuple[object, str, object]] = []
_create_connection = aiofastnet.create_connection
_create_server = aiofastnet.create_server
_resolve = aiohttp.AsyncResolver.resolve


def enter(loop: SeamedLoop) -> None:
    """Let the libraries ask this loop."""
    if not _loops:
        for owner, name, replacement in _replacements:
            _originals.append((owner, name, vars(owner)[name]))
            setattr(owner, name, replacement)
    _loops.append(loop)


def leave(loop: SeamedLoop) -> None:
    """Undo `enter`."""
    _loops.remove(loop)
    if not _loops:
        for owner, name, original in _originals:
            setattr(owner, name, original)
        _originals.clear()


def _asked(loop: object) -> SeamedLoop | None:
    return next((each for each in _loops if each is loop), None)


async def _connect(
    loop: asyncio.AbstractEventLoop, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
) -> Any:
    ours = _asked(loop)
    create = partial(_create_connection, loop)
    if ours is None:
        return await create(protocol_factory, host, port, **options)
    return await ours.connect_with(create, protocol_factory, host, port, **options)


async def _listen(
    loop: asyncio.AbstractEventLoop, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
) -> Any:
    ours = _asked(loop)
    if ours is None:
        return await _create_server(loop, protocol_factory, host, port, **options)
    return await ours.listen_with(partial(_FastTransport, loop), protocol_factory, host, port, **options)


async def _look_up(
    self: aiohttp.AsyncResolver, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
) -> Any:
    loop = asyncio.get_running_loop()
    if _asked(loop) is None:
        return await _resolve(self, host, port, family)
    return await aiohttp.ThreadedResolver(loop).resolve(host, port, family)


class _FastTransport(SelectorSocketTransport):  # type: ignore[misc]
    """aiofastnet's own transport, which tells of a TLS that was taken as agreed on."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: MemorySocket, protocol: asyncio.BaseProtocol, server: MemoryServer
    ) -> None:
        end = end_of(sock)
        self._tls = None if end is None else end.tls
        super().__init__(loop, sock, protocol, server=server)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "sslcontext" else super().get_extra_info(name, default)


_replacements: list[tuple[object, str, object]] = [
    (aiofastnet, "create_connection", _connect),
    (aiofastnet, "create_server", _listen),
    (aiohttp.AsyncResolver, "resolve", _look_up),
]

if TLSStream is not None:
    _wrap = TLSStream.wrap

    async def _wrap_unless_in_memory(stream: Any, **options: Any) -> Any:
        ours = _asked(asyncio.get_running_loop())
        sock = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - anyio's, and no database
        if ours is not None and sock is not None and ours.agree_on_tls(sock, True):
            return stream
        return await _wrap(stream, **options)

    _replacements.append((TLSStream, "wrap", staticmethod(_wrap_unless_in_memory)))
