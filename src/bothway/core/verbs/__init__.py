"""The verbs of the answer document that a call can execute, one file a verb."""

from __future__ import annotations

from bothway.core.execution import Executor
from bothway.core.verbs import (
    conference,
    dial,
    dtmf,
    get_digits,
    get_input,
    hangup,
    preanswer,
    record,
    redirect,
    speak,
    stream,
    unsupported,
    wait,
)
from bothway.wire.verbs import (
    Conference,
    Dial,
    Dtmf,
    GetDigits,
    GetInput,
    Hangup,
    Message,
    Play,
    PreAnswer,
    Record,
    Redirect,
    Speak,
    Stream,
    Verb,
    Wait,
)

__all__ = ["executor_of"]

_EXECUTORS: dict[type, Executor] = {
    Conference: conference.execute,
    Dial: dial.execute,
    Dtmf: dtmf.execute,
    GetDigits: get_digits.execute,
    GetInput: get_input.execute,
    Hangup: hangup.execute,
    Message: unsupported.execute_message,
    Play: speak.execute,
    PreAnswer: preanswer.execute,
    Record: record.execute,
    Redirect: redirect.execute,
    Speak: speak.execute,
    Stream: stream.execute,
    Wait: wait.execute,
}


def executor_of(verb: Verb) -> Executor:
    """What executes `verb`."""
    return _EXECUTORS.get(type(verb), unsupported.execute)
