from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plivo.utils import validate_signature, validate_v3_signature
from tests.carrier.world import ACCOUNT, Request, Socket, World, page, until, world

from bothway.carrier import webhook_client as module
from bothway.carrier.webhook_client import WebhookClient
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.errors import PeerError
from bothway.wire.signature import verify

pytestmark = pytest.mark.virtual_time


class Book:
    """A call's log, as far as this client writes it."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def record(self, event: str, **facts: Any) -> None:
        self.records.append({"event": event, **facts})


@asynccontextmanager
async def client(data: Path) -> AsyncIterator[tuple[World, WebhookClient, Book]]:
    async with world(data) as w:
        book = Book()
        assert w.carrier._node is not None
        webhooks = WebhookClient(w.carrier._node, ACCOUNT, book.record)
        yield w, webhooks, book
        await webhooks.close()


def check_signed(request: Request) -> None:
    """As our own app verifies it, and as the official SDK does."""
    params = request.form if request.method == "POST" else None
    for names in ("V3", "Ma-V3"):
        found = verify(
            {
                "X-Plivo-Signature-V3": request.headers[f"x-plivo-signature-{names.lower()}"],
                "X-Plivo-Signature-V3-Nonce": request.headers["x-plivo-signature-v3-nonce"],
            },
            request.method,
            [request.url],
            params,
            [ACCOUNT.auth_token],
        )
        assert found is not None
        assert validate_v3_signature(
            request.method,
            request.url,
            request.headers["x-plivo-signature-v3-nonce"],
            ACCOUNT.auth_token,
            request.headers[f"x-plivo-signature-{names.lower()}"],
            dict(request.form),
        )
    assert validate_signature(
        request.url, request.headers["x-plivo-signature-v2-nonce"], request.headers["x-plivo-signature-v2"],
        ACCOUNT.auth_token,
    )  # fmt: skip
    for nonce in ("v2", "v3"):
        digits = request.headers[f"x-plivo-signature-{nonce}-nonce"]
        assert digits.isdigit()
        assert len(digits) == 20
    assert request.headers["user-agent"] == "Plivo"
    assert "x-plivo-signature" in request.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("query", ["", "?a=1", "?b=x%20y&a=1+2"])
async def test_documents_and_callbacks_are_signed(tmp_path: Path, method: str, query: str) -> None:
    async with client(tmp_path) as (w, webhooks, _):
        params = {"CallUUID": "x", "From": "15550001", "Empty": "", "Odd": "a&b=c +ü" if method == "POST" else "a b"}
        w.site.pages["/doc"] = page("<Response/>")
        assert await webhooks.fetch("answer", f"{w.site.url}/doc{query}", method, params) == b"<Response/>"
        webhooks.call_back("hangup", f"{w.site.url}/bye{query}", method, params)
        await until(lambda: len(w.site.requests) == 2)
        for request in w.site.requests:
            assert request.method == method
            assert params.items() <= request.params.items()
            assert bool(request.body) == (method == "POST")
            check_signed(request)
        nonces = {request.headers["x-plivo-signature-v3-nonce"] for request in w.site.requests}
        assert len(nonces) == 2


@pytest.mark.usefixtures("both_times")
@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_every_request_of_a_call_is_signed(tmp_path: Path, profile: Profile) -> None:
    """The answer URL, where it redirects to, the fallback, <Redirect>, the status callbacks and the hangup URL."""

    async def app(socket: Socket) -> None:
        await socket.until("media")

    async with world(tmp_path, app, profile=profile) as w:
        w.site.pages["/moved"] = page("<html/>")
        following = f"{w.site.url}/next?x=1"
        w.site.pages["/fallback"] = page(f"<Response><Redirect method='GET'>{following}</Redirect></Response>")
        w.site.pages["/next"] = w.stream(statusCallbackUrl=w.site.url + "/status")
        caller = await w.call(
            page(b"", "307 Temporary Redirect", "Location: /moved?y=2"), fallback_url=w.site.url + "/fallback#rc=0"
        )
        w.check_accounted(caller, 4010)
        asked = [request.path for request in w.site.requests]
        assert asked == ["/answer", "/moved", "/fallback", "/next", "/status", "/status", "/hangup"]
        for request in w.site.requests:
            check_signed(request)
        nonces = [request.headers["x-plivo-signature-v3-nonce"] for request in w.site.requests]
        assert len(set(nonces)) == len(nonces)


async def test_an_answer_document_is_tried_again_as_its_url_asks(tmp_path: Path) -> None:
    async def busy_at_first(request: Request) -> bytes:
        return page("<Response/>") if len(w.site.asked("/busy")) == 3 else page(b"", "503 Busy")

    async with world(tmp_path) as w:
        w.site.pages["/busy"] = busy_at_first
        caller = await w.call(page(b""), answer_url=w.site.url + "/busy#rc=2&rp=5xx")
        w.check_accounted(caller, 4010)
        assert [request.path for request in w.site.requests] == ["/busy"] * 3 + ["/hangup"]


async def test_callbacks_to_one_server_come_in_order(tmp_path: Path) -> None:
    async def slowly_at_first(request: Request) -> bytes:
        await asyncio.sleep(0.05 if request.params["n"] == "0" else 0)
        return page(b"")

    async with client(tmp_path) as (w, webhooks, book):
        for number in range(20):
            path = f"/{number % 3}"
            w.site.pages[path] = slowly_at_first
            webhooks.call_back("stream", w.site.url + path, "POST", {"n": str(number), "Event": "started"})
        await webhooks.close()
        assert [request.params["n"] for request in w.site.requests] == [str(number) for number in range(20)]
        assert [record["status"] for record in book.records] == [200] * 20
        assert book.records[0] == {
            "event": "callback", "kind": "stream", "url": w.site.url + "/0", "what": "started", "status": 200,
        }  # fmt: skip
        assert w.metric("bothway_callbacks_total", outcome="delivered") == 20
        webhooks._queues.clear()
        webhooks._deliveries.clear()


async def test_a_dead_server_does_not_hold_up_the_others(tmp_path: Path) -> None:
    hang = asyncio.Event()

    async def never(request: Request) -> bytes:
        await hang.wait()
        return page(b"")

    async with client(tmp_path) as (w, webhooks, _):
        w.site.pages["/never"] = never
        dead = w.site.url.replace("127.0.0.1", "localhost") + "/never"
        webhooks.call_back("stream", dead, "POST", {"Event": "started"})
        webhooks.call_back("hangup", w.site.url + "/hangup", "POST", {"Event": "Hangup"})
        await until(lambda: w.site.asked("/hangup"))
        assert not hang.is_set()
        hang.set()


async def test_a_callback_that_fails_is_on_record_and_the_next_is_delivered(tmp_path: Path) -> None:
    async with client(tmp_path) as (w, webhooks, book):
        w.site.pages["/500"] = page(b"", "500 Oops")
        secret = "?password=hunter2"
        webhooks.call_back("stream", w.site.url + "/500" + secret, "POST", {"Event": "started"})
        webhooks.call_back("stream", "no URL", "POST", {"Event": "started"})
        webhooks.call_back("stream", w.site.url + "/put", "PUT", {"Event": "started"})
        webhooks.call_back("hangup", w.site.url + "/hangup", "POST", {"Event": "Hangup"})
        await until(lambda: len(book.records) == 4)
        errors = sorted(record.get("error", "") for record in book.records)
        assert errors[0] == ""
        assert "answered 500" in errors[3] or "answered 500" in "".join(errors)
        assert "hunter2" not in str(book.records)
        assert w.metric("bothway_callbacks_total", outcome="abandoned") == 3
        assert len(w.site.asked("/500")) == 1, "a status is not tried again unless the URL asks for it"


async def test_the_policy_in_the_fragment(tmp_path: Path) -> None:
    async with client(tmp_path) as (w, webhooks, book):
        w.site.pages["/500"] = page(b"", "500 Oops")
        webhooks.call_back("hangup", w.site.url + "/500#rc=2&rp=5xx", "POST", {})
        await until(lambda: book.records)
        assert len(w.site.asked("/500")) == 3
        webhooks.call_back("stream", w.site.url + "/500#rc=2&rp=5xx", "POST", {})
        await until(lambda: len(book.records) == 2)
        assert len(w.site.asked("/500")) == 4, "a stream's status callback has no policy of its own"
        assert "#" not in w.site.requests[0].url


async def test_only_so_many_callbacks_wait_but_for_the_hangup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLBACKS", 3)
    gate = asyncio.Event()

    async def wait(request: Request) -> bytes:
        await gate.wait()
        return page(b"")

    async with client(tmp_path) as (w, webhooks, book):
        w.site.pages["/status"] = wait
        url = w.site.url
        webhooks.call_back("stream", url + "/status", "POST", {"n": "first"})
        await until(lambda: w.site.requests)
        for number in range(5):
            webhooks.call_back("stream", url + "/status", "POST", {"n": str(number)})
        webhooks.call_back("hangup", url + "/hangup", "POST", {"n": "last"})
        assert [record["error"] for record in book.records] == ["too many callbacks are waiting: dropped"] * 2
        gate.set()
        await until(lambda: w.site.asked("/hangup"))
        assert [request.params["n"] for request in w.site.requests] == ["first", "0", "1", "2", "last"]


async def test_a_document_that_cannot_be_had(tmp_path: Path) -> None:
    async def never(request: Request) -> bytes:
        await asyncio.sleep(60)
        return b""

    async with client(tmp_path) as (w, webhooks, _):
        w.site.pages["/never"] = never
        w.site.pages["/404"] = page(b"", "404 Not Found")
        with pytest.raises(PeerError, match=r"/never\?… gave no document within 15 s"):
            await webhooks.fetch("answer", w.site.url + "/never?token=x", "POST", {})
        with pytest.raises(PeerError, match="answered 404"):
            await webhooks.fetch("redirect", w.site.url + "/404", "POST", {})
        assert w.metric("bothway_http_fetches_total", kind="answer", outcome="timeout") == 1
        assert w.metric("bothway_http_fetches_total", kind="action", outcome="status") == 1
        assert w.metric("bothway_http_fetch_seconds_count", kind="answer") == 1
