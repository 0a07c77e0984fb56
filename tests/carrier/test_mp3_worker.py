"""The worker itself, over its pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bothway.audio.tones import tone
from bothway.audio.wav import wav_header
from bothway.carrier.mp3_worker import AUDIO, END, FAILED, JOB_HEAD, PROGRESS, REPLY_HEAD

Worker = subprocess.Popen[bytes]


@pytest.fixture
def worker() -> Iterator[Worker]:
    command = [sys.executable, "-P", "-m", "bothway.carrier.mp3_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def ask(worker: Worker, payload: bytes, job: dict[str, object]) -> list[tuple[bytes, bytes]]:
    """The messages of one reply."""
    assert worker.stdin
    assert worker.stdout
    head = json.dumps(job).encode()
    worker.stdin.write(JOB_HEAD.pack(len(head)) + head + payload)
    worker.stdin.flush()
    reply: list[tuple[bytes, bytes]] = []
    while not reply or reply[-1][0] not in (END, FAILED):
        kind, size = REPLY_HEAD.unpack(worker.stdout.read(REPLY_HEAD.size))
        reply.append((kind, worker.stdout.read(size)))
    return reply


def encode(worker: Worker, folder: Path) -> list[tuple[bytes, bytes]]:
    samples = tone(440, 40_000, 8000)
    (folder / "in.wav").write_bytes(wav_header(8000, 1, len(samples)) + samples)
    paths = {name: str(folder / file) for name, file in [("source", "in.wav"), ("target", "out"), ("part", "out.part")]}
    return ask(worker, b"", {"job": "encode", "bitrate": 16, **paths})


def test_encoding_tells_of_its_progress_and_leaves_one_file(worker: Worker, tmp_path: Path) -> None:
    assert encode(worker, tmp_path) == [(PROGRESS, b""), (PROGRESS, b""), (END, b"")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out"]


def test_decoding_gives_audio_in_pieces(worker: Worker, tmp_path: Path) -> None:
    encode(worker, tmp_path)
    content = (tmp_path / "out").read_bytes()
    for rate in (8000, 16_000):
        reply = ask(worker, content, {"job": "decode", "rate": rate, "size": len(content)})
        audio = [message for kind, message in reply if kind == AUDIO]
        assert len(audio) > 2
        assert 40 <= sum(map(len, audio)) / rate / 2 < 40.3
        assert reply[-1] == (END, b"")


def test_a_failure_is_a_sentence_and_the_next_job_is_done(worker: Worker, tmp_path: Path) -> None:
    ((kind, sentence),) = ask(worker, b"RIFF", {"job": "decode", "rate": 8000, "size": 4})
    assert kind == FAILED
    assert sentence.startswith(b"it is no MP3")
    assert encode(worker, tmp_path)[-1] == (END, b"")


def test_it_ends_with_its_input_and_not_with_an_interrupt(worker: Worker, tmp_path: Path) -> None:
    encode(worker, tmp_path)
    worker.send_signal(signal.SIGINT)
    assert encode(worker, tmp_path)[-1] == (END, b"")
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(5) == 0


def test_it_ends_in_the_middle_of_a_job_when_nobody_listens(worker: Worker, tmp_path: Path) -> None:
    size = 2 * 8000 * 3600
    with open(tmp_path / "in.wav", "wb") as file:
        file.write(wav_header(8000, 1, size))
        file.truncate(44 + size)
    assert worker.stdin
    assert worker.stdout
    job = {"job": "encode", "source": f"{tmp_path}/in.wav", "target": f"{tmp_path}/out", "part": f"{tmp_path}/part"}
    head = json.dumps({**job, "bitrate": 8}).encode()
    worker.stdin.write(JOB_HEAD.pack(len(head)) + head)
    worker.stdin.flush()
    worker.stdout.read(REPLY_HEAD.size)
    worker.stdout.close()
    assert worker.wait(10) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav"]
