"""What is kept of a call: the event log, and the stereo recording.

Both can be read at every moment, also after a killed process or a full disk: the log is one JSON object a line, written
as they come; the recording is a WAV whose header is brought up to date with every second that is added. The schema is
described in docs/evidence.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import to_l16
from bothway.carrier.growing_file import GrowingFile, OnFailure, WavFile
from bothway.carrier.writer import Writer

__all__ = ["LOG_NAME", "RECORDING_NAME", "SCHEMA", "Evidence", "Record", "Recording", "interleaved"]

SCHEMA = 1
"""The version of the log's records: one is added when the meaning of a key changes, not when a key is added."""

LOG_NAME = "log.jsonl"
RECORDING_NAME = "audio.wav"

_FRAMES_A_WRITE = 50  # one second

Record: TypeAlias = Mapping[str, object]


def interleaved(from_caller: bytes, to_caller: bytes, audio_format: AudioFormat) -> bytes:
    """Two tracks of equal length as stereo L16: left the caller, right what the caller hears."""
    left = np.frombuffer(to_l16(from_caller, audio_format.encoding), dtype="<i2")
    right = np.frombuffer(to_l16(to_caller, audio_format.encoding), dtype="<i2")
    stereo = np.empty(len(left) * 2, dtype="<i2")
    stereo[0::2] = left
    stereo[1::2] = right
    return stereo.tobytes()


class Recording:
    """The stereo WAV of one call: sample for sample what crossed the leg. It is a `Tap` of the call's media."""

    def __init__(self, writer: Writer, path: Path, audio_format: AudioFormat, on_failure: OnFailure) -> None:
        self._wav = WavFile(writer, path, audio_format.rate, 2, on_failure)
        self._format = audio_format
        self._from_caller: list[bytes] = []
        self._to_caller: list[bytes] = []

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        """20 ms of each side."""
        self._from_caller.append(from_caller)
        self._to_caller.append(to_caller)
        if len(self._from_caller) >= _FRAMES_A_WRITE:
            self._submit()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._submit()
        self._wav.close()

    def _submit(self) -> None:
        left, right = b"".join(self._from_caller), b"".join(self._to_caller)
        self._from_caller.clear()
        self._to_caller.clear()
        self._wav.append(partial(interleaved, left, right, self._format))


def _nobody(_what: str, _error: OSError) -> None:
    """Told of failures where no file is written any more."""


def _unneeded(_error: OSError) -> None:
    """Told of failures of a job that has none."""


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
        self._log = GrowingFile(writer, folder / LOG_NAME, on_failure) if folder is not None else None
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
        if self._log is None or not self._writer.submit(partial(self._writer.tell, self._let_go), _unneeded):
            self._let_go()

    def _let_go(self) -> None:
        """Forget the files when they are written and every failure was told: they know whoever knows this log.

        So its memory is free at once, and not when the garbage collector comes by.
        """
        self._write_lines()
        self.recording = self._log = None
        self._on_failure = _nobody

    def _write_lines(self) -> None:
        """A burst of lines is one write."""
        if self._lines and self._log is not None:
            content = b"\n".join(self._lines) + b"\n"
            self._lines.clear()
            self._log.append(content)
