from __future__ import annotations

from bothway.core.verbs import (
    dtmf,
    executor_of,
    get_digits,
    get_input,
    hangup,
    preanswer,
    redirect,
    speak,
    stream,
    unsupported,
    wait,
)
from bothway.wire.verbs import (
    Dtmf,
    GetDigits,
    GetInput,
    Hangup,
    Message,
    MultiPartyCall,
    Play,
    PreAnswer,
    Redirect,
    Speak,
    Stream,
    Wait,
)


def test_every_verb_has_its_executor() -> None:
    assert executor_of(Hangup()) is hangup.execute
    assert executor_of(Play("https://example.com/a.wav")) is speak.execute
    assert executor_of(Speak("a")) is speak.execute
    assert executor_of(Redirect("https://example.com/")) is redirect.execute
    assert executor_of(Stream("wss://example.com/")) is stream.execute
    assert executor_of(Wait()) is wait.execute
    assert executor_of(Dtmf("1")) is dtmf.execute
    assert executor_of(GetDigits()) is get_digits.execute
    assert executor_of(GetInput()) is get_input.execute
    assert executor_of(PreAnswer()) is preanswer.execute
    assert executor_of(Message("a")) is unsupported.execute_message
    assert executor_of(MultiPartyCall("a")) is unsupported.execute
