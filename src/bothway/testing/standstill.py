"""What is said of a run in virtual time that cannot go on, and who waits for what in it."""

from __future__ import annotations

import asyncio
import linecache
import os
import re
import threading
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType

from bothway.errors import UsageError

__all__ = [
    "CALLBACK",
    "MAX_LISTED",
    "PatienceError",
    "RunawayError",
    "StandstillError",
    "bystanders",
    "has_strangers",
    "place_of_frame",
    "waiting_tasks",
]

MAX_LISTED = 10
"""The most tasks that an error lists."""

CALLBACK: CodeType = asyncio.Handle._run.__code__  # noqa: SLF001 - how a callback's frames are told from the loop's own
"""The code by which a loop runs a callback."""

bystanders: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""Threads from which a loop that stands still has nothing to expect: they wait for its jobs, or only watch."""

_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_MACHINERY = os.path.dirname(__file__) + os.sep
_BOTHWAY = os.path.dirname(os.path.dirname(__file__)) + os.sep
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")


class StandstillError(UsageError):
    """Everything waits, no timer runs, and no thread has anything to say: nothing can happen any more."""


class RunawayError(UsageError):
    """The run does not end: timers carry the clock past its limit, or it stands, since something is always ready."""


class PatienceError(UsageError):
    """The clock was held for longer, in real time, than the loop has patience."""


def waiting_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks of a loop that are not done, in order of creation, a line each: its name, and where it waits."""
    # The hash of a virtual loop's task is its number.
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    lines = [f"  {task.get_name()}: {_place_of_task(task)}" for task in tasks[:MAX_LISTED]]
    if len(tasks) > MAX_LISTED:
        lines.append(f"  and {len(tasks) - MAX_LISTED} more tasks")
    return "\n".join(lines) if lines else "  no task at all"


def has_strangers() -> bool:
    """Whether a thread lives, other than this one, that may have something to say."""
    here = threading.current_thread()
    return any(thread is not here and thread not in bystanders for thread in threading.enumerate())


def place_of_frame(frame: FrameType | None) -> str:
    """Where a thread is, and the line: in the innermost frame that is the user's, or else a library's, or Python's own.

    On a loop's thread it is within the callback that the loop runs.
    """
    frames = []
    while frame is not None and frame.f_code is not CALLBACK:
        frames.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return _innermost(frames)


def _place_of_task(task: asyncio.Task[object]) -> str:
    return _innermost(list(_awaited_frames(task.get_coro()))[::-1])


def _awaited_frames(awaited: object) -> Iterator[tuple[CodeType, int]]:
    """The frames of a suspended coroutine and of all that it awaits, outermost first."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            return
        yield frame.f_code, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _innermost(frames: list[tuple[CodeType, int]]) -> str:
    """The place of the first of `frames`, innermost first, that tells a user the most."""
    if not frames:
        return "C code that the event loop runs"
    code, line = min(frames, key=lambda frame: _strangeness(frame[0].co_filename))
    path = code.co_filename
    here = os.getcwd() + os.sep
    source = linecache.getline(path, line).strip()
    return f"{path.removeprefix(here)}:{line} in {code.co_qualname}" + (f": `{source}`" if source else "")


def _strangeness(path: str) -> int:
    if path.startswith(_BOTHWAY):
        return 2 if path.startswith(_MACHINERY) else 1
    if _INSTALLED.search(path):
        return 1
    return 3 if path.startswith((_STANDARD_LIBRARY, "<frozen")) else 0
