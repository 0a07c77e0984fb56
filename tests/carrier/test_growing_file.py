"""How both kinds of file take failures is in test_evidence.py, of the files that they are made for."""

from __future__ import annotations

from pathlib import Path

from tests.carrier.test_evidence import unexpected

from bothway.carrier.growing_file import GrowingFile, WavFile
from bothway.carrier.writer import Writer


async def test_a_wav_file_can_be_read_after_each_append(tmp_path: Path) -> None:
    writer = Writer()
    wav = WavFile(writer, tmp_path / "a" / "b.wav", 16_000, 2, unexpected)
    samples = bytes(range(200))
    for count in range(4):
        await writer.drained()
        content = (tmp_path / "a" / "b.wav").read_bytes()
        assert content[22] == 2
        assert int.from_bytes(content[24:28], "little") == 16_000
        assert int.from_bytes(content[40:44], "little") == wav.written == count * 200
        assert content[44:] == samples * count
        wav.append(lambda: samples)
    wav.close()
    await writer.close()
    assert wav.written == 800
    assert not wav.failed


async def test_more_than_a_wav_file_holds_ends_it(tmp_path: Path) -> None:
    writer = Writer()
    told: list[str] = []
    wav = WavFile(writer, tmp_path / "b.wav", 8000, 1, lambda name, error: told.append(f"{name}: {error.strerror}"))
    wav.append(lambda: b"12")
    await writer.drained()
    wav.written = 0xFFFF_FFFF - 38
    for _ in range(3):
        wav.append(lambda: b"1234")
    wav.close()
    await writer.close()
    assert told == ["b.wav: a WAV file holds no more than 4 GiB"]
    assert wav.failed
    assert (tmp_path / "b.wav").read_bytes()[40:] == b"\x02\0\0\x0012"


async def test_a_file_that_was_closed_is_opened_again_for_more(tmp_path: Path) -> None:
    writer = Writer()
    file = GrowingFile(writer, tmp_path / "x", unexpected)
    file.append(b"one ")
    file.close()
    file.append(b"two")
    await writer.close()
    assert (tmp_path / "x").read_bytes() == b"one two"
