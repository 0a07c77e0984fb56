from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.app.documents import DOCUMENT_LIFETIME, document_of, document_url, verbs_to
from bothway.app.tokens import StreamToken, TokenError, issue
from bothway.errors import UsageError
from bothway.wire.callxml import parse
from bothway.wire.verbs import Dial, Number, Speak, User

SECRET = b"a secret"


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["document"][0]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=200))
def test_a_document_comes_back(text: str) -> None:
    url = document_url((Speak(text),), "call-1", "https://app.example/voice", SECRET, 1000.0)
    assert url.startswith("https://app.example/voice/bothway/document?document=")
    assert url.isascii()
    document = document_of(token_of(url), "call-1", SECRET, 1000.0 + DOCUMENT_LIFETIME - 1)
    (verb,) = parse(document).verbs
    assert isinstance(verb, Speak)
    assert verb.text.strip() == text.strip()


def test_it_is_for_one_call_and_for_a_while() -> None:
    token = token_of(document_url((Speak("hi"),), "call-1", "https://app.example", SECRET, 1000.0))
    for call_id, secret, now in (("call-2", SECRET, 1001.0), ("call-1", b"other", 1001.0), ("call-1", SECRET, 1300.0)):
        with pytest.raises(TokenError):
            document_of(token, call_id, secret, now)


def test_a_stream_s_token_is_no_document() -> None:
    token = issue(StreamToken("call-1", "/answer", 2000), SECRET)
    with pytest.raises(TokenError, match="another kind"):
        document_of(token, "call-1", SECRET, 1000.0)


def test_whom_to_dial() -> None:
    assert verbs_to("+1415", ring_timeout=5) == (Dial((Number("+1415"),), timeout=5),)
    assert verbs_to("sips:a@b", time_limit=9, caller_id="1") == (
        Dial((User("sips:a@b"),), time_limit=9, caller_id="1"),
    )


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        document_url((Speak("x" * 2000),), "call-1", "https://app.example", SECRET, 0.0)
