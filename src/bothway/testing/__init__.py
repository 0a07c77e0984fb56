"""Phone conversations, tested like functions: see docs/testing.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothway.testing.callee import Callee
    from bothway.testing.caller import Caller
    from bothway.testing.expectation import CallFailedError, Expectation
    from bothway.testing.lab import LabCarrier
    from bothway.testing.virtual_loop import VirtualLoop, run

__all__ = ["CallFailedError", "Callee", "Caller", "Expectation", "LabCarrier", "VirtualLoop", "run"]

_HOMES = {
    "CallFailedError": "expectation",
    "Callee": "callee",
    "Caller": "caller",
    "Expectation": "expectation",
    "LabCarrier": "lab",
    "VirtualLoop": "virtual_loop",
    "run": "virtual_loop",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: the plugin lives in this package, and every run of pytest loads it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
