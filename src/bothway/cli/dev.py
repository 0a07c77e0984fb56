"""`bothway dev`: a carrier beside your app, which is started again when one of its files changes."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bothway.cli.demo import NUMBER, Pair
from bothway.cli.process import Child, account_of, first_ended, free_address, set_up_logs, stop_signal, until_stopped
from bothway.cli.process import web_url
from bothway.errors import PeerError, UsageError
from bothway.runtime.settings import Address, Settings, add_options

__all__ = ["add_parser", "run"]

_LOOK_SECONDS = 0.5
_ANSWER_PATH = "/answer"
_NOT_THE_APPS = frozenset({"__pycache__", "node_modules", "site-packages"})


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dev",
        help="run a carrier beside your app",
        description="Run a carrier and your app together. When a Python file of the app changes, the app is started "
        "again, and the carrier stays up. With --answer-url the app is anyone's, in any language.",
    )
    parser.add_argument("app", nargs="?", metavar="MODULE[:APP]", help="a module or a .py file, and the App in it")
    parser.add_argument("--answer-url", metavar="URL", type=web_url, help="the answer URL of an app that runs already")
    parser.add_argument(
        "--answer-path", metavar="PATH", default=_ANSWER_PATH, help="the app's answer path (default: %(default)s)"
    )
    add_options(parser, "dev")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C."""
    if bool(arguments.app) == bool(arguments.answer_url):
        raise UsageError("dev runs either MODULE[:APP] or --answer-url URL")
    settings = Settings.from_arguments("dev", arguments)
    set_up_logs(settings)
    pair = Pair(
        settings, account_of(settings), settings.data, free_address(settings.http), log_level=settings.log_level
    )
    stopped = stop_signal()
    app: _ReloadedApp | None = None
    answer_url = arguments.answer_url
    if arguments.app:
        address = free_address(Address("127.0.0.1", 0))
        answer_url = f"http://{address}/{arguments.answer_path.lstrip('/')}"
        app = _ReloadedApp(lambda: pair.app(arguments.app, address.port), _folder(arguments.app))
    try:
        return await until_stopped(_live(pair, app, answer_url, arguments), stopped) or 0
    finally:
        await asyncio.gather(pair.carrier.stop(), *([app.stop()] if app is not None else []))


async def _live(pair: Pair, app: _ReloadedApp | None, answer_url: str, arguments: argparse.Namespace) -> int:
    """Everything between the start and the Ctrl-C."""
    await pair.start_carrier(answer_url)
    if app is not None and not await app.start():
        return app.code
    print(
        f"carrier    {pair.carrier_url}\nanswers    {NUMBER} by {answer_url}\n"
        f"call it    {pair.how_to_call('Hello', arguments)}\nstop       Ctrl-C",
        flush=True,
    )
    died = await _first(first_ended([pair.carrier]), *([app.follow()] if app is not None else []))
    raise PeerError(f"{died.end}, and the app is stopped")
