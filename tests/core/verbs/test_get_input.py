from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.core.verbs.driven import Driven

from bothway.core.execution import CallBack, Fetch, StopPrompt
from bothway.core.listening import EndSpeech, Listen, SpeechHeard, SpeechOver, SpeechWanted, StopListening

ACTION = "https://example.com/action"
FALL = "<Speak>nothing</Speak>"


def get(*children: str, **attributes: str) -> str:
    written = " ".join(f'{name}="{value}"' for name, value in {"action": ACTION, **attributes}.items())
    return f"<GetInput {written}>{''.join(children)}</GetInput>"


def partial(text: str, **facts: Any) -> SpeechHeard:
    return SpeechHeard(text, final=False, **facts)


def final(text: str, confidence: float = 1.0, **facts: Any) -> SpeechHeard:
    return SpeechHeard(text, final=True, confidence=confidence, **facts)


def test_what_is_listened_for() -> None:
    assert Driven(get(inputType="dtmf")).all(Listen) == [Listen(keys=True)]
    speech = SpeechWanted("de-DE", ("eins", "zwei"), "phone_call", profanity_filter=True)
    attributes = {
        "language": "de-DE",
        "hints": " eins, zwei ,,",
        "speechModel": "phone_call",
        "profanityFilter": "true",
    }
    assert Driven(get(inputType="speech", log="false", **attributes)).all(Listen) == [
        Listen(speech=speech, logged=False)
    ]
    assert Driven(get()).all(Listen) == [Listen(keys=True, speech=SpeechWanted())]


def test_hints_have_their_bounds() -> None:
    (listen,) = Driven(get(hints=",".join(["x" * 150] * 600))).all(Listen)
    assert listen.speech is not None
    assert listen.speech.hints == ("x" * 100,) * 100
    (listen,) = Driven(get(hints=",".join(["x"] * 600))).all(Listen)
    assert listen.speech is not None
    assert len(listen.speech.hints) == 500


def test_a_key_ends_the_prompt_and_the_speech() -> None:
    call = Driven(get("<Speak>go</Speak>"), FALL)
    call.press("1")
    assert call.all(StopPrompt) == [StopPrompt()]
    assert call.all(EndSpeech) == [EndSpeech(drain=False)]
    call.tell(final("late"))
    call.passes(2)
    assert call.action.params == {
        "InputType": "dtmf",
        "Digits": "1",
        "Speech": "",
        "SpeechConfidenceScore": "",
        "BilledAmount": "0.00000",
    }
    assert call.all(StopListening) == [StopListening()]


def test_speech_ends_the_prompt_and_the_keys() -> None:
    call = Driven(get("<Speak>go</Speak>"), FALL)
    call.tell(partial(""))  # no word is known yet
    assert call.all(StopPrompt) == []
    call.tell(partial("good"))
    assert call.all(StopPrompt) == [StopPrompt()]
    call.press("1")
    call.tell(final("good day", 0.75))
    call.tell(final("madam", 0.5, utterance_over=True))
    params = call.action.params
    assert (params["InputType"], params["Digits"]) == ("speech", "")
    assert (params["Speech"], params["SpeechConfidenceScore"]) == ("good day madam", "0.625")


def test_speech_waits_for_more_as_long_as_it_is_told() -> None:
    call = Driven(get(speechEndTimeout="4"))
    call.tell(partial("one"))
    call.passes(3)
    call.tell(final("one", utterance_over=True))  # only says that the words stay
    call.passes(0.9)
    assert len(call.all(Fetch)) == 1
    call.passes(0.1)
    assert call.action.params["Speech"] == "one"
    call = Driven(get(speechEndTimeout="auto"))
    call.tell(final("one"))
    call.passes(2.9)
    assert len(call.all(Fetch)) == 1
    call.passes(0.1)
    assert call.action.params["Speech"] == "one"


def test_the_last_words_are_waited_for_a_while() -> None:
    call = Driven(get(executionTimeout="5"))
    call.passes(4)
    call.tell(partial("one tw"))
    call.passes(1)
    assert call.all(EndSpeech) == [EndSpeech(drain=True)]
    call.tell(final("one two", 0.9))
    assert len(call.all(Fetch)) == 1
    call.tell(SpeechOver())
    assert call.action.params["Speech"] == "one two"
    call = Driven(get(executionTimeout="5"))
    call.tell(partial("one tw"))
    call.passes(3)
    call.passes(1.9)
    assert len(call.all(Fetch)) == 1
    call.passes(0.1)
    assert call.action.params["Speech"] == "one tw"
    call = Driven(get(executionTimeout="5"))
    call.passes(1.5)
    call.tell(partial("one tw"))
    call.passes(4.9)
    assert len(call.all(Fetch)) == 1, "the time for the input is none for the last words"
    call.passes(0.1)
    assert call.action.params["Speech"] == "one tw"


def test_keys_that_cut_the_prompt_short_have_their_time_too() -> None:
    call = Driven(get("<Speak>go</Speak>", executionTimeout="5"))
    for _ in range(4):
        call.press("1")
        call.passes(1.5)
    assert call.action.params["Digits"] == "1111"


def test_two_times_that_are_up_at_once_end_one_attempt() -> None:
    call = Driven(get(executionTimeout="5", startInputTimeout="5", retries="2"))
    call.passes(9.9)
    call.press("1#")
    assert call.action.params["Digits"] == "1"


def test_the_times_of_an_attempt_are_not_those_of_the_next() -> None:
    call = Driven(get(retries="2"))
    call.tell(partial("one"))
    call.tell(final("", utterance_over=True))
    call.passes(10)
    call.press("1#")
    assert call.action.params["Digits"] == "1"


def test_a_recogniser_that_has_no_end_does_not_keep_the_next_attempt_from_listening() -> None:
    call = Driven(get(executionTimeout="5", retries="2"))
    call.tell(partial("one"))
    call.passes(3)
    call.tell(final(""))
    call.passes(2)
    assert call.all(EndSpeech) == [EndSpeech(drain=True), EndSpeech(drain=False)]
    assert call.commands.index(EndSpeech(drain=False)) < len(call.commands) - 1
    assert call.commands[-1] == call.all(Listen)[0]


def test_speech_that_was_none_is_no_input() -> None:
    call = Driven(get(retries="2"), FALL)
    call.tell(partial("hm"))
    call.tell(final("", utterance_over=True))
    assert len(call.all(Listen)) == 2, "the second attempt"
    call.passes(15)
    assert call.texts == ["nothing"]


def test_the_whole_input_has_its_time_from_the_end_of_the_prompt() -> None:
    call = Driven(get("<Speak>go</Speak>", executionTimeout="6", digitEndTimeout="10"), FALL)
    call.passes(30)
    call.heard()
    call.passes(5)
    call.press("1")
    call.passes(1)
    assert call.action.params["Digits"] == "1"


def test_the_time_to_the_start_counts_once_nothing_came() -> None:
    call = Driven(get("<Speak>go</Speak>", startInputTimeout="2", retries="2"), FALL)
    for _ in range(2):
        call.heard()
        call.passes(2)
    assert call.texts == ["go", "go", "nothing"]
    call = Driven(get(startInputTimeout="2", digitEndTimeout="9"), FALL)
    call.passes(1)
    call.press("1")
    call.passes(5)
    assert len(call.all(Fetch)) == 1


def test_interim_results_are_numbered() -> None:
    call = Driven(get(interimSpeechResultsCallback="https://example.com/interim", speechEndTimeout="5"))
    call.tell(partial("one", stability=0.12345))
    call.tell(final("one two", stability=1.0))
    call.tell(partial("three", stability=0.9))
    told = call.all(CallBack)
    assert {(back.kind, back.url, back.method, back.event) for back in told} == {
        ("speech", "https://example.com/interim", "POST", "GetInput")
    }
    assert [tuple(back.params.values()) for back in told] == [
        ("", "one", "0.1235", "1"),
        ("one two", "", "1", "2"),
        ("one two", "three", "0.9", "3"),
    ]


STEPS = st.lists(
    st.sampled_from("12#")
    | st.sampled_from(["heard", "lost"])
    | st.floats(0, 8)
    | st.builds(SpeechHeard, st.sampled_from(["", "yes"]), st.booleans(), st.booleans())
    | st.just(SpeechOver()),
    max_size=30,
)


@given(STEPS, st.integers(1, 3), st.sampled_from(["dtmf", "speech", "dtmf speech"]))
def test_whatever_comes_whenever_one_kind_of_input_is_told_at_most_once(
    steps: list[Any], retries: int, input_type: str
) -> None:
    call = Driven(get("<Speak>go</Speak>", retries=str(retries), inputType=input_type), "<Hangup/>")
    for step in steps:
        if isinstance(step, float):
            call.passes(step)
        elif isinstance(step, str) and step in ("heard", "lost"):
            call.heard(heard=step == "heard")
        elif isinstance(step, str):
            call.press(step)
        else:
            call.tell(step)
    told = [fetch.params for fetch in call.all(Fetch)[1:]]
    assert len(told) + (call.end is not None) <= 1
    for params in told:
        assert params["InputType"] in input_type.split()
        assert bool(params["Digits"]) != bool(params["Speech"])
    assert call.texts.count("go") <= retries
    over = bool(told) or call.end is not None
    assert len(call.all(StopListening)) == over
    listening = [it for it in call.commands if isinstance(it, Listen | StopListening)]
    assert isinstance(listening[-1], StopListening) == over
