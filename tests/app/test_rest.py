"""Every operation sends what the official SDK sends for the same one, and reads what the hosted platform answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import plivo
import plivo.rest.client
import pytest
from tests.app.fake_rest import AUTH_ID, CALL, OBJECTS, RECORDING, STREAM, TOKEN, FakeRest, Seen, fake_rest, listed
from tests.source_tree import ROOT

from bothway.app.rest import VoiceApi
from bothway.app.rest_link import RestError
from bothway.errors import PeerError, UsageError

FROM, TO, URL = "14155550100", "14155550199", "https://a.example/answer"


@dataclass(frozen=True)
class Same:
    """One operation, in our words and in the SDK's.

    Attributes:
        theirs_alone: What the SDK sends besides: the ids of the path once more, and defaults, which the carrier has
            too (plivo-protocol.md, 5.1).
    """

    name: str
    ours: Callable[[VoiceApi], Awaitable[object]]
    theirs: Callable[[Any], object]
    theirs_alone: dict[str, Any] = field(default_factory=dict)


CREATE_DEFAULTS = {
    "answer_method": "POST",
    "ring_method": "POST",
    "hangup_method": "POST",
    "fallback_method": "POST",
    "machine_detection_time": 5000,
    "machine_detection_method": "POST",
    "ring_timeout": 120,
    "error_if_parent_not_found": False,
}
APP_DEFAULTS = {
    "answer_method": "POST",
    "hangup_method": "POST",
    "fallback_method": "POST",
    "message_method": "POST",
    "default_number_app": False,
    "default_endpoint_app": False,
    "log_incoming_messages": True,
}
THE_CALL = {"call_uuid": CALL}
ROOM, MEMBER = {"conference_name": "My Room"}, {"conference_name": "My Room", "member_id": "17"}
MORE: dict[str, Any] = {
    "ring_url": URL,
    "hangup_url": URL,
    "time_limit": 60,
    "machine_detection": "hangup",
    "sip_headers": "a=1,b=2",
}

WRONG: dict[str, Any] = {"ring_time_out": 5}

OPERATIONS = [
    Same("create", lambda a: a.calls.create(TO, FROM, URL), lambda t: t.calls.create(FROM, TO, URL), CREATE_DEFAULTS),
    Same(
        "create several",
        lambda a: a.calls.create([TO, "sip:a@b.example"], FROM, URL, **MORE),
        lambda t: t.calls.create(FROM, f"{TO}<sip:a@b.example", URL, **MORE),
        CREATE_DEFAULTS,
    ),
    Same("cancel", lambda a: a.calls.cancel(CALL), lambda t: t.calls.cancel(CALL)),
    Same("get", lambda a: a.calls.get(CALL), lambda t: t.calls.get(CALL), THE_CALL),
    Same(
        "list",
        lambda a: a.calls.list(limit=5, call_direction="inbound", end_time__gt=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        lambda t: t.calls.list(limit=5, call_direction="inbound", end_time__gt="2026-01-02 03:04:00"),
    ),
    Same("live", lambda a: a.calls.live(CALL), lambda t: t.live_calls.get(CALL)),
    Same("live ids", lambda a: a.calls.live_ids(), lambda t: t.live_calls.list_ids()),
    Same("queued", lambda a: a.calls.queued(CALL), lambda t: t.queued_calls.get(CALL)),
    Same("hangup", lambda a: a.calls.hangup(CALL), lambda t: t.calls.hangup(CALL), THE_CALL),
    Same(
        "transfer",
        lambda a: a.calls.transfer(CALL, aleg_url=URL, aleg_method="GET"),
        lambda t: t.calls.transfer(CALL, legs="aleg", aleg_url=URL, aleg_method="GET"),
        THE_CALL,
    ),
    Same(
        "transfer both",
        lambda a: a.calls.transfer(CALL, aleg_url=URL, bleg_url=URL),
        lambda t: t.calls.transfer(CALL, legs="both", aleg_url=URL, bleg_url=URL),
        THE_CALL,
    ),
    Same(
        "record",
        lambda a: a.calls.record(CALL, time_limit=9, file_format="wav", record_channel_type="mono"),
        lambda t: t.calls.record(CALL, time_limit=9, file_format="wav", record_channel_type="mono"),
        THE_CALL,
    ),
    Same(
        "stop recording", lambda a: a.calls.stop_recording(CALL), lambda t: t.calls.record_stop(CALL), THE_CALL
    ),
    Same(
        "play",
        lambda a: a.calls.play(CALL, [URL, URL], length=3, legs="both", loop=True, mix=False),
        lambda t: t.calls.play(CALL, f"{URL},{URL}", length=3, legs="both", loop=True, mix=False),
        THE_CALL,
    ),
    Same("stop playing", lambda a: a.calls.stop_playing(CALL), lambda t: t.calls.stop_playing(CALL), THE_CALL),
    Same(
        "speak",
        lambda a: a.calls.speak(CALL, "hi", voice="MAN", language="en-GB"),
        lambda t: t.calls.speak(CALL, "hi", voice="MAN", language="en-GB"),
        THE_CALL,
    ),
    Same("stop speaking", lambda a: a.calls.stop_speaking(CALL), lambda t: t.calls.stop_speaking(CALL), THE_CALL),
    Same(
        "digits",
        lambda a: a.calls.send_digits(CALL, "12#", leg="bleg"),
        lambda t: t.calls.send_digits(CALL, "12#", leg="bleg"),
        THE_CALL,
    ),
    Same(
        "start stream",
        lambda a: a.calls.start_stream(
            CALL, "wss://a/b", bidirectional=True, content_type="audio/x-mulaw;rate=8000", extra_headers={"a": "1"}
        ),
        lambda t: t.calls.start_stream(
            CALL, "wss://a/b", bidirectional=True, content_type="audio/x-mulaw;rate=8000", extra_headers="a=1"
        ),
        THE_CALL,
    ),
    Same(
        "stop one stream",
        lambda a: a.calls.stop_stream(CALL, STREAM),
        lambda t: t.calls.delete_specific_stream(CALL, STREAM),
        THE_CALL | {"stream_id": STREAM},
    ),
    Same(
        "stop all streams", lambda a: a.calls.stop_stream(CALL), lambda t: t.calls.delete_all_streams(CALL), THE_CALL
    ),
    Same(
        "get one stream",
        lambda a: a.calls.stream(CALL, STREAM),
        lambda t: t.calls.get_details_of_specific_stream(CALL, STREAM),
    ),
    Same("recording", lambda a: a.recordings.get(RECORDING), lambda t: t.recordings.get(RECORDING)),
    Same(
        "recordings",
        lambda a: a.recordings.list(offset=20, call_uuid=CALL),
        lambda t: t.recordings.list(offset=20, call_uuid=CALL),
    ),
    Same(
        "delete recording",
        lambda a: a.recordings.delete(RECORDING),
        lambda t: t.recordings.delete(RECORDING),
        {"recording_id": RECORDING},
    ),
    Same(
        "create application",
        lambda a: a.applications.create("Shop", answer_url=URL),
        lambda t: t.applications.create("Shop", answer_url=URL),
        APP_DEFAULTS,
    ),
    Same(
        "update application",
        lambda a: a.applications.update("17", answer_url=URL, hangup_url=URL),
        lambda t: t.applications.update("17", answer_url=URL, hangup_url=URL),
        APP_DEFAULTS,
    ),
    Same("application", lambda a: a.applications.get("17"), lambda t: t.applications.get("17")),
    Same(
        "applications",
        lambda a: a.applications.list(app_name="Sh"),
        lambda t: t.applications.list(app_name="Sh"),
    ),
    Same("number", lambda a: a.numbers.get(TO), lambda t: t.numbers.get(TO)),
    Same(
        "numbers",
        lambda a: a.numbers.list(number_startswith="1415"),
        lambda t: t.numbers.list(number_startswith="1415"),
    ),
    Same(
        "update number",
        lambda a: a.numbers.update(TO, app_id="17", alias="desk"),
        lambda t: t.numbers.update(TO, app_id="17", alias="desk"),
        {"number": TO},
    ),
    Same("delete number", lambda a: a.numbers.delete(TO), lambda t: t.numbers.delete(TO)),
    Same(
        "search",
        lambda a: a.numbers.search("US", type="local", limit=3),
        lambda t: t.numbers.search("US", type="local", limit=3, offset=0),
    ),
    Same(
        "buy", lambda a: a.numbers.buy(TO, app_id="17"), lambda t: t.numbers.buy(TO, app_id="17"), {"number": TO}
    ),
    Same("conferences", lambda a: a.conferences.names(), lambda t: t.conferences.list()),
    Same("conference", lambda a: a.conferences.get("My Room"), lambda t: t.conferences.get("My Room"), ROOM),
    Same("end", lambda a: a.conferences.hangup("My Room"), lambda t: t.conferences.delete("My Room"), ROOM),
    Same("end all", lambda a: a.conferences.hangup_all(), lambda t: t.conferences.delete_all()),
    Same("mute", lambda a: a.conferences.mute("My Room", "17"), lambda t: t.conferences.member_mute("My Room", "17"),
         MEMBER),
    Same("unmute", lambda a: a.conferences.mute("My Room", "17", False),
         lambda t: t.conferences.member_mute_stop("My Room", "17"), MEMBER),
    Same("deafen", lambda a: a.conferences.deafen("My Room", "17"),
         lambda t: t.conferences.member_deaf("My Room", "17"), MEMBER),
    Same("kick", lambda a: a.conferences.kick("My Room", "17"), lambda t: t.conferences.member_kick("My Room", "17"),
         MEMBER),
    Same("end a member", lambda a: a.conferences.hangup_member("My Room", "17"),
         lambda t: t.conferences.member_hangup("My Room", "17")),
    Same("play to", lambda a: a.conferences.play("My Room", "17", URL),
         lambda t: t.conferences.member_play("My Room", "17", URL), MEMBER),
    Same("stop play to", lambda a: a.conferences.stop_playing("My Room", "17"),
         lambda t: t.conferences.member_play_stop("My Room", "17"), MEMBER),
    Same("stop say to", lambda a: a.conferences.stop_speaking("My Room", "17"),
         lambda t: t.conferences.member_speak_stop("My Room", "17"), MEMBER),
    Same("record conference", lambda a: a.conferences.record("My Room", file_format="wav"),
         lambda t: t.conferences.record("My Room", file_format="wav"), ROOM),
    Same("stop record conference", lambda a: a.conferences.stop_recording("My Room"),
         lambda t: t.conferences.record_stop("My Room"), ROOM),
]  # fmt: skip


@contextmanager
def sdk_at(base: str) -> Iterator[Any]:
    """The official client, unchanged but for its base address, as docs/rest.md has it."""
    text = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(import plivo\n.*?)```", text, re.DOTALL)
    for shown, meant in (("http://127.0.0.1:8080", base), ("MAXXXXXXXXXXXXXXXXXX", AUTH_ID), ("the auth token", TOKEN)):
        assert shown in recipe
        recipe = recipe.replace(shown, meant)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in vars(plivo.rest.client) if "BASE_URI" in name]:
            patch.setattr(plivo.rest.client, name, f"https://{name.lower()}.invalid")  # put back at the end
        namespace: dict[str, Any] = {}
        exec(recipe, namespace)
        with namespace["client"] as client:
            yield client


def told(seen: Seen) -> dict[str, Any]:
    assert not (seen.query and seen.body)
    return {**seen.query, **seen.body}


@pytest.mark.parametrize("same", OPERATIONS, ids=lambda same: same.name)
async def test_what_is_sent_is_what_the_official_sdk_sends(same: Same) -> None:
    async with fake_rest() as rest:
        api = rest.api()
        await same.ours(api)
        await api.close()
        with sdk_at(rest.url.removesuffix("/v1")) as client:
            await asyncio.to_thread(same.theirs, client)
        ours, theirs = rest.seen
    assert ours.line == theirs.line
    expected = {
        **told(ours),
        **{name: str(value) if theirs.query else value for name, value in same.theirs_alone.items()},
    }
    assert told(theirs) == expected
    for name in ("Authorization", "Accept"):
        assert ours.headers[name] == theirs.headers[name]
    if ours.method == "POST":
        assert ours.headers["Content-Type"] == theirs.headers["Content-Type"] == "application/json"


async def asked(rest: FakeRest, operation: Callable[[VoiceApi], Awaitable[Any]]) -> Any:
    api = rest.api()
    try:
        return await operation(api)
    finally:
        await api.close()


async def test_what_the_sdk_does_not_have_or_spells_otherwise() -> None:
    async with fake_rest() as rest:
        await asked(rest, lambda a: a.calls.hangup_all())
        await asked(rest, lambda a: a.calls.queued_ids(offset=20))
        rest.replies = [(200, listed(OBJECTS["Stream"]))]
        assert (await asked(rest, lambda a: a.calls.streams(CALL))).objects[0].stream_id == STREAM
        await asked(rest, lambda a: a.conferences.speak("R", "all", "hi", voice="MAN"))
        await asked(rest, lambda a: a.applications.delete("17"))
        assert (await asked(rest, lambda a: a.account())).cash_credits == Decimal("12.345")
        assert rest.lines == [
            "DELETE /Call/",
            "GET /Call/",
            "GET /Call/call-1/Stream/",
            "POST /Conference/R/Member/all/Speak/",
            "DELETE /Application/17/",
            "GET /",
        ]
        assert rest.seen[1].query == {"limit": "20", "offset": "20", "status": "queued"}
        assert rest.seen[3].body == {"text": "hi", "voice": "MAN"}


async def test_answers_are_read() -> None:
    async with fake_rest() as rest:
        fired = await asked(rest, lambda a: a.calls.create(TO, FROM, URL))
        assert (fired.request_ids, fired.message) == ((CALL,), "call fired")
        rest.replies = [(201, {"message": "calls fired", "request_uuid": ["a", "b"], "api_id": "x"})]
        assert (await asked(rest, lambda a: a.calls.create([TO, FROM], FROM, URL))).request_ids == ("a", "b")

        record = await asked(rest, lambda a: a.calls.get(CALL))
        assert record.answer_time == datetime(2023, 6, 21, 13, 23, 16, tzinfo=UTC)
        assert (record.end_time, record.parent_call_uuid) == (None, "")
        assert (record.billed_duration, record.total_amount, record.total_rate) == (
            60,
            Decimal("0.003"),
            Decimal("0.003"),
        )
        assert record.raw["voice_network_group"] == "ABC"

        live = await asked(rest, lambda a: a.calls.live(CALL))
        assert live.session_start == datetime(2017, 5, 22, 13, 17, 49, 50872, tzinfo=UTC)
        assert (live.from_, live.call_status) == ("15856338537", "in-progress")
        assert await asked(rest, lambda a: a.calls.live_ids()) == (CALL, "call-2")

        assert (await asked(rest, lambda a: a.calls.start_stream(CALL, "wss://a/b"))).stream_id == STREAM
        stream = await asked(rest, lambda a: a.calls.stream(CALL, STREAM))
        assert (stream.rounded_bill_duration, stream.bidirectional, stream.end_time) == (60, True, None)
        assert (await asked(rest, lambda a: a.calls.record(CALL))).recording_id == RECORDING
        assert await asked(rest, lambda a: a.applications.create("Shop")) == "17000000000000001"
        room = await asked(rest, lambda a: a.conferences.get("My Room"))
        assert (room.conference_run_time, room.members[0].member_id, room.members[0].join_time) == (590, "17", 590)
        assert rest.seen[-1].path == "/Conference/My%20Room/"


async def test_pages_lead_to_the_next() -> None:
    async with fake_rest() as rest:
        rest.replies = [(200, listed(OBJECTS["Call"], total_count=2, next="/v1/…")), (200, listed(OBJECTS["Call"]))]
        first = await asked(rest, lambda a: a.calls.list(limit=1))
        assert (first.total, first.next_offset, first.objects[0].call_uuid) == (2, 1, CALL)
        last = await asked(rest, lambda a: a.calls.list(limit=1, offset=1))
        assert (last.next_offset, rest.seen[-1].query["offset"]) == (None, "1")
        rest.replies = [(200, {"meta": {"count": 5}, "objects": [OBJECTS["Stream"]]})]
        assert (await asked(rest, lambda a: a.calls.streams(CALL))).total == 5


async def test_a_call_that_is_over_is_hung_up() -> None:
    async with fake_rest() as rest:
        rest.replies = [(404, {"error": "call not found"}), (404, {"error": "no such stream"})]
        await asked(rest, lambda a: a.calls.hangup(CALL))
        with pytest.raises(RestError) as caught:
            await asked(rest, lambda a: a.calls.stop_stream(CALL, "undefined"))
        assert (caught.value.status, caught.value.error) == (404, "no such stream")


async def test_an_id_that_is_none_asks_for_nothing() -> None:
    """`DELETE /Call//` would be taken for `DELETE /Call/`, which ends every call of the account."""
    async with fake_rest() as rest:
        for wrong in ("", ".", ".."):
            api = rest.api()
            for operation in (partial(api.calls.hangup, wrong), partial(api.calls.stop_stream, CALL, wrong)):
                with pytest.raises(UsageError, match="no id"):
                    await operation()
        with pytest.raises(UsageError, match="empty"):
            await asked(rest, lambda a: a.calls.create([], FROM, URL))
        with pytest.raises(UsageError, match="did you mean ring_timeout"):
            await asked(rest, lambda a: a.calls.create(TO, FROM, URL, **WRONG))
        assert not rest.seen
        await asked(rest, lambda a: a.calls.hangup("a/b?c"))
        assert rest.lines == ["DELETE /Call/a%2Fb%3Fc/"]


async def test_a_key_is_made_unless_given() -> None:
    async with fake_rest() as rest:
        made = [(await asked(rest, lambda a: a.calls.create(TO, FROM, URL))).idempotency_key for _ in range(2)]
        await asked(rest, lambda a: a.calls.create(TO, FROM, URL, idempotency_key="mine"))
        assert len(set(made)) == 2
        assert [one.headers["Idempotency-Key"] for one in rest.seen] == [*made, "mine"]


async def test_a_recording_is_saved(tmp_path: Path) -> None:
    async with fake_rest() as rest:
        there = OBJECTS["Recording"] | {"recording_url": f"{rest.url}/Account/{AUTH_ID}/file/"}
        rest.replies = [(200, there), (200, b"RIFF" * 100_000)]
        assert await asked(rest, lambda a: a.recordings.download(RECORDING, tmp_path / "r.wav")) == 400_000
        assert (tmp_path / "r.wav").read_bytes() == b"RIFF" * 100_000
        rest.replies = [(200, OBJECTS["Recording"] | {"recording_url": ""})]
        with pytest.raises(PeerError, match="does not say where"):
            await asked(rest, lambda a: a.recordings.download(RECORDING, tmp_path / "r.wav"))
