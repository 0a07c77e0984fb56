"""The choice of an offline voice, and the stand-in of tones."""

from __future__ import annotations

import importlib.util

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K
from bothway.errors import UsageError
from bothway.speech import voices
from bothway.speech.providers.espeak import EspeakVoice
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import TONE_MS_PER_CHARACTER, ToneVoice, offline_voice


async def said(voice: ToneVoice, text: str) -> list[bytes]:
    return [chunk async for chunk in voice.synthesize(text)]


async def test_espeak_is_the_voice_where_it_is_installed() -> None:
    voice = offline_voice(rate=8000)
    assert isinstance(voice, EspeakVoice)
    assert voice.format == L16_8K
    await voice.close()


async def test_without_it_tones_stand_in_and_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(voices, "find_spec", lambda name: importlib.util.find_spec(f"no_{name}"))
    with caplog.at_level("INFO", logger="bothway"):
        voice = offline_voice()
        assert isinstance(voice, ToneVoice)
        await said(voice, "twice")
        await said(voice, "twice")
    assert voice.format == L16_16K
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "install bothway[offline]" in str(caplog.records[0].msg)
    assert structlog.contextvars.get_contextvars() == {}


@given(text=st.text(max_size=40), rate=st.sampled_from([8000, 16000, 24000]))
async def test_tones_last_as_long_as_the_text(text: str, rate: int) -> None:
    voice = ToneVoice(rate=rate)
    chunks = await said(voice, text)
    assert voice.format.duration_ms(sum(map(len, chunks))) == len(text) * TONE_MS_PER_CHARACTER
    assert all(chunk and len(chunk) % 2 == 0 for chunk in chunks)


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_tones_carry_the_words_and_come_word_by_word(rate: int) -> None:
    voice = ToneVoice(rate=rate)
    hello, gap, you = await said(voice, "Hello, you")
    assert gap == bytes(len(gap))
    assert [word.text for word in ToneReader(voice.format).feed(hello + gap + you)] == ["Hello,", "you"]


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(UsageError, match="3001 characters"):
        ToneVoice().synthesize("x" * 3001)
    with pytest.raises(UsageError, match="not at 44100"):
        ToneVoice(rate=44100)
