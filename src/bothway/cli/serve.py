"""`bothway serve`: the app alone, for production."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from bothway.app.app import App
from bothway.cli.process import announce, server_tls, set_up_logs, settle_memory, stop_signal
from bothway.cli.workers import Crew, export, is_worker
from bothway.errors import BothwayError, UsageError
from bothway.runtime.server import Server
from bothway.runtime.settings import Settings, add_options

__all__ = ["BrokenModuleError", "add_parser", "load_app", "run"]


class BrokenModuleError(BothwayError):
    """The user's module raised while it was imported. Its traceback has been printed."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="run your app, for production",
        description="Serve an app: HTTP and WebSockets on one port. One line `ready {json}` on stdout says where it is "
        "when it takes calls. SIGTERM lets calls end before the process does; a second one does not. The carrier's "
        "signatures are checked by PLIVO_AUTH_TOKEN.",
    )
    parser.add_argument("app", metavar="MODULE[:APP]", help="a module or a .py file, and the App in it (default: app)")
    add_options(parser, "serve")
    parser.set_defaults(run=run)


def load_app(target: str) -> App:
    """The `App` that `MODULE[:APP]` or `FILE.py[:APP]` names.

    Raises:
        UsageError: There is no such module, or no App of that name in it.
        BrokenModuleError: The module cannot be imported.
    """
    name, _, attribute = target.partition(":")
    module = _module(name)
    app = getattr(module, attribute or "app", None)
    if isinstance(app, App):
        return app
    others = [found for found, value in vars(module).items() if isinstance(value, App)]
    hint = f"; it has {', '.join(others)}: write {name}:{others[0]}" if others else ""
    if app is not None:
        kind = type(app)
        raise UsageError(
            f"{attribute or 'app'} in {name} is no bothway App but a {kind.__module__}.{kind.__name__}{hint}"
        )
    raise UsageError(f"{name} has no bothway App named {attribute or 'app'}{hint}")


async def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, then let calls end."""
    settings = Settings.from_arguments("serve", arguments)
    set_up_logs(settings)
    if settings.workers > 1 and not is_worker():
        return await Crew(["serve", arguments.app], settings, restart=False).run()
    export("serve", settings)
    app = load_app(arguments.app)
    server = Server(
        app,
        app.accept,
        host=settings.http.host,
        port=settings.http.port,
        ssl=server_tls(settings),
        reuse_port=is_worker(),
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


def _module(name: str) -> ModuleType:
    folder, module_name, path = Path.cwd(), name, None
    if name.endswith(".py"):
        path = Path(name).resolve()
        if not path.is_file():
            raise UsageError(f"there is no file {name}")
        folder, module_name = path.parent, path.stem
    elif not all(name.split(".")) or "/" in name:
        hint = f"did you mean {name}.py?" if Path(f"{name}.py").is_file() else "it is written `package.module`"
        raise UsageError(f"{name!r} is no module: {hint}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - the edge to the user's module: all that it raises is shown
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise UsageError(f"there is no module {name} here or among the installed ones") from None
        _show(error)
        raise BrokenModuleError(f"{name} cannot be imported: {type(error).__name__}, see above") from None
    origin = Path(module.__file__ or "").resolve()
    if path is not None and origin != path:
        raise UsageError(f"{name} cannot be imported: the name {module_name} is that of {origin} already. Rename it")
    return module


def _show(error: Exception) -> None:
    """Print the traceback from the user's module on, without the frames that led there."""
    ours = (__file__, importlib.__file__)
    last = error.__traceback__
    while last is not None:
        name = last.tb_frame.f_code.co_filename
        if name not in ours and not name.startswith("<frozen importlib"):
            break
        last = last.tb_next
    traceback.print_exception(type(error), error, last)
