from __future__ import annotations

import asyncio

import pytest

from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.audio.word_tones import encode
from bothway.errors import ProviderError, UsageError
from bothway.speech.protocols import Transcript
from bothway.speech.tone_ears import PAUSE_MS, ToneEars, ToneTranscription


def feed(line: ToneTranscription, l16: bytes, rate: int = 8000) -> None:
    """Feed it as a call would, 20 ms at a time."""
    size = rate // 50 * 2
    for start in range(0, len(l16), size):
        line.feed(l16[start : start + size])


def silence(ms: int, rate: int = 8000) -> bytes:
    return bytes(2 * rate * ms // 1000)


async def said(line: ToneTranscription) -> list[Transcript]:
    async with asyncio.timeout(5):
        return [transcript async for transcript in line.transcripts()]


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_words_are_told_as_they_end_and_are_final_after_a_pause(rate: int) -> None:
    line = ToneEars().transcribe(rate, language="en-GB", hints=["two"])
    feed(line, silence(200, rate) + encode("one two", rate) + silence(700, rate) + encode("three", rate), rate)
    line.finish()
    line.feed(encode("late", rate))
    told = await said(line)
    assert [(it.text, it.final, it.utterance_over) for it in told] == [
        ("one", False, False),
        ("one two", False, False),
        ("one two", True, True),
        ("three", False, False),
        ("three", True, True),
    ]
    assert {(it.confidence, it.stability) for it in told} == {(1.0, 0.5), (1.0, 1.0)}
    assert told[2].start_ms == pytest.approx(200, abs=1)
    assert told[2].end_ms == pytest.approx(200 + 420, abs=1)


async def test_a_long_word_is_no_pause() -> None:
    line = ToneEars().transcribe()
    assert 60 * len("incomprehensibility") > PAUSE_MS
    feed(line, encode("an incomprehensibility", 8000))
    line.finish()
    assert [it.text for it in await said(line) if it.final] == ["an incomprehensibility"]


async def test_what_went_through_g711_is_understood_and_its_quiet_is_quiet() -> None:
    line = ToneEars().transcribe()
    audio = encode("hello", 8000) + silence(600)
    feed(line, mulaw_to_l16(l16_to_mulaw(audio)))
    await line.close()
    assert [it.final for it in await said(line)] == [False, True]


async def test_silence_says_nothing() -> None:
    line = ToneEars().transcribe()
    feed(line, silence(3000))
    line.finish()
    line.finish()
    assert await said(line) == []


async def test_a_line_that_is_let_go_of_ends() -> None:
    line = ToneEars().transcribe()
    reading = asyncio.create_task(said(line))
    feed(line, encode("half", 8000))
    await line.close()
    await line.close()
    assert [it.final for it in await reading] == [False]


async def test_a_line_is_read_once() -> None:
    line = ToneEars().transcribe()
    line.finish()
    await said(line)
    with pytest.raises(UsageError, match="read once"):
        await said(line)


async def test_nobody_reads_for_long() -> None:
    line = ToneEars().transcribe()
    for _ in range(1100):
        feed(line, encode("a", 8000))
    with pytest.raises(ProviderError, match="nobody"):
        await said(line)


async def test_ears_that_are_closed() -> None:
    ears = ToneEars()
    over, line = ears.transcribe(), ears.transcribe()
    over.finish()
    await ears.close()
    await ears.close()
    assert await said(over) == []
    with pytest.raises(ProviderError, match="closed") as caught:
        await said(line)
    assert not caught.value.retryable
    with pytest.raises(UsageError, match="closed"):
        ears.transcribe()


def test_a_rate_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="11025"):
        ToneEars().transcribe(11025)
