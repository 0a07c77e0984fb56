from __future__ import annotations

from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Beep, PromptEnded, TimerFired
from bothway.core.prompts import PromptRun
from bothway.wire.verbs import Play, Speak, Wait

GO, ON = Speak("go"), Play("https://example.com/on.wav")
PAUSE = TimerFired("pause in the prompt")


def said(call: Recorder) -> list[object]:
    return [what for name, what, *_ in call.asked if name == "say"]


def end_of_last(call: Recorder, *, heard: bool = True) -> PromptEnded:
    """The end of what `Recorder.say` numbered last."""
    last = max(place for place, (name, *_) in enumerate(call.asked, 1) if name == "say")
    return PromptEnded(str(last), heard)


def test_parts_follow_each_other_and_the_last_ends_it() -> None:
    call = Recorder()
    run = PromptRun(call)
    assert run.begin([GO, Wait(length=3), ON, Beep()], 10.0)
    assert said(call) == [GO]
    assert not run.receive(end_of_last(call), 11.0)
    assert call.asked[-1] == ("set_timer", "pause in the prompt", 14.0)
    assert not run.receive(PAUSE, 14.0)
    assert not run.receive(end_of_last(call), 15.0)
    assert said(call) == [GO, ON, Beep()]
    assert run.running
    assert run.receive(end_of_last(call), 16.0)
    assert not run.running


def test_a_part_is_said_as_often_as_it_loops_unless_it_cannot_be_heard() -> None:
    call = Recorder()
    run = PromptRun(call)
    run.begin([Speak("go", loop=3), ON], 0.0)
    run.receive(end_of_last(call), 0.0)
    run.receive(end_of_last(call), 0.0)
    assert len(said(call)) == 3
    assert not run.receive(end_of_last(call), 0.0)
    assert run.receive(end_of_last(call, heard=False), 0.0)
    call = Recorder()
    run = PromptRun(call)
    run.begin([Speak("go", loop=0)], 0.0)
    for _ in range(50):
        assert not run.receive(end_of_last(call), 0.0)
    assert run.receive(end_of_last(call, heard=False), 0.0)


def test_nothing_to_say_is_over_at_once() -> None:
    call = Recorder()
    run = PromptRun(call)
    assert not run.begin([], 0.0)
    assert not run.begin([Speak(""), Play("")], 0.0)
    assert call.asked == []


def test_events_of_others_are_none_of_its() -> None:
    call = Recorder()
    run = PromptRun(call)
    assert not run.receive(PAUSE, 0.0)
    run.begin([GO], 0.0)
    assert not run.receive(PromptEnded("99", heard=True), 0.0)
    assert not run.receive(PAUSE, 0.0)
    assert run.running


def test_it_is_stopped_in_speech_and_in_a_pause() -> None:
    call = Recorder()
    run = PromptRun(call)
    run.stop()
    assert call.asked == []
    run.begin([GO, ON], 0.0)
    run.stop()
    assert call.asked.pop() == ("hush",)
    assert not run.running
    run.begin([Wait(length=2), ON], 0.0)
    run.stop()
    assert call.asked[-1] == ("set_timer", "pause in the prompt", None)
    assert not run.receive(PAUSE, 2.0)
