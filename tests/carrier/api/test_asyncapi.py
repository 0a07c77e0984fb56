"""The document, and that what crosses a stream in whole calls is what it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.carrier.world import Socket, until, world

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K
from bothway.carrier.api.asyncapi import FROM_APP, FROM_CARRIER, asyncapi_document, message_schema
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.wire.dialects.plivo import (
    PlayWriter,
    decode_from_app,
    encode_checkpoint,
    encode_clear_audio,
    encode_send_dtmf,
)
from bothway.wire.stream import Checkpoint, ClearAudio, PlayAudio, SendDtmf

DOCUMENT = asyncapi_document()
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
PROFILES = pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)


def check(message: Any, schema: dict[str, Any]) -> None:
    jsonschema.validate(message, schema, jsonschema.Draft7Validator)


def is_valid(message: Any, schema: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft7Validator(schema).is_valid(message))


# --- the document -------------------------------------------------------------------------------------------------


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(below)


def test_every_reference_leads_somewhere() -> None:
    for node in nodes(DOCUMENT):
        if "$ref" in node:
            found: Any = DOCUMENT
            for word in node["$ref"].removeprefix("#/").split("/"):
                found = found[word]
            assert isinstance(found, dict)


def test_it_has_what_an_asyncapi_document_needs() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() == {"title", "version", "description"}
    assert json.dumps(DOCUMENT) == json.dumps(asyncapi_document())
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])


def test_each_profile_has_its_messages() -> None:
    both = {*FROM_CARRIER, *FROM_APP}
    assert set(DOCUMENT["channels"]["documented"]["messages"]) == both
    assert set(DOCUMENT["channels"]["live"]["messages"]) == both - {"stop"}


def test_schemas_are_json_schemas() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_examples_are_valid_and_only_as_what_they_are() -> None:
    for name, message in DOCUMENT["components"]["messages"].items():
        (example,) = message["examples"]
        profile = name.partition("_")[2]
        valid = {one for one in SCHEMAS if is_valid(example["payload"], SCHEMAS[one])}
        assert name in valid
        assert {one.partition("_")[0] for one in valid} == {message["name"]}, profile


def test_every_required_key_is_described() -> None:
    for node in nodes(SCHEMAS):
        if isinstance(node.get("required"), list):
            assert set(node["required"]) <= set(node["properties"])


def test_there_are_no_other_messages() -> None:
    with pytest.raises(KeyError):
        message_schema("mark")


# --- whole calls --------------------------------------------------------------------------------------------------


class Talk:
    """An app that uses the whole protocol, and remembers what it sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def __call__(self, socket: Socket) -> None:
        start = await socket.until("start")
        stream_id = start["start"]["streamId"]
        for audio_format in (MULAW_8K, L16_8K, L16_16K, L16_24K):
            await self.send(socket, PlayWriter(audio_format).write(audio_format.silent_frame * 3))
        await self.send(socket, encode_checkpoint(Checkpoint("heard é"), stream_id=stream_id))
        await socket.until("playedStream")
        await self.send(socket, PlayWriter(MULAW_8K).write(MULAW_8K.silent_frame * 200))
        await self.send(socket, encode_clear_audio(stream_id=stream_id))
        await socket.until("clearedAudio")
        await self.send(socket, encode_send_dtmf(SendDtmf("12#")))
        await socket.closed.wait()

    async def send(self, socket: Socket, message: bytes) -> None:
        self.sent.append(json.loads(message))
        await socket.connection.send(message.decode())


@pytest.mark.virtual_time
@PROFILES
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"contentType": "audio/x-l16;rate=16000", "extraHeaders": "tenant=42,flow=in-take"},
        {"contentType": "audio/x-l16;rate=24000", "extraHeaders": "a=1;b={2}"},
    ],
    ids=["plain", "16000", "24000"],
)
async def test_what_crosses_a_stream_is_in_the_document(
    profile: Profile, attributes: dict[str, str], tmp_path: Path
) -> None:
    talk = Talk()
    async with world(tmp_path, talk, profile=profile) as w:
        caller, _ = w.place(w.stream(**attributes))
        socket = await w.streams.first()
        caller.press("7")
        await socket.until("dtmf")
        await until(lambda: caller.digits == "12#")
        caller.hang_up()
        await w.over(caller)
    seen = {message["event"] for message in socket.messages}
    assert seen == set(DOCUMENT["channels"][profile.name]["messages"]) - FROM_APP.keys()
    for message in socket.messages:
        check(message, SCHEMAS[f"{message['event']}_{profile.name}"])
    assert {message["event"] for message in talk.sent} == set(FROM_APP)
    for message in talk.sent:
        check(message, SCHEMAS[message["event"]])


@pytest.mark.virtual_time
@PROFILES
async def test_a_stream_of_both_tracks_is_in_the_document(profile: Profile, tmp_path: Path) -> None:
    async with world(tmp_path, profile=profile) as w:
        document = w.stream(bidirectional="false", audioTrack="both", keepCallAlive="true")
        caller, _ = w.place(document)
        socket = await w.streams.first()
        await socket.until("media", 10)
        caller.hang_up()
        await w.over(caller)
    assert {message["media"]["track"] for message in socket.all("media")} == {"inbound", "outbound"}
    for message in socket.messages:
        check(message, SCHEMAS[f"{message['event']}_{profile.name}"])


@pytest.mark.virtual_time
async def test_a_carrier_serves_it(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as w,
        aiohttp.ClientSession() as session,
        session.get(f"{w.carrier.url}/v1/asyncapi.json") as answer,
    ):
        assert answer.status == 200
        assert await answer.json() == DOCUMENT


# --- what is not in it --------------------------------------------------------------------------------------------


def paths(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*above, key)
            yield from paths(below, (*above, key))


def example_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["messages"][name]["examples"][0]["payload"]
    return copy.deepcopy(found)


def holder(message: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        message = message[key]
    return message


EVERYWHERE = [(name, path) for name in SCHEMAS for path in paths(example_of(name))]
OPTIONAL = {(name, "streamId") for name in FROM_APP}


@pytest.mark.parametrize(
    ("name", "path"), EVERYWHERE, ids=lambda value: ".".join(value) if isinstance(value, tuple) else value
)
def test_a_message_without_a_key_is_not_valid(name: str, path: tuple[str, ...]) -> None:
    message = example_of(name)
    del holder(message, path)[path[-1]]
    assert is_valid(message, SCHEMAS[name]) == ((name, path[-1]) in OPTIONAL)


WRONG = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.just([]), st.just([{}]), st.just({}))


@given(st.sampled_from(EVERYWHERE), WRONG)
def test_a_value_of_another_type_is_not_valid(where: tuple[str, tuple[str, ...]], wrong: object) -> None:
    name, path = where
    message = example_of(name)
    there = holder(message, path)
    if isinstance(wrong, float) and wrong.is_integer() and isinstance(there[path[-1]], int):
        return  # in JSON Schema 5.0 is an integer
    there[path[-1]] = wrong
    assert not is_valid(message, SCHEMAS[name])


@pytest.mark.parametrize(
    ("name", "path", "wrong"),
    [
        ("start_documented", "sequenceNumber", 0),
        ("start_live", "sequenceNumber", 1),
        ("start_live", "start.accountId", "MAXXXXXXXXXXXXXXXXXX"),
        ("start_live", "extra_headers", "tenant=42"),
        ("start_live", "start.mediaFormat.encoding", "audio/x-mulaw;rate=8000"),
        ("start_live", "start.mediaFormat.sampleRate", 44_100),
        ("start_documented", "start.mediaFormat.sampleRate", 16_000),
        ("start_live", "start.tracks", []),
        ("start_live", "start.tracks", ["both"]),
        ("start_live", "start.callId", "undefined"),
        ("start_live", "event", "connected"),
        ("media_live", "media.track", "left"),
        ("media_live", "media.timestamp", "1.5"),
        ("media_live", "media.chunk", 0),
        ("media_live", "media.chunk", "1"),
        ("media_live", "media.payload", "not base64"),
        ("media_live", "media.payload", "AAA"),
        ("media_live", "streamId", "undefined"),
        ("dtmf_live", "dtmf.digit", "12"),
        ("dtmf_live", "dtmf.digit", "E"),
        ("dtmf_live", "dtmf.digit", ""),
        ("playedStream_live", "name", "n" * 1025),
        ("playedStream_live", "sequenceNumber", -1),
        ("playedStream_live", "sequenceNumber", 2**53),
        ("playAudio", "media.contentType", "audio/x-mulaw;rate=8000"),
        ("playAudio", "media.contentType", "audio/wav"),
        ("playAudio", "media.sampleRate", 16_000),
        ("playAudio", "media.sampleRate", "8000"),
        ("playAudio", "event", "playStream"),
        ("checkpoint", "event", "checkPoint"),
        ("checkpoint", "name", "n" * 1025),
        ("sendDTMF", "dtmf", ""),
        ("sendDTMF", "dtmf", "12x"),
    ],
)
def test_a_value_that_is_not_allowed_is_not_valid(name: str, path: str, wrong: object) -> None:
    message = example_of(name)
    words = tuple(path.split("."))
    holder(message, words)[words[-1]] = wrong
    assert not is_valid(message, SCHEMAS[name])


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_carrier_sends_no_other_key_and_an_app_may(name: str) -> None:
    assert is_valid({**example_of(name), "another": 1}, SCHEMAS[name]) == (name in FROM_APP)


@given(
    st.builds(
        PlayAudio,
        st.binary(max_size=60).map(lambda raw: raw[: len(raw) // 2 * 2]),
        st.sampled_from([MULAW_8K, L16_16K]),
    )
    | st.builds(Checkpoint, st.text(max_size=40))
    | st.just(ClearAudio())
    | st.builds(SendDtmf, st.text("0123456789*#ABCD", min_size=1, max_size=20))
)
def test_what_an_app_sends_is_valid_and_understood_without_a_remark(
    message: PlayAudio | Checkpoint | ClearAudio | SendDtmf,
) -> None:
    if isinstance(message, PlayAudio):
        assert message.format is not None
        name, raw = "playAudio", PlayWriter(message.format).write(message.payload)
    elif isinstance(message, Checkpoint):
        name, raw = "checkpoint", encode_checkpoint(message, stream_id="any")
    elif isinstance(message, SendDtmf):
        name, raw = "sendDTMF", encode_send_dtmf(message)
    else:
        name, raw = "clearAudio", encode_clear_audio(stream_id="any")
    check(json.loads(raw), SCHEMAS[name])
    assert decode_from_app(raw) == message
