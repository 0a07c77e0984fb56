"""What is sent twice and what never is, what errors say, and what no error tells. In virtual time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web
from tests.app.fake_rest import AUTH_ID, TOKEN, FakeRest, Reply, fake_rest

from bothway.app.rest_link import MAX_ANSWER, RestError, RestLink
from bothway.errors import UsageError

pytestmark = pytest.mark.virtual_time

GONE = ConnectionResetError()


def link(rest: FakeRest, token: str = TOKEN) -> RestLink:
    return RestLink(rest.url + "/", AUTH_ID, token)


async def failed(rest: FakeRest, method: str = "GET", **more: object) -> RestError:
    one = link(rest)
    with pytest.raises(RestError) as caught:
        await one.ask(method, "Call", "c", **more)  # type: ignore[arg-type]
    await one.close()
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "faults",
    # aiohttp sends what lost its connection a second time at once.
    [[GONE] * 4, [(502, b"bad gateway")] * 2, [(503, {"error": "later"})] * 2],
    ids=["gone", "502", "503"],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_get_and_a_delete_are_sent_again(faults: list[Reply | Exception], method: str) -> None:
    async with fake_rest() as rest:
        rest.replies = [*faults, (200, {"a": 1})]
        one = link(rest)
        before = asyncio.get_running_loop().time()
        assert await one.ask(method, "Call", "c") == {"a": 1}
        assert 1.2 <= asyncio.get_running_loop().time() - before < 1.5
        await one.close()
        assert rest.lines == [f"{method} /Call/c/"] * (len(faults) + 1)


async def test_three_times_is_enough() -> None:
    async with fake_rest() as rest:
        rest.replies = [(500, {"error": "no"})] * 5
        error = await failed(rest)
        assert (error.status, error.error, error.may_have_acted) == (500, "no", True)
        assert len(rest.seen) == 3


@pytest.mark.parametrize("fault", [GONE, (500, {"error": "lost"})], ids=["gone", "500"])
async def test_a_post_that_may_have_acted_is_not(fault: Reply | Exception) -> None:
    async with fake_rest() as rest:
        rest.replies = [fault]
        error = await failed(rest, "POST", body={}, key="k-1")
        assert error.may_have_acted
        assert error.idempotency_key == "k-1"
        assert len(rest.seen) == 1


async def test_a_post_is_repeated_where_the_carrier_knows_its_key() -> None:
    async with fake_rest() as rest:
        rest.replies = [GONE, (500, b""), (201, {"ok": 1})]
        one = link(rest)
        assert await one.ask("POST", "Call", body={"a": "b"}, key="k-1", may_repeat=True) == {"ok": 1}
        await one.close()
        assert [(seen.body, seen.headers["Idempotency-Key"]) for seen in rest.seen] == [({"a": "b"}, "k-1")] * 3


async def test_what_was_deleted_by_a_lost_request_is_deleted() -> None:
    async with fake_rest() as rest:
        rest.replies = [GONE, (404, {"error": "not found"})]
        one = link(rest)
        assert await one.ask("DELETE", "Recording", "r") == {}
        await one.close()
        rest.replies = [(404, {"error": "not found"})]
        assert (await failed(rest, "DELETE")).status == 404


async def test_a_post_is_sent_again_while_there_is_no_connection() -> None:
    one = RestLink("http://127.0.0.1:9/v1", AUTH_ID, TOKEN)
    before = asyncio.get_running_loop().time()
    with pytest.raises(RestError, match="cannot be reached") as caught:
        await one.ask("POST", "Call", body={})
    assert not caught.value.may_have_acted
    assert asyncio.get_running_loop().time() - before == pytest.approx(1.2, abs=0.1)
    await one.close()


async def test_429_is_obeyed_once() -> None:
    async with fake_rest() as rest:
        slow = (429, {"error": "slow down"}, {"Retry-After": "3"})
        rest.replies = [slow, (201, {"ok": 1})]
        one = link(rest)
        before = asyncio.get_running_loop().time()
        assert await one.ask("POST", "Call", body={}) == {"ok": 1}
        assert asyncio.get_running_loop().time() - before == pytest.approx(3, abs=0.1)
        await one.close()
        rest.replies = [slow, slow]
        error = await failed(rest, "POST", body={})
        assert (error.status, error.error, error.may_have_acted) == (429, "slow down", False)
        for later in ("60", "Wed, 21 Oct 2026 07:28:00 GMT", ""):  # beyond the deadline, and what is not understood
            rest.seen.clear()
            rest.replies = [(429, {}, {"Retry-After": later})]
            assert (await failed(rest)).status == 429
            assert len(rest.seen) == 1


async def test_there_is_a_deadline() -> None:
    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = RestLink(f"http://127.0.0.1:{port}/v1", AUTH_ID, TOKEN)
    before = asyncio.get_running_loop().time()
    with pytest.raises(RestError, match="no answer within 10 s") as caught:
        await one.ask("GET", "Call", "c")
    assert caught.value.may_have_acted
    assert asyncio.get_running_loop().time() - before == pytest.approx(10, abs=0.1)
    await one.close()
    server.close()


async def test_errors_say_what_the_carrier_said() -> None:
    async with fake_rest() as rest:
        for status, body, words in (
            (401, {"error": "no"}, r"GET Call/c/: the carrier answered 401 \(no\): the auth id and the auth token"),
            (403, {"error": {"error": "barred"}}, r"answered 403 \(barred\)"),
            (400, b"<html>", "answered 400"),
            (302, b"", "answered 302"),
            (200, b"[]", "no JSON object"),
            (200, b"\xff", "no JSON object"),
            (200, b" " * (MAX_ANSWER + 1), "more than"),
        ):
            rest.replies = [(status, body)] * 3
            error = await failed(rest)
            assert error.status == status
            with pytest.raises(RestError, match=words):
                raise error


async def test_an_empty_answer_is_an_empty_object() -> None:
    async with fake_rest() as rest:
        rest.replies = [(204, None), (200, b" \n")]
        one = link(rest)
        assert await one.ask("DELETE", "Call", "c") == await one.ask("GET", "Call", "c") == {}
        await one.close()
        assert await one.ask("GET", "Call", "c")  # it is open again
        await one.close()


async def test_it_needs_an_account() -> None:
    for auth_id, token, words in (("", "t", "PLIVO_AUTH_ID"), ("MA", "", "PLIVO_AUTH_TOKEN")):
        with pytest.raises(UsageError, match=words):
            await RestLink("http://x", auth_id, token).ask("GET")
        with pytest.raises(UsageError, match=words):
            await RestLink("http://x", auth_id, token).save("http://x/", Path("nowhere"))


# --- files --------------------------------------------------------------------------------------------------------


async def test_a_file_that_breaks_off_is_not_left_behind(tmp_path: Path) -> None:
    async with fake_rest() as rest:
        one = link(rest)
        path = tmp_path / "r.wav"
        path.write_bytes(b"old")
        rest.replies = [(403, {"error": "no"}), GONE, GONE]
        for words in ("answered 403", "broke off"):
            with pytest.raises(RestError, match=words):
                await one.save(f"{rest.url}/Account/{AUTH_ID}/file/", path)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["r.wav"]
        with pytest.raises(UsageError, match="http"):
            await one.save("file:///etc/passwd", path)
        await one.close()


async def test_a_file_that_stalls_or_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nRIFF")
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    before = asyncio.get_running_loop().time()
    one = RestLink("https://carrier.example/v1", AUTH_ID, TOKEN)
    with pytest.raises(RestError, match="nothing more of it came"):
        await one.save(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/r.wav", tmp_path / "r.wav")
    assert asyncio.get_running_loop().time() - before == pytest.approx(10, abs=0.5)
    await one.close()
    server.close()
    monkeypatch.setattr("bothway.app.rest_link.MAX_RECORDING", 3)
    async with fake_rest() as rest:
        one = link(rest)
        rest.replies = [(200, b"RIFF")]
        with pytest.raises(RestError, match="longer than 3 bytes"):
            await one.save(f"{rest.url}/Account/{AUTH_ID}/file/", tmp_path / "r.wav")
        await one.close()
    assert not os.listdir(tmp_path)


async def test_strangers_do_not_see_the_credentials(tmp_path: Path) -> None:
    shown: list[str | None] = []

    async def file(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.Response(body=b"RIFF")

    application = web.Application()
    application.router.add_get("/{rest:.*}", file)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    elsewhere = f"http://127.0.0.1:{runner.addresses[0][1]}/r.wav"
    async with fake_rest() as rest:
        one = link(rest)
        assert await one.save(elsewhere, tmp_path / "a.wav") == 4
        rest.replies = [(302, b"", {"Location": elsewhere})]
        assert await one.save(f"{rest.url}/Account/{AUTH_ID}/file/", tmp_path / "b.wav") == 4
        assert "Authorization" in rest.seen[0].headers
        await one.close()
    assert shown == [None, None]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("api", "url", "is_trusted"),
    [
        ("https://api.plivo.com/v1", "https://media.plivo.com/r.mp3", True),
        ("https://api.plivo.com/v1", "http://media.plivo.com/r.mp3", False),
        ("https://api.plivo.com/v1", "https://media.plivo.com.evil.example/r.mp3", False),
        ("https://api.plivo.com/v1", "https://evilplivo.com/r.mp3", False),
        ("https://carrier.example/v1", "https://carrier.example/media/r.mp3", True),
        ("https://carrier.example/v1", "https://media.plivo.com/r.mp3", False),
        ("https://carrier.example/v1", "https://carrier.example:8443/r.mp3", False),
    ],
)
def test_who_is_trusted(api: str, url: str, is_trusted: bool) -> None:
    assert RestLink(api, AUTH_ID, TOKEN)._is_trusted(url) is is_trusted
