from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.carrier.world import Caller, page, until, world

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import tone
from bothway.audio.transcode import to_l16
from bothway.audio.wav import wav_header
from bothway.carrier import mp3
from bothway.carrier.mp3 import Mp3Worker
from bothway.errors import ProviderError
from bothway.speech import voices
from bothway.speech.voices import TONE_MS_PER_CHARACTER, ToneVoice

pytestmark = pytest.mark.virtual_time


def loud(frames: list[bytes], audio_format: AudioFormat) -> int:
    return sum(rms_dbfs(to_l16(frame, audio_format.encoding)) > -40 for frame in frames)


@pytest.mark.parametrize("leg", [MULAW_8K, L16_8K, L16_16K], ids=str)
async def test_speak(tmp_path: Path, leg: AudioFormat) -> None:
    async with world(tmp_path, voice=ToneVoice()) as w:
        document = page("<Response><Speak>Hello</Speak><Speak loop='2'>you</Speak><Hangup/></Response>")
        caller = await w.call(document, caller=Caller(leg))
        w.check_accounted(caller, 4000, "Answer XML")
        frames = 11 * TONE_MS_PER_CHARACTER // 20
        # Each prompt has a frame more in which it is seen to be over, and one of a resampler's tail.
        tails = 0 if leg is L16_16K else 3
        assert len(caller.heard) == frames + 3 + tails
        assert frames <= loud(caller.heard, leg) <= frames + tails


@pytest.mark.parametrize("leg", [MULAW_8K, L16_16K], ids=str)
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_play(tmp_path: Path, leg: AudioFormat, rate: int) -> None:
    audio = tone(440.0, 300, rate, -10.0)
    async with world(tmp_path) as w:
        w.site.pages["/hello.wav"] = page(wav_header(rate, 1, len(audio)) + audio)
        document = page(f"<Response><Play>{w.site.url}/hello.wav</Play></Response>")
        caller = await w.call(document, caller=Caller(leg))
        w.check_accounted(caller, 4010)
        assert loud(caller.heard, leg) == 15
        assert w.site.asked("/hello.wav")[0].method == "GET"
        assert w.metric("bothway_http_fetches_total", kind="play", outcome="ok") == 1


@pytest.mark.parametrize("leg", [MULAW_8K, L16_16K], ids=str)
async def test_play_an_mp3(tmp_path: Path, leg: AudioFormat) -> None:
    audio = tone(440.0, 600, 16000, -10.0)
    (tmp_path / "hello.wav").write_bytes(wav_header(16000, 1, len(audio)) + audio)
    encoder = Mp3Worker()
    await encoder.encode(tmp_path / "hello.wav", tmp_path / "hello.mp3")
    await encoder.close()
    async with world(tmp_path) as w:
        w.site.pages["/hello.mp3"] = page((tmp_path / "hello.mp3").read_bytes())
        caller = await w.call(page(f"<Response><Play>{w.site.url}/hello.mp3</Play></Response>"), caller=Caller(leg))
        w.check_accounted(caller, 4010)
        assert 30 <= loud(caller.heard, leg) <= 32
        assert w.metric("bothway_http_fetches_total", kind="play", outcome="ok") == 1


async def test_without_the_extra_an_mp3_is_not_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp3, "find_spec", lambda _: None)
    async with world(tmp_path) as w:
        w.site.pages["/hello.mp3"] = page(b"ID3")
        caller = await w.call(page(f"<Response><Play>{w.site.url}/hello.mp3</Play><Hangup/></Response>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert "pip install bothway[mp3]" in str(caller.events("prompt_failed")[0]["text"])


@pytest.mark.parametrize("verb", ["<Play loop='0'>{}/empty.wav</Play>", "<Speak loop='0'>nothing</Speak>"])
async def test_an_endless_prompt_of_no_sound_is_made_once_and_the_call_goes_on(tmp_path: Path, verb: str) -> None:
    class Mute(ToneVoice):
        async def synthesize(self, text: str, *, voice: str = "", language: str = "") -> AsyncGenerator[bytes]:
            for silence in (b"",):
                yield silence

    async with world(tmp_path, voice=Mute()) as w:
        w.site.pages["/empty.wav"] = page(wav_header(8000, 1, 0))
        caller = await w.call(page(f"<Response>{verb.format(w.site.url)}<Hangup/></Response>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert len(caller.events("prompt")) == 1
        assert "nothing to hear" in str(caller.events("prompt_failed")[0]["text"])


async def test_without_a_voice_speak_is_a_tone_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(voices, "find_spec", lambda _: None)
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response><Speak>Hello</Speak></Response>"))
        w.check_accounted(caller, 4010)
        assert loud(caller.heard, MULAW_8K) == 5 * TONE_MS_PER_CHARACTER // 20
        assert "Speak has no voice here and plays tones instead: install bothway[offline]" in caplog.text


BAD_FILES = [
    (page(b"", "404 Not Found"), "answered 404", "status"),
    (page(b"ID3\x03rest"), "MP3", "ok"),
    (page(b"\xff\xfb\x90rest"), "MP3", "ok"),
    (page(b"RIFFrest"), "WAV", "ok"),
    (page(b""), "WAV", "ok"),
]


@pytest.mark.parametrize(("file", "text", "outcome"), BAD_FILES, ids=range(len(BAD_FILES)))
async def test_a_file_that_cannot_be_played_and_the_call_goes_on(
    tmp_path: Path, file: bytes, text: str, outcome: str
) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/bad"] = file
        caller = await w.call(page(f"<Response><Play loop='0'>{w.site.url}/bad</Play><Hangup/></Response>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert text in str(caller.events("prompt_failed")[0]["text"])
        assert len(w.site.asked("/bad")) == (2 if outcome == "status" else 1), "files are tried twice"
        assert w.metric("bothway_http_fetches_total", kind="play", outcome=outcome) == 1


class _Voice(ToneVoice):
    """A voice that fails after its first chunk."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def synthesize(self, text: str, *, voice: str = "", language: str = "") -> AsyncGenerator[bytes]:
        yield b"\x00\x10" * 1600
        await asyncio.sleep(0)
        raise self.error


async def test_a_voice_that_fails(tmp_path: Path) -> None:
    async with world(tmp_path, voice=_Voice(ProviderError("the voice is overloaded", retryable=True))) as w:
        caller = await w.call(page("<Response><Speak>Hello</Speak><Hangup/></Response>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert caller.events("prompt_failed")[0]["text"] == "the voice is overloaded"


async def test_a_bug_in_a_voice_ends_the_call_alone(tmp_path: Path) -> None:
    async with world(tmp_path, voice=_Voice(ZeroDivisionError())) as w:
        caller = await w.call(page("<Response><Speak>Hello</Speak><Hangup/></Response>"))
        assert "a fault in the carrier: ZeroDivisionError" in w.check_accounted(caller, 5010, "Error")
        again = await w.call(page("<Response><Hangup/></Response>"))
        w.check_accounted(again, 4000)


async def test_an_endless_prompt_stops_when_the_caller_hangs_up(tmp_path: Path) -> None:
    async with world(tmp_path, voice=ToneVoice()) as w:
        caller, _ = w.place(page("<Response><Speak loop='0'>x</Speak></Response>"))
        await until(lambda: len(caller.heard) >= 12)
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
