from __future__ import annotations

import logging

import pytest
from tests.app.test_routes import handler

from bothway.app.answer import answer_document, answer_query, outside_url
from bothway.app.routes import AnswerRoute
from bothway.app.tokens import StreamToken, read
from bothway.app.verify import SeenRequest
from bothway.wire.callxml import parse
from bothway.wire.signature import Match
from bothway.wire.verbs import Hangup, Speak, Stream
from bothway.wire.webhooks import AnswerRequest

SECRET = b"secret"


def seen(path: str = "/answer", scheme: str = "http", **headers: str) -> SeenRequest:
    return SeenRequest("POST", scheme, path, "a=1", tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def test_where_the_app_is_for_the_outside() -> None:
    match = Match("https://dialled.example:8443/p/answer?a=1", "V3", "https")
    here = seen(host="app:8080", x_forwarded_host="fwd.example", x_forwarded_proto="https", x_forwarded_prefix="/v/")
    assert outside_url(here, match, "https://bot.example") == "https://bot.example/answer"
    assert outside_url(here, match, "https://bot.example/pre") == "https://bot.example/pre/answer"
    assert outside_url(seen("/pre/answer"), match, "https://bot.example/pre") == "https://bot.example/pre/answer"
    assert outside_url(here, match, None) == "https://dialled.example:8443/p/answer"
    assert outside_url(here, None, None) == "https://fwd.example/v/answer"
    assert outside_url(seen(host="app:8080"), None, None) == "http://app:8080/answer"


def document(
    url: str, path: str = "/answer", query: tuple[tuple[str, str], ...] = (), status: str | None = None
) -> Stream:
    route = AnswerRoute(path, handler, (Speak("hello"),), (Hangup(),), Stream("wss://x/", bidirectional=True))
    asked = AnswerRequest("call-1", from_="+1", to="+2", direction="inbound")
    xml = answer_document(route, asked, query, url=url, status_path=status, secret=SECRET, now=1000.0)
    before, stream, after = parse(xml).verbs
    assert (before, after) == (Speak("hello"), Hangup())
    assert isinstance(stream, Stream)
    return stream


@pytest.mark.parametrize(
    ("url", "path", "base", "status"),
    [
        ("https://b.example/answer", "/answer", "wss://b.example/answer/stream/", "https://b.example/status"),
        ("http://b.example:81/answer", "/answer", "ws://b.example:81/answer/stream/", "http://b.example:81/status"),
        ("https://b.example/voice/answer", "/answer", "wss://b.example/voice/answer/stream/",
         "https://b.example/voice/status"),
        ("https://b.example/", "/", "wss://b.example/stream/", "https://b.example/status"),
        ("https://b.example/a%20b", "/a b", "wss://b.example/a%20b/stream/", "https://b.example/status"),
        ("https://b.example/%61nswer", "/answer", "wss://b.example/%61nswer/stream/", "https://b.example/status"),
    ],
)  # fmt: skip
def test_the_stream_lives_under_the_answer_url(url: str, path: str, base: str, status: str) -> None:
    stream = document(url, path, (("a", "1"),), "/status")
    assert stream.url.startswith(base)
    assert stream.status_callback_url == status
    token = read(stream.url.removeprefix(base), SECRET, 4599.0, StreamToken)
    assert (token.call_id, token.route, token.expires) == ("call-1", path, 4600)
    assert (token.from_, token.to, token.direction, token.query) == ("+1", "+2", "inbound", (("a", "1"),))
    assert token.app_url == status.removesuffix("/status")
    assert document(url, path).status_callback_url is None


def test_a_query_that_does_not_fit_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stream = document("https://b.example/answer", query=(("a", "x" * 2000),))
    assert len(stream.url) < 2048
    assert read(stream.url.rpartition("/")[2], SECRET, 0.0, StreamToken).query == ()
    assert "does not fit" in str(caplog.records[0].msg)


def test_the_carrier_s_own_parameters_are_no_query_of_the_app() -> None:
    assert answer_query([("CallUUID", "x"), ("tenant", "1"), ("From", "2"), ("tenant", "3")]) == (
        ("tenant", "1"),
        ("tenant", "3"),
    )
