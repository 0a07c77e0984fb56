from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.g711 import mulaw_to_l16
from bothway.audio.wav import read_wav
from bothway.carrier import growing_file as module
from bothway.carrier.evidence import LOG_NAME, RECORDING_NAME, Evidence, interleaved
from bothway.carrier.writer import Writer


def unexpected(name: str, error: OSError) -> None:
    raise AssertionError(f"{name}: {error}")


def check_wav(path: Path) -> int:
    """The frames that the header tells of, which must all be there."""
    content = path.read_bytes()
    riff, size, wave, data, length = (*struct.unpack_from("<4sI4s", content), *struct.unpack_from("<4sI", content, 36))
    assert (riff, wave, data) == (b"RIFF", b"WAVE", b"data")
    assert size == length + 36
    assert len(content) >= 44 + length, "the header tells of no more than is there"
    read_wav(content)
    return int(length) // 4


async def test_records_are_json_lines_that_can_be_read_at_every_moment(tmp_path: Path) -> None:
    writer = Writer()
    seen: list[object] = []
    evidence = Evidence(writer, tmp_path / "calls" / "x", on_record=seen.append, on_failure=unexpected)
    for number in range(50):
        evidence.record("note", t_ms=number * 20, at=number / 7, text=f"µ {number}\n")
        if number % 7 == 0:
            await asyncio.sleep(0)
            await writer.drained()
            lines = (tmp_path / "calls" / "x" / LOG_NAME).read_bytes().split(b"\n")
            assert lines.pop() == b""
            assert len([json.loads(line) for line in lines]) == number + 1
    evidence.append({"event": "whole", "t_ms": 1, "at": 2.0})
    evidence.close()
    await writer.close()
    records = [json.loads(line) for line in (tmp_path / "calls" / "x" / LOG_NAME).read_text().splitlines()]
    assert records == seen
    assert records[3] == {"event": "note", "t_ms": 60, "at": 0.4286, "text": "µ 3\n"}
    assert records[-1] == {"event": "whole", "t_ms": 1, "at": 2.0}


async def test_no_record_is_lost_between_the_loop_and_the_writer(tmp_path: Path) -> None:
    writer = Writer()
    evidence = Evidence(writer, tmp_path, on_record=None, on_failure=unexpected)
    for number in range(5000):
        evidence.record("n", t_ms=number, at=0.0)
        if number % 3 == 0:
            await asyncio.sleep(0)
    evidence.close()
    await writer.close()
    assert [json.loads(line)["t_ms"] for line in (tmp_path / LOG_NAME).read_text().splitlines()] == list(range(5000))


async def test_without_a_folder_records_only_pass_through() -> None:
    writer = Writer()
    seen: list[object] = []
    evidence = Evidence(writer, None, on_record=seen.append, on_failure=unexpected)
    assert evidence.record_audio(MULAW_8K) is None
    evidence.record("note", t_ms=0, at=0.0)
    evidence.close()
    await writer.close()
    assert len(seen) == 1
    assert evidence.recording is None


@pytest.mark.parametrize("audio_format", [MULAW_8K, L16_8K, L16_16K], ids=str)
async def test_the_recording_is_what_crossed_the_leg(tmp_path: Path, audio_format: AudioFormat) -> None:
    writer = Writer()
    evidence = Evidence(writer, tmp_path, on_record=None, on_failure=unexpected)
    recording = evidence.record_audio(audio_format)
    assert recording is not None
    await writer.drained()
    assert check_wav(tmp_path / RECORDING_NAME) == 0, "it can be read from the first moment"
    samples = audio_format.rate // 50
    for number in range(130):
        recording.frame(bytes([number]) * audio_format.frame_bytes, bytes([255 - number]) * audio_format.frame_bytes)
        await writer.drained()
        assert check_wav(tmp_path / RECORDING_NAME) == (number + 1) // 50 * 50 * samples
    evidence.close()
    await writer.close()
    assert check_wav(tmp_path / RECORDING_NAME) == 130 * samples
    stereo = np.frombuffer((tmp_path / RECORDING_NAME).read_bytes()[44:], "<i2").reshape(-1, 2)
    frame = bytes([7]) * audio_format.frame_bytes
    left = np.frombuffer(mulaw_to_l16(frame) if audio_format is MULAW_8K else frame, "<i2")
    assert (stereo[7 * samples : 8 * samples, 0] == left).all(), "left is the caller"


def test_interleaved() -> None:
    assert interleaved(b"\x01\x00\x02\x00", b"\x03\x00\x04\x00", L16_8K) == b"\x01\x00\x03\x00\x02\x00\x04\x00"


class _FullDisk:
    """A file on a disk with room for so many bytes."""

    room = 0

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        left = _FullDisk.room
        if left <= 0:
            raise OSError(28, "No space left on device")
        _FullDisk.room -= min(left, len(content))
        return self._file.write(bytes(content)[:left])


async def test_a_full_disk_is_told_once_and_what_was_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.write_all
    monkeypatch.setattr(module, "write_all", lambda file, content: real(_FullDisk(file), content))  # type: ignore[arg-type]
    _FullDisk.room = 40_000
    writer = Writer()
    told: list[tuple[str, int | None]] = []
    evidence = Evidence(
        writer, tmp_path, on_record=None, on_failure=lambda name, error: told.append((name, error.errno))
    )
    recording = evidence.record_audio(MULAW_8K)
    assert recording is not None
    for number in range(150):
        recording.frame(b"\x10" * 160, b"\x20" * 160)
        if number % 10 == 0:
            evidence.record("note", t_ms=number, at=0.0)
            await asyncio.sleep(0)
    await writer.drained()
    _FullDisk.room = 10**9  # somebody tidied up: too late for files that have a hole
    recording.frame(b"\x10" * 160, b"\x20" * 160)
    evidence.record("note", t_ms=999, at=0.0)
    evidence.close()
    await writer.close()
    assert sorted(told) == [("audio.wav", 28), ("log.jsonl", 28)]
    assert check_wav(tmp_path / RECORDING_NAME) == 8000, "the second that was whole"
    lines = (tmp_path / LOG_NAME).read_bytes()
    assert lines.endswith(b"\n"), "the half-written line was cut off"
    assert all(json.loads(line)["t_ms"] < 999 for line in lines.splitlines())


async def test_a_line_that_the_disk_took_half_of_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.write_all
    monkeypatch.setattr(module, "write_all", lambda file, content: real(_FullDisk(file), content))  # type: ignore[arg-type]
    writer = Writer()
    told: list[str] = []
    evidence = Evidence(writer, tmp_path, on_record=None, on_failure=lambda name, error: told.append(name))
    _FullDisk.room = 100
    for number in range(4):
        evidence.record("note", t_ms=number, at=0.0, text="x" * 20)
        await asyncio.sleep(0)  # a write for each
    evidence.close()
    await writer.close()
    assert told == ["log.jsonl"]
    assert _FullDisk.room == 0, "the disk took the beginning of the line that did not fit"
    assert [json.loads(line)["t_ms"] for line in (tmp_path / LOG_NAME).read_bytes().splitlines()] == [0]


async def test_a_failure_of_the_last_write_is_on_record_and_costs_nothing(tmp_path: Path) -> None:
    """The recording's end may fail after the log was closed: the record of that must not wipe the log."""
    writer = Writer()

    def failed(name: str, error: OSError) -> None:
        evidence.record("evidence_failed", t_ms=0, at=0.0, file=name)

    evidence = Evidence(writer, tmp_path, on_record=None, on_failure=failed)
    recording = evidence.record_audio(MULAW_8K)
    assert recording is not None
    evidence.record("note", t_ms=0, at=0.0)
    await asyncio.sleep(0)
    recording.frame(b"\x10" * 160, b"\x20" * 160)
    recording._wav.written = 1  # no whole sample: what follows cannot be told by any header
    evidence.close()
    await writer.drained()
    await asyncio.sleep(0)
    await writer.close()
    records = [json.loads(line)["event"] for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert records == ["note", "evidence_failed"]


async def test_a_disk_without_any_room_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.write_all
    monkeypatch.setattr(module, "write_all", lambda file, content: real(_FullDisk(file), content))  # type: ignore[arg-type]
    _FullDisk.room = 7
    writer = Writer()
    told: list[str] = []
    evidence = Evidence(writer, tmp_path / "x", on_record=None, on_failure=lambda name, _: told.append(name))
    evidence.record_audio(MULAW_8K)
    evidence.record("note", t_ms=0, at=0.0)
    evidence.close()
    await writer.close()
    assert sorted(told) == [RECORDING_NAME, LOG_NAME]
    assert not any((tmp_path / "x").iterdir())


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file where a folder should be")
    writer = Writer()
    told: list[str] = []
    evidence = Evidence(writer, tmp_path / "calls" / "x", on_record=None, on_failure=lambda name, _: told.append(name))
    for _ in range(5):
        evidence.record("note", t_ms=0, at=0.0)
        await asyncio.sleep(0)
    await writer.drained()
    evidence.record("note", t_ms=0, at=0.0)
    evidence.close()
    await writer.close()
    assert told == [LOG_NAME]


async def test_a_writer_that_is_swamped_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    told: list[str] = []
    evidence = Evidence(writer, tmp_path, on_record=None, on_failure=lambda name, error: told.append(str(error)))
    monkeypatch.setattr(writer, "submit", lambda job, on_failure: False)
    evidence.record("note", t_ms=0, at=0.0)
    await asyncio.sleep(0)
    evidence.record("note", t_ms=0, at=0.0)
    await asyncio.sleep(0)
    monkeypatch.undo()
    assert told == ["too much is waiting to be written: the disk is too slow"]
    evidence.close()
    await writer.close()
