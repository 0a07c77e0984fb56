"""`bothway carrier`: the carrier alone."""

from __future__ import annotations

import argparse
import dataclasses
import ssl
from typing import Any

from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Config, load_config
from bothway.cli.process import account_of, announce, set_up_logs, settle_memory, stop_signal
from bothway.core.profile import Profile, profile_named
from bothway.errors import UsageError
from bothway.runtime.settings import Settings, add_options

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "carrier",
        help="run the carrier alone",
        description="Run the carrier. One line `ready {json}` on stdout says where it is when it takes calls.",
    )
    add_options(parser, "carrier")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM, then let calls end."""
    settings = Settings.from_arguments("carrier", arguments)
    set_up_logs(settings)
    config = load_config(settings.config) if settings.config is not None else Config()
    account = config.account(None) if config.accounts and not settings.auth_id else account_of(settings)
    carrier = Carrier(
        account=account,
        config=config,
        profile=profile_of(settings, config),
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


def profile_of(settings: Settings, config: Config) -> Profile:
    """The profile of the settings with the limits of the configuration."""
    return dataclasses.replace(profile_named(settings.profile), limits=config.limits)


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS of the settings, if they have any.

    Raises:
        UsageError: The certificate or its key cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificate {settings.tls_cert} and its key cannot be used: {error}") from None
    return context
