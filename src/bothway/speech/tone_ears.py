"""Speech to text for the tones of `bothway.speech.voices.ToneVoice`, as a recogniser that calls can use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from bothway.audio.format import AudioFormat, Encoding
from bothway.audio.level import peak
from bothway.audio.resample import RATES
from bothway.errors import ProviderError, UsageError
from bothway.speech.protocols import Transcript
from bothway.speech.tone_reader import ToneReader

__all__ = ["PAUSE_MS", "ToneEars", "ToneTranscription"]

PAUSE_MS = 500
"""How long it must be quiet for an utterance to be over, in milliseconds: more than any gap between words."""

_QUIET = 64
"""The largest sample of quiet audio: what G.711 makes of noise under -54 dBFS."""


_MOST_WAITING = 1000
"""Transcripts that may wait to be read: several minutes of speech."""


class ToneTranscription:
    """One line on which texts are said in tones. Words are told as they end, and are final after a pause.

    Args:
        rate: Of the line.

    Attributes:
        over: Whether it has ended, or failed.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._reader = ToneReader(AudioFormat(Encoding.L16, rate))
        self._words: list[str] = []  # of the utterance
        self._began_ms = self._ended_ms = 0.0
        self._quiet_ms = 0.0
        self._ready: asyncio.Queue[Transcript | ProviderError | None] = asyncio.Queue()
        self.over = False
        self._is_read = False

    def feed(self, l16: bytes) -> None:
        """The next stretch of the line."""
        if self.over:
            return
        words = self._reader.feed(l16)
        for word in words:
            if not self._words:
                self._began_ms = word.start_ms
            self._words.append(word.text)
            self._ended_ms = word.end_ms
            self._tell(final=False)
        if words or peak(l16) > _QUIET:
            self._quiet_ms = 0.0
            return
        self._quiet_ms += len(l16) / 2 / self._rate * 1000
        if self._quiet_ms >= PAUSE_MS:
            self._tell(final=True)

    async def transcripts(self) -> AsyncGenerator[Transcript]:
        """What is said."""
        if self._is_read:
            raise UsageError("the transcripts of one line are read once")
        self._is_read = True
        while (what := await self._ready.get()) is not None:
            if isinstance(what, ProviderError):
                raise what
            yield what

    def finish(self) -> None:
        """The line has ended."""
        self._tell(final=True)
        if not self.over:
            self._end(None)

    async def close(self) -> None:
        """Let go of the line."""
        if not self.over:
            self._end(None)

    def fail(self, error: ProviderError) -> None:
        """The recogniser has gone."""
        if not self.over:
            self._end(error)

    def _tell(self, *, final: bool) -> None:
        if not self._words or self.over:
            return
        text, start, end = " ".join(self._words), self._began_ms, self._ended_ms
        if final:
            told = Transcript(text, final=True, utterance_over=True, stability=1.0, start_ms=start, end_ms=end)
            self._words.clear()
        else:
            told = Transcript(text, start_ms=start, end_ms=end)
        if self._ready.qsize() >= _MOST_WAITING:
            self._end(ProviderError("nobody reads what is understood on this line", retryable=False))
        else:
            self._ready.put_nowait(told)

    def _end(self, last: ProviderError | None) -> None:
        self.over = True
        self._ready.put_nowait(last)


class ToneEars:
    """A `SpeechToText` that understands every language that `ToneVoice` says, and nothing else: exact, offline."""

    def __init__(self) -> None:
        self._lines: list[ToneTranscription] = []
        self._closed = False

    def transcribe(
        self,
        rate: int = 8000,
        *,
        language: str = "en-US",
        hints: Sequence[str] = (),
        model: str = "default",
        profanity_filter: bool = False,
    ) -> ToneTranscription:
        """Listen to a line; only its rate matters.

        Raises:
            UsageError: A rate that `ToneVoice` does not have, or the ears are closed.
        """
        if self._closed:
            raise UsageError("these ears are closed")
        if rate not in RATES:
            raise UsageError(f"tones are read at {', '.join(map(str, RATES))} samples a second, not at {rate}")
        self._lines = [line for line in self._lines if not line.over]
        line = ToneTranscription(rate)
        self._lines.append(line)
        return line

    async def close(self) -> None:
        """Transcriptions that still run fail."""
        self._closed = True
        for line in self._lines:
            line.fail(ProviderError("the ears were closed", retryable=False))
        self._lines.clear()
