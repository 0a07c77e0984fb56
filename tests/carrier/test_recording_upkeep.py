"""Recordings of carriers that were killed or stopped, and old ones."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.carrier.recorded import Noisy, filed, nothing_left, record, told, wav_of
from tests.carrier.talker import doc, offline
from tests.carrier.test_evidence import check_wav
from tests.carrier.test_recordings import recordings_in, unfinished
from tests.carrier.world import ACCOUNT, Streams, World, listen, site, until

from bothway.audio.format import L16_8K
from bothway.audio.wav import wav_header
from bothway.carrier.carrier import Carrier
from bothway.carrier.recording_upkeep import file_recordings, keep_recordings, mend_wav, unfinished_recordings
from bothway.carrier.recordings import first_alone
from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.virtual_time


async def test_a_recording_of_a_carrier_that_was_killed_is_filed_at_the_next_start(tmp_path: Path) -> None:
    here, copied = tmp_path / "here", tmp_path / "copied"
    async with offline(here) as w:
        caller = Noisy()
        session = record(w, recordSession="true", redirect="false")
        w.place(doc(session, record(w, callbackUrl=w.site.url + "/verb", playBeep="false")), caller=caller)
        await until(lambda: len(caller.heard) >= 177)
        assert w.carrier._node is not None
        await w.carrier._node.writer.drained()
        shutil.copytree(here, copied, symlinks=True)  # what a kill -9 would leave
        recordings = list((copied / "recordings").glob("*/*.wav"))
        assert len(recordings) == 2
        assert {check_wav(path) for path in recordings} == {3 * 8000}
        with recordings[0].open("ab") as file:
            file.write(b"half a write")
        caller.hang_up()
        await w.over(caller)
        before = len(w.site.requests)
        async with offline(copied) as restarted:
            await until(lambda: len([r for r in w.site.requests[before:] if r.path in ("/recorded", "/verb")]) == 2)
            for request in w.site.requests[before:]:
                if request.path in ("/recorded", "/verb"):
                    assert request.params["RecordingDurationMs"] == "3000"
                    assert request.params["CallStatus"] == "completed"
                    assert request.params["RecordUrl"].startswith(restarted.carrier.url)
                    stereo = await wav_of(restarted, request.params["RecordingID"], 2)
                    assert (stereo[:, 0] == caller.left[:24000]).all()
            await until(lambda: nothing_left(restarted))
        async with offline(copied) as once_more:
            await asyncio.sleep(5)
            assert len([r for r in w.site.requests[before:] if r.path == "/recorded"]) == 1
            assert nothing_left(once_more)


async def test_a_carrier_that_is_stopped_completes_what_it_records(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        w.place(doc(record(w, recordSession="true"), "<Wait length='60'/>"), caller=caller)
        w.site.pages["/action"] = doc("<Wait length='60'/>")
        await until(lambda: len(caller.heard) >= 100)
        await w.carrier.stop()
        assert (await told(w))["RecordingDurationMs"] == str(len(caller.heard) * 20)
        assert nothing_left(w)


async def test_recordings_are_kept_as_long_as_the_setting_says(tmp_path: Path) -> None:
    async with offline(tmp_path, limits={"recordings_days": 2}) as w:
        await w.call(doc(record(w, maxLength="1")), caller=Noisy())
        assert w.carrier._store is not None
        recent = await filed(w, (await told(w))["RecordingID"])
        for name, hours in (("old", 48), ("aging", 46.5)):
            older = msgspec.structs.replace(
                recent,
                recording_id=name,
                path=recent.path.replace(recent.recording_id, name),
                add_time=recent.add_time - timedelta(hours=hours),
            )
            shutil.copy(tmp_path / recent.path, tmp_path / older.path)
            await w.carrier._store.recordings.save(older)
        left = []
        for _ in range(3):
            await asyncio.sleep(3600)
            left.append(sorted(path.stem for path in (tmp_path / "recordings").glob("*/*")))
        keep = recent.recording_id
        assert left == [sorted(["aging", keep]), [keep], [keep]]
        assert [await w.carrier._store.recordings.get(name) for name in ("old", "aging", keep)] == [None, None, recent]


async def test_they_may_be_kept_for_ever(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        kept = unfinished().record
        await recordings.store.recordings.save(kept)
        keeping = asyncio.create_task(keep_recordings(recordings, 1e12))
        await asyncio.sleep(1)
        assert not keeping.done()
        assert await recordings.store.recordings.get(kept.recording_id) == kept
        keeping.cancel()


async def test_without_a_data_folder_recordings_last_as_long_as_the_carrier() -> None:
    async with site() as http, Carrier(account=ACCOUNT, allow_private=True, voice=ToneVoice(rate=8000)) as carrier:
        w = World(carrier, http, Streams(listen), Path())
        caller = Noisy()
        w.place(doc(record(w, maxLength="1", playBeep="false")), caller=caller)
        await caller.done.wait()
        assert carrier._node is not None
        root = carrier._node.recordings.root
        params = await told(w)
        assert len((root / (await filed(w, params["RecordingID"])).path).read_bytes()) == 32_044
    assert not root.exists()


# The parts.


@pytest.mark.parametrize(
    ("told", "there", "left"),
    [(640, 640, 640), (640, 644, 640), (640, 1000, 640), (640, 639, 636), (0, 300, 0), (640, 3, 0)],
)
def test_a_wav_file_is_cut_to_what_its_header_tells(tmp_path: Path, told: int, there: int, left: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(8000, 2, told) + bytes(there))
    assert mend_wav(path) == (left, 8000)
    assert path.stat().st_size == 44 + left


def test_where_there_is_no_wav_file_there_is_no_audio(tmp_path: Path) -> None:
    assert mend_wav(tmp_path / "a.wav")[0] == 0
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert mend_wav(tmp_path / "a.wav")[0] == 0


def test_only_what_dead_nodes_have_left_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "recordings" / "MA"
    folder.mkdir(parents=True)
    drafts = {
        name: msgspec.structs.replace(unfinished(name), node=node)
        for name, node in (("a", "1"), ("b", "2"), ("c", "3"))
    }
    for name, draft in drafts.items():
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(draft))
    (folder / "d.json").write_bytes(b'{"record": ')
    assert unfinished_recordings(tmp_path, {"1", "3"}) == [drafts["a"], drafts["c"]]
    assert "d.json" in caplog.text
    assert unfinished_recordings(tmp_path / "none", {"1"}) == []


async def test_what_was_filed_already_is_only_tidied(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished(callback_url="https://app/recorded")
        tape = recordings.begin(draft, first_alone, L16_8K, on_full=lambda: None, note=lambda *_, **__: None)
        tape.frame(bytes(320))
        await recordings.writer.drained()
        beside = (tmp_path / draft.record.path).with_suffix(".json")
        kept = beside.read_bytes()
        await tape.finish()
        beside.write_bytes(kept)
        await file_recordings(recordings, [draft])
        assert [path.suffix for path in beside.parent.iterdir()] == [".wav"]
        assert await recordings.store.outbox.waiting() == 1, "it is told once"


async def test_a_recording_without_any_file_is_told_of_as_nothing(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished(callback_url="https://app/recorded")
        await file_recordings(recordings, [draft])
        assert await recordings.store.recordings.get("r1") is None
        assert await recordings.store.outbox.waiting() == 1
