"""Files that grow while a call lasts, and can be read at every moment: after a killed process, and on a full disk.

All of it is written on the writer's thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

from bothway.audio.wav import wav_header
from bothway.carrier.writer import Writer
from bothway.errors import UsageError

__all__ = ["GrowingFile", "OnFailure", "WavFile", "private", "write_all"]

OnFailure: TypeAlias = Callable[[str, OSError], None]
"""Told which file could not be written, and why. It is told once a file."""


class GrowingFile:
    """A file that grows on the writer's thread, for its owner alone. The first failure ends it, and is reported once.

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

    def append(self, content: bytes) -> None:
        """Add `content` at the end. After `close` the file is opened once more for it."""
        self.submit(lambda file: write_all(file, content))

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
            self._file = FileIO(self._path, "r+b" if self._begun else "wb", opener=private)
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


def private(path: str, flags: int) -> int:
    """The `opener` of a file that is its owner's alone from its first moment: what is said on calls is private."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write everything: an unbuffered file may take less than it is given when the disk fills up."""
    left = memoryview(content)
    while left:
        written = file.write(left)
        left = left[written:]


class WavFile:
    """A WAV file of 16-bit samples. Its header is true after each append: at most what was appended last is missing.

    Args:
        writer: Writes it.
        path: Where to.
        rate: Samples a second.
        channels: 1 or 2.
        on_failure: Told when it cannot be written any further; what was written until then can be read.

    Attributes:
        written: Bytes of samples in the file; final once the writer has come behind `close`.
    """

    def __init__(self, writer: Writer, path: Path, rate: int, channels: int, on_failure: OnFailure) -> None:
        self._file = GrowingFile(writer, path, on_failure)
        self._rate = rate
        self._channels = channels
        self.written = 0  # changed on the writer's thread only
        self._file.submit(lambda file: write_all(file, wav_header(rate, channels, 0)))

    @property
    def failed(self) -> bool:
        """Whether something could not be written."""
        return self._file.failed

    def append(self, samples: Callable[[], bytes]) -> None:
        """Add what `samples` gives on the writer's thread: whole samples of all channels, interleaved."""
        self._file.submit(lambda file: self._append(file, samples()))

    def close(self) -> None:
        """Close the file behind all that was appended."""
        self._file.close()

    def _append(self, file: BinaryIO, samples: bytes) -> None:
        try:
            header = wav_header(self._rate, self._channels, self.written + len(samples))
        except UsageError:
            raise OSError(errno.EFBIG, "a WAV file holds no more than 4 GiB") from None
        write_all(file, samples)
        # The header comes last: at every moment it tells of no more than is there.
        file.seek(0)
        write_all(file, header)
        file.seek(0, 2)
        self.written += len(samples)
