"""`<Wait>`: do nothing for a while (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait
from bothway.wire import verbs

__all__ = ["execute"]


def execute(verb: verbs.Wait, call: Execution, now: float) -> Wait:
    """Pick up, and wait the whole length."""
    call.answer()
    if verb.silence or verb.beep:
        call.remark("<Wait> listens neither for silence nor for a beep yet: it waits its whole length")
    return call.wait_for(verb.length, now)
