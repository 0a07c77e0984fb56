"""What the commands have in common: arguments, the ready line, being stopped, and processes of our own.

A process that another of ours has started is joined to it by a socket, its lifeline. The ready line goes over it, so
that stdout stays the app's own; and when it closes, the other process is gone, however it ended, and this one ends too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bothway.errors import PeerError, UsageError
from bothway.runtime import logs
from bothway.runtime.settings import Address, Settings, settings_of

__all__ = [
    "EXIT_INTERRUPTED",
    "READY",
    "START_SECONDS",
    "Child",
    "announce",
    "first_ended",
    "free_address",
    "is_given",
    "server_tls",
    "set_up_logs",
    "settle_memory",
    "stop_signal",
    "until_stopped",
    "web_url",
]

EXIT_INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a command that was stopped before it was done, as shells have it."""

READY = "ready "
"""How the line begins that says that a process is ready; the rest is a JSON object."""

START_SECONDS = 120.0
"""How long a process of ours may take to be ready: an app may load a model first."""

_LIFELINE = "BOTHWAY_LIFELINE"

_T = TypeVar("_T")


def set_up_logs(settings: Settings) -> None:
    """Write log lines to stderr, as the settings say, and never a secret."""
    for secret in settings.secrets:
        logs.redact(secret)
    logs.configure(settings.log_level, settings.log_format == "json", sys.stderr)


def announce(**facts: object) -> None:
    """Say that the process is ready: to the process that started it, or in one line on stdout that scripts wait for."""
    line = READY + json.dumps(facts)
    lifeline = _lifeline()
    if lifeline is None:
        print(line, flush=True)
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # `stop_signal` hears of that too
        lifeline.sendall(line.encode() + b"\n")


def stop_signal() -> asyncio.Event:
    """Set at the first SIGINT or SIGTERM; a second one ends the process at once, as if nobody listened.

    In a process that another of ours has started it is also set when that one has gone. There a repeated signal means
    nothing, since a service manager may tell both processes to stop; a second reason is the other's end alone.
    """
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    lifeline = _lifeline()

    def stop() -> None:
        event.set()
        if lifeline is None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)

    def orphaned() -> None:
        assert lifeline is not None
        loop.remove_reader(lifeline)
        if event.is_set():
            os._exit(EXIT_INTERRUPTED)
        event.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if lifeline is not None:
        loop.add_reader(lifeline, orphaned)
    return event


async def until_stopped(work: Coroutine[Any, Any, _T], stopped: asyncio.Event) -> _T | None:
    """What `work` gives; or None if `stopped` was set before that: it was cancelled then, and has cleaned up."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        task.cancel()
        await asyncio.wait((task, waiting))
    return None if task.cancelled() else task.result()


def settle_memory() -> None:
    """Take what a node has loaded out of the garbage collector's sight, and let it run seldom.

    A full collection of a process with hundreds of calls takes longer than a frame lasts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def free_address(address: Address) -> Address:
    """This address, its port chosen if it is 0: for a process that must be told its port before it starts.

    Raises:
        UsageError: Another process listens there, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.create_server((address.host, address.port), family=family) as probe:
            return Address(address.host, int(probe.getsockname()[1]))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UsageError(f"cannot listen at {address}: {reason}") from None


def is_given(name: str, arguments: argparse.Namespace) -> bool:
    """Whether a setting was said, by its option or its variable, and is not just the default."""
    variables = next(one.variables for one in settings_of() if one.name == name)
    return name in arguments or any(os.environ.get(variable) for variable in variables)


def web_url(text: str) -> str:
    """An http or https URL, as the type of an argument.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or any(character.isspace() for character in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be an http or https URL")
    return text


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS of the settings, if they have any.

    Raises:
        UsageError: The certificate or its key cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"the certificate {settings.tls_cert} and the key {settings.tls_key} cannot be used: {reason}"
        ) from None
    return context


def _no_password() -> str:
    """A service is not asked at its terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


@cache
def _lifeline() -> socket.socket | None:
    """Our end of the lifeline. What this process starts in its turn does not get it."""
    number = os.environ.pop(_LIFELINE, "")
    if not number:
        return None
    lifeline = socket.socket(fileno=int(number))
    lifeline.set_inheritable(False)
    return lifeline


class Child:
    """A process of ours: started, awaited until it is ready, and ended by us.

    It has our stdout and stderr, and a session of its own: a Ctrl-C in the terminal reaches us alone, and we decide.

    Args:
        name: What messages call it.
        arguments: Of `bothway`.
        environment: Added to our own; what is empty counts as absent.

    Attributes:
        name: What messages call it.
        was_ready: Whether it ever said that it is ready.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: asyncio.StreamWriter | None = None
        self.was_ready = False

    async def start(self, seconds: float = START_SECONDS) -> dict[str, Any]:
        """Start it, and give what its ready line says.

        Raises:
            PeerError: It ended, or was not ready in time.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, self._lifeline = await asyncio.open_unix_connection(sock=ours)
            # Without -P a file in this folder could stand in for a module of ours, or of Python's own.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "bothway", *self._arguments),
                env={**os.environ, **self._environment, _LIFELINE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        told = asyncio.ensure_future(reader.readline())
        ended = asyncio.ensure_future(self._process.wait())
        try:
            done, _ = await asyncio.wait((told, ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if told in done and told.result():
                facts: dict[str, Any] = json.loads(told.result()[len(READY) :])
                self.was_ready = True
                return facts
            if not done:
                raise PeerError(f"the {self.name} was not ready within {seconds:g} s")
            await ended
        finally:
            told.cancel()
            ended.cancel()
        raise PeerError(f"{self.end} before it was ready: its own lines say why")

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process is not None else 0

    @property
    def code(self) -> int | None:
        """Its exit code, negative the number of the signal that killed it; None while it runs."""
        return self._process.returncode if self._process is not None else None

    @property
    def end(self) -> str:
        """How it ended, as the beginning of a sentence."""
        code = self.code
        if code is None:
            return f"the {self.name} has not ended"
        if code < 0:
            return f"the {self.name} was killed by {signal.Signals(-code).name}"
        return f"the {self.name} ended with exit code {code}"

    async def ended(self) -> Child:
        """Wait until it ends by itself. Gives itself."""
        assert self._process is not None
        await self._process.wait()
        return self

    async def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, and end it if it does not."""
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._lifeline is not None:
            self._lifeline.close()


async def first_ended(children: Sequence[Child]) -> Child:
    """Wait until one of them ends by itself, and give that one."""
    waiting = [asyncio.ensure_future(child.ended()) for child in children]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
    return done.pop().result()
