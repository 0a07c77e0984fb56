"""The sum of what several say, each heard by all others and not by itself: the arithmetic of a `Room`.

Time is in slots of 5 ms, four to a frame. A frame is placed at a slot, and sounds in it and in the three that follow;
who listens in a slot gets the whole frame that is the sum of all that sounds there. What is said in a slot is added up
once, in 32 bits and without rounding, and each speaker's own part is taken off for it: the cost grows with the
speakers, and not with their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bothway.audio.format import L16_8K, AudioFormat, Encoding
from bothway.audio.transcode import Transcoder, from_l16, to_l16
from bothway.core.playout import FRAME_SECONDS

__all__ = ["FRAME_SLOTS", "KEPT_SLOTS", "SLOT_SECONDS", "Mixer", "Voice"]

FRAME_SLOTS = 4
"""Slots in a frame: as many as a node's ticker has phases."""

SLOT_SECONDS = FRAME_SECONDS / FRAME_SLOTS
"""The length of a slot. Frames that are due in the same one are of the same moment."""

KEPT_SLOTS = 40
"""How long what was said can be listened to: 200 ms. Who is later than that hears silence until it is not."""

_Sum: TypeAlias = npt.NDArray[np.int32]


class _Said:
    """One frame of one voice, and what it became at other rates."""

    __slots__ = ("_l16", "_others", "frame", "voice")

    def __init__(self, voice: Voice, frame: bytes, others: dict[int, bytes] | None) -> None:
        self.voice = voice
        self.frame = frame
        self._others = others
        self._l16: bytes | None = None

    def l16(self, rate: int) -> bytes | None:
        """The frame at `rate`; None if nobody heard that rate when it was said."""
        if rate != self.voice.format.rate:
            return self._others.get(rate) if self._others is not None else None
        if self._l16 is None:
            self._l16 = to_l16(self.frame, self.voice.format.encoding)
        return self._l16


class Voice:
    """One who speaks and listens: how its audio is coded, and the resamplers to the other rates that are heard.

    Attributes:
        format: How its frames are coded.
        key: The format's name, which is quicker to compare.
    """

    __slots__ = ("_quiet", "_silence", "_transcoders", "format", "key")

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self.key = str(audio_format)
        self._silence = audio_format.silent_frame
        self._transcoders: dict[int, Transcoder] = {}
        self._quiet = True  # the last frame was silence, so that the resamplers hold nothing

    def tune(self, rates: Iterable[int]) -> None:
        """From now on these rates are heard, in samples a second."""
        kept, own = self._transcoders, self.format
        self._transcoders = {
            rate: kept.get(rate) or Transcoder(own, AudioFormat(Encoding.L16, rate))
            for rate in sorted(rates)
            if rate != own.rate
        }

    def say(self, frame: bytes) -> _Said | None:
        """The frame as it will be heard; None if that is silence."""
        silent = frame == self._silence
        if silent and (self._quiet or not self._transcoders):
            return None
        self._quiet = silent
        if not self._transcoders:
            return _Said(self, frame, None)
        return _Said(self, frame, {rate: transcoder.process(frame) for rate, transcoder in self._transcoders.items()})

    def pause(self) -> None:
        """What follows does not join on to what was said last."""
        if not self._quiet:
            self._quiet = True
            for transcoder in self._transcoders.values():
                transcoder.reset()


class _Cohort:
    """What begins to sound in one slot."""

    __slots__ = ("_sums", "said")

    def __init__(self) -> None:
        self.said: dict[Voice, _Said] = {}
        self._sums: dict[int, _Sum] = {}

    def sum(self, rate: int) -> _Sum:
        """All of it at once. To be asked for only when nothing more is added."""
        total = self._sums.get(rate)
        if total is None:
            total = np.zeros(_samples(rate), np.int32)
            for said in self.said.values():
                l16 = said.l16(rate)
                if l16 is not None:
                    total += np.frombuffer(l16, "<i2")
            self._sums[rate] = total
        return total


class _Row:
    """What sounds in one slot: the cohorts of it and of the three before."""

    __slots__ = ("_totals", "cohorts", "count", "mixes", "slot")

    def __init__(self, slot: int, cohorts: list[_Cohort]) -> None:
        self.slot = slot
        self.cohorts = cohorts
        self.count = sum([len(cohort.said) for cohort in cohorts])
        self.mixes: dict[str, bytes] = {}  # of all, by format: the same for each listener that is silent
        self._totals: dict[int, _Sum] = {}

    def said_by(self, voice: Voice) -> _Said | None:
        """What this one says: no two frames of it sound at a time."""
        for cohort in self.cohorts:
            said = cohort.said.get(voice)
            if said is not None:
                return said
        return None

    def said_to(self, voice: Voice) -> _Said:
        """What the only other one says."""
        return next(said for cohort in self.cohorts for speaker, said in cohort.said.items() if speaker is not voice)

    def total(self, rate: int) -> _Sum:
        """The sum of all that is said."""
        total = self._totals.get(rate)
        if total is None:
            total = self.cohorts[0].sum(rate)
            for cohort in self.cohorts[1:]:
                total = total + cohort.sum(rate)
            self._totals[rate] = total
        return total


class Mixer:
    """Takes frames at their places, and gives what sounds in a slot.

    Args:
        on_beat: Called for every slot that is a multiple of four, before anything is heard in it or behind it: the
            20 ms of those who have no clock of their own. It may `place` there.

    Attributes:
        head: The last slot that somebody has listened to. What was placed up to it is settled.
    """

    def __init__(self, on_beat: Callable[[int], None]) -> None:
        self.head = -(1 << 62)
        self._on_beat = on_beat
        self._beat: int | None = None  # the next one
        self._cohorts: dict[int, _Cohort] = {}
        self._row = _Row(0, [])

    def place(self, voice: Voice, frame: bytes, slot: int) -> None:
        """Let `frame` sound from `slot` on, which nobody has listened to yet."""
        said = voice.say(frame)
        if said is None:
            return
        cohort = self._cohorts.get(slot)
        if cohort is None:
            cohort = self._cohorts[slot] = _Cohort()
            while (oldest := next(iter(self._cohorts))) < slot - KEPT_SLOTS:
                del self._cohorts[oldest]
        cohort.said[voice] = said

    def reach(self, slot: int) -> None:
        """Somebody is about to listen in `slot`."""
        if slot <= self.head:
            return
        self.head = slot
        beat = self._beat
        if beat is None or slot - beat > KEPT_SLOTS:  # the first, or one after a time that was left out
            beat = -(-slot // FRAME_SLOTS) * FRAME_SLOTS
        while beat <= slot:
            self._on_beat(beat)
            beat += FRAME_SLOTS
        self._beat = beat

    def heard_by(self, voice: Voice, slot: int) -> bytes | None:
        """The frame of all but `voice` in `slot`, in its format; None is silence. What one alone says passes as it is.

        `slot` has been reached.
        """
        row = self._row_of(slot)
        if not row.count:
            return None
        own = row.said_by(voice)
        others = row.count - (own is not None)
        if not others:
            return None
        encoding, rate = voice.format.encoding, voice.format.rate
        if others == 1:
            other = row.said_to(voice)
            if other.voice.key == voice.key:
                return other.frame
            l16 = other.l16(rate)
            return from_l16(l16, encoding) if l16 is not None else None
        own_l16 = own.l16(rate) if own is not None else None
        if own_l16 is not None:
            return from_l16(_saturated(row.total(rate) - np.frombuffer(own_l16, "<i2")), encoding)
        mix = row.mixes.get(voice.key)
        if mix is None:
            mix = row.mixes[voice.key] = from_l16(_saturated(row.total(rate)), encoding)
        return mix

    def sum(self, slot: int, rate: int) -> bytes:
        """All that sounds in `slot`, which has been reached: L16 at `rate`."""
        row = self._row_of(slot)
        return _saturated(row.total(rate)) if row.count else bytes(2 * _samples(rate))

    def _row_of(self, slot: int) -> _Row:
        """It is kept until another is asked for: who listens in one slot does so in a row."""
        row = self._row
        if row.slot != slot or not row.cohorts:
            cohorts = self._cohorts
            found = [cohorts[place] for place in range(slot - FRAME_SLOTS + 1, slot + 1) if place in cohorts]
            row = self._row = _Row(slot, found)
        return row


def _samples(rate: int) -> int:
    """Samples in a frame."""
    return L16_8K.frame_samples * rate // L16_8K.rate


def _saturated(total: _Sum) -> bytes:
    """A sum as L16."""
    bounded = np.minimum(total, 32767)
    np.maximum(bounded, -32768, out=bounded)
    return bounded.astype("<i2").tobytes()
