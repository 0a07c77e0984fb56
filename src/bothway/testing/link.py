"""One connection of the memory network: what carries the bytes between its two ends, and what can go wrong with it.

A `Link` holds a socket against each end and reads from one side only what the other side takes, so that back-pressure
is real. It can be told to be slow, to deliver in pieces, to stall, to fall silent or to break, at any moment.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Callable

from bothway.errors import UsageError
from bothway.testing.memory_socket import Address, End, MemorySocket, name_end

__all__ = ["Flow", "Link"]

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_IN_FLIGHT = 256 * 1024
"""Bytes that a direction with latency holds before it stops reading."""


class Flow:
    """One direction of a `Link`.

    Attributes:
        latency: Seconds that every byte is under way.
        pieces: The most bytes that are delivered at a time, so that a receiver that reads has read each piece before
            the next one comes; None for no bound. Order is kept whatever these are set to, and when.
        done: Whether it carries nothing any more.
    """

    def __init__(self, link: Link, source: socket.socket, sink: socket.socket) -> None:
        self.latency = 0.0
        self.pieces: int | None = None
        self.done = False
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        # What was read and is not delivered: when it may be, and the bytes; None for the end.
        self._queue: deque[tuple[float, memoryview | None]] = deque()
        self._held = 0
        self._reading = False
        self._writing = False
        self._skip = False
        self._stalled = False
        self._ended = False
        self._reset_at_end = False
        self._timer: asyncio.Handle | None = None
        self._resumption: asyncio.TimerHandle | None = None

    def stall(self, seconds: float | None = None) -> None:
        """Let nothing through, for that long or until `resume`. What is sent waits at its sender."""
        if self.done or self._link.vanished:
            return
        self._stop()
        self._stalled = True
        if seconds is not None:
            self._resumption = self._loop.call_later(seconds, self.resume)

    def resume(self) -> None:
        """End a stall. What has waited arrives at once.

        Raises:
            UsageError: The link vanished.
        """
        if self._link.vanished:
            raise UsageError("a link that vanished does not come back; what comes back is stalled")
        if self._stalled and self._link.is_open:
            self._stop()
            self._stalled = False
            self.start()
            self._schedule()

    def start(self) -> None:
        """Read what the source sends, unless something keeps it from being read."""
        if not (self._reading or self._stalled or self._ended or self.done):
            self._reading = True
            self._loop.add_reader(self._source, self._readable)

    def close(self) -> None:
        """Carry nothing any more."""
        self._stop()
        self._queue.clear()
        self.done = True

    def reset_at_end(self) -> None:
        """Let the link be reset, instead of ended in order, once all that is under way here has arrived."""
        self._reset_at_end = True

    def _stop(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source)
        self._await_writable(False)
        self._skip = False
        for timer in (self._timer, self._resumption):
            if timer is not None:
                timer.cancel()
        self._timer = self._resumption = None

    def _readable(self) -> None:
        try:
            data = self._source.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The sender closed its socket while something that it had not read lay there: TCP answers that with RST.
            self.reset_at_end()
            self._hold(None)
            return
        if not data:
            self._hold(None)
            return
        if self._link.awaits_tls and self is self._link.to_server:
            logger.warning("%r: the client sent something without TLS, and what listens there has it", self._link)
            self._link.reset()
            return
        if self._queue or self.latency or self.pieces:
            self._hold(memoryview(data))
            return
        try:
            sent = self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._receiver_is_gone()
            return
        if sent < len(data):
            self._hold(memoryview(data)[sent:])

    def _hold(self, data: memoryview | None) -> None:
        due = self._loop.time() + self.latency
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, data))
        if data is None:
            self._ended = True
        else:
            self._held += len(data)
        if self._ended or self._held >= (_IN_FLIGHT if self.latency else 1):
            self._reading = False
            self._loop.remove_reader(self._source)
        self._schedule()

    def _schedule(self) -> None:
        if not self._queue or self._stalled or self._writing or self._timer is not None:
            return
        due = self._queue[0][0]
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._deliver, due)
        else:
            self._timer = self._loop.call_soon(self._deliver, due)

    def _deliver(self, now: float) -> None:
        # A timer may run a hair before its time, so what it was set for counts as due.
        now = max(now, self._loop.time())
        self._timer = None
        while self._queue and self._queue[0][0] <= now:
            due, data = self._queue[0]
            if data is None:
                self._deliver_end()
                return
            try:
                sent = self._sink.send(data[: self.pieces] if self.pieces else data)
            except (BlockingIOError, InterruptedError):
                self._await_writable(True)
                return
            except OSError:
                self._receiver_is_gone()
                return
            self._held -= sent
            if sent == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (due, data[sent:])
            if self.pieces and self._queue:
                self._skip = True
                self._await_writable(True)
                return
        self._await_writable(False)
        self._schedule()
        if self._held < _IN_FLIGHT // 2:
            self.start()

    def _writable(self) -> None:
        if self._skip:
            # The look at the sockets that led here has also found the receiver's readable: it reads this piece alone.
            self._skip = False
        else:
            self._deliver(0.0)

    def _await_writable(self, wanted: bool) -> None:
        if wanted is not self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._sink, self._writable)
            else:
                self._loop.remove_writer(self._sink)

    def _deliver_end(self) -> None:
        if self._reset_at_end:
            self._link.reset()
            return
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            # Some systems refuse this once the receiver has closed, and then there is nobody to tell.
            pass
        self.close()
        self._link.flow_ended()

    def _receiver_is_gone(self) -> None:
        self.close()
        self._link.receiver_left(self)


class Link:
    """A connection between two ends of the memory network.

    Attributes:
        number: Links are counted from 1, in the order of connection.
        client: The address of the end that connected.
        server: The address that it connected to.
        host: The name that belongs to that address, or the address again.
        tls: The listener's TLS context; None when it listens without.
        awaits_tls: Whether the listener has TLS and the client did not ask for it yet. What it sends so is nonsense
            to a real listener, and resets the link.
        to_server: The direction from the client to the server.
        to_client: The other one.
        vanished: Whether `vanish` was called.
        is_open: Whether there is still something to carry.
    """

    def __init__(
        self,
        *,
        number: int,
        client: Address,
        server: Address,
        host: str,
        tls: ssl.SSLContext | None,
        ends: tuple[MemorySocket, MemorySocket],
        relays: tuple[socket.socket, socket.socket],
        closed: Callable[[Link], None],
    ) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.host = host
        self.tls = tls
        self.awaits_tls = tls is not None
        self.vanished = False
        self.is_open = True
        client_end, server_end = ends
        client_side, server_side = relays
        name_end(client_end, End(client, server, tls))
        name_end(server_end, End(server, client, tls))
        # Weak, because an end that nobody holds must be closed by the garbage collector, with its warning.
        self._ends = (weakref.ref(client_end), weakref.ref(server_end))
        self._relays = relays
        self._closed = closed
        self.to_server = Flow(self, client_side, server_side)
        self.to_client = Flow(self, server_side, client_side)

    def __repr__(self) -> str:
        return f"<Link {self.number}: {self.client[0]}:{self.client[1]} to {self.host}:{self.server[1]}>"

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets that it carries bytes by, and of the ends those that somebody holds."""
        return [*self._relays, *(end for end in (held() for held in self._ends) if end is not None)]

    @property
    def latency(self) -> float:
        """Seconds that a byte to the server is under way; setting it sets both directions."""
        return self.to_server.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.to_server.latency = self.to_client.latency = seconds

    @property
    def pieces(self) -> int | None:
        """The most bytes that reach the server at a time; setting it sets both directions."""
        return self.to_server.pieces

    @pieces.setter
    def pieces(self, size: int | None) -> None:
        self.to_server.pieces = self.to_client.pieces = size

    def start(self) -> None:
        """Begin to carry bytes."""
        self.to_server.start()
        self.to_client.start()

    def stall(self, seconds: float | None = None) -> None:
        """Stall both directions; see `Flow.stall`."""
        self.to_server.stall(seconds)
        self.to_client.stall(seconds)

    def resume(self) -> None:
        """End the stall of both directions; see `Flow.resume`."""
        self.to_server.resume()
        self.to_client.resume()

    def vanish(self) -> None:
        """Let the connection become half-open for good, as when a cable is cut: neither end hears or learns anything.

        What they send is taken until the kernel's buffers are full. It stays in the network's `links`, though both
        ends may close: nobody would know. Only `reset` ends it, or the network's end.
        """
        self.stall()
        self.vanished = True

    def reset(self) -> None:
        """Break the connection at once. What is under way is lost, and each end that is still open gets ECONNRESET.

        An end that had already shut its own direction gets an end of file instead.
        """
        self._close(reset=True)

    def close(self) -> None:
        """Take the connection down: each end that is still open gets an end of file.

        One that had sent what the link has not taken, because it is stalled, gets ECONNRESET.
        """
        self._close(reset=False)

    def flow_ended(self) -> None:
        """A flow has told its receiver that nothing more comes."""
        if self.to_server.done and self.to_client.done:
            self.close()

    def receiver_left(self, flow: Flow) -> None:
        """The receiver of a flow closed its socket, and more came for it: TCP answers RST, after what it had sent."""
        other = self.to_client if flow is self.to_server else self.to_server
        if other.done:
            self.reset()
        else:
            other.reset_at_end()

    def _close(self, *, reset: bool) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.to_server.close()
        self.to_client.close()
        for end, relay in zip(self._ends, self._relays, strict=True):
            if reset:
                _leave_unread(end())
            relay.close()
        self._closed(self)


def _leave_unread(end: MemorySocket | None) -> None:
    """Make sure that closing the other socket resets this one: a UNIX socket does that when it has unread bytes."""
    if end is None or end.fileno() == -1:
        return
    try:
        end.send(b"\0", socket.MSG_DONTWAIT)
    except OSError:
        # It is full, and then there is something unread; or it was shut, and nothing can be told to it.
        pass
