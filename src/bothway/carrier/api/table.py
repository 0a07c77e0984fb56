"""The table of operations: all that the REST API can do."""

from __future__ import annotations

from bothway.carrier.api import accounts, applications, calls, conferences, live, numbers, recordings, streams

__all__ = [
    "OPERATIONS",
]

OPERATIONS = (
    *accounts.OPERATIONS,
    *calls.OPERATIONS,
    *live.OPERATIONS,
    *streams.OPERATIONS,
    *conferences.OPERATIONS,
    *recordings.OPERATIONS,
    *applications.OPERATIONS,
    *numbers.OPERATIONS,
)
"""Every operation; no two have the same method and path."""
