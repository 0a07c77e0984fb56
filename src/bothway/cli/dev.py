"""`bothway dev`: a carrier beside your app, which is started again when one of its files changes."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from bothway.cli.demo import NUMBER, Pair
from bothway.cli.process import Child, account_of, free_port, set_up_logs, stop_signal
from bothway.errors import PeerError, UsageError
from bothway.runtime.settings import Settings, add_options

__all__ = ["add_parser", "run"]

_LOOK_SECONDS = 0.5
_ANSWER_PATH = "/answer"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dev",
        help="run a carrier beside your app",
        description="Run a carrier and your app together. When a file of the app changes, the app is started again; "
        "the carrier and its calls go on. With --answer-url the app is anyone's, in any language.",
    )
    parser.add_argument("app", nargs="?", metavar="MODULE[:APP]", help="a module or a .py file, and the App in it")
    parser.add_argument("--answer-url", metavar="URL", help="the answer URL of an app that runs already")
    parser.add_argument(
        "--answer-path", metavar="PATH", default=_ANSWER_PATH, help="the app's answer path (%(default)s)"
    )
    add_options(parser, "dev")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C."""
    if bool(arguments.app) == bool(arguments.answer_url):
        raise UsageError("dev runs either MODULE[:APP] or --answer-url URL")
    settings = Settings.from_arguments("dev", arguments)
    set_up_logs(settings)
    account = account_of(settings)
    port = settings.http.port or free_port()
    pair = Pair(settings, account, settings.data, port, log_level=settings.log_level)
    stopped = stop_signal()
    app: Child | None = None
    app_port = free_port()
    try:
        answer_url = arguments.answer_url
        if arguments.app:
            app = pair.app(arguments.app, app_port)
            await app.start()
            answer_url = f"http://127.0.0.1:{app_port}{arguments.answer_path}"
        await pair.start_carrier(answer_url)
        print(
            f"carrier    {pair.carrier_url}\nanswers    {NUMBER} by {answer_url}\n"
            f"call it    bothway call --carrier {pair.carrier_url} --to {NUMBER} --say 'Hello'\n"
            f"stop       Ctrl-C",
            flush=True,
        )
        if app is None:
            await stopped.wait()
        else:
            app = await _reload(app, lambda: pair.app(arguments.app, app_port), _folder(arguments.app), stopped)
    finally:
        if pair.carrier is not None:
            await pair.carrier.stop()
        if app is not None:
            await app.stop()
    return 0


async def _reload(app: Child, fresh: Any, folder: Path, stopped: asyncio.Event) -> Child:
    """Start the app again whenever a file below `folder` changes, until `stopped`. Gives the process that runs last."""
    seen = await asyncio.to_thread(_state, folder)
    while not stopped.is_set():
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await stopped.wait()
        except TimeoutError:
            state = await asyncio.to_thread(_state, folder)
            if state == seen:
                continue
            seen = state
            print("a file changed: starting the app again", flush=True)
            await app.stop()
            app = fresh()
            try:
                await app.start()
            except PeerError as error:
                print(f"{error}. Waiting for the next change", flush=True)
    return app


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
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in ("node_modules", "__pycache__", "site-packages") for part in parts):
            continue
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue  # removed while we looked
    return frozenset(found)
