from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.runtime import http
from bothway.runtime.http import (
    MAX_REDIRECTS,
    FetchError,
    FetchPolicy,
    FetchReason,
    HttpClient,
    HttpRequester,
    HttpResponse,
    is_public,
    redacted,
    server_of,
)
from bothway.wire.signature import Nonces, candidates, verify, webhook_headers

ONCE = FetchPolicy(retries=0)
FAST = FetchPolicy(connect_ms=300, read_ms=150, total_ms=2000, retries=0)
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A real HTTP server on loopback; gives its origin."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Seen:
    """An answer that remembers what it was asked."""

    def __init__(self, answers: Callable[[web.BaseRequest], web.StreamResponse] | None = None) -> None:
        self.requests: list[tuple[str, str, str, Mapping[str, str]]] = []
        self.answers = answers or (lambda _: web.Response(text="<Response/>"))

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, await request.text(), request.headers))
        return self.answers(request)

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        return [request[:3] for request in self.requests]


async def get(url: str, policy: FetchPolicy = ONCE, max_body: int = 1000, **more: Any) -> HttpResponse:
    async with HttpClient(allow_private=True) as client:
        return await client.request("GET", url, policy=policy, max_body=max_body, **more)


async def failing(url: str, policy: FetchPolicy = ONCE, *, client: HttpClient | None = None, **more: Any) -> FetchError:
    async with client or HttpClient(allow_private=True) as asked:
        with pytest.raises(FetchError) as caught:
            await asked.request("GET", url, policy=policy, max_body=1000, **more)
    return caught.value


def redirecting(to: Callable[[web.BaseRequest], str | None], status: int = 302) -> Seen:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        location = to(request)
        return web.Response(status=status, headers={"Location": location}) if location else web.Response(text="done")

    return Seen(answer)


# --- the policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fragment", "policy"),
    [
        ("", FetchPolicy()),
        ("#ct=500&rt=1000&tt=3000&rc=3&rp=4xx,5xx", FetchPolicy(500, 1000, 3000, 3, frozenset({"4xx", "5xx"}))),
        ("#ct=1&rt=1&tt=1&rc=0", FetchPolicy(100, 100, 100, 0)),
        ("#ct=99999&rt=99999&tt=99999&rc=9", FetchPolicy(10_000, 40_000, 55_000, 5)),
        ("#rp=all&er=mumbai", FetchPolicy(retry_on=frozenset({"ct", "rt", "4xx", "5xx"}))),
        ("#rp=RT,%20ct,never", FetchPolicy()),
        ("#rp=never&ct=-5&rt=1e3&tt=٣٠٠٠&rc=9999999999", FetchPolicy()),
        ("#section-2", FetchPolicy()),
    ],
)
def test_the_policy_is_the_fragment_clamped(fragment: str, policy: FetchPolicy) -> None:
    assert FetchPolicy.parse(f"https://h.example/answer?a=1{fragment}") == policy


@given(st.text())
def test_any_text_has_a_policy_within_the_ranges(url: str) -> None:
    policy = FetchPolicy.parse(f"#{url}")
    assert 100 <= policy.connect_ms <= 10_000
    assert 0 <= policy.retries <= 5


# --- what is sent --------------------------------------------------------------------------------------------------


async def test_a_post_sends_a_form() -> None:
    seen = Seen()
    async with serving(seen) as origin, HttpClient(allow_private=True) as client:
        response = await client.request(
            "POST", f"{origin}/a?x=1#rc=0", form={"To": "+1 555", "n": "é"}, policy=ONCE, max_body=100
        )
    assert seen.lines == [("POST", "/a?x=1", "To=%2B1+555&n=%C3%A9")]
    headers = seen.requests[0][3]
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (headers["User-Agent"], headers["Accept"]) == ("Plivo", "*/*")
    assert (response.status, response.body, response.url) == (200, b"<Response/>", f"{origin}/a?x=1")
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/a", "/a?From=%2B1&e="),
        ("/a?x=1#rc=0", "/a?x=1&From=%2B1&e="),
        ("/a?", "/a?From=%2B1&e="),
        ("/a%20b?x=%2B%2f", "/a%20b?x=%2B%2f&From=%2B1&e="),
        ("/é b", "/%C3%A9%20b?From=%2B1&e="),
        ("", "/?From=%2B1&e="),
    ],
)
async def test_a_get_appends_its_form_to_the_query_and_leaves_the_url_as_written(path: str, line: str) -> None:
    seen = Seen()
    async with serving(seen) as origin:
        await get(origin + path, form={"From": "+1", "e": ""})
    assert seen.lines == [("GET", line, "")]


async def test_headers_are_added_and_credentials_of_the_url_become_one() -> None:
    seen = Seen()
    async with serving(seen) as origin:
        response = await get(origin.replace("//", "//us%40er:p%3Aw@") + "/a", headers={"X-More": "1", "accept": "a/b"})
    headers = seen.requests[0][3]
    assert headers["Authorization"] == "Basic dXNAZXI6cDp3"
    assert (headers["X-More"], headers.getall("Accept")) == ("1", ["a/b"])  # type: ignore[attr-defined]
    assert response.url == f"{origin}/a"


async def test_the_memory_of_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with serving(Seen()) as origin:
        assert (await get(origin)).status == 200


# --- signatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_signed_is_what_the_app_can_verify(method: str) -> None:
    seen = Seen()

    def sign(method: str, url: str, form: Mapping[str, str]) -> Mapping[str, str]:
        return webhook_headers(method, url, form, "token", "token", Nonces("1", "2"))

    async with serving(seen) as origin, HttpClient(allow_private=True) as client:
        url = origin.replace("//", "//user:password@") + "/answer?b=2&a=x%20y#rc=0"
        await client.request(method, url, form={"From": "+1 é"}, policy=ONCE, max_body=100, sign=sign)
        form = {"From": "+1 é"} if method == "POST" else {}
        sent = seen.requests[0]
        assert verify(sent[3], method, candidates(origin + sent[1]), form, ["token"]) is not None


async def test_each_hop_and_each_try_is_signed_anew() -> None:
    asked: list[tuple[str, str, dict[str, str]]] = []

    def sign(method: str, url: str, form: Mapping[str, str]) -> Mapping[str, str]:
        asked.append((method, url, dict(form)))
        return {"X-Plivo-Signature-V3": str(len(asked))}

    seen = redirecting(lambda request: "/b?y=2#part" if request.path == "/a" else None, 307)
    async with serving(seen) as origin, HttpClient(allow_private=True) as client:
        await client.request("POST", f"{origin}/a", form={"k": "v"}, policy=ONCE, max_body=100, sign=sign)
    assert asked == [("POST", f"{origin}/a", {"k": "v"}), ("POST", f"{origin}/b?y=2", {"k": "v"})]
    assert [request[3]["X-Plivo-Signature-V3"] for request in seen.requests] == ["1", "2"]


# --- redirects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "second"),
    [
        (301, ("GET", "/b", "")),
        (302, ("GET", "/b", "")),
        (303, ("GET", "/b", "")),
        (307, ("POST", "/b", "k=v")),
        (308, ("POST", "/b", "k=v")),
    ],
)
async def test_a_redirected_post_is_repeated_as_browsers_do(status: int, second: tuple[str, str, str]) -> None:
    seen = redirecting(lambda request: "b" if request.path == "/a" else None, status)
    async with serving(seen) as origin, HttpClient(allow_private=True) as client:
        response = await client.request("POST", f"{origin}/a", form={"k": "v"}, policy=ONCE, max_body=100)
    assert seen.lines == [("POST", "/a", "k=v"), second]
    assert (response.body, response.url) == (b"done", f"{origin}/b")


async def test_redirects_end_after_five() -> None:
    seen = redirecting(lambda request: f"/{int(request.path[1:]) + 1}")
    async with serving(seen) as origin:
        error = await failing(f"{origin}/0", FetchPolicy(retry_on=frozenset({"ct", "rt", "4xx", "5xx"})))
    assert error.reason == "redirects"
    assert len(seen.requests) == MAX_REDIRECTS + 1


async def test_five_redirects_are_followed() -> None:
    seen = redirecting(lambda request: f"/{int(request.path[1:]) + 1}" if request.path != "/5" else None)
    async with serving(seen) as origin:
        assert (await get(f"{origin}/0")).url == f"{origin}/5"


async def test_credentials_stay_with_their_origin() -> None:
    stranger = Seen()
    async with serving(stranger) as other:
        first = redirecting(lambda request: "/b" if request.path == "/a" else f"{other}/c")
        async with serving(first) as origin:
            headers = {"Cookie": "c=1", "X-Plivo-Signature": "s", "X-More": "1"}
            await get(origin.replace("//", "//user:password@") + "/a", headers=headers)
    assert [request[3].get("Authorization", "")[:5] for request in first.requests] == ["Basic", "Basic"]
    assert [request[3].get("Cookie") for request in first.requests] == ["c=1", "c=1"]
    sent = stranger.requests[0][3]
    assert not {"Authorization", "Cookie", "X-Plivo-Signature"} & set(sent)
    assert sent["X-More"] == "1"


@pytest.mark.parametrize("location", ["ftp://h/x", "mailto:a@b", "http://[half", "http://h:99999/"])
async def test_a_redirect_to_what_is_no_url_is_refused(location: str) -> None:
    async with serving(redirecting(lambda _: location)) as origin:
        assert (await failing(f"{origin}/a")).reason == "invalid-url"


async def test_a_redirect_without_a_place_is_a_bad_status() -> None:
    async with serving(Seen(lambda _: web.Response(status=302))) as origin:
        error = await failing(f"{origin}/a")
    assert error.reason == "status"
    assert error.response is not None
    assert error.response.status == 302


# --- private networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "ff0e::1", "fec0::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::1",
        "2001::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_one_host_on_the_internet(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]
)
def test_addresses_on_the_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_by_itself(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        dressed = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(address))
        assert is_public(dressed) == is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]",
             "0.0.0.0", "127.0.0.1."]
)  # fmt: skip
async def test_our_own_network_is_not_reached_under_any_name(host: str) -> None:
    seen = Seen()
    async with serving(seen) as origin:
        error = await failing(f"http://{host}:{origin.rpartition(':')[2]}/", client=HttpClient())
    assert error.reason in ("private", "connect", "invalid-url")
    if host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
        assert error.reason == "private"
        assert str(error).endswith("is in a private network, where requests may not go")
    assert not seen.requests


async def test_a_redirect_into_a_private_network_is_refused_where_it_leads() -> None:
    seen = redirecting(lambda request: f"http://127.0.0.2:{request.url.port}/secret")
    client = HttpClient(allow_networks=["127.0.0.1/32"])
    async with serving(seen) as origin:
        error = await failing(f"{origin}/a", FetchPolicy(retry_on=frozenset({"ct", "rt", "4xx", "5xx"})), client=client)
    assert error.reason == "private"
    assert [path for _, path, _ in seen.lines] == ["/a"]


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "2130706433", "127.1"])
def test_no_socket_is_made_for_an_address_whatever_it_was_resolved_from(address: str) -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))
    with pytest.raises(OSError, match="not a public one"):
        HttpClient(allow_networks=["10.2.0.0/16"])._socket(info)
    HttpClient(allow_private=True)._socket(info).close()


def test_a_network_may_be_allowed() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.2.3.4", 80))
    HttpClient(allow_networks=["10.2.0.0/16"])._socket(info).close()


def test_a_network_to_allow_is_checked_at_once() -> None:
    with pytest.raises(UsageError, match="written like"):
        HttpClient(allow_networks=["10.1.0.0/99"])


# --- failures ------------------------------------------------------------------------------------------------------


async def test_nobody_listening_is_told_and_tried_again() -> None:
    async with serving(Seen()) as origin:
        pass
    error = await failing(f"{origin}/a?token=secret", FetchPolicy())
    assert (error.reason, error.failure) == ("connect", "ct")
    assert str(error).startswith(f"{origin}/a?… could not be connected to: ")
    assert "secret" not in str(error)


async def test_a_name_that_nobody_has_cannot_be_connected_to() -> None:
    assert (await failing("http://nobody.invalid/")).reason in ("connect", "private")


async def test_a_certificate_that_nobody_vouches_for_cannot_be_connected_to() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(Seen(), tls) as origin:
        error = await failing(origin)
    assert error.reason == "connect"
    assert "certificate" in str(error)


async def test_a_handshake_that_never_ends_runs_out_of_time() -> None:
    open_until = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await open_until.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failing(f"https://127.0.0.1:{port}/", FAST)
        open_until.set()
    assert (error.reason, error.failure) == ("connect", "ct")
    assert "within 300 ms" in str(error)


async def test_an_answer_that_does_not_start_runs_out_of_time() -> None:
    done = asyncio.Event()

    async def late(_: web.BaseRequest) -> web.StreamResponse:
        await done.wait()
        return web.Response()

    async with serving(late) as origin:
        error = await failing(origin, FAST)
        done.set()
    assert (error.reason, error.failure) == ("timeout", "rt")
    assert "sent nothing for 150 ms" in str(error)


async def test_a_body_that_drips_runs_out_of_the_total_time_and_is_not_tried_again() -> None:
    hits = 0

    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal hits
        hits += 1
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return response

    async with serving(drip) as origin:
        error = await failing(origin, FetchPolicy(read_ms=200, total_ms=300, retries=3))
    assert error.reason == "timeout"
    assert "not done within 300 ms" in str(error)
    assert hits == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_bound_is_refused(announced: bool) -> None:
    async def huge(request: web.BaseRequest) -> web.StreamResponse:
        if announced:
            return web.Response(body=b"x" * 1001)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(10_000):
                await response.write(b"x" * 1000)
        except ConnectionError:
            pass  # the client hung up, as it should
        return response

    async with serving(huge) as origin:
        error = await failing(origin, FetchPolicy())
    assert (error.reason, error.failure) == ("too-large", None)
    assert "more than 1000 bytes" in str(error)


async def test_a_body_of_just_the_bound_is_read() -> None:
    async with serving(Seen(lambda _: web.Response(body=b"x" * 1000))) as origin:
        assert len((await get(origin)).body) == 1000
        assert (await get(f"{origin}/")).headers["Content-Length"] == "1000"


async def test_a_compressed_body_is_not_asked_for_and_not_unpacked() -> None:
    def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"", headers={"Content-Encoding": "gzip"})

    seen = Seen(answer)
    async with serving(seen) as origin:
        error = await failing(origin)
    assert error.reason == "broken"
    assert seen.requests[0][3]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"SIP/2.0 200 OK\r\n\r\n"])
async def test_an_answer_that_is_not_whole_is_broken(said: bytes) -> None:
    hits = 0

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hits
        hits += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a?token=secret"
        error = await failing(url, FetchPolicy(retries=1, retry_on=frozenset({"rt"})))
    assert (error.reason, error.failure) == ("broken", "rt")
    assert "secret" not in str(error)
    assert hits >= 2


@pytest.mark.parametrize(
    ("status", "rp", "tries"),
    [(503, "5xx", 3), (503, "4xx", 1), (404, "4xx", 3), (404, "ct,rt", 1), (500, "all", 3), (304, "all", 1)],
)
async def test_a_status_is_tried_again_only_where_the_url_asks(status: int, rp: str, tries: int) -> None:
    seen = Seen(lambda _: web.Response(status=status, text="why" if status != 304 else None))
    async with serving(seen) as origin:
        url = f"{origin}/a#rc=2&rp={rp}"
        error = await failing(url, FetchPolicy.parse(url))
    assert len(seen.requests) == tries
    assert error.reason == "status"
    assert error.response is not None
    assert error.response.status == status
    assert error.response.body == (b"why" if status != 304 else b"")
    assert str(error) == f"{origin}/a answered {status}"


async def test_a_later_try_may_succeed() -> None:
    statuses = iter([503, 500, 200])
    seen = Seen(lambda _: web.Response(status=next(statuses)))
    async with serving(seen) as origin:
        assert (await get(origin, FetchPolicy.parse("#rc=5&rp=5xx"))).status == 200
    assert len(seen.requests) == 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "ws://h/",
        "http://",
        "http:///a",
        "http://[half",
        "http://h:0x50/",
        "mailto:a@b",
        "http://a..b/",
        "http://a b/",
        "http://" + "a" * 64 + ".example/",
    ],
)
async def test_what_is_no_http_url_is_refused(url: str) -> None:
    assert (await failing(url)).reason == "invalid-url"


# --- the client itself ---------------------------------------------------------------------------------------------


async def test_a_method_without_a_meaning_here_is_the_callers_fault() -> None:
    async with HttpClient() as client:
        with pytest.raises(UsageError, match="not a DELETE"):
            await client.request("DELETE", "http://h/", policy=ONCE, max_body=1)


async def test_a_closed_client_is_closed() -> None:
    client = HttpClient(allow_private=True)
    async with serving(Seen()) as origin:
        await client.request("GET", origin, policy=ONCE, max_body=100)
        await client.close()
        await client.close()
        with pytest.raises(UsageError, match="closed"):
            await client.request("GET", origin, policy=ONCE, max_body=100)


async def test_a_host_that_hangs_leaves_connections_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_CONNECTIONS", 4)
    monkeypatch.setattr(http, "_CONNECTIONS_A_HOST", 2)
    over = asyncio.Event()

    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with serving(hang) as slow, serving(Seen()) as quick, HttpClient(allow_private=True) as client:

        async def ask(url: str) -> int:
            return (await client.request("GET", url, policy=ONCE, max_body=1000)).status

        hanging = [asyncio.create_task(ask(slow)) for _ in range(4)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(ask(quick), 1.0) == 200
        over.set()
        assert await asyncio.gather(*hanging) == [200] * 4


async def test_cancelling_a_request_lets_it_go() -> None:
    started, done = asyncio.Event(), asyncio.Event()

    async def late(_: web.BaseRequest) -> web.StreamResponse:
        started.set()
        await done.wait()
        return web.Response()

    async with serving(late) as origin:
        task = asyncio.create_task(get(origin))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done.set()


class InMemory:
    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        policy: FetchPolicy,
        max_body: int,
        sign: Callable[[str, str, Mapping[str, str]], Mapping[str, str]] | None = None,
    ) -> HttpResponse:
        return HttpResponse(200, {}, b"", url)


def test_another_transport_can_stand_in() -> None:
    requesters: list[HttpRequester] = [InMemory(), HttpClient()]
    assert len(requesters) == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@h.example:8443/a/b?token=1#rc=0", "https://h.example:8443/a/b?…"),
        ("http://h/", "http://h/"),
        ("http://[half", "a text that is no URL"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://user:pa@ss@H.example:8443/a?b=http://c#d", "h.example:8443"),
        ("http://[::1]:80/", "[::1]:80"),
        ("http://[::1", ""),
        ("no url", ""),
    ],
)
def test_the_server_of_a_url_is_without_credentials(url: str, server: str) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize(("reason", "message"), [("private", "no"), ("status", "bad")])
def test_an_error_says_its_reason(reason: FetchReason, message: str) -> None:
    error = FetchError(message, reason)
    assert (error.reason, str(error), error.response, error.failure) == (reason, message, None, None)
