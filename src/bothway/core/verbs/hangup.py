"""`<Hangup>`: end the call, now or later, or never take it (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait, cause
from bothway.wire.verbs import Hangup

__all__ = ["execute"]

_SOURCE = "Answer XML"


def execute(verb: Hangup, call: Execution, now: float) -> Wait:
    """A call that was not picked up can be rejected or found busy; any other is hung up, at once or on schedule."""
    if verb.schedule:
        call.end_after(verb.schedule, now)
        return Wait.NOTHING
    if call.answered_at is None and verb.reason == "rejected":
        return call.end(cause(3020, _SOURCE))
    if call.answered_at is None and verb.reason == "busy":
        return call.end(cause(3010, _SOURCE))
    return call.end(cause(4000, _SOURCE))
