"""DTMF digits found in the audio of a line, by the limits of ITU-T Q.24.

Most frames end at one of two cheap questions: is it loud enough, and do one low and one high tone have most of its
energy? A digit of 40 ms, wherever it lies, fills one whole frame, so a digit is never missed by them. Where both are
answered with yes, the 60 ms around the frame are looked at closely: how long the two tones sound, at which exact
pitches, how strong, and how little else there is. That is what keeps speech from being taken for digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import hypot, log10, pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bothway.audio.format import FRAME_MS
from bothway.audio.l16 import FULL_SCALE
from bothway.audio.native import audioop
from bothway.audio.tones import DTMF_FREQUENCIES
from bothway.errors import UsageError

__all__ = ["DTMF_RATES", "DigitReader", "HeardDigit"]

DTMF_RATES = (8000, 16000, 24000)
"""The rates, in samples a second, that a `DigitReader` takes."""

# 0 dBm0 is at -6.18 dBFS (see `bothway.audio.level`). Q.24 wants tones of -25 dBm heard, and lets -55 be lost; each is
# heard here down to -31 dBm, so that noise and an unlucky edge cost no digit.
_FAINTEST_TONE = FULL_SCALE * 10 ** ((-6.18 - 31) / 20)
_FAINTEST_FRAME = int(_FAINTEST_TONE)

# Q.24: 1.5 % off is a digit and 3.5 % off is none. The limit lies between.
_PITCH_TOLERANCE = 0.023
# Q.24, Annex A: the high tone may be 4 dB above the low one or 8 dB below it. Measuring in noise costs 1.5 dB.
_TWIST_DB = (-9.5, 5.5)

# What the two tones must have of a frame's energy to be worth a close look. A tone 1.5 % beside its nominal pitch shows
# 42 % of its own there (sinc² of half a cycle), and noise 10 dB under it takes 9 % more.
_WORTH_A_LOOK = 0.36
# And each alone, which with 8 dB of twist has 14 % of the tones' energy.
_EACH_TONE = 0.03
# What they must have at their exact pitches: 91 % is what noise at 10 dB leaves, and tones of 0 dBm each, which clip,
# have 93 %. Of speech, next to nothing comes near.
_PURITY = 0.85

# The close look goes in steps of 5 ms with windows of 10 ms, in which neighbouring pitches can still be told apart.
_STEP_MS = 5
_LOOK_RATE = 8000
_STEP = _LOOK_RATE * _STEP_MS // 1000
_WINDOW = 2 * _STEP
# How long both tones must sound: 40 ms with 3 ms of fade at both ends measure 34 or more, and a burst of 23 ms, which
# need not be heard (Q.24), at most 27.
_SOUNDING_MS = 30

# A digit lasts until a frame has less than this of its energy, in windows of 5 ms. An interruption of 10 ms leaves 38 %
# of the frame that it hits worst, or 15 % if its edges are soft, and a pause of 40 ms one frame that is empty.
_GONE = 0.12

_ROWS = tuple(sorted({low for low, _ in DTMF_FREQUENCIES.values()}))
_COLUMNS = tuple(sorted({high for _, high in DTMF_FREQUENCIES.values()}))
_DIGITS = {(_ROWS.index(low), _COLUMNS.index(high)): digit for digit, (low, high) in DTMF_FREQUENCIES.items()}

_Floats = npt.NDArray[np.float32]
_Doubles = npt.NDArray[np.float64]


class HeardDigit(NamedTuple):
    """A key that was pressed.

    Attributes:
        digit: One of `0-9`, `*`, `#`, `A-D`.
        start_ms: When its tones began, in milliseconds of the audio fed; exact to some 3 ms.
    """

    digit: str
    start_ms: float


def _tones(frequencies: Sequence[float], count: int, rate: int) -> _Doubles:
    """Cosine and sine of each frequency, side by side: shape (count, 2 a frequency)."""
    turns = 2 * pi * np.outer(np.arange(count) / rate, frequencies)
    return np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(count, -1)


@dataclass(frozen=True)
class _Shape:
    """What the quick questions need at one rate.

    Attributes:
        frame: Samples in a frame.
        step: Samples in 5 ms.
        bank: All eight tones over a frame, shape (frame, 16).
        steps: For each pair of a row and a column, their cosines and sines over 5 ms, shape (step, 4).
    """

    frame: int
    step: int
    bank: _Floats
    steps: dict[tuple[int, int], _Floats]


def _pitches(pair: tuple[int, int]) -> tuple[float, float]:
    return _ROWS[pair[0]], _COLUMNS[pair[1]]


@cache
def _shape(rate: int) -> _Shape:
    frame = rate * FRAME_MS // 1000
    step = rate * _STEP_MS // 1000
    return _Shape(
        frame,
        step,
        _tones((*_ROWS, *_COLUMNS), frame, rate).astype(np.float32),
        {pair: _tones(_pitches(pair), step, rate).astype(np.float32) for pair in _DIGITS},
    )


@cache
def _fit(pair: tuple[int, int]) -> _Doubles:
    """What gives the phasors of both tones in a window of the close look: shape (window, 4).

    It is a least-squares fit of both at once, so that neither leaks into the other.
    """
    return np.asarray(np.linalg.pinv(_tones(_pitches(pair), _WINDOW, _LOOK_RATE)).T, np.float64)


class DigitReader:
    """Finds the digits on one line, each once for a press of its key, however long it lasts.

    Digits are heard from 40 ms on, within 1.5 % of their pitch, each tone from 0 to -25 dBm, the high one at most 4 dB
    above and 8 dB below the low one, through G.711 and in white noise 10 dB under them; tones shorter than 23 ms, or
    3.5 % off, are none. 40 ms of pause make two presses of one key, 10 ms of interruption do not (ITU-T Q.24). What
    lies between those limits may go either way.

    A digit is reported at most 60 ms after its tones began. A frame takes 1 µs when it is quiet, about 6 when it is
    speech, and some 100 once a digit.

    Args:
        rate: Samples a second, one of `DTMF_RATES`.

    Raises:
        UsageError: Another rate.
    """

    __slots__ = (
        "_before",
        "_candidate",
        "_frame_bytes",
        "_frames",
        "_held",
        "_held_energy",
        "_last",
        "_rate",
        "_shape",
    )

    def __init__(self, rate: int = 8000) -> None:
        if rate not in DTMF_RATES:
            raise UsageError(f"digits are read at 8000, 16000 or 24000 samples a second, not at {rate}")
        self._rate = rate
        self._shape = _shape(rate)
        self._frame_bytes = 2 * self._shape.frame
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far; times count from 0 again."""
        self._frames = 0
        self._before = self._last = bytes(self._frame_bytes)
        # The row and the column of the frame before, if it is to be looked at closely.
        self._candidate: tuple[int, int] | None = None
        self._held: tuple[int, int] | None = None
        self._held_energy = 0.0

    def feed(self, frame: bytes) -> list[HeardDigit]:
        """Take one frame, and give the digits that it makes certain: none nearly always, never more than one.

        Args:
            frame: 20 ms of L16, silence included: it is what time is counted by.

        Raises:
            UsageError: `frame` is not 20 ms long.
        """
        if len(frame) != self._frame_bytes:
            raise UsageError(f"a frame of 20 ms at {self._rate} samples a second has {self._frame_bytes} bytes of L16")
        loud = audioop.rms(frame, 2) >= _FAINTEST_FRAME
        if not loud and self._candidate is None:
            self._held = None
            self._step(frame, None)
            return []
        if self._held is not None and not (loud and self._energy(frame, self._held) >= _GONE * self._held_energy):
            self._held = None
        heard = []
        if self._candidate is not None:
            digit = self._look(self._candidate, frame)
            if digit is not None:
                heard.append(digit)
        found = self._two_tones(frame) if loud else None
        self._step(frame, found if found != self._held else None)
        return heard

    def _step(self, frame: bytes, candidate: tuple[int, int] | None) -> None:
        self._before, self._last = self._last, frame
        self._candidate = candidate
        self._frames += 1

    def _two_tones(self, frame: bytes) -> tuple[int, int] | None:
        """The strongest row and column, if they have much of the frame's energy."""
        samples = np.frombuffer(frame, "<i2").astype(np.float32)
        parts = (samples @ self._shape.bank).tolist()
        powers = [parts[at] * parts[at] + parts[at + 1] * parts[at + 1] for at in range(0, 16, 2)]
        low, high = max(powers[:4]), max(powers[4:])
        # A sine over n samples has the power amplitude² n² / 4 here, and the energy amplitude² n / 2.
        whole = float(samples @ samples) * samples.size / 2
        if low + high < _WORTH_A_LOOK * whole or min(low, high) < _EACH_TONE * whole:
            return None
        return powers.index(low), powers.index(high, 4) - 4

    def _energy(self, frame: bytes, pair: tuple[int, int]) -> float:
        """The energy of both tones in a frame, whatever happens to their phases in between."""
        parts = np.frombuffer(frame, "<i2").astype(np.float32).reshape(-1, self._shape.step) @ self._shape.steps[pair]
        return float(np.vdot(parts, parts))

    def _look(self, pair: tuple[int, int], after: bytes) -> HeardDigit | None:
        """Look closely at the candidate's frame, with the one before it and the one after."""
        samples = np.frombuffer(self._before + self._last + after, "<i2").astype(np.float64)
        # At 8 kHz, where noise above the band of telephones counts less. The mean of neighbours is filter enough: a
        # digit's tones lose half a decibel.
        samples = samples.reshape(-1, self._rate // _LOOK_RATE).mean(axis=1)
        fits = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_STEP] @ _fit(pair)
        phasors = fits[:, 0::2] - 1j * fits[:, 1::2]
        strengths = np.abs(phasors)
        # 40 ms fill at least five windows.
        usual = np.sort(strengths, axis=0)[-4:].mean(axis=0)
        if usual.min() * 2**-0.5 < _FAINTEST_TONE:
            return None
        # How much of each window the tones fill.
        filled = np.minimum((strengths / usual).min(axis=1), 1.0)
        first, last = _run(filled >= 0.5, FRAME_MS // _STEP_MS + 1)
        if _STEP_MS * float(filled[max(first - 1, 0) : last + 2].sum()) < _SOUNDING_MS:
            return None
        pitches = [
            _pitch(phasors[first : last + 1, tone], nominal, _STEP_MS / 1000)
            for tone, nominal in enumerate(_pitches(pair))
        ]
        if any(
            abs(pitch / nominal - 1) > _PITCH_TOLERANCE for pitch, nominal in zip(pitches, _pitches(pair), strict=True)
        ):
            return None
        # The outermost windows may be half outside.
        if not _is_digit(samples[(first + 1) * _STEP : (last + 1) * _STEP], pitches):
            return None
        self._held = pair
        self._held_energy = self._energy(self._last, pair)
        return HeardDigit(_DIGITS[pair], (self._frames - 2) * FRAME_MS + _start_ms(filled, first))


def _is_digit(samples: _Doubles, pitches: Sequence[float]) -> bool:
    """Whether there is little but two tones of these pitches, and their strengths are a digit's."""
    basis = _tones(pitches, samples.size, _LOOK_RATE)
    by_basis = basis.T @ samples
    fit = np.linalg.solve(basis.T @ basis, by_basis)
    if float(fit @ by_basis) < _PURITY * float(samples @ samples):
        return False
    low, high = hypot(fit[0], fit[1]), hypot(fit[2], fit[3])
    return _TWIST_DB[0] <= 20 * log10(high / low) <= _TWIST_DB[1]


def _start_ms(filled: _Doubles, first: int) -> float:
    """Where in the look the tones begin, from how much of the two windows over that place they fill."""
    at_edge = float(filled[first])
    before = float(filled[first - 1]) if first else at_edge - 0.5
    return _STEP_MS * (first + 1.5 - at_edge - before)


def _run(sounding: npt.NDArray[np.bool_], at: int) -> tuple[int, int]:
    """The first and the last of the unbroken run around `at`; an empty one, if there is none."""
    if not sounding[at]:
        return at, at - 1
    first = last = at
    while first > 0 and sounding[first - 1]:
        first -= 1
    while last + 1 < sounding.size and sounding[last + 1]:
        last += 1
    return first, last


def _pitch(phasors: npt.NDArray[np.complex128], nominal: float, lag: float) -> float:
    """The pitch that phasors `lag` seconds apart, each counted from its own start, turn with.

    Between two of them a tone of the nominal pitch turns by `nominal * lag`, and one beside it by more or by less.
    """
    turn = np.vdot(phasors[:-1], phasors[1:]) * np.exp(-2j * pi * nominal * lag)
    return nominal + float(np.angle(turn)) / (2 * pi * lag)
