"""MP3 files through the worker: what they hold, and what happens when the worker does not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from tests.speech_data import speech

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import tone
from bothway.audio.transcode import to_l16
from bothway.audio.wav import read_wav, wav_header
from bothway.carrier import mp3
from bothway.carrier.mp3 import BITRATES, Mp3Worker, is_mp3
from bothway.errors import ProviderError, UsageError

Fake = Callable[..., Mp3Worker]


@pytest.fixture
async def worker() -> AsyncIterator[Mp3Worker]:
    worker = Mp3Worker()
    yield worker
    await worker.close()


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    """Makes workers whose process is a small program of its own."""
    made: list[Mp3Worker] = []

    def make(script: str, *, deadline_s: float = 10, max_waiting: int = 64) -> Mp3Worker:
        command = [sys.executable, "-c", "import sys, time, os\n" + script]
        made.append(Mp3Worker(command=command, deadline_s=deadline_s, max_waiting=max_waiting))
        return made[-1]

    yield make
    for worker in made:
        await worker.close()


def wav(path: Path, rate: int = 8000, channels: int = 1, ms: float = 1000) -> Path:
    samples = np.repeat(np.frombuffer(tone(440, ms, rate), "<i2"), channels).tobytes()
    path.write_bytes(wav_header(rate, channels, len(samples)) + samples)
    return path


def silent_wav(path: Path, seconds: int) -> Path:
    """A file of silence that takes no room on the disk."""
    size = 2 * 8000 * seconds
    with open(path, "wb") as file:
        file.write(wav_header(8000, 1, size))
        file.truncate(44 + size)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def peak_kilobytes(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


async def encoded(worker: Mp3Worker, folder: Path, **options: int) -> bytes:
    await worker.encode(wav(folder / "in.wav", **options), folder / "out.mp3")
    return (folder / "out.mp3").read_bytes()


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_there_and_back(worker: Mp3Worker, tmp_path: Path, rate: int, channels: int) -> None:
    made = await encoded(worker, tmp_path, rate=rate, channels=channels)
    assert is_mp3(made)
    assert len(made) == pytest.approx(32_000 / 8, rel=0.3)
    for fmt in (MULAW_8K, L16_8K, L16_16K):
        audio = await worker.decode(made, fmt)
        assert fmt.duration_ms(len(audio)) == pytest.approx(1000, abs=220), "whole MP3 frames, and the coder's delay"
        middle = to_l16(audio, fmt.encoding)[fmt.rate // 2 : fmt.rate]
        assert rms_dbfs(middle) == pytest.approx(-16, abs=1)
    assert names(tmp_path) == ["in.wav", "out.mp3"]


async def test_speech_sounds_the_same(worker: Mp3Worker, tmp_path: Path) -> None:
    source = speech("caller_greeting_8k.wav")
    await worker.encode(source, tmp_path / "said.mp3")
    said = np.frombuffer(read_wav(source)[1], "<i2").astype(np.float64)
    heard = np.frombuffer(await worker.decode((tmp_path / "said.mp3").read_bytes(), L16_8K), "<i2").astype(np.float64)
    middle = said[2000:26_000]
    assert max(np.corrcoef(middle, heard[at : at + middle.size])[0, 1] for at in range(2800, 3300)) > 0.97


@pytest.mark.parametrize("bitrate", BITRATES)
async def test_bitrates(worker: Mp3Worker, tmp_path: Path, bitrate: int) -> None:
    await worker.encode(wav(tmp_path / "in.wav", ms=4000), tmp_path / "out.mp3", bitrate)
    assert (tmp_path / "out.mp3").stat().st_size == pytest.approx(4 * bitrate * 125, rel=0.1)
    with pytest.raises(UsageError, match="of 33 kbit/s"):
        await worker.encode(tmp_path / "in.wav", tmp_path / "out.mp3", 33)


async def test_a_long_recording_takes_no_memory(worker: Mp3Worker, tmp_path: Path) -> None:
    """61 minutes: more than a decoder gives, and hours of it would take no more than this."""
    await worker.encode(silent_wav(tmp_path / "long.wav", 61 * 60), tmp_path / "long.mp3", 8)
    with pytest.raises(UsageError, match="holds more than 3600 s of audio"):
        await worker.decode((tmp_path / "long.mp3").read_bytes(), MULAW_8K)
    if sys.platform == "linux":
        assert peak_kilobytes(worker.worker_pid) < 150_000


async def test_a_recording_whose_recorder_was_killed(worker: Mp3Worker, tmp_path: Path) -> None:
    samples = tone(440, 1000, 8000)
    for declared in (0, len(samples) * 3):
        (tmp_path / "in.wav").write_bytes(wav_header(8000, 1, declared) + samples + b"\x00")
        await worker.encode(tmp_path / "in.wav", tmp_path / "out.mp3")
        assert len(await worker.decode((tmp_path / "out.mp3").read_bytes(), L16_8K)) > len(samples)


async def test_a_recording_of_nothing_is_a_file_that_can_be_read(worker: Mp3Worker, tmp_path: Path) -> None:
    (tmp_path / "in.wav").write_bytes(wav_header(8000, 2, 0))
    await worker.encode(tmp_path / "in.wav", tmp_path / "out.mp3")
    assert rms_dbfs(await worker.decode((tmp_path / "out.mp3").read_bytes(), L16_8K)) < -80


async def test_files_that_cannot_be_encoded(worker: Mp3Worker, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"no wave")
    (tmp_path / "cut.wav").write_bytes(wav_header(8000, 1, 2)[:30])
    (tmp_path / "wide.wav").write_bytes(wav_header(8000, 3, 6) + bytes(6))
    (tmp_path / "odd.wav").write_bytes(wav_header(12_345, 1, 2) + bytes(2))
    for name, sentence in [
        ("missing.wav", "No such file"),
        ("text.wav", "no WAV file"),
        ("cut.wav", "no WAV file"),
        ("wide.wav", "3 channels"),
        ("odd.wav", "LAME refuses"),
    ]:
        with pytest.raises(UsageError, match=sentence) as caught:
            await worker.encode(tmp_path / name, tmp_path / "out.mp3")
        assert name in str(caught.value)
    with pytest.raises(UsageError, match="No such file"):
        await worker.encode(wav(tmp_path / "in.wav"), tmp_path / "nowhere" / "out.mp3")
    assert not [name for name in names(tmp_path) if ".mp3" in name]
    await worker.encode(tmp_path / "in.wav", tmp_path / "out.mp3")


async def test_garbage_is_refused_and_the_next_file_is_not(worker: Mp3Worker, tmp_path: Path) -> None:
    good = await encoded(worker, tmp_path)
    pid = worker.worker_pid
    rng = random.Random(1)
    played, refusals = 0, set()
    for kind in range(150):
        bad = bytearray(good)
        for _ in range(rng.choice([1, 20, 200])):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        if kind % 3 == 0:
            del bad[rng.randrange(1, len(bad)) :]
        if kind % 5 == 0:
            bad = bytearray(b"\xff\xfb" + rng.randbytes(4000))
        if kind % 7 == 0:
            bad[:0] = b"ID3\x04\x00" + rng.randbytes(5)
        try:
            played += bool(await worker.decode(bytes(bad), L16_16K))
        except UsageError as error:
            refusals.add(str(error))
    assert 0 < played < 150
    assert all(text.startswith("the MP3 file cannot be made use of: ") for text in refusals)
    assert worker.worker_pid == pid, "no file killed the decoder"
    assert await worker.decode(good, L16_8K)
    for nothing in (b"", b"ID3", b"\xff\xfb", bytes(10_000)):
        with pytest.raises(UsageError):
            await worker.decode(nothing, L16_8K)


def test_what_says_it_is_mp3() -> None:
    for start in (b"ID3\x04", b"\xff\xfb\x90", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3\x18", b"\xff\xfa"):
        assert is_mp3(start)
    for start in (b"", b"\xff", b"RIFF", b"\xff\xff", b"\xff\xf1", b"OggS", b"\xff\x00", b"\xff\xfd"):
        assert not is_mp3(start)


@pytest.mark.virtual_time
async def test_in_virtual_time_the_clock_waits_for_it(tmp_path: Path) -> None:
    worker = Mp3Worker()
    began = asyncio.get_running_loop().time()
    made = await encoded(worker, tmp_path, ms=20_000)
    assert await worker.decode(made, MULAW_8K)
    assert asyncio.get_running_loop().time() == began
    await worker.close()


async def test_jobs_are_done_in_order(worker: Mp3Worker, tmp_path: Path) -> None:
    done: list[int] = []
    source = wav(tmp_path / "in.wav")

    async def one(number: int) -> None:
        await worker.encode(source, tmp_path / f"{number}.mp3")
        done.append(number)

    await asyncio.gather(*map(one, range(6)))
    assert done == list(range(6))


async def test_giving_up_leaves_the_next_job_whole(worker: Mp3Worker, tmp_path: Path) -> None:
    made = await encoded(worker, tmp_path, ms=60_000)
    whole = await worker.decode(made, MULAW_8K)
    waiting = [asyncio.create_task(worker.decode(made, MULAW_8K)) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    assert [await waiting[1], await waiting[3]] == [whole, whole]


async def test_a_killed_worker_is_replaced_and_the_job_done(worker: Mp3Worker, tmp_path: Path) -> None:
    made = await encoded(worker, tmp_path, ms=60_000)
    whole = await worker.decode(made, MULAW_8K)
    first = worker.worker_pid
    assert first
    job = asyncio.create_task(worker.decode(made, MULAW_8K))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    assert await job == whole
    assert worker.worker_pid != first


async def test_what_kills_two_workers_is_not_given_to_a_third(fake: Fake, tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); sys.stdin.buffer.read(4); os.abort()"
    worker = fake(script)
    with pytest.raises(UsageError, match=r"its decoder died of it, the worker ended with code -6"):
        await worker.decode(b"ID3", L16_8K)
    assert (tmp_path / "starts").read_text() == "xx"
    (tmp_path / "out.mp3.part").write_bytes(b"half")
    with pytest.raises(ProviderError, match="was not made: the worker ended with code -6") as caught:
        await worker.encode(wav(tmp_path / "in.wav"), tmp_path / "out.mp3")
    assert caught.value.retryable
    assert not (tmp_path / "out.mp3.part").exists()


async def test_a_silent_worker_is_ended_at_the_deadline(fake: Fake) -> None:
    worker = fake("time.sleep(60)", deadline_s=0.2)
    with pytest.raises(ProviderError, match=r"was silent for 0\.2 s") as caught:
        await worker.decode(b"ID3", L16_8K)
    assert caught.value.retryable
    assert worker.worker_pid is None


async def test_a_worker_that_talks_nonsense_or_cannot_be_started(fake: Fake) -> None:
    with pytest.raises(ProviderError, match="sent what is no reply"):
        await fake("print('usage: ...' * 99, flush=True); time.sleep(60)").decode(b"ID3", L16_8K)
    worker = Mp3Worker(command=["/nonexistent/lame"])
    with pytest.raises(ProviderError, match="could not be started") as caught:
        await worker.decode(b"ID3", L16_8K)
    assert not caught.value.retryable
    await worker.close()


async def test_too_many_waiting_jobs_are_refused_and_close_fails_the_rest(fake: Fake) -> None:
    worker = fake("time.sleep(60)", max_waiting=2)
    running = [asyncio.create_task(worker.decode(b"ID3", L16_8K))]
    await asyncio.sleep(0.05)
    running += [asyncio.create_task(worker.decode(b"ID3", L16_8K)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ProviderError, match="has 2 jobs waiting"):
        await worker.decode(b"ID3", L16_8K)
    pid = worker.worker_pid
    assert pid
    await worker.close()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert [str(result) for result in results] == ["the MP3 worker was closed"] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(UsageError, match="is closed"):
        await worker.decode(b"ID3", L16_8K)


async def test_without_the_extra_it_says_what_to_install(
    worker: Mp3Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp3, "find_spec", lambda _: None)
    jobs = [worker.decode(b"ID3", L16_8K), worker.encode(tmp_path / "in.wav", tmp_path / "out.mp3")]
    for job in jobs:
        with pytest.raises(UsageError, match=r"pip install bothway\[mp3\]"):
            await job


async def test_the_worker_gets_no_secrets_by_its_environment(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", "secret")
    script = "known = 'PLIVO_AUTH_TOKEN' in os.environ; os.write(1, b'E\\0\\0\\0\\0' if not known else b'?????')"
    assert await fake(script + "; time.sleep(60)").decode(b"ID3", AudioFormat(L16_8K.encoding, 8000)) == b""


def test_the_libraries_are_never_loaded_into_our_process() -> None:
    script = """
import asyncio, sys
from bothway.audio.format import L16_8K
from bothway.carrier.mp3 import Mp3Worker
from bothway.errors import UsageError
async def main():
    worker = Mp3Worker()
    try:
        await worker.decode(b"ID3", L16_8K)
    except UsageError:
        print("refused")
    await worker.close()
asyncio.run(main())
assert not {"lameenc", "miniaudio", "_miniaudio"} & sys.modules.keys()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr) == ("refused\n", "")
