"""The HTTP side, by the package's own server and by uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.app.fake_carrier import CALL, TOKEN, Answer, answer_form, ask, new_app, served_by_uvicorn
from tests.serving import served

from bothway import App, Call, PeerError
from bothway.wire.verbs import Hangup, Speak
from bothway.wire.webhooks import HangupReport, StreamStatus

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["server", "uvicorn"])
def serve(request: pytest.FixtureRequest) -> Any:
    return served if request.param == "server" else served_by_uvicorn


async def until_ended(call: Call) -> None:
    await call.ended


def an_app(**options: Any) -> App:
    app = new_app(**options)
    app.answer("/answer", until_ended, before=[Speak("hello")], after=[Hangup()])
    return app


async def get(url: str, method: str = "GET") -> Answer:
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return Answer(response.status, await response.text(), dict(response.headers))


@pytest.mark.usefixtures("both_times")
async def test_answering_by_post_and_get(serve: Any) -> None:
    async with serve(an_app()) as url:
        for method in ("POST", "GET"):
            answer = await ask(f"{url}/answer?tenant=1", method=method)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
            assert answer.stream.url.startswith(url.replace("http", "ws") + "/answer/stream/")
            assert answer.stream.status_callback_url is None
            assert answer.text.startswith("<Response><Speak>hello</Speak><Stream ")
            assert answer.text.endswith("</Stream><Hangup/></Response>")


async def test_behind_a_proxy(serve: Any) -> None:
    async with serve(an_app()) as url:
        answer = await ask(
            f"{url}/answer",
            signed_url="https://bot.example.com/answer",
            headers={"X-Forwarded-Host": "bot.example.com"},
        )
        assert answer.stream.url.startswith("wss://bot.example.com/answer/stream/")
    async with serve(an_app(public_url="https://bot.example.com/voice")) as url:
        answer = await ask(f"{url}/answer", signed_url="https://bot.example.com/voice/answer")
        assert answer.stream.url.startswith("wss://bot.example.com/voice/answer/stream/")


async def test_what_is_refused(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(an_app()) as url:
        assert (await ask(f"{url}/nowhere")).status == 404
        assert (await get(f"{url}/answer/stream/x")).status == 404
        for method in ("PUT", "DELETE", "OPTIONS"):
            answer = await get(f"{url}/answer", method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
        answer = await get(f"{url}/healthz", "POST")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert (await ask(f"{url}/answer", body=b"a=" + b"x" * 65536)).status == 413
        assert (await ask(f"{url}/answer", body=b"&".join([b"a=b"] * 501))).status == 400
        assert (await ask(f"{url}/answer", {"From": "1"})).status == 400
        assert (await ask(f"{url}/answer", sign=None)).status == 403
        assert (await ask(f"{url}/answer", sign="another")).status == 403
        assert (await ask(f"{url}/answer?key=secret-value", signed_url=f"{url}/answer")).status == 403
        assert (await ask(f"{url}/answer", body=b"CallUUID=changed")).status == 403
        assert 'bothway_refused_total{kind="webhook"} 4.0' in (await get(f"{url}/metrics")).text
    told = [record.msg for record in caplog.records if "a webhook is refused" in str(record.msg)]
    assert len(told) == 4
    last = told[2]
    assert isinstance(last, dict)
    assert f"{url}/answer" in last["tried"]
    assert not any("secret-value" in str(line) or TOKEN in str(line) for line in told)


async def test_health_and_metrics(serve: Any) -> None:
    app = an_app()
    async with serve(app) as url:
        assert (await get(f"{url}/healthz")).text == '{"status": "alive"}'
        assert (await get(f"{url}/healthz", "HEAD")).text == ""
        assert (await get(f"{url}/readyz")).status == 200
        assert "bothway_streams_active 0.0" in (await get(f"{url}/metrics")).text
        await app.stop(0.0)
        ready = await get(f"{url}/readyz")
        assert (ready.status, '"draining"' in ready.text) == (503, True)
        assert (await get(f"{url}/healthz")).status == 200
        refused = await ask(f"{url}/answer")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")


async def test_callbacks_of_either_vocabulary(serve: Any) -> None:
    app = an_app()
    statuses: list[StreamStatus] = []
    reports: list[HangupReport] = []

    @app.on_status
    async def status(event: StreamStatus) -> None:
        statuses.append(event)

    @app.on_hangup
    async def hangup(report: HangupReport) -> None:
        reports.append(report)

    async with serve(app) as url:
        assert (await ask(f"{url}/answer")).stream.status_callback_url == f"{url}/status"
        for form in (
            {"Event": "StartStream", "CallUUID": CALL, "StreamID": "s"},
            {"Event": "started", "CallUUID": CALL, "StreamId": "s"},
        ):
            assert (await ask(f"{url}/status", form)).status == 200
        assert (await ask(f"{url}/status", {"Event": "new"})).status == 400
        assert (await ask(f"{url}/status", {"Event": "started"}, sign="another")).status == 403
        over = {"CallUUID": CALL, "HangupCauseCode": "4010", "Event": "Hangup"}
        assert (await ask(f"{url}/hangup", over)).status == 200
        assert (await ask(f"{url}/answer", over)).text == ""  # where no hang-up URL is configured
    assert [(status.event, status.stream_id) for status in statuses] == [("started", "s")] * 2
    assert [report.cause.code for report in reports] == [4010, 4010]


async def test_what_the_app_s_own_code_runs_into_is_not_the_webhook_s_fault(serve: Any) -> None:
    app = an_app()

    @app.on_hangup
    async def hangup(_: HangupReport) -> None:
        raise PeerError("the database is gone")

    async with serve(app) as url:
        answer = await ask(f"{url}/hangup", {"CallUUID": CALL, "HangupCauseCode": "4010", "Event": "Hangup"})
    assert answer.status == 500
    assert "database" not in answer.text


async def test_a_body_that_is_no_form_has_no_parameters(serve: Any) -> None:
    async with (
        serve(an_app(check_signatures=False)) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/answer", json=answer_form()) as response,
    ):
        assert response.status == 400
        assert "no CallUUID" in await response.text()


@pytest.mark.usefixtures("both_times")
async def test_a_client_that_leaves_in_the_middle(serve: Any) -> None:
    async with serve(an_app()) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()
        assert (await get(f"{url}/healthz")).status == 200
