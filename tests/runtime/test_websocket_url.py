from __future__ import annotations

import pytest

from bothway.errors import UsageError
from bothway.runtime.websocket_url import Target, checked_headers, parse_url


@pytest.mark.parametrize(
    ("url", "target", "netloc"),
    [
        ("ws://app.test/stream", Target(False, "app.test", 80, "/stream"), "app.test"),
        ("wss://app.test", Target(True, "app.test", 443, "/"), "app.test"),
        ("ws://app.test:443/a?b=c&d=%20", Target(False, "app.test", 443, "/a?b=c&d=%20"), "app.test:443"),
        ("wss://[::1]:5000/x y", Target(True, "::1", 5000, "/x%20y"), "[::1]:5000"),
        ("ws://bücher.test/ü", Target(False, "xn--bcher-kva.test", 80, "/%C3%BC"), "xn--bcher-kva.test"),
    ],
)
def test_a_url_is_read(url: str, target: Target, netloc: str) -> None:
    assert parse_url(url) == target
    assert parse_url(url).netloc == netloc


def test_a_target_shows_no_path() -> None:
    assert str(parse_url("wss://app.test:8443/stream/secret?token=x")) == "wss://app.test:8443"


@pytest.mark.parametrize(
    "url",
    ["http://app.test/", "ws:///x", "ws://user:word@app.test/", "ws://app.test/#part", "ws://app.test:99999/", ""],
)
def test_what_is_no_websocket_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="a WebSocket URL") as caught:
        parse_url(url)
    assert "word" not in str(caught.value).replace("credentials", "")


def test_headers_that_can_be_sent_are_kept_as_they_are() -> None:
    headers = [("X-One", "1"), ("X-One", "2 3"), ("Host", "other.test")]
    assert checked_headers(iter(headers)) == headers


@pytest.mark.parametrize("header", [("X One", "1"), ("", "1"), ("X-One", "1\r\nX-Two: 2"), ("X-One", "\x00")])
def test_headers_that_cannot_be_sent_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="characters that HTTP forbids"):
        checked_headers([header])
