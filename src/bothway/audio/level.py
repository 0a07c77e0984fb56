"""How loud audio is, and whether something is sounding.

dBFS here counts from an RMS of 32768, so a sine of full scale is at -3.01 dBFS. That is the dBov of ITU-T G.100.1;
0 dBm0 stands at -6.18 dBFS for µ-law and at -6.15 for A-law.
"""

from __future__ import annotations

from math import ceil, log10

import numpy as np

from bothway.audio.format import FRAME_MS
from bothway.audio.l16 import FULL_SCALE, check_l16, to_samples
from bothway.audio.native import audioop
from bothway.errors import UsageError

__all__ = ["FLOOR_DBFS", "START_MS", "STOP_MS", "THRESHOLD_DBFS", "SilenceGate", "SpeechGate", "peak", "rms_dbfs"]

FLOOR_DBFS = -96.0
"""What silence is called, in dBFS: the range of 16 bits, below anything but zeros (6.02 dB a bit)."""

THRESHOLD_DBFS = -42.0
"""The level from which a frame counts as sounding: active speech on a line lies near -26 dBov (the level by ITU-T P.56
that test speech is set to), its soft syllables 15 dB lower, the noise of a quiet line under -60."""

START_MS = 40
"""How long it must be loud before it counts as speech: longer than a click, shorter than a short word's vowel."""

STOP_MS = 300
"""How long it must be quiet before speech counts as over: longer than the closure of a stop consonant or the gap
between two words (up to some 200 ms), shorter than the pause between two utterances."""


def rms_dbfs(l16: bytes) -> float:
    """The root mean square of all samples, in dBFS: at most 0; `FLOOR_DBFS` for silence and for no samples.

    Raises:
        UsageError: `l16` is not a whole number of samples.
    """
    samples = to_samples(l16).astype(np.float64)
    energy = float(samples @ samples)
    if not energy:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 10 * log10(energy / samples.size / FULL_SCALE**2))


def peak(l16: bytes) -> int:
    """The largest magnitude of any sample, 0 (also of no samples) to 32768.

    Raises:
        UsageError: `l16` is not a whole number of samples.
    """
    check_l16(l16)
    return audioop.max(l16, 2)


class SpeechGate:
    """Says of a stream, frame by frame, whether something is sounding, with hysteresis in time.

    It opens with the frame that completes `start_ms` of unbroken loud frames, and closes with the one that completes
    `stop_ms` of unbroken quiet ones; times round up to whole frames. It goes by energy alone and knows no speech from a
    tone: enough to tell an app that talks from one that does not, and to cut a clean recording into utterances.

    Args:
        threshold_dbfs: The level from which a frame is loud.
        start_ms: How long it must be loud to open, in milliseconds.
        stop_ms: How long it must be quiet to close, in milliseconds.

    Raises:
        UsageError: A time of less than one millisecond.
    """

    __slots__ = ("_against", "_start_frames", "_stop_frames", "_threshold", "sounding")

    def __init__(
        self, *, threshold_dbfs: float = THRESHOLD_DBFS, start_ms: int = START_MS, stop_ms: int = STOP_MS
    ) -> None:
        if start_ms < 1 or stop_ms < 1:
            raise UsageError(f"a speech gate needs times over 0, not {start_ms} and {stop_ms} ms")
        self._threshold = threshold_dbfs
        self._start_frames = ceil(start_ms / FRAME_MS)
        self._stop_frames = ceil(stop_ms / FRAME_MS)
        self.reset()

    def reset(self) -> None:
        """Close, and forget everything heard so far."""
        self.sounding = False
        self._against = 0

    def feed(self, frame: bytes) -> bool:
        """Take one frame (20 ms of L16 at any rate), and say whether something is sounding now.

        Raises:
            UsageError: `frame` is not a whole number of samples.
        """
        return self.count(loud=rms_dbfs(frame) >= self._threshold)

    def count(self, *, loud: bool) -> bool:
        """Take one frame that is known to be loud or quiet, as digital silence is, without measuring it."""
        if loud == self.sounding:
            self._against = 0
            return self.sounding
        self._against += 1
        if self._against >= (self._stop_frames if self.sounding else self._start_frames):
            self.sounding = not self.sounding
            self._against = 0
        return self.sounding


class SilenceGate:
    """Says of a stream, frame by frame, whether it has been silent for long enough: `<Wait silence="true">`.

    Silence counts from the first frame fed. It is broken by `START_MS` of unbroken loud frames; a click is part of it.

    Args:
        min_ms: How long it must be silent, in milliseconds; rounded up to whole frames.
        threshold_dbfs: The level from which a frame is loud.

    Raises:
        UsageError: A time of less than one millisecond.
    """

    __slots__ = ("_gate", "_left", "_wanted")

    def __init__(self, min_ms: int, *, threshold_dbfs: float = THRESHOLD_DBFS) -> None:
        if min_ms < 1:
            raise UsageError(f"a silence of {min_ms} ms is none")
        # It closes with the first quiet frame: how long the silence lasts is counted here.
        self._gate = SpeechGate(threshold_dbfs=threshold_dbfs, stop_ms=FRAME_MS)
        self._wanted = self._left = ceil(min_ms / FRAME_MS)

    def feed(self, frame: bytes) -> bool:
        """Take one frame (20 ms of L16 at any rate), and say whether it has been silent for long enough by now.

        Raises:
            UsageError: `frame` is not a whole number of samples.
        """
        self._left = self._wanted if self._gate.feed(frame) else max(0, self._left - 1)
        return not self._left
