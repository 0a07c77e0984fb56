"""A network in memory, under every asyncio library of one event loop.

`NetworkLoop` is an asyncio loop whose network methods lead here. Whatever is built on them (aiohttp, websockets,
uvicorn, asyncio's streams, anyio, picows over aiofastnet) connects and listens as always, with names, ports and TLS;
but no packet leaves the process, names resolve to fixed addresses, ports are given out in order, and every connection
is a `Link` that can be slowed, stalled and broken. Nothing outside of the network can be reached by asyncio.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import selectors
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from bothway.errors import UsageError
from bothway.testing import seams
from bothway.testing.link import Link
from bothway.testing.memory_server import MakeTransport, MemoryServer
from bothway.testing.memory_socket import Address, MemorySocket, end_of, listening_socket, make_end

__all__ = ["CLIENT_ADDRESS", "FIRST_HOST", "FIRST_PORT", "MemoryNetwork", "NetworkLoop"]

logger = logging.getLogger(__name__)

FIRST_HOST = "10.0.0.1"
"""The address of the first name that is listened at; the second has the next one, and so on."""

CLIENT_ADDRESS = "10.255.0.1"
"""Where connections to those names come from. Those to 127.0.0.1 come from there."""

FIRST_PORT = 49152
"""The first port that is given out where none is asked for (RFC 6335, section 6: dynamic ports begin here)."""

_LAST_PORT = 65535
_ANY = "0.0.0.0"  # noqa: S104 - a key of a dictionary; nothing is bound to it
_LOOPBACK = "127.0.0.1"
_SERVICES = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ADVICE = "in virtual time only what is in the network can be reached: serve it there, or mark the test real_sockets"
_NO_DATAGRAMS = "there are no datagrams in the memory network: what needs UDP needs real sockets"

_Host: TypeAlias = str | bytes | None
_Port: TypeAlias = int | str | bytes | None
_Factory: TypeAlias = Callable[[], asyncio.BaseProtocol]


# --- the network --------------------------------------------------------------------------------------------------


class MemoryNetwork:
    """Names, addresses, what listens, and the links between.

    A name gets its address when somebody listens at it. A listener at `0.0.0.0` (or at no host) is found at its port
    under every address that has no other.

    Attributes:
        latency: Seconds each way: for connecting, and for every link from now on.
        pieces: See `Flow.pieces`; for every link from now on.
        on_connect: Called with every new link before it carries anything.
    """

    def __init__(self) -> None:
        self.latency = 0.0
        self.pieces: int | None = None
        self.on_connect: Callable[[Link], object] | None = None
        self._hosts: dict[str, str] = {}
        self._servers: dict[Address, MemoryServer] = {}
        self._tls: dict[Address, ssl.SSLContext] = {}
        self._refusals: dict[str | None, int] = {}
        self._links: dict[tuple[Address, Address], Link] = {}  # by the client's address and the server's
        self._connections = 0
        self._port = FIRST_PORT
        self._taken: Counter[int] = Counter()

    def __str__(self) -> str:
        return ", ".join(self._url(address) for address in self._servers) or "nothing"

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that are open, in the order in which they were connected."""
        return tuple(self._links.values())

    def add_host(self, name: str) -> str:
        """Give a name an address, and say which. Whoever listens at a name does this too."""
        name = _normal(name)
        return self._known(name) or self._hosts.setdefault(
            name, str(ipaddress.IPv4Address(FIRST_HOST) + len(self._hosts))
        )

    def add_tls(self, host: str, port: int = 443) -> None:
        """Let what listens there, now or later, be reached by TLS, as if a proxy in front of it took care of that."""
        self._tls[self.add_host(host), port] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refuse(self, count: int = 1, host: str | None = None) -> None:
        """Refuse the next connections.

        Args:
            count: How many.
            host: Only those to this name or address.
        """
        self._refusals[None if host is None else self.add_host(host)] = count

    def resolve(self, host: str | bytes) -> str:
        """The address of a name; an address is its own.

        Raises:
            socket.gaierror: Nobody has that name.
        """
        name = _normal(host)
        address = self._known(name)
        if address is None:
            raise socket.gaierror(
                socket.EAI_NONAME, f"nobody is called {name} in this network; there is: {self}; {_ADVICE}"
            )
        return address

    def name_of(self, address: str) -> str:
        """The name that has an address, or the address again."""
        return next((name for name, its in self._hosts.items() if its == address), address)

    def link_of(self, sock: Any) -> Link | None:
        """The open link that a socket is an end of, or whatever has a socket's `getsockname` and `getpeername`."""
        try:
            ends = sock.getsockname(), sock.getpeername()
        except OSError:
            return None  # it is not connected
        return self._links.get(ends) or self._links.get(ends[::-1])

    def listen(self, server: MemoryServer, host: _Host, port: int, sock: socket.socket | None = None) -> None:
        """Let a server be found.

        Args:
            server: What takes the connections.
            host: A name, an address, or none for all.
            port: 0 for the next free one.
            sock: A bound socket that shows where it is, instead of one that is made here.

        Raises:
            OSError: Somebody listens there (EADDRINUSE).
        """
        name = _normal(host or _ANY)
        address = (_ANY if name == "::" else self.add_host(name), port or self._next_port())
        if address in self._servers:
            raise OSError(errno.EADDRINUSE, f"{self._url(address)} is taken in this network")
        self._servers[address] = server
        self._taken[address[1]] += 1
        server.add(sock or listening_socket(address))

    def forget(self, server: MemoryServer) -> None:
        """Let a server be found no more."""
        for address in [address for address, other in self._servers.items() if other is server]:
            del self._servers[address]
            self._taken[address[1]] -= 1

    async def connect(self, address: Address, plain: socket.socket | None = None) -> MemorySocket:
        """Connect, and give the client's end.

        Args:
            address: Where to.
            plain: A socket that becomes this end; see `make_end`.

        Raises:
            ConnectionRefusedError: Nobody listens there, or `refuse` was called.
        """
        latency = self.latency
        if latency:
            await asyncio.sleep(latency)
        server = self._listener(address)
        end = self._link(server, address, plain)
        if latency:
            try:
                await asyncio.sleep(latency)
            except BaseException:
                end.close()
                raise
        return end

    def close(self) -> None:
        """Close every listener and every link. The sockets that libraries hold are theirs to close."""
        for server in list(self._servers.values()):
            server.close()
        for link in self.links:
            link.close()

    def _known(self, name: str) -> str | None:
        if name == "localhost":
            return _LOOPBACK
        try:
            return str(ipaddress.ip_address(name))  # of all the ways to write an IPv6 address, one
        except ValueError:
            return self._hosts.get(name)

    def _listener(self, address: Address) -> MemoryServer:
        for host in (address[0], None):
            if self._refusals.get(host):
                self._refusals[host] -= 1
                raise ConnectionRefusedError(
                    errno.ECONNREFUSED, f"{self._url(address)} refuses this connection, as the network was told to"
                )
        server = self._servers.get(address) or self._servers.get((_ANY, address[1]))
        if server is None or not server.is_serving():
            text = f"no one listens at {self._url(address)} in this network; there is: {self}; {_ADVICE}"
            logger.warning(text)
            raise ConnectionRefusedError(errno.ECONNREFUSED, text)
        return server

    def _link(self, server: MemoryServer, address: Address, plain: socket.socket | None) -> MemorySocket:
        theirs, their_relay = make_end()
        try:
            ours, our_relay = make_end(plain)
        except BaseException:
            theirs.close()
            their_relay.close()
            raise
        self._connections += 1
        is_local = ipaddress.ip_address(address[0]).is_loopback
        link = Link(
            number=self._connections,
            client=(_LOOPBACK if is_local else CLIENT_ADDRESS, self._next_port()),
            server=address,
            host=self.name_of(address[0]),
            tls=server.tls or self._tls.get(address),
            ends=(ours, theirs),
            relays=(our_relay, their_relay),
            closed=self._closed,
        )
        link.latency = self.latency
        link.pieces = self.pieces
        self._taken[link.client[1]] += 1
        self._links[link.client, link.server] = link
        link.start()
        server.connect(theirs)
        if self.on_connect is not None:
            try:
                self.on_connect(link)
            except BaseException:
                ours.close()
                raise
        return ours

    def _closed(self, link: Link) -> None:
        del self._links[link.client, link.server]
        self._taken[link.client[1]] -= 1

    def _next_port(self) -> int:
        while True:
            port = self._port
            self._port = port + 1 if port < _LAST_PORT else FIRST_PORT
            if not self._taken[port]:
                return port

    def _url(self, address: Address) -> str:
        host, port = address
        server = self._servers.get(address)
        is_tls = address in self._tls or (port == 443 if server is None else server.tls is not None)
        name = "*" if host == _ANY else f"[{host}]" if ":" in host else self.name_of(host)
        return f"{'https' if is_tls else 'http'}://{name}:{port}"


def _normal(host: str | bytes) -> str:
    text = host.decode("ascii") if isinstance(host, bytes) else host
    text = text.lower().rstrip(".")
    return text if text.isascii() else text.encode("idna").decode("ascii")


# --- the loop -----------------------------------------------------------------------------------------------------


class NetworkLoop(asyncio.SelectorEventLoop):
    """An event loop whose TCP is a `MemoryNetwork`. UNIX sockets, pipes and subprocesses are as always.

    While it is open, the libraries of `seams` ask it too. A socket at which somebody accepts by himself (`sock_accept`)
    is a real one, and nobody in the network finds it.

    Args:
        selector: What it waits with; the system's best by default.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(selector)
        self.network = MemoryNetwork()
        seams.enter(self)

    def close(self) -> None:
        """Close the network, and the loop."""
        if not (self.is_closed() or self.is_running()):
            self.network.close()
            seams.leave(self)
        super().close()

    async def getaddrinfo(
        self,
        host: _Host,
        port: _Port,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as in `socket.getaddrinfo`
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """The one address of a name of the network; see `socket.getaddrinfo`."""
        address = self.network.resolve(host or (_ANY if flags & socket.AI_PASSIVE else _LOOPBACK))
        is_ipv6 = ":" in address
        its_family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        if family not in (socket.AF_UNSPEC, its_family):
            raise socket.gaierror(socket.EAI_NONAME, f"{address} is all there is, and it is of another family")
        kind = socket.SocketKind(type or socket.SOCK_STREAM)
        number = proto or (socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP)
        place = (address, _number(port))
        return [(its_family, kind, number, "", (*place, 0, 0) if is_ipv6 else place)]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """The name of an address of the network; see `socket.getnameinfo`."""
        host = sockaddr[0] if flags & socket.NI_NUMERICHOST else self.network.name_of(sockaddr[0])
        return host, str(sockaddr[1])

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket that somebody made: it becomes a `MemorySocket`, unless it is of another kind than TCP."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            await super().sock_connect(sock, address)
            return
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        if sock.type != socket.SOCK_STREAM:
            raise UsageError(_NO_DATAGRAMS)
        await self.network.connect((self.network.resolve(address[0]), _number(address[1])), sock)

    async def create_connection(
        self, protocol_factory: _Factory, host: _Host = None, port: _Port = None, **options: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connect to what listens in the network; see `asyncio.loop.create_connection`."""
        return await self.connect_with(super().create_connection, protocol_factory, host, port, **options)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: _Factory, host: Any = None, port: _Port = None, **options: Any
    ) -> asyncio.AbstractServer:
        """Listen in the network; see `asyncio.loop.create_server`."""
        sock = options.get("sock")
        if sock is not None and sock.family not in (socket.AF_INET, socket.AF_INET6):
            return await super().create_server(protocol_factory, **options)
        return await self.listen_with(self._accepted, protocol_factory, host, port, **options)

    async def create_datagram_endpoint(self, *_arguments: Any, **_options: Any) -> Any:
        """There are none.

        Raises:
            UsageError: Always.
        """
        raise UsageError(_NO_DATAGRAMS)

    async def connect_with(
        self,
        create: Callable[..., Awaitable[Any]],
        protocol_factory: _Factory,
        host: _Host = None,
        port: _Port = None,
        *,
        sock: socket.socket | None = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, Any]:
        """`create_connection` in memory, where `create` makes the transport from the socket; TLS is agreed on here."""
        if sock is None and host is not None:
            sock = await self.network.connect((self.network.resolve(host), _number(port)))
        try:
            if sock is not None and self.agree_on_tls(sock, options.get("ssl")):
                options = {}
            made: tuple[asyncio.Transport, Any] = await create(protocol_factory, sock=sock, **options)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        return made

    async def listen_with(
        self,
        make_transport: MakeTransport,
        protocol_factory: _Factory,
        host: Any = None,
        port: _Port = None,
        *,
        ssl: ssl.SSLContext | None = None,
        sock: socket.socket | None = None,
        start_serving: bool = True,
        **_options: Any,
    ) -> MemoryServer:
        """`create_server` in memory. What else it has as options concerns real sockets only."""
        server = MemoryServer(protocol_factory, make_transport, ssl, self.network.forget)
        try:
            if sock is not None:
                address, number = sock.getsockname()[:2]
                self.network.listen(server, address, number, sock)
            else:
                for each in [host] if host is None or isinstance(host, str | bytes) else host:
                    self.network.listen(server, each, _number(port))
        except BaseException:
            server.close()
            raise
        if start_serving:
            await server.start_serving()
        return server

    def agree_on_tls(self, sock: Any, tls: bool | ssl.SSLContext | None) -> bool:
        """Take the TLS that a client asks for, if it does, as agreed on.

        Returns:
            Whether the socket is of this network, where TLS needs nothing more.

        Raises:
            ssl.SSLError: TLS was asked for, and the listener has none.
        """
        link = self.network.link_of(sock)
        if link is None:
            return False
        if tls and link.tls is None:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"{link.host}:{link.server[1]} listens without TLS in this network")
        if tls:
            link.awaits_tls = False
        return True

    def _accepted(self, sock: MemorySocket, protocol: asyncio.BaseProtocol, server: MemoryServer) -> asyncio.Transport:
        made: asyncio.Transport = self._make_socket_transport(sock, protocol, server=server)
        return made

    def _make_socket_transport(
        self, sock: socket.socket, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        end = end_of(sock)
        if end is not None and end.tls is not None:
            extra = {"sslcontext": end.tls, **(extra or {})}
        return super()._make_socket_transport(sock, protocol, waiter, extra=extra, server=server)  # type: ignore[misc]


def _number(port: _Port) -> int:
    """The number of a port, which libraries may give as a number, its digits or a service's name."""
    if isinstance(port, bytes):
        port = port.decode("ascii")
    if isinstance(port, str) and not port.isdigit():
        if port not in _SERVICES:
            raise socket.gaierror(socket.EAI_SERVICE, f"{port!r} is no port, and no service of this network")
        return _SERVICES[port]
    return int(port or 0)
