from __future__ import annotations

from typing import Any

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Beep, DigitPressed, PromptEnded, VerbEvent, VerbMachine, Wait, cause
from bothway.core.listening import Listen, SilenceHeard, StopListening
from bothway.core.recording import (
    FinishRecording,
    RecordingBegun,
    RecordingComplete,
    RecordingFacts,
    RecordingFull,
    RecordingRefused,
    RecordingReport,
    RecordOrder,
    StartRecording,
    recording_params,
)
from bothway.core.verbs.record import execute
from bothway.wire.verbs import Record

BEGUN = RecordingBegun(RecordingFacts("r1", "https://x/r1.mp3"))
DONE = RecordingFacts("r1", "https://x/r1.mp3", 1000, 5, 1005)
URL = "https://app/done"


class Run:
    """A `<Record>` under way, and what it asks for."""

    def __init__(self, **attributes: Any) -> None:
        self.call = Recorder()
        verb = Record(**{"action": URL, "play_beep": False, **attributes})
        assert execute(verb, self.call, 5.0) is Wait.VERB
        self.begun = self.take()
        (machine,) = (asked[1] for asked in self.begun if asked[0] == "begin")
        assert isinstance(machine, object)
        self.machine: VerbMachine = machine  # type: ignore[assignment]

    def take(self) -> list[tuple[object, ...]]:
        asked, self.call.asked = self.call.asked, []
        return asked

    def after(self, *events: VerbEvent) -> list[tuple[object, ...]]:
        for event in events:
            self.machine.receive(event, 6.0)
        return self.take()

    def stopped(self, *, ends: bool) -> list[tuple[object, ...]]:
        if ends:
            self.call.end_cause = cause(4000, "Caller")
        self.machine.stop(7.0)
        return self.take()


def follow(facts: RecordingFacts, digits: str = "", *, redirect: bool = True) -> tuple[object, ...]:
    return ("follow", "Record", URL, "POST", redirect, recording_params(facts) | {"Digits": digits})


CLOSED = [("send", StopListening()), ("send", FinishRecording("r1"))]


def test_what_the_attributes_order() -> None:
    run = Run(
        max_length=90,
        timeout=4,
        file_format="wav",
        record_channel_type="mono",
        callback_url="https://app/back",
        callback_method="GET",
        transcription_url="https://app/said",
    )
    order = RecordOrder("wav", "mono", 90, "https://app/back", "GET", "https://app/said", "POST")
    assert run.begun[0] == ("answer",)
    assert run.begun[2:] == [
        ("send", StartRecording(order, "caller")),
        ("send", Listen(keys=True, silence_ms=4000)),
    ]


def test_the_beep_comes_first_and_only_its_end_counts() -> None:
    run = Run(play_beep=True)
    assert run.begun[2:] == [("say", Beep())]
    prompt_id = str(len(run.begun))
    assert run.after(DigitPressed("#"), SilenceHeard(), PromptEnded("another", heard=True)) == []
    assert [what for what, *_ in run.after(PromptEnded(prompt_id, heard=True))] == ["send", "send"]


def test_without_keys_none_is_listened_for() -> None:
    assert ("send", Listen(keys=False, silence_ms=15_000)) in Run(finish_on_key="").begun


@pytest.mark.parametrize(
    ("event", "digits"), [(DigitPressed("#"), "#"), (SilenceHeard(), ""), (RecordingFull("r1"), "")]
)
@pytest.mark.parametrize("redirect", [True, False])
def test_it_ends_once_and_reports_when_it_is_complete(event: VerbEvent, digits: str, redirect: bool) -> None:
    run = Run(redirect=redirect)
    assert run.after(BEGUN, DigitPressed("5"), event) == CLOSED
    assert run.after(event, DigitPressed("#"), SilenceHeard(), RecordingFull("r1")) == []
    assert run.after(RecordingComplete(DONE)) == [follow(DONE, digits, redirect=redirect)]


def test_recordings_that_are_not_its_own_do_not_matter() -> None:
    run = Run()
    other = RecordingFacts("r0", "", 0, 0, 0)
    assert run.after(BEGUN, RecordingFull("r0"), RecordingComplete(other)) == []
    assert run.after(DigitPressed("#"), RecordingComplete(other)) == CLOSED


def test_where_nothing_can_be_recorded_the_next_verb_runs() -> None:
    run = Run()
    assert run.after(RecordingRefused("the disk is gone")) == [
        ("send", StopListening()),
        ("remark", "<Record> records nothing: the disk is gone"),
        ("finish",),
    ]


def test_the_end_of_the_call_ends_it_and_its_action_is_told() -> None:
    run = Run()
    run.after(BEGUN)
    report = RecordingReport(URL, "POST")
    assert run.stopped(ends=True) == [("send", StopListening()), ("send", FinishRecording("r1", report))]


def test_the_key_is_told_though_the_call_ends_while_the_file_is_finished() -> None:
    run = Run()
    run.after(BEGUN, DigitPressed("#"))
    report = RecordingReport(URL, "POST", "#")
    assert run.stopped(ends=True)[-1] == ("send", FinishRecording("r1", report))


@pytest.mark.parametrize(("ends", "action"), [(False, URL), (True, None)])
def test_elsewhere_or_without_an_action_nobody_is_told(ends: bool, action: str | None) -> None:
    run = Run(action=action)
    run.after(BEGUN)
    assert run.stopped(ends=ends) == CLOSED


def test_a_call_that_ends_in_the_beep_has_recorded_nothing() -> None:
    assert Run(play_beep=True).stopped(ends=True) == [("send", StopListening())]


@pytest.mark.parametrize(
    ("attributes", "scope"),
    [
        ({"record_session": True}, "session"),
        ({"start_on_dial_answer": True}, "dial"),
        ({"record_session": True, "start_on_dial_answer": True}, "dial"),
    ],
)
def test_in_the_background_the_action_is_asked_at_once(attributes: dict[str, bool], scope: Any) -> None:
    run = Run(play_beep=True, **attributes)
    assert run.begun[2:] == [("send", StartRecording(RecordOrder(), scope))]
    assert run.after(BEGUN) == [follow(BEGUN.facts)]
    assert run.stopped(ends=True) == [], "it goes on by itself"
