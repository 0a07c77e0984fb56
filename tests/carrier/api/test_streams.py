from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.carrier.api.desk import MAIN, NOW, OTHER, UNKNOWN, Desk

from bothway.carrier.api.switch import StreamRequest


async def start(api: Desk, call_id: str, **content: Any) -> str:
    reply = await api.ask("POST", f"Call/{call_id}/Stream/", {"service_url": "wss://h/s", **content})
    assert (reply.status, reply.json["message"]) == (202, "audio streaming started")
    return str(reply.json["stream_id"])


async def test_every_parameter_reaches_the_call(api: Desk) -> None:
    call = api.switch.add()
    await start(
        api,
        call.record.call_uuid,
        bidirectional="false",
        audio_track="Both",
        stream_timeout="60",
        status_callback_url="http://h/status",
        status_callback_method="get",
        content_type="audio/x-l16; rate=16000",
        extra_headers="a=1,b=2",
        noise_cancellation="true",
        noise_cancellation_level=60,
        cx_bot="left alone",
    )
    assert call.log == [
        (
            "stream",
            StreamRequest(
                "wss://h/s", False, "both", 60, "http://h/status", "GET", "audio/x-l16; rate=16000", "a=1,b=2", True, 60
            ),
        )
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"service_url": ""}, "service_url is required: it is a ws or wss URL"),
        ({"service_url": "https://h"}, "service_url is not a ws or wss URL"),
        ({"service_url": "wss://h/" + "x" * 2048}, "service_url is not a ws or wss URL of 2048"),
        ({"audio_track": "left"}, "audio_track is not one of"),
        ({"bidirectional": True, "audio_track": "both"}, "audio_track is inbound where bidirectional is true"),
        ({"stream_timeout": 0}, "stream_timeout is not a whole number from 1 to 86400"),
        ({"content_type": "audio/wav"}, "content_type is not one of audio/"),
        ({"extra_headers": "ü" * 257}, "extra_headers is not text of 512 bytes"),
        ({"noise_cancellation": "maybe"}, "noise_cancellation is not true or false"),
        ({"noise_cancellation_level": 5}, "noise_cancellation_level is not a whole number from 60 to 100"),
        ({"status_callback_url": "ws://h"}, "status_callback_url is not an http or https URL"),
    ],
)
async def test_parameters_that_cannot_be(api: Desk, content: dict[str, Any], text: str) -> None:
    call = api.switch.add()
    path = f"Call/{call.record.call_uuid}/Stream/"
    reply = await api.ask("POST", path, {"service_url": "wss://h/s", **content})
    assert reply.status == 400
    assert reply.error.startswith(text)
    assert call.log == []


async def test_a_stream_while_it_is_open_and_after(api: Desk) -> None:
    call = api.switch.add()
    stream_id = await start(api, call.record.call_uuid, status_callback_url="http://h/status")
    path = f"Call/{call.record.call_uuid}/Stream/"
    api.switch.now = NOW + timedelta(seconds=61)
    shown = (await api.ask("GET", path + stream_id + "/")).json
    assert shown == {
        "api_id": shown["api_id"],
        "audio_track": "inbound",
        "bidirectional": False,
        "bill_duration": 61,
        "billed_amount": "0.00600",
        "call_uuid": call.record.call_uuid,
        "content_type": "audio/x-mulaw;rate=8000",
        "created_at": "2026-03-01 12:00:00.250000+00:00",
        "end_time": None,
        "plivo_auth_id": MAIN.auth_id,
        "resource_uri": f"/v1/Account/{MAIN.auth_id}/{path}{stream_id}/",
        "rounded_bill_duration": 120,
        "service_url": "wss://h/s",
        "start_time": "2026-03-01 17:30:00+05:30",
        "status": "in-progress",
        "status_callback_url": "http://h/status",
        "stream_id": stream_id,
    }
    call.hangup()
    shown = (await api.ask("GET", path)).json
    assert (shown["meta"]["count"], shown["meta"]["total_count"]) == (1, 1)
    (shown,) = shown["objects"]
    assert (shown["status"], shown["bill_duration"], shown["billed_amount"]) == ("completed", 27, "0.00300")
    assert shown["end_time"] == "2026-03-01 17:31:01+05:30"
    for method in ("DELETE", "POST"):
        reply = await api.ask(method, path, {"service_url": "wss://h/s"})
        assert (reply.status, reply.error) == (404, "call not found, or it has ended")


async def test_streams_that_are_not_there(api: Desk) -> None:
    call, other = api.switch.add(), api.switch.add()
    stream_id = await start(api, call.record.call_uuid)
    mine, others = (f"Call/{one.record.call_uuid}/Stream/" for one in (call, other))
    for method in ("GET", "DELETE"):
        for path in (f"{mine}{UNKNOWN}/", f"{others}{stream_id}/"):
            assert (await api.ask(method, path)).error.startswith("stream not found")
        reply = await api.ask(method, f"{mine}undefined/")
        assert reply.status == 404
        assert reply.error.startswith("the stream id in the path is the text 'undefined': the client wrote a value")
        assert (await api.ask(method, f"{mine}{stream_id}/", account=OTHER)).status == 404
    assert (await api.ask("GET", mine, account=OTHER)).error == "call not found"
    assert (await api.ask("GET", f"Call/{UNKNOWN}/Stream/")).error == "call not found"
    assert list(call.open_streams) == [stream_id]


async def test_a_call_that_still_rings(api: Desk) -> None:
    call = api.switch.add(answered=False)
    reply = await api.ask("POST", f"Call/{call.record.call_uuid}/Stream/", {"service_url": "wss://h/s"})
    assert (reply.status, reply.error) == (409, "the call is not answered yet")
