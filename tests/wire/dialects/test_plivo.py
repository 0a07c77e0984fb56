from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from bothway.wire.dialects import plivo
from bothway.wire.dialects.plivo import decode_from_app, decode_from_carrier
from bothway.wire.stream import (
    Checkpoint,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    Media,
    Mistake,
    PlayAudio,
    PlayedStream,
    SendDtmf,
    Start,
    Stop,
    Tolerated,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK declares its fields as pydantic no longer likes
    from plivo_stream import BaseStreamingHandler
    from plivo_stream.types import EventType, StreamEvent

CALL = "0f6a1b9e-6d1c-4f0e-9b7e-3f5e2c7a1d10"
STREAM = "5a8d0c1e-2f34-4c7b-8a21-7d90e1b2c3d4"
START = Start(STREAM, CALL, MULAW_8K, account_id="500025", extra_headers="{X-PH-name: Amal}")

Fields = dict[str, Any]


def raw(fields: object) -> bytes:
    return json.dumps(fields).encode()


def mistake(message: object) -> Mistake:
    assert isinstance(message, Mistake), message
    return message


def tolerated(message: object) -> Tolerated:
    assert isinstance(message, Tolerated), message
    return message


# What the carrier writes, key by key and type by type (plivo-protocol.md, section 2).


def from_carrier() -> dict[str, Fields]:
    media = plivo.MediaWriter(START, "inbound")
    dtmf = Dtmf("5", "inbound", "1760000008240")
    written = {
        "start": plivo.encode_start(START, sequence=0),
        "media": media.write(b"\x7f\x7f\xf7\xdf", sequence=1, timestamp_ms=1760000000020, chunk=1),
        "dtmf": plivo.encode_dtmf(dtmf, stream_id=STREAM, sequence=412, extra_headers=START.extra_headers),
        "playedStream": plivo.encode_played_stream(PlayedStream("greeting-end"), stream_id=STREAM, sequence=413),
        "clearedAudio": plivo.encode_cleared_audio(stream_id=STREAM, sequence=414),
        "stop": plivo.encode_stop(Stop("hangup"), stream_id=STREAM, sequence=415),
    }
    return {event: json.loads(message) for event, message in written.items()}


def test_the_carrier_writes_every_message_as_the_reference_has_it() -> None:
    assert from_carrier() == {
        "start": {
            "sequenceNumber": 0,
            "event": "start",
            "start": {
                "callId": CALL,
                "streamId": STREAM,
                "accountId": "500025",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
            },
            "extra_headers": "{X-PH-name: Amal}",
        },
        "media": {
            "sequenceNumber": 1,
            "streamId": STREAM,
            "event": "media",
            "media": {"track": "inbound", "timestamp": "1760000000020", "chunk": 1, "payload": "f3/33w=="},
            "extra_headers": "{X-PH-name: Amal}",
        },
        "dtmf": {
            "event": "dtmf",
            "sequenceNumber": 412,
            "streamId": STREAM,
            "dtmf": {"track": "inbound", "digit": "5", "timestamp": "1760000008240"},
            "extra_headers": "{X-PH-name: Amal}",
        },
        "playedStream": {"event": "playedStream", "sequenceNumber": 413, "streamId": STREAM, "name": "greeting-end"},
        "clearedAudio": {"sequenceNumber": 414, "event": "clearedAudio", "streamId": STREAM},
        "stop": {"event": "stop", "sequenceNumber": 415, "streamId": STREAM, "reason": "hangup"},
    }


@pytest.mark.parametrize(
    ("audio_format", "encoding", "rate"),
    [
        (MULAW_8K, "audio/x-mulaw", 8000),
        (L16_8K, "audio/x-l16", 8000),
        (L16_16K, "audio/x-l16", 16000),
        (L16_24K, "audio/x-l16", 24000),
    ],
)
def test_start_names_the_encoding_without_its_rate(audio_format: AudioFormat, encoding: str, rate: int) -> None:
    start = Start(STREAM, CALL, audio_format, tracks=("inbound", "outbound"))
    body = json.loads(plivo.encode_start(start, sequence=1))["start"]
    assert body["mediaFormat"] == {"encoding": encoding, "sampleRate": rate}
    assert body["tracks"] == ["inbound", "outbound"]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=300))
def test_no_metadata_breaks_a_media_message(extra_headers: str, payload: bytes) -> None:
    start = Start(STREAM, CALL, MULAW_8K, extra_headers=extra_headers)
    message = plivo.MediaWriter(start, "outbound").write(payload, sequence=7, timestamp_ms=9, chunk=3)
    fields = json.loads(message)
    assert fields["extra_headers"] == extra_headers
    assert base64.b64decode(fields["media"]["payload"], validate=True) == payload
    assert decode_from_carrier(message) == Media(payload, "outbound", "9", 3)


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(value: object) -> bool:
    """RFC 9562 with its version and variant bits, as zod checks it."""
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    return isinstance(value, str)


ZOD: dict[str, dict[str, Callable[[object], bool]]] = {
    "start": {
        "sequenceNumber": is_number,
        "extra_headers": is_text,
        "start.callId": is_uuid,
        "start.streamId": is_uuid,
        "start.accountId": is_text,
        "start.mediaFormat.encoding": is_text,
        "start.mediaFormat.sampleRate": is_number,
    },
    "media": {
        "sequenceNumber": is_number,
        "streamId": is_uuid,
        "extra_headers": is_text,
        "media.track": is_text,
        "media.timestamp": is_text,
        "media.chunk": is_number,
        "media.payload": is_text,
    },
    "dtmf": {
        "sequenceNumber": is_number,
        "streamId": is_uuid,
        "extra_headers": is_text,
        "dtmf.track": is_text,
        "dtmf.digit": is_text,
        "dtmf.timestamp": is_text,
    },
    "playedStream": {"sequenceNumber": is_number, "streamId": is_uuid, "name": is_text},
    "clearedAudio": {"sequenceNumber": is_number, "streamId": is_uuid},
}
"""What the official Node SDK requires of each event (contracts.md, 1.1, "Strictness")."""


@pytest.mark.parametrize("event", ZOD)
def test_the_rules_of_the_node_sdk_hold(event: str) -> None:
    message = from_carrier()[event]
    assert message["event"] == event
    for path, rule in ZOD[event].items():
        value: Any = message
        for key in path.split("."):
            value = value[key]
        assert rule(value), (path, value)


# What the app writes (section 3).


def from_app() -> dict[str, bytes]:
    return {
        "playAudio": plivo.PlayWriter(MULAW_8K).write(b"\xff\xff\x00\x00"),
        "checkpoint": plivo.encode_checkpoint(Checkpoint("utt-7"), stream_id=STREAM),
        "clearAudio": plivo.encode_clear_audio(stream_id=STREAM),
        "sendDTMF": plivo.encode_send_dtmf(SendDtmf("1234#")),
    }


def test_the_app_writes_every_message_as_the_reference_has_it() -> None:
    assert {event: json.loads(message) for event, message in from_app().items()} == {
        "playAudio": {
            "event": "playAudio",
            "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "//8AAA=="},
        },
        "checkpoint": {"event": "checkpoint", "streamId": STREAM, "name": "utt-7"},
        "clearAudio": {"event": "clearAudio", "streamId": STREAM},
        "sendDTMF": {"event": "sendDTMF", "dtmf": "1234#"},
    }


# The official Python SDK as the judge of both.


class Sdk(BaseStreamingHandler):  # type: ignore[misc]
    """The SDK's end of a stream without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.events: list[StreamEvent] = []
        self.errors: list[Exception] = []
        for event in EventType:
            self.on_event(event)(self._on_any)
        self.on_error(self._on_error_text)

    async def _on_any(self, event: StreamEvent) -> None:
        self.events.append(event)

    async def _on_error_text(self, error: Exception) -> None:
        self.errors.append(error)

    async def _send_raw(self, data: str) -> None:
        self.sent.append(data.encode())

    async def receive(self, message: bytes) -> None:
        await self._process_message(message.decode())


async def test_the_official_sdk_accepts_every_message_of_the_carrier() -> None:
    sdk = Sdk()
    messages = from_carrier()
    del messages["stop"]  # which the live profile does not send, and which the SDK does not know
    for fields in messages.values():
        await sdk.receive(raw(fields))
    assert sdk.errors == []
    assert [event.event.value for event in sdk.events] == list(messages)
    assert (sdk.get_stream_id(), sdk.get_call_id(), sdk.get_account_id()) == (STREAM, CALL, "500025")


async def test_a_stop_reaches_the_sdk_s_error_callback_and_nothing_else() -> None:
    """So it does with Plivo: the event is in none of the SDK's lists (contracts.md, 1.1)."""
    sdk = Sdk()
    await sdk.receive(plivo.encode_stop(Stop("hangup"), stream_id=STREAM, sequence=1))
    assert [str(error) for error in sdk.errors] == ["Unknown event type: stop"]


async def test_every_message_of_the_official_sdk_is_read_without_a_remark() -> None:
    sdk = Sdk()
    await sdk.receive(plivo.encode_start(START, sequence=0))
    await sdk.send_media(b"\xff\x00")
    await sdk.send_media(b"\0\1", "audio/x-l16", 16000)
    await sdk.send_checkpoint("ünïque")
    await sdk.send_clear_audio()
    assert [decode_from_app(message) for message in sdk.sent] == [
        PlayAudio(b"\xff\x00", MULAW_8K),
        PlayAudio(b"\0\1", L16_16K),
        Checkpoint("ünïque"),
        ClearAudio(),
    ]


# Both readers understand both writers, and find nothing odd.


def test_each_end_reads_what_the_other_writes() -> None:
    read = {event: decode_from_carrier(raw(fields)) for event, fields in from_carrier().items()}
    assert read == {
        "start": START,
        "media": Media(b"\x7f\x7f\xf7\xdf", "inbound", "1760000000020", 1),
        "dtmf": Dtmf("5", "inbound", "1760000008240"),
        "playedStream": PlayedStream("greeting-end"),
        "clearedAudio": ClearedAudio(),
        "stop": Stop("hangup"),
    }
    assert {event: decode_from_app(message) for event, message in from_app().items()} == {
        "playAudio": PlayAudio(b"\xff\xff\x00\x00", MULAW_8K),
        "checkpoint": Checkpoint("utt-7"),
        "clearAudio": ClearAudio(),
        "sendDTMF": SendDtmf("1234#"),
    }


@given(st.binary(max_size=2000), st.sampled_from([MULAW_8K, L16_8K, L16_16K, L16_24K]))
def test_audio_comes_through_unchanged(payload: bytes, audio_format: AudioFormat) -> None:
    assert decode_from_app(plivo.PlayWriter(audio_format).write(payload)) == PlayAudio(payload, audio_format)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=1024))
def test_names_come_through_unchanged(name: str) -> None:
    assert decode_from_app(plivo.encode_checkpoint(Checkpoint(name), stream_id=STREAM)) == Checkpoint(name)
    played = plivo.encode_played_stream(PlayedStream(name), stream_id=STREAM, sequence=1)
    assert decode_from_carrier(played) == PlayedStream(name)


# What is tolerated from an app.


def play(**media: object) -> bytes:
    fields = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "//8AAA==", **media}
    return raw({"event": "playAudio", "media": {key: value for key, value in fields.items() if value is not ...}})


AUDIO = b"\xff\xff\x00\x00"


@pytest.mark.parametrize(
    ("message", "expected", "word"),
    [
        (play(sampleRate="8000"), PlayAudio(AUDIO, MULAW_8K), "sampleRate is text"),
        (play(contentType=...), PlayAudio(AUDIO), "no contentType"),
        (play(contentType=..., sampleRate=...), PlayAudio(AUDIO), "no contentType"),
        (play(contentType=None), PlayAudio(AUDIO), "no contentType"),
        (play(sampleRate=...), PlayAudio(AUDIO, MULAW_8K), "no sampleRate: taken for audio/x-mulaw;rate=8000"),
        (play(contentType="audio/x-l16", sampleRate=...), PlayAudio(AUDIO), "no sampleRate: taken for the stream's"),
        (play(contentType="audio/x-mulaw;rate=8000"), PlayAudio(AUDIO, MULAW_8K), "sampleRate 8000"),
        (play(contentType="audio/x-l16;rate=16000", sampleRate=16000), PlayAudio(AUDIO, L16_16K), "audio/x-l16"),
        (play(contentType="audio/x-l16;rate=16000", sampleRate=...), PlayAudio(AUDIO, L16_16K), "sampleRate"),
        (play(contentType="audio/l16/16000", sampleRate=...), PlayAudio(AUDIO, L16_16K), "'audio/x-l16'"),
        (play(contentType="raw"), PlayAudio(AUDIO), "raw"),
        (play(contentType="wav", sampleRate="8000"), PlayAudio(AUDIO), "wav"),
        (play(payload="//8AAA"), PlayAudio(AUDIO, MULAW_8K), "padding"),
        (play(payload="//8A\r\nAA==\n"), PlayAudio(AUDIO, MULAW_8K), "white space"),
        (raw({"event": "checkPoint", "name": "a"}), Checkpoint("a"), "lower case"),
        (raw({"event": "checkpoint", "name": 7}), Checkpoint("7"), "name is a number"),
        (raw({"event": "sendDTMF", "dtmf": {"digits": "12"}}), SendDtmf("12"), "object"),
        (raw({"event": "sendDTMF", "dtmf": {"digit": "1"}}), SendDtmf("1"), "object"),
    ],
)
def test_what_apps_write_oddly_is_understood_and_told(message: bytes, expected: object, word: str) -> None:
    found = tolerated(decode_from_app(message))
    assert found.message == expected
    assert found.mistake.code.startswith("odd-")
    assert word in found.mistake.text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": "checkpoint", "name": "a"}, Checkpoint("a")),
        ({"event": "checkpoint", "name": "a", "streamId": "another"}, Checkpoint("a")),
        ({"event": "checkpoint", "name": ""}, Checkpoint("")),
        ({"event": "checkpoint", "name": "x" * 1024}, Checkpoint("x" * 1024)),
        ({"event": "clearAudio"}, ClearAudio()),
        ({"event": "clearAudio", "stream_uuid": STREAM}, ClearAudio()),
        ({"event": "sendDTMF", "dtmf": "0123456789*#ABCD"}, SendDtmf("0123456789*#ABCD")),
        (
            {
                "event": "playAudio",
                "streamId": STREAM,
                "media": {"contentType": "audio/x-l16", "sampleRate": 24000, "payload": "AAA=", "track": "x"},
            },
            PlayAudio(b"\0\0", L16_24K),
        ),
    ],
)
def test_optional_and_additional_keys_are_no_matter(fields: Fields, expected: object) -> None:
    assert decode_from_app(raw(fields)) == expected


# What is tolerated from a carrier.


def test_the_reduced_frames_of_the_command_line_simulator_are_read() -> None:
    """No sequenceNumber, extra_headers, tracks or streamId, and chunk as text (plivo-protocol.md, 2.10)."""
    start = {
        "event": "start",
        "start": {"callId": CALL, "streamId": STREAM, "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}},
    }
    assert decode_from_carrier(raw(start)) == Start(STREAM, CALL, MULAW_8K)
    media = {"event": "media", "media": {"track": "inbound", "timestamp": "20", "chunk": "1", "payload": "//8="}}
    found = tolerated(decode_from_carrier(raw(media)))
    assert found.message == Media(b"\xff\xff", "inbound", "20", 1)
    assert found.mistake == Mistake("odd-media", "media was understood, but its chunk is text, and not a number")


@pytest.mark.parametrize(
    ("media", "expected", "word"),
    [
        ({"timestamp": 1760000000020}, Media(b"\xff\xff", "inbound", "1760000000020", 1), "timestamp is a number"),
        ({"timestamp": 1760000000020.0}, Media(b"\xff\xff", "inbound", "1760000000020", 1), "timestamp is a number"),
        ({"timestamp": 20.5}, Media(b"\xff\xff", "inbound", "20.5", 1), "timestamp is a number"),
        ({"payload": "//8"}, Media(b"\xff\xff", "inbound", "20", 1), "padding"),
    ],
)
def test_odd_media_is_read(media: Fields, expected: Media, word: str) -> None:
    fields = {"track": "inbound", "timestamp": "20", "chunk": 1, "payload": "//8=", **media}
    found = tolerated(decode_from_carrier(raw({"event": "media", "media": fields})))
    assert found.message == expected
    assert word in found.mistake.text


def test_media_may_lack_all_but_its_payload() -> None:
    assert decode_from_carrier(b'{"event":"media","media":{"payload":""}}') == Media(b"")
    found = decode_from_carrier(b'{"event":"media","media":{"payload":"","chunk":null,"timestamp":null,"track":null}}')
    assert found == Media(b"")


def start(**body: object) -> bytes:
    fields = {
        "callId": CALL,
        "streamId": STREAM,
        "accountId": "1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        **body,
    }
    return raw({"event": "start", "start": fields})


@pytest.mark.parametrize(
    ("body", "expected", "word"),
    [
        ({"accountId": 500025}, Start(STREAM, CALL, MULAW_8K, "500025"), "accountId is a number"),
        ({"tracks": "inbound"}, Start(STREAM, CALL, MULAW_8K, "1"), "tracks"),
        ({"tracks": [1]}, Start(STREAM, CALL, MULAW_8K, "1"), "tracks"),
        ({"mediaFormat": None}, Start(STREAM, CALL, MULAW_8K, "1"), "how its audio is coded"),
        ({"mediaFormat": {"encoding": "audio/x-l16"}}, Start(STREAM, CALL, L16_8K, "1"), "no sampleRate"),
        (
            {"mediaFormat": {"encoding": "audio/x-l16;rate=16000", "sampleRate": 16000}},
            Start(STREAM, CALL, L16_16K, "1"),
            "its contentType is 'audio/x-l16;rate=16000'",
        ),
        ({"mediaFormat": {"encoding": "raw", "sampleRate": 8000}}, Start(STREAM, CALL, MULAW_8K, "1"), "how its audio"),
    ],
)
def test_odd_starts_are_read(body: Fields, expected: Start, word: str) -> None:
    found = tolerated(decode_from_carrier(start(**body)))
    assert found.message == expected
    assert word in found.mistake.text


@pytest.mark.parametrize("rate", [8000, "8000", 8000.0])
def test_a_rate_may_be_text(rate: object) -> None:
    assert decode_from_carrier(start(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": rate})) == Start(
        STREAM, CALL, MULAW_8K, "1"
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (..., "{}"),
        (None, "{}"),
        ("", ""),
        ("a=1;b=2", "a=1;b=2"),
        ({"a": "1", "b": {"c": 2}}, '{"a":"1","b":{"c":2}}'),
    ],
)
def test_extra_headers_come_in_any_shape(written: object, expected: str) -> None:
    fields = json.loads(start())
    if written is not ...:
        fields["extra_headers"] = written
    found = decode_from_carrier(raw(fields))
    assert isinstance(found, Start)
    assert found.extra_headers == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": "stop"}, Stop()),
        ({"event": "stop", "reason": "hangup"}, Stop("hangup")),
        ({"event": "stop", "stop": {"reason": "hangup"}}, Stop("hangup")),
        ({"event": "stop", "stop": "x", "reason": 7}, Stop()),
        ({"event": "playedStream", "name": "a"}, PlayedStream("a")),
        ({"event": "clearedAudio"}, ClearedAudio()),
        ({"event": "dtmf", "dtmf": {"digit": "#"}}, Dtmf("#")),
    ],
)
def test_carriers_may_leave_keys_out(fields: Fields, expected: object) -> None:
    assert decode_from_carrier(raw(fields)) == expected


def test_the_documents_other_word_for_played_stream_is_read() -> None:
    found = tolerated(decode_from_carrier(b'{"event":"played","name":"a"}'))
    assert found.message == PlayedStream("a")
    assert "playedStream" in found.mistake.text


# What nobody may write, each by its name.


@pytest.mark.parametrize(
    ("message", "code", "word"),
    [
        (raw({"event": "playStream", "media": {"payload": ""}}), "play-stream", "playAudio"),
        (raw({"event": "media", "media": {"payload": ""}}), "twilio-media", "playAudio"),
        (raw({"event": "mark", "mark": {"name": "a"}}), "twilio-mark", "checkpoint"),
        (raw({"event": "clear"}), "twilio-clear", "clearAudio"),
        (raw({"event": "stop"}), "app-stop", "closes the socket"),
        (raw({"event": "hangup"}), "app-hangup", "REST"),
        (raw({"event": "start"}), "unknown-event", "'start'"),
        (raw({"event": "PlayAudio"}), "unknown-event", "'playAudio' is the spelling"),
        (raw({"event": "CHECKPOINT"}), "unknown-event", "'checkpoint' is the spelling"),
        (raw({"event": "clearaudio"}), "unknown-event", "'clearAudio' is the spelling"),
        (raw({"event": "sendDtmf"}), "unknown-event", "'sendDTMF' is the spelling"),
        (raw({"event": ""}), "unknown-event", "''"),
        (play(contentType="audio/l16/44100", sampleRate=...), "bad-format", "44100"),
        (play(contentType="audio/mpeg"), "bad-format", "audio/mpeg"),
        (play(contentType="audio/mpeg", sampleRate=...), "bad-format", "audio/mpeg"),
        (play(contentType="audio/x-mulaw", sampleRate=16000), "bad-format", "16000"),
        (play(sampleRate=11025), "bad-format", "11025"),
        (play(sampleRate=[8000]), "bad-format", "sampleRate"),
        (play(contentType=["audio/x-mulaw"]), "wrong-type", "contentType"),
        (play(payload="not base64!"), "bad-base64", "RFC 4648"),
        (play(payload="AA-_"), "bad-base64", "RFC 4648"),
        (play(payload="AAAAA"), "bad-base64", "RFC 4648"),
        (play(payload="AA==AA=="), "bad-base64", "RFC 4648"),
        (play(payload="é"), "bad-base64", "RFC 4648"),
        (play(payload=None), "wrong-type", "payload"),
        (play(payload=[255, 255]), "wrong-type", "a list"),
        (raw({"event": "playAudio"}), "wrong-type", "'media'"),
        (raw({"event": "playAudio", "media": "//8="}), "wrong-type", "'media'"),
        (raw({"event": "checkpoint"}), "wrong-type", "'name'"),
        (raw({"event": "checkpoint", "name": {"a": 1}}), "wrong-type", "an object"),
        (raw({"event": "checkpoint", "name": True}), "wrong-type", "bool"),
        (raw({"event": "checkpoint", "name": "x" * 1025}), "long-name", "1025"),
        (raw({"event": "sendDTMF", "dtmf": "12x"}), "bad-digit", "12x"),
        (raw({"event": "sendDTMF", "dtmf": "1x2"}), "bad-digit", "1x2"),
        (raw({"event": "sendDTMF", "dtmf": ""}), "bad-digit", "keys"),
        (raw({"event": "sendDTMF", "dtmf": 12}), "bad-digit", "keys"),
        (raw({"event": "sendDTMF"}), "bad-digit", "keys"),
    ],
)
def test_what_an_app_writes_wrongly_is_named(message: bytes, code: str, word: str) -> None:
    found = mistake(decode_from_app(message))
    assert found.code == code
    assert word in found.text


@pytest.mark.parametrize(
    ("message", "code", "word"),
    [
        (raw({"event": "connected", "protocol": "Call"}), "twilio-connected", "Twilio"),
        (raw({"event": "mark", "mark": {"name": "a"}}), "twilio-mark", "playedStream"),
        (raw({"event": "incorrectPayload"}), "carrier-error", "codec"),
        (raw({"event": "playFailed", "reason": "no codec"}), "carrier-error", "no codec"),
        (raw({"event": "error", "reason": {"a": 1}}), "carrier-error", "an error"),
        (raw({"event": "playAudio"}), "unknown-event", "'playAudio'"),
        (raw({"event": "Start"}), "unknown-event", "'start' is the spelling"),
        (raw({"event": "media"}), "wrong-type", "'media'"),
        (raw({"event": "media", "media": []}), "wrong-type", "a list"),
        (raw({"event": "media", "media": {"payload": "AA", "chunk": -1}}), "wrong-type", "chunk"),
        (raw({"event": "media", "media": {"payload": "", "chunk": True}}), "wrong-type", "chunk"),
        (raw({"event": "media", "media": {"payload": "", "chunk": 1.5}}), "wrong-type", "chunk"),
        (raw({"event": "media", "media": {"payload": "", "chunk": 2**53}}), "wrong-type", "chunk"),
        (raw({"event": "media", "media": {"payload": "", "chunk": "1" * 17}}), "wrong-type", "chunk"),
        (raw({"event": "media", "media": {"payload": "", "track": []}}), "wrong-type", "track"),
        (raw({"event": "media", "media": {"payload": "*"}}), "bad-base64", "media"),
        (start(callId=None), "wrong-type", "callId"),
        (start(streamId=[]), "wrong-type", "streamId"),
        (start(mediaFormat={"encoding": "audio/opus", "sampleRate": 48000}), "bad-format", "opus"),
        (raw({"event": "start", "start": "now"}), "wrong-type", "'start'"),
        (raw({"event": "dtmf", "dtmf": {"digit": "12"}}), "bad-digit", "one key"),
        (raw({"event": "dtmf", "dtmf": {"digit": "x"}}), "bad-digit", "'x'"),
        (raw({"event": "dtmf", "dtmf": "5"}), "wrong-type", "'dtmf'"),
        (raw({"event": "playedStream"}), "wrong-type", "'name'"),
    ],
)
def test_what_a_carrier_writes_wrongly_is_named(message: bytes, code: str, word: str) -> None:
    found = mistake(decode_from_carrier(message))
    assert found.code == code
    assert word in found.text


BROKEN = {
    "nothing": (b"", "not-json"),
    "a NUL": (b"\0", "not-json"),
    "text": (b"hello", "not-json"),
    "half a message": (b'{"event":"media"', "not-json"),
    "two messages": (b'{"event":"stop"}{"event":"stop"}', "not-json"),
    "a byte order mark": (b'\xef\xbb\xbf{"event":"clearAudio"}', "not-json"),
    "an array": (b'[{"event":"media"}]', "not-json"),
    "a number": (b"7", "not-json"),
    "null": (b"null", "not-json"),
    "a string": (b'"media"', "not-json"),
    "no event": (b"{}", "no-event"),
    "an event that is a number": (b'{"event":7}', "no-event"),
    "an event that is a huge number": (b'{"event":1' + b"0" * 4000 + b"}", "no-event"),
    "a huge number": (b'{"event":"media","x":1' + b"0" * 60_000 + b"}", "not-json"),
    "a number without end": (b'{"event":"media","x":1e999}', "not-json"),
    "NaN": (b'{"event":"media","media":{"payload":"","chunk":NaN}}', "not-json"),
    "deep arrays": (b"[" * 10_000, "not-json"),
    "deep arrays beside the event": (b'{"event":"media","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not-json"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not-json"),
    "a lone surrogate": (b'{"event":"checkpoint","name":"\\ud800"}', "not-json"),
    "an encoded surrogate": (b'{"event":"checkpoint","name":"\xed\xa0\x80"}', "not-json"),
    "text that is not UTF-8": (b'{"event":"\xff"}', "not-json"),
    "a payload that is not UTF-8": (b'{"event":"media","media":{"payload":"\xff"}}', "not-json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_a_mistake_at_both_ends(name: str) -> None:
    message, code = BROKEN[name]
    for decode in (decode_from_app, decode_from_carrier):
        found = mistake(decode(message))
        assert found.code == code
        assert len(found.text) < 300
        assert found.text.isprintable()


@pytest.mark.parametrize("depth", [*range(900, 1010), 5_000, 20_000, 30_000])
def test_headers_nested_to_the_edge_of_the_stack_do_not_raise(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    found = decode_from_carrier(start()[:-1] + b',"extra_headers":' + deep + b"}")
    assert isinstance(found, Start) or mistake(found).code == "not-json"


def test_of_repeated_keys_the_last_counts() -> None:
    assert decode_from_app(b'{"event":"clearAudio","event":"checkpoint","name":"a","name":"b"}') == Checkpoint("b")
    twice = b'{"event":"media","media":{"payload":"AA=="},"media":{"payload":"/w=="}}'
    assert decode_from_carrier(twice) == Media(b"\xff")


@given(st.text(max_size=80))
def test_an_error_never_repeats_what_could_spoil_a_log(event: str) -> None:
    found = decode_from_app(json.dumps({"event": "x" + event}).encode())
    assert mistake(found).text.isprintable()


# Whatever comes, a reader answers.

KINDS = (Start, Media, Dtmf, PlayedStream, ClearedAudio, Stop, PlayAudio, Checkpoint, ClearAudio, SendDtmf)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["media", "start", "dtmf", "name", "payload", "contentType", "sampleRate", "chunk", "timestamp", "track", "tracks",
     "mediaFormat", "encoding", "callId", "streamId", "accountId", "extra_headers", "digit", "digits", "stop", "reason"]
)  # fmt: skip
VALUES = st.sampled_from(["audio/x-mulaw", "audio/l16/16000", "//8=", "//8", "5", "8000", 8000, 1, -1, 2**70, 0.5, ""])
NEAR = st.recursive(
    VALUES | JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=6) | st.lists(inner, max_size=3), max_leaves=15
)
EVENTS = st.sampled_from(
    ["start", "media", "dtmf", "playedStream", "played", "clearedAudio", "stop", "playAudio", "checkpoint",
     "checkPoint", "clearAudio", "sendDTMF", "playStream", "mark", "connected", "error"]
)  # fmt: skip


def answers(message: bytes) -> None:
    for decode in (decode_from_app, decode_from_carrier):
        found = decode(message)
        found = found.message if isinstance(found, Tolerated) else found
        assert isinstance(found, (Mistake, *KINDS))
        if isinstance(found, PlayedStream | Checkpoint):
            assert len(found.name) <= 1024
        if isinstance(found, Media | PlayAudio):
            assert isinstance(found.payload, bytes)


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(message: bytes) -> None:
    answers(message)


@given(JSON)
def test_any_json_gets_an_answer(value: object) -> None:
    answers(json.dumps(value).encode())


@given(EVENTS, st.dictionaries(KEYS, NEAR, max_size=8))
def test_any_message_that_is_nearly_right_gets_an_answer(event: str, fields: Fields) -> None:
    answers(json.dumps({**fields, "event": event}).encode())


@given(st.sampled_from([*from_app().values(), *(raw(fields) for fields in from_carrier().values())]), st.data())
def test_any_spoilt_message_gets_an_answer(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message)))
    until = data.draw(st.integers(at, len(message)))
    answers(message[:at] + data.draw(st.binary(max_size=6)) + message[until:])
