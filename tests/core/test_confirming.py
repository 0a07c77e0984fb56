from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from bothway.core.call import Call
from bothway.core.confirming import confirm
from bothway.core.course import CallPlan, State
from bothway.core.dialling import ConfirmEnded, ConfirmLeg
from bothway.core.execution import Command, Execution, Fetch, Prompt, StopPrompt, Wait
from bothway.core.listening import Listen, StopListening
from bothway.core.profile import DOCUMENTED
from bothway.core.side_document import FetchSounds, SoundsFetched, SoundsMissing
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Speak

URL = "https://app.example.com/confirm"
SOUND = SoundsFetched(URL, b"<Response><Speak>Press one to take the call</Speak></Response>")
MISSING = SoundsMissing(URL, "the server is down")


class Called:
    """The call of a called party that has answered and is asked, as its shell drives it."""

    def __init__(self, key: str | None = "1", seconds: float = 20.0) -> None:
        self.call = Call(CallPlan(None, outbound=True), DOCUMENTED)
        self.call.start(0.0)
        self.call.receive_answer(10.0)
        assert self.call.state is State.PARKED
        self.call.to_send()
        self.call.host(confirm(ConfirmLeg(1, URL, key, seconds)), 10.0)
        self.sent: list[Command] = []
        self.take()

    def take(self) -> None:
        self.sent += self.call.to_send()

    def hear(self, *, now: float = 11.0) -> None:
        """The sound, whole."""
        self.call.receive(SOUND, now)
        self.take()
        (prompt,) = (command for command in self.sent if isinstance(command, Prompt))
        assert prompt.verb == Speak("Press one to take the call")
        self.call.receive_prompt_end(prompt.prompt_id, now)
        self.take()

    def press(self, keys: str, now: float = 12.0) -> None:
        for key in keys:
            self.call.receive_digit(key, now)
            self.take()

    @property
    def answers(self) -> list[bool]:
        return [command.confirmed for command in self.sent if isinstance(command, ConfirmEnded)]


@pytest.mark.parametrize(
    ("key", "pressed", "answers"),
    [
        ("1", "1", [True]),
        ("1", "2", [False]),
        ("1", "21", [False]),
        ("*", "*", [True]),
        ("12", "12", [True]),
        ("12", "1", []),
        ("12", "13", [False]),
        (None, "1", []),
    ],
)
def test_what_is_pressed(key: str | None, pressed: str, answers: list[bool]) -> None:
    called = Called(key)
    called.press(pressed)
    assert called.answers == answers
    assert called.call.state is (State.PARKED if answers else State.RUNNING)


@pytest.mark.parametrize("heard", [True, False])
def test_a_key_counts_from_the_answer_on_and_cuts_the_sound_off(*, heard: bool) -> None:
    called = Called("1")
    if heard:
        called.call.receive(SOUND, 11.0)
    called.press("1")
    assert called.answers == [True]
    assert (StopPrompt() in called.sent) is heard
    assert [type(c) for c in called.sent if isinstance(c, Listen | StopListening)] == [Listen, StopListening]


def test_no_key_in_time() -> None:
    called = Called("1", seconds=20.0)
    called.hear()
    assert called.call.state is State.RUNNING, "it is waited for behind the sound"
    called.call.handle_deadline(29.9)
    called.take()
    assert called.answers == []
    called.call.handle_deadline(30.0)
    called.take()
    assert called.answers == [False]


def test_without_a_key_who_hears_the_sound_confirms() -> None:
    called = Called(None)
    called.hear()
    assert called.answers == [True]
    assert not any(isinstance(command, Listen) for command in called.sent)


@pytest.mark.parametrize(("key", "answers"), [(None, [True]), ("1", [])])
def test_a_sound_that_cannot_be_had(key: str | None, answers: list[bool]) -> None:
    called = Called(key)
    called.call.receive(MISSING, 11.0)
    called.take()
    assert called.answers == answers
    called.press("1")
    assert called.answers == [True]


def test_a_party_that_goes_while_it_is_asked_answers_nothing() -> None:
    for leave in (Call.receive_hangup, partial(Call.transfer, url="https://x.example.com", method="POST")):
        called = Called("1")
        leave(called.call, now=12.0)
        called.take()
        called.press("1")
        called.call.receive(SOUND, 13.0)
        called.take()
        assert called.answers == []


def test_after_it_the_call_has_no_document_as_before() -> None:
    called = Called("1")
    called.press("1")
    assert called.call.end_cause is None
    assert FetchSounds(URL, "ConfirmSound") in called.sent
    assert not any(isinstance(command, Fetch) for command in called.sent)
    called.call.host(confirm(ConfirmLeg(1, URL, "2", 5.0)), 13.0)
    called.press("2")
    assert called.answers == [True, True]
    called.call.transfer("https://app.example.com/own", "POST", 14.0)
    called.take()
    assert [command.url for command in called.sent if isinstance(command, Fetch)] == ["https://app.example.com/own"]


@pytest.mark.parametrize(("key", "listens"), [("1", 1), (None, 0)])
def test_who_is_transferred_is_not_listened_to_any_more(key: str | None, listens: int) -> None:
    called = Called(key)
    called.call.transfer("https://app.example.com/own", "POST", 12.0)
    called.take()
    assert [type(command) for command in called.sent].count(StopListening) == listens


def test_the_same_key_of_a_transferred_call_is_its_documents() -> None:
    called = Called("1")
    called.call.transfer("https://app.example.com/own", "POST", 12.0)
    called.call.receive_document(1, b"<Response><GetDigits numDigits='1' timeout='9'/></Response>", 13.0)
    called.press("1", 14.0)
    assert called.call.end_cause == HangupCause.of(4010, "Plivo"), "its document ran to its end, and it is not parked"


def test_only_a_call_without_a_document_can_be_asked() -> None:
    call = Call(CallPlan("https://app.example.com/answer"), DOCUMENTED)
    call.start(0.0)
    with pytest.raises(UsageError, match="without a document"):
        call.host(confirm(ConfirmLeg(1, URL, "1", 5.0)), 1.0)


def test_early_media_is_taken_while_it_rings() -> None:
    def let_hear(execution: Execution, now: float) -> Wait:
        execution.early_media()
        return Wait.NOTHING

    def kinds(commands: Sequence[Command]) -> list[str]:
        return [type(command).__name__ for command in commands]

    call = Call(CallPlan(None, outbound=True), DOCUMENTED)
    call.start(0.0)
    call.host(let_hear, 1.0)
    call.host(let_hear, 1.0)
    assert (kinds(call.to_send()), call.state) == (["EarlyMedia"], State.RINGING)
    call.receive_answer(2.0)
    assert (kinds(call.to_send()), call.state) == (["Answer"], State.PARKED)
