"""The beep of an answering machine, found in the audio of a line.

A beep is one steady tone and then silence. Each frame is asked for the sine that explains it best, and how much of the
frame that is; frames of the same sine make a tone. What tells a beep from other tones is how long it lasts and what is
around it: digits have two tones, a call's progress tones have two as well or repeat (ITU-T E.180), a modem's goes on
for seconds, and speech holds no pitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, hypot, pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bothway.audio.format import FRAME_MS
from bothway.audio.native import audioop
from bothway.errors import UsageError

__all__ = ["BEEP_RATES", "BeepReader", "BeepSettings", "HeardBeep"]

BEEP_RATES = (8000, 16000, 24000)
"""The rates, in samples a second, that a `BeepReader` takes."""

_RATE = 8000
_SIZE = _RATE * FRAME_MS // 1000
_LOWEST_HZ, _HIGHEST_HZ = 350.0, 2500.0

# What one sine must explain of a frame: 97 % are left by noise 15 dB under it, 91 % by 10 dB. Two tones of a digit
# leave 86 % at most, two of ringing (40 Hz apart) less than that in every second frame.
_TONAL = 0.88
# How far frames of one tone may differ: what the measure is off by in noise, and what a voice always exceeds.
_SAME_PITCH = 0.008
_SAME_PITCH_HZ = 5.0
_SAME_STRENGTH = 1.4
# After a beep it is silent where the RMS is this part of the beep's amplitude (9 dB down), whatever noise the line has.
_SILENT_PART = 0.25

# Longer tones are a modem's or a fax's: 2100 Hz for 2.6 s at least (ITU-T V.25).
_LONGEST_MS = 2500.0
# Where one tone alone can be a call's progress, and how long at most it is then taken for a beep: ringing sounds for
# 0.67 s at least, and busy is silent for at most one and a half times as long as it sounds (ITU-T E.180, 5 to 7).
_PROGRESS_HZ = (340.0, 500.0)
_PROGRESS_LONGEST_MS = 600.0
_PROGRESS_SILENCE = 1.5

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BeepSettings:
    """What counts as a beep; the defaults are those of `<Wait beep>` (plivo-protocol.md, 7.3, which does not say more).

    Attributes:
        duration: How long a beep lasts at least, in milliseconds; 10 less are still enough.
        inter_silence: How long it must be silent after a beep before the beep is reported, in milliseconds.
        intra_silence: Tones of one pitch with less silence between them are no beeps but a cadence, in milliseconds:
            after the first of them none is reported.
        threshold: The RMS, of 32768, from which a frame is not silent.

    Raises:
        UsageError: One of them is not over 0, or `duration` is below 60.
    """

    duration: int = 300
    inter_silence: int = 50
    intra_silence: int = 500
    threshold: int = 256

    def __post_init__(self) -> None:
        if min(self.duration, self.inter_silence, self.intra_silence, self.threshold) <= 0 or self.duration < 60:
            raise UsageError(f"{self} finds no beep: all must be over 0, and the duration 60 ms at least")

    @staticmethod
    def parse(text: str) -> BeepSettings:
        """The settings in an attribute such as `duration=300,threshold=256`; what it does not name has its default.

        Raises:
            UsageError: An unknown name, or a value that is no such number.
        """
        given: dict[str, int] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = item.partition("=")
            if name.strip() not in BeepSettings.__dataclass_fields__ or not value.strip().isdecimal():
                raise UsageError(f"{item[:60]!r} is no setting of a beep: {_NAMES} have whole numbers")
            given[name.strip()] = int(value)
        return BeepSettings(**given)


_NAMES = ", ".join(BeepSettings.__dataclass_fields__)


class HeardBeep(NamedTuple):
    """A beep that was heard.

    Attributes:
        start_ms: When it began, in milliseconds of the audio fed; exact to some 5 ms.
        end_ms: When it ended, likewise.
        hertz: Its pitch.
    """

    start_ms: float
    end_ms: float
    hertz: float


@dataclass
class _Tone:
    """A tone in the making: frames of one pitch and one strength."""

    start_ms: float
    end_ms: float
    hertz: float
    strength: float
    frames: int = 1

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.start_ms

    def goes_on(self, hertz: float, strength: float) -> bool:
        """Whether a frame belongs to it."""
        return (
            abs(hertz - self.hertz) <= max(_SAME_PITCH * self.hertz, _SAME_PITCH_HZ)
            and self.strength / _SAME_STRENGTH <= strength <= self.strength * _SAME_STRENGTH
        )

    def extend(self, hertz: float, strength: float) -> None:
        """Take one more frame."""
        self.frames += 1
        self.end_ms += FRAME_MS
        self.hertz += (hertz - self.hertz) / self.frames
        self.strength += (strength - self.strength) / self.frames


@cache
def _window() -> _Floats:
    return np.hanning(_SIZE + 1)[:-1]


_AT = np.arange(_SIZE) * (2 * pi / _RATE)


def _strength(samples: _Floats, hertz: float) -> float:
    """The amplitude of the sine of this pitch in a frame."""
    turns = _AT * hertz
    return hypot(float(samples @ np.cos(turns)), float(samples @ np.sin(turns))) * 2 / _SIZE


class BeepReader:
    """Finds beeps on one line.

    It hears tones from 350 to 2500 Hz, through G.711 and in white noise 12 dB under them. A beep is reported once it
    has been silent for `inter_silence`; one whose pitch could be a busy tone's (340 to 500 Hz), when it has been silent
    for so long that no busy tone can go on.

    Args:
        rate: Samples a second, one of `BEEP_RATES`.
        settings: What counts as a beep.

    Raises:
        UsageError: Another rate.
    """

    __slots__ = ("_before", "_ended", "_frame_bytes", "_last", "_now_ms", "_rate", "_settings", "_silent", "_tone")

    def __init__(self, rate: int = 8000, settings: BeepSettings | None = None) -> None:
        if rate not in BEEP_RATES:
            raise UsageError(f"beeps are read at 8000, 16000 or 24000 samples a second, not at {rate}")
        self._rate = rate
        self._settings = settings or BeepSettings()
        self._frame_bytes = rate * FRAME_MS // 1000 * 2
        self._now_ms = 0.0
        self._before: _Floats | None = None
        self._tone: _Tone | None = None
        # The tone that waits for silence behind it, and how many silent frames it has had.
        self._ended: _Tone | None = None
        self._silent = 0
        # The last tone of any length, for cadences.
        self._last: _Tone | None = None

    def feed(self, frame: bytes) -> HeardBeep | None:
        """Take one frame, and give the beep that it makes certain.

        Args:
            frame: 20 ms of L16, silence included: it is what time is counted by.

        Raises:
            UsageError: `frame` is not 20 ms long.
        """
        if len(frame) != self._frame_bytes:
            raise UsageError(f"a frame of 20 ms at {self._rate} samples a second has {self._frame_bytes} bytes of L16")
        rms = audioop.rms(frame, 2)
        heard = None
        if rms < self._settings.threshold:
            if self._tone is not None:
                self._end_tone(None)
            heard = self._silence()
            self._before = None
        else:
            heard = self._sound(frame, rms)
        self._now_ms += FRAME_MS
        return heard

    def _sound(self, frame: bytes, rms: int) -> HeardBeep | None:
        samples = np.frombuffer(frame, "<i2").astype(np.float64)
        if self._rate != _RATE:
            samples = samples.reshape(-1, self._rate // _RATE).mean(axis=1)
        heard = None
        found = _sine(samples)
        if found is None:
            if self._tone is not None:
                # The frame in which it ends holds a part of it.
                self._end_tone(samples)
            elif self._ended is not None:
                if rms < _SILENT_PART * self._ended.strength:
                    heard = self._silence()
                else:
                    self._ended = None
        elif self._tone is not None and self._tone.goes_on(*found):
            self._tone.extend(*found)
        else:
            if self._tone is not None:
                self._end_tone(None)
            # Something sounds: what ended before it was followed by no silence.
            self._ended = None
            self._tone = self._begin_tone(*found)
        self._before = samples
        return heard

    def _begin_tone(self, hertz: float, strength: float) -> _Tone:
        part = min(_strength(self._before, hertz) / strength, 1.0) if self._before is not None else 0.0
        return _Tone(self._now_ms - part * FRAME_MS, self._now_ms + FRAME_MS, hertz, strength)

    def _end_tone(self, samples: _Floats | None) -> None:
        """The tone is over; `samples` are the frame that may hold its last part."""
        tone = self._tone
        assert tone is not None
        self._tone = None
        if samples is not None:
            tone.end_ms += FRAME_MS * min(_strength(samples, tone.hertz) / tone.strength, 1.0)
        least, last = self._settings.duration - FRAME_MS / 2, self._last
        if tone.length_ms < min(least, 100.0):
            return
        self._last = tone
        if not least <= tone.length_ms <= _LONGEST_MS or not _LOWEST_HZ <= tone.hertz <= _HIGHEST_HZ:
            return
        if _is_progress(tone) and tone.length_ms > _PROGRESS_LONGEST_MS:
            return
        if last is not None:
            gap = tone.start_ms - last.end_ms
            if gap < (self._silence_wanted(last) if last.goes_on(tone.hertz, last.strength) else FRAME_MS):
                return
        self._ended = tone
        self._silent = 0

    def _silence_wanted(self, tone: _Tone) -> float:
        """How long it must be silent after a tone for the next of its pitch to be another, in milliseconds."""
        wanted = float(self._settings.intra_silence)
        return max(wanted, _PROGRESS_SILENCE * tone.length_ms) if _is_progress(tone) else wanted

    def _silence(self) -> HeardBeep | None:
        tone = self._ended
        if tone is None:
            return None
        self._silent += 1
        wanted = self._silence_wanted(tone) if _is_progress(tone) else self._settings.inter_silence
        if self._silent < ceil(wanted / FRAME_MS):
            return None
        self._ended = None
        return HeardBeep(tone.start_ms, tone.end_ms, tone.hertz)


def _is_progress(tone: _Tone) -> bool:
    return _PROGRESS_HZ[0] <= tone.hertz <= _PROGRESS_HZ[1]


def _sine(samples: _Floats) -> tuple[float, float] | None:
    """The pitch and the amplitude of the one sine that a frame consists of, if it does."""
    spectrum = np.abs(np.fft.rfft(samples * _window()))
    top = int(spectrum.argmax())
    if not 0 < top < _SIZE // 2:
        return None
    left, middle, right = (float(level) for level in spectrum[top - 1 : top + 2])
    # The spectrum of a sine under a Hann window: the ratio of two neighbours tells where between them it is.
    side = right if right >= left else -left
    ratio = abs(side) / middle
    bins = top + (1 if side > 0 else -1) * (2 * ratio - 1) / (ratio + 1)
    hertz = bins * _RATE / _SIZE
    strength = _strength(samples, hertz)
    if strength * strength * _SIZE / 2 < _TONAL * float(samples @ samples):
        return None
    return hertz, strength
