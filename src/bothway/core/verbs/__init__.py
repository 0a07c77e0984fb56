"""The verbs of the answer document that a call can execute, one file a verb."""

from __future__ import annotations

from bothway.core.execution import Executor
from bothway.core.verbs import (
    dial,
    dtmf,
    get_digits,
    get_input,
    hangup,
    preanswer,
    redirect,
    speak,
    stream,
    unsupported,
    wait,
)
from bothway.wire.verbs import (
    Dial,
    Dtmf,
    GetDigits,
    GetInput,
    Hangup,
    Message,
    Play,
    PreAnswer,
    Redirect,
    Speak,
    Stream,
    Verb,
    Wait,
)

__all__ = ["executor_of"]

_EXECUTORS: dict[type, Executor] = {
    Dial: dial.execute,
    Dtmf: dtmf.execute,
    GetDigits: get_digits.execute,
    GetInput: get_input.execute,
    Hangup: hangup.execute,
    Message: unsupported.execute_message,
    Play: speak.execute,
    PreAnswer: preanswer.execute,
    Redirect: redirect.execute,
    Speak: speak.execute,
    Stream: stream.execute,
    Wait: wait.execute,
}


def executor_of(verb: Verb) -> Executor:
    """What executes `verb`."""
    return _EXECUTORS.get(type(verb), unsupported.execute)
