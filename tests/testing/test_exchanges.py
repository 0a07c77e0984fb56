from __future__ import annotations

from collections.abc import Mapping

import pytest

from bothway.runtime.asgi import Message, Receive, Scope, Send
from bothway.runtime.http import FetchError, FetchPolicy, HttpResponse, Sign
from bothway.testing.exchanges import RecordedApi, RecordedHttp, RestRequest, Webhook


class Site:
    """Answers every request the same way."""

    def __init__(self, status: int | None) -> None:
        self.status = status

    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        policy: FetchPolicy,
        max_body: int,
        sign: Sign | None = None,
    ) -> HttpResponse:
        response = HttpResponse(self.status or 0, {}, b"body", url)
        if self.status is None:
            raise FetchError("nobody is there", "connect")
        if self.status >= 300:
            raise FetchError("it says no", "status", response=response)
        return response


async def fetched(status: int | None, method: str, url: str, form: Mapping[str, str] | None) -> tuple[str, Webhook]:
    told: list[tuple[str, Webhook]] = []
    http = RecordedHttp(Site(status), lambda call_id, webhook: told.append((call_id, webhook)))
    request = http.request(method, url, form=form, policy=FetchPolicy(), max_body=10)
    if status == 200:
        assert (await request).body == b"body"
    else:
        with pytest.raises(FetchError):
            await request
    (only,) = told
    return only


async def test_a_request_is_told_with_its_answer() -> None:
    call_id, webhook = await fetched(200, "POST", "https://app.test/answer?x=1", {"CallUUID": "c", "Event": "StartApp"})
    assert call_id == "c"
    expected = {"CallUUID": "c", "Event": "StartApp"}
    assert webhook == Webhook("POST", "https://app.test/answer?x=1", expected, 200, b"body")
    assert webhook.path == "/answer"


async def test_a_request_that_is_refused_or_fails_is_told_too() -> None:
    _, refused = await fetched(404, "POST", "https://app.test/answer", {"CallUUID": "c"})
    assert (refused.status, refused.body, refused.error) == (404, b"body", "it says no")
    _, failed = await fetched(None, "POST", "https://app.test/answer", {"CallUUID": "c"})
    assert (failed.status, failed.body, failed.error) == (None, b"", "nobody is there")


async def test_a_request_without_a_form_is_one_of_no_call() -> None:
    call_id, webhook = await fetched(200, "GET", "https://app.test/prompt.wav?voice=a", None)
    assert call_id == ""
    assert webhook.params == {"voice": "a"}


async def asked(path: str, scope_type: str = "http") -> list[tuple[str, RestRequest]]:
    told: list[tuple[str, RestRequest]] = []
    sent: list[Message] = []

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    recorded = RecordedApi(api, lambda call_id, request: told.append((call_id, request)))
    await recorded({"type": scope_type, "method": "DELETE", "path": path}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return told


async def test_a_rest_request_about_a_call_is_told() -> None:
    path = "/v1/Account/MAX/Call/some-uuid/"
    assert await asked(path) == [("some-uuid", RestRequest("DELETE", path, 204))]
    longer = "/v1/Account/MAX/Call/some-uuid/Stream/"
    assert await asked(longer) == [("some-uuid", RestRequest("DELETE", longer, 204))]


async def test_other_requests_are_passed_on_and_not_told() -> None:
    assert await asked("/healthz") == []
    assert await asked("/v1/Account/MAX/Call/some-uuid/", "lifespan") == []
