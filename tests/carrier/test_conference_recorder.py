"""The recording of a conference, compared sample by sample with what was said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.carrier.conferring import Speaker, callbacks, enter, leave, live, now_ms, sum_at
from tests.carrier.talker import doc, offline
from tests.carrier.world import World, until

from bothway.audio.format import L16_8K
from bothway.audio.wav import read_wav
from bothway.audio.word_tones import encode
from bothway.carrier.api.switch import RecordRequest, RefusedError
from bothway.carrier.store.records import RecordingRecord
from bothway.core.recording import RecordingFacts, recording_params
from bothway.speech.tone_reader import ToneReader

pytestmark = pytest.mark.virtual_time


async def recorded(w: World, recording_id: str) -> tuple[RecordingRecord, bytes]:
    """A complete recording: its record, and its samples."""
    node = w.carrier._node
    assert node is not None
    found = await node.store.recordings.get(recording_id)
    assert found is not None
    audio_format, audio = read_wav((w.data / found.path).read_bytes())
    assert audio_format == L16_8K
    return found, audio


def complete(data: Path) -> list[str]:
    """The names of all files of recordings; those that are not complete have others beside them."""
    return [path.name for path in data.glob("recordings/*/*")]


def words(audio: bytes) -> list[str]:
    return [word.text for word in ToneReader(L16_8K).feed(audio)]


def sums(people: list[Speaker], since: int, frames: int) -> list[bytes]:
    """The room's own frames, one every 20 ms, of each phase that it may have."""
    return [b"".join(sum_at(since + late + 20 * frame, people) for frame in range(frames)) for late in (0, 5, 10, 15)]


async def test_the_mix_is_recorded_to_the_sample_while_two_are_in(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        w.site.pages["/action"] = doc("<Hangup/>")
        record = {"record": "true", "recordFileFormat": "wav", "action": w.site.url + "/action"}
        await enter(w, one, hangupOnStar="true", **record)
        one.say(encode("alone", 8000))
        await asyncio.sleep(1)
        began = now_ms()
        await enter(w, other, **record)
        for speaker, hertz in ((one, 437), (other, 1203)):
            speaker.hum(hertz, 700)
            await asyncio.sleep(0.25)
        await asyncio.sleep(1)
        one.press("*")
        await until(lambda: w.site.asked("/action"))
        other.say(encode("alone", 8000))
        await asyncio.sleep(1)
        await leave(w, other, one)
        (told,) = callbacks(w.site, "record")
        found, audio = await recorded(w, told["RecordingID"])
        assert audio, "something was recorded"
        assert words(audio) == []
        said = [sums([one, other], began - 60 + 20 * step, len(audio) // 320) for step in range(8)]
        assert any(audio == one_sum for phases in said for one_sum in phases)
        assert (found.recording_type, found.conference_name, found.channels) == ("conference", "room", 1)
        assert found.conference_uuid == told["ConferenceUUID"]
        assert found.call_uuid is None
        facts = RecordingFacts(found.recording_id, told["RecordUrl"], found.duration_ms, found.start_ms, found.end_ms)
        assert recording_params(facts).items() <= told.items()
        assert (told["ConferenceMemberID"], told["CallUUID"], told["Event"]) == ("1", one.call_id, "ConferenceRecord")
        assert urlsplit(told["RecordUrl"]).path.endswith(f"/Recording/{found.recording_id}.wav")
        (action,) = w.site.asked("/action")
        assert action.params["RecordingID"] == found.recording_id
        assert urlsplit(action.params["RecordUrl"]).path == urlsplit(told["RecordUrl"]).path


async def test_one_alone_is_recorded_where_that_is_wanted(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Speaker()
        await enter(w, one, record="true", recordFileFormat="wav", recordWhenAlone="true")
        one.say(encode("alone", 8000))
        await asyncio.sleep(1)
        await leave(w, one)
        (told,) = callbacks(w.site, "record")
        _, audio = await recorded(w, told["RecordingID"])
        assert words(audio) == ["alone"]


async def test_an_mp3_file_is_what_is_made_where_none_is_named(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Speaker()
        await enter(w, one, record="true", recordWhenAlone="true")
        await asyncio.sleep(1)
        await leave(w, one)
        (told,) = callbacks(w.site, "record")
        node = w.carrier._node
        assert node is not None
        found = await node.store.recordings.get(told["RecordingID"])
        assert found is not None
        assert (found.recording_format, found.path.endswith(".mp3")) == ("mp3", True)
        assert (w.data / found.path).stat().st_size == found.size > 0


async def test_rest_records_and_stops(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        await enter(w, one)
        (room,) = live(w)
        request = RecordRequest(file_format="wav", callback_url=w.site.url + "/recorded", time_limit=3600)
        recording_id = await room.start_recording(request)
        with pytest.raises(RefusedError, match="recorded already") as refused:
            await room.start_recording(request)
        assert refused.value.reason == "conflict"
        await enter(w, other, record="true")
        one.say(encode("one", 8000))
        other.say(encode("", 8000))
        await asyncio.sleep(1)
        assert room.stop_recording()
        assert not room.stop_recording()
        await until(lambda: w.site.asked("/recorded"))
        (request_seen,) = w.site.asked("/recorded")
        told = request_seen.params
        assert (told["RecordingID"], told["ConferenceName"], told["ConferenceUUID"]) == (
            recording_id,
            "room",
            room.uuid,
        )
        found, audio = await recorded(w, recording_id)
        assert words(audio) == ["one"]
        assert found.duration_ms == int(told["RecordingDurationMs"]) > 900
        again = await room.start_recording(request)
        assert again != recording_id
        await leave(w, one, other)
        assert len(w.site.asked("/recorded")) == 2, "the end of the conference ends its recording"
        assert callbacks(w.site, "record") == []


async def test_a_recording_has_a_longest_length(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Speaker()
        await enter(w, one)
        (room,) = live(w)
        recording_id = await room.start_recording(RecordRequest(file_format="wav", time_limit=2))
        await asyncio.sleep(4)
        assert not room.stop_recording()
        found, _ = await recorded(w, recording_id)
        assert found.duration_ms == 2000
        await leave(w, one)


async def test_rest_stops_what_a_document_records_for_good(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        await enter(w, one, record="true", recordFileFormat="wav")
        await enter(w, other, hangupOnStar="true")
        (room,) = live(w)
        await asyncio.sleep(1)
        assert room.stop_recording()
        other.press("*")
        await w.over(other)
        third = Speaker()
        await enter(w, third)
        await asyncio.sleep(1)
        assert not room.stop_recording()
        await leave(w, one, third)
        assert len(callbacks(w.site, "record")) == 1


async def test_what_was_said_is_told_where_that_is_wanted(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Speaker()
        await enter(
            w,
            one,
            record="true",
            recordWhenAlone="true",
            transcriptionType="auto",
            transcriptionUrl=w.site.url + "/words",
        )
        one.say(encode("take this down", 8000))
        await asyncio.sleep(2)
        await leave(w, one)
        await until(lambda: w.site.asked("/words"))
        (told,) = w.site.asked("/words")
        assert told.params["transcription"] == "take this down"


async def test_a_carrier_that_stops_completes_its_recordings(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Speaker()
        await enter(w, one, record="true", recordFileFormat="wav", recordWhenAlone="true")
        one.say(encode("last", 8000))
        await asyncio.sleep(1)
        await w.carrier.stop()
        (told,) = callbacks(w.site, "record")
        assert complete(tmp_path) == [f"{told['RecordingID']}.wav"]
