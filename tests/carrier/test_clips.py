"""A script's audio, prepared: from WAV files of other rates, and from a voice."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import convert, from_l16
from bothway.audio.wav import write_wav
from bothway.carrier import clips as clips_module
from bothway.carrier.clips import ClipShelf, prepare
from bothway.carrier.script import Beep, Interrupt, Play, Say, Script
from bothway.errors import UsageError
from bothway.speech.voices import ToneVoice


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_8K, L16_16K])
async def test_clips_come_in_the_calls_format(tmp_path: Path, fmt: AudioFormat) -> None:
    beep = tone(440, 250, 16000)
    path = tmp_path / "beep.wav"
    write_wav(path, L16_16K, beep)
    voice = ToneVoice(rate=16000)
    script = Script((Say("hi"), Play(str(path)), Interrupt(Say("no, wait"))))
    clips = await prepare(script, fmt, voice)
    assert list(clips) == [words.clip for words in script.clips]
    assert clips[Play(str(path)).clip] == convert(beep, L16_16K, fmt)
    assert [fmt.duration_ms(len(clips[Say(text).clip])) for text in ("hi", "no, wait")] == [120, 480]


async def test_audio_of_the_same_rate_is_not_touched(tmp_path: Path) -> None:
    mulaw = from_l16(tone(440, 100, 8000), MULAW_8K.encoding)
    path = tmp_path / "beep.wav"
    write_wav(path, MULAW_8K, mulaw)
    assert await prepare(Script.for_wav(path), MULAW_8K) == {Play(str(path)).clip: mulaw}


async def test_what_cannot_be_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a voice to say 'hi'"):
        await prepare(Script.for_text("hi"), MULAW_8K)
    with pytest.raises(UsageError, match=r"none\.wav cannot be read"):
        await prepare(Script.for_wav(tmp_path / "none.wav"), MULAW_8K)


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_16K])
async def test_a_beep_needs_no_voice(fmt: AudioFormat) -> None:
    beep = Beep(300, 1400)
    assert await prepare(Script((beep,)), fmt) == {beep.clip: from_l16(tone(1400, 300, fmt.rate), fmt.encoding)}


async def test_a_shelf_keeps_what_was_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_module, "_KEPT", 2)
    shelf = ClipShelf(ToneVoice(rate=8000))
    first, second, third = (Script.for_text(text) for text in "abc")
    kept = await shelf.of(first, MULAW_8K)
    assert await shelf.of(first, L16_8K) is not kept
    assert await shelf.of(first, MULAW_8K) is kept
    await shelf.of(second, MULAW_8K)
    assert await shelf.of(first, MULAW_8K) is kept
    await shelf.of(third, MULAW_8K)
    await shelf.of(second, MULAW_8K)
    assert await shelf.of(first, MULAW_8K) is not kept
