from __future__ import annotations

from typing import Any

import pytest
from tests.carrier.api.desk import MAIN, OTHER, UNKNOWN, Desk

from bothway.carrier.api.live import MAX_URLS, RecordParameters, record_request, split_urls
from bothway.carrier.api.parameters import ApiError
from bothway.carrier.api.switch import PlayRequest, RecordRequest, SpeakRequest, TransferRequest

ACTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("DELETE", "", {}),
    ("POST", "", {"aleg_url": "http://h/"}),
    ("POST", "Record/", {}),
    ("DELETE", "Record/", {}),
    ("POST", "Play/", {"urls": "http://h/a.mp3"}),
    ("DELETE", "Play/", {}),
    ("POST", "Speak/", {"text": "hi"}),
    ("DELETE", "Speak/", {}),
    ("POST", "DTMF/", {"digits": "1"}),
]


@pytest.mark.parametrize(("method", "path", "content"), ACTIONS)
async def test_calls_that_are_not_there(api: Desk, method: str, path: str, content: dict[str, Any]) -> None:
    call = api.switch.add()
    for account, call_id in ((OTHER, call.record.call_uuid), (MAIN, UNKNOWN)):
        reply = await api.ask(method, f"Call/{call_id}/{path}", content, account=account)
        assert (reply.status, reply.error) == (404, "call not found, or it has ended")
    assert call.log == []


@pytest.mark.parametrize(
    ("method", "path", "content", "text"),
    [
        ("POST", "", {}, "aleg_url is required: legs is aleg"),
        ("POST", "", {"legs": "both", "aleg_url": "http://h/"}, "bleg_url is required: legs is both"),
        ("POST", "", {"legs": "cleg"}, "legs is not one of"),
        ("POST", "Record/", {"time_limit": 0}, "time_limit is not a whole number from 1 to 86400"),
        ("POST", "Record/", {"file_format": "ogg"}, "file_format is not one of mp3, wav"),
        ("POST", "Record/", {"callback_url": "x"}, "callback_url is not an http or https URL"),
        ("DELETE", "Record/", {"url": "http://h/other"}, "url is not the URL of a recording"),
        ("POST", "Play/", {}, "urls is required: it is http or https URLs between commas"),
        ("POST", "Play/", {"urls": "a.mp3"}, "urls is not 1 to 100 http or https URLs"),
        ("POST", "Play/", {"urls": "http://h/a", "length": -1}, "length is not a whole number"),
        ("POST", "Speak/", {"text": ""}, "text is required"),
        ("POST", "Speak/", {"text": "x" * 3_001}, "text is not text of 1 to 3000 characters"),
        ("POST", "Speak/", {"text": "x", "language": "english!"}, "language is not a language"),
        ("POST", "DTMF/", {"digits": "1", "leg": "both"}, "leg is not one of"),
    ],
)
async def test_parameters_that_cannot_be(api: Desk, method: str, path: str, content: dict[str, Any], text: str) -> None:
    call = api.switch.add()
    reply = await api.ask(method, f"Call/{call.record.call_uuid}/{path}", content)
    assert reply.status == 400
    assert reply.error.startswith(text)
    assert call.log == []


async def test_transfers_are_counted(api: Desk) -> None:
    call = api.switch.add()
    path = f"Call/{call.record.call_uuid}/"
    content = {"aleg_url": "http://h/next", "aleg_method": "GET", "bleg_url": "http://h/not-asked"}
    statuses = [(await api.ask("POST", path, content)).status for _ in range(70)]
    assert statuses == [202] * 70
    assert call.log[0] == ("transfer", TransferRequest(aleg_url="http://h/next", aleg_method="GET"))
    reply = await api.ask("POST", path, content)
    assert (reply.status, reply.error.partition(":")[0]) == (400, "Loop detected")


async def test_all_calls_are_all_of_ones_own(api: Desk) -> None:
    sub = await api.subaccount()
    mine, another, _ = [api.switch.add(account).record.call_uuid for account in (MAIN, OTHER, sub)]
    assert (await api.ask("DELETE", "Call/", account=sub)).status == 204
    assert set(api.switch.calls) == {mine, another}
    api.switch.add(sub)
    assert (await api.ask("DELETE", "Call/")).status == 204
    assert set(api.switch.calls) == {another}


async def test_what_reaches_the_call(api: Desk) -> None:
    call = api.switch.add()
    path = f"Call/{call.record.call_uuid}/"
    await api.ask("POST", path + "Play/", {"urls": ["http://h/a.mp3", "http://h/b.mp3"], "length": "5", "mix": "false"})
    await api.ask("POST", path + "Speak/", {"text": "hi", "loop": "True", "type": "text"})
    await api.ask("POST", path + "DTMF/", {"digits": 12})
    assert call.log == [
        ("play", PlayRequest(("http://h/a.mp3", "http://h/b.mp3"), length=5, mix=False)),
        ("speak", SpeakRequest("hi", loop=True)),
        ("digits", "12", "aleg"),
    ]


async def test_one_of_two_recordings_is_stopped_by_its_url(api: Desk) -> None:
    call = api.switch.add()
    path = f"Call/{call.record.call_uuid}/Record/"
    first, second = [(await api.ask("POST", path, {})).json for _ in range(2)]
    assert list(call.recordings) == [first["recording_id"], second["recording_id"]]
    assert (await api.ask("DELETE", path, {"URL": first["url"]})).status == 204
    assert list(call.recordings) == [second["recording_id"]]
    assert (await api.ask("DELETE", path, {"url": first["url"]})).status == 404
    assert (await api.ask("DELETE", path, {"url": second["url"].partition("?")[0]})).status == 204
    assert (await api.ask("DELETE", path)).status == 204, "there is none any more, and none is wanted"


async def test_requests_that_are_cancelled(api: Desk) -> None:
    created = await api.ask("POST", "Call/", {"from": "1", "to": "2", "answer_url": "http://h/"})
    path = f"Request/{created.json['request_uuid']}/"
    assert (await api.ask("DELETE", path, account=OTHER)).status == 404
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("DELETE", path)).error == "request not found, or its call is up or has ended"
    assert (await api.ask("DELETE", f"Request/{UNKNOWN}/")).status == 404


def test_record_request() -> None:
    assert record_request(RecordParameters()) == RecordRequest()
    wanted = RecordParameters(transcription_type="auto", transcription_url="http://h/t", transcription_method="GET")
    assert record_request(wanted) == RecordRequest(
        transcription="auto", transcription_url="http://h/t", transcription_method="GET"
    )


def test_split_urls() -> None:
    assert split_urls("http://h/a , https://h/b") == ("http://h/a", "https://h/b")
    for text in (",", "x", "http://h/" + "a" * 2048, ",".join(["http://h/"] * (MAX_URLS + 1))):
        with pytest.raises(ApiError):
            split_urls(text)
