"""How time is rounded where it is billed: the one place that records, callbacks and reports take it from."""

from __future__ import annotations

import math

__all__ = ["MINUTE", "billed_seconds", "started_seconds"]

MINUTE = 60
"""Seconds in which calls and streams are billed (plivo-protocol.md, 5.2 and 9)."""


def started_seconds(seconds: float) -> int:
    """The whole seconds of some time: each that was started counts, and a time below zero is none.

    Times of day and clocks that add floats are off by some microseconds; less than half a millisecond is nothing, so
    that a minute sharp does not become two by chance.
    """
    return max(0, math.ceil(round(seconds, 3)))


def billed_seconds(seconds: float) -> int:
    """The same in whole minutes, as seconds: 27 are billed as 60, and 66 as 120 (plivo-protocol.md, 5.2 and 6.3)."""
    return -(-started_seconds(seconds) // MINUTE) * MINUTE
