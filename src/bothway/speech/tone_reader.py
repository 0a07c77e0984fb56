"""Speech to text for the tones of `bothway.speech.voices.ToneVoice`: exact, without a model."""

from __future__ import annotations

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import to_l16
from bothway.audio.word_tones import TimedWord, WordReader

__all__ = ["HeardWord", "ToneReader"]

HeardWord = TimedWord
"""A word that was heard whole: its text, and where it began and ended, in milliseconds of the audio fed."""


class ToneReader:
    """Says of one line which words were heard on it: those whose last sample was, each once, as they were written.

    Silence, other sounds and words that were cut give nothing. What a word may bear, and how exactly it is placed in
    time, stands at `bothway.audio.word_tones.WordReader`, which does the work. It reads at the rate of the line, so
    that nothing waits for a resampler.

    Args:
        fmt: What is on the line: G.711, or L16 at one of `bothway.audio.resample.RATES`.

    Raises:
        UsageError: L16 at another rate.
    """

    __slots__ = ("_encoding", "_reader", "format")

    def __init__(self, fmt: AudioFormat) -> None:
        self.format = fmt
        self._encoding = fmt.encoding
        self._reader = WordReader(fmt.rate)

    def feed(self, audio: bytes) -> list[HeardWord]:
        """The words whose end is in `audio`, which follows what was fed before; times count from the first sample fed.

        Args:
            audio: Any number of samples, silence included: it is what time is counted by.

        Raises:
            UsageError: L16 that is not a whole number of samples; nothing was taken.
        """
        return self._reader.feed(to_l16(audio, self._encoding))
