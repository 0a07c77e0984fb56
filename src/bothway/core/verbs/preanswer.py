"""`<PreAnswer>`: let the caller hear something before the call is answered and billed (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait
from bothway.wire.verbs import PreAnswer

__all__ = ["execute"]


def execute(verb: PreAnswer, call: Execution, now: float) -> Wait:
    """Run what is inside as early media; the call is answered behind it.

    A document that replaces this one from inside, by a `<Redirect>` or an `action`, decides anew about the answer.
    """
    if call.answered_at is not None:
        call.remark("<PreAnswer> comes after the answer: what is inside runs like any other verb")
    call.pre_answer(verb.children)
    return Wait.NOTHING
