"""`bothway serve`: the app alone, for production."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from bothway.app.app import App
from bothway.cli.carrier import server_tls
from bothway.cli.process import Child, announce, free_port, set_up_logs, settle_memory, stop_signal
from bothway.errors import PeerError, UsageError
from bothway.runtime.server import Server
from bothway.runtime.settings import Settings, add_options, settings_of

__all__ = ["add_parser", "load_app", "run"]

_WORKER = "BOTHWAY_WORKER"
"""Set in a worker's environment: its port is shared, and it supervises nobody."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="run your app, for production",
        description="Serve an app: HTTP and WebSockets on one port. SIGTERM lets calls end before the process does.",
    )
    parser.add_argument("app", metavar="MODULE[:APP]", help="a module or a .py file, and the App in it (default: app)")
    add_options(parser, "serve")
    parser.set_defaults(run=run)


def load_app(target: str) -> App:
    """The `App` that `MODULE[:APP]` or `FILE.py[:APP]` names.

    Raises:
        UsageError: There is no such module, or no App of that name in it.
    """
    module_name, _, attribute = target.partition(":")
    folder = Path.cwd()
    if module_name.endswith(".py"):
        path = Path(module_name).resolve()
        if not path.is_file():
            raise UsageError(f"there is no file {module_name}")
        folder, module_name = path.parent, path.stem
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UsageError(f"there is no module {module_name} here or among the installed ones") from None
        raise
    app = getattr(module, attribute or "app", None)
    if not isinstance(app, App):
        raise UsageError(f"{module_name} has no bothway App named {attribute or 'app'}")
    return app


async def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, then let calls end."""
    settings = Settings.from_arguments("serve", arguments)
    set_up_logs(settings)
    if settings.workers > 1 and _WORKER not in os.environ:
        return await _supervise(arguments.app, settings)
    _export(settings)
    app = load_app(arguments.app)
    server = Server(
        app,
        app.accept,
        host=settings.http.host,
        port=settings.http.port,
        ssl=server_tls(settings),
        reuse_port=_WORKER in os.environ,
    )
    stopped = stop_signal()
    await app.start()
    await server.start()
    settle_memory()
    announce(url=server.url)
    try:
        await stopped.wait()
    finally:
        await app.stop(settings.drain_seconds)
        await server.stop(grace=1.0)
    return 0


def _export(settings: Settings) -> None:
    """Put what the options say where an `App` that is made in the user's module looks for it."""
    for setting in settings_of("serve"):
        value = getattr(settings, setting.name)
        if setting.option is not None and value is not None:
            os.environ[setting.variables[0]] = ("0", "1")[value] if isinstance(value, bool) else str(value)


async def _supervise(target: str, settings: Settings) -> int:
    """Run several processes on one port; the kernel shares the connections out. If one dies, all are ended."""
    port = settings.http.port or free_port()
    _export(settings)  # the workers read everything else from the environment
    options = ["serve", target, "--http", f"{settings.http.host}:{port}"]
    workers = [Child(f"worker {n}", options, {_WORKER: str(n)}) for n in range(1, settings.workers + 1)]
    stopped = stop_signal()
    try:
        facts = [await worker.start() for worker in workers]
        announce(url=facts[0]["url"], workers=settings.workers)
        ends = [asyncio.create_task(worker.ended()) for worker in workers]
        stop = asyncio.create_task(stopped.wait())
        await asyncio.wait([*ends, stop], return_when=asyncio.FIRST_COMPLETED)
        died = not stop.done()
        stop.cancel()
        for end in ends:
            end.cancel()
        if died:
            raise PeerError("a worker ended by itself: its own lines say why, and the others are being stopped")
    finally:
        await asyncio.gather(*(worker.stop(settings.drain_seconds + 5.0) for worker in workers))
    return 0
