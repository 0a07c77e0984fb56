"""Files of recordings by themselves; whole calls are in test_verbs_record.py."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.transcode import to_l16
from bothway.carrier import recordings as module
from bothway.carrier.keys import Keys, recording_path
from bothway.carrier.rates import Rates
from bothway.carrier.recordings import (
    Recordings,
    UnfinishedRecording,
    both_apart,
    both_mixed,
    first_alone,
    first_left,
    length_ms,
)
from bothway.carrier.store.records import RecordingRecord
from bothway.carrier.store.store import Store
from bothway.carrier.writer import Writer
from bothway.core.recording import RecordOrder
from bothway.runtime.tasks import Tasks

KEYS = Keys(bytes(32))
ACCOUNT = "MAAAAAAAAAAAAAAAAAAA"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@asynccontextmanager
async def recordings_in(folder: Path | None) -> AsyncIterator[Recordings]:
    writer, tasks = Writer(), Tasks()
    store = await Store.open()
    recordings = Recordings(
        folder, writer=writer, store=store, tasks=tasks, rates=Rates(), keys=KEYS, origin=lambda: "https://carrier"
    )
    try:
        yield recordings
    finally:
        await tasks.close(5.0)
        await store.close()
        await writer.close()
        await recordings.close()


def unfinished(recording_id: str = "r1", channels: int = 1, **order: Any) -> UnfinishedRecording:
    wanted = RecordOrder("wav", "mono" if channels == 1 else "stereo", **order)
    record = RecordingRecord(
        recording_id=recording_id,
        account=ACCOUNT,
        add_time=NOW,
        path=f"recordings/{ACCOUNT}/{recording_id}.wav",
        recording_format="wav",
        channels=channels,
        start_ms=1000,
        recording_type="conference",
        conference_name="town hall",
        conference_uuid="c1",
    )
    return UnfinishedRecording(record, wanted, ACCOUNT, "1", {"ConferenceAction": "record"})


def unheard(event: str, **facts: object) -> None:
    assert event == "recording", (event, facts)


async def test_a_mix_of_one_track_is_recorded_too(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished(callback_url="https://app/recorded", seconds=10)
        tape = recordings.begin(draft, first_alone, L16_16K, on_full=lambda: None, note=unheard)
        frames = [bytes([number]) * 640 for number in range(73)]
        for frame in frames:
            tape.frame(frame)
        told = await tape.finish({"ConferenceName": "town hall"})
        assert told.filed
        assert told.unsent is None
        assert (told.facts.duration_ms, told.facts.start_ms, told.facts.end_ms) == (1460, 1000, 2460)
        assert (tmp_path / draft.record.path).read_bytes()[44:] == b"".join(frames)
        record = await recordings.store.recordings.get("r1")
        assert record is not None
        assert (record.conference_name, record.duration_ms, record.rounded_duration) == ("town hall", 1460, 60)
        assert [path.suffix for path in (tmp_path / draft.record.path).parent.iterdir()] == [".wav"]
        assert await recordings.store.outbox.waiting("c1") == 1


async def test_it_stops_at_its_longest_and_says_so_once(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        full: list[bool] = []
        tape = recordings.begin(
            unfinished(seconds=1), both_mixed, MULAW_8K, on_full=lambda: full.append(True), note=unheard
        )
        for _ in range(60):
            tape.frame(b"\xff" * 160, b"\xff" * 160)
            await asyncio.sleep(0)
        assert full == [True]
        assert (await tape.finish()).facts.duration_ms == 1000


async def test_what_is_recorded_is_written_down_beside_it_from_the_first_moment(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished()
        tape = recordings.begin(draft, first_alone, L16_8K, on_full=lambda: None, note=unheard)
        await recordings.writer.drained()
        beside = (tmp_path / draft.record.path).with_suffix(".json")
        assert msgspec.json.decode(beside.read_bytes(), type=UnfinishedRecording) == draft
        assert beside.stat().st_mode & 0o777 == 0o600
        wav = tmp_path / draft.record.path
        assert (wav.stat().st_size, wav.stat().st_mode & 0o777) == (44, 0o600)
        assert {path.suffix for path in wav.parent.iterdir()} == {".json", ".wav"}
        events: list[str] = []
        tape._note = lambda event, **_: events.append(event)
        told = await tape.finish()
        assert (told.filed, told.facts.url, told.facts.duration_ms) == (False, "", 0)
        assert events == ["recording_failed"]
        assert not list(beside.parent.iterdir())


async def test_it_ends_where_a_wav_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAV_BYTES", 1000)
    async with recordings_in(tmp_path) as recordings:
        full: list[bool] = []
        tape = recordings.begin(unfinished(), first_alone, L16_8K, on_full=lambda: full.append(True), note=unheard)
        for _ in range(5):
            tape.frame(bytes(320))
            await asyncio.sleep(0)
        assert full == [True]
        assert (await tape.finish()).facts.duration_ms == 60, "three frames, of 960 bytes"


async def test_a_full_disk_leaves_no_half_of_what_is_written_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def half(file: Any, content: bytes) -> None:
        file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_all", half)
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished()
        tape = recordings.begin(draft, first_alone, L16_8K, on_full=lambda: None, note=lambda *_, **__: None)
        await recordings.writer.drained()
        assert [path.suffix for path in (tmp_path / draft.record.path).parent.iterdir()] == [".wav"]
        await asyncio.sleep(0)
        assert "recording r1 would be lost with this process: [Errno 28]" in caplog.text
        await tape.finish()


async def test_a_callback_that_the_store_cannot_take_comes_back(tmp_path: Path) -> None:
    async with recordings_in(tmp_path) as recordings:
        draft = unfinished(callback_url="https://app/recorded")
        events: list[Mapping[str, object]] = []
        tape = recordings.begin(
            draft, first_alone, L16_8K, on_full=lambda: None, note=lambda event, **_: events.append({"event": event})
        )
        tape.frame(bytes(320))

        def lose(connection: Any) -> None:
            connection.exec_driver_sql("DROP TABLE recordings")

        await recordings.store._database.write("the loss of a table", lose)
        told = await tape.finish()
        assert not told.filed
        assert told.unsent is not None
        assert told.unsent.params["RecordingDurationMs"] == "20"
        assert events == [{"event": "recording_failed"}]
        assert sorted(path.suffix for path in (tmp_path / draft.record.path).parent.iterdir()) == [".json", ".wav"]


async def test_the_url_is_signed_for_a_week() -> None:
    async with recordings_in(None) as recordings:
        url = urlsplit(recordings.url(ACCOUNT, "r1", "mp3"))
        query = parse_qs(url.query)
        path = recording_path(ACCOUNT, "r1", "mp3")
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://carrier" + path
        expires = int(query["Expires"][0])
        assert KEYS.verify_url(path, query["Expires"][0], query["Signature"][0], expires - 7 * 86_400 + 5)
        root = recordings.root
        assert root.is_dir()
    assert not root.exists()


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_8K], ids=str)
@given(data=st.data())
def test_layouts(fmt: AudioFormat, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8)) * fmt.sample_bytes
    first, second = (data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    left, right = (np.frombuffer(to_l16(track, fmt.encoding), "<i2") for track in (first, second))

    def samples(made: bytes) -> list[list[int]]:
        return np.frombuffer(made, "<i2").reshape(len(left), -1).T.tolist()

    assert samples(first_alone(first, second, fmt)) == [left.tolist()]
    assert samples(first_left(first, second, fmt)) == [left.tolist(), [0] * len(left)]
    assert samples(both_apart(first, second, fmt)) == [left.tolist(), right.tolist()]
    mixed = np.clip(left.astype(int) + right, -32768, 32767)
    assert samples(both_mixed(first, second, fmt)) == [mixed.tolist()]


def test_length() -> None:
    assert length_ms(64_000, 8000, 2) == 2000
    assert length_ms(320, 8000, 1) == 20
