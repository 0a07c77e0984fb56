"""The standard library's audio routines, which are C."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # The module leaves the standard library in 3.13, where audioop-lts takes its place. That is ours to know, and no
    # matter of a program whose tests make an error of every warning.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop as _audioop

__all__ = ["audioop"]

audioop = _audioop
