"""A call's evidence, read back: its log and its recording, as far as they go.

A process may be killed and a disk may fill up at any moment, so a log may end within a line, and a recording anywhere.
What is there is read, and what is not is said. The formats are described in docs/evidence.md.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bothway.audio.format import FRAME_MS
from bothway.audio.l16 import FULL_SCALE
from bothway.audio.level import FLOOR_DBFS, START_MS, STOP_MS, THRESHOLD_DBFS
from bothway.carrier.evidence import LOG_NAME, RECORDING_NAME, SCHEMA
from bothway.errors import UsageError

__all__ = ["CallEvidence", "LogRecord", "Samples", "Speaker", "Utterance", "read_evidence"]

_HEADER = struct.Struct("<4sI8sIHHIIHH4sI")  # the 44 bytes that `bothway.audio.wav.wav_header` makes
_LEVEL_FRAMES = 4096  # levels are measured in pieces of so many frames: 80 s, a few megabytes
_LAST_MS = 1_000
"""What a recording may lack of its call: it is written by the second, and the far end of a leg keeps one of its own."""

Samples: TypeAlias = npt.NDArray[np.int16]
"""L16 samples: one channel, or shape (n, 2)."""

Speaker: TypeAlias = Literal["caller", "app", "carrier"]
"""Whose voice it is. The caller hears the app, and the carrier where a document speaks or plays by itself."""

_decode = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of the log.

    Attributes:
        event: What happened.
        t_ms: The media clock: milliseconds of audio that had crossed the leg; 0 until the call was answered.
        at: Seconds since the call came in.
        facts: The other keys of the line.
    """

    event: str
    t_ms: int
    at: float
    facts: Mapping[str, object]

    def text(self, key: str) -> str:
        """A fact as text; empty if the line does not have it."""
        value = self.facts.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> float:
        """A fact as a number; 0 if the line does not have it, or it is none."""
        value = self.facts.get(key)
        return value if isinstance(value, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech, found in the recording.

    Attributes:
        speaker: Whose.
        start_ms: Where its first loud frame starts, on the media clock.
        end_ms: Where its last loud frame ends.
    """

    speaker: Speaker
    start_ms: int
    end_ms: int

    @property
    def ms(self) -> int:
        """How long it lasts, in milliseconds."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, eq=False)
class CallEvidence:
    """What is known of one call.

    Attributes:
        folder: Where it was read; None for what was never written.
        records: The log, in the order in which it was written.
        call_id: The call's UUID, or the folder's name if the log does not tell.
        rate: Samples a second of the recording; None without one.
        samples: The recording, shape (n, 2): the caller, and what the caller hears. It stays on disk, and is read from
            there as it is used. None without a recording.
        complete: Whether the log goes to the end of the call, and all that was meant to be kept could be read.
        remarks: What is damaged or missing, as sentences.
    """

    folder: Path | None
    records: tuple[LogRecord, ...]
    call_id: str
    rate: int | None
    samples: Samples | None
    complete: bool
    remarks: tuple[str, ...]

    @property
    def from_caller(self) -> bytes | None:
        """The recording's left channel, L16: the caller. It is copied from the disk each time."""
        return self.samples[:, 0].tobytes() if self.samples is not None else None

    @property
    def to_caller(self) -> bytes | None:
        """The recording's right channel, L16: what the caller hears. It is copied from the disk each time."""
        return self.samples[:, 1].tobytes() if self.samples is not None else None

    @property
    def recording(self) -> Path | None:
        """The path of the recording, if there is one."""
        return self.folder / RECORDING_NAME if self.folder is not None and self.samples is not None else None

    @property
    def recorded_ms(self) -> float:
        """How long the recording is; 0 without one."""
        return len(self.samples) * 1000 / self.rate if self.samples is not None and self.rate is not None else 0.0

    @cached_property
    def duration_ms(self) -> float:
        """How long the call lasted from its answer on: by its recording or its log, whichever goes further."""
        return max(self.recorded_ms, float(max((record.t_ms for record in self.records), default=0)))

    def first(self, event: str) -> LogRecord | None:
        """The first record of that event."""
        return next((record for record in self.records if record.event == event), None)

    @cached_property
    def levels(self) -> npt.NDArray[np.float64]:
        """The RMS of every whole 20 ms frame in dBFS, shape (frames, 2): the caller, and what the caller hears.

        Frame n starts at 20·n ms of the media clock. It has no frames without a recording.
        """
        if self.samples is None or self.rate is None:
            return np.empty((0, 2))
        size = self.rate * FRAME_MS // 1000
        frames = len(self.samples) // size
        energy = np.empty((frames, 2))
        for first in range(0, frames, _LEVEL_FRAMES):
            last = min(first + _LEVEL_FRAMES, frames)
            piece = np.asarray(self.samples[first * size : last * size], np.float64).reshape(-1, size, 2)
            np.einsum("fsc,fsc->fc", piece, piece, out=energy[first:last])
        quietest = 10 ** (FLOOR_DBFS / 10)
        return np.asarray(10 * np.log10(np.maximum(energy / size / FULL_SCALE**2, quietest)), np.float64)

    @cached_property
    def utterances(self) -> tuple[Utterance, ...]:
        """The utterances of both sides, by their start. Two of one side are at least 300 ms apart."""
        spans = self._app_spans()
        starts = [start for start, _ in spans]
        prompts = self._prompt_spans()
        found = [Utterance("caller", *span) for span in _spans(self.levels[:, 0])]
        for start_ms, end_ms in _spans(self.levels[:, 1]):
            before = bisect_left(starts, end_ms)
            of_app = not self.records or (before > 0 and spans[before - 1][1] > start_ms)
            of_app = of_app and not any(start < end_ms and start_ms < end for start, end in prompts)
            found.append(Utterance("app" if of_app else "carrier", start_ms, end_ms))
        return tuple(sorted(found, key=lambda utterance: utterance.start_ms))

    def _prompt_spans(self) -> list[tuple[float, float]]:
        """When the document spoke or played by itself, in order."""
        spans: list[tuple[float, float]] = []
        started: float | None = None
        for record in self.records:
            if record.event == "prompt":
                started = record.t_ms
            elif started is not None and record.event in ("prompt_played", "prompt_failed", "ended"):
                spans.append((started, record.t_ms))
                started = None
        return spans

    def _app_spans(self) -> list[tuple[float, float]]:
        """When the caller may have heard the app, in order: from the first audio on each stream to the stream's end."""
        spans: list[tuple[float, float]] = []
        since: int | None = None
        for record in self.records:
            if record.event == "play" and since is None:
                since = record.t_ms
            elif record.event == "stream_ended" and since is not None:
                spans.append((since, record.t_ms))
                since = None
        return spans if since is None else [*spans, (since, inf)]


def read_evidence(folder: str | os.PathLike[str]) -> CallEvidence:
    """Read what a call has left in its folder; it may be a call that still goes on.

    Raises:
        UsageError: There is neither a log nor a recording, or a file cannot be opened.
    """
    folder = Path(folder)
    if not (folder / LOG_NAME).is_file() and not (folder / RECORDING_NAME).is_file():
        raise UsageError(f"{folder} holds no evidence of a call: neither {LOG_NAME} nor {RECORDING_NAME} is there")
    remarks: list[str] = []
    try:
        records = _read_log(folder / LOG_NAME, remarks)
        rate, samples = _read_recording(folder / RECORDING_NAME, remarks)
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error
    call = next((record for record in records if record.event == "call"), None)
    _compare(records, rate, samples, remarks)
    return CallEvidence(
        folder=folder,
        records=records,
        call_id=(call.text("call_id") if call is not None else "") or folder.resolve().name,
        rate=rate,
        samples=samples,
        complete=not remarks,
        remarks=tuple(remarks),
    )


def _read_log(path: Path, remarks: list[str]) -> tuple[LogRecord, ...]:
    if not path.is_file():
        remarks.append(f"{LOG_NAME} is missing: only the recording tells of this call")
        return ()
    lines = path.read_bytes().split(b"\n")
    records, damaged = [], []
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            damaged.append(number)
        elif line:
            remarks.append(f"{LOG_NAME} ends in a half-written line, which was left out")
    if len(damaged) == 1:
        remarks.append(f"line {damaged[0]} of {LOG_NAME} is not a record, and was left out")
    elif damaged:
        remarks.append(
            f"{len(damaged)} lines of {LOG_NAME} are not records, and were left out: the first is {damaged[0]}"
        )
    return tuple(records)


def _record(line: bytes) -> LogRecord | None:
    try:
        facts = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    event, t_ms, at = facts.pop("event", None), facts.pop("t_ms", None), facts.pop("at", None)
    if not isinstance(event, str) or type(t_ms) is not int or isinstance(at, bool) or not isinstance(at, int | float):
        return None
    return LogRecord(event, t_ms, float(at), facts)


def _read_recording(path: Path, remarks: list[str]) -> tuple[int | None, Samples | None]:
    if not path.is_file():
        return None, None
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        remarks.append(f"{RECORDING_NAME} ends within its header: it has no audio")
        return None, None
    riff, _, wave, _, tag, channels, rate, _, _, bits, data, said = _HEADER.unpack(header)
    if (riff, wave, data) != (b"RIFF", b"WAVEfmt ", b"data") or (tag, channels, bits) != (1, 2, 16):
        remarks.append(f"{RECORDING_NAME} is not a recording of a call: its header is another one")
        return None, None
    if not rate or rate * FRAME_MS % 1000:
        remarks.append(f"{RECORDING_NAME} says {rate} samples a second, which is no rate of a call")
        return None, None
    there = path.stat().st_size - _HEADER.size
    if said > there:
        remarks.append(f"{RECORDING_NAME} is cut short: its header tells of {said} bytes of audio, {there} are there")
    elif said < there:
        remarks.append(
            f"the header of {RECORDING_NAME} is out of date: it tells of {said} bytes of audio; all {there} were read"
        )
    count = there // 4
    if not count:
        return rate, np.empty((0, 2), np.int16)
    return rate, np.memmap(path, "<i2", "r", offset=_HEADER.size, shape=(count, 2))


def _compare(records: tuple[LogRecord, ...], rate: int | None, samples: Samples | None, remarks: list[str]) -> None:
    """Say what the log and the recording tell of each other."""
    events = {record.event: record for record in records}
    call, ended = events.get("call"), events.get("ended")
    if call is not None and call.number("schema") > SCHEMA:
        remarks.append(f"{LOG_NAME} was written by a newer version: its schema is {call.text('schema')}, not {SCHEMA}")
    if records and ended is None:
        remarks.append(f"{LOG_NAME} does not tell how the call ended: it goes on, or its carrier was killed")
    remarks.extend(
        f"the carrier could not write {record.text('file')}: {record.text('text')}"
        for record in records
        if record.event == "evidence_failed"
    )
    if ended is not None and samples is not None and rate is not None:
        missing = ended.t_ms - len(samples) * 1000 / rate
        if missing > _LAST_MS:
            remarks.append(f"the recording ends {missing / 1000:.2f} s before the call does")


def _spans(levels: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Where a `SpeechGate` opens and closes, but from first to last loud frame: as (start, end) in milliseconds."""
    edges = np.diff(np.concatenate(([False], levels >= THRESHOLD_DBFS, [False])).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    least, most = ceil(START_MS / FRAME_MS), ceil(STOP_MS / FRAME_MS)
    spans: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        if spans and start - spans[-1][1] < most:
            spans[-1] = (spans[-1][0], end)
        elif end - start >= least:
            spans.append((start, end))
    return [(start * FRAME_MS, end * FRAME_MS) for start, end in spans]
