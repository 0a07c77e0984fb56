from __future__ import annotations

from dataclasses import replace

from bothway.core.document import SCHEDULE, WAIT, DocumentRun, Remark
from bothway.core.execution import Answer, DocumentKind, EarlyMedia, End, Fetch, Prompt, StopPrompt, Wait, cause
from bothway.core.profile import Limits
from bothway.wire.verbs import Speak, Stream

SPEAK = Speak("Hello", loop=2)


def test_the_leg_is_picked_up_once() -> None:
    run = DocumentRun(Limits())
    run.now = 3.0
    run.answer()
    run.now = 4.0
    run.answer()
    assert (run.answered_at, run.commands) == (3.0, [Answer()])


def test_a_prompt_is_said_as_often_as_it_loops_and_late_news_of_it_is_dropped() -> None:
    run = DocumentRun(Limits())
    assert run.prompt(SPEAK) is Wait.PROMPT
    assert not run.prompt_ended("7", heard=True)
    assert not run.prompt_ended("1", heard=True)
    assert not run.prompt_ended("1", heard=True)
    assert run.prompt_ended("2", heard=True)
    assert not run.prompt_ended("2", heard=True)
    assert run.commands == [Prompt("1", replace(SPEAK, loop=1)), Prompt("2", replace(SPEAK, loop=1))]


def test_a_prompt_that_cannot_be_heard_is_not_said_again() -> None:
    run = DocumentRun(Limits())
    run.prompt(Speak("Hello", loop=0))
    assert run.prompt_ended("1", heard=False)


def test_documents_in_circles_end_the_call() -> None:
    run = DocumentRun(Limits(redirects=1))
    assert run.fetch(DocumentKind.ANSWER, "https://a.example", "POST") is Wait.FETCH
    assert run.fetch(DocumentKind.REDIRECT, "https://a.example", "POST") is Wait.END
    fetch, end = run.commands
    assert fetch == Fetch(1, DocumentKind.ANSWER, "https://a.example", "POST")
    assert isinstance(end, End)
    assert end.cause.code == 2060


def test_the_end_leaves_nothing_under_way() -> None:
    run = DocumentRun(Limits())
    run.open_stream(Stream("wss://a.example/ws", keep_call_alive=True))
    run.prompt(SPEAK)
    run.wait_for(2.0, 1.0)
    run.end_after(5.0, 1.0)
    run.remark("so far")
    assert (len(run.streams), run.blocking, run.timers) == (1, 1, {WAIT: 3.0, SCHEDULE: 6.0})
    assert run.end(cause(4000, "Caller")) is Wait.END
    assert (len(run.streams), run.timers, run.verbs) == (0, {}, [])
    assert run.commands[-2] == StopPrompt()
    assert run.events == [Remark("so far")]


def test_a_stream_that_is_over_is_forgotten_with_its_timer() -> None:
    run = DocumentRun(Limits())
    run.open_stream(Stream("wss://a.example/ws"))
    run.timers[1] = 9.0
    run.forget_stream(1)
    run.forget_stream(1)
    assert (len(run.streams), run.timers) == (0, {})


def test_inside_a_pre_answer_nothing_picks_up() -> None:
    run = DocumentRun(Limits())
    run.verbs = [Speak("3")]
    run.pre_answer([Speak("1"), Speak("2")])
    run.answer()
    run.answer()
    assert (run.commands, run.answered_at, run.after_early) == ([EarlyMedia()], None, 1)
    assert run.verbs == [Speak("3"), Speak("2"), Speak("1")]
    run.fetch(DocumentKind.REDIRECT, "https://a.example", "POST")
    run.answer()
    assert run.commands[-1] == Answer()


def test_after_the_answer_a_pre_answer_changes_nothing() -> None:
    run = DocumentRun(Limits())
    run.answer()
    run.pre_answer([Speak("1")])
    run.early_media()
    assert (run.commands, run.after_early, run.verbs) == ([Answer()], None, [Speak("1")])


def test_a_conversation_is_no_circle_however_long() -> None:
    run = DocumentRun(Limits(redirects=2))
    for turn in range(10):
        run.now = turn * 1.0
        assert run.fetch(DocumentKind.ACTION, "https://a.example", "POST") is Wait.FETCH
    run.now += 0.999
    assert run.fetch(DocumentKind.ACTION, "https://a.example", "POST") is Wait.FETCH
    run.now += 0.999
    assert run.fetch(DocumentKind.ACTION, "https://a.example", "POST") is Wait.END
