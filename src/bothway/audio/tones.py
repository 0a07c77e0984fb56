"""Tones as L16: single and summed ones, DTMF digits, and a beep.

Levels are in the dBFS of `bothway.audio.level`: a sine of full scale is at -3.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from bothway.audio.l16 import FULL_SCALE, from_floats
from bothway.errors import UsageError

__all__ = ["DTMF_FREQUENCIES", "beep", "dtmf", "ringback", "tone"]

_EDGE_MS = 3.0
"""How long a tone takes to rise and to fall, as a raised cosine: long enough not to click, and a small part of the
40 ms that a receiver must have of a digit (ITU-T Q.24)."""

_DTMF_LOW_DBFS = -16.0
"""The level of a digit's low tone: about -10 dBm0, in the middle of what receivers take (ITU-T Q.24, Annex A)."""

_DTMF_HIGH_DBFS = -14.0
"""The level of a digit's high tone: 2 dB above the low one, as telephones send it because lines dull the highs, and
within the 4 dB of difference that receivers allow (ITU-T Q.24, Annex A)."""

_ROWS = (697, 770, 852, 941)
_COLUMNS = (1209, 1336, 1477, 1633)

DTMF_FREQUENCIES: dict[str, tuple[int, int]] = {
    digit: (low, high)
    for low, keys in zip(_ROWS, ("123A", "456B", "789C", "*0#D"), strict=True)
    for high, digit in zip(_COLUMNS, keys, strict=True)
}
"""The low and the high tone of each digit, in hertz (ITU-T Q.23)."""

_PAUSES_MS = {"w": 500, "W": 1000}
"""What may stand between digits, in milliseconds of silence (plivo-protocol.md, 5.3 and 7.3)."""


def _sum(parts: Sequence[tuple[float, float]], ms: float, rate: int) -> bytes:
    """The sum of sines, each a frequency in hertz and an RMS in dBFS, with smooth edges."""
    count = _samples(ms, rate)
    at = np.arange(count) / rate
    amplitudes = [np.sqrt(2) * FULL_SCALE * 10 ** (dbfs / 20) for _, dbfs in parts]
    if sum(amplitudes) > FULL_SCALE + 0.5:
        raise UsageError(f"tones of {', '.join(f'{dbfs:g}' for _, dbfs in parts)} dBFS together exceed full scale")
    wave: npt.NDArray[np.float64] = np.zeros(count)
    for (frequency, _), amplitude in zip(parts, amplitudes, strict=True):
        if not 0 < frequency < rate / 2:
            raise UsageError(f"a tone of {frequency:g} Hz does not exist at {rate} samples a second")
        wave += amplitude * np.sin(2 * np.pi * frequency * at)
    edge = min(_samples(_EDGE_MS, rate), count // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / max(edge, 1))
    wave[:edge] *= rise
    wave[count - edge :] *= rise[::-1]
    return from_floats(wave)


def _samples(ms: float, rate: int) -> int:
    if ms < 0 or rate <= 0:
        raise UsageError(f"{ms:g} ms at {rate} samples a second is not a length of audio")
    return int(ms * rate / 1000)


def tone(freqs: float | Sequence[float], ms: float, rate: int, level_dbfs: float = -16.0) -> bytes:
    """A steady tone, of one frequency or of several at equal strength, each starting at phase 0, with edges of 3 ms.

    Args:
        freqs: Hertz, one or several.
        ms: Its length, edges included, in milliseconds; rounded down to whole samples.
        rate: Samples a second.
        level_dbfs: The RMS of the whole sum, away from the edges.

    Raises:
        UsageError: No frequency, one not between 0 and half the rate, a negative length, or more than full scale.
    """
    parts = [float(freqs)] if isinstance(freqs, int | float) else [float(frequency) for frequency in freqs]
    if not parts:
        raise UsageError("a tone needs at least one frequency")
    each = level_dbfs - 10 * float(np.log10(len(parts)))
    return _sum([(frequency, each) for frequency in parts], ms, rate)


def dtmf(digits: str, *, rate: int = 8000, tone_ms: float = 100, gap_ms: float = 100) -> bytes:
    """Digits as a telephone keypad sounds them, each followed by a gap: low tone at -16 dBFS, high tone at -14.

    Args:
        digits: Any of `0-9`, `*`, `#`, `A-D`; `w` is half a second of silence and `W` a whole one.
        rate: Samples a second.
        tone_ms: The length of each digit, in milliseconds; receivers need 40 at least (ITU-T Q.24).
        gap_ms: The silence after each digit, in milliseconds; the same 40 apply.

    Raises:
        UsageError: A character that is no digit and no pause, or a length that is not one.
    """
    gap = bytes(2 * _samples(gap_ms, rate))
    sounds: dict[str, bytes] = {}
    for digit in dict.fromkeys(digits):
        if digit in _PAUSES_MS:
            sounds[digit] = bytes(2 * _samples(_PAUSES_MS[digit], rate))
        elif digit in DTMF_FREQUENCIES:
            low, high = DTMF_FREQUENCIES[digit]
            sounds[digit] = _sum([(low, _DTMF_LOW_DBFS), (high, _DTMF_HIGH_DBFS)], tone_ms, rate) + gap
        else:
            raise UsageError(f"{digit!r} is no DTMF digit: they are 0-9, *, #, A-D, and w or W for a pause")
    return b"".join(sounds[digit] for digit in digits)


def beep(rate: int = 8000, *, ms: float = 200, freq: float = 1000.0, level_dbfs: float = -20.0) -> bytes:
    """The short single tone that announces a recording.

    Args:
        rate: Samples a second.
        ms: Its length in milliseconds.
        freq: Its pitch in hertz.
        level_dbfs: Its RMS.

    Raises:
        UsageError: As of `tone`.
    """
    return tone(freq, ms, rate, level_dbfs)


_RINGING_FREQUENCIES = (440, 480)
_RINGING_MS, _RINGING_PAUSE_MS = 2000, 4000
_RINGING_DBFS = -22.2
"""Each of the two at -19 dBm0, as North American exchanges send them; 0 dBm0 is at -6.18 dBFS."""


@cache
def ringback(rate: int = 8000) -> bytes:
    """What a caller hears while it rings at the other end, once: 440 and 480 Hz for 2 s, and 4 s of silence.

    The North American tone (ITU-T E.180, supplement 2).

    Args:
        rate: Samples a second.
    """
    return tone(_RINGING_FREQUENCIES, _RINGING_MS, rate, _RINGING_DBFS) + bytes(2 * _samples(_RINGING_PAUSE_MS, rate))
