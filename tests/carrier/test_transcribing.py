"""Transcriptions of recordings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.carrier.recorded import nothing_left, record, told
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import until, world

from bothway.audio.word_tones import encode
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
