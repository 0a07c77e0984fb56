"""Words as tones, and the same words read back exactly: speech for machines, at the pace of speech.

A text lasts 60 ms a character, whitespace included. What stands between whitespace is a word; whitespace is silence,
and every other character sounds, at -20 dBFS:

| ms of a character | what sounds |
|---|---|
| 0 to 8 | in a word's first a sweep from 400 up to 3200 Hz, by which a reader finds it; in others the chord already |
| 8 to 60 | a chord of ten tones, one in each of ten bands of sixteen pitches: 1000/52 Hz apart, 308 to 3365 Hz |

A chord spells 40 bits, four a tone, the lowest band first and the highest bit first: the code point (21), whether it
ends the word (1), and a check (18). The check is of the whole word so far: the low bits of the CRC-32 of all its 22-bit
values, three bytes each. So nothing reads as a word but a word from its first character to its last, in one piece.
Pitches and times are the same at every rate.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from bothway.audio.l16 import FULL_SCALE, check_l16, from_floats
from bothway.audio.level import peak
from bothway.audio.resample import RATES
from bothway.errors import UsageError

__all__ = ["CHARACTER_MS", "TimedWord", "WordReader", "encode", "encode_pieces", "word_times"]

CHARACTER_MS = 60
"""How long a character lasts, in milliseconds: about the pace of speech (175 words a minute)."""

_SWEEP_MS = 8
_SWEEP_HZ = (400.0, 3200.0)
_CHORD_MS = CHARACTER_MS - _SWEEP_MS
_BANDS = 10
_BAND_TONES = 16
# A chord's Fourier transform has its tones on whole bins, 1000/52 Hz apart; bin 16 is the first above 300 Hz, where
# a telephone line begins to pass, and the last of 160 lies under 3400 Hz, where it ends.
_FIRST_BIN = 16
_BAND_BINS = _FIRST_BIN + _BAND_TONES * np.arange(_BANDS)
_AMPLITUDE = FULL_SCALE * 10 ** (-20 / 20) * 2**0.5
# Schroeder's phases keep the peaks of a sum of tones low: 10 to 13 dB above its RMS, whatever the chord.
_PHASES = np.exp(1j * np.pi * np.arange(_BANDS) ** 2 / _BANDS)
_EDGE_MS = 2

_CHECK_BITS = 18
_CHECK_MASK = (1 << _CHECK_BITS) - 1
# Words are cut to pieces of this many characters, so that the cache below stays under 24 MB at 24 kHz.
_PIECE = 16
_PIECES_KEPT = 512

# The reader's measures. They stand where hundreds of words in white noise were all read at 10 dB of signal to noise,
# and where half an hour of noise, speech, digits and tones never came as far as the check.
_QUIET = 16
"""No word is looked for where no sample is larger than this: a word's sweep is, up to 40 dB under its usual level."""
_SWEEP_LIKENESS = 0.3
"""The least squared correlation with the sweep that makes a place worth a look at the chord behind."""
_TONES_SHARE = 0.6
"""The least part of a chord's energy in band that its ten tones must have; white noise has 0.21."""
_SEEK_MS = 40
"""How much is searched at once. With the sweep it is less than a character: a word is found before it can end."""
_PART_MS = 4
_SPARE_MS = 0.5
"""What of a character's end is not waited for: the fade has left nothing there."""
_CUT_MS = 2.5
"""How much of a word's end may be missing: more than a resampler leaves behind when it is not flushed (2 ms)."""

_Array = npt.NDArray[np.float64]


class TimedWord(NamedTuple):
    """A word and when it sounds.

    Attributes:
        text: The word, without the whitespace around it.
        start_ms: Where its first sample is, in milliseconds.
        end_ms: The end of its last sample, in milliseconds.
    """

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class _Shape:
    """A character at one rate. Sizes are in samples; those named `read_` are of differences (see `WordReader`).

    Attributes:
        ms: A millisecond.
        lag: 0.125 ms.
        sweep: The sweep's length.
        chord: The chord's length after it.
        sweep_wave: The sweep.
        first: How the chord fades in and out in a word's first character, from the end of the sweep.
        later: How it does in the others, over the whole character.
        read_sweep: The sweep as the search wants it.
        read_first: `first` over the whole character, for a chord as strong as the one measured.
        read_later: `later` likewise.
    """

    ms: int
    lag: int
    sweep: int
    chord: int
    sweep_wave: _Array
    first: _Array
    later: _Array
    read_sweep: npt.NDArray[np.float32]
    read_first: _Array
    read_later: _Array


def _faded(count: int, rise: int, fall: int) -> _Array:
    envelope = np.ones(count)
    envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    envelope[count - fall :] = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / fall))[::-1]
    return envelope


@cache
def _shape(rate: int) -> _Shape:
    if rate not in RATES:
        raise UsageError(f"words have no tones at {rate} samples a second: the rates are {', '.join(map(str, RATES))}")
    ms = rate // 1000
    lag = rate // 8000
    sweep, chord = _SWEEP_MS * ms, _CHORD_MS * ms
    at = np.arange(sweep) / rate
    low, high = _SWEEP_HZ
    turns = low * at + (high - low) / (2 * _SWEEP_MS / 1000) * at**2
    wave = _AMPLITUDE * np.sin(2 * np.pi * turns) * _faded(sweep, ms, ms)
    first, later = _faded(chord, ms, _EDGE_MS * ms), _faded(sweep + chord, _EDGE_MS * ms, _EDGE_MS * ms)
    read_first, read_later = np.concatenate((np.zeros(sweep), first / first.mean())), later / later[sweep:].mean()
    for envelope in (read_first, read_later):
        envelope[len(envelope) - int(_SPARE_MS * ms) :] = 0
    read_sweep = (wave - np.concatenate((np.zeros(lag), wave[:-lag]))).astype(np.float32)
    return _Shape(ms, lag, sweep, chord, wave, first, later, read_sweep, read_first, read_later)


def _spelt(word: str) -> list[int]:
    """The 40 bits of each character."""
    check = 0
    values: list[int] = []
    for index, character in enumerate(word, 1):
        data = ord(character) << 1 | (index == len(word))
        check = crc32(data.to_bytes(3, "big"), check)
        values.append(data << _CHECK_BITS | check & _CHECK_MASK)
    return values


@lru_cache(maxsize=_PIECES_KEPT)
def _sound(values: tuple[int, ...], is_first: bool, rate: int) -> bytes:
    """The characters spelt `values`, one after the other; `is_first` says whether they begin a word."""
    shape = _shape(rate)
    nibbles = np.array(values, np.int64)[:, None] >> np.arange(4 * _BANDS - 4, -1, -4) & 15
    spectrum = np.zeros((len(values), shape.chord // 2 + 1), np.complex128)
    tones = _PHASES * (_AMPLITUDE / _BANDS**0.5 * shape.chord / 2)
    np.put_along_axis(spectrum, nibbles + _BAND_BINS, np.broadcast_to(tones, nibbles.shape), axis=1)
    chords = np.fft.irfft(spectrum, shape.chord)
    wave = np.concatenate((chords[:, shape.chord - shape.sweep :], chords), axis=1) * shape.later
    if is_first:
        wave[0, : shape.sweep] = shape.sweep_wave
        wave[0, shape.sweep :] = chords[0] * shape.first
    return from_floats(wave.ravel())


def encode_pieces(text: str, rate: int) -> Iterator[bytes]:
    """The tones of `text`, a word or a part of one or a run of whitespace at a time: together what `encode` gives.

    Args:
        text: Any text.
        rate: Samples a second, one of `bothway.audio.resample.RATES`.

    Raises:
        UsageError: Another rate.
    """
    samples = _shape(rate).ms * CHARACTER_MS
    for run in re.findall(r"\s+|\S+", text):
        if run.isspace():
            yield bytes(2 * samples * len(run))
            continue
        values = _spelt(run)
        for at in range(0, len(values), _PIECE):
            yield _sound(tuple(values[at : at + _PIECE]), at == 0, rate)


def encode(text: str, rate: int) -> bytes:
    """The tones of `text` as L16: exactly `len(text) * CHARACTER_MS` milliseconds of it.

    Args:
        text: Any text.
        rate: Samples a second, one of `bothway.audio.resample.RATES`.

    Raises:
        UsageError: Another rate.
    """
    return b"".join(encode_pieces(text, rate))


def word_times(text: str) -> list[TimedWord]:
    """The words of `text` and when each sounds, from the start of the text's tones: what a reader makes of them."""
    return [
        TimedWord(found.group(), float(found.start() * CHARACTER_MS), float(found.end() * CHARACTER_MS))
        for found in re.finditer(r"\S+", text)
    ]


class WordReader:
    """Finds words of tones in a live L16 stream, wherever they begin and whatever else is heard.

    A word is heard when its last sample was, and then once: it is given by the `feed` that brings its last half
    millisecond. It is given as it was written, or not at all: not where 3 ms are missing at its start or at its end
    (3.5 ms in noise), or 8 ms inside it, and not where it ends in 4 ms of another sound. A millisecond of silence for
    its end never matters; in between it depends on the chord. Where it begins and ends is found within 0.25 ms.

    Words are read in white noise 10 dB under them (between 300 and 3400 Hz), in mains hum 6 dB over them, 40 dB under
    the level they are made at, and after G.711 and changes of rate. How the stream is split changes nothing.

    It works on differences of samples 0.125 ms apart, in which mains hum is 24 dB weaker than a voice's middle.

    Args:
        rate: Samples a second, one of `bothway.audio.resample.RATES`.

    Raises:
        UsageError: Another rate.
    """

    __slots__ = ("_audio", "_characters", "_check", "_heard", "_limit", "_next", "_seeking", "_shape")

    def __init__(self, rate: int) -> None:
        self._shape = _shape(rate)
        self._limit = _SWEEP_LIKENESS * float(self._shape.read_sweep @ self._shape.read_sweep)
        # `_next` is the place in the differences where the search, or the next character of a word, begins. The
        # difference at n is of the samples n + lag and n of `_audio`: what came before the stream is silence.
        self._audio = bytes(2 * self._shape.lag)
        self._heard = 0
        self._next = 0
        self._seeking = True
        self._characters: list[str] = []
        self._check = 0

    def feed(self, l16: bytes) -> list[TimedWord]:
        """The words that end in `l16`, any number of samples; times count from the first sample ever fed.

        Raises:
            UsageError: `l16` is not a whole number of samples; nothing was taken.
        """
        check_l16(l16)
        self._audio += l16
        words: list[TimedWord] = []
        while self._seek() if self._seeking else self._read(words):
            pass
        # After a word that turns out broken the search goes back by one part.
        done = self._next - (0 if self._seeking else _PART_MS * self._shape.ms)
        if done > 0:
            self._audio = self._audio[2 * done :]
            self._heard += done
            self._next -= done
        return words

    def _differences(self, start: int, count: int) -> npt.NDArray[np.float32]:
        lag = self._shape.lag
        samples = np.frombuffer(self._audio, "<i2", count + lag, 2 * start).astype(np.float32)
        return samples[lag:] - samples[:-lag]

    def _seek(self) -> bool:
        """Look for a sweep in the next 40 ms; False where they, and a sweep that begins in them, are not all there."""
        shape, start = self._shape, self._next
        span = _SEEK_MS * shape.ms
        needed = span + shape.ms + shape.sweep
        if len(self._audio) // 2 - shape.lag < start + needed:
            return False
        if peak(self._audio[2 * start : 2 * (start + span + shape.ms)]) <= _QUIET:
            self._next += span
            return True
        sound = self._differences(start, needed)
        likeness = np.square(np.correlate(sound, shape.read_sweep))
        energy = np.cumsum(sound * sound, dtype=np.float64)
        energy[shape.sweep :] -= energy[: -shape.sweep].copy()
        energy = energy[shape.sweep - 1 :] + 1
        places = np.flatnonzero(likeness[:span] > self._limit * energy[:span])
        if not places.size:
            self._next += span
            return True
        near = slice(int(places[0]), int(places[0]) + shape.ms)
        self._next += near.start + int((likeness[near] / energy[near]).argmax())
        self._seeking = False
        return True

    def _read(self, words: list[TimedWord]) -> bool:
        """Take the next character of a word, or find that there is none; False where it is not all there."""
        shape, start = self._shape, self._next
        count = shape.sweep + shape.chord
        known = count - int(_SPARE_MS * shape.ms)
        if len(self._audio) // 2 - shape.lag < start + known:
            return False
        sound = np.zeros(count)
        sound[:known] = self._differences(start, known)
        data = self._data(sound)
        if data is None:
            # What broke the word off may be the start of another, at most one part before it was noticed.
            self._next += -_PART_MS * shape.ms if self._characters else 2 * shape.lag
            self._forget()
            return True
        self._characters.append(chr(data >> 1))
        self._next += count
        if data & 1:
            end = self._heard + self._next
            begin = end - len(self._characters) * count
            words.append(TimedWord("".join(self._characters), begin / shape.ms, end / shape.ms))
            self._next -= _PART_MS * shape.ms
            self._forget()
        return True

    def _forget(self) -> None:
        self._characters = []
        self._check = 0
        self._seeking = True

    def _data(self, sound: _Array) -> int | None:
        """The code point and the end mark of a character, where `sound` is the whole of the word's next one."""
        shape = self._shape
        spectrum = np.fft.rfft(sound[shape.sweep :])
        band = spectrum[_FIRST_BIN : _FIRST_BIN + _BANDS * _BAND_TONES]
        power = (np.square(band.real) + np.square(band.imag)).reshape(_BANDS, _BAND_TONES)
        nibbles = power.argmax(axis=1)
        if power.max(axis=1).sum() < _TONES_SHARE * power.sum():
            return None
        value = 0
        for nibble in nibbles.tolist():
            value = value << 4 | nibble
        data = value >> _CHECK_BITS
        check = crc32(data.to_bytes(3, "big"), self._check)
        if (check ^ value) & _CHECK_MASK or data >> 1 > sys.maxunicode:
            return None
        bins = nibbles + _BAND_BINS
        tones = np.zeros_like(spectrum)
        tones[bins] = spectrum[bins]
        chord = np.fft.irfft(tones, shape.chord)
        is_first = not self._characters
        expected = np.concatenate((chord[-shape.sweep :], chord)) * (shape.read_first if is_first else shape.read_later)
        if not _is_whole(sound, expected, shape, is_first=is_first, is_last=bool(data & 1)):
            return None
        self._check = check
        return data


def _is_whole(sound: _Array, expected: _Array, shape: _Shape, *, is_first: bool, is_last: bool) -> bool:
    """Whether a character sounds from its start to its end, where its chord alone would be `expected`."""
    # Positive where the sound is nearer to what is expected than to silence.
    presence = expected * (sound - 0.5 * expected)
    part = _PART_MS * shape.ms
    if presence.reshape(-1, part).sum(axis=1).min() < 0:
        return False
    if is_first:
        sweep = sound[: shape.sweep]
        strength = float(sweep @ shape.read_sweep) / float(shape.read_sweep @ shape.read_sweep)
        lack = 0.25 * np.square(strength * shape.read_sweep) - np.square(sweep)
        if lack.reshape(4, -1).sum(axis=1).max() > 0:
            return False
    if not is_last:
        return True
    missing = np.cumsum(presence[::-1])
    cut = int(missing.argmin()) + 1 if missing.min() < 0 else 0
    if cut >= _CUT_MS * shape.ms:
        return False
    # What is there must be the chord and then silence, and not another sound that happens to be like the chord.
    strange = np.square(sound - expected)
    strange[len(strange) - cut :] = np.square(sound[len(sound) - cut :])
    noise = strange[shape.sweep : -2 * part].mean()
    return bool(strange[-part:].mean() <= 4 * noise + 0.25 * np.square(expected[-part:]).mean())
