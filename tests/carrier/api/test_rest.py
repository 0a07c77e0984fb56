from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.carrier.api.desk import MAIN, OTHER, UNKNOWN, Desk, basic, desk, settled

from bothway.carrier.api import rest
from bothway.carrier.api.rest import RestApi
from bothway.carrier.store.records import StoreError
from bothway.runtime.duplex import Refusal
from bothway.runtime.health import Health
from bothway.runtime.metrics import Metrics
from bothway.runtime.server import Server

CALL = {"from": "15550100", "to": "15550101", "answer_url": "http://h/answer"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@asynccontextmanager
async def served(api: Desk) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    server = Server(api.api, lambda _: Refusal(404, b""))
    await server.start()
    async with aiohttp.ClientSession(headers={"Authorization": basic(MAIN.auth_id, MAIN.auth_token)}) as session:
        yield session, server.url
    await server.stop(0.1)


async def test_health_metrics_and_the_document_need_no_credentials(api: Desk) -> None:
    assert (await api.ask("GET", "/healthz", account=None)).status == 200
    assert (await api.ask("GET", "/readyz", account=None)).status == 503
    reply = await api.ask("GET", "/metrics", account=None)
    assert reply.headers["content-type"].startswith("text/plain")
    assert b"bothway_calls_active 0.0" in reply.body
    reply = await api.ask("GET", "/v1/openapi.json", account=None)
    assert (reply.status, reply.json["openapi"]) == (200, "3.1.0")


@pytest.mark.parametrize("path", ["/", "/v1/", "/v1", "/v1/leg", "/nothing", "/v1/Accounts/x/"])
async def test_paths_that_are_none(api: Desk, path: str) -> None:
    reply = await api.ask("GET", path)
    assert (reply.status, reply.json) == (404, {"error": "not found"})


@pytest.mark.parametrize("path", ["Nothing/", "Call/x/Nothing/", "Call//", "Recording/%00/", "Call/a/b/c/d/e/"])
async def test_resources_that_are_none(api: Desk, path: str) -> None:
    reply = await api.ask("GET", path)
    assert (reply.status, reply.error) == (404, "not found")


async def test_a_slash_at_the_end_may_be_left_out(api: Desk) -> None:
    with_slash, without = await api.ask("GET", "Call/"), await api.ask("GET", "Call")
    assert (with_slash.status, with_slash.json["meta"]) == (without.status, without.json["meta"])
    assert (await api.ask("GET", f"/v1/Account/{MAIN.auth_id}")).json["name"] == "Main"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "Call/x/", "DELETE, GET, POST"),
        ("PATCH", "Call/", "DELETE, GET, POST"),
        ("OPTIONS", "Request/x/", "DELETE"),
        ("POST", "Recording/x/", "DELETE, GET"),
        ("DELETE", "", "GET, POST"),
    ],
)
async def test_methods_that_a_path_does_not_have(api: Desk, method: str, path: str, allow: str) -> None:
    reply = await api.ask(method, path)
    assert (reply.status, reply.error, reply.headers["allow"]) == (405, "method not allowed", allow)


async def test_a_head_is_a_get_without_its_body(api: Desk) -> None:
    async with served(api) as (session, url), session.head(f"{url}/v1/Account/{MAIN.auth_id}/") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 100


async def test_every_answer_has_an_api_id_of_its_own(api: Desk) -> None:
    ids = {(await api.ask("GET", "")).json["api_id"] for _ in range(3)}
    assert len(ids) == 3


async def test_an_answer_without_a_body_has_none(api: Desk) -> None:
    call = api.switch.add()
    reply = await api.ask("DELETE", f"Call/{call.record.call_uuid}/", {"call_uuid": call.record.call_uuid})
    assert (reply.status, reply.body) == (204, b"")
    assert "content-type" not in reply.headers


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"{", "application/json", "the body is not valid JSON"),
        (b'{"a": "\xff"}', "application/json", "the body is not valid JSON"),
        (b"[" * 100_000, "application/json", "the body is not valid JSON"),
        (b"[1]", "application/json", "the body is JSON, but no object"),
        (b"7", "application/json", "the body is JSON, but no object"),
        (b"<a/>", "text/xml", "the body's content type is neither"),
        (b"&".join(b"a=%d" % n for n in range(1_001)), FORM["Content-Type"], "there are more than 1000 parameters"),
        (b'{"from": 1}', "application/json; charset=utf-8", "to is required"),
        (b"", "application/json", "from is required: it is a caller id"),
        (b"null", "application/json", "from is required"),
    ],
)
async def test_bodies_that_cannot_be_read(api: Desk, body: bytes, content_type: str, text: str) -> None:
    reply = await api.ask("POST", "Call/", body=body, headers={"Content-Type": content_type})
    assert reply.status == 400
    assert text in reply.error


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps(CALL).encode(), {"Content-Type": "application/json"}),
        (json.dumps(CALL).encode(), {}),
        (b"from=15550100&to=15550101&answer_url=http%3A%2F%2Fh%2Fanswer", FORM),
        (b"from=15550100&to=15550101&answer_url=http%3A%2F%2Fh%2Fanswer", {}),
        (json.dumps({**CALL, "from": 15550100, "to": 15550101, "time_limit": "60", "x": {}}).encode(), {}),
    ],
)
async def test_the_ways_to_write_a_body(api: Desk, body: bytes, headers: Mapping[str, str]) -> None:
    assert (await api.ask("POST", "Call/", body=body, headers=headers)).status == 201
    assert (api.switch.placed[0].from_, api.switch.placed[0].to) == ("15550100", ("15550101",))


async def test_parameters_in_the_query_count_and_those_of_the_body_more(api: Desk) -> None:
    assert (await api.ask("POST", "Call/?time_limit=7&ring_timeout=8", {**CALL, "ring_timeout": 9})).status == 201
    assert (api.switch.placed[0].time_limit, api.switch.placed[0].ring_timeout) == (7, 9)


async def test_unknown_parameters_are_left_alone_and_their_values_are_not_logged(
    api: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "bothway.carrier.api.parameters"):
        assert (await api.ask("GET", "?tokn=s3cret")).status == 200
        assert (await api.ask("GET", "Call/?tokn=s3cret")).status == 200
    assert "tokn" in caplog.text
    assert "s3cret" not in caplog.text


async def test_bodies_that_are_too_long_or_never_end(api: Desk) -> None:
    async with served(api) as (session, url):
        target = f"{url}/v1/Account/{MAIN.auth_id}/Call/"
        async with session.post(target, data=io.BytesIO(b"x" * 1_100_000)) as answer:
            assert answer.status == 413
            assert "over the limit" in (await answer.json())["error"]


@pytest.mark.virtual_time
async def test_a_body_that_comes_too_slowly(api: Desk) -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3_600)
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", basic(MAIN.auth_id, MAIN.auth_token).encode())]
    scope = {"type": "http", "method": "POST", "path": f"/v1/Account/{MAIN.auth_id}/Call/", "query_string": b""}
    await api.api({**scope, "headers": headers}, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_the_requests_of_sub_accounts_and_for_recordings_count_too(tmp_path: Path) -> None:
    async with desk(tmp_path, requests_per_5s=3) as api:
        sub = await api.subaccount()
        statuses = [
            (await api.ask("GET", path, account=account)).status
            for path, account in (
                ("", sub),
                ("", MAIN),
                ("Recording/r1.wav", MAIN),
                ("Recording/r1.wav", MAIN),
                ("", sub),
            )
        ]
        assert statuses == [200, 200, 404, 429, 429]
        assert (await api.ask("GET", "", account=OTHER)).status == 200


async def test_more_requests_than_an_account_may_make(tmp_path: Path) -> None:
    async with desk(tmp_path, requests_per_5s=3) as api:
        assert [(await api.ask("GET", "")).status for _ in range(4)] == [200, 200, 200, 429]
        reply = await api.ask("GET", "")
        assert "more than 3 requests in 5 seconds" in reply.error
        assert 1 <= int(reply.headers["retry-after"]) <= 6
        assert (await api.ask("GET", "", account=OTHER)).status == 200
        assert (await api.ask("GET", "/healthz")).status == 200


async def test_before_it_opens_and_after_it_closes() -> None:
    api = RestApi(Health(), Metrics(), lambda: UNKNOWN)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/v1/Account/MA/", "query_string": b"", "headers": []}
    await api(scope, receive, send)
    assert sent[0]["status"] == 503
    await api({**scope, "path": "/healthz"}, receive, send)
    assert sent[2]["status"] == 200


# --- asynchronous -------------------------------------------------------------------------------------------------


async def test_the_result_of_an_asynchronous_request(api: Desk) -> None:
    call = api.switch.add()
    path = f"Call/{call.record.call_uuid}/"
    reply = await api.ask("DELETE", path, {"callback_url": "http://h/cb"})
    assert (reply.status, reply.json["message"]) == (202, "async api spawned")
    await settled(api)
    assert api.delivered.pop() == (
        MAIN,
        "http://h/cb",
        "POST",
        {"api_id": reply.json["api_id"], "status_code": "204"},
    )
    await api.ask("DELETE", path + "?callback_url=http://h/cb")
    await settled(api)
    assert api.delivered.pop()[3]["error"] == "call not found, or it has ended"
    await api.ask(
        "POST", "Call/", {**CALL, "to": "1<2", "callback_url": "http://h/cb"}, headers={"Idempotency-Key": "k"}
    )
    await settled(api)
    created = api.delivered.pop()[3]
    assert (created["status_code"], len(json.loads(created["request_uuid"]))) == ("201", 2)
    await api.ask(
        "POST", "Call/", {**CALL, "to": "1<2", "callback_url": "http://h/cb"}, headers={"Idempotency-Key": "k"}
    )
    await settled(api)
    assert api.delivered.pop()[3]["request_uuid"] == created["request_uuid"]


async def test_what_is_wrong_with_an_asynchronous_request_is_said_at_once(api: Desk) -> None:
    reply = await api.ask("POST", "Call/", {"callback_url": "http://h/cb"})
    assert (reply.status, api.delivered) == (400, [])
    reply = await api.ask("GET", "Call/?callback_url=ftp://h")
    assert (reply.status, reply.error[:20]) == (400, "callback_url is not ")
    reply = await api.ask("GET", "Call/?callback_url=http://h/&callback_method=PUT")
    assert (reply.status, reply.error) == (400, "callback_method is not one of GET, POST")


async def test_accounts_and_numbers_are_never_asynchronous(api: Desk) -> None:
    assert (await api.ask("GET", "?callback_url=http://h/cb")).status == 200
    assert (await api.ask("GET", "Number/?callback_url=http://h/cb")).status == 200


async def test_asynchronous_requests_are_bounded(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_ASYNCHRONOUS", 2)
    for _ in range(2):
        replies = await asyncio.gather(*(api.ask("GET", "Call/?callback_url=http://h/cb") for _ in range(3)))
        assert sorted(reply.status for reply in replies) == [202, 202, 429]
        await settled(api, 2)
        api.delivered.clear()


# --- when something breaks ----------------------------------------------------------------------------------------


async def test_without_records_nothing_is_placed(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(api.store.calls, "queue", broken)
    reply = await api.ask("POST", "Call/", CALL)
    assert (reply.status, api.switch.placed) == (503, [])
    assert "disk" not in reply.error
    assert reply.headers["retry-after"] == "1"
    await api.ask("POST", "Call/", {**CALL, "callback_url": "http://h/cb"})
    await settled(api)
    assert api.delivered[0][3]["status_code"] == "503"


async def test_a_fault_of_ours_is_logged_and_says_nothing(
    api: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("s3cret")

    monkeypatch.setattr(api.switch, "live_calls", broken)
    reply = await api.ask("DELETE", "Call/")
    assert (reply.status, reply.error) == (500, "internal error")
    assert "ZeroDivisionError" in caplog.text
    await api.ask("DELETE", "Call/", {"callback_url": "http://h/cb"})
    await settled(api)
    assert (api.delivered[0][3]["error"], api.delivered[0][3]["status_code"]) == ("internal error", "500")
