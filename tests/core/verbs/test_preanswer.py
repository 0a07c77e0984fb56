from __future__ import annotations

from tests.core.verbs.driven import Driven

from bothway.core.execution import Answer, EarlyMedia, Fetch, Prompt

INSIDE = "<PreAnswer><Speak>one</Speak><Speak>two</Speak></PreAnswer>"


def kinds(call: Driven) -> list[str]:
    wanted = (Answer, EarlyMedia, Prompt, Fetch)
    return [type(command).__name__ for command in call.commands if isinstance(command, wanted)][1:]


def test_what_is_inside_is_heard_before_the_answer() -> None:
    call = Driven(INSIDE, "<Speak>three</Speak>")
    assert kinds(call) == ["EarlyMedia", "Prompt"]
    call.heard()
    assert kinds(call) == ["EarlyMedia", "Prompt", "Prompt"]
    call.passes(2)
    call.heard()
    assert kinds(call) == ["EarlyMedia", "Prompt", "Prompt", "Answer", "Prompt"]
    assert call.call.answered_at == 2.0
    assert call.texts == ["one", "two", "three"]


def test_a_caller_who_hangs_up_has_cancelled() -> None:
    call = Driven(INSIDE)
    call.call.receive_hangup(1.0)
    assert call.call.end_cause is not None
    assert (call.call.end_cause.code, call.call.end_cause.source) == (1000, "Caller")
    assert not call.answered


def test_another_document_decides_about_the_answer_anew() -> None:
    redirect = "<PreAnswer><Redirect>https://example.com/next</Redirect><Speak>one</Speak></PreAnswer>"
    for body, code, answered in [
        (b'<Response><Hangup reason="rejected"/></Response>', 3020, False),
        (b"<Response><Hangup/></Response>", 4000, False),
        (b"<Response></Response>", 4010, True),
    ]:
        call = Driven(redirect, "<Speak>three</Speak>")
        call.call.receive_document(2, body, 1.0)
        assert call.call.end_cause is not None
        assert (call.call.end_cause.code, call.call.answered_at is not None) == (code, answered)


def test_a_transfer_leaves_it_too() -> None:
    call = Driven(INSIDE, "<Speak>three</Speak>")
    call.call.transfer("https://example.com/next", "POST", 1.0)
    call.call.receive_document(2, b"<Response><Speak>four</Speak></Response>", 2.0)
    assert call.call.answered_at == 2.0


def test_after_the_answer_it_is_a_verb_like_any_other() -> None:
    call = Driven("<Speak>zero</Speak>", INSIDE)
    for _ in range(3):
        call.heard()
    assert call.texts == ["zero", "one", "two"]
    assert call.all(EarlyMedia) == []
    assert call.remarks() == ["<PreAnswer> comes after the answer: what is inside runs like any other verb"]


def test_an_empty_one_answers() -> None:
    assert kinds(Driven("<PreAnswer/>", "<Speak>one</Speak>")) == ["Answer", "Prompt"]
