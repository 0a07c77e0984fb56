"""The messages of an audio stream, in no carrier's own words.

A dialect (`bothway.wire.dialects`) turns these into a carrier's JSON and back. They are msgspec structures because
one `Media` is made fifty times a second for each stream: a dialect's decoder fills it straight from the JSON.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from bothway.audio.format import AudioFormat

__all__ = [
    "Checkpoint",
    "ClearAudio",
    "ClearedAudio",
    "Dtmf",
    "FromApp",
    "FromCarrier",
    "Media",
    "Mistake",
    "PlayAudio",
    "PlayedStream",
    "SendDtmf",
    "Start",
    "Stop",
    "Tolerated",
    "Track",
]

Track = Literal["inbound", "outbound"]
"""The wire's word for whose voice it is: `inbound` is the caller's, `outbound` is what is played to the caller."""


class Start(msgspec.Struct, frozen=True, gc=False):
    """The carrier opens the stream.

    Attributes:
        stream_id: Names the stream in every later message.
        call_id: The call's UUID.
        account_id: Opaque: an auth id by the documents, a number on the live system.
        tracks: The tracks that will be sent.
        format: How `Media` payloads are coded.
        extra_headers: The metadata, in whichever shape the carrier writes it (`bothway.wire.extra_headers` reads it).
    """

    stream_id: str
    call_id: str
    format: AudioFormat
    account_id: str = ""
    tracks: tuple[str, ...] = ("inbound",)
    extra_headers: str = "{}"


class Media(msgspec.Struct, frozen=True, gc=False):
    """About 20 ms of one track.

    Attributes:
        payload: Samples without a header.
        track: Whose voice it is.
        timestamp: Milliseconds as a decimal string. Only differences mean anything.
        chunk: Counts the track's messages from 1, and stays below 2**53 as every number in JSON does; 0 where the
            sender does not count. A gap is a loss.
    """

    payload: bytes
    track: str = "inbound"
    timestamp: str = ""
    chunk: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0


class Dtmf(msgspec.Struct, frozen=True, gc=False):
    """The caller pressed one key: one of `0-9*#ABCD`."""

    digit: str
    track: str = "inbound"
    timestamp: str = ""


class PlayedStream(msgspec.Struct, frozen=True, gc=False):
    """Everything queued before the checkpoint of this name has been heard."""

    name: str


class ClearedAudio(msgspec.Struct, frozen=True, gc=False):
    """What was not yet played has been dropped, and its checkpoints with it."""


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The carrier ends the stream. Not every carrier says so: the end of the socket is the end of the stream."""

    reason: str = ""


class PlayAudio(msgspec.Struct, frozen=True, gc=False):
    """Audio for the caller, of any length.

    Attributes:
        payload: Samples without a header.
        format: How they are coded; None where the sender left it to the stream's own format.
    """

    payload: bytes
    format: AudioFormat | None = None


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """A mark in the playout queue. Names need not be unique."""

    name: str


class ClearAudio(msgspec.Struct, frozen=True, gc=False):
    """Drop all that is not yet played."""


class SendDtmf(msgspec.Struct, frozen=True, gc=False):
    """Press these keys towards the caller: characters of `0-9*#ABCD`."""

    digits: str


class Mistake(msgspec.Struct, frozen=True, gc=False):
    """What the other end sent that its protocol does not have.

    Attributes:
        code: A short word to count by, such as `not-json`.
        text: A sentence that says what was sent and, where it can be told, what was meant.
    """

    code: str
    text: str


FromCarrier: TypeAlias = Start | Media | Dtmf | PlayedStream | ClearedAudio | Stop
FromApp: TypeAlias = PlayAudio | Checkpoint | ClearAudio | SendDtmf


class Tolerated(msgspec.Struct, frozen=True, gc=False):
    """A message that was understood although it was written wrongly."""

    message: FromCarrier | FromApp
    mistake: Mistake
