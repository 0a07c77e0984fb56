from __future__ import annotations

import pytest
from tests.core.verbs.driven import Driven
from tests.core.verbs.recorder import Recorder

from bothway.audio.beep_reader import BeepSettings
from bothway.core.execution import VerbEvent, Wait
from bothway.core.listening import BeepHeard, Listen, SilenceHeard, StopListening
from bothway.core.verbs.wait import execute
from bothway.wire import verbs


def test_the_call_is_picked_up_and_the_time_passes() -> None:
    call = Recorder()
    assert execute(verbs.Wait(length=7), call, 5.0) is Wait.TIMER
    assert call.asked == [("answer",), ("wait_for", 7, 5.0)]


@pytest.mark.parametrize(
    ("verb", "listen"),
    [
        (verbs.Wait(silence=True), Listen(silence_ms=2000)),
        (verbs.Wait(silence=True, min_silence=0), Listen(silence_ms=2000)),
        (verbs.Wait(silence=True, min_silence=700, beep=True), Listen(silence_ms=700)),
        (verbs.Wait(beep=True), Listen(beep=BeepSettings())),
        (verbs.Wait(beep="duration=120,threshold=99"), Listen(beep=BeepSettings(duration=120, threshold=99))),
    ],
)
def test_what_it_listens_for(verb: verbs.Wait, listen: Listen) -> None:
    call = Recorder()
    assert execute(verb, call, 5.0) is Wait.VERB
    assert [what for what, *_ in call.asked] == ["answer", "send", "set_timer", "begin"]
    assert call.asked[1] == ("send", listen)
    assert call.asked[2] == ("set_timer", "length", 6.0)


def test_settings_that_are_none_are_remarked() -> None:
    call = Recorder()
    assert execute(verbs.Wait(beep="duration=3"), call, 5.0) is Wait.VERB
    assert [what for what, *_ in call.asked] == ["answer", "remark", "send", "set_timer", "begin"]
    assert call.asked[2] == ("send", Listen(beep=BeepSettings()))


@pytest.mark.parametrize("event", [SilenceHeard(), BeepHeard(), None])
def test_the_first_thing_heard_or_the_whole_length_ends_it(event: VerbEvent | None) -> None:
    call = Driven('<Wait length="3" silence="true"/>', "<Speak>on</Speak>")
    call.passes(2.9)
    call.press("1")
    assert call.texts == []
    if event is None:
        call.passes(0.1)
    else:
        call.tell(event)
    assert call.texts == ["on"]
    assert call.all(StopListening) == [StopListening()]


def test_a_call_that_ends_listens_no_more() -> None:
    call = Driven('<Wait length="3" beep="true"/>')
    call.call.receive_hangup(1.0)
    call.tell(BeepHeard())
    assert call.all(StopListening) == [StopListening()]
    assert call.end is not None
