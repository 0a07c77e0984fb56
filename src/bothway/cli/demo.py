"""`bothway demo`: a carrier, a sample agent and a scripted caller, in processes of their own, over real sockets."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from bothway.carrier.config import Account
from bothway.carrier.script import Script
from bothway.cli.call import place_call, show
from bothway.cli.process import Child, account_of, free_port, set_up_logs, stop_signal
from bothway.errors import UsageError
from bothway.runtime.settings import Settings, add_options
from bothway.wire.leg import Dial

__all__ = ["NUMBER", "Pair", "add_parser", "run"]

NUMBER = "15550100"
"""The number that the demo's agent answers."""

_AGENT = "bothway.cli.demo_agent:app"


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
        port: The carrier's.
        log_level: Of both processes.
    """

    def __init__(self, settings: Settings, account: Account, folder: Path, port: int, *, log_level: str) -> None:
        self._settings = settings
        self._account = account
        self._folder = folder
        self._log_level = log_level
        self._port = port
        self.carrier: Child | None = None
        self.carrier_url = f"http://{settings.http.host}:{self._port}"
        self.leg_url = ""

    def app(self, target: str, port: int = 0) -> Child:
        """The process that serves `target`, not yet started."""
        api = f"{self.carrier_url}/v1"
        options = ["serve", target, "--http", f"127.0.0.1:{port}", "--api-url", api, "--log-level", self._log_level]
        credentials = {"PLIVO_AUTH_ID": self._account.auth_id, "PLIVO_AUTH_TOKEN": self._account.auth_token}
        return Child("app", [*options, "--drain-seconds", "0"], credentials)

    async def start_carrier(self, answer_url: str) -> None:
        """Start the carrier, with one number that `answer_url` answers.

        Raises:
            UsageError: Its folder cannot be written.
            PeerError: It did not start.
        """
        config = self._folder / "carrier.yaml"
        content = {
            "applications": [{"name": "app", "answer_url": answer_url}],
            "numbers": [{"number": NUMBER, "application": "app"}],
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            config.write_text(yaml.safe_dump(content), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{config} cannot be written: {error}") from None
        options = ["carrier", "--http", f"{self._settings.http.host}:{self._port}", "--config", str(config)]
        options += ["--data", str(self._folder), "--profile", self._settings.profile, "--log-level", self._log_level]
        options += ["--allow-private", "--drain-seconds", "0"]
        if self._settings.recordings:
            options.append("--recordings")
        credentials = {"BOTHWAY_AUTH_ID": self._account.auth_id, "BOTHWAY_AUTH_TOKEN": self._account.auth_token}
        self.carrier = Child("carrier", options, credentials)
        facts = await self.carrier.start()
        self.leg_url = facts["leg_url"]


async def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    settings = Settings.from_arguments("demo", arguments)
    set_up_logs(settings)
    account = account_of(settings)
    out = settings.out if "out" in arguments else settings.out / "demo"
    log_level = settings.log_level if "log_level" in arguments else "warning"
    port = settings.http.port if "http" in arguments and settings.http.port else free_port()
    pair = Pair(settings, account, settings.data / "demo", port, log_level=log_level)
    app = pair.app(_AGENT)
    stopped = stop_signal()
    try:
        facts = await app.start()
        await pair.start_carrier(facts["url"] + "/answer")
        print(f"carrier    {pair.carrier_url}\napp        {facts['url']}\ncalling    {NUMBER} …\n", flush=True)
        script = Script.parse(files("bothway.cli").joinpath("demo.yaml").read_text("utf-8"), name="the demo's script")
        dial = Dial(to=NUMBER, from_=script.from_ or "", format=script.leg or "pcmu", events=True)
        result = await place_call(pair.leg_url, account, script, dial, out)
        show(result, out, as_json=False)
        if not arguments.once:
            print(
                f"\nThe carrier and the agent stay up. Call again, from this folder, with:\n"
                f"  bothway call --carrier {pair.carrier_url} --to {NUMBER} --say 'Good morning'\n"
                f"Ctrl-C ends them.",
                flush=True,
            )
            await stopped.wait()
    finally:
        if pair.carrier is not None:
            await pair.carrier.stop()
        await app.stop()
    return 0 if result.ok else 1
