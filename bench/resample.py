"""What resampling 20 ms costs, delays and lets through, next to audioop.ratecv."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bothway.audio.native import audioop
from bothway.audio.resample import Resampler
from bothway.audio.tones import tone

RATIOS = (
    (8000, 16000), (16000, 8000), (8000, 24000), (24000, 8000), (8000, 48000), (48000, 8000),
    (16000, 24000), (24000, 16000), (16000, 48000), (48000, 16000), (24000, 48000), (48000, 24000),
)  # fmt: skip
REPEATS = 9
FRAMES = 1000


def us_per_frame(process: Callable[[bytes], object], frame: bytes) -> float:
    """The best of several runs, in microseconds: what else the machine does only ever adds."""
    runs = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(FRAMES):
            process(frame)
        runs.append((time.perf_counter() - start) / FRAMES * 1e6)
    return min(runs)


def ratecv(rate_in: int, rate_out: int) -> Callable[[bytes], object]:
    """The yardstick: C code that interpolates between two samples, and filters nothing."""
    state = None

    def process(frame: bytes) -> bytes:
        nonlocal state
        converted, state = audioop.ratecv(frame, 2, 1, rate_in, rate_out, state)
        return converted

    return process


def spectrum(l16: bytes, rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Frequencies in hertz, and levels in dB to a sine of full scale, of the steady part."""
    samples = np.frombuffer(l16, "<i2")[rate // 10 : -rate // 10].astype(np.float64) / 32768
    window = np.kaiser(samples.size, 14)
    lines = np.abs(np.fft.rfft(samples * window)) / window.sum() * 2
    frequencies = np.asarray(np.fft.rfftfreq(samples.size, 1 / rate), np.float64)
    return frequencies, np.asarray(20 * np.log10(lines + 1e-12), np.float64)


def through(rate_in: int, rate_out: int, hertz: float) -> tuple[float, float]:
    """Of a tone 1 dB below full scale: its gain, and the strongest line that it makes elsewhere, both in dB."""
    resampler = Resampler(rate_in, rate_out)
    l16 = resampler.process(tone(hertz, 1000, rate_in, -4.01))
    frequencies, levels = spectrum(l16, rate_out)
    own = np.abs(frequencies - hertz) < 30
    gain = float(levels[own].max()) + 1 if own.any() else -np.inf
    return gain, float(levels[~own].max()) + 1


def stopband(rate_in: int, rate_out: int) -> float:
    """The worst line, in dB, that tones make where there should be none: images of speech, aliases of what is above."""
    nyquist = min(rate_in, rate_out) / 2
    passed = [through(rate_in, rate_out, nyquist * part)[1] for part in (0.1, 0.35, 0.6, 0.85, 0.9)]
    top = rate_in / 2
    refused = [
        max(through(rate_in, rate_out, float(hertz))) for hertz in np.arange(nyquist * 1.1, top, nyquist * 0.093)
    ]
    return max(passed + refused)


def main(arguments: Sequence[str] = ()) -> None:
    argparse.ArgumentParser(prog="python -m bench resample", description=__doc__).parse_args(arguments)
    print("rates          µs/frame  × ratecv  delay ms  stopband dB  gain dB at 0.75 and 0.85 of Nyquist")
    for rate_in, rate_out in RATIOS:
        frame = tone(1000, 20, rate_in)
        resampler = Resampler(rate_in, rate_out)
        ours = us_per_frame(resampler.process, frame)
        theirs = us_per_frame(ratecv(rate_in, rate_out), frame)
        nyquist = min(rate_in, rate_out) / 2
        flat, edge = (through(rate_in, rate_out, nyquist * part)[0] for part in (0.75, 0.85))
        print(
            f"{rate_in:>5} → {rate_out:<5}  {ours:8.1f}  {ours / theirs:8.2f}  {resampler.delay_ms:8.2f}"
            f"  {stopband(rate_in, rate_out):11.1f}  {flat:+.3f} {edge:+.3f}"
        )
