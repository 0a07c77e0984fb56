"""What an app does that blocks the event loop, where the carrier, the app and the test are all on that one loop.

In production such a call costs the other calls of the process a hiccup. Here it would wait for ever: what it waits
for is on the loop that it holds up, and virtual time stands still meanwhile. So, while a `guarded` loop runs:

- Requests of `requests`, and with it the official `plivo.RestClient`, are answered in memory by the ASGI application
  that is served at their URL, from wherever they are made.
- A blocking connection to anything else, or the look-up of a name, made by code that the loop runs, is refused at once.
- A callback that does not come back at all is interrupted by a watchdog.

Each error names the place in the app and says what to write instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ipaddress
import logging
import math
import signal
import socket
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Any

from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp
from bothway.testing.requests_adapter import RequestsAdapter, patched, running_loop
from bothway.testing.standstill import CALLBACK, bystanders, place_of_frame

__all__ = ["PATIENCE", "BlockedLoopError", "BlockingCallError", "Guard", "guarded"]

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Real seconds that one callback may hold up the loop, unless told otherwise: a model is loaded in less."""

_ADVICE = (
    "Await it, or run it in a thread: `await asyncio.to_thread(function, …)` for `function(…)`. "
    "Or run this test in real time over real sockets: `@pytest.mark.real_sockets`."
)

# Ignored by default, so that one that comes late does no harm, and used by no one for anything else.
_SIGNAL: signal.Signals | None = getattr(signal, "SIGURG", None)

_DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd_bundle", "_pydevd_frame_eval")


class BlockingCallError(UsageError):
    """Code that the loop runs made a blocking call that the loop would have to answer.

    No `OSError`, though it is raised where one could be: libraries take that for a failure of the network, try again,
    and hide its text behind their own. This one passes through them, up to the handler that made the call.
    """


class BlockedLoopError(BaseException):
    """A callback held up the loop until the watchdog interrupted it.

    No `Exception`, as `KeyboardInterrupt` is none: it rises wherever the code happens to be, and whoever catches the
    failures of what they called there would take it for one of them, and go on blocking.
    """


class Guard:
    """What is known of a guarded loop; `guarded` makes it.

    Attributes:
        loop: The loop.
        active: Whether the guards stand.
        first_error: The first error that was raised, for it may have been swallowed by the app; None if all is well.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.active = True
        self.first_error: BlockingCallError | BlockedLoopError | None = None

    def holds_here(self) -> bool:
        """Whether the code that asks is run by the loop."""
        return self.active and running_loop() is self.loop

    def note(self, error: BlockingCallError | BlockedLoopError) -> None:
        """Keep an error that is about to be raised, if it is the first."""
        self.first_error = self.first_error or error

    def refuse(
        self,
        what: str,
        why: str = "The event loop, which everything in this test runs on, would stand still meanwhile.",
    ) -> BlockingCallError:
        """The error for a blocking call that is made here.

        Args:
            what: It, after the place, such as `asks https://api.plivo.com in a blocking way`.
            why: A sentence.
        """
        error = BlockingCallError(f"{place_of_frame(inspect.currentframe())} {what}. {why} {_ADVICE}")
        self.note(error)
        logger.error("%s", error)
        return error


@contextlib.contextmanager
def guarded(
    loop: asyncio.AbstractEventLoop, *, find: Callable[[str], ASGIApp | None], patience: float = PATIENCE
) -> Generator[Guard]:
    """Guard a loop against what blocks it; enter and leave it in the thread that runs the loop, best the main thread.

    It holds for what this loop runs. `requests` is diverted in threads too, unless they run a loop of their own. Other
    threads may connect to real addresses. Guards may be nested: the inner one answers and interrupts.

    The watchdog interrupts the main thread by SIGURG. In any other thread, on Windows, and where C code does not let
    itself be interrupted, it can only log where the loop is held up. While a debugger is at work it does nothing, and
    of a loop that is not asyncio's own it sees nothing.

    Args:
        loop: The loop, which may be running already.
        find: Gives the ASGI application that is served at a URL, or None. It may instead raise an `OSError` that says
            what the network has, which becomes the text of a `requests.exceptions.ConnectionError`.
        patience: Real seconds that a callback may hold up the loop, and that a thread waits for an answer of the loop.

    Raises:
        BlockedLoopError: In the callback, when it has taken `patience` seconds and up to a quarter more.
    """
    guard = Guard(loop)
    with contextlib.ExitStack() as stack:
        # A patch that someone has put over one of these may outlive it: what is left beneath then does nothing.
        stack.callback(setattr, guard, "active", False)
        requests = RequestsAdapter(loop, find=find, patience=patience, refuse=guard.refuse)
        stack.enter_context(requests.diverting())
        stack.enter_context(patched(socket.socket, "connect", lambda original: _checked_connect(guard, original)))
        stack.enter_context(patched(socket.socket, "connect_ex", lambda original: _checked_connect(guard, original)))
        stack.enter_context(patched(socket, "getaddrinfo", lambda original: _checked_lookup(guard, original)))
        stack.enter_context(_Watchdog(guard, patience).watching())
        yield guard


# --- sockets that block -----------------------------------------------------------------------------------------------


def _checked_connect(guard: Guard, original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Any, /) -> Any:
        if guard.holds_here() and _blocks(self):
            self.close()  # who made it would do so after an OSError alone
            raise guard.refuse(f"opens a blocking connection to {_shown(address)}")
        return original(self, address)

    return connect


def _checked_lookup(guard: Guard, original: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if guard.holds_here() and not _is_address(host):
            raise guard.refuse(f"looks up the name {_shown(host)} in a blocking way")
        return original(host, port, *args, **kwargs)

    return getaddrinfo


def _blocks(sock: socket.socket) -> bool:
    """Whether it waits in `connect`: not without blocking as asyncio's do, not datagrams, not what stays within."""
    return (
        sock.gettimeout() != 0 and sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6)
    )


def _is_address(host: Any) -> bool:
    if not host:  # None or empty: this machine
        return True
    try:
        ipaddress.ip_address(_shown(host))
    except ValueError:
        return False
    return True


def _shown(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2])
    return address.decode(errors="replace") if isinstance(address, bytes) else str(address)


# --- the watchdog -----------------------------------------------------------------------------------------------------


class _Watchdog:
    """A thread that looks in real time at what the loop's thread does, and interrupts a callback that does not end.

    It counts its waits and reads no clock, for clocks are virtual. And it does nothing but look: whatever it gave the
    loop to do would be one more thing that happens in virtual time.
    """

    def __init__(self, guard: Guard, patience: float) -> None:
        self._guard = guard
        self._step = min(1.0, patience / 4)
        self._waits = math.ceil(patience / self._step)
        self._thread = threading.Thread(target=self._watch, name="bothway-watchdog", daemon=True)
        self._watched = threading.current_thread()
        self._signal = _SIGNAL if self._watched is threading.main_thread() else None  # only that can be interrupted
        self._previous: Any = None
        self._stopping = threading.Event()
        self._interrupting: tuple[asyncio.Handle, float] | None = None

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Watch for a while."""
        if self._signal is not None:
            self._previous = signal.signal(self._signal, self._interrupted)
        bystanders.add(self._thread)
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            if self._signal is not None:
                # None is a handler of C code, which Python cannot put back.
                signal.signal(self._signal, signal.SIG_DFL if self._previous is None else self._previous)
            self._thread.join()

    def _watch(self) -> None:
        seen: weakref.ref[asyncio.Handle] | None = None
        waits = 0
        while not self._stopping.wait(self._step):
            frame = self._frame()
            callback = None if _debugged(frame) else _callback(frame)
            if callback is None:
                seen = None
            elif seen is None or seen() is not callback:
                seen, waits = weakref.ref(callback), 0
            else:
                waits += 1
                if waits % self._waits == 0:
                    self._bark(callback, waits * self._step)
            del frame, callback  # what they hold on to must not live longer, and end on this thread, for a look at it

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._watched.ident or 0)  # noqa: SLF001 - documented, and there is no other

    def _bark(self, callback: asyncio.Handle, waited: float) -> None:
        """Interrupt the callback, or log where it is if that cannot be done."""
        # The signal goes elsewhere where another guard stands within this one, or the app has its own use for it.
        ours = self._signal is not None and signal.getsignal(self._signal) == self._interrupted
        if self._signal is not None and ours and self._interrupting is None:
            self._interrupting = callback, waited
            signal.pthread_kill(self._watched.ident or 0, self._signal)
            return
        frame = self._frame()
        if frame is not None and self._guard.loop.is_running():
            logger.error("%s\n%s", _blocked(frame, waited), "".join(traceback.format_stack(frame)))

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._interrupting is None:
            if callable(self._previous):
                self._previous(number, frame)
            return
        (callback, waited), self._interrupting = self._interrupting, None
        if frame is None or _callback(frame) is not callback:
            return  # it has just ended, and between two callbacks no one would catch an error
        if _traced() or not self._guard.holds_here():
            return
        error = BlockedLoopError(_blocked(frame, waited))
        self._guard.note(error)
        raise error


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _callback(frame: FrameType | None) -> asyncio.Handle | None:
    """What a loop runs in this frame, if it does."""
    return next((it.f_locals.get("self") for it in _outwards(frame) if it.f_code is CALLBACK), None)


def _blocked(frame: FrameType, waited: float) -> str:
    return (
        f"{place_of_frame(frame)} has held up the event loop for {waited:g} real seconds. Everything in this test runs "
        f"on that loop, so that what this waits for may never come. {_ADVICE}"
    )


def _traced() -> bool:
    """Whether a debugger looks at every line of this thread: what traces it and does not measure coverage."""
    tracer = sys.gettrace()
    return tracer is not None and str(getattr(tracer, "__module__", "")).partition(".")[0] != "coverage"


def _debugged(frame: FrameType | None) -> bool:
    """Whether a debugger has stopped the code of a frame, or is set up by `sys.monitoring`."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        return True
    names = (str(it.f_globals.get("__name__", "")).partition(".")[0] for it in _outwards(frame))
    return any(name in _DEBUGGERS for name in names)
