"""Recordings: files that grow while something is recorded, and records once they are complete.

    recordings/<account>/<id>.wav     written as it goes, its header true to the last second
    recordings/<account>/<id>.json    beside it until all is done: what the recording is, for a process that starts
                                      after this one was killed (`recording_upkeep`)
    recordings/<account>/<id>.mp3     made from the WAV file at the end, where that is wanted

A recording is complete when its file is, and its record and the callback that tells of it are in the store, written in
one transaction. Nobody hears of it before. What can be done is done: an MP3 file that cannot be made leaves the WAV
file, a disk that fills up leaves what was written until then, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from bothway.audio.format import FRAME_MS, AudioFormat, Encoding
from bothway.audio.mix import mix
from bothway.audio.transcode import to_l16
from bothway.carrier.evidence import interleaved
from bothway.carrier.growing_file import WavFile, private, write_all
from bothway.carrier.keys import Keys, recording_path
from bothway.carrier.mp3 import Mp3Worker
from bothway.carrier.rates import Rates, bill
from bothway.carrier.store.records import OutboxItem, RecordingRecord, StoreError
from bothway.carrier.store.store import Store
from bothway.carrier.transcribing import transcription_of
from bothway.carrier.writer import Writer
from bothway.core.recording import MAX_SECONDS, RecordingFacts, RecordOrder, recording_params
from bothway.errors import ProviderError, UsageError
from bothway.runtime.tasks import Tasks
from bothway.speech.protocols import SpeechToText

__all__ = [
    "FOLDER",
    "SIDECAR",
    "SIGNED_FOR",
    "Layout",
    "Note",
    "OpenRecording",
    "RecordingTold",
    "Recordings",
    "UnfinishedRecording",
    "both_apart",
    "both_mixed",
    "first_alone",
    "first_left",
    "length_ms",
]

FOLDER = "recordings"
"""Below the data folder."""

SIDECAR = ".json"
"""How the file ends that says what a recording is which is not complete."""

SIGNED_FOR = timedelta(days=7)
"""How long the URL of a recording that callbacks tell can be used without credentials: as long as the REST API's."""

_FRAMES_A_WRITE = 1000 // FRAME_MS
_SAMPLE_BYTES = 2
_ENCODER_JOBS = 4  # the encoder does one at a time, and refuses what is too many: those that end together wait here
_MAX_WAV_BYTES = 0xFFFF_FFFF - 36  # a WAV file says its size in 32 bits

Note: TypeAlias = Callable[..., None]
"""`(event, **facts)`: a record for the log of whatever is recorded."""

Layout: TypeAlias = Callable[[bytes, bytes, AudioFormat], bytes]
"""Makes the samples of a file, as L16 and interleaved, of two tracks of equal length in a format."""

logger = logging.getLogger(__name__)


def first_alone(first: bytes, second: bytes, fmt: AudioFormat) -> bytes:
    """The first track in one channel; there may be no second one."""
    return to_l16(first, fmt.encoding)


def first_left(first: bytes, second: bytes, fmt: AudioFormat) -> bytes:
    """The first track on the left, and nothing on the right."""
    return interleaved(first, fmt.silence_byte * len(first), fmt)


def both_apart(first: bytes, second: bytes, fmt: AudioFormat) -> bytes:
    """The first track on the left, the second on the right."""
    return interleaved(first, second, fmt)


def both_mixed(first: bytes, second: bytes, fmt: AudioFormat) -> bytes:
    """The sum of both tracks in one channel, saturating at full scale."""
    return mix(to_l16(first, fmt.encoding), to_l16(second, fmt.encoding), AudioFormat(Encoding.L16, fmt.rate))


class UnfinishedRecording(msgspec.Struct, frozen=True):
    """What is known of a recording before it is complete; the file beside it holds this, and nothing secret.

    Attributes:
        record: As it will be, but for what only the end tells.
        order: How it was asked for.
        auth_id: Whose token signs what is told of it.
        node: Which node records it.
        params: What its callbacks say besides what `recording_params` gives.
    """

    record: RecordingRecord
    order: RecordOrder
    auth_id: str
    node: str
    params: dict[str, str]

    @property
    def wav(self) -> str:
        """The path of its WAV file below the data folder."""
        return str(Path(self.record.path).with_suffix(".wav"))

    def callback(self, kind: str, params: Mapping[str, str]) -> OutboxItem | None:
        """The callback of kind `recording` or `transcription`, if there is a URL for it."""
        order = self.order
        url, method = order.callback_url, order.callback_method
        if kind == "transcription":
            url, method = order.transcription_url, order.transcription_method
        if url is None:
            return None
        record = self.record
        whose = record.call_uuid or record.conference_uuid or record.recording_id
        return OutboxItem(
            key=f"{whose} {kind} {record.recording_id}",
            call_uuid=whose,
            kind=kind,
            account=self.auth_id,
            url=url,
            params=self.params | dict(params),
            created=_now(),
            method="GET" if method == "GET" else "POST",
        )


@dataclass(frozen=True, slots=True)
class RecordingTold:
    """What came of a recording.

    Attributes:
        facts: It.
        filed: Whether there is a record of it. There is none where nothing was recorded, or the store cannot write.
        unsent: Its callback, if the store could not take it: to be sent at once, better not durably than not at all.
    """

    facts: RecordingFacts
    filed: bool = False
    unsent: OutboxItem | None = None


class Recordings:
    """The recordings of one node.

    Args:
        root: The data folder, which paths in records start from; None for a folder that is there until `close`.
        writer: Writes the files.
        store: Has the records.
        tasks: Own what goes on when a recording is complete.
        rates: What keeping and transcribing recordings costs.
        keys: Sign the URLs.
        origin: Gives the origin of those: the carrier's URL, as clients see it.
        ears: Recognise what was said; None where nothing does.
        encoder: Makes MP3 files, and nothing else. It closes with this.

    Attributes:
        root: The folder.
        writer: As given.
        store: As given.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        writer: Writer,
        store: Store,
        tasks: Tasks,
        rates: Rates,
        keys: Keys,
        origin: Callable[[], str],
        ears: SpeechToText | None = None,
        encoder: Mp3Worker | None = None,
    ) -> None:
        self._passing = tempfile.TemporaryDirectory(prefix="bothway-") if root is None else None
        self.root = root or Path(self._passing.name if self._passing is not None else "")
        self.writer = writer
        self.store = store
        self._tasks = tasks
        self._rates = rates
        self._keys = keys
        self._origin = origin
        self._ears = ears
        self._encoder = encoder or Mp3Worker()
        self._to_encode = asyncio.Semaphore(_ENCODER_JOBS)

    def url(self, auth_id: str, recording_id: str, file_format: str) -> str:
        """Where a recording can be had, for `SIGNED_FOR` from now without credentials."""
        path = recording_path(auth_id, recording_id, file_format)
        return self._origin() + self._keys.sign_url(path, time.time() + SIGNED_FOR.total_seconds())

    def begin(
        self,
        unfinished: UnfinishedRecording,
        layout: Layout,
        fmt: AudioFormat,
        *,
        on_full: Callable[[], None],
        note: Note,
    ) -> OpenRecording:
        """Record from now on.

        Args:
            unfinished: What the recording is. Its `start_ms` is now.
            layout: How the file's samples are made of the tracks: in as many channels as the record says.
            fmt: Of the tracks.
            on_full: Called in the next round of the loop when it is as long as its order allows.
            note: Hears of what goes wrong.
        """
        return OpenRecording(self, unfinished, layout, fmt, on_full=on_full, note=note)

    async def complete(self, unfinished: UnfinishedRecording, audio_bytes: int, rate: int, note: Note) -> RecordingTold:
        """The WAV file is closed: make of it what was ordered, file the record, and tell.

        Args:
            unfinished: What was recorded.
            audio_bytes: Of samples in the file.
            rate: Samples a second.
            note: Hears of what goes wrong, and of what there is.
        """
        record: RecordingRecord | None = None
        if audio_bytes:
            try:
                record = await self._made(unfinished, length_ms(audio_bytes, rate, unfinished.record.channels), note)
            except OSError as error:
                note("recording_failed", recording_id=unfinished.record.recording_id, text=error.strerror or str(error))
        facts = self._facts(unfinished, record)
        callback = unfinished.callback("recording", recording_params(facts))
        try:
            if record is not None:
                await self.store.recordings.save(record, [callback] if callback is not None else [])
            elif callback is not None:
                await self.store.outbox.put(callback)
        except StoreError as error:  # the file beside it stays, and the next start files it
            note("recording_failed", recording_id=facts.recording_id, text=str(error))
            return RecordingTold(facts, unsent=callback)
        if record is None:
            note("recording_failed", recording_id=facts.recording_id, text="nothing was recorded")
            await self._tidy(unfinished, None)
            return RecordingTold(facts)
        note("recording", recording_id=facts.recording_id, ms=record.duration_ms, path=record.path, bytes=record.size)
        await self.go_on(unfinished, record)
        return RecordingTold(facts, filed=True)

    async def go_on(self, unfinished: UnfinishedRecording, record: RecordingRecord) -> None:
        """The record is in the store: transcribe, if that is wanted, and remove what is left behind."""
        if unfinished.order.transcription_url is not None:
            self._tasks.spawn(self._transcribe(unfinished, record), f"transcription of {record.recording_id}")
        else:
            await self._tidy(unfinished, record)

    async def close(self) -> None:
        """No recording follows. The writer has closed before."""
        await self._encoder.close()
        if self._passing is not None:
            await asyncio.to_thread(self._passing.cleanup)

    async def _made(self, unfinished: UnfinishedRecording, duration_ms: int, note: Note) -> RecordingRecord:
        """The record with its file: the one ordered, or the WAV file where that cannot be made.

        Raises:
            OSError: There is no file.
        """
        record = unfinished.record
        if record.recording_format == "mp3":
            try:
                async with self._to_encode:
                    await self._encoder.encode(self.root / unfinished.wav, self.root / record.path)
            except (UsageError, ProviderError) as error:
                note("recording_kept_as_wav", recording_id=record.recording_id, text=str(error))
                logger.warning("recording %s is kept as WAV: %s", record.recording_id, error)
                record = msgspec.structs.replace(record, path=unfinished.wav, recording_format="wav")
        cost = bill(duration_ms / 1000, self._rates.recording_month)
        return msgspec.structs.replace(
            record,
            add_time=_now(),
            size=await asyncio.to_thread(_size, self.root / record.path),
            end_ms=record.start_ms + duration_ms,
            duration_ms=duration_ms,
            rounded_duration=cost.billed_seconds,
            storage_rate=cost.amount,
        )

    def _facts(self, unfinished: UnfinishedRecording, record: RecordingRecord | None) -> RecordingFacts:
        if record is None:
            began = unfinished.record.start_ms
            return RecordingFacts(unfinished.record.recording_id, "", 0, began, began)
        url = self.url(unfinished.auth_id, record.recording_id, record.recording_format)
        return RecordingFacts(record.recording_id, url, record.duration_ms, record.start_ms, record.end_ms)

    async def _transcribe(self, unfinished: UnfinishedRecording, record: RecordingRecord) -> None:
        """Find out what was said, and tell; the WAV file is there for as long as that takes."""
        wav, facts = self.root / unfinished.wav, self._facts(unfinished, record)
        params = await transcription_of(wav, facts, record.call_uuid or "", self._ears, self._rates)
        callback = unfinished.callback("transcription", params)
        assert callback is not None, "a transcription has a URL to be told to"
        try:
            await self.store.outbox.put(callback)
        except StoreError:
            return  # it is logged, and what is left is found at the next start
        # It may have been deleted meanwhile.
        await self._tidy(unfinished, await self.store.recordings.get(record.recording_id))

    async def _tidy(self, unfinished: UnfinishedRecording, record: RecordingRecord | None) -> None:
        """Remove what nobody needs any more. The file beside goes last: it is how the rest is found."""
        useless = [_sidecar(self.root, unfinished)]
        if record is None or record.path != unfinished.wav:
            useless.insert(0, self.root / unfinished.wav)
        try:
            await asyncio.to_thread(_unlink, useless)
        except OSError as error:
            logger.warning("what is left of recording %s stays: %s", unfinished.record.recording_id, error)


class OpenRecording:
    """A recording under way; made by `Recordings.begin`. It is a `Tap` of a call's media."""

    def __init__(
        self,
        recordings: Recordings,
        unfinished: UnfinishedRecording,
        layout: Layout,
        fmt: AudioFormat,
        *,
        on_full: Callable[[], None],
        note: Note,
    ) -> None:
        self._recordings = recordings
        self._unfinished = unfinished
        self._layout = layout
        self._format = fmt
        self._on_full = on_full
        self._note = note
        self._first: list[bytes] = []
        self._second: list[bytes] = []
        record = unfinished.record
        frame_bytes = fmt.rate * FRAME_MS // 1000 * _SAMPLE_BYTES * record.channels
        seconds = min(unfinished.order.seconds, MAX_SECONDS)
        self._frames_left = min(seconds * 1000 // FRAME_MS, _MAX_WAV_BYTES // frame_bytes)
        root, writer = recordings.root, recordings.writer
        beside, content = _sidecar(root, unfinished), msgspec.json.encode(unfinished)
        if not writer.submit(partial(_write_beside, beside, content), self._beside_failed):
            self._beside_failed(OSError("too much is waiting to be written: the disk is too slow"))
        self._wav = WavFile(writer, root / unfinished.wav, fmt.rate, record.channels, self._failed)

    @property
    def recording_id(self) -> str:
        """Its UUID."""
        return self._unfinished.record.recording_id

    def frame(self, first: bytes, second: bytes = b"") -> None:
        """20 ms of each track; beyond its longest length nothing is recorded."""
        if not self._frames_left:
            return
        self._first.append(first)
        self._second.append(second)
        self._frames_left -= 1
        if len(self._first) >= _FRAMES_A_WRITE:
            self._submit()
        if not self._frames_left:
            asyncio.get_running_loop().call_soon(self._on_full)

    async def finish(self, params: Mapping[str, str] | None = None) -> RecordingTold:
        """Close the file, and see all to its end.

        Args:
            params: Of the callback, where they have changed since the beginning, such as `CallStatus`.
        """
        self._frames_left = 0
        self._submit()
        self._wav.close()
        await self._recordings.writer.drained()
        unfinished = msgspec.structs.replace(self._unfinished, params=self._unfinished.params | dict(params or {}))
        return await self._recordings.complete(unfinished, self._wav.written, self._format.rate, self._note)

    def _submit(self) -> None:
        first, second = b"".join(self._first), b"".join(self._second)
        self._first.clear()
        self._second.clear()
        if first:
            self._wav.append(partial(self._layout, first, second, self._format))

    def _failed(self, name: str, error: OSError) -> None:
        logger.error("%s cannot be written: %s. What is recorded until now is kept", name, error)
        self._note("recording_failed", recording_id=self.recording_id, text=error.strerror or str(error))

    def _beside_failed(self, error: OSError) -> None:
        logger.error("recording %s would be lost with this process: %s", self.recording_id, error)


def length_ms(audio_bytes: int, rate: int, channels: int) -> int:
    """How long 16-bit audio is, in milliseconds."""
    return audio_bytes * 1000 // (_SAMPLE_BYTES * channels * rate)


def _sidecar(root: Path, unfinished: UnfinishedRecording) -> Path:
    return (root / unfinished.record.path).with_suffix(SIDECAR)


def _size(path: Path) -> int:
    return path.stat().st_size


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _write_beside(path: Path, content: bytes) -> None:
    """All of it or nothing: what is half of it could not be read at the next start, and would stay for ever."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f"{SIDECAR}.part")
    try:
        with open(part, "wb", buffering=0, opener=private) as file:
            write_all(file, content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
