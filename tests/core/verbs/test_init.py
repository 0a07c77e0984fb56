from __future__ import annotations

from bothway.core.verbs import executor_of, hangup, redirect, speak, stream, unsupported, wait
from bothway.wire.verbs import Dial, Hangup, Number, Play, Record, Redirect, Speak, Stream, Wait


def test_every_verb_has_its_executor() -> None:
    assert executor_of(Hangup()) is hangup.execute
    assert executor_of(Play("https://example.com/a.wav")) is speak.execute
    assert executor_of(Speak("a")) is speak.execute
    assert executor_of(Redirect("https://example.com/")) is redirect.execute
    assert executor_of(Stream("wss://example.com/")) is stream.execute
    assert executor_of(Wait()) is wait.execute
    assert executor_of(Record()) is unsupported.execute
    assert executor_of(Dial((Number("1"),))) is unsupported.execute
