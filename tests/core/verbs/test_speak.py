from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.speak import execute
from bothway.wire.verbs import Play, Speak, Ssml


@pytest.mark.parametrize(
    "verb",
    [
        Speak("Hello", loop=0),
        Speak("", ssml=(Ssml("emphasis", text="Hello"),), voice="Polly.Joanna"),
        Play("https://example.com/a.mp3", loop=3),
    ],
)
def test_the_call_is_picked_up_and_waits(verb: Speak | Play) -> None:
    call = Recorder()
    assert execute(verb, call, 5.0) is Wait.PROMPT
    assert call.asked == [("answer",), ("prompt", verb)]


@pytest.mark.parametrize("verb", [Speak("", loop=0), Speak(" "), Speak("", ssml=(Ssml("p"),)), Play("", loop=0)])
def test_nothing_to_hear_is_not_waited_for(verb: Speak | Play) -> None:
    call = Recorder()
    assert execute(verb, call, 5.0) is Wait.NOTHING
    assert call.asked == [("answer",)]
