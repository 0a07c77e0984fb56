"""Transcriptions of recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tests.carrier.recorded import nothing_left, record, told
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import until, world

from bothway.audio.wav import wav_header
from bothway.audio.word_tones import encode
from bothway.carrier.rates import Rates
from bothway.carrier.transcribing import FASTER, transcription_of
from bothway.core.recording import RecordingFacts
from bothway.speech.protocols import SpeechToText, Transcript
from bothway.speech.tone_ears import ToneEars
from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.virtual_time


async def test_what_was_said_is_told_after_it(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        talker = Talker()
        transcribed = {"transcriptionUrl": w.site.url + "/said", "transcriptionMethod": "GET"}
        w.place(doc(record(w, timeout="2", playBeep="false", fileFormat="mp3", **transcribed)), caller=talker)
        talker.say(encode("please call me back", 8000))
        await w.over(talker)
        said, params = await told(w, "/said"), await told(w)
        assert said["transcription"] == "please call me back"
        names = ("call_uuid", "recording_id", "error", "duration", "transcription_charge", "transcription_rate")
        assert [said[name] for name in names] == [
            talker.call_id, params["RecordingID"], "", params["RecordingDuration"], "0.0095", "0.0095",
        ]  # fmt: skip
        await until(lambda: nothing_left(w) and not list((tmp_path / "recordings").glob("*/*.wav")))


async def test_without_ears_the_transcription_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, voice=ToneVoice(rate=8000)) as w:
        await w.call(doc(record(w, maxLength="1", transcriptionUrl=w.site.url + "/said")))
        said = await told(w, "/said")
        assert (said["transcription"], said["transcription_charge"]) == ("", "0")
        assert "no recogniser" in said["error"]
        await until(lambda: nothing_left(w))


# The part by itself.


FACTS = RecordingFacts("r1", "https://x", 61_000, 0, 61_000)


async def test_both_sides_are_heard_together_and_faster_than_they_were(tmp_path: Path) -> None:
    left, right = encode("good morning", 8000), encode("how are you", 8000)
    gap = bytes(16_000)
    tracks = [left + gap + bytes(len(right)), bytes(len(left)) + gap + right]
    stereo = np.stack([np.frombuffer(track, "<i2") for track in tracks], axis=1).tobytes()
    (tmp_path / "a.wav").write_bytes(wav_header(8000, 2, len(stereo)) + stereo)
    began = asyncio.get_running_loop().time()
    said = await transcription_of(tmp_path / "a.wav", FACTS, "c1", ToneEars(), Rates(transcription=Decimal("0.02")))
    assert said == {
        "transcription": "good morning how are you",
        "transcription_charge": "0.04",
        "transcription_rate": "0.02",
        "duration": "61",
        "call_uuid": "c1",
        "recording_id": "r1",
        "error": "",
    }
    seconds = len(stereo) / 32_000
    assert asyncio.get_running_loop().time() - began <= seconds / FASTER + 1


@pytest.mark.parametrize("fault", ["no file", "no wav", "closed", "stops early", "silent"])
async def test_what_cannot_be_transcribed_costs_nothing_and_says_why(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.wav"
    if fault != "no file":
        path.write_bytes(b"no wav" if fault == "no wav" else wav_header(8000, 1, 160_000) + bytes(160_000))
    ears: SpeechToText = _Deaf(ends=fault == "stops early") if fault in ("stops early", "silent") else ToneEars()
    if fault == "closed":
        await ears.close()
    said = await transcription_of(path, FACTS, "", ears, Rates())
    assert (said["transcription"], said["transcription_charge"]) == ("", "0")
    assert said["error"]


class _Deaf:
    """A recogniser that ends at once, or never."""

    def __init__(self, *, ends: bool) -> None:
        self._ends = ends
        self._said: list[Transcript] = []

    def transcribe(self, rate: int = 8000, **_: object) -> _Deaf:
        return self

    def feed(self, l16: bytes) -> None:
        pass

    async def transcripts(self) -> AsyncGenerator[Transcript]:
        if not self._ends:
            await asyncio.Event().wait()
        for transcript in self._said:
            yield transcript

    def finish(self) -> None:
        pass

    async def close(self) -> None:
        pass
