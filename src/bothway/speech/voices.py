"""Which voice says `Speak` when no vendor was chosen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib.util import find_spec

from bothway.audio.format import AudioFormat, Encoding
from bothway.audio.word_tones import CHARACTER_MS, encode_pieces
from bothway.errors import UsageError
from bothway.runtime.logs import get_logger
from bothway.speech.protocols import TextToSpeech
from bothway.speech.providers.espeak import MAX_TEXT, EspeakVoice

__all__ = ["TONE_MS_PER_CHARACTER", "ToneVoice", "offline_voice"]

TONE_MS_PER_CHARACTER = CHARACTER_MS
"""How long `ToneVoice` sounds for each character, in milliseconds: about the pace of speech (175 words a minute)."""

_log = get_logger(__name__)


def offline_voice(*, rate: int = 16000) -> TextToSpeech:
    """The voice of this machine: espeak-ng where the `offline` extra is installed, otherwise a stand-in of tones.

    The stand-in says so in the log, once, here.

    Args:
        rate: Samples a second of the L16 that it gives: 8000 or 16000.

    Raises:
        UsageError: Another rate.
    """
    if find_spec("espeakng_loader") is not None:
        return EspeakVoice(rate=rate)
    _log.warning("Speak has no voice here and plays tones instead: install bothway[offline]")
    return ToneVoice(rate=rate)


class ToneVoice:
    """A stand-in for a voice: tones that carry the words of the text, as long as saying them would take.

    So a call keeps its timing, a listener hears that something was said, and a machine reads which words were heard:
    `bothway.speech.tone_reader.ToneReader` is the other half. A text of n characters lasts exactly
    `n * TONE_MS_PER_CHARACTER` milliseconds; its whitespace is silence (`bothway.audio.word_tones` has the details).

    Args:
        rate: Samples a second of the L16 that it gives: 8000, 16000 or 24000.

    Raises:
        UsageError: Another rate.
    """

    def __init__(self, *, rate: int = 16000) -> None:
        if rate not in (8000, 16000, 24000):
            raise UsageError(f"the voice of tones speaks at 8000, 16000 or 24000 samples a second, not at {rate}")
        self._format = AudioFormat(Encoding.L16, rate)

    @property
    def format(self) -> AudioFormat:
        """L16 at the rate asked for."""
        return self._format

    def synthesize(self, text: str, *, voice: str = "WOMAN", language: str = "en-US") -> AsyncGenerator[bytes]:
        """The tones for `text`, a word at a time; voices and languages all sound alike, and SSML is said as it stands.

        Raises:
            UsageError: More than `MAX_TEXT` characters.
        """
        if len(text) > MAX_TEXT:
            raise UsageError(f"a text of {len(text)} characters is too long to say: {MAX_TEXT} are the most")
        return self._tones(text)

    async def close(self) -> None:
        """Nothing is held."""

    async def _tones(self, text: str) -> AsyncGenerator[bytes]:
        for piece in encode_pieces(text, self._format.rate):
            yield piece
