from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.core.call import Call
from bothway.core.course import CallPlan, State
from bothway.core.document import DocumentRead, Remark, VerbStarted
from bothway.core.execution import (
    Answer,
    CloseStream,
    Command,
    DocumentKind,
    End,
    Fetch,
    OpenStream,
    Prompt,
    RefuseStream,
    StopPrompt,
)
from bothway.core.profile import DOCUMENTED, LIVE, Limits, Profile
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream

PLAN = CallPlan("https://example.com/answer")
WITH_FALLBACK = CallPlan("https://example.com/answer", "GET", "https://example.com/fallback", "GET")
PROFILES = pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)

SPEAK = "<Speak>Hello</Speak>"
BLOCKING = '<Stream keepCallAlive="true" streamTimeout="90">wss://example.com/ws</Stream>'
BESIDE = "<Stream>wss://example.com/ws</Stream>"
REDIRECT = "<Redirect>https://example.com/next</Redirect>"


def xml(*elements: str) -> bytes:
    return f"<Response>{''.join(elements)}</Response>".encode()


class Caller:
    """A call and what it asked for, driven by hand."""

    def __init__(self, *document: str, plan: CallPlan = PLAN, profile: Profile = DOCUMENTED) -> None:
        self.call = Call(plan, profile)
        self.commands: list[Command] = []
        self.call.start(100.0)
        assert self.new() == [Fetch(1, DocumentKind.ANSWER, plan.answer_url or "", plan.answer_method)]
        if document:
            self.call.receive_document(1, xml(*document), 101.0)

    def new(self) -> list[Command]:
        """Commands since the last look."""
        commands = self.call.to_send()
        self.commands += commands
        return commands

    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.new()]

    def end(self) -> End:
        """The one end of the call."""
        self.new()
        (end,) = [command for command in self.commands if isinstance(command, End)]
        assert self.commands[-1] is end
        assert self.call.state is State.ENDED
        assert self.call.end_cause == end.cause
        assert self.call.next_deadline() is None
        return end

    def ended_with(self) -> tuple[int, str]:
        end = self.end()
        return end.cause.code, end.cause.source


# A document runs from its first verb to its last.


def test_a_document_is_fetched_executed_and_over() -> None:
    caller = Caller()
    call = caller.call
    assert (call.state, (call.answered_at is not None), call.next_deadline()) == (State.FETCHING, False, 100.0 + 14_400)
    call.receive_document(1, xml(SPEAK, '<Wait length="3"/>', "<Play>https://example.com/a.mp3</Play>"), 101.0)
    assert caller.new() == [Answer(), Prompt("1", Speak("Hello"))]
    assert (call.state, call.answered_at) == (State.PROMPTING, 101.0)
    call.receive_prompt_end("1", 103.0)
    assert (call.state, call.next_deadline(), caller.new()) == (State.WAITING, 106.0, [])
    call.handle_deadline(106.0)
    assert caller.new() == [Prompt("2", Play("https://example.com/a.mp3"))]
    call.receive_prompt_end("2", 110.0)
    assert caller.ended_with() == (4010, "Plivo")
    assert call.events() == [
        DocumentRead(DocumentKind.ANSWER, 3, ()),
        VerbStarted("Speak"),
        VerbStarted("Wait"),
        VerbStarted("Play"),
    ]
    assert call.events() == []


def test_an_empty_document_is_answered_and_over() -> None:
    caller = Caller("")
    assert caller.kinds() == ["Answer", "End"]
    assert caller.ended_with() == (4010, "Plivo")


def test_a_call_starts_once() -> None:
    caller = Caller()
    with pytest.raises(UsageError, match="a call starts once"):
        caller.call.start(101.0)


def test_a_verb_that_is_not_executed_ends_the_call_and_says_so() -> None:
    caller = Caller('<MultiPartyCall role="Agent">room</MultiPartyCall>', SPEAK)
    assert caller.end().detail == "this carrier does not execute <MultiPartyCall>"
    assert caller.ended_with() == (5010, "Error")


def test_what_the_document_did_wrong_is_among_the_events() -> None:
    caller = Caller("<Say>Hello</Say>", SPEAK)
    read = caller.call.events()[0]
    assert isinstance(read, DocumentRead)
    assert [diagnostic.element for diagnostic in read.diagnostics] == ["Say"]


# Documents that cannot be had, or cannot be read.


def test_an_answer_that_cannot_be_had_or_read_ends_the_call() -> None:
    caller = Caller()
    caller.call.receive_failure(1, "nobody listens there", 102.0)
    assert caller.end() == End(HangupCause.of(7011, "Error"), "nobody listens there", ran_to_end=False)
    caller = Caller()
    caller.call.receive_document(1, b"{}", 102.0)
    assert caller.ended_with() == (8011, "Error")
    assert caller.end().detail != ""


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"<Response><Speak>a & b</Speak></Response>", b"<Response><Dial/></Response>"]
)
def test_a_document_that_no_carrier_could_run_is_invalid(body: bytes) -> None:
    caller = Caller()
    caller.call.receive_document(1, body, 102.0)
    assert caller.ended_with() == (8011, "Error")


def test_the_fallback_has_one_try() -> None:
    caller = Caller(plan=WITH_FALLBACK)
    caller.call.receive_failure(1, "time-out", 102.0)
    assert caller.new() == [Fetch(2, DocumentKind.FALLBACK, "https://example.com/fallback", "GET")]
    assert caller.call.events() == [Remark("time-out; trying the fallback URL")]
    assert caller.call.state is State.FETCHING
    caller.call.receive_failure(2, "time-out again", 103.0)
    assert caller.ended_with() == (7011, "Error")


def test_the_fallback_is_tried_for_a_document_that_cannot_be_read_and_may_succeed() -> None:
    caller = Caller(plan=WITH_FALLBACK)
    caller.call.receive_document(1, b"hello", 102.0)
    assert caller.kinds() == ["Fetch"]
    caller.call.receive_document(2, xml(SPEAK), 103.0)
    assert caller.kinds() == ["Answer", "Prompt"]
    caller = Caller(plan=WITH_FALLBACK)
    caller.call.receive_document(1, b"hello", 102.0)
    caller.call.receive_document(2, b"hello again", 102.0)
    assert caller.ended_with() == (8011, "Error")


def test_a_redirect_replaces_the_document_and_has_codes_of_its_own() -> None:
    caller = Caller(SPEAK, REDIRECT, "<Play>https://example.com/never.mp3</Play>", plan=WITH_FALLBACK)
    caller.new()
    caller.call.receive_prompt_end("1", 102.0)
    assert caller.new() == [Fetch(2, DocumentKind.REDIRECT, "https://example.com/next", "POST")]
    caller.call.receive_document(2, xml("<Hangup/>"), 103.0)
    assert caller.ended_with() == (4000, "Answer XML")
    caller = Caller(REDIRECT, plan=WITH_FALLBACK)
    caller.call.receive_failure(2, "refused", 103.0)
    assert caller.ended_with() == (7014, "Error")
    caller = Caller(REDIRECT, plan=WITH_FALLBACK)
    caller.call.receive_document(2, b"", 103.0)
    assert caller.ended_with() == (8014, "Error")


@pytest.mark.parametrize(
    ("element", "code"),
    [("<Redirect>/next</Redirect>", 7024), ('<Redirect method="PUT">https://example.com/</Redirect>', 7034)],
)
def test_a_redirect_to_nowhere_ends_the_call(element: str, code: int) -> None:
    assert Caller(element).ended_with() == (code, "Error")


def test_redirects_that_go_in_circles_are_a_loop() -> None:
    caller = Caller()
    for fetch in range(1, 71):
        assert caller.call.state is State.FETCHING
        caller.call.receive_document(fetch, xml(REDIRECT), 101.0)
    assert sum(isinstance(command, Fetch) for command in [*caller.commands, *caller.new()]) == 70
    assert caller.ended_with() == (2060, "Error")


def test_a_limit_of_no_documents_at_all_ends_the_call() -> None:
    call = Call(PLAN, replace(DOCUMENTED, limits=Limits(redirects=0)))
    call.start(0.0)
    assert [type(command) for command in call.to_send()] == [End]
    assert (call.state, call.next_deadline()) == (State.ENDED, None)


def test_late_and_foreign_documents_are_dropped() -> None:
    caller = Caller(REDIRECT)
    caller.new()
    for fetch_id in (0, 1, 3):
        caller.call.receive_document(fetch_id, xml(SPEAK), 102.0)
        caller.call.receive_failure(fetch_id, "late", 102.0)
    assert (caller.new(), caller.call.state) == ([], State.FETCHING)
    caller.call.receive_document(2, xml(SPEAK), 102.0)
    caller.call.receive_document(2, xml(REDIRECT), 102.0)
    assert caller.new() == [Answer(), Prompt("1", Speak("Hello"))]
    assert caller.call.state is State.PROMPTING


# Prompts.


def test_a_prompt_is_said_as_often_as_its_loop_says_each_under_its_own_name() -> None:
    caller = Caller('<Speak loop="3">Hello</Speak>')
    for number in ("1", "2", "3"):
        assert caller.new()[-1] == Prompt(number, Speak("Hello"))
        caller.call.receive_prompt_end(number, 102.0)
    assert caller.ended_with() == (4010, "Plivo")


def test_an_endless_prompt_ends_with_the_call_alone() -> None:
    caller = Caller('<Speak loop="0">Hello</Speak>', SPEAK)
    for number in range(1, 500):
        assert caller.new()[-1] == Prompt(str(number), Speak("Hello"))
        caller.call.receive_prompt_end(str(number), 102.0)
    caller.call.receive_hangup(103.0)
    assert caller.kinds() == ["Prompt", "StopPrompt", "End"]


def test_a_prompt_that_could_not_be_made_is_not_repeated() -> None:
    caller = Caller('<Speak loop="0">Hello</Speak>', "<Hangup/>")
    caller.call.receive_prompt_end("1", 102.0, heard=False)
    assert caller.ended_with() == (4000, "Answer XML")


@pytest.mark.parametrize("element", ['<Speak loop="0"/>', '<Play loop="0"></Play>'])
def test_an_endless_prompt_of_nothing_does_not_hold_the_call(element: str) -> None:
    caller = Caller(element)
    assert caller.kinds() == ["Answer", "End"]


def test_late_and_foreign_prompt_ends_are_dropped() -> None:
    caller = Caller(SPEAK, SPEAK)
    caller.call.receive_prompt_end("2", 102.0)
    caller.call.receive_prompt_end("0", 102.0)
    assert caller.kinds() == ["Answer", "Prompt"]
    caller.call.receive_prompt_end("1", 103.0)
    caller.call.receive_prompt_end("1", 103.0)
    assert caller.new() == [Prompt("2", Speak("Hello"))]


# Hanging up.


@pytest.mark.parametrize(("reason", "code"), [("rejected", 3020), ("busy", 3010)])
def test_a_call_can_be_refused_before_it_is_picked_up(reason: str, code: int) -> None:
    caller = Caller(f'<Hangup reason="{reason}"/>')
    assert caller.kinds() == ["End"]
    assert caller.ended_with() == (code, "Answer XML")
    caller = Caller(SPEAK, f'<Hangup reason="{reason}"/>')
    caller.call.receive_prompt_end("1", 102.0)
    assert caller.ended_with() == (4000, "Answer XML")


def test_a_hangup_on_schedule_lets_the_document_go_on() -> None:
    caller = Caller('<Hangup schedule="10"/>', '<Speak loop="0">Hello</Speak>')
    assert caller.call.next_deadline() == 111.0
    caller.call.handle_deadline(110.0)
    assert caller.kinds() == ["Answer", "Prompt"]
    caller.call.handle_deadline(111.0)
    assert caller.kinds() == ["StopPrompt", "End"]
    assert caller.ended_with() == (6000, "Plivo")
    assert caller.end().detail == "<Hangup schedule> was reached"
    assert caller.end().ran_to_end, "the document asked for it"


def test_the_document_may_be_over_before_the_schedule() -> None:
    assert Caller('<Hangup schedule="10"/>').ended_with() == (4010, "Plivo")


def test_the_caller_hangs_up() -> None:
    caller = Caller()
    caller.call.receive_hangup(102.0)
    assert caller.end().cause == HangupCause(1000, "Canceled", "Caller", "ORIGINATOR_CANCEL")
    caller = Caller(SPEAK)
    caller.call.receive_hangup(102.0)
    assert caller.end().cause == HangupCause(4000, "Normal Hangup", "Caller", "NORMAL_CLEARING")


def test_an_api_request_hangs_up_and_only_the_first_end_counts() -> None:
    caller = Caller(SPEAK)
    caller.call.hangup(HangupCause.of(4000, "API Request"), 102.0, "asked by REST")
    caller.call.receive_hangup(103.0)
    caller.call.hangup(HangupCause.of(6020, "Plivo"), 103.0)
    caller.call.handle_deadline(99_999.0)
    assert caller.end() == End(HangupCause.of(4000, "API Request"), "asked by REST", ran_to_end=True)


def test_a_call_that_never_started_can_be_hung_up() -> None:
    call = Call(PLAN, DOCUMENTED)
    call.receive_document(1, xml(SPEAK), 0.0)
    assert (call.to_send(), call.state, call.next_deadline()) == ([], State.NEW, None)
    call.receive_hangup(1.0)
    assert [type(command) for command in call.to_send()] == [End]


@pytest.mark.parametrize(
    ("limit", "longest", "at"),
    [(14_400, 86_400, 14_500.0), (60, 86_400, 160.0), (86_400, 86_400, 86_500.0), (86_400, 600, 700.0)],
)
def test_a_call_lasts_no_longer_than_its_time_limit(limit: int, longest: int, at: float) -> None:
    plan = replace(PLAN, time_limit=limit)
    caller = Caller(BLOCKING, plan=plan, profile=replace(DOCUMENTED, limits=Limits(call_seconds=longest)))
    assert caller.call.next_deadline() == at
    caller.call.handle_deadline(at)
    assert caller.ended_with() == (6000, "Plivo")
    assert caller.end().detail == "the call's time limit was reached"
    assert not caller.end().ran_to_end, "a limit cuts off what would have gone on"


def test_nothing_moves_an_ended_call() -> None:
    caller = Caller(BLOCKING, SPEAK)
    caller.call.receive_hangup(102.0)
    caller.new()
    caller.call.events()
    caller.call.receive_document(1, xml(SPEAK), 103.0)
    caller.call.receive_failure(1, "late", 103.0)
    caller.call.receive_prompt_end("1", 103.0)
    caller.call.receive_stream_open(1, 103.0)
    caller.call.receive_stream_end(1, 103.0)
    caller.call.handle_deadline(99_999.0)
    assert (caller.new(), caller.call.events(), caller.call.next_deadline()) == ([], [], None)


# Streams.


@PROFILES
def test_a_stream_that_keeps_the_call_alive_holds_the_document(profile: Profile) -> None:
    caller = Caller(BLOCKING, SPEAK, profile=profile)
    verb = Stream("wss://example.com/ws", keep_call_alive=True, stream_timeout=90)
    assert caller.new() == [Answer(), OpenStream(1, verb)]
    assert caller.call.state is State.STREAMING
    caller.call.receive_stream_open(1, 105.0)
    assert caller.call.next_deadline() == 195.0
    caller.call.receive_stream_end(1, 150.0)
    assert caller.new() == [Prompt("1", Speak("Hello"))]
    assert caller.call.next_deadline() == 100.0 + 14_400
    caller.call.receive_prompt_end("1", 151.0)
    assert caller.ended_with() == (4010, "Plivo")


def test_a_stream_beside_the_document_holds_the_call_by_the_documents() -> None:
    caller = Caller(BESIDE, SPEAK, profile=DOCUMENTED)
    assert caller.kinds() == ["Answer", "OpenStream", "Prompt"]
    caller.call.receive_stream_open(1, 102.0)
    caller.call.receive_prompt_end("1", 103.0)
    assert (caller.call.state, caller.new()) == (State.LINGERING, [])
    caller.call.receive_stream_end(1, 150.0)
    assert caller.ended_with() == (4010, "Plivo")


def test_a_stream_beside_the_document_does_not_hold_a_live_call() -> None:
    caller = Caller(BESIDE, SPEAK, profile=LIVE)
    caller.call.receive_stream_open(1, 102.0)
    caller.call.receive_prompt_end("1", 103.0)
    assert caller.ended_with() == (4010, "Plivo")
    assert Caller(BESIDE, profile=LIVE).ended_with() == (4010, "Plivo")


def test_a_stream_may_end_before_the_document_beside_it() -> None:
    caller = Caller(BESIDE, SPEAK, BESIDE)
    caller.call.receive_stream_open(1, 102.0)
    caller.call.receive_stream_end(1, 103.0)
    assert (caller.call.state, len(caller.call._run.streams)) == (State.PROMPTING, 0)
    caller.call.receive_prompt_end("1", 104.0)
    assert caller.new()[-1] == OpenStream(2, Stream("wss://example.com/ws"))
    assert caller.call.state is State.LINGERING


@pytest.mark.parametrize("then", [SPEAK, '<Wait length="9"/>', REDIRECT, ""])
def test_the_stream_timeout_runs_from_its_opening_in_every_state(then: str) -> None:
    caller = Caller('<Stream streamTimeout="5">wss://example.com/ws</Stream>', then)
    caller.new()
    caller.call.receive_stream_open(1, 103.0)
    assert caller.call.next_deadline() == 108.0
    caller.call.handle_deadline(108.0)
    assert caller.new() == [CloseStream(1, "stream timeout")]
    state = caller.call.state
    caller.call.receive_stream_end(1, 108.1)
    assert caller.call.state is (State.ENDED if state is State.LINGERING else state)


def test_a_stream_that_never_opened_ends_like_any_other() -> None:
    caller = Caller(BLOCKING, SPEAK)
    caller.call.receive_stream_end(1, 120.0)
    caller.call.receive_stream_open(1, 121.0)
    assert caller.kinds() == ["Answer", "OpenStream", "Prompt"]
    assert caller.call.next_deadline() == 100.0 + 14_400


def test_ends_of_streams_that_there_are_not_are_dropped() -> None:
    caller = Caller(BLOCKING, SPEAK)
    caller.call.receive_stream_end(2, 102.0)
    caller.call.receive_stream_open(2, 102.0)
    assert caller.call.state is State.STREAMING
    caller = Caller(BESIDE)
    caller.call.receive_stream_end(7, 102.0)
    assert caller.call.state is State.LINGERING


def test_no_more_streams_than_the_limit_are_opened() -> None:
    caller = Caller(BESIDE, BLOCKING, SPEAK)
    kinds = caller.new()
    assert [type(command) for command in kinds] == [Answer, OpenStream, RefuseStream, Prompt]
    several = replace(DOCUMENTED, limits=Limits(streams_per_call=2))
    caller = Caller(BESIDE, BLOCKING, SPEAK, profile=several)
    assert caller.kinds() == ["Answer", "OpenStream", "OpenStream"]
    assert caller.call.state is State.STREAMING
    caller.call.receive_stream_end(1, 102.0)
    assert caller.call.state is State.STREAMING
    caller.call.receive_stream_end(2, 102.0)
    assert caller.kinds() == ["Prompt"]


def test_one_stream_of_a_call_alone_may_play_audio() -> None:
    both = '<Stream bidirectional="true">wss://example.com/agent</Stream>'
    again = '<Stream bidirectional="true">wss://example.com/other</Stream>'
    caller = Caller(BESIDE, both, again, SPEAK, profile=replace(DOCUMENTED, limits=Limits(streams_per_call=3)))
    _, first, second, refused, _ = caller.new()
    assert isinstance(first, OpenStream)
    assert isinstance(second, OpenStream)
    assert isinstance(refused, RefuseStream)
    assert "one alone can play audio" in refused.reason
    with pytest.raises(UsageError, match="one alone can play audio"):
        caller.call.open_stream(Stream("wss://example.com/third", bidirectional=True), 102.0)
    caller.call.receive_stream_end(2, 103.0)
    caller.call.open_stream(Stream("wss://example.com/third", bidirectional=True), 104.0)


def test_a_lingering_call_waits_for_its_last_stream() -> None:
    caller = Caller(BESIDE, BESIDE, profile=replace(DOCUMENTED, limits=Limits(streams_per_call=2)))
    caller.call.receive_stream_end(2, 102.0)
    assert caller.call.state is State.LINGERING
    caller.call.receive_stream_end(1, 103.0)
    assert caller.ended_with() == (4010, "Plivo")


def test_a_stream_that_cannot_be_is_refused_and_the_document_goes_on() -> None:
    caller = Caller('<Stream keepCallAlive="true">https://example.com</Stream>', SPEAK)
    answer, refused, prompt = caller.new()
    assert (answer, prompt) == (Answer(), Prompt("1", Speak("Hello")))
    assert isinstance(refused, RefuseStream)
    assert "scheme https" in refused.reason


def test_the_caller_hangs_up_during_a_stream() -> None:
    caller = Caller(BLOCKING)
    caller.call.receive_stream_open(1, 102.0)
    caller.call.receive_hangup(103.0)
    assert caller.ended_with() == (4000, "Caller")
    caller.call.receive_stream_open(1, 104.0)
    assert caller.call.next_deadline() is None


# Time.


def test_several_deadlines_of_one_moment_end_the_call_once() -> None:
    document = ('<Hangup schedule="10"/>', '<Wait length="10"/>')
    caller = Caller(*document, plan=replace(PLAN, time_limit=11))
    caller.call.handle_deadline(500.0)
    assert caller.ended_with() == (6000, "Plivo")


def test_a_deadline_before_its_time_does_nothing() -> None:
    caller = Caller('<Wait length="10"/>', SPEAK)
    caller.new()
    caller.call.handle_deadline(110.999)
    assert (caller.new(), caller.call.state) == ([], State.WAITING)


# Whatever happens.

ELEMENTS = st.sampled_from(
    [
        SPEAK, '<Speak loop="0">Again</Speak>', '<Speak loop="2">Twice</Speak>', '<Wait length="2"/>', BLOCKING, BESIDE,
        REDIRECT, "<Redirect>nowhere</Redirect>", "<Hangup/>", '<Hangup schedule="3"/>', '<Hangup reason="busy"/>',
        "<Stream>http://example.com</Stream>", "<Conference>room</Conference>", "<Say>x</Say>", "<Speak/>",
    ]
)  # fmt: skip
BODIES = st.lists(ELEMENTS, max_size=5).map(lambda elements: xml(*elements)) | st.sampled_from([b"", b"<x/>", xml()])
SMALL = st.integers(0, 4)
INPUTS = st.lists(
    st.tuples(st.just("document"), SMALL, BODIES)
    | st.tuples(st.just("next document"), BODIES)
    | st.tuples(st.just("failure"), SMALL)
    | st.tuples(st.just("prompt_end"), SMALL, st.booleans())
    | st.tuples(st.just("next prompt_end"), st.booleans())
    | st.tuples(st.just("stream_open"), SMALL)
    | st.tuples(st.just("stream_end"), SMALL)
    | st.tuples(st.just("deadline"))
    | st.tuples(st.just("hangup"))
    | st.tuples(st.just("wait"), st.floats(0, 5)),
    max_size=40,
)


class Shell:
    """Feeds a call with anything, and keeps what must hold of every call."""

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self.call = Call(plan, profile)
        self.now = 0.0
        self.commands: list[Command] = []
        self.call.start(0.0)
        self.look()

    def give(self, given: tuple[Any, ...]) -> None:
        call, now = self.call, self.now
        match given:
            case ("document", fetch_id, body):
                call.receive_document(fetch_id, body, now)
            case ("next document", body):
                call.receive_document(sum(isinstance(command, Fetch) for command in self.commands), body, now)
            case ("failure", fetch_id):
                call.receive_failure(fetch_id, "no", now)
            case ("prompt_end", prompt_id, heard):
                call.receive_prompt_end(str(prompt_id), now, heard=heard)
            case ("next prompt_end", heard):
                last = sum(isinstance(command, Prompt) for command in self.commands)
                call.receive_prompt_end(str(last), now, heard=heard)
            case ("stream_open", index):
                call.receive_stream_open(index, now)
            case ("stream_end", index):
                call.receive_stream_end(index, now)
            case ("deadline",):
                self.now = max(now, call.next_deadline() or now)
                call.handle_deadline(self.now)
            case ("hangup",):
                call.receive_hangup(now)
            case ("wait", seconds):
                self.now += seconds
                call.handle_deadline(self.now)
        self.look()

    def look(self) -> None:
        call = self.call
        self.commands += call.to_send()
        call.events()
        ends = [command for command in self.commands if isinstance(command, End)]
        over = call.state is State.ENDED
        assert len(ends) == over
        deadline = call.next_deadline()
        assert (deadline is None) == over
        if over:
            assert self.commands[-1] is ends[0]
            assert call.end_cause == ends[0].cause
        else:
            assert deadline is not None
            assert deadline <= 14_400
        assert sum(isinstance(command, Answer) for command in self.commands) == (call.answered_at is not None)
        opened = [command.index for command in self.commands if isinstance(command, OpenStream)]
        assert opened == list(range(1, len(opened) + 1))
        assert len(call._run.streams) <= 1
        prompts = [command for command in self.commands if isinstance(command, Prompt | StopPrompt)]
        assert sum(isinstance(command, StopPrompt) for command in prompts) <= over
        fetched = [command.fetch_id for command in self.commands if isinstance(command, Fetch)]
        assert fetched == list(range(1, len(fetched) + 1))


@given(st.sampled_from([PLAN, WITH_FALLBACK]), st.sampled_from([DOCUMENTED, LIVE]), st.integers(1, 3), INPUTS)
def test_whatever_comes_in_whatever_order_a_call_ends_once_and_asks_for_nothing_after(
    plan: CallPlan, profile: Profile, streams: int, inputs: list[tuple[Any, ...]]
) -> None:
    limits = Limits(streams_per_call=streams, redirects=6)
    shell = Shell(plan, replace(profile, limits=limits))
    for act in inputs:
        shell.give(act)
    shell.give(("hangup",))
    assert shell.call.state is State.ENDED
    for act in inputs:
        shell.give(act)


STATES_AND_INPUTS = [
    (State.FETCHING, (), ("document", "failure", "hangup")),
    (State.PROMPTING, (SPEAK,), ("prompt_end", "hangup")),
    (State.WAITING, ('<Wait length="2"/>',), ("timer", "hangup")),
    (State.STREAMING, (BLOCKING,), ("stream_end", "hangup")),
    (State.LINGERING, (BESIDE,), ("stream_end", "hangup")),
    (State.ENDED, ("<Hangup/>",), ()),
]


@pytest.mark.parametrize(("state", "document", "moving"), STATES_AND_INPUTS)
def test_each_state_is_left_by_its_own_inputs_alone(
    state: State, document: tuple[str, ...], moving: tuple[str, ...]
) -> None:
    for what in ("document", "failure", "prompt_end", "timer", "stream_end", "hangup"):
        caller = Caller(*document)
        call = caller.call
        assert call.state is state
        fetch = sum(isinstance(command, Fetch) for command in [*caller.commands, *caller.new()])
        if what == "document":
            call.receive_document(fetch, xml("<Hangup/>"), 102.0)
        elif what == "failure":
            call.receive_failure(fetch, "no", 102.0)
        elif what == "prompt_end":
            call.receive_prompt_end("1", 102.0)
        elif what == "timer":
            call.handle_deadline(103.0)
        elif what == "stream_end":
            call.receive_stream_end(1, 102.0)
        else:
            call.receive_hangup(102.0)
        assert (call.state is not state) == (what in moving), what
