"""The offline voice: what it says, and what happens when its worker does not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import numpy as np
import pytest

from bothway.audio.format import L16_16K
from bothway.errors import ProviderError, UsageError
from bothway.speech.providers.espeak import LANGUAGES, EspeakVoice

Fake = Callable[..., EspeakVoice]

GREETING = "Hello, and thank you for calling. How may I help you today?"


@pytest.fixture
async def voice() -> AsyncIterator[EspeakVoice]:
    voice = EspeakVoice()
    yield voice
    await voice.close()


async def say(voice: EspeakVoice, text: str, speaker: str = "WOMAN", language: str = "en-US") -> bytes:
    chunks = [chunk async for chunk in voice.synthesize(text, voice=speaker, language=language)]
    assert all(chunk and len(chunk) <= L16_16K.bytes_for(200) and len(chunk) % 2 == 0 for chunk in chunks)
    return b"".join(chunks)


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    """Makes voices whose worker is a small program of its own."""
    made: list[EspeakVoice] = []

    def make(script: str, *, deadline_s: float = 10, max_waiting: int = 64) -> EspeakVoice:
        command = [sys.executable, "-c", "import sys, time, os\n" + script]
        made.append(EspeakVoice(command=command, deadline_s=deadline_s, max_waiting=max_waiting))
        return made[-1]

    yield make
    for voice in made:
        await voice.close()


async def failure(voice: EspeakVoice, text: str = "hello") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await say(voice, text)
    return caught.value


async def test_it_speaks_at_the_pace_of_speech_and_neither_silent_nor_clipped(voice: EspeakVoice) -> None:
    samples = np.frombuffer(await say(voice, GREETING), "<i2").astype(np.float64)
    assert 2.5 < len(samples) / 16000 < 6
    assert 1000 < np.sqrt((samples**2).mean()) < 12_000
    assert 8000 < np.abs(samples).max() < 32_000


async def test_the_same_text_is_the_same_bytes_whatever_was_said_before(voice: EspeakVoice) -> None:
    first = await say(voice, GREETING)
    await say(voice, "Something else, said by someone else", "MAN", "de-DE")
    assert await say(voice, GREETING) == first
    other = EspeakVoice()
    assert await say(other, GREETING) == first
    await other.close()


async def test_voices_and_languages_differ(voice: EspeakVoice) -> None:
    woman, man, german = [
        await say(voice, "one two three", *how) for how in [("WOMAN", "en-US"), ("man", "en-us"), ("WOMAN", "de-DE")]
    ]
    assert len({woman, man, german}) == 3


async def test_every_language_of_speak_has_a_voice(voice: EspeakVoice) -> None:
    for language in LANGUAGES:
        for speaker in ("WOMAN", "MAN"):
            assert await say(voice, "a", speaker, language)


async def test_an_unknown_language_or_voice_falls_back_and_says_so(
    voice: EspeakVoice, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="bothway"):
        assert await say(voice, "hello", language="xx-XX") == await say(voice, "hello")
        assert await say(voice, "hello", language="de-AT") == await say(voice, "hello", language="de-DE")
        assert await say(voice, "hello", "Polly.Joanna") == await say(voice, "hello")
    lines = [str(record.msg) for record in caplog.records]
    assert len(lines) == 3
    assert "'spoken': 'en-US'" in lines[0]
    assert "'spoken': 'de-DE'" in lines[1]
    assert "Polly.Joanna" in lines[2]


async def test_plain_text_is_read_as_it_stands(voice: EspeakVoice) -> None:
    assert await say(voice, "five < six > four & more") != await say(voice, "five six four more")
    assert await say(voice, "a\x01300Sb\x00c") == await say(voice, "a 300Sb c")
    assert await say(voice, "lone \ud800 surrogate")


async def test_nothing_to_say_is_no_audio(voice: EspeakVoice) -> None:
    assert await say(voice, "") == b""
    assert await say(voice, " \n\t\x01") == b""
    assert voice.worker_pid is None


async def test_ssml_breaks_are_kept_and_foreign_tags_are_not(voice: EspeakVoice) -> None:
    plain = await say(voice, "<speak>one two</speak>")
    paused = await say(voice, "<speak>one <break time='2s'/> two</speak>")
    assert 1.5 < (len(paused) - len(plain)) / 32000 < 2.5
    foreign = "<speak>one <!-- <audio src='/x'/> --><mark name='x'/><audio src='/etc/passwd'/>two</speak>"
    assert await say(voice, foreign) == await say(voice, "<speak>one     two</speak>")
    assert await say(voice, "<speak>one <au<b>dio src='/etc/passwd'> two </speak>")


async def test_requests_are_served_in_order(voice: EspeakVoice) -> None:
    ended: list[int] = []

    async def one(number: int) -> bytes:
        audio = await say(voice, f"number {number}")
        ended.append(number)
        return audio

    together = await asyncio.gather(*map(one, range(6)))
    assert ended == list(range(6))
    assert together == [await say(voice, f"number {number}") for number in range(6)]


async def test_giving_up_half_way_leaves_the_next_text_whole(voice: EspeakVoice) -> None:
    whole = await say(voice, GREETING)
    async with aclosing(voice.synthesize("word " * 500)) as chunks:
        await anext(chunks)
    waiting = [asyncio.create_task(say(voice, GREETING)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    assert [await waiting[0], await waiting[2]] == [whole, whole]


async def test_a_killed_worker_fails_one_text_and_the_next_has_another(voice: EspeakVoice) -> None:
    chunks = voice.synthesize("word " * 500)
    await anext(chunks)
    first = voice.worker_pid
    assert first
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ProviderError, match="died with code -9") as caught:
        async for _ in chunks:
            pass
    assert caught.value.retryable
    assert await say(voice, "again")
    assert voice.worker_pid != first


async def test_a_worker_that_died_while_idle_is_not_noticed_by_the_next_text(voice: EspeakVoice) -> None:
    await say(voice, "one")
    process = voice._worker._process
    assert process is not None
    process.kill()
    await process.wait()
    assert await say(voice, "two")


async def test_a_silent_worker_is_ended_at_the_deadline(fake: Fake) -> None:
    voice = fake("time.sleep(60)", deadline_s=0.2)
    error = await failure(voice)
    assert str(error) == "the espeak worker was silent for 0.2 s"
    assert error.retryable
    assert voice.worker_pid is None


async def test_a_worker_that_stops_at_once_or_talks_nonsense_is_an_error(fake: Fake) -> None:
    for script, sentence in [
        ("sys.exit(3)", "died with code"),
        ("print('usage: ...' * 99, flush=True); time.sleep(60)", "sent what is no reply"),
    ]:
        voice = fake(script)
        error = await failure(voice)
        assert sentence in str(error)
        assert error.retryable


async def test_a_worker_that_cannot_be_started_is_not_worth_another_try() -> None:
    voice = EspeakVoice(command=["/nonexistent/espeak"])
    error = await failure(voice)
    assert "could not be started" in str(error)
    assert not error.retryable
    await voice.close()


async def test_a_failure_that_the_worker_names_is_final(fake: Fake) -> None:
    error = await failure(fake("os.write(1, b'F\\0\\0\\0\\5no go'); time.sleep(60)"))
    assert str(error) == "espeak failed: no go"
    assert not error.retryable


async def test_too_many_waiting_texts_are_refused(fake: Fake) -> None:
    voice = fake("os.write(1, b'A\\0\\0\\0\\2..'); time.sleep(60)", max_waiting=2)
    being_said = voice.synthesize("being said")
    assert await anext(being_said) == b".."
    tasks = [asyncio.create_task(say(voice, "waiting")) for _ in range(2)]
    await asyncio.sleep(0)
    error = await failure(voice)
    assert "has 2 texts waiting" in str(error)
    assert error.retryable
    await voice.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ProviderError) for result in results)


async def test_close_ends_the_worker_and_what_it_was_saying(voice: EspeakVoice) -> None:
    chunks = voice.synthesize("word " * 500)
    await anext(chunks)
    pid = voice.worker_pid
    assert pid
    await voice.close()
    with pytest.raises(ProviderError, match="was closed"):
        async for _ in chunks:
            pass
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(UsageError, match="is closed"):
        voice.synthesize("too late")


async def test_a_generator_begun_after_close_is_refused_as_well() -> None:
    voice = EspeakVoice()
    chunks = voice.synthesize("hello")
    await voice.close()
    with pytest.raises(UsageError, match="is closed"):
        await anext(chunks)


async def test_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match="3001 characters"):
        EspeakVoice().synthesize("x" * 3001)
    with pytest.raises(UsageError, match="not at 22050"):
        EspeakVoice(rate=22050)


async def test_the_worker_gets_no_secrets_by_its_environment(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", "secret")
    script = "known = 'PLIVO_AUTH_TOKEN' in os.environ; os.write(1, b'E\\0\\0\\0\\0' if not known else b'?????')"
    voice = fake(script + "; time.sleep(60)")
    assert await say(voice, "hello") == b""


def test_the_library_is_never_loaded_into_our_process() -> None:
    script = """
import asyncio, importlib, pkgutil, sys
import bothway.speech
from bothway.speech.voices import offline_voice
for module in pkgutil.walk_packages(bothway.speech.__path__, "bothway.speech."):
    importlib.import_module(module.name)
async def main():
    voice = offline_voice()
    assert [chunk async for chunk in voice.synthesize("hello")]
    await voice.close()
asyncio.run(main())
assert "espeakng_loader" not in sys.modules
if sys.platform == "linux":
    assert "libespeak" not in open("/proc/self/maps").read()
print("clean")
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.stderr) == ("clean\n", "")
