"""MP3 files, made and read in a process of their own: recordings, and what `<Play>` fetches.

The libraries are the extra `mp3`: LAME (LGPL-3) and miniaudio (MIT). Neither is ever loaded into the carrier's process:
`bothway.carrier.mp3_worker` says why. A worker does one job after the other, in order. A carrier has two, one that a
caller waits for and one for recordings: an hour's recording takes some seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import from_l16
from bothway.carrier.mp3_worker import (
    AUDIO,
    END,
    FAILED,
    JOB_HEAD,
    MAX_MESSAGE,
    PROGRESS,
    REPLY_HEAD,
)
from bothway.errors import ProviderError, UsageError
from bothway.runtime.logs import get_logger
from bothway.runtime.worker_process import StrangeReplyError, WorkerProcess

__all__ = ["BITRATES", "DEFAULT_BITRATE", "MAX_WAITING", "Mp3Worker", "is_mp3"]

BITRATES = (8, 16, 24, 32, 40, 48, 56, 64)
"""Kilobits a second that an MP3 file may have at every rate from 8000 samples a second on (ISO/IEC 13818-3, MPEG-2
layer III, and its extension to 8 kHz), for both channels together."""

DEFAULT_BITRATE = 32
"""Kilobits a second: a telephone's 4 kHz need no more, in stereo neither where one party speaks at a time."""

MAX_WAITING = 256
"""How many jobs may wait for a worker."""

_DEADLINE_S = 30.0
_GRACE_S = 1.0
# How often one job is given to a worker: what kills two is not given to a third.
_TRIES = 2

_log = get_logger(__name__)


def is_mp3(content: bytes) -> bool:
    """Whether a file starts as MP3 does: with an ID3 tag, or a frame of layer III (ISO/IEC 11172-3, 2.4.2.3)."""
    return content[:3] == b"ID3" or (len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2)


class _DiedError(Exception):
    """The worker ended in the middle of a job."""


@dataclass(eq=False)
class _Job:
    name: str
    message: bytes
    result: asyncio.Future[bytes]
    target: AudioFormat | None = None
    heard: bytearray = field(default_factory=bytearray)


class Mp3Worker:
    """Encodes and decodes MP3 files, one after the other, in a process that the first job starts.

    A worker that dies is replaced, and its job tried once more.

    Args:
        deadline_s: How long the worker may be silent in the middle of a job before it is taken for hung, in seconds. A
            job of any length is done as long as the worker gets on with it.
        max_waiting: How many jobs may wait for their turn.
        command: The worker's program and arguments; tests put others in its place.
    """

    def __init__(
        self,
        *,
        deadline_s: float = _DEADLINE_S,
        max_waiting: int = MAX_WAITING,
        command: Sequence[str] | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        # -P: what lies in the current folder must not stand in for a module of the worker's.
        command = command or (sys.executable, "-P", "-m", "bothway.carrier.mp3_worker")
        self._waiting: asyncio.Queue[_Job] = asyncio.Queue(max_waiting)
        self._task: asyncio.Task[None] | None = None
        self._worker = WorkerProcess(
            command, head=REPLY_HEAD, kinds=frozenset({AUDIO, PROGRESS, END, FAILED}), max_message=MAX_MESSAGE
        )
        self._is_closed = False

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, once the first job has started it."""
        return self._worker.pid

    async def encode(
        self, source: str | os.PathLike[str], target: str | os.PathLike[str], bitrate: int = DEFAULT_BITRATE
    ) -> None:
        """Make an MP3 file of a WAV file, piece by piece, whatever their length.

        Args:
            source: A WAV file of 16-bit samples in one or two channels, at a rate that MP3 has (8000, 16000 and 24000
                among them). It is left as it is.
            target: Where to; what is there is replaced, at once and not before all is written.
            bitrate: Kilobits a second, one of `BITRATES`.

        Raises:
            UsageError: A file cannot be read or written, or is of another kind; the extra `mp3` is not installed; the
                worker is closed.
            ProviderError: Retryable: the worker died twice or hung, or too many jobs are waiting. Not retryable: it
                cannot run at all, or it was closed.
        """
        if bitrate not in BITRATES:
            raise UsageError(f"an MP3 file of {bitrate} kbit/s is not made here: {', '.join(map(str, BITRATES))} are")
        _require("lameenc")
        part = f"{os.fspath(target)}.part"
        # The worker was started in the folder that this process is in: relative paths mean the same to both.
        job = {
            "job": "encode",
            "source": os.fspath(source),
            "target": os.fspath(target),
            "part": part,
            "bitrate": bitrate,
        }
        try:
            await self._do(f"{os.fspath(source)} as MP3", job)
        except ProviderError:
            # The worker clears up behind itself, unless it dies.
            await asyncio.to_thread(Path(part).unlink, missing_ok=True)
            raise

    async def decode(self, content: bytes, target: AudioFormat) -> bytes:
        """The audio of an MP3 file, its channels averaged, in the format `target`.

        Args:
            content: The whole file.
            target: The format wanted; its rate is at least an eighth of the file's.

        Raises:
            UsageError: It is no MP3 file, holds more than an hour of audio, or kills its decoder; the extra `mp3`
                is not installed; the worker is closed.
            ProviderError: As of `encode`.
        """
        _require("miniaudio")
        job = {"job": "decode", "rate": target.rate, "size": len(content)}
        return await self._do("the MP3 file", job, content, target)

    async def close(self) -> None:
        """End the worker. Jobs that are being done, or wait, fail."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._worker.end()

    async def _do(self, name: str, job: object, payload: bytes = b"", target: AudioFormat | None = None) -> bytes:
        if self._is_closed:
            raise UsageError("the MP3 worker is closed")
        head = json.dumps(job).encode()
        result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        one = _Job(name, JOB_HEAD.pack(len(head)) + head + payload, result, target)
        try:
            self._waiting.put_nowait(one)
        except asyncio.QueueFull:
            raise ProviderError(
                f"the MP3 worker has {self._waiting.maxsize} jobs waiting, and takes no more", retryable=True
            ) from None
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="MP3 worker")
            self._task.add_done_callback(self._on_task_done)
        return await result

    async def _work(self) -> None:
        job: _Job | None = None
        try:
            while True:
                job = await self._waiting.get()
                # A job whose caller has gone is not begun.
                if not job.result.done():
                    await self._serve(job)
                job = None
        finally:
            # Nobody may wait for a task that is no more.
            if job:
                _fail(job, ProviderError("the MP3 worker was closed", retryable=False))
            while not self._waiting.empty():
                _fail(self._waiting.get_nowait(), ProviderError("the MP3 worker was closed", retryable=False))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("the MP3 worker's task failed; the next job starts another", exc_info=error)

    async def _serve(self, job: _Job) -> None:
        """Have one job done; whatever befalls the worker befalls this job alone."""
        try:
            for left in reversed(range(_TRIES)):
                job.heard.clear()
                try:
                    await self._attempt(job)
                except _DiedError as error:
                    if not left:
                        raise
                    _log.warning("the MP3 worker is replaced", job=job.name, reason=str(error))
                else:
                    return
        except (UsageError, ProviderError) as error:
            _fail(job, error)
        except TimeoutError:
            await self._worker.end()
            _fail(job, ProviderError(f"the MP3 worker was silent for {self._deadline_s:g} s", retryable=True))
        except _DiedError as error:
            if job.target is not None:
                _fail(job, UsageError(f"{job.name} cannot be played: its decoder died of it, {error}"))
            else:
                _fail(job, ProviderError(f"{job.name} was not made: {error}", retryable=True))
        except OSError as error:
            _fail(job, ProviderError(f"the MP3 worker could not be started: {error}", retryable=False))

    async def _attempt(self, job: _Job) -> None:
        try:
            await self._worker.send(job.message, seconds=self._deadline_s)
            while True:
                kind, content = await self._worker.receive(seconds=self._deadline_s)
                if kind == FAILED:
                    raise UsageError(f"{job.name} cannot be made use of: {content.decode(errors='replace')}")
                if kind == END:
                    break
                # What nobody wants any more is read to its end all the same: the next reply lies behind it.
                if content and job.target is not None and not job.result.done():
                    job.heard += from_l16(content, job.target.encoding)
        except StrangeReplyError as error:
            raise ProviderError(f"the MP3 worker failed: {error}", retryable=True) from None
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            code = await self._worker.end(grace_s=_GRACE_S)
            raise _DiedError(f"the worker ended with code {code}") from error
        if not job.result.done():
            job.result.set_result(bytes(job.heard))


def _fail(job: _Job, error: UsageError | ProviderError) -> None:
    if not job.result.done():
        job.result.set_exception(error)


def _require(module: str) -> None:
    if find_spec(module) is None:
        raise UsageError("MP3 files need an extra that is not installed: pip install bothway[mp3]")
