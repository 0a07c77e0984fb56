"""Verbs that are read but that this carrier does not execute."""

from __future__ import annotations

from bothway.core.execution import Execution, Wait, cause
from bothway.wire.verbs import Message, Verb

__all__ = ["execute", "execute_message"]


def execute(verb: Verb, call: Execution, now: float) -> Wait:
    """End the call and say why: going on without the verb would be another conversation than the document's."""
    return call.end(cause(5010, "Error"), f"this carrier does not execute <{type(verb).__name__}>")


def execute_message(verb: Message, call: Execution, now: float) -> Wait:
    """Say that no message was sent, and go on: the conversation is the same without it."""
    receivers = len([number for number in (verb.dst or "").split("<") if number.strip()])
    call.remark(f"this carrier sends no messages: a <Message> to {receivers or 'no'} number(s) was not sent")
    return Wait.NOTHING
