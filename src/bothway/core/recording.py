"""What is recorded of a call: what can be asked for, what is told of it, and what a `<Record>` and its shell say.

A `<Record>` sends `StartRecording`, and is told `RecordingBegun` or `RecordingRefused` before anything else happens. A
recording that it waits for ends with `FinishRecording`, and `RecordingComplete` follows once its file and its record
are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from bothway.core.execution import VerbCommand, VerbEvent

__all__ = [
    "MAX_SECONDS",
    "Channels",
    "FileFormat",
    "FinishRecording",
    "RecordOrder",
    "RecordingBegun",
    "RecordingComplete",
    "RecordingFacts",
    "RecordingFull",
    "RecordingRefused",
    "RecordingReport",
    "Scope",
    "StartRecording",
    "recording_params",
]

MAX_SECONDS = 86_400
"""The longest recording (plivo-protocol.md, section 9)."""

FileFormat: TypeAlias = Literal["mp3", "wav"]
"""What a recording's file is."""

Channels: TypeAlias = Literal["mono", "stereo"]
"""`mono` mixes the two sides; `stereo` has the caller left, and what the caller hears right."""

Scope: TypeAlias = Literal["caller", "session", "dial"]
"""What is recorded: the caller alone, while the document waits; both sides, from now on; both, from the moment at which
a `<Dial>` of this call joins somebody to it."""


@dataclass(frozen=True, slots=True)
class RecordOrder:
    """How something is to be recorded, and who is told.

    Attributes:
        file_format: Of the file.
        channels: Of the file.
        seconds: The longest that it may be; no more than `MAX_SECONDS` counts.
        callback_url: Is told when it is there (plivo-protocol.md, 6.5); None for nobody.
        callback_method: `GET` or `POST`.
        transcription_url: Is told the words that were said; None asks for none.
        transcription_method: `GET` or `POST`.
    """

    file_format: FileFormat = "mp3"
    channels: Channels = "stereo"
    seconds: int = 60
    callback_url: str | None = None
    callback_method: str = "POST"
    transcription_url: str | None = None
    transcription_method: str = "POST"


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """A recording, as its URLs are told of it.

    Attributes:
        recording_id: Its UUID.
        url: Where its file can be had; empty where there is none, since nothing could be written.
        duration_ms: How long it is; -1 while it is not complete, and so the other two.
        start_ms: When it began, in milliseconds since 1970.
        end_ms: When it ended, likewise.
    """

    recording_id: str
    url: str
    duration_ms: int = -1
    start_ms: int = -1
    end_ms: int = -1


def recording_params(facts: RecordingFacts) -> dict[str, str]:
    """The parameters that tell of a recording (plivo-protocol.md, 6.5)."""
    seconds = -1 if facts.duration_ms < 0 else (facts.duration_ms + 500) // 1000
    return {
        "RecordUrl": facts.url,
        "RecordingID": facts.recording_id,
        "RecordingDuration": str(seconds),
        "RecordingDurationMs": str(facts.duration_ms),
        "RecordingStartMs": str(facts.start_ms),
        "RecordingEndMs": str(facts.end_ms),
    }


# --- what is asked ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartRecording(VerbCommand):
    """Record, as long as the order says; `RecordingBegun` or `RecordingRefused` follows at once."""

    order: RecordOrder
    scope: Scope


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """Who is to be told of a recording that ends with its call, since no document goes on by it.

    Attributes:
        url: The `action` of its verb.
        method: As written.
        digits: The key that ended the recording; empty if the end of the call did.
    """

    url: str
    method: str
    digits: str = ""


@dataclass(frozen=True, slots=True)
class FinishRecording(VerbCommand):
    """The recording ends here; `RecordingComplete` follows, and the report if one is wanted.

    Attributes:
        recording_id: Which. One that is being finished can be given a report yet.
        report: None for none.
    """

    recording_id: str
    report: RecordingReport | None = None


# --- what is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordingBegun(VerbEvent):
    """It is being recorded, or will be; the facts are those that are known beforehand."""

    facts: RecordingFacts


@dataclass(frozen=True, slots=True)
class RecordingRefused(VerbEvent):
    """Nothing is recorded, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class RecordingFull(VerbEvent):
    """The recording is as long as it may be, or somebody else has stopped it."""

    recording_id: str


@dataclass(frozen=True, slots=True)
class RecordingComplete(VerbEvent):
    """Its file, its record and the callback that tells of it are there, as far as they could be written."""

    facts: RecordingFacts
