from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.core.verbs.driven import Driven

from bothway.core.execution import CallBack, DocumentKind, Fetch, StopPrompt
from bothway.core.listening import Listen, StopListening

ACTION = "https://example.com/action"
FALL = "<Speak>nothing</Speak>"


def get(*children: str, **attributes: str) -> str:
    written = " ".join(f'{name}="{value}"' for name, value in {"action": ACTION, **attributes}.items())
    return f"<GetDigits {written}>{''.join(children)}</GetDigits>"


def test_the_keys_are_told_to_the_action_and_its_document_goes_on() -> None:
    call = Driven(get("<Speak>go</Speak>"), FALL)
    assert call.answered
    assert call.all(Listen) == [Listen(keys=True)]
    call.press("1")
    assert call.all(StopPrompt) == [StopPrompt()]
    call.press("2#")
    fetch = call.action
    assert (fetch.kind, fetch.url, fetch.method) == (DocumentKind.ACTION, ACTION, "POST")
    assert (fetch.event, fetch.params) == ("GetDigits", {"Digits": "12"})
    assert call.all(StopListening) == [StopListening()]
    call.call.receive_document(fetch.fetch_id, b"<Response><Speak>thanks</Speak></Response>", call.now)
    call.press("3")
    assert call.texts == ["go", "thanks"]


def test_without_redirect_the_action_is_told_and_the_next_verb_runs() -> None:
    call = Driven(get(redirect="false", method="GET", numDigits="1"), FALL)
    call.press("1")
    assert call.all(CallBack) == [CallBack("action", ACTION, "GET", "GetDigits", {"Digits": "1"})]
    assert call.texts == ["nothing"]


def test_the_first_key_has_its_time_from_the_end_of_the_prompt_and_each_next_one_its_own() -> None:
    call = Driven(get("<Speak>go</Speak>", timeout="4", digitTimeout="3", playBeep="true"), FALL)
    call.passes(30)
    call.heard()
    assert call.texts == ["go", "Beep"]
    call.passes(30)
    call.heard()
    call.passes(3.9)
    call.press("1")
    call.passes(2.9)
    call.press("2")
    call.passes(2.9)
    assert len(call.all(Fetch)) == 1
    call.passes(0.1)
    assert call.action.params == {"Digits": "12"}


def test_attempts_are_counted() -> None:
    call = Driven(get("<Speak>go</Speak>", timeout="4", retries="3"), FALL)
    for attempt in range(1, 4):
        assert call.texts == ["go"] * attempt
        call.heard()
        call.passes(4)
    assert call.texts == ["go", "go", "go", "nothing"]
    assert call.all(StopListening) == [StopListening()]


def test_keys_are_judged_when_they_are_complete() -> None:
    sounds = {"invalidDigitsSound": "https://example.com/no.wav", "validDigits": "12"}
    call = Driven(get("<Speak>go</Speak>", numDigits="3", retries="2", **sounds), FALL)
    call.press("19")
    assert call.texts == ["go"]
    call.press("2")
    assert call.texts == ["go", "https://example.com/no.wav"]
    call.heard()
    assert call.texts[-1] == "go"
    call.press("121")
    assert call.action.params == {"Digits": "121"}


def test_a_key_that_cuts_the_sound_for_invalid_ones_short_is_the_first_of_the_next_attempt() -> None:
    sound = {"invalidDigitsSound": "https://example.com/no.wav", "validDigits": "12"}
    call = Driven(get(numDigits="2", retries="2", **sound), FALL)
    call.press("99")
    call.press("12")
    assert call.action.params["Digits"] == "12"
    call = Driven(get(numDigits="2", retries="2", **sound), FALL)
    call.press("99")
    call.press("99")
    call.press("12")
    assert len(call.all(Fetch)) == 1, "that was the last attempt"
    call.heard()
    assert call.texts[-1] == "nothing"


def test_a_sound_that_cannot_be_heard_is_passed_over() -> None:
    call = Driven(get(numDigits="1", validDigits="1", invalidDigitsSound="https://example.com/no.wav"), FALL)
    call.press("2")
    call.heard(heard=False)
    assert call.texts[-1] == "nothing"


def test_log_false_says_so() -> None:
    assert Driven(get(log="false")).all(Listen) == [Listen(keys=True, logged=False)]


KEYS = st.sampled_from("0123456789*#ABCD")
STEPS = st.lists(KEYS | st.just("heard") | st.just("lost") | st.floats(0, 6), max_size=30)


@given(
    STEPS,
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from(["#", "none", "*#"]),
    st.sampled_from(["1234567890*#", "12"]),
    st.booleans(),
)
def test_whatever_is_pressed_whenever_only_whole_valid_input_is_told_and_once(
    steps: list[str | float], retries: int, most: int, finish: str, valid: str, beeps: bool
) -> None:
    attributes = {"finishOnKey": finish, "validDigits": valid, "playBeep": str(beeps).lower()}
    sound = {"invalidDigitsSound": "https://example.com/no.wav"}
    call = Driven(
        get("<Speak>go</Speak>", retries=str(retries), numDigits=str(most), **attributes, **sound), "<Hangup/>"
    )
    for step in steps:
        if isinstance(step, float):
            call.passes(step)
        elif step in ("heard", "lost"):
            call.heard(heard=step == "heard")
        else:
            call.press(step)
    told = [fetch.params["Digits"] for fetch in call.all(Fetch)[1:]]
    assert len(told) + (call.end is not None) <= 1
    for digits in told:
        assert 1 <= len(digits) <= most
        assert set(digits) <= set(valid) - (set(finish) if finish != "none" else set())
    assert call.texts.count("go") <= retries
    listens = [command for command in call.commands if isinstance(command, Listen | StopListening)]
    assert len(listens) == 1 + (bool(told) or call.end is not None)
