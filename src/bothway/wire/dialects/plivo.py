"""Plivo's audio stream: its JSON to neutral messages and back, both ways (plivo-protocol.md, sections 2 and 3).

Strict in what it writes: every key and type that the official SDKs check. Liberal in what it reads: every shape that
the reference has seen, each understood with a `Tolerated` that says what was odd, and for what people write by mistake
a `Mistake` that says what was meant. Nothing here raises on what a peer sent.

A media message takes a fast path: one typed decode, one formatting of a prepared template.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from bothway.audio.format import MULAW_8K, AudioFormat
from bothway.errors import PeerError
from bothway.wire.content_type import STREAM_CONTENT_TYPES, parse_play_format
from bothway.wire.stream import (
    Checkpoint,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    FromApp,
    FromCarrier,
    Media,
    Mistake,
    PlayAudio,
    PlayedStream,
    SendDtmf,
    Start,
    Stop,
    Tolerated,
)

__all__ = [
    "DTMF_DIGITS",
    "MAX_NAME",
    "MediaWriter",
    "PlayWriter",
    "decode_from_app",
    "decode_from_carrier",
    "decode_media",
    "encode_checkpoint",
    "encode_clear_audio",
    "encode_cleared_audio",
    "encode_dtmf",
    "encode_played_stream",
    "encode_send_dtmf",
    "encode_start",
    "encode_stop",
]

DTMF_DIGITS = "0123456789*#ABCD"
"""The keys of a telephone (plivo-protocol.md, 2.5)."""

MAX_NAME = 1024
"""Checkpoint names are echoed and logged: no real name comes near this length."""

_STREAMS_OWN = "the stream's own format"

_dumps = msgspec.json.encode


# What the carrier writes.


def encode_start(start: Start, *, sequence: int) -> bytes:
    """The first message of a stream (section 2.3)."""
    return _dumps(
        {
            "sequenceNumber": sequence,
            "event": "start",
            "start": {
                "callId": start.call_id,
                "streamId": start.stream_id,
                "accountId": start.account_id,
                "tracks": start.tracks,
                "mediaFormat": {"encoding": start.format.encoding.value, "sampleRate": start.format.rate},
            },
            "extra_headers": start.extra_headers,
        }
    )


class MediaWriter:
    """Writes the media messages of one track of one stream; all that never changes is formatted once (section 2.4)."""

    __slots__ = ("_template",)

    def __init__(self, start: Start, track: str) -> None:
        fixed = (_dumps(start.stream_id), _dumps(track), _dumps(start.extra_headers))
        stream_id, track_name, extra_headers = (text.replace(b"%", b"%%") for text in fixed)
        self._template = (
            b'{"sequenceNumber":%d,"streamId":' + stream_id + b',"event":"media","media":{"track":' + track_name
            + b',"timestamp":"%d","chunk":%d,"payload":"%b"},"extra_headers":' + extra_headers + b"}"
        )  # fmt: skip

    def write(self, payload: bytes, *, sequence: int, timestamp_ms: int, chunk: int) -> bytes:
        """One message of `payload`, coded as the stream's `start` said."""
        return self._template % (sequence, timestamp_ms, chunk, b2a_base64(payload, newline=False))


def encode_dtmf(dtmf: Dtmf, *, stream_id: str, sequence: int, extra_headers: str) -> bytes:
    """A key press (section 2.5)."""
    return _dumps(
        {
            "event": "dtmf",
            "sequenceNumber": sequence,
            "streamId": stream_id,
            "dtmf": {"track": dtmf.track, "digit": dtmf.digit, "timestamp": dtmf.timestamp},
            "extra_headers": extra_headers,
        }
    )


def encode_played_stream(played: PlayedStream, *, stream_id: str, sequence: int) -> bytes:
    """A checkpoint was heard (section 2.6; the official SDKs require all four keys)."""
    return _dumps({"event": "playedStream", "sequenceNumber": sequence, "streamId": stream_id, "name": played.name})


def encode_cleared_audio(*, stream_id: str, sequence: int) -> bytes:
    """The answer to a clear (section 2.7)."""
    return _dumps({"sequenceNumber": sequence, "event": "clearedAudio", "streamId": stream_id})


def encode_stop(stop: Stop, *, stream_id: str, sequence: int) -> bytes:
    """The last message, on carriers that send one (section 2.2)."""
    return _dumps({"event": "stop", "sequenceNumber": sequence, "streamId": stream_id, "reason": stop.reason})


# What the app writes.


class PlayWriter:
    """Writes `playAudio` messages of one format (section 3.1)."""

    __slots__ = ("_prefix",)

    def __init__(self, audio_format: AudioFormat) -> None:
        self._prefix = b'{"event":"playAudio","media":{"contentType":"%b","sampleRate":%d,"payload":"' % (
            audio_format.encoding.value.encode(),
            audio_format.rate,
        )

    def write(self, payload: bytes) -> bytes:
        """One message of `payload`. Keeping it under the carrier's limit is the caller's business."""
        return self._prefix + b2a_base64(payload, newline=False) + b'"}}'


def encode_checkpoint(checkpoint: Checkpoint, *, stream_id: str) -> bytes:
    """A named mark behind the audio sent so far (section 3.2)."""
    return _dumps({"event": "checkpoint", "streamId": stream_id, "name": checkpoint.name})


def encode_clear_audio(*, stream_id: str) -> bytes:
    """Drop what is not yet played (section 3.3)."""
    return _dumps({"event": "clearAudio", "streamId": stream_id})


def encode_send_dtmf(send: SendDtmf) -> bytes:
    """Press keys (section 3.4)."""
    return _dumps({"event": "sendDTMF", "dtmf": send.digits})


# What either end reads.


class _CarrierMedia(msgspec.Struct, gc=False):
    """A media message as the carrier should write it."""

    event: str
    media: Media | None = None


class _PlayMedia(msgspec.Struct, gc=False):
    """The body of `playAudio` as the app should write it."""

    contentType: str  # noqa: N815 - the wire's own key
    sampleRate: int  # noqa: N815 - the wire's own key
    payload: bytes


class _AppPlay(msgspec.Struct, gc=False):
    """A `playAudio` message as the app should write it."""

    event: str
    media: _PlayMedia | None = None


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for what is not JSON, for text that is not UTF-8, and for nesting deeper than the stack."""

_decode_media = msgspec.json.Decoder(_CarrierMedia).decode
_decode_play = msgspec.json.Decoder(_AppPlay).decode
_STRICT_FORMATS = {(form.encoding.value, form.rate): form for form in STREAM_CONTENT_TYPES.values()}


def decode_from_carrier(raw: bytes) -> FromCarrier | Tolerated | Mistake:
    """Read one message that a carrier sent to an app."""
    return decode_media(raw) or _decode_liberal(raw, _CARRIER_READERS, _CARRIER_HINTS)


def decode_media(raw: bytes) -> Media | None:
    """Read a media message that is written as it should be; None is for `decode_from_carrier` to read."""
    try:
        envelope = _decode_media(raw)
    except _UNREADABLE:
        return None
    return envelope.media if envelope.event == "media" else None


def decode_from_app(raw: bytes) -> FromApp | Tolerated | Mistake:
    """Read one message that an app sent to a carrier."""
    try:
        envelope = _decode_play(raw)
        media = envelope.media
        if media is not None and envelope.event == "playAudio":
            audio_format = _STRICT_FORMATS.get((media.contentType, media.sampleRate))
            if audio_format is not None:
                return PlayAudio(media.payload, audio_format)
    except _UNREADABLE:
        pass  # not a well-formed playAudio: the liberal reader says what it is
    return _decode_liberal(raw, _APP_READERS, _APP_HINTS)


class _WrongError(Exception):
    """Stops the reading of one message; never leaves this module."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.mistake = Mistake(code, text)


class _Reading:
    """One message being read, and what was odd about it."""

    __slots__ = ("event", "fields", "oddities")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields
        self.oddities: list[str] = []

    def body(self, key: str) -> dict[str, Any]:
        found = self.fields.get(key)
        if not isinstance(found, dict):
            raise _WrongError("wrong-type", f"{self.event} needs an object under {key!r}, not {_shown(found)}")
        return found

    def text(self, fields: dict[str, Any], key: str, *, default: str | None = None) -> str:
        found = fields.get(key)
        if found is None:
            found = default
        if isinstance(found, str):
            return found
        if isinstance(found, int | float) and not isinstance(found, bool):
            self.oddities.append(f"its {key} is a number, and not text")
            return str(int(found) if found == int(found) else found)
        raise _WrongError("wrong-type", f"{self.event} needs text under {key!r}, not {_shown(found)}")

    def name(self) -> str:
        name = self.text(self.fields, "name")
        if len(name) > MAX_NAME:
            raise _WrongError(
                "long-name", f"{self.event} has a name of {len(name)} characters, the limit is {MAX_NAME}"
            )
        return name

    def number(self, fields: dict[str, Any], key: str) -> int:
        """A whole number that JSON can carry exactly (RFC 8259, section 6); 0 where there is none."""
        found = fields.get(key)
        if found is None:
            return 0
        if isinstance(found, str) and _DECIMAL.fullmatch(found):
            self.oddities.append(f"its {key} is text, and not a number")
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**53:
            raise _WrongError("wrong-type", f"{self.event} needs a whole number under {key!r}, not {_shown(found)}")
        return found

    def audio(self, fields: dict[str, Any]) -> bytes:
        payload = fields.get("payload")
        if not isinstance(payload, str):
            raise _WrongError("wrong-type", f"{self.event} needs base64 text under 'payload', not {_shown(payload)}")
        packed = "".join(payload.split()).rstrip("=")
        if packed + "=" * (-len(packed) % 4) != payload:
            self.oddities.append("its base64 lacks padding, or has white space in it")
        try:
            return a2b_base64(packed + "=" * (-len(packed) % 4), strict_mode=True)
        except (Base64Error, ValueError):
            raise _WrongError(
                "bad-base64", f"the payload of {self.event} is not base64 (RFC 4648, section 4)"
            ) from None

    def play_format(self, content_type: str, rate: object) -> AudioFormat | None:
        try:
            audio_format, oddity = parse_play_format(content_type, rate)
        except PeerError as error:
            raise _WrongError("bad-format", f"{self.event}: {error}") from None
        if oddity:
            self.oddities.append(oddity)
        return audio_format


_Message = TypeVar("_Message", FromCarrier, FromApp)


def _decode_liberal(
    raw: bytes, readers: dict[str, Callable[[_Reading], _Message]], hints: dict[str, tuple[str, str]]
) -> _Message | Tolerated | Mistake:
    try:
        fields = msgspec.json.decode(raw)
    except _UNREADABLE as error:
        return Mistake("not-json", f"a message is not JSON: {error}")
    if not isinstance(fields, dict):
        return Mistake("not-json", f"a message is {_shown(fields)}, and not a JSON object")
    event = fields.get("event")
    if not isinstance(event, str):
        return Mistake("no-event", f"a message has {_shown(event)} for its 'event', and not a word")
    if event in hints:
        code, text = hints[event]
        reason = fields.get("reason")
        return Mistake(code, f"{text}: {reason[:200]}" if isinstance(reason, str) else text)
    reader = readers.get(event)
    if reader is None:
        near = {name.lower(): name for name in reversed(readers)}.get(event.lower())
        meant = f": {near!r} is the spelling" if near else ""
        return Mistake("unknown-event", f"{_shown(event)} is no event of this protocol{meant}")
    reading = _Reading(event, fields)
    try:
        message = reader(reading)
    except _WrongError as wrong:
        return wrong.mistake
    except RecursionError:  # writing nested metadata again may take more of the stack than reading it did
        return Mistake("not-json", f"{event} nests deeper than any real message")
    if reading.oddities:
        return Tolerated(
            message, Mistake("odd-" + event, f"{event} was understood, but " + "; ".join(reading.oddities))
        )
    return message


def _read_start(reading: _Reading) -> Start:
    body = reading.body("start")
    tracks = body.get("tracks", ["inbound"])
    if not isinstance(tracks, list) or not all(isinstance(track, str) for track in tracks):
        reading.oddities.append(f"its tracks are {_shown(tracks)}, and not a list of words")
        tracks = ["inbound"]
    coding = body.get("mediaFormat")
    audio_format = None
    if isinstance(coding, dict):
        rate = coding.get("sampleRate")
        if rate is None:
            reading.oddities.append("it has no sampleRate: taken for 8000")
            rate = MULAW_8K.rate
        audio_format = reading.play_format(reading.text(coding, "encoding"), rate)
    if audio_format is None:
        reading.oddities.append(f"it does not say how its audio is coded: taken for {MULAW_8K}")
    headers = reading.fields.get("extra_headers")
    if headers is None:
        headers = "{}"
    elif not isinstance(headers, str):
        headers = _dumps(headers).decode()
    return Start(
        stream_id=reading.text(body, "streamId"),
        call_id=reading.text(body, "callId"),
        account_id=reading.text(body, "accountId", default=""),
        tracks=tuple(tracks),
        format=audio_format or MULAW_8K,
        extra_headers=headers,
    )


def _read_media(reading: _Reading) -> Media:
    body = reading.body("media")
    return Media(
        payload=reading.audio(body),
        track=reading.text(body, "track", default="inbound"),
        timestamp=reading.text(body, "timestamp", default=""),
        chunk=reading.number(body, "chunk"),
    )


def _read_digits(reading: _Reading, text: str) -> str:
    if not text or text.strip(DTMF_DIGITS):
        raise _WrongError("bad-digit", f"{reading.event} has {_shown(text)}, and not keys of {DTMF_DIGITS}")
    return text


def _read_dtmf(reading: _Reading) -> Dtmf:
    body = reading.body("dtmf")
    digit = _read_digits(reading, reading.text(body, "digit"))
    if len(digit) != 1:
        raise _WrongError("bad-digit", f"dtmf has {_shown(digit)}, and not one key")
    return Dtmf(digit, reading.text(body, "track", default="inbound"), reading.text(body, "timestamp", default=""))


def _read_played(reading: _Reading) -> PlayedStream:
    if reading.event == "played":
        reading.oddities.append("the event is named playedStream")
    return PlayedStream(reading.name())


def _read_cleared(_: _Reading) -> ClearedAudio:
    return ClearedAudio()


def _read_stop(reading: _Reading) -> Stop:
    body = reading.fields.get("stop")
    reason = reading.fields.get("reason") or (body.get("reason") if isinstance(body, dict) else None)
    return Stop(reason if isinstance(reason, str) else "")


def _read_play(reading: _Reading) -> PlayAudio:
    body = reading.body("media")
    payload = reading.audio(body)
    content_type, rate = body.get("contentType"), body.get("sampleRate")
    if isinstance(rate, str):
        reading.oddities.append("its sampleRate is text, and not a number")
    if content_type is None:
        reading.oddities.append(f"it has no contentType: taken for {_STREAMS_OWN}")
        return PlayAudio(payload)
    if not isinstance(content_type, str):
        raise _WrongError("wrong-type", f"playAudio needs text under 'contentType', not {_shown(content_type)}")
    audio_format = reading.play_format(content_type, rate)
    if rate is None:
        reading.oddities.append(f"it has no sampleRate: taken for {audio_format or _STREAMS_OWN}")
    return PlayAudio(payload, audio_format)


def _read_checkpoint(reading: _Reading) -> Checkpoint:
    if reading.event == "checkPoint":
        reading.oddities.append("the event is named checkpoint, in lower case")
    return Checkpoint(reading.name())


def _read_clear(_: _Reading) -> ClearAudio:
    return ClearAudio()


def _read_send_dtmf(reading: _Reading) -> SendDtmf:
    found = reading.fields.get("dtmf")
    if isinstance(found, dict):
        reading.oddities.append("its digits are in an object, and not text under 'dtmf'")
        found = found.get("digits", found.get("digit"))
    return SendDtmf(_read_digits(reading, found if isinstance(found, str) else ""))


_CARRIER_READERS: dict[str, Callable[[_Reading], FromCarrier]] = {
    "start": _read_start,
    "media": _read_media,
    "dtmf": _read_dtmf,
    "playedStream": _read_played,
    "played": _read_played,
    "clearedAudio": _read_cleared,
    "stop": _read_stop,
}
_CARRIER_HINTS = {
    "connected": ("twilio-connected", "connected is Twilio's first message: this stream was set up as Plivo's"),
    "mark": ("twilio-mark", "mark is Twilio's word: Plivo sends playedStream"),
    "incorrectPayload": ("carrier-error", "the carrier could not play a playAudio: its codec, rate or base64 is wrong"),
    "playFailed": ("carrier-error", "the carrier could not play a playAudio"),
    "error": ("carrier-error", "the carrier reports an error"),
}
_APP_READERS: dict[str, Callable[[_Reading], FromApp]] = {
    "playAudio": _read_play,
    "checkpoint": _read_checkpoint,
    "checkPoint": _read_checkpoint,
    "clearAudio": _read_clear,
    "sendDTMF": _read_send_dtmf,
}
_APP_HINTS = {
    "playStream": ("play-stream", "playStream does not exist: the event that plays audio is named playAudio"),
    "media": ("twilio-media", "media is how Twilio plays audio: Plivo's word is playAudio"),
    "mark": ("twilio-mark", "mark is Twilio's word: Plivo's is checkpoint"),
    "clear": ("twilio-clear", "clear is Twilio's word: Plivo's is clearAudio"),
    "stop": (
        "app-stop",
        "an app cannot send stop: to end the stream it closes the socket, to end the call it asks REST",
    ),
    "hangup": ("app-hangup", "no stream message ends the call: close the socket, or DELETE the call by REST"),
}

_DECIMAL = re.compile(r"[0-9]{1,16}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def _shown(value: object) -> str:
    """`value` as an error may show it: what it is, short, and safe to log."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(_UNPRINTABLE.sub("?", value[:40]))
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return f"the {type(value).__name__} {str(value)[:40]}"
