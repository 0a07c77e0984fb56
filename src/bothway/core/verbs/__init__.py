"""The verbs of the answer document that a call can execute, one file a verb."""

from __future__ import annotations

from bothway.core.execution import Executor
from bothway.core.verbs import hangup, redirect, speak, stream, unsupported, wait
from bothway.wire.verbs import Hangup, Play, Redirect, Speak, Stream, Verb, Wait

__all__ = ["executor_of"]

_EXECUTORS: dict[type, Executor] = {
    Hangup: hangup.execute,
    Play: speak.execute,
    Redirect: redirect.execute,
    Speak: speak.execute,
    Stream: stream.execute,
    Wait: wait.execute,
}


def executor_of(verb: Verb) -> Executor:
    """What executes `verb`."""
    return _EXECUTORS.get(type(verb), unsupported.execute)
