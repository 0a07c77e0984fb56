"""What is kept of a call: the event log, and the stereo recording.

Both can be read at every moment, also after a killed process or a full disk: the log is one JSON object a line, written
as they come; the recording is a WAV whose header is brought up to date with every second that is added. The schema is
described in docs/evidence.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec
import numpy as np

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import to_l16
from bothway.audio.wav import wav_header
from bothway.carrier.writer import Writer
from bothway.errors import UsageError

__all__ = ["LOG_NAME", "RECORDING_NAME", "SCHEMA", "Evidence", "OnFailure", "Record", "Recording", "interleaved"]

SCHEMA = 1
"""The version of the log's records: one is added when the meaning of a key changes, not when a key is added."""

LOG_NAME = "log.jsonl"
RECORDING_NAME = "audio.wav"

_FRAMES_A_WRITE = 50  # one second

Record: TypeAlias = Mapping[str, object]
OnFailure: TypeAlias = Callable[[str, OSError], None]
"""Told which file could not be written, and why. It is told once a file."""


def interleaved(from_caller: bytes, to_caller: bytes, audio_format: AudioFormat) -> bytes:
    """Two tracks of equal length as stereo L16: left the caller, right what the caller hears."""
    left = np.frombuffer(to_l16(from_caller, audio_format.encoding), dtype="<i2")
    right = np.frombuffer(to_l16(to_caller, audio_format.encoding), dtype="<i2")
    stereo = np.empty(len(left) * 2, dtype="<i2")
    stereo[0::2] = left
    stereo[1::2] = right
    return stereo.tobytes()


class _File:
    """A file that grows on the writer's thread. The first failure ends it, and is reported once.

    A job appends, and leaves the file at its end. What a job wrote before it failed is cut off again, so that the file
    ends where the job before it did.
    """

    def __init__(self, writer: Writer, path: Path, on_failure: OnFailure) -> None:
        self._writer = writer
        self._path = path
        self._on_failure = on_failure
        self._file: BinaryIO | None = None
        self._begun = False  # the three are used on the writer's thread only
        self._closed = False
        self._broken = False
        self.failed = False

    def submit(self, job: Callable[[BinaryIO], None]) -> None:
        """Run `job` on the open file. After `close` the file is opened once more for it."""
        if not self.failed and not self._writer.submit(lambda: self._run(job), self._fail):
            self._fail(OSError("too much is waiting to be written: the disk is too slow"))

    def close(self) -> None:
        """Close the file behind all that was submitted."""
        if not self._writer.submit(self._close, self._fail):
            self._fail(OSError("too much is waiting to be written: the disk is too slow"))

    def _run(self, job: Callable[[BinaryIO], None]) -> None:
        if self._broken:
            return
        try:
            file = self._opened()
            end = file.tell()
            try:
                job(file)
            except OSError:
                with contextlib.suppress(OSError):  # the failure that counts is the job's
                    file.truncate(end)
                    if not end:
                        self._path.unlink()  # an empty file is neither a log nor a recording
                raise
        except OSError:
            self._broken = True
            self._close()
            raise
        if self._closed:
            self._close()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("r+b" if self._begun else "wb", buffering=0)
            self._file.seek(0, 2)
            self._begun = True
        return self._file

    def _close(self) -> None:
        self._closed = True
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            self.failed = True
            self._on_failure(self._path.name, error)


def _write_all(file: BinaryIO, content: bytes) -> None:
    """Write everything: an unbuffered file may take less than it is given when the disk fills up."""
    left = memoryview(content)
    while left:
        written = file.write(left)
        left = left[written:]


class Recording:
    """The stereo WAV of one call: sample for sample what crossed the leg. It is a `Tap` of the call's media."""

    def __init__(self, writer: Writer, path: Path, audio_format: AudioFormat, on_failure: OnFailure) -> None:
        self._file = _File(writer, path, on_failure)
        self._format = audio_format
        self._from_caller: list[bytes] = []
        self._to_caller: list[bytes] = []
        self._written = 0  # bytes of samples; used on the writer's thread only
        self._file.submit(self._begin)

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        """20 ms of each side."""
        self._from_caller.append(from_caller)
        self._to_caller.append(to_caller)
        if len(self._from_caller) >= _FRAMES_A_WRITE:
            self._submit()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._submit()
        self._file.close()

    def _submit(self) -> None:
        left, right = b"".join(self._from_caller), b"".join(self._to_caller)
        self._from_caller.clear()
        self._to_caller.clear()
        self._file.submit(lambda file: self._append(file, left, right))

    def _begin(self, file: BinaryIO) -> None:
        _write_all(file, wav_header(self._format.rate, 2, 0))

    def _append(self, file: BinaryIO, left: bytes, right: bytes) -> None:
        stereo = interleaved(left, right, self._format)
        try:
            header = wav_header(self._format.rate, 2, self._written + len(stereo))
        except UsageError:
            raise OSError(errno.EFBIG, "a WAV file holds no more than 4 GiB") from None
        _write_all(file, stereo)
        # The header comes last: at every moment it tells of no more than is there.
        file.seek(0)
        _write_all(file, header)
        file.seek(0, 2)
        self._written += len(stereo)


class Evidence:
    """The log of one call, and where it is kept its recording.

    Args:
        writer: Writes the files.
        folder: Of this call; None keeps nothing on disk.
        on_record: Gets every record as it is made, for a leg or a page that follows the call.
        on_failure: Told of a file that cannot be written.
    """

    def __init__(
        self,
        writer: Writer,
        folder: Path | None,
        *,
        on_record: Callable[[Record], None] | None,
        on_failure: OnFailure,
    ) -> None:
        self._writer = writer
        self._folder = folder
        self._on_record = on_record
        self._on_failure = on_failure
        self._log = _File(writer, folder / LOG_NAME, on_failure) if folder is not None else None
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []  # made since the last step of the loop
        self.recording: Recording | None = None

    def record_audio(self, audio_format: AudioFormat) -> Recording | None:
        """Start the recording, in the leg's format."""
        if self._folder is not None:
            self.recording = Recording(self._writer, self._folder / RECORDING_NAME, audio_format, self._on_failure)
        return self.recording

    def record(self, event: str, *, t_ms: int, at: float, **facts: object) -> None:
        """Add one record.

        Args:
            event: What happened.
            t_ms: The media clock: milliseconds of audio that have crossed the leg; 0 until the call is answered.
            at: Seconds since the call came in.
            **facts: What is known of it; nothing secret.
        """
        self.append({"event": event, "t_ms": t_ms, "at": round(at, 4), **facts})

    def append(self, record: Record) -> None:
        """Add a record that is whole already, such as one that another carrier made."""
        if self._on_record is not None:
            self._on_record(record)
        if self._log is not None:
            if not self._lines:
                self._loop.call_soon(self._write_lines)
            self._lines.append(msgspec.json.encode(record))

    def close(self) -> None:
        """No record follows, but for one that tells of a failure to write the last of these."""
        if self.recording is not None:
            self.recording.close()
        if self._log is not None:
            self._write_lines()
            self._log.close()

    def _write_lines(self) -> None:
        """A burst of lines is one write."""
        if self._lines and self._log is not None:
            content = b"\n".join(self._lines) + b"\n"
            self._lines.clear()
            self._log.submit(lambda file: _write_all(file, content))
