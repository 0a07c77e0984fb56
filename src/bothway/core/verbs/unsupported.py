"""Verbs that are read but that this carrier does not execute."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait, cause
from bothway.wire.verbs import Verb

__all__ = ["execute"]


def execute(verb: Verb, call: Execution, now: float) -> Wait:
    """End the call and say why: going on without the verb would be another conversation than the document's."""
    return call.end(cause(5010, "Error"), f"this carrier does not execute <{type(verb).__name__}> yet")
