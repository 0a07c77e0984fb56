"""A call's timeline as a test sees it: its evidence, what was said and understood, and where it went wrong."""

from __future__ import annotations

import numpy as np

from bothway.carrier.evidence import interleaved
from bothway.console.evidence import CallEvidence
from bothway.console.timeline import Line, render
from bothway.testing.caller import Caller
from bothway.testing.transcript import stretches, text_of

__all__ = ["evidence_of", "tell"]


def evidence_of(caller: Caller) -> CallEvidence:
    """What is known of a call, without a file.

    The recording is what its caller said and heard. A frame that the caller answers by another one stands beside it,
    where the carrier's own recording has it 20 ms later.
    """
    fmt = caller.telephone.format
    said, heard = caller.telephone.tape()
    samples = np.frombuffer(interleaved(said, heard, fmt), dtype="<i2").reshape(-1, 2)
    return CallEvidence(
        folder=None,
        records=tuple(caller.records),
        call_id=caller.call_id,
        rate=fmt.rate if len(samples) else None,
        samples=samples if len(samples) else None,
        complete=caller.ended is not None,
        remarks=(),
    )


def tell(caller: Caller, *, width: int = 100, colour: bool = False) -> str:
    """The call as text, every place marked at which something was not as expected.

    Args:
        caller: Whose call it is.
        width: Columns; at least 72 are used.
        colour: Whether to colour it, with ANSI escapes.
    """
    marks = [Line(mark.ms, mark.ms, "test", "mark", mark.text, trouble=True) for mark in caller.trace.marks]
    understood = [
        Line(words[0].start_ms, words[-1].end_ms, "app", "understood", f"is heard to say “{text_of(words)}”")
        for words in stretches(caller.heard)
    ]
    more = [*caller.spoken, *understood, *marks]
    return render(evidence_of(caller), width=width, colour=colour, more=more)
