"""`bothway carrier`: the carrier alone."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account, Config, load_config
from bothway.cli.process import account_of, announce, server_tls, set_up_logs, settle_memory, stop_signal
from bothway.core.profile import profile_named
from bothway.runtime.settings import Settings, add_options

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "carrier",
        help="run the carrier alone",
        description="Run the carrier. One line `ready {json}` on stdout says where it is when it takes calls. "
        "The account is that of --config, or BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN, or one that is made and kept in "
        "the data folder. SIGTERM lets calls end before the process does; a second one does not.",
    )
    add_options(parser, "carrier")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM, then let calls end."""
    settings = Settings.from_arguments("carrier", arguments)
    set_up_logs(settings)
    config = load_config(settings.config) if settings.config is not None else Config()
    carrier = Carrier(
        account=_account(settings, config),
        config=config,
        profile=dataclasses.replace(profile_named(settings.profile), limits=config.limits),
        host=settings.http.host,
        port=settings.http.port,
        data=settings.data,
        record_audio=settings.recordings,
        allow_private=settings.allow_private,
        tls=server_tls(settings),
    )
    stopped = stop_signal()
    await carrier.start()
    settle_memory()
    announce(url=carrier.url, leg_url=carrier.leg_url, auth_id=carrier.account.auth_id, profile=carrier.profile.name)
    try:
        await stopped.wait()
    finally:
        await carrier.stop(grace=settings.drain_seconds)
    return 0


def _account(settings: Settings, config: Config) -> Account:
    """The account of calls whose application names none. What the environment says outweighs the file."""
    if config.accounts and settings.auth_id is None:
        return config.accounts[0]
    return account_of(settings)
