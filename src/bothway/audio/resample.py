"""Changing the sample rate: of a live stream, with two milliseconds of delay, and of a whole clip.

Both filters are windowed sincs whose taps are multiples of 2**-24. A tap times a 16-bit sample is then a float64
without rounding, and so is every partial sum: the result does not depend on the order in which BLAS adds, and hence not
on how the input was split.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

from bothway.audio.l16 import from_floats, to_samples
from bothway.errors import UsageError

__all__ = ["CLIP_RATES", "RATES", "Resampler", "resample_clip"]

RATES = (8000, 16000, 24000, 48000)
"""The rates, in samples a second, that a `Resampler` takes and gives."""

CLIP_RATES = range(1000, 384_001)
"""The rates, in samples a second, that `resample_clip` takes and gives."""

# 2 ms where one side is at 8 kHz. At 0.955 of the lower Nyquist frequency the cut-off leaves -0.1 dB at 3.4 kHz,
# 0.002 dB below 3 kHz, and puts what lies above 4.4 kHz under -66 dB.
_HALF_WIDTH = 16
_CUTOFF = 0.955
_BETA = 6.5

# A clip has no delay to mind: twice the width, and the stopband at -90 dB.
_CLIP_HALF_WIDTH = 32
_CLIP_CUTOFF = 0.95
_CLIP_BETA = 9.0
# A clip's filter is kept for the next clip of the same rates if it has no more taps than this, half a megabyte. Those
# between all rates in use are smaller (22050 to 16000 Hz: 28 800); 47999 to 8000 Hz, which a stranger's file may ask
# for, would take three million.
_CLIP_KEPT_TAPS = 65_536

# How many groups (see `Resampler`) one row of the matrix product makes: fewer rows are fewer calls of the inner loop,
# longer rows are more multiplications by zero. 16 was the best of 4 to 40 at every ratio.
_ROW_GROUPS = 16

_Taps = npt.NDArray[np.float64]


def _quantised(taps: _Taps) -> _Taps:
    """The taps as multiples of 2**-24, small enough (with 16-bit samples) for exact sums in float64."""
    return np.asarray(np.rint(taps * 2.0**24) / 2.0**24, np.float64)


def _kernel(at: _Taps, half_width: float, cutoff: float, beta: float) -> _Taps:
    """A Kaiser-windowed sinc at the times `at`, in samples of the lower rate; 0 from `half_width` on."""
    inside = np.sqrt(np.maximum(0.0, 1.0 - (at / half_width) ** 2))
    window = np.where(np.abs(at) <= half_width, np.i0(beta * inside) / np.i0(beta), 0.0)
    return np.asarray(np.sinc(cutoff * at) * window, np.float64)


def _rows(samples: _Taps, count: int, width: int, step: int, start: int = 0) -> _Taps:
    """`count` overlapping windows of `width` samples, `step` apart, as a view of shape (count, width)."""
    size = samples.itemsize
    return np.ndarray((count, width), np.float64, samples, start * size, (step * size, size))


@dataclass(frozen=True)
class _Filter:
    """The polyphase filter from one rate to another, laid out for a matrix product.

    Attributes:
        up: Output samples in a group.
        down: Input samples in a group.
        history: Input samples before a group that its outputs depend on.
        matrix: Shape (history + 16 groups of input, 16 groups of output).
        delay: The filter's delay in output samples.
    """

    up: int
    down: int
    history: int
    matrix: _Taps
    delay: int


@cache
def _filter(rate_in: int, rate_out: int) -> _Filter:
    common = gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    step = max(up, down)
    reach = _HALF_WIDTH * step if step > 1 else 0
    # Times count in samples at the common multiple of both rates: input n is at n * up, output k at k * down.
    taps = _kernel(np.arange(-reach, reach + 1) / step, _HALF_WIDTH, _CUTOFF, _BETA)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    taps = _quantised(taps)
    history = 2 * reach // up
    inputs = np.arange(-history, _ROW_GROUPS * down)[:, None]
    outputs = np.arange(_ROW_GROUPS * up)[None, :]
    age = outputs * down - inputs * up
    matrix = np.where((age >= 0) & (age <= 2 * reach), taps[np.clip(age, 0, 2 * reach)], 0.0)
    return _Filter(up, down, history, matrix, reach // down)


class Resampler:
    """Changes the rate of a live L16 stream, chunk by chunk: a polyphase FIR, linear in phase.

    Samples are taken in groups, the smallest whole numbers in the ratio of the rates: 1 in and 2 out from 8 to 16 kHz,
    3 in and 2 out from 24 to 16. After n samples in, exactly `n // group_in * group_out` have come out (2n from 8 to 16
    kHz, `n // 3` from 24 to 8, and whole frames for whole frames everywhere); a group begun waits for its end. `flush`
    gives the rest: after it, `ceil(n * rate_out / rate_in) + delay_samples` have come out. How the input is split never
    changes a byte.

    Between different rates the gain is within 0.01 dB up to 0.75 of the lower Nyquist frequency and -0.1 dB at 0.85 of
    it (3 and 3.4 kHz where one side is 8 kHz); what lies beyond 1.1 of it (4.4 kHz), images and aliases alike, is below
    -65 dB. A constant passes unchanged, and so does everything between equal rates. Overshoot saturates.

    Args:
        rate_in: Samples a second that come in, one of `RATES`.
        rate_out: Samples a second that go out, one of `RATES`.

    Raises:
        UsageError: A rate is none of `RATES`.
    """

    __slots__ = ("_delay_ms", "_filter", "_held", "_started")

    def __init__(self, rate_in: int, rate_out: int) -> None:
        for rate in (rate_in, rate_out):
            if rate not in RATES:
                known = ", ".join(map(str, RATES))
                raise UsageError(f"a stream of {rate} samples a second cannot be resampled: the rates are {known}")
        self._filter = _filter(rate_in, rate_out)
        self._delay_ms = self._filter.delay * 1000 / rate_out
        self.reset()

    @property
    def delay_ms(self) -> float:
        """How much later audio comes out than it went in, in milliseconds: 16 samples at the lower rate."""
        return self._delay_ms

    @property
    def delay_samples(self) -> int:
        """The same in output samples, of which it is always a whole number."""
        return self._filter.delay

    def reset(self) -> None:
        """Forget everything heard so far, as if new."""
        self._held: _Taps = np.zeros(self._filter.history)
        self._started = False

    def process(self, l16: bytes) -> bytes:
        """The output that `l16`, any number of samples, completes.

        Raises:
            UsageError: `l16` is not a whole number of samples; nothing was taken.
        """
        samples = to_samples(l16)
        if not samples.size:
            return b""
        self._started = True
        return from_floats(self._advance(samples))

    def flush(self) -> bytes:
        """The audio that the filter still holds (`delay_ms` of it, and a group begun), after which it is as if new.

        What follows the last sample is taken for silence. Nothing comes of a resampler that heard nothing.
        """
        if not self._started:
            return b""
        up, down = self._filter.up, self._filter.down
        begun = self._held.size - self._filter.history
        wanted = -(-begun * up // down) + self._filter.delay
        silence = np.zeros(-(-wanted // up) * down - begun, np.int16)
        tail = self._advance(silence)[:wanted]
        self.reset()
        return from_floats(tail)

    def _advance(self, samples: npt.NDArray[np.int16]) -> _Taps:
        fir = self._filter
        known = self._held.size + samples.size
        groups = (known - fir.history) // fir.down
        count = -(-groups // _ROW_GROUPS)
        step = _ROW_GROUPS * fir.down
        # The last row may want more than there is. Zeros stand in: what depends on them is cut off below.
        line = np.zeros(max(known, fir.history + count * step))
        line[: self._held.size] = self._held
        line[self._held.size : known] = samples
        self._held = line[groups * fir.down : known].copy()
        rows = np.ascontiguousarray(_rows(line, count, fir.history + step, step))
        return np.asarray((rows @ fir.matrix).ravel()[: groups * fir.up], np.float64)


def _clip_reach(up: int, down: int) -> int:
    """How many input samples on each side a sample of the output depends on."""
    return ceil(_CLIP_HALF_WIDTH * max(1.0, down / up))


def _clip_taps(up: int, down: int, phase: int) -> _Taps:
    """The taps that make every `up`th sample of the output, from `phase` on."""
    reach = _clip_reach(up, down)
    late = phase * down % up / up
    at = np.asarray((np.arange(1 - reach, reach + 1) - late) * min(1.0, up / down), np.float64)
    taps = _kernel(at, _CLIP_HALF_WIDTH, _CLIP_CUTOFF, _CLIP_BETA)
    return _quantised(taps / taps.sum())


@lru_cache(maxsize=8)
def _clip_filter(up: int, down: int) -> tuple[_Taps, ...]:
    return tuple(_clip_taps(up, down, phase) for phase in range(up))


def resample_clip(l16: bytes, rate_in: int, rate_out: int) -> bytes:
    """A whole clip at another rate, aligned with the original: `ceil(n * rate_out / rate_in)` samples for its n.

    The filter is a windowed sinc of 32 samples of the lower rate each way: flat within 0.01 dB up to 0.85 of the lower
    Nyquist frequency, below -80 dB from 1.05 of it on. Before and after the clip is silence. Saturates.

    Args:
        l16: The clip.
        rate_in: Its samples a second, in `CLIP_RATES`.
        rate_out: Those wanted, in `CLIP_RATES`.

    Raises:
        UsageError: `l16` is not a whole number of samples, or a rate is outside `CLIP_RATES`.
    """
    for rate in (rate_in, rate_out):
        if rate not in CLIP_RATES:
            raise UsageError(f"a rate of {rate} is outside {CLIP_RATES[0]} to {CLIP_RATES[-1]} samples a second")
    samples = to_samples(l16)
    if rate_in == rate_out or not samples.size:
        return l16
    common = gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    total = -(-samples.size * up // down)
    reach = _clip_reach(up, down)
    kept = _clip_filter(up, down) if 2 * reach * up <= _CLIP_KEPT_TAPS else None
    line = np.zeros(samples.size + 2 * reach + down)
    line[reach : reach + samples.size] = samples
    result = np.empty(total)
    for phase in range(min(up, total)):
        taps = kept[phase] if kept is not None else _clip_taps(up, down, phase)
        rows = _rows(line, len(range(phase, total, up)), 2 * reach, down, phase * down // up + 1)
        np.einsum("ij,j->i", rows, taps, out=result[phase::up])
    return from_floats(result)
