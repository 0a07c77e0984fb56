"""The worker: its block resampler, and the process itself over its pipes."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bothway.audio.resample import resample_clip
from bothway.speech.providers.espeak_worker import (
    AUDIO,
    END,
    FAILED,
    REPLY_HEAD,
    REQUEST_HEAD,
    BlockResampler,
    _Reply,
    request_message,
)

Worker = subprocess.Popen[bytes]


@pytest.fixture
def worker() -> Iterator[Worker]:
    command = [sys.executable, "-P", "-m", "bothway.speech.providers.espeak_worker", "8000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def reply(worker: Worker) -> tuple[bytes, bytes, bytes]:
    """The audio of one reply, the kind of the message that ended it, and its content."""
    assert worker.stdout
    audio = b""
    while True:
        kind, size = REPLY_HEAD.unpack(worker.stdout.read(REPLY_HEAD.size))
        content = worker.stdout.read(size)
        if kind != AUDIO:
            return audio, kind, content
        audio += content


def ask(worker: Worker, text: str, voice: str = "en-us+f2", *, ssml: bool = False) -> tuple[bytes, bytes, bytes]:
    assert worker.stdin
    worker.stdin.write(request_message(text, voice, ssml=ssml))
    worker.stdin.flush()
    return reply(worker)


def test_a_text_comes_back_as_audio_and_its_end(worker: Worker) -> None:
    audio, kind, content = ask(worker, "Good morning.")
    assert (kind, content) == (END, b"")
    assert 0.5 < len(audio) / 16000 < 2.5


def test_an_unknown_voice_is_a_failure_and_the_next_text_is_not(worker: Worker) -> None:
    assert ask(worker, "Hello", "xx-none") == (b"", FAILED, b"espeak-ng has no voice 'xx-none'")
    assert ask(worker, "Hello")[1] == END


def test_a_text_that_speaks_too_long_is_stopped() -> None:
    out = io.BytesIO()
    reply = _Reply(out, 8000)
    reply.begin(8000)
    minute = bytes(2 * 8000 * 60)
    assert [reply.add(minute) for _ in range(11)] == [True] * 10 + [False]
    reply.finish()
    sent = out.getvalue()
    sentence = b"the text makes more than 600 s of audio"
    assert sent.endswith(REPLY_HEAD.pack(FAILED, len(sentence)) + sentence)
    assert len(sent) < 601 * 16000


def test_it_opens_no_file_that_a_text_names(worker: Worker, tmp_path: Path) -> None:
    fifo = tmp_path / "sound.wav"
    fifo.write_bytes(b"RIFF")
    fifo.chmod(0o600)
    before = fifo.stat().st_atime_ns
    assert ask(worker, f"<speak>a <audio src='{fifo}'>sound</audio></speak>", ssml=True)[1] == END
    assert fifo.stat().st_atime_ns == before


def test_it_ends_with_its_input_and_not_with_an_interrupt(worker: Worker) -> None:
    ask(worker, "up and running")
    worker.send_signal(signal.SIGINT)
    assert ask(worker, "still here")[1] == END
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(5) == 0


def test_a_request_is_a_length_and_json() -> None:
    message = request_message("hé", "en", ssml=True)
    (size,) = REQUEST_HEAD.unpack_from(message)
    assert len(message) == REQUEST_HEAD.size + size
    assert message[REQUEST_HEAD.size :] == b'{"text": "h\\u00e9", "voice": "en", "ssml": true}'


@hypothesis_settings(max_examples=12)
@given(
    rate_out=st.sampled_from([8000, 16000]),
    sizes=st.lists(st.integers(0, 15_000), max_size=8),
    seed=st.integers(0, 9),
)
def test_blocks_are_the_whole_clip_resampled(rate_out: int, sizes: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, sum(sizes)).astype("<i2")
    blocks = BlockResampler(22050, rate_out)
    got = b""
    at = 0
    for size in sizes:
        got += blocks.process(samples[at : at + size].tobytes())
        at += size
    got += blocks.flush()
    assert got == resample_clip(samples.tobytes(), 22050, rate_out)


def test_later_blocks_too() -> None:
    samples = np.random.default_rng(1).integers(-20_000, 20_000, 22050 * 45).astype("<i2").tobytes()
    blocks = BlockResampler(22050, 8000)
    got = [blocks.process(samples[at : at + 8820]) for at in range(0, len(samples), 8820)]
    assert len([block for block in got if block]) == 3
    assert b"".join(got) + blocks.flush() == resample_clip(samples, 22050, 8000)
    assert blocks.flush() == b""
