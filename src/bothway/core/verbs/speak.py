"""`<Speak>` and `<Play>`: say or play something, and go on when it was heard (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait
from bothway.wire.verbs import Play, Speak

__all__ = ["execute"]


def execute(verb: Speak | Play, call: Execution, now: float) -> Wait:
    """Pick up, and wait until the caller has heard it. Where there is nothing to hear, the next verb runs."""
    call.answer()
    what = verb.plain() if isinstance(verb, Speak) else verb.url
    return call.prompt(verb) if what else Wait.NOTHING  # an endless loop of nothing would never let go of the call
