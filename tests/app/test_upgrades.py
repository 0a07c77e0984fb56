"""Who may open a stream: upgrades at the package's own server and at uvicorn."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.app.fake_carrier import AUTH_ID, CALL, FRAME, TOKEN, ask, dialled, new_app, served_by_uvicorn
from tests.app.fake_carrier import start_message as start
from tests.serving import served
from websockets.exceptions import InvalidStatus

from bothway import App, Call, UsageError
from bothway.app.tokens import StreamToken, derive_secret, issue
from bothway.app.upgrades import below
from bothway.runtime.duplex import UpgradeRequest

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["server", "uvicorn"])
def serve(request: pytest.FixtureRequest) -> Any:
    return served if request.param == "server" else served_by_uvicorn


async def until_ended(call: Call) -> None:
    await call.ended


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.msg["reason"] for record in caplog.records if "a stream is refused" in str(record.msg)]  # type: ignore[index]


async def refused(url: str, **options: Any) -> None:
    async with dialled(url, **options) as carrier:
        assert await carrier.until_closed() == (1008, "policy")


@pytest.mark.usefixtures("both_times")
async def test_only_the_carrier_gets_in(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    app = new_app()
    app.answer("/answer", until_ended)
    async with serve(app) as url:
        stream = (await ask(f"{url}/answer")).stream.url
        await refused(stream, sign=None)
        await refused(stream, sign="another account's token")
        await refused(stream, signed_url=stream.replace("/answer", "/other"))
        await refused(stream, sign=None, headers={"X-Plivo-Signature-V3": "", "X-Plivo-Signature-V3-Nonce": "1"})
        await refused(stream, sign=None, headers={"X-Plivo-Signature-V3": "AAAA"})
        async with dialled(stream) as carrier:
            await carrier.say(FRAME)
        told = refusals(caplog)
        assert len(told) == 5
        assert b'bothway_refused_total{kind="stream"} 5.0' in app.metrics.render()[0]
        assert "no X-Plivo-Signature-V3 header" in told[0]
        assert "no signature fits" in told[1]
        token = stream.rpartition("/")[2]
        # uvicorn writes the path of every WebSocket, and its lines are among these.
        assert any("[accepted]" in record.getMessage() for record in caplog.records) is (serve is served_by_uvicorn)
        assert not any(token in record.getMessage() or TOKEN in record.getMessage() for record in caplog.records)


async def test_only_a_token_of_ours_opens_a_stream(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = new_app()
    app.answer("/answer", until_ended)
    app.answer("/other", until_ended)
    async with serve(app) as url:
        stream = (await ask(f"{url}/answer")).stream.url
        base, _, token = stream.rpartition("/")
        secret = derive_secret(TOKEN)
        await refused(f"{base}/{token[:-1]}{'A' if token[-1] != 'A' else 'B'}")
        await refused(f"{base}/nothing")
        await refused(f"{base}/{issue(StreamToken(CALL, '/answer', int(time.time()) - 1), secret)}")
        await refused(f"{base}/{issue(StreamToken(CALL, '/answer', int(time.time()) + 60), b'another secret')}")
        await refused(stream.replace("/answer", "/other"))
        await refused(stream, start=start("another-call"))
    assert [reason.partition(":")[0] for reason in refusals(caplog) if reason] == [
        "its token is forged",
        "its token is malformed",
        "its token is expired",
        "its token is forged",
        "its token is for /answer, and it came to /other",
    ]


async def test_two_sockets_for_one_call(serve: Any) -> None:
    app = new_app()

    @app.answer("/answer")
    async def echo(call: Call) -> None:
        async for frame in call.audio():
            await call.play(frame)

    async with serve(app) as url:
        stream = (await ask(f"{url}/answer")).stream.url
        async with dialled(stream) as first:
            await first.say(FRAME)
            await first.until(lambda: first.got)
            await refused(stream)
            await first.say(FRAME)
            await first.until(lambda: len(first.ours) == 2)
            assert app.live_calls == 1
            assert b'bothway_refused_total{kind="stream"} 1.0' in app.metrics.render()[0]


async def test_signatures_off_by_name_leaves_the_token(serve: Any) -> None:
    app = App(check_signatures=False, auth_id=AUTH_ID, auth_token="")
    app.answer("/answer", until_ended)
    async with serve(app) as url:
        stream = (await ask(f"{url}/answer", sign=None)).stream.url
        async with dialled(stream, sign=None) as carrier:
            await carrier.say(FRAME)
        await refused(stream[:-3] + "AAA", sign=None)


async def test_a_bare_stream_has_the_signature_alone(serve: Any) -> None:
    app = new_app()
    calls: list[Call] = []
    got = asyncio.Event()

    @app.stream("/bare")
    async def bare(call: Call) -> None:
        calls.append(call)
        got.set()

    async with serve(app) as url:
        stream = url.replace("http", "ws") + "/bare"
        await refused(stream, sign=None)
        async with dialled(stream + "?tenant=1") as carrier:
            assert await carrier.until_closed() == (1000, "")
        async with dialled(stream + "?tenant=1", signed_url=stream) as carrier:  # the query is not in what was signed
            assert await carrier.until_closed() == (1000, "")
    assert [dict(call.query) for call in calls] == [{"tenant": "1"}, {}]
    assert calls[0].id == CALL
    assert calls[0].from_ == ""


async def test_paths_that_are_none_and_apps_that_drain(serve: Any) -> None:
    app = new_app()
    app.answer("/answer", until_ended)
    app.stream("/bare", until_ended)
    async with serve(app) as url:
        stream = url.replace("http", "ws")
        for path in ("/answer", "/answer/stream/", "/nowhere", "/"):
            if path == "/answer/stream/":
                await refused(stream + path)
                continue
            with pytest.raises(InvalidStatus) as caught:
                await refused(stream + path)
            assert caught.value.response.status_code == 404
        await app.stop(0.0)
        with pytest.raises(InvalidStatus) as caught:
            await refused(stream + "/bare")
        assert caught.value.response.status_code == 503


async def test_without_an_auth_token_the_mistake_is_named() -> None:
    app = App(auth_token="", check_signatures=True)
    app.stream("/bare", until_ended)
    with pytest.raises(UsageError, match="PLIVO_AUTH_TOKEN"):
        app.accept(UpgradeRequest("/bare"))


def test_below() -> None:
    assert below("", "/a") == "/a"
    assert below("/m", "/m/a") == "/a"
    assert below("/m", "/m") == "/"
    assert below("/m", "/a") == "/a"
    assert below("/m", "/mine/a") == "/mine/a"
