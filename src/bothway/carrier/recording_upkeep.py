"""What is done about recordings beside recording: filing those of processes that were killed, and deleting old ones."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bothway.carrier.recordings import FOLDER, SIDECAR, Recordings, UnfinishedRecording
from bothway.carrier.store.records import RecordingRecord, StoreError
from bothway.runtime.tasks import Tasks

__all__ = [
    "SWEEP_SECONDS",
    "file_recordings",
    "keep_recordings",
    "look_after_recordings",
    "mend_wav",
    "unfinished_recordings",
]

SWEEP_SECONDS = 3600.0
"""How often recordings are looked for that are too old."""

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")  # of the 44 bytes that `wav_header` writes
_BATCH = 100
_EVER_DAYS = 365_000  # a thousand years: what is more than that is before all calendars

logger = logging.getLogger(__name__)


def unfinished_recordings(root: Path, nodes: Collection[str]) -> list[UnfinishedRecording]:
    """What nodes that do not run any more have left unfinished below a data folder, the oldest first.

    A file that cannot be read is logged, and left as it is.
    """
    found = []
    for path in (root / FOLDER).glob(f"*/*{SIDECAR}"):
        try:
            unfinished = msgspec.json.decode(path.read_bytes(), type=UnfinishedRecording)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("what %s says of a recording cannot be read: %s", path, error)
            continue
        if unfinished.node in nodes:
            found.append(unfinished)
    return sorted(found, key=lambda unfinished: unfinished.record.start_ms)


def look_after_recordings(
    recordings: Recordings, left: Sequence[UnfinishedRecording], days: float | None, tasks: Tasks
) -> None:
    """File what killed carriers have left, and delete what is too old, now and every hour.

    Args:
        recordings: Of this node.
        left: What is to be filed; `unfinished_recordings` found it before this node made any of its own.
        days: How long recordings are kept; None for as long as the carrier runs.
        tasks: Own both.
    """
    if left:
        tasks.spawn(file_recordings(recordings, left), "recordings of killed carriers")
    if days is not None:
        tasks.spawn(keep_recordings(recordings, days), "retention of recordings")


def mend_wav(path: Path) -> tuple[int, int]:
    """Cut off what the header of a WAV file does not tell of, which a killed process was writing.

    Returns:
        Bytes of samples, and samples a second; no bytes where there is no file, or not its header.

    Raises:
        OSError: It cannot be read or written.
    """
    try:
        with path.open("r+b") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                return 0, 1
            *_, rate, _, block, _, _, told = _HEADER.unpack(head)
            there = file.seek(0, 2) - _HEADER.size
            audio_bytes: int = min(told, there - there % block)
            file.truncate(_HEADER.size + audio_bytes)
            return audio_bytes, rate
    except FileNotFoundError:
        return 0, 1


async def file_recordings(recordings: Recordings, left: Sequence[UnfinishedRecording]) -> None:
    """File recordings of processes that were killed, as those processes would have done."""
    for unfinished in left:
        recording_id = unfinished.record.recording_id
        try:
            filed = await recordings.store.recordings.get(recording_id)
            if filed is not None:  # killed between its record and the last of its files
                await recordings.go_on(unfinished, filed)
                continue
            audio_bytes, rate = await asyncio.to_thread(mend_wav, recordings.root / unfinished.wav)
            told = await recordings.complete(unfinished, audio_bytes, rate, _unheard)
        except (OSError, StoreError) as error:
            logger.warning("recording %s of a killed carrier is left for the next start: %s", recording_id, error)
        else:
            if told.filed:
                logger.warning("recording %s was live when its carrier was killed: it is filed", recording_id)


async def keep_recordings(recordings: Recordings, days: float) -> None:
    """Delete recordings that are older than so many days, now and every hour, for as long as the carrier runs."""
    kept = timedelta(days=min(days, _EVER_DAYS))
    while True:
        await _sweep(recordings, datetime.fromtimestamp(time.time(), UTC) - kept)
        await asyncio.sleep(SWEEP_SECONDS)


async def _sweep(recordings: Recordings, before: datetime) -> None:
    try:
        while old := await recordings.store.recordings.expired(before, _BATCH):
            gone = [await _delete(recordings, record) for record in old]
            if not all(gone):
                return  # those would be found again at once: the next hour's turn
    except StoreError as error:
        logger.warning("old recordings are not deleted now: %s", error)


async def _delete(recordings: Recordings, record: RecordingRecord) -> bool:
    """The file first: a file without a record would stay for ever."""
    try:
        await asyncio.to_thread((recordings.root / record.path).unlink, missing_ok=True)
    except OSError as error:
        logger.warning("recording %s is too old, and cannot be deleted: %s", record.recording_id, error)
        return False
    await recordings.store.recordings.delete(record.recording_id)
    logger.info("recording %s is deleted: it was kept as long as recordings are", record.recording_id)
    return True


def _unheard(event: str, **facts: object) -> None:
    """There is no call any more whose log could have it."""
    logger.info("%s: %s", event, facts)
