"""Every method that the official client has on the resources that are offered, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import plivo
import pytest
from plivo.exceptions import (
    AuthenticationError,
    ForbiddenError,
    GeoPermissionError,
    InvalidRequestError,
    ResourceNotFoundError,
    ValidationError,
)
from plivo.rest import client as plivo_client
from tests.carrier.api.desk import MAIN, NOW, UNKNOWN, Desk, settled

from bothway.carrier.api.switch import PlayRequest, RecordRequest, SpeakRequest, TransferRequest
from bothway.carrier.store.records import NumberRecord, RecordingRecord
from bothway.runtime.duplex import Refusal
from bothway.runtime.server import Server


class Client:
    """The blocking client, in a thread."""

    def __init__(self, rest: Any) -> None:
        self._rest = rest

    async def __call__(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        method: Callable[..., Any] = self._rest
        for part in name.split("."):
            method = getattr(method, part)
        return await asyncio.to_thread(method, *args, **kwargs)


@pytest.fixture
async def url(api: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    server = Server(api.api, lambda _: Refusal(404, b""))
    await server.start()
    # The SDK has no argument for its base URL: its constants are the way.
    names = ("PLIVO_API_BASE_URI", "API_VOICE_BASE_URI", *(f"API_VOICE_BASE_URI_FALLBACK_{n}" for n in (1, 2)))
    for name in names:
        monkeypatch.setattr(plivo_client, name, server.url + "/v1/Account")
    yield server.url
    await server.stop(0.1)


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    with plivo.RestClient(MAIN.auth_id, MAIN.auth_token) as rest:
        yield Client(rest)


async def test_placing_calls(api: Desk, client: Client) -> None:
    created = await client("calls.create", "15550100", "15550101", "http://h/answer")
    assert created.message == "call fired"
    assert (await client("queued_calls.list_ids")).calls == [created.request_uuid]
    queued = await client("queued_calls.get", created.request_uuid)
    assert (queued.call_status, queued.call_uuid) == ("queued", created.request_uuid)
    assert (await client("calls.queued_call_list_ids", 20, 0)).calls == [created.request_uuid]
    many = await client("calls.create", "15550100", "15550101<15550102<sip:bob@h", "http://h/answer", time_limit=60)
    assert (many.message, len(many.request_uuid)) == ("calls fired", 3)
    assert api.switch.placed[1].to == ("15550101", "15550102", "sip:bob@h")
    assert await client("calls.cancel", created.request_uuid) is None
    with pytest.raises(ResourceNotFoundError, match="request not found"):
        await client("calls.cancel", created.request_uuid)
    with pytest.raises(GeoPermissionError, match="Calls to this destination region are barred"):
        await client("calls.create", "15550100", "97912345", "http://h/answer")
    with pytest.raises(ValidationError, match="caller_name is not text of 0 to 50"):
        await client("calls.create", "15550100", "15550101", "http://h/answer", caller_name="x" * 51)


async def test_calls_that_live_and_end(api: Desk, client: Client) -> None:
    call = api.switch.add()
    call_id = call.record.call_uuid
    assert (await client("live_calls.list_ids")).calls == [call_id]
    assert (await client("live_calls.list_ids", call_direction="outbound")).calls == []
    assert (await client("calls.live_call_list_ids", "inbound")).calls == [call_id]
    live = await client("live_calls.get", call_id)
    assert vars(live)["from"] == "15550001"
    assert (live.call_status, live.direction, live.session_start) == (
        "in-progress",
        "inbound",
        "2026-03-01 11:59:50.250000",
    )
    with pytest.raises(ResourceNotFoundError, match="ask status=live"):
        await client("calls.get", call_id)
    assert await client("calls.hangup", call_id) is None
    with pytest.raises(ResourceNotFoundError, match="call not found, or it has ended"):
        await client("calls.delete", call_id)
    ended = await client("calls.get", call_id)
    assert (ended.call_uuid, ended.end_time) == (call_id, "2026-03-01 17:30:00+05:30")
    listed = await client("calls.list", from_number="1555", hangup_cause_code=4000, end_time__gte="2026-02-28 00:00")
    assert [one.call_uuid for one in listed] == [call_id]
    assert listed.meta.total_count == 1
    assert len(await client("calls.list", end_time__lt="2026-01-01 00:00")) == 0


async def test_every_call_is_walked(api: Desk, client: Client) -> None:
    for _ in range(25):
        api.switch.add().hangup()
    rest = client._rest
    assert len({call["call_uuid"] for call in await asyncio.to_thread(lambda: list(rest.calls))}) == 25


async def test_acting_on_a_live_call(api: Desk, client: Client) -> None:
    call = api.switch.add()
    call_id = call.record.call_uuid
    moved = await client("calls.transfer", call_id, legs="aleg", aleg_url="http://h/next")
    assert moved.message == "call transferred"
    assert call.log.pop() == ("transfer", TransferRequest(aleg_url="http://h/next"))
    with pytest.raises(ResourceNotFoundError, match="no second leg"):
        await client("calls.update", call_id, legs="both", aleg_url="http://h/a", bleg_url="http://h/b")

    started = await client(
        "calls.record", call_id, file_format="wav", record_channel_type="stereo", callback_url="http://h/r"
    )
    assert started.message == "call recording started"
    assert started.url.startswith("http://127.0.0.1:")
    assert f"/v1/Account/{MAIN.auth_id}/Recording/{started.recording_id}.wav?" in started.url
    assert call.recordings == {
        started.recording_id: RecordRequest(file_format="wav", channels="stereo", callback_url="http://h/r")
    }
    assert not api.delivered, "the callback is the recording's"
    assert await client("calls.stop_recording", call_id, None, None) is None
    assert call.recordings == {}
    assert await client("calls.record_stop", call_id) is None

    assert (await client("calls.play", call_id, "http://h/a.mp3,https://h/b.wav", loop=True)).message == "play started"
    assert call.log.pop() == ("play", PlayRequest(("http://h/a.mp3", "https://h/b.wav"), loop=True))
    assert (await client("calls.start_playing", call_id, "http://h/a.mp3", mix=False)).message == "play started"
    assert await client("calls.play_stop", call_id) is None
    assert await client("calls.stop_playing", call_id) is None
    assert call.log.pop() == ("stop playing",)
    assert (await client("calls.speak", call_id, "hi", voice="MAN", language="de-DE")).message == "speak started"
    assert call.log.pop() == ("speak", SpeakRequest("hi", "MAN", "de-DE"))
    assert (await client("calls.start_speaking", call_id, "ho")).message == "speak started"
    assert await client("calls.speak_stop", call_id) is None
    assert await client("calls.stop_speaking", call_id) is None
    assert (await client("calls.send_digits", call_id, "12w#")).message == "digits sent"
    assert call.log.pop() == ("digits", "12w#", "aleg")
    with pytest.raises(ValidationError, match="digits is not keys"):
        await client("calls.send_digits", call_id, "abc")

    ringing = api.switch.add(answered=False)
    with pytest.raises(InvalidRequestError, match="not answered yet"):
        await client("calls.speak", ringing.record.call_uuid, "hi")


async def test_streams(api: Desk, client: Client) -> None:
    call = api.switch.add()
    call_id = call.record.call_uuid
    started = await client(
        "calls.start_stream",
        call_id,
        "wss://h/s",
        bidirectional=True,
        content_type="audio/x-mulaw;rate=8000",
        extra_headers="a=1,b=2",
    )
    assert (started.message, len(started.stream_id)) == ("audio streaming started", 36)
    with pytest.raises(ValidationError, match="service_url has a stream"):
        await client("calls.start_stream", call_id, "wss://h/s")
    with pytest.raises(ValidationError, match="service_url is not a ws or wss URL"):
        await client("calls.start_stream", call_id, "http://h/s")
    stream = await client("calls.get_details_of_specific_stream", call_id, started.stream_id)
    assert (stream.status, stream.bidirectional, stream.end_time) == ("in-progress", True, None)
    streams = await client("calls.get_all_streams", call_id)
    assert (streams.meta.count, streams.meta.total_count) == (1, 1)
    assert streams.objects[0].service_url == "wss://h/s"
    assert await client("calls.delete_specific_stream", call_id, started.stream_id) is None
    with pytest.raises(ResourceNotFoundError, match="stream not found, or it has ended"):
        await client("calls.delete_specific_stream", call_id, started.stream_id)
    await client("calls.start_stream", call_id, "wss://h/2")
    assert await client("calls.delete_all_streams", call_id) is None
    assert call.open_streams == {}
    ended = await client("calls.get_details_of_specific_stream", call_id, started.stream_id)
    assert (ended.bill_duration, ended.rounded_bill_duration, ended.billed_amount) == (27, 60, "0.00300")
    for undefined in ("undefined", "None"):
        with pytest.raises(ResourceNotFoundError, match=f"is the text '{undefined}'"):
            await client("calls.get_details_of_specific_stream", call_id, undefined)


async def test_conferences(api: Desk, client: Client) -> None:
    room = api.switch.meet("My Room", "17", "18")
    assert (await client("conferences.list")).conferences == ["My Room"]
    shown = await client("conferences.get", "My Room")
    assert (shown.conference_name, shown.conference_run_time, shown.conference_member_count) == ("My Room", "60", "2")
    assert (shown.members[0].member_id, shown.members[0].join_time, shown.members[0].muted) == ("17", "59", False)
    assert (await client("conferences.member_mute", "My Room", "17")).message == "muted"
    assert [member.muted for member in room.people] == [True, False]
    assert await client("conferences.member_mute_stop", "My Room", "17") is None
    assert [member.muted for member in room.people] == [False, False]
    deaf = await client("conferences.member_deaf", "My Room", "all")
    assert (deaf.message, deaf.member_id) == ("deaf", ["17", "18"])
    assert await client("conferences.member_deaf_stop", "My Room", "17,18") is None
    played = await client("conferences.member_play", "My Room", "17", "http://h/a.mp3")
    assert (played.message, played.member_id) == ("play queued into conference", "17")
    assert await client("conferences.member_play_stop", "My Room", "17") is None
    spoken = await client("conferences.member_speak", "My Room", "17", "hi", voice="MAN", language="en-GB")
    assert spoken.message == "speak queued into conference"
    assert await client("conferences.member_speak_stop", "My Room", "17") is None
    assert (await client("conferences.member_kick", "My Room", "18")).message == "kicked"
    assert await client("conferences.member_hangup", "My Room", "17") is None
    assert [entry[0] for entry in room.people[0].log] == ["play", "stop playing", "speak", "stop speaking", "hangup"]
    assert room.people[1].log == [("kick",)]
    with pytest.raises(ResourceNotFoundError, match="conference member not found"):
        await client("conferences.member_mute", "My Room", "99")
    recorded = await client("conferences.record", "My Room", file_format="mp3")
    assert (recorded.message, recorded.recording_id) == ("conference recording started", room.recording)
    with pytest.raises(InvalidRequestError, match="is being recorded"):
        await client("conferences.record", "My Room")
    assert await client("conferences.record_stop", "My Room") is None
    assert await client("conferences.hangup", "My Room") is None
    with pytest.raises(ResourceNotFoundError, match="conference not found"):
        await client("conferences.delete", "My Room")
    api.switch.meet("a", "1")
    api.switch.meet("b", "1")
    assert await client("conferences.hangup_all") is None
    assert (await client("conferences.list")).conferences == []


async def test_applications(client: Client) -> None:
    created = await client("applications.create", "front", answer_url="http://h/a", hangup_url="http://h/b")
    assert (created.message, len(created.app_id)) == ("created", 17)
    with pytest.raises(InvalidRequestError, match="app_name is taken"):
        await client("applications.create", "front")
    await client("applications.create", "back", default_number_app=True)
    found = await client("applications.get", created.app_id)
    assert (found.app_name, found.answer_url, found.sub_account) == ("front", "http://h/a", None)
    assert found.sip_uri == f"sip:{created.app_id}@app.plivo.com"
    assert [one.app_name for one in await client("applications.list", app_name="fro")] == ["front"]
    assert (await client("applications.update", created.app_id, answer_url="http://h/c")).message == "changed"
    assert (await client("applications.get", created.app_id)).answer_url == "http://h/c"
    assert await client("applications.delete", created.app_id, cascade=True) is None
    with pytest.raises(ResourceNotFoundError, match="application not found"):
        await client("applications.get", created.app_id)
    assert len(await asyncio.to_thread(lambda: list(client._rest.applications))) == 1


async def test_numbers(api: Desk, client: Client) -> None:
    for number, country in (("14150001", "US"), ("14150002", "US"), ("91800001", "IN")):
        await api.store.numbers.save(
            NumberRecord(number=number, country=country, added_on=NOW, monthly_rental_rate=Decimal("0.8"))
        )
    found = await client("numbers.search", "US", type="local", services="voice", pattern="415")
    assert [one.number for one in found.objects] == ["14150001", "14150002"]
    assert found.objects[0].monthly_rental_rate == "0.80000"
    app = await client("applications.create", "front")
    bought = await client("numbers.buy", "14150001", app_id=app.app_id, verification_info={"a": 1})
    assert (bought.message, bought.status) == ("created", "fulfilled")
    assert (bought.numbers[0].number, bought.numbers[0].status) == ("14150001", "Success")
    with pytest.raises(ResourceNotFoundError, match="14150001 is not for rent"):
        await client("numbers.buy", "14150001")
    with pytest.raises(ForbiddenError, match="cannot place calls as its compliance application is not in 'accepted'"):
        await client("numbers.buy", "91800001")
    number = await client("numbers.get", "14150001")
    assert number.application == f"/v1/Account/{MAIN.auth_id}/Application/{app.app_id}/"
    assert (await client("numbers.update", "14150001", alias="desk", cnam_lookup="enabled")).message == "changed"
    assert [one.alias for one in await client("numbers.list", services=["voice"], number_startswith="1415")] == ["desk"]
    assert (await client("numbers.create", "15559001,15559002", "ours", "Texas")).message == "changed"
    assert len(await client("numbers.list")) == 3
    with pytest.raises(InvalidRequestError, match="there is a number 15559001"):
        await client("numbers.create", "15559001", "ours", "Texas")
    assert await client("numbers.delete", "14150001") is None
    with pytest.raises(ResourceNotFoundError):
        await client("numbers.get", "14150001")


async def test_recordings(api: Desk, client: Client) -> None:
    for hours in (1, 2):
        await api.store.recordings.save(
            RecordingRecord(
                recording_id=f"r{hours}",
                account=MAIN.auth_id,
                add_time=NOW - timedelta(hours=hours),
                path=f"r{hours}.wav",
                recording_format="wav",
                call_uuid=UNKNOWN,
                duration_ms=345_100,
                start_ms=1_407_235_163_907,
            )
        )
        (api.data / f"r{hours}.wav").write_bytes(b"RIFF")
    listed = await client("recordings.list", call_uuid=UNKNOWN, limit=1)
    assert (listed.meta.total_count, listed.meta.next) == (
        2,
        f"/v1/Account/{MAIN.auth_id}/Recording/?call_uuid={UNKNOWN}&limit=1&offset=1",
    )
    found = await client("recordings.get", "r1")
    assert (found.recording_duration_ms, found.recording_start_ms) == ("345100.00000", "1407235163907.00000")
    assert found.add_time == "2026-03-01 16:30:00.250000+05:30"
    assert len(await asyncio.to_thread(lambda: list(client._rest.recordings))) == 2
    assert await client("recordings.delete", "r1") is None
    assert not (api.data / "r1.wav").exists()
    with pytest.raises(ResourceNotFoundError, match="recording not found"):
        await client("recordings.get", "r1")


async def test_accounts(api: Desk, client: Client) -> None:
    account = await client("account.get")
    assert (account.name, account.cash_credits, account.timezone) == ("Main", "4.50000", "Asia/Kolkata")
    assert (await client("account.update", name="New", city="Pune")).message == "changed"
    assert (await client("account.get")).city == "Pune"
    created = await client("subaccounts.create", "Sub", enabled=True)
    assert (created.message, len(created.auth_id), len(created.auth_token)) == ("created", 20, 40)
    assert (await client("subaccounts.get", created.auth_id)).auth_token == created.auth_token
    assert [one.name for one in await client("subaccounts.list")] == ["Sub"]
    with plivo.RestClient(created.auth_id, created.auth_token) as rest:
        mine = Client(rest)
        assert (await mine("account.get")).name == "Sub"
        with pytest.raises(ForbiddenError, match="sub-accounts may not"):
            await mine("subaccounts.create", "Deeper")
        assert (await client("subaccounts.update", created.auth_id, "Sub", enabled=False)).message == "changed"
        with pytest.raises(ForbiddenError, match="disabled"):
            await mine("account.get")
    assert await client("subaccounts.delete", created.auth_id, cascade=True) is None
    with pytest.raises(ResourceNotFoundError):
        await client("subaccounts.get", created.auth_id)


async def test_an_asynchronous_request(api: Desk, client: Client) -> None:
    call_id = api.switch.add().record.call_uuid
    spawned = await client("live_calls.get", call_id, callback_url="http://h/cb", callback_method="GET")
    assert spawned.message == "async api spawned"
    await settled(api)
    account, url, method, form = api.delivered[0]
    assert (account, url, method) == (MAIN, "http://h/cb", "GET")
    assert (form["api_id"], form["call_status"], form["status_code"]) == (spawned.api_id, "in-progress", "200")


async def test_what_is_not_offered(client: Client) -> None:
    for name, args in (
        ("messages.create", ("1", "2", "text")),
        ("multi_party_calls.list", ()),
        ("endpoints.list", ()),
        ("pricing.get", ("US",)),
    ):
        with pytest.raises(ValidationError, match="is not offered here"):
            await client(name, *args)


async def test_wrong_credentials(url: str) -> None:
    with (
        plivo.RestClient(MAIN.auth_id, "wrong") as rest,
        pytest.raises(AuthenticationError, match="authentication failed"),
    ):
        await Client(rest)("account.get")
