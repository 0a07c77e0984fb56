"""The AsyncAPI document (3.0) of the audio stream, with a JSON Schema (draft 7) for each message of both directions.

The keys and types of a message are those that its encoder really writes: an example is encoded, and its schema is read
off what came out. What an example cannot tell, the values that are allowed, stands in `_RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from bothway.audio.format import MULAW_8K, AudioFormat
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.runtime.duplex import MAX_MESSAGE
from bothway.version import __version__
from bothway.wire.content_type import STREAM_CONTENT_TYPES
from bothway.wire.dialects import plivo
from bothway.wire.dialects.plivo import DTMF_DIGITS, MAX_NAME, MediaWriter, PlayWriter
from bothway.wire.stream import Checkpoint, Dtmf, PlayedStream, SendDtmf, Start, Stop, Track

__all__ = ["FROM_APP", "FROM_CARRIER", "asyncapi_document", "message_schema"]

_UUID = "1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b"
_PROFILES = (DOCUMENTED, LIVE)
_KEYS = "0-9*#A-D"
_SAFE = 2**53
"""JSON's numbers are exact below it (RFC 8259, section 6)."""

assert re.fullmatch(f"[{_KEYS}]+", DTMF_DIGITS), "the pattern of keys is the dialect's list"


def _start(profile: Profile) -> Start:
    account = "500025" if profile.numeric_account else "MAXXXXXXXXXXXXXXXXXX"
    return Start(stream_id=_UUID, call_id=_UUID, account_id=account, format=profile.default_format)


FROM_CARRIER: dict[str, tuple[str, Callable[[Profile], bytes]]] = {
    "start": (
        "The stream begins: the first message, sent once.",
        lambda profile: plivo.encode_start(_start(profile), sequence=profile.first_sequence),
    ),
    "media": (
        "20 ms of one track; L16 is little-endian, whatever RFC 3551 says of that name.",
        lambda profile: MediaWriter(_start(profile), "inbound").write(
            profile.default_format.silent_frame, sequence=1, timestamp_ms=1_760_000_000_020, chunk=1
        ),
    ),
    "dtmf": (
        "The caller pressed a key.",
        lambda profile: plivo.encode_dtmf(
            Dtmf("5", timestamp="1760000008240"),
            stream_id=_UUID,
            sequence=412,
            extra_headers=_start(profile).extra_headers,
        ),
    ),
    "playedStream": (
        "All that was queued before the checkpoint of this name has been heard. What a clear dropped is not reported.",
        lambda _: plivo.encode_played_stream(PlayedStream("greeting"), stream_id=_UUID, sequence=413),
    ),
    "clearedAudio": (
        "The answer to clearAudio, also to one that found nothing to drop.",
        lambda _: plivo.encode_cleared_audio(stream_id=_UUID, sequence=414),
    ),
    "stop": (
        "The stream ends: the last message before the socket closes.",
        lambda _: plivo.encode_stop(Stop("call ended"), stream_id=_UUID, sequence=415),
    ),
}
"""What the carrier sends: what each message means, and an example of it as a profile has it."""

FROM_APP: dict[str, tuple[str, Callable[[], bytes]]] = {
    "playAudio": (
        "Audio for the caller, of any length that fits into a message; it is queued, and played in real time.",
        lambda: PlayWriter(MULAW_8K).write(MULAW_8K.silent_frame),
    ),
    "checkpoint": (
        "A named mark behind the audio sent so far.",
        lambda: plivo.encode_checkpoint(Checkpoint("greeting"), stream_id=_UUID),
    ),
    "clearAudio": (
        "Drop all that is not yet played, marks included.",
        lambda: plivo.encode_clear_audio(stream_id=_UUID),
    ),
    "sendDTMF": ("Press these keys towards the caller.", lambda: plivo.encode_send_dtmf(SendDtmf("1234#"))),
}
"""What the app sends on a bidirectional stream."""

_BASE64 = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
_ID = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
_TRACK = {"type": "string", "enum": list(get_args(Track))}
_MILLISECONDS = {"type": "string", "pattern": "^[0-9]+$"}
_FORMATS = tuple(STREAM_CONTENT_TYPES.values())

_RULES: dict[str, dict[str, Any]] = {
    "streamId": {**_ID, "description": "Names the stream"},
    "callId": {**_ID, "description": "The CallUUID"},
    "sequenceNumber": {
        "type": "integer",
        "minimum": 0,
        "exclusiveMaximum": _SAFE,
        "description": "Counts all of the carrier's messages on the stream",
    },
    "chunk": {"type": "integer", "minimum": 1, "exclusiveMaximum": _SAFE, "description": "Counts the track's media"},
    "timestamp": {**_MILLISECONDS, "description": "Milliseconds since 1970; only differences mean anything"},
    "track": {**_TRACK, "description": "`inbound` is the caller, `outbound` what is played to the caller"},
    "tracks": {"type": "array", "items": _TRACK, "minItems": 1, "uniqueItems": True},
    "payload": {**_BASE64, "description": "Samples without a header"},
    "digit": {"type": "string", "pattern": f"^[{_KEYS}]$"},
    "name": {"type": "string", "maxLength": MAX_NAME, "description": "Of a checkpoint; need not be unique"},
    "extra_headers": {"type": "string", "description": "The stream's extraHeaders"},
}
"""What is allowed under a key, wherever it stands."""

_APP_OPTIONAL = frozenset({"streamId"})
"""What an app may leave out: official clients do (plivo-protocol.md, 3.1 to 3.3)."""


def asyncapi_document() -> dict[str, Any]:
    """The whole document, as JSON values: a channel for each profile."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    channels, operations = {}, {}
    for profile in _PROFILES:
        sent = [name for name in FROM_CARRIER if name != "stop" or profile.stop_message]
        for name in sent:
            text, made = FROM_CARRIER[name]
            schemas[f"{name}_{profile.name}"] = message_schema(name, profile)
            messages[f"{name}_{profile.name}"] = _message(name, f"{name}_{profile.name}", text, made(profile))
        channels[profile.name] = _channel(profile, sent)
        for action, names in (("send", [f"{name}_{profile.name}" for name in sent]), ("receive", list(FROM_APP))):
            operations[f"{action}_{profile.name}"] = _operation(action, profile, names)
    for name, (text, make) in FROM_APP.items():
        schemas[name] = message_schema(name)
        messages[name] = _message(name, name, text, make())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Bothway audio stream",
            "version": __version__,
            "description": "What crosses the WebSocket of a `<Stream>`. The carrier is its client, and connects to the "
            "URL of the answer document; every message is one JSON object in a text frame of at most "
            f"{MAX_MESSAGE} bytes. This is what the carrier sends, and what it asks apps to send; what other "
            "spellings it understands is told in its documents. There is one channel for each profile.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def message_schema(event: str, profile: Profile = DOCUMENTED) -> dict[str, Any]:
    """The JSON Schema (draft 7) of one message.

    Args:
        event: Its `event`, of `FROM_CARRIER` or `FROM_APP`.
        profile: Whose message it is; an app's are the same in all.

    Raises:
        KeyError: There is no such message.
    """
    if event in FROM_APP:
        return _app_schema(event, msgspec.json.decode(FROM_APP[event][1]()))
    schema = _object(msgspec.json.decode(FROM_CARRIER[event][1](profile)), frozenset())
    properties = schema["properties"]
    properties["event"] = {"const": event}
    if event == "start":
        properties["sequenceNumber"] = {"const": profile.first_sequence}
        body = properties["start"]
        body["properties"]["accountId"] = _account(profile)
        body["properties"]["mediaFormat"]["oneOf"] = [
            _pair("encoding", "sampleRate", audio_format) for audio_format in _FORMATS
        ]
    if "extra_headers" in properties:
        properties["extra_headers"] = _extra_headers(profile)
    return {**schema, "additionalProperties": False}


def _account(profile: Profile) -> dict[str, Any]:
    if profile.numeric_account:
        return {"type": "string", "pattern": "^[0-9]+$", "description": "Opaque: a number, and not the auth id"}
    return {"type": "string", "minLength": 1, "description": "The auth id"}


def _extra_headers(profile: Profile) -> dict[str, Any]:
    if profile.brace_headers:
        text = "`{X-PH-key: value, …}`, `{}` when there are none; it is no JSON"
        return {"type": "string", "pattern": "^\\{.*\\}$", "description": text}
    return {**_RULES["extra_headers"], "description": "The attribute as it was written, `{}` when there is none"}


def _app_schema(event: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = _object(example, _APP_OPTIONAL)
    properties = schema["properties"]
    properties["event"] = {"const": event}
    # A client of another stream's id is not refused, nor one that says it another way.
    properties["streamId"] = {"type": "string", "description": "The stream; may be left out"}
    if event == "playAudio":
        media = properties["media"]
        media["oneOf"] = [_pair("contentType", "sampleRate", audio_format) for audio_format in _FORMATS]
    if event == "sendDTMF":
        properties["dtmf"] = {"type": "string", "pattern": f"^[{_KEYS}]+$"}
    return schema


def _pair(encoding: str, rate: str, audio_format: AudioFormat) -> dict[str, Any]:
    """A coding and a rate that belong together."""
    return {"properties": {encoding: {"const": audio_format.encoding.value}, rate: {"const": audio_format.rate}}}


def _object(example: Mapping[str, Any], optional: frozenset[str]) -> dict[str, Any]:
    properties = {key: _schema(key, value, optional) for key, value in example.items()}
    return {"type": "object", "properties": properties, "required": [key for key in example if key not in optional]}


def _schema(key: str, value: object, optional: frozenset[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return _object(value, optional)
    if key in _RULES:
        return dict(_RULES[key])
    return {"type": "integer" if isinstance(value, int) else "string"}


def _message(event: str, key: str, text: str, example: bytes) -> dict[str, Any]:
    return {
        "name": event,
        "summary": text,
        "payload": {"$ref": f"#/components/schemas/{key}"},
        "examples": [{"payload": msgspec.json.decode(example)}],
    }


def _channel(profile: Profile, sent: list[str]) -> dict[str, Any]:
    names = {name: f"{name}_{profile.name}" for name in sent} | {name: name for name in FROM_APP}
    return {
        "address": None,
        "title": f"A stream of the profile {profile.name}",
        "description": "At the URL in the text of `<Stream>`, or `service_url` over REST. A stream without a "
        f"contentType is {profile.default_format}.",
        "messages": {name: {"$ref": f"#/components/messages/{key}"} for name, key in names.items()},
        "bindings": {
            "ws": {
                "method": "GET",
                "headers": {
                    "type": "object",
                    "properties": {
                        name: {"type": "string"}
                        for name in (
                            "X-Plivo-Signature-V3",
                            "X-Plivo-Signature-Ma-V3",
                            "X-Plivo-Signature-V3-Nonce",
                        )
                    },
                },
            }
        },
    }


def _operation(action: str, profile: Profile, keys: list[str]) -> dict[str, Any]:
    names = [key.removesuffix(f"_{profile.name}") for key in keys]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{profile.name}"},
        "summary": "What the carrier sends to the app" if action == "send" else "What the app sends to the carrier",
        "messages": [{"$ref": f"#/channels/{profile.name}/messages/{name}"} for name in names],
    }
