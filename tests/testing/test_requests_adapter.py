"""`requests` and the official SDK, answered in memory: on the loop's own thread, and from others."""

# ruff: noqa: ASYNC210 - what blocks is what is tested

from __future__ import annotations

import asyncio
import contextvars
import gzip
import io
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import plivo
import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from tests.testing.live_api import live_api

from bothway.carrier.config import Account
from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send
from bothway.runtime.server import read_body
from bothway.testing.requests_adapter import RequestsAdapter, patched
from bothway.testing.virtual_loop import VirtualLoop

ACCOUNT = Account("MAXXXXXXXXXXXXXXXXXX", "a-token-for-tests-alone")
CALL_ID = "6a9f2a5e-27c1-4d6e-9d6d-5d5a6a0f3b11"


class RefusedError(Exception):
    """What the adapter is told to raise."""


def refuse(what: str, why: str) -> RefusedError:
    return RefusedError(f"{what}. {why}")


@contextmanager
def serving(apps: dict[str, ASGIApp], *, patience: float = 5.0) -> Generator[None]:
    """Serve apps at origins, on the loop that runs."""

    def find(url: str) -> ASGIApp | None:
        return next((app for origin, app in apps.items() if url.startswith(origin)), None)

    adapter = RequestsAdapter(asyncio.get_running_loop(), find=find, patience=patience, refuse=refuse)
    with adapter.diverting():
        yield


class Answers:
    """An application that gives one answer, and keeps what it was asked."""

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        *,
        pieces: int = 1,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.head: Message = {"type": "http.response.start", "status": status, "headers": headers}
        self.body = body
        self.pieces = pieces
        self.before = before
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(await read_body(receive))
        if self.before is not None:
            await self.before()
        await send(self.head)
        size = len(self.body) // self.pieces + 1
        for start in range(0, size * self.pieces, size):
            more = start + size < size * self.pieces
            await send({"type": "http.response.body", "body": self.body[start : start + size], "more_body": more})


def json_answer(value: object, status: int = 200) -> Answers:
    return Answers(json.dumps(value).encode(), status, ((b"content-type", b"application/json"),))


def rest_client(**options: Any) -> Any:
    return plivo.RestClient(ACCOUNT.auth_id, ACCOUNT.auth_token, **options)


# --- the official SDK ---------------------------------------------------------------------------------------------


async def test_the_sdk_hangs_up_through_the_carriers_own_api_inside_of_a_coroutine() -> None:
    live = {CALL_ID}
    with serving({"https://api.plivo.com": live_api(ACCOUNT, live)}):
        rest_client().calls.hangup(CALL_ID)
        assert live == set()
        with pytest.raises(plivo.exceptions.ResourceNotFoundError, match="call not found, or it has ended"):
            rest_client().calls.delete(CALL_ID)
        with pytest.raises(plivo.exceptions.AuthenticationError, match="authentication failed"):
            plivo.RestClient(ACCOUNT.auth_id, "another-token").calls.delete(CALL_ID)
        with pytest.raises(plivo.exceptions.ValidationError, match="Message is not offered here"):
            rest_client().messages.create("1", "2", "text")


async def test_the_sdk_hangs_up_from_a_thread() -> None:
    live = {CALL_ID}
    with serving({"https://api.plivo.com": live_api(ACCOUNT, live)}):
        await asyncio.to_thread(rest_client().calls.hangup, CALL_ID)
        assert live == set()
        with pytest.raises(plivo.exceptions.ResourceNotFoundError, match="call not found"):
            await asyncio.to_thread(rest_client().calls.hangup, CALL_ID)


async def test_the_sdk_hangs_up_from_a_plain_callback_which_is_no_task() -> None:
    live = {CALL_ID}
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def hang_up() -> None:
        assert asyncio.current_task() is None
        done.set_result(rest_client().calls.hangup(CALL_ID))
        assert asyncio.current_task() is None

    with serving({"https://api.plivo.com": live_api(ACCOUNT, live)}):
        loop.call_later(0.001, hang_up)
        await done
    assert live == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_sdk_places_reads_and_changes_calls() -> None:
    made = json_answer({"message": "call fired", "request_uuid": CALL_ID, "api_id": "1"}, 201)
    with serving({"https://api.plivo.com": made}):
        call = rest_client().calls.create(
            from_="+14155550100", to_="+14155550199", answer_url="https://app.test/answer", answer_method="POST"
        )
    assert call.request_uuid == CALL_ID
    assert made.scopes[0]["path"] == f"/v1/Account/{ACCOUNT.auth_id}/Call/"
    assert json.loads(made.bodies[0])["to"] == "+14155550199"

    listed = json_answer({"api_id": "1", "calls": [CALL_ID]})
    with serving({"https://api.plivo.com": listed}):
        assert rest_client().live_calls.list_ids()["calls"] == [CALL_ID]
    assert listed.scopes[0]["query_string"].endswith(b"status=live")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, plivo.exceptions.ValidationError), (500, plivo.exceptions.PlivoServerError)],
)
async def test_an_error_answer_is_raised_as_the_sdks_own(status: int, error: type[Exception]) -> None:
    answer = json_answer({"api_id": "1", "error": "legs is wrong"}, status)
    with serving({"https://api.plivo.com": answer}), pytest.raises(error, match="legs is wrong"):
        rest_client().account.get()


# --- what the application sees ------------------------------------------------------------------------------------


async def test_the_application_is_asked_as_a_server_would_ask_it() -> None:
    app = Answers()
    with serving({"https://app.test": app}):
        requests.post(
            "https://app.test/a%20b/%C3%BC?x=1&y=%20",
            data={"k": "v w"},
            headers={"X-Test": "ü", "X-Bytes": b"raw"},
            auth=("me", "secret"),
            timeout=5,
        )
    (scope,) = app.scopes
    headers = dict(scope.pop("headers"))
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/a b/ü",
        "raw_path": b"/a%20b/%C3%BC",
        "query_string": b"x=1&y=%20",
        "root_path": "",
        "client": ("127.0.0.1", 0),
        "server": ("app.test", 443),
    }
    assert headers[b"host"] == b"app.test"
    assert headers[b"content-length"] == b"5"
    assert headers[b"content-type"] == b"application/x-www-form-urlencoded"
    assert headers[b"authorization"] == b"Basic bWU6c2VjcmV0"
    assert headers[b"x-test"] == "ü".encode("latin-1")
    assert headers[b"x-bytes"] == b"raw"
    assert app.bodies == [b"k=v+w"]


@pytest.mark.parametrize(
    ("url", "host", "server"),
    [
        ("http://app.test/", b"app.test", ("app.test", 80)),
        ("http://app.test:80/", b"app.test", ("app.test", 80)),
        ("http://app.test:8080/", b"app.test:8080", ("app.test", 8080)),
        ("http://[::1]:81/", b"[::1]:81", ("::1", 81)),
        ("http://me:secret@app.test:443/", b"app.test:443", ("app.test", 443)),
    ],
)
async def test_the_host_header_is_as_on_a_socket(url: str, host: bytes, server: tuple[str, int]) -> None:
    app = Answers()
    with serving({"http://": app}):
        requests.get(url, timeout=5)
        requests.get(url, timeout=5, headers={"Host": "other.test"})
    assert [dict(scope["headers"])[b"host"] for scope in app.scopes] == [host, b"other.test"]
    assert app.scopes[0]["server"] == server


def _urllib3(**seconds: float) -> Any:
    """A time-out that `requests` takes, and its types do not."""
    return urllib3.Timeout(**seconds)


def _generated() -> Iterator[bytes]:
    yield b"one "
    yield b"two"


@pytest.mark.parametrize(
    "make", [lambda: b"one two", lambda: "one two", lambda: io.BytesIO(b"one two"), lambda: _generated(), lambda: None]
)
async def test_a_body_of_any_kind_arrives_whole(make: Callable[[], Any]) -> None:
    app = Answers()
    body = make()
    with serving({"http://app.test": app}):
        requests.post("http://app.test/", data=body, timeout=5)
    assert app.bodies == [b"" if body is None else b"one two"]


async def test_after_the_body_an_application_hears_no_more_until_its_answer_is_complete() -> None:
    heard: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not waiting.done()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        heard.append((await waiting)["type"])

    with serving({"http://app.test": app}):
        answer = await asyncio.to_thread(requests.get, "http://app.test/", timeout=5)
    assert answer.status_code == 204
    assert heard == ["http.request", "http.disconnect"]


# --- what the caller gets -----------------------------------------------------------------------------------------


async def test_a_response_has_all_that_one_from_a_socket_has() -> None:
    body = gzip.compress("grüße".encode("latin-1"))
    app = Answers(
        body,
        404,
        (
            (b"content-type", b"text/plain; charset=latin-1"),
            (b"content-encoding", b"gzip"),
            (b"set-cookie", b"a=1; Path=/"),
            (b"set-cookie", b"b=2; Path=/"),
            (b"transfer-encoding", b"chunked"),
        ),
        pieces=3,
    )
    with serving({"https://app.test": app}), requests.Session() as session:
        answer = session.get("https://app.test/x", timeout=(1, 2))
        again = session.get("https://app.test/x", timeout=_urllib3(total=5))
    assert (answer.status_code, answer.reason, answer.ok) == (404, "Not Found", False)
    assert (answer.encoding, answer.text) == ("latin-1", "grüße")
    assert answer.headers["content-type"] == "text/plain; charset=latin-1"
    assert dict(answer.cookies) == {"a": "1", "b": "2"}
    assert again.request.headers["cookie"] == "a=1; b=2"
    assert (answer.url, answer.request.method, answer.history) == ("https://app.test/x", "GET", [])
    assert answer.elapsed.total_seconds() > 0
    with pytest.raises(requests.HTTPError, match="404 Client Error: Not Found"):
        answer.raise_for_status()


async def test_redirects_are_followed_to_where_they_lead() -> None:
    moved = Answers(b"", 307, ((b"location", b"https://b.test/y"), (b"content-length", b"0")))
    with serving({"https://a.test": moved, "https://b.test": Answers(b"here")}):
        answer = requests.get("https://a.test/x", timeout=5)
    assert (answer.text, answer.url) == ("here", "https://b.test/y")
    assert [before.status_code for before in answer.history] == [307]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_an_answer_that_has_no_body_has_none(method: str, status: int) -> None:
    with serving({"http://app.test": Answers(b"12345", status, ((b"content-length", b"5"),))}):
        assert requests.request(method, "http://app.test/", timeout=5).content == b""


async def test_a_response_can_be_streamed() -> None:
    with serving({"http://app.test": Answers(b"0123456789", pieces=4)}):
        answer = requests.get("http://app.test/", stream=True, timeout=5)
        assert list(answer.iter_content(4)) == [b"0123", b"4567", b"89"]


_TOKEN = st.text("abcdefghij-xyz0189", min_size=1, max_size=12).map(lambda name: "x-" + name)


@settings(max_examples=60, deadline=None)
@given(
    status=st.integers(200, 299).filter(lambda it: it != 204),
    headers=st.dictionaries(_TOKEN, st.text("ab c;,=\"'é", max_size=8).map(str.strip), max_size=3),
    asked=st.binary(max_size=300),
    body=st.binary(max_size=300),
    pieces=st.integers(1, 4),
)
def test_bodies_and_headers_arrive_as_they_were_sent(
    status: int, headers: dict[str, str], asked: bytes, body: bytes, pieces: int
) -> None:
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in headers.items())
    app = Answers(body, status, raw, pieces=pieces)

    async def ask() -> requests.Response:
        with serving({"http://app.test": app}):
            return requests.put("http://app.test/", data=asked, headers=headers, timeout=5)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.content, app.bodies) == (status, body, [asked])
    seen = {name.decode(): value.decode("latin-1") for name, value in app.scopes[0]["headers"]}
    assert {name: answer.headers[name] for name in headers} == headers
    assert {name: seen[name] for name in headers} == headers


# --- where it fails -----------------------------------------------------------------------------------------------


async def test_where_no_one_listens_there_is_no_connection() -> None:
    with serving({"https://app.test": Answers()}):
        for url, origin in (
            ("https://x.test/secret?token=1", "https://x.test:443"),
            ("http://[::1]:81/", "http://[::1]:81"),
        ):
            with pytest.raises(requests.ConnectionError) as caught:
                requests.get(url, timeout=5)
            assert str(caught.value).startswith(f"no one listens at {origin} in this network")
            assert "secret" not in str(caught.value)
            assert "token" not in str(caught.value)
            assert caught.value.request is not None


async def test_the_network_may_say_it_in_its_own_words() -> None:
    def find(url: str) -> ASGIApp | None:
        raise ConnectionRefusedError(f"only app.test is here, and not {url}")

    adapter = RequestsAdapter(asyncio.get_running_loop(), find=find, patience=5.0, refuse=refuse)
    with adapter.diverting(), pytest.raises(requests.ConnectionError, match=r"only app\.test is here"):
        requests.get("https://x.test", timeout=5)


async def test_an_application_that_fails_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("a fault of the app")

    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    async def cut_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    with serving(
        {"http://a.test": failing, "http://b.test": silent, "http://c.test": cut_off, "http://d.test": Answers()}
    ):
        assert requests.get("http://a.test", timeout=5).status_code == 500
        assert "a fault of the app" in caplog.text
        assert requests.get("http://b.test", timeout=5).status_code == 500
        assert "the application gave no answer to GET /" in caplog.text
        with pytest.raises(requests.ConnectionError, match=r"http://c\.test:80 broke off its answer"):
            requests.get("http://c.test", timeout=5)
        assert requests.post("http://d.test", data=bytes(2**20 + 1), timeout=5).status_code == 413


async def test_an_answer_that_has_to_wait_for_the_loop_is_refused_and_cleaned_up() -> None:
    left: list[str] = []

    async def waiting() -> None:
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(0.01)
        finally:
            left.append("cleaned up")

    with serving({"http://app.test": Answers(b"late", before=waiting)}):
        with pytest.raises(RefusedError) as caught:
            requests.get("http://app.test/secret", timeout=5)
        assert str(caught.value) == (
            "sends GET to http://app.test:80 and blocks until the answer comes. "
            "The answer has to wait for the event loop, which this very call holds up."
        )
        assert left == ["cleaned up"]
        answer = await asyncio.to_thread(requests.get, "http://app.test/", timeout=5)
    assert answer.text == "late"


async def test_the_callers_task_is_left_as_it_was() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="the caller's")

    async def meddling() -> None:
        variable.set("the application's")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def handler() -> str:
        async with asyncio.timeout(5) as deadline:
            requests.get("http://app.test", timeout=5)
            assert not deadline.expired()
            assert variable.get() == "the caller's"
            await asyncio.sleep(0)
            return "done"

    with serving({"http://app.test": Answers(before=meddling)}):
        task = asyncio.ensure_future(handler())
        assert await task == "done"
        assert not task.cancelling()
        cancelled = asyncio.ensure_future(handler())
        asyncio.get_running_loop().call_soon(cancelled.cancel)
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_a_threads_timeout_is_measured_by_the_loop() -> None:
    never = asyncio.Event()
    with serving({"http://app.test": Answers(before=never.wait)}):
        for timeout in (0.02, (None, 0.02), _urllib3(read=0.02)):
            with pytest.raises(requests.ReadTimeout, match=r"no answer within 0.02 s"):
                await asyncio.to_thread(requests.get, "http://app.test/", timeout=timeout)


async def test_a_thread_does_not_wait_for_ever() -> None:
    never = asyncio.Event()
    told = r"the event loop has not answered within 0\.05 real seconds"
    with (
        serving({"http://app.test": Answers(before=never.wait)}, patience=0.05),
        pytest.raises(requests.ReadTimeout, match=told),
    ):
        await asyncio.to_thread(requests.get, "http://app.test/")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_thread_that_works_for_nobody_does_not_wait_for_ever_for_a_virtual_loop() -> None:
    seen: list[str] = []

    def ask() -> None:
        with pytest.raises(requests.ReadTimeout) as caught:
            requests.get("http://app.test/", timeout=5)
        seen.append(str(caught.value))

    thread = threading.Thread(target=ask, daemon=True)

    async def main() -> None:
        with serving({"http://app.test": Answers()}, patience=0.1):
            thread.start()
            thread.join(0.05)

    loop = VirtualLoop()
    loop.run_until_complete(main())
    thread.join(10)
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    assert seen == ["the event loop has not answered within 0.1 real seconds"]


def test_a_thread_hears_that_the_network_was_closed() -> None:
    never = asyncio.Event()
    seen: list[BaseException] = []

    def ask() -> None:
        try:
            requests.get("http://app.test/", timeout=5)
        except requests.ConnectionError as error:
            seen.append(error)

    thread = threading.Thread(target=ask)

    async def main() -> None:
        asked = asyncio.Event()

        async def waiting() -> None:
            asked.set()
            await never.wait()

        with serving({"http://app.test": Answers(before=waiting)}):
            thread.start()
            await asked.wait()

    asyncio.run(main())
    thread.join()
    assert [str(error) for error in seen] == ["the network was closed before the answer had come"]


# --- which requests are diverted ----------------------------------------------------------------------------------


def test_a_loop_that_does_not_run_answers_nothing() -> None:
    loop = asyncio.new_event_loop()
    adapter = RequestsAdapter(loop, find=lambda _: Answers(), patience=5.0, refuse=refuse)
    with adapter.diverting(), pytest.raises(requests.ConnectionError, match="whose event loop does not run"):
        requests.get("http://app.test", timeout=5)
    loop.close()


async def test_another_loop_in_another_thread_is_another_world(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"

    async def elsewhere() -> str:
        with pytest.raises(requests.ConnectionError) as caught:
            requests.get(url, timeout=5)
        return str(caught.value)

    with serving({"http://": Answers()}):
        assert requests.get(url, timeout=5).status_code == 200
        assert "Connection refused" in await asyncio.to_thread(lambda: asyncio.run(elsewhere()))


async def test_adapters_that_were_mounted_are_left_alone() -> None:
    class Local(requests.adapters.BaseAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            answer = requests.Response()
            answer.status_code = 299
            answer.url = request.url or ""
            return answer

        def close(self) -> None:
            pass

    class Retrying(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            super().send(request, *args, **kwargs)
            return super().send(request, *args, **kwargs)

    app = Answers()
    with serving({"http://": app}), requests.Session() as session:
        session.mount("http://local.test", Local())
        session.mount("http://twice.test", Retrying())
        assert session.get("http://local.test/", timeout=5).status_code == 299
        assert session.get("http://twice.test/", timeout=5).status_code == 200
    assert len(app.scopes) == 2


async def test_the_inner_of_two_answers_and_both_put_everything_back() -> None:
    send = HTTPAdapter.send
    with serving({"http://": Answers(status=201)}):
        with serving({"http://": Answers(status=202)}):
            assert requests.get("http://app.test", timeout=5).status_code == 202
        assert requests.get("http://app.test", timeout=5).status_code == 201
    assert HTTPAdapter.send is send


async def test_a_patch_of_someone_elses_outlives_ours(unused_tcp_port: int) -> None:
    send = HTTPAdapter.send
    with serving({"http://": Answers()}):
        ours = HTTPAdapter.send
        theirs = patched(
            HTTPAdapter, "send", lambda original: lambda self, *args, **kwargs: original(self, *args, **kwargs)
        )
        theirs.__enter__()
    try:
        with pytest.raises(requests.ConnectionError, match="Connection refused"):
            requests.get(f"http://127.0.0.1:{unused_tcp_port}/", timeout=5)
    finally:
        theirs.__exit__(None, None, None)
        assert HTTPAdapter.send is ours
        HTTPAdapter.send = send  # type: ignore[method-assign]


def test_an_inherited_attribute_is_inherited_again() -> None:
    class Parent:
        name = "parent's"

    class Child(Parent):
        pass

    with patched(Child, "name", lambda original: f"not the {original}"):
        assert Child.name == "not the parent's"
    assert "name" not in vars(Child)
    with patched(Parent, "name", str.upper):
        assert Child.name == "PARENT'S"
    assert Child.name == "parent's"


_LATE = """
import asyncio, sys
from bothway.testing.requests_adapter import RequestsAdapter

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body"})

async def main():
    adapter = RequestsAdapter(asyncio.get_running_loop(), find=lambda url: app, patience=5.0, refuse=RuntimeError)
    finders = list(sys.meta_path)
    with adapter.diverting():
        pass
    assert sys.meta_path == finders
    with adapter.diverting(), adapter.diverting():
        assert "requests" not in sys.modules
        import requests
        assert requests.get("https://app.test").status_code == 299
    from requests.adapters import HTTPAdapter
    assert HTTPAdapter.send.__module__ == "requests.adapters"
    assert sys.meta_path == finders

asyncio.run(main())
"""


def test_requests_is_not_imported_for_this_and_diverted_when_the_app_imports_it() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", _LATE], check=True)
