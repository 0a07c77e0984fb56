"""`bothway carrier`: the carrier alone. And the account that it shares with `call`, `demo` and `dev`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from bothway.carrier.carrier import Carrier, new_account
from bothway.carrier.config import Account, Config, load_config
from bothway.cli.process import announce, server_tls, set_up_logs, settle_memory, stop_signal
from bothway.cli.workers import Crew, is_worker
from bothway.core.profile import profile_named
from bothway.errors import UsageError
from bothway.runtime import logs
from bothway.runtime.settings import Settings, add_options

__all__ = ["account_of", "add_parser", "run"]

_CREDENTIALS = "credentials.json"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "carrier",
        help="run the carrier alone",
        description="Run the carrier. One line `ready {json}` on stdout says where it is when it takes calls. "
        "The account is that of --config, or BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN, or one that is made and kept in "
        "the data folder. SIGTERM lets calls end before the process does; a second one does not. Of several workers, "
        "one that dies is started again.",
    )
    add_options(parser, "carrier")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM, then let calls end."""
    settings = Settings.from_arguments("carrier", arguments)
    set_up_logs(settings)
    if settings.workers > 1 and not is_worker():
        return await Crew(["carrier"], settings, restart=True).run()
    config = load_config(settings.config) if settings.config is not None else Config()
    carrier = Carrier(
        account=_account(settings, config),
        config=config,
        profile=dataclasses.replace(
            profile_named(settings.profile), limits=config.limits, plus_in_numbers=config.plus_in_numbers
        ),
        host=settings.http.host,
        port=settings.http.port,
        data=settings.data,
        db=settings.db,
        record_audio=settings.recordings,
        allow_private=settings.allow_private,
        tls=server_tls(settings),
        public_url=settings.public_url,
        workers=settings.workers,
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
        if not path.is_file():
            _keep(new_account(), path)
        kept = json.loads(path.read_text(encoding="utf-8"))
        account = Account(str(kept["auth_id"]), str(kept["auth_token"]))
        logs.redact(account.auth_token)
    except OSError as error:
        raise UsageError(f"the credentials in {path} cannot be used: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, UsageError):
        # Not a word of what stands there: it may be the better half of a token.
        raise UsageError(
            f"the credentials in {path} cannot be used: the file holds no auth_id and auth_token. Remove it, and it "
            f"is made anew"
        ) from None
    return account


def _keep(account: Account, path: Path) -> None:
    """Write the credentials, unless another process has done so meanwhile. Nobody ever sees half of them."""
    folder = path.parent
    if not folder.exists():
        folder.mkdir(parents=True)
        # What is kept here is nothing for a repository that the folder may be in.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    draft = folder / f".{_CREDENTIALS}-{secrets.token_hex(8)}"
    try:
        # Readable by its owner alone from the first moment.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"auth_id": account.auth_id, "auth_token": account.auth_token}, file)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
