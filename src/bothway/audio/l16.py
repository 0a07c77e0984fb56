"""L16 bytes as numbers and back: the one place that knows their byte order, and what happens at full scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bothway.errors import UsageError

__all__ = ["FULL_SCALE", "check_l16", "from_floats", "to_samples"]

FULL_SCALE = 32768
"""The magnitude that 0 dBFS stands for: the largest that 16-bit two's complement holds (it exists as -32768 only)."""


def check_l16(l16: bytes) -> None:
    """Hold `l16` to whole samples.

    Raises:
        UsageError: The bytes are not a whole number of 2-byte samples.
    """
    if len(l16) & 1:
        raise UsageError(f"L16 audio of {len(l16)} bytes is not a whole number of 2-byte samples")


def to_samples(l16: bytes) -> npt.NDArray[np.int16]:
    """The samples of `l16`, shape (n,): a read-only view, not a copy.

    Raises:
        UsageError: The bytes are not a whole number of samples.
    """
    check_l16(l16)
    return np.frombuffer(l16, "<i2")


def from_floats(samples: npt.NDArray[np.float64]) -> bytes:
    """L16 of `samples` (shape (n,), in units of one 16-bit step): rounded to the nearest, saturated, never wrapped.

    A sample half-way between two steps goes to the even one. NaN is the caller's to avoid.
    """
    rounded = np.rint(samples)
    np.minimum(rounded, 32767.0, out=rounded)
    np.maximum(rounded, -32768.0, out=rounded)
    return rounded.astype("<i2").tobytes()
