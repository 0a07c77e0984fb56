"""The voice of tones and its reader, through everything that lies between a voice and an ear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.l16 import from_floats
from bothway.audio.mix import gain, mix
from bothway.audio.resample import resample_clip
from bothway.audio.transcode import Transcoder, convert, from_l16
from bothway.audio.wav import read_wav
from bothway.audio.word_tones import word_times
from bothway.errors import UsageError
from bothway.speech.providers.espeak import EspeakVoice
from bothway.speech.tone_reader import HeardWord, ToneReader
from bothway.speech.voices import ToneVoice

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
L16_48K = AudioFormat(Encoding.L16, 48000)
FORMATS = [MULAW_8K, ALAW_8K, L16_8K, L16_16K, L16_24K, L16_48K]
SENTENCE = "Danke, Herr Müller: ₹500 (हिन्दी) 🙂!"


async def say(text: str, rate: int) -> bytes:
    return b"".join([chunk async for chunk in ToneVoice(rate=rate).synthesize(text)])


def hear(audio: bytes, fmt: AudioFormat) -> list[HeardWord]:
    """What is heard frame by frame, with the last one filled up."""
    reader = ToneReader(fmt)
    size = fmt.frame_bytes
    frames = [audio[at : at + size] for at in range(0, len(audio), size)]
    return [word for frame in frames for word in reader.feed(frame.ljust(size, fmt.silence_byte))]


def check(heard: list[HeardWord], text: str, late_ms: float) -> None:
    planned = word_times(text)
    assert [word.text for word in heard] == [word.text for word in planned]
    for word, plan in zip(heard, planned, strict=True):
        times = plan.start_ms + late_ms, plan.end_ms + late_ms
        assert (word.start_ms, word.end_ms) == pytest.approx(times, abs=0.25)


@pytest.mark.parametrize("line", FORMATS, ids=str)
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_words_live_through_any_line(line: AudioFormat, rate: int) -> None:
    voice = AudioFormat(Encoding.L16, rate)
    audio = await say(SENTENCE, rate)
    check(hear(convert(audio, voice, line), line), SENTENCE, 0)
    live = Transcoder(voice, line)
    check(hear(live.process(audio) + live.flush(), line), SENTENCE, live.delay_ms)


@pytest.mark.parametrize("middle", [MULAW_8K, ALAW_8K, L16_16K, L16_24K], ids=str)
@pytest.mark.parametrize("ends", [(8000, 16000), (16000, 8000), (24000, 8000), (24000, 24000)], ids=str)
@pytest.mark.parametrize("lead", [1, 2, 97])
async def test_words_live_through_two_changes_of_format(middle: AudioFormat, ends: tuple[int, int], lead: int) -> None:
    voice, line = (AudioFormat(Encoding.L16, rate) for rate in ends)
    audio = bytes(2 * lead) + await say(SENTENCE, ends[0]) + voice.silent_frame
    first, second = Transcoder(voice, middle), Transcoder(middle, line)
    coded = b"".join(second.process(first.process(audio[at : at + 640])) for at in range(0, len(audio), 640))
    check(hear(coded, line), SENTENCE, lead * 1000 / ends[0] + first.delay_ms + second.delay_ms)


async def test_words_live_through_clips_of_other_rates() -> None:
    audio = await say(SENTENCE, 16000)
    there = resample_clip(audio, 16000, 22050)
    check(hear(resample_clip(there, 22050, 8000), L16_8K), SENTENCE, 0)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    gain_db=st.integers(-30, 0),
    line=st.sampled_from(FORMATS[:4]),
    hum=st.sampled_from([50, 60, 100, 120]),
    text=st.lists(st.text("aZ0é字🙂.", min_size=1, max_size=4), min_size=1, max_size=3).map(" ".join),
)
async def test_words_live_through_a_bad_line(seed: int, gain_db: int, line: AudioFormat, hum: int, text: str) -> None:
    """Noise 15 dB under the words, in band, and hum 10 dB under them."""
    rng = np.random.default_rng(seed)
    lead = int(rng.integers(0, 400))
    words = bytes(2 * lead) + await say(text, line.rate) + bytes(line.rate // 10)
    level = 3276.8 * 10 ** (gain_db / 20)
    at = np.arange(len(words) // 2) / line.rate
    noise = rng.normal(0, level * 10 ** (-15 / 20) * (line.rate / 8000) ** 0.5, at.size)
    noise += level * 10 ** (-10 / 20) * 2**0.5 * np.sin(2 * np.pi * hum * at)
    plain = AudioFormat(Encoding.L16, line.rate)
    heard = hear(
        from_l16(mix(gain(words, 10 ** (gain_db / 20), plain), from_floats(noise), plain), line.encoding), line
    )
    planned = word_times(text)
    assert [word.text for word in heard] == [word.text for word in planned]
    for word, plan in zip(heard, planned, strict=True):
        assert word.end_ms == pytest.approx(plan.end_ms + lead * 1000 / line.rate, abs=0.75)


@pytest.mark.parametrize("line", FORMATS, ids=str)
async def test_what_a_clear_cut_was_not_heard(line: AudioFormat) -> None:
    """Frame by frame, as playout cuts: exactly the words that had ended before the cut."""
    text = "I am not so sure"
    audio = convert(await say(text, 16000), L16_16K, line)
    silence = line.silent_frame * 4
    for frames in range(0, len(audio) // line.frame_bytes + 1, 2):
        heard = hear(audio[: frames * line.frame_bytes] + silence, line)
        assert [word.text for word in heard] == [word.text for word in word_times(text) if word.end_ms <= 20 * frames]


async def test_a_voice_that_is_no_tones_says_no_words() -> None:
    voice = EspeakVoice(rate=16000)
    try:
        text = "The quick brown fox jumps over the lazy dog, and nobody in the house has heard a thing."
        audio = b"".join([chunk async for chunk in voice.synthesize(text)])
    finally:
        await voice.close()
    for line in FORMATS:
        assert hear(convert(audio, L16_16K, line), line) == []


@pytest.mark.parametrize("name", ["caller_detailed_8k.wav", "caller_greeting_8k.wav", "speech_female_8k.wav"])
def test_people_say_no_words_of_tones(name: str) -> None:
    fmt, recording = read_wav(speech(name))
    for line in FORMATS:
        assert hear(convert(recording, fmt, line), line) == []


def test_silence_says_nothing() -> None:
    for line in FORMATS:
        reader = ToneReader(line)
        assert reader.format == line
        assert reader.feed(line.silent_frame * 500) == []
        assert reader.feed(b"") == []


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match="at 12000 samples a second"):
        ToneReader(AudioFormat(Encoding.L16, 12000))
    with pytest.raises(UsageError, match="not a whole number"):
        ToneReader(L16_8K).feed(b"abc")
