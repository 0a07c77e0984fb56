"""`<Stream>`: join the call's audio to a WebSocket (plivo-protocol.md, section 1)."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait
from bothway.wire.verbs import Stream

__all__ = ["execute"]


def execute(verb: Stream, call: Execution, now: float) -> Wait:
    """Open the stream, and wait for its end if it keeps the call alive (section 1.6).

    A `<Stream>` that cannot be is reported to its status callback, and the next verb runs (section 1.5).
    """
    problem = verb.problem() or call.too_many_streams(verb)
    call.answer()
    if problem is not None:
        call.refuse_stream(verb, problem)
        return Wait.NOTHING
    call.open_stream(verb)
    return Wait.STREAM if verb.keep_call_alive else Wait.NOTHING
