from __future__ import annotations

import pytest

from bothway.core.document import DocumentRun
from bothway.core.execution import DocumentKind, Execution, Wait, cause, is_http_url
from bothway.core.profile import Limits
from bothway.errors import UsageError
from bothway.wire.hangup import HANGUP_CAUSES
from bothway.wire.verbs import Stream


def test_a_call_is_what_executors_ask() -> None:
    execution: Execution = DocumentRun(Limits())
    assert (execution.too_many_streams(Stream("wss://example.com")), execution.answered_at) == (None, None)


@pytest.mark.parametrize(
    ("kind", "word", "unreachable", "invalid"),
    [
        (DocumentKind.ANSWER, "answer", "Error Reaching Answer URL", "Invalid Answer XML"),
        (DocumentKind.FALLBACK, "fallback", "Error Reaching Answer URL", "Invalid Answer XML"),
        (DocumentKind.REDIRECT, "redirect", "Error Reaching Redirect URL", "Invalid Redirect XML"),
        (DocumentKind.ACTION, "action", "Error Reaching Action URL", "Invalid Action XML"),
        (DocumentKind.TRANSFER, "transfer", "Error Reaching Transfer URL", "Invalid Transfer XML"),
    ],
)
def test_each_kind_of_document_fails_with_codes_of_its_own(
    kind: DocumentKind, word: str, unreachable: str, invalid: str
) -> None:
    assert kind.word == word
    assert HANGUP_CAUSES[kind.unreachable] == unreachable
    assert HANGUP_CAUSES[kind.invalid] == invalid


def test_the_answer_and_its_fallback_are_two_kinds_with_the_same_codes() -> None:
    assert len(DocumentKind) == 5


@pytest.mark.parametrize(
    ("code", "name", "switch"),
    [
        (1000, "Canceled", "ORIGINATOR_CANCEL"),
        (2060, "Loop Detected", "NORMAL_CLEARING"),
        (3010, "Busy Line", "USER_BUSY"),
        (3020, "Rejected", "CALL_REJECTED"),
        (4000, "Normal Hangup", "NORMAL_CLEARING"),
        (4010, "End Of XML Instructions", "NORMAL_CLEARING"),
        (5010, "Internal Error", "NORMAL_CLEARING"),
        (6000, "Scheduled Hangup", "NORMAL_CLEARING"),
    ],
)
def test_a_cause_bears_its_name_and_the_switch_s_word(code: int, name: str, switch: str) -> None:
    made = cause(code, "Plivo")
    assert (made.code, made.name, made.source, made.cause) == (code, name, "Plivo", switch)


def test_there_is_no_cause_without_a_name() -> None:
    with pytest.raises(UsageError, match="4711 is not a hang-up code"):
        cause(4711, "Plivo")


def test_a_document_waits_for_one_thing_at_a_time() -> None:
    assert {wait.name for wait in Wait} == {"NOTHING", "FETCH", "PROMPT", "TIMER", "STREAM", "VERB", "END"}


@pytest.mark.parametrize(
    "url", ["http://a.example", "https://a.example:8443/x?y#z", "http://user:word@[::1]/", "HTTP://a/"]
)
def test_what_can_be_asked_for_over_http(url: str) -> None:
    assert is_http_url(url)


@pytest.mark.parametrize(
    "url", ["", "/x", "ftp://a.example", "http://", "http:///x", "http://[", "http://a:b/", "http://a:99999/"]
)
def test_what_cannot(url: str) -> None:
    assert not is_http_url(url)
