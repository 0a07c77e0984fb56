"""`bothway demo`: a carrier, a sample agent and a scripted caller, in processes of their own, over real sockets."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from bothway.carrier.config import Account
from bothway.carrier.script import Script
from bothway.carrier.scripted_caller import CallResult
from bothway.cli.call import INTERRUPTED, evidence_folder, place_call, show
from bothway.cli.carrier import account_of
from bothway.cli.process import (
    EXIT_INTERRUPTED,
    Child,
    first_ended,
    free_address,
    set_up_logs,
    stop_signal,
    until_stopped,
)
from bothway.errors import PeerError, UsageError
from bothway.runtime.settings import Address, Settings, add_options
from bothway.wire.leg import Dial

__all__ = ["NUMBER", "Pair", "add_parser", "run"]

NUMBER = "15550100"
"""The number that the demo's agent answers."""

_AGENT = "bothway.cli.demo_agent:app"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the hosts to listen at, and where they are reached
_ALONE = {
    "BOTHWAY_DB": "",
    "BOTHWAY_PUBLIC_URL": "",
    "BOTHWAY_TLS_CERT": "",
    "BOTHWAY_TLS_KEY": "",
    "BOTHWAY_WORKERS": "",
}
"""Settings of a production environment that would lead two processes on one machine past each other."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="hear it work: a carrier, a sample agent and a caller",
        description="Run a carrier, a sample agent and one scripted caller over real sockets on this machine, "
        "and show what happened. The agent says back what it hears, counts keys, and stops when spoken over.",
    )
    parser.add_argument("--once", action="store_true", help="end after the call instead of staying up for more")
    add_options(parser, "demo")
    parser.set_defaults(run=run)


class Pair:
    """A carrier and an app, each in a process of its own, that know each other.

    Args:
        settings: Of the command.
        account: Whose credentials both use.
        folder: For the carrier's configuration and data.
        address: The carrier's; its port is known.
        log_level: Of both processes.
    """

    def __init__(self, settings: Settings, account: Account, folder: Path, address: Address, *, log_level: str) -> None:
        self._settings = settings
        self._account = account
        self._folder = folder
        self._logs = ["--log-level", log_level, "--log-format", settings.log_format]
        self._address = address
        self._config = folder / "carrier.yaml"
        host = _EVERYWHERE.get(address.host, address.host)
        self.carrier_url = f"http://{Address(host, address.port)}"
        self.leg_url = ""
        self.carrier = self._carrier()

    def app(self, target: str, port: int = 0) -> Child:
        """The process that serves `target`, not yet started."""
        options = ["serve", target, "--http", f"127.0.0.1:{port}", "--api-url", f"{self.carrier_url}/v1"]
        credentials = {"PLIVO_AUTH_ID": self._account.auth_id, "PLIVO_AUTH_TOKEN": self._account.auth_token}
        return Child("app", [*options, *self._logs, "--drain-seconds", "0"], _ALONE | credentials)

    async def start_carrier(self, answer_url: str) -> None:
        """Start the carrier, with one number that `answer_url` answers.

        Raises:
            UsageError: Its folder cannot be written.
            PeerError: It did not start.
        """
        content = {
            "applications": [{"name": "app", "answer_url": answer_url}],
            "numbers": [{"number": NUMBER, "application": "app"}],
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._config.write_text(yaml.safe_dump(content), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self._config} cannot be written: {error.strerror or error}") from None
        self.leg_url = (await self.carrier.start())["leg_url"]

    def how_to_call(self, words: str, arguments: argparse.Namespace) -> str:
        """The command line that calls the app, from this folder."""
        options = ["--carrier", self.carrier_url, "--to", NUMBER, "--say", words]
        if "data" in arguments:
            options += ["--data", str(self._settings.data)]
        return shlex.join(["bothway", "call", *options])

    def _carrier(self) -> Child:
        settings = self._settings
        options = ["carrier", "--http", str(self._address), "--config", str(self._config), "--data", str(self._folder)]
        options += ["--profile", settings.profile, "--allow-private", "--drain-seconds", "0", *self._logs]
        options.append("--recordings" if settings.recordings else "--no-recordings")
        credentials = {"BOTHWAY_AUTH_ID": self._account.auth_id, "BOTHWAY_AUTH_TOKEN": self._account.auth_token}
        return Child("carrier", options, _ALONE | credentials)


async def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    settings = Settings.from_arguments("demo", arguments)
    set_up_logs(settings)
    account = account_of(settings)
    out = evidence_folder(settings.out, own=False)
    pair = Pair(settings, account, settings.data / "demo", free_address(settings.http), log_level=settings.log_level)
    app = pair.app(_AGENT)
    script = Script.parse(files("bothway.cli").joinpath("demo.yaml").read_text("utf-8"), name="the demo's script")
    dial = Dial(to=NUMBER, from_=script.from_ or "", format=script.leg or "pcmu", events=True)
    stopped = stop_signal()

    async def call() -> CallResult:
        app_url = (await app.start())["url"]
        await pair.start_carrier(f"{app_url}/answer")
        print(f"carrier    {pair.carrier_url}\napp        {app_url}\ncalling    {NUMBER} …\n", flush=True)
        return await place_call(pair.leg_url, account, script, dial, out, record=settings.recordings)

    try:
        result = await until_stopped(call(), stopped) or INTERRUPTED
        show(result, out, as_json=False)
        if result is INTERRUPTED:
            return EXIT_INTERRUPTED
        if not arguments.once:
            print(
                f"\nThe carrier and the agent stay up. Call again, from this folder, with:\n"
                f"  {pair.how_to_call('Good morning', arguments)}\n"
                f"Ctrl-C ends them.",
                flush=True,
            )
            died = await until_stopped(first_ended([app, pair.carrier]), stopped)
            if died is not None:
                raise PeerError(f"{died.end}, and the other is stopped")
    finally:
        await asyncio.gather(pair.carrier.stop(), app.stop())
    return 0 if result.ok else 1
