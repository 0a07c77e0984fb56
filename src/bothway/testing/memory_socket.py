"""Sockets that are in memory and look like TCP.

Each is a real AF_UNIX stream descriptor. The kernel hands its bytes over within `send`, so a run is the same every
time; and what is hard about sockets stays real: partial writes, EAGAIN, end of file, ECONNRESET.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import weakref
from dataclasses import dataclass
from typing import Any, TypeAlias

from bothway.errors import UsageError

__all__ = ["Address", "End", "MemorySocket", "end_of", "listening_socket", "make_end", "name_end"]

Address: TypeAlias = tuple[str, int]
"""An IP address and a port."""

# SO_SNDBUF of every socket. On AF_UNIX it alone bounds what the kernel holds for a reader, and Linux takes it twice
# (socket(7)): some 140 KB of large writes, or 40 KB of messages of 400 bytes, which each cost a buffer of their own.
_KERNEL_BYTES = 64 * 1024


class MemorySocket(socket.socket):
    """A socket of the memory network: an AF_UNIX descriptor that shows the addresses of a TCP one.

    Its `family` reads AF_INET, because that is what it was made as, and libraries want it. Options of TCP and IP are
    taken and have no effect. Everything else is the descriptor's own.
    """

    __slots__ = ()

    def getsockname(self) -> Any:
        """The address of this end."""
        end = _ends.get(self)
        return end.local if end is not None else super().getsockname()

    def getpeername(self) -> Any:
        """The address of the other end."""
        end = _ends.get(self)
        return end.remote if end is not None and end.remote is not None else super().getpeername()

    def setsockopt(self, level: int, *option: Any) -> None:
        """Set an option of the socket; those of the protocols below it are ignored."""
        if level == socket.SOL_SOCKET:
            super().setsockopt(level, *option)

    def getsockopt(self, level: int, *option: Any) -> Any:
        """An option of the socket; those of the protocols below it read as set."""
        return super().getsockopt(level, *option) if level == socket.SOL_SOCKET else 1


@dataclass(frozen=True)
class End:
    """What a `MemorySocket` is an end of.

    Attributes:
        local: Its own address.
        remote: The other end's; None for a socket that listens.
        tls: The TLS context of the listener, if it has one. TLS between two ends is taken as agreed on, and the bytes
            are not encrypted.
    """

    local: Address
    remote: Address | None = None
    tls: ssl.SSLContext | None = None


# Beside the socket and not in it: a plain socket that becomes a MemorySocket has no room for an attribute.
_ends: weakref.WeakKeyDictionary[socket.socket, End] = weakref.WeakKeyDictionary()


def end_of(sock: socket.socket) -> End | None:
    """What a socket is an end of; None when it is not of a memory network."""
    return _ends.get(sock)


def name_end(sock: MemorySocket, end: End) -> None:
    """Say what a socket is an end of."""
    _ends[sock] = end


def listening_socket(address: Address) -> MemorySocket:
    """A socket that has the address of a listener and nothing else: connections do not come by it."""
    sock = MemorySocket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    name_end(sock, End(address))
    return sock


def make_end(plain: socket.socket | None = None) -> tuple[MemorySocket, socket.socket]:
    """Make one end of a link, and the socket that the link holds against it.

    Args:
        plain: A socket that a library made, and that is to become the end: its descriptor is replaced by ours
            (dup2), and its class by `MemorySocket`. So every reference to it, and its descriptor's number, stay
            good. A send buffer that was asked for is kept.

    Raises:
        UsageError: `plain` is of a class of its own, which cannot become another.
        OSError: There are no more descriptors.
    """
    if plain is not None and type(plain) is not socket.socket:
        raise UsageError(f"a {type(plain).__name__} cannot be connected in memory: only a new socket.socket can")
    near, relay = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for sock in (near, relay):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
    if plain is None:
        return MemorySocket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=near.detach()), relay
    try:
        with near:
            _take_over(plain, near)
    except OSError:
        relay.close()
        raise
    assert isinstance(plain, MemorySocket)
    return plain, relay


def _take_over(plain: socket.socket, near: socket.socket) -> None:
    asked = _asked_send_buffer(plain)
    if asked is not None:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, asked)
    os.dup2(near.fileno(), plain.fileno(), inheritable=False)
    plain.__class__ = MemorySocket


def _asked_send_buffer(plain: socket.socket) -> int | None:
    """The SO_SNDBUF that somebody set; None where it is still the system's own."""
    size = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    with socket.socket(plain.family, plain.type, plain.proto) as untouched:
        if size == untouched.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF):
            return None
    return size // 2 if sys.platform == "linux" else size
