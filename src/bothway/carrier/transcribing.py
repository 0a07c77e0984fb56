"""What was said in a recording, as its transcription URL is told (plivo-protocol.md, 6.5)."""

from __future__ import annotations

import asyncio
import logging
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

from bothway.audio.native import audioop
from bothway.carrier.rates import Rates, bill
from bothway.core.recording import RecordingFacts
from bothway.errors import BothwayError, ProviderError
from bothway.speech.protocols import SpeechToText, Transcription

__all__ = ["FASTER", "transcription_of"]

FASTER = 4
"""Seconds of a recording that a recogniser is given in one: those that take streams keep no more than some of it."""

_LAST_WORDS_S = 30.0

logger = logging.getLogger(__name__)


async def transcription_of(
    wav: Path, facts: RecordingFacts, call_uuid: str, ears: SpeechToText | None, rates: Rates
) -> dict[str, str]:
    """The parameters that tell what was said; both sides of a recording are heard together.

    Args:
        wav: 16-bit samples in one or two channels.
        facts: Of the recording.
        call_uuid: Its call; empty if it is of none.
        ears: Recognise it; without, and where they fail, there is an `error` and no charge.
        rates: Have the price of a minute.
    """
    text, error, charge = "", "", Decimal(0)
    if ears is None:
        error = "this carrier has no recogniser of speech"
    else:
        try:
            text = await _words(wav, ears)
            charge = bill(facts.duration_ms / 1000, rates.transcription).amount
        except TimeoutError:
            error = "the recogniser of speech did not answer in time"
        except (BothwayError, OSError, EOFError, wave.Error) as failure:
            error = str(failure) or "the recording cannot be read"
    if error:
        logger.warning("recording %s is not transcribed: %s", facts.recording_id, error)
    return {
        "transcription": text,
        "transcription_charge": f"{charge:f}",
        "transcription_rate": f"{rates.transcription:f}",
        "duration": str((facts.duration_ms + 500) // 1000),
        "call_uuid": call_uuid,
        "recording_id": facts.recording_id,
        "error": error,
    }


async def _words(wav: Path, ears: SpeechToText) -> str:
    with await asyncio.to_thread(wave.open, str(wav), "rb") as file:
        seconds = file.getnframes() / file.getframerate()
        line = ears.transcribe(file.getframerate())
        feeding = asyncio.create_task(_feed(line, file), name=f"audio of {wav.name}")
        try:
            async with asyncio.timeout(seconds / FASTER + _LAST_WORDS_S), aclosing(line.transcripts()) as transcripts:
                said = [found.text async for found in transcripts if found.final and found.text]
            if not feeding.done():
                raise ProviderError("the recogniser of speech stopped before the recording did", retryable=True)
            await feeding
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
            await line.close()
    return " ".join(said)


async def _feed(line: Transcription, file: wave.Wave_read) -> None:
    async with aclosing(_seconds(file)) as pieces:
        async for piece in pieces:
            line.feed(piece)
            await asyncio.sleep(1 / FASTER)
    line.finish()


async def _seconds(file: wave.Wave_read) -> AsyncGenerator[bytes]:
    """The file a second at a time, its channels added up."""
    stereo = file.getnchannels() == 2
    while piece := await asyncio.to_thread(file.readframes, file.getframerate()):
        yield audioop.tomono(piece, 2, 1, 1) if stereo else piece
