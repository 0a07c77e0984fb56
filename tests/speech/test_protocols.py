"""The protocols: that what ships satisfies them, which mypy reads from these assignments."""

from __future__ import annotations

import inspect

import pytest

from bothway.speech.protocols import SpeechToText, TextToSpeech, Transcript, Transcription
from bothway.speech.providers.espeak import EspeakVoice
from bothway.speech.tone_ears import ToneEars
from bothway.speech.voices import ToneVoice


@pytest.mark.parametrize("kind", [EspeakVoice, ToneVoice])
async def test_a_voice_has_what_the_protocol_asks(kind: type[EspeakVoice | ToneVoice]) -> None:
    voice: TextToSpeech = kind(rate=8000)
    asked = inspect.signature(TextToSpeech.synthesize).parameters
    given = inspect.signature(kind.synthesize).parameters
    assert {name: one.default for name, one in given.items()} == {name: one.default for name, one in asked.items()}
    assert voice.format.rate == 8000
    await voice.synthesize("nothing is begun before the first chunk is asked for").aclose()
    await voice.close()
    await voice.close()


async def test_a_recogniser_has_what_the_protocol_asks() -> None:
    ears: SpeechToText = ToneEars()
    asked = inspect.signature(SpeechToText.transcribe).parameters
    given = inspect.signature(ToneEars.transcribe).parameters
    assert {name: one.default for name, one in given.items()} == {name: one.default for name, one in asked.items()}
    line: Transcription = ears.transcribe()
    line.feed(bytes(320))
    line.finish()
    assert [transcript async for transcript in line.transcripts()] == []
    await line.close()
    await ears.close()
    await ears.close()


def test_a_transcript_says_no_more_than_is_known() -> None:
    assert Transcript("a") == Transcript("a", False, False, 1.0, 0.5, None, None)
