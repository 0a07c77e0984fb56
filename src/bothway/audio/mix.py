"""Adding and scaling audio of any format, saturating at full scale."""

from __future__ import annotations

from math import isfinite

from bothway.audio.format import AudioFormat
from bothway.audio.native import audioop
from bothway.audio.transcode import from_l16, to_l16
from bothway.errors import UsageError

__all__ = ["gain", "mix"]


def mix(a: bytes, b: bytes, fmt: AudioFormat) -> bytes:
    """Both at once: the sum, sample by sample, as long as the longer of the two.

    Args:
        a: Audio in `fmt`, of any length.
        b: Audio in `fmt`; the shorter of the two is followed by silence.
        fmt: The format of both and of the result. G.711 is added as L16.

    Raises:
        UsageError: L16 that is not a whole number of samples.
    """
    if not a or not b:
        return a or b
    left, right = to_l16(a, fmt.encoding), to_l16(b, fmt.encoding)
    if len(left) != len(right):
        longest = max(len(left), len(right))
        left, right = left.ljust(longest, b"\0"), right.ljust(longest, b"\0")
    return from_l16(audioop.add(left, right, 2), fmt.encoding)


def gain(audio: bytes, factor: float, fmt: AudioFormat) -> bytes:
    """`audio` with every sample times `factor`, rounded down to a 16-bit step; with a factor of 1, `audio` itself.

    Args:
        audio: Audio in `fmt`, of any length.
        factor: A ratio of amplitudes: 0.5 is -6 dB; negative ones invert.
        fmt: The format of `audio` and of the result. G.711 is scaled as L16.

    Raises:
        UsageError: L16 that is not a whole number of samples, or a factor that is infinite or not a number.
    """
    if not isfinite(factor):
        raise UsageError(f"audio cannot be scaled by {factor}")
    if factor == 1:
        return audio
    return from_l16(audioop.mul(to_l16(audio, fmt.encoding), 2, factor), fmt.encoding)
