"""The command line (design, section 6). Each command is a module with `add_parser` and `run`."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from bothway.errors import BothwayError, UsageError
from bothway.version import __version__

__all__ = ["build_parser", "main"]

_COMMANDS = ("demo", "dev", "carrier", "serve", "call", "costs", "schema")

_EXIT_FAILED = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 128 + signal.SIGINT


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of every command; or of one alone, and then only its module is loaded: an app needs no carrier."""
    parser = argparse.ArgumentParser(
        prog="bothway",
        description="Phone-call audio to code and back: a carrier that you run yourself, and the app at its other end.",
    )
    parser.add_argument("--version", action="version", version=f"bothway {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in (command,) if command is not None else _COMMANDS:
        importlib.import_module(f"bothway.cli.{name}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        try:
            words = list(sys.argv[1:] if arguments is None else arguments)
            command = words[0] if words and words[0] in _COMMANDS else None
            return _run(build_parser(command).parse_args(words))
        finally:
            sys.stdout.flush()  # here, where it can still be said that nobody reads
    except UsageError as error:
        print(f"bothway: {error}", file=sys.stderr)
        return _EXIT_USAGE
    except BothwayError as error:
        print(f"bothway: {error}", file=sys.stderr)
        return _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. The interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_FAILED


def _run(parsed: argparse.Namespace) -> int:
    coroutine: Coroutine[Any, Any, int] = parsed.run(parsed)
    try:
        from uvloop import new_event_loop
    except ImportError:  # the extra `fast` is not installed: the standard library's loop does the same, a little slower
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)
