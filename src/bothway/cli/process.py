"""What the commands that run until they are told to stop have in common."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bothway.carrier.carrier import new_account
from bothway.carrier.config import Account
from bothway.errors import PeerError, UsageError
from bothway.runtime import logs
from bothway.runtime.settings import Settings

__all__ = ["Child", "account_of", "announce", "free_port", "set_up_logs", "settle_memory", "stop_signal"]

READY = "ready "
_CREDENTIALS = "credentials.json"


def set_up_logs(settings: Settings) -> None:
    """Write log lines to stderr, as the settings say, and never a secret."""
    for secret in settings.secrets:
        logs.redact(secret)
    logs.configure(settings.log_level, settings.log_format == "json", sys.stderr)


def announce(**facts: object) -> None:
    """The one line on stdout that says the process is ready; scripts wait for it."""
    print(READY + json.dumps(facts), flush=True)


def stop_signal() -> asyncio.Event:
    """Set at the first SIGINT or SIGTERM; a second one ends the process as it always would."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        event.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return event


def settle_memory() -> None:
    """Take what a node has loaded out of the garbage collector's sight, and let it run seldom.

    A full collection of a process with hundreds of calls takes longer than a frame lasts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def account_of(settings: Settings) -> Account:
    """The account of the settings; without one, the account made and kept in the data folder.

    Raises:
        UsageError: Only half of it is set, or the data folder cannot be used.
    """
    if settings.auth_id and settings.auth_token:
        return Account(settings.auth_id, settings.auth_token)
    if settings.auth_id or settings.auth_token:
        raise UsageError("set both BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN, or neither")
    path = settings.data / _CREDENTIALS
    try:
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            account = Account(str(kept["auth_id"]), str(kept["auth_token"]))
        else:
            account = new_account()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Readable by its owner alone from the first moment.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump({"auth_id": account.auth_id, "auth_token": account.auth_token}, file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the credentials in {path} cannot be used: {error}") from None
    logs.redact(account.auth_token)
    return account


def free_port() -> int:
    """A port on the loopback that was free a moment ago, for a process that must be told its port before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A process of ours: started, awaited until it is ready, and ended by us.

    Args:
        name: What messages call it.
        arguments: Of `bothway`.
        environment: Added to our own.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, seconds: float = 30.0) -> dict[str, Any]:
        """Start it, and give what its ready line says.

        Raises:
            PeerError: It ended, or was not ready in time.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bothway",
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment},
            cwd=Path.cwd(),
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                while line := await self._process.stdout.readline():
                    if line.startswith(READY.encode()):
                        facts: dict[str, Any] = json.loads(line[len(READY) :])
                        return facts
        except TimeoutError:
            await self.stop()
            raise PeerError(f"the {self.name} was not ready within {seconds:g} s") from None
        code = await self._process.wait()
        raise PeerError(f"the {self.name} ended with exit code {code} before it was ready: its own lines say why")

    async def ended(self) -> int:
        """Wait until it ends by itself. Gives its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, and end it if it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
