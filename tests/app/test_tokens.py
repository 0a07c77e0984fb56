from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.app.tokens import MAX_TOKEN, StreamToken, TokenError, derive_secret, hide_from_servers, issue, read
from bothway.errors import UsageError

SECRET = derive_secret("an auth token")
TOKEN = StreamToken("call-1", "/answer", 2000, "+1", "+2", "inbound", (("a", "b"),))


@given(st.text(), st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple))
def test_what_is_issued_can_be_read(call_id: str, from_: str, query: tuple[tuple[str, str], ...]) -> None:
    token = StreamToken(call_id, "/a", 2000, from_, query=query)
    text = issue(token, SECRET)
    assert not text.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    if len(text) <= MAX_TOKEN:
        assert read(text, SECRET, 1999.9, StreamToken) == token


def fault(text: str, secret: bytes = SECRET, now: float = 0.0) -> str:
    with pytest.raises(TokenError) as caught:
        read(text, secret, now, StreamToken)
    assert len(text) < 40 or text not in str(caught.value)
    return caught.value.fault


@given(st.integers(min_value=0), st.characters())
def test_no_character_can_be_changed(at: int, other: str) -> None:
    text = issue(TOKEN, SECRET)
    at %= len(text)
    if other != text[at]:
        assert fault(text[:at] + other + text[at + 1 :]) in ("forged", "malformed")


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    assert fault(text) in ("forged", "malformed")


def test_the_three_faults() -> None:
    text = issue(TOKEN, SECRET)
    assert read(text, SECRET, 1999.0, StreamToken) == TOKEN
    assert fault(text, now=2000.0) == "expired"
    assert fault(text, derive_secret("another")) == "forged"
    assert fault(text.partition(".")[0]) == "malformed"
    assert fault("é." + text) == "malformed"
    assert fault("a" * MAX_TOKEN + ".b") == "malformed"


def test_a_token_of_another_version_is_malformed() -> None:
    import hmac

    for payload in (b"[]", b"{}", json.dumps({"c": "x", "r": "/", "e": 9, "new": 1}).encode(), b"\xff"):
        head = urlsafe_b64encode(payload).rstrip(b"=")
        mac = urlsafe_b64encode(hmac.digest(SECRET, head, "sha256")).rstrip(b"=")
        assert fault((head + b"." + mac).decode()) == "malformed"


def test_the_secret_comes_from_the_auth_token() -> None:
    assert derive_secret("a") == derive_secret("a") != derive_secret("b")
    assert b"an auth token" not in SECRET
    with pytest.raises(UsageError):
        derive_secret("")


@pytest.mark.parametrize(
    ("line", "args"),
    [("%s - %r", ("127.0.0.1:1", "PATH")), ("> GET %(path)s", ({"path": "PATH"},)), ("a line of its own: PATH", ())],
)
def test_other_servers_do_not_log_it(line: str, args: tuple[object, ...], caplog: pytest.LogCaptureFixture) -> None:
    hide_from_servers()
    hide_from_servers()
    path = f"/answer/stream/{issue(TOKEN, SECRET)}?a=1"
    filled = [path if one == "PATH" else {"path": path} if isinstance(one, dict) else one for one in args]
    logging.getLogger("uvicorn.error").warning(line.replace("PATH", path), *filled)
    assert "/answer/stream/***?a=1" in caplog.text
