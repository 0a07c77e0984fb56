"""`bothway dev`: a carrier beside your app, which is started again when one of its files changes."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bothway.cli.carrier import account_of
from bothway.cli.demo import NUMBER, Pair
from bothway.cli.process import (
    Child,
    first_ended,
    free_address,
    set_up_logs,
    stop_signal,
    until_stopped,
    web_url,
)
from bothway.errors import PeerError, UsageError
from bothway.runtime.settings import Address, Settings, add_options

__all__ = ["add_parser", "run"]

_LOOK_SECONDS = 0.5
_ANSWER_PATH = "/answer"
_NOT_THE_APPS = frozenset({"__pycache__", "node_modules", "site-packages"})
_WRONG_USAGE = 2


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
    address = free_address(settings.http)
    pair = Pair(settings, account_of(settings), settings.data, address, log_level=settings.log_level)
    app = free_address(Address("127.0.0.1", 0))
    answer_url = arguments.answer_url or f"http://{app}/{arguments.answer_path.lstrip('/')}"
    welcome = (
        f"carrier    {pair.carrier_url}\nanswers    {NUMBER} by {answer_url}\n"
        f"call it    {pair.how_to_call('Hello', arguments)}\nstop       Ctrl-C"
    )

    async def live() -> int:
        await pair.start_carrier(answer_url)
        if arguments.answer_url:
            print(welcome, flush=True)
            await pair.carrier.ended()
        else:
            following = asyncio.ensure_future(
                _follow(lambda: pair.app(arguments.app, app.port), _folder(arguments.app), welcome)
            )
            ended = asyncio.ensure_future(first_ended([pair.carrier]))
            try:
                await asyncio.wait((following, ended), return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    return following.result()
            finally:
                following.cancel()
                ended.cancel()
                await asyncio.wait((following, ended))
        raise PeerError(f"{pair.carrier.end}, which ends all of it")

    stopped = stop_signal()
    try:
        return await until_stopped(live(), stopped) or 0
    finally:
        await pair.carrier.stop()


async def _follow(fresh: Callable[[], Child], folder: Path, welcome: str) -> int:
    """Run the app, and start it again whenever a file below `folder` changes. Returns only if it cannot run at all."""
    is_first = True
    while True:
        seen = await asyncio.to_thread(_state, folder)
        app = fresh()
        life = asyncio.ensure_future(_life(app, welcome))
        change = asyncio.ensure_future(_change(folder, seen))
        try:
            await asyncio.wait((life, change), return_when=asyncio.FIRST_COMPLETED)
            if not change.done():
                if is_first and app.code == _WRONG_USAGE:
                    return _WRONG_USAGE  # it has said why, and no change of a file will help
                print(f"{life.result()}. Waiting for a file to change", flush=True)
                await change
        finally:
            life.cancel()
            change.cancel()
            await asyncio.wait((life, change))
            await app.stop()
        is_first = False
        print("a file changed: starting the app again", flush=True)
        if app.was_ready:
            welcome = "the app is up again"


async def _life(app: Child, welcome: str) -> str:
    """Start the app, and wait until it ends by itself. Gives how it did."""
    try:
        await app.start()
    except PeerError as error:
        return str(error)
    print(welcome, flush=True)
    await app.ended()
    return app.end


async def _change(folder: Path, seen: frozenset[tuple[str, int]]) -> None:
    while await asyncio.to_thread(_state, folder) == seen:  # noqa: ASYNC110 - a file says nothing when it changes
        await asyncio.sleep(_LOOK_SECONDS)


def _folder(target: str) -> Path:
    """Where the app's files are."""
    name = target.partition(":")[0]
    if name.endswith(".py"):
        return Path(name).resolve().parent
    package = Path.cwd() / name.split(".")[0]
    return package if package.is_dir() else Path.cwd()


def _state(folder: Path) -> frozenset[tuple[str, int]]:
    """Every Python file below `folder` and when it was changed; hidden folders and virtual environments left out."""
    found = set()
    for place, folders, names in os.walk(folder):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_THE_APPS]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(place, name)
                try:
                    found.add((path, os.stat(path).st_mtime_ns))
                except FileNotFoundError:
                    continue  # removed while we looked, or a link that leads nowhere
    return frozenset(found)
