"""The states of a call that the carrier places, parks and transfers, and of one whose verbs take events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.core.call import Call
from bothway.core.course import TIME_LIMIT, CallPlan, State
from bothway.core.execution import Answer, CloseStream, Command, DigitPressed, DocumentKind, End, Fetch, Prompt, cause
from bothway.core.listening import Listen, SilenceHeard, SpeechHeard, SpeechOver, StopListening
from bothway.core.profile import DOCUMENTED, LIVE, Limits, Profile
from bothway.errors import UsageError
from bothway.wire.verbs import Stream

ANSWER = "https://example.com/answer"
PLACED = CallPlan(ANSWER, outbound=True)
PROFILES = pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)

SPEAK = "<Speak>Hello</Speak>"
DIGITS = '<GetDigits action="https://example.com/action" numDigits="2"><Speak>go</Speak></GetDigits>'
BLOCKING = '<Stream keepCallAlive="true" streamTimeout="90">wss://example.com/ws</Stream>'
BESIDE = "<Stream>wss://example.com/ws</Stream>"


def xml(*elements: str) -> bytes:
    return f"<Response>{''.join(elements)}</Response>".encode()


def started(plan: CallPlan = PLACED, profile: Profile = DOCUMENTED) -> Call:
    call = Call(plan, profile)
    call.start(0.0)
    return call


def running(*elements: str, profile: Profile = DOCUMENTED, plan: CallPlan = PLACED) -> Call:
    """A call that was answered at 5 s and has this document since 6 s."""
    call = started(plan, profile)
    call.receive_answer(5.0)
    if plan.answer_url is not None:
        call.receive_document(1, xml(*elements), 6.0)
    call.to_send()
    return call


def ended_with(call: Call) -> tuple[int, str]:
    assert call.state is State.ENDED
    assert call.end_cause is not None
    return call.end_cause.code, call.end_cause.source


# A call that the carrier places.


def test_a_placed_call_rings_and_its_document_is_fetched_at_the_answer() -> None:
    call = started()
    assert (call.state, call.to_send()) == (State.RINGING, [])
    call.receive_ringing(1.0)
    assert (call.state, call.to_send()) == (State.RINGING, [])
    call.receive_answer(5.0)
    assert (call.state, call.answered_at) == (State.FETCHING, 5.0)
    assert call.to_send() == [Answer(), Fetch(1, DocumentKind.ANSWER, ANSWER, "POST")]
    assert call.next_deadline() == 5.0 + 14_400, "the time limit runs from the answer"


def test_nobody_answers_in_time() -> None:
    call = started(replace(PLACED, ring_timeout=30))
    call.receive_ringing(2.0)
    assert call.next_deadline() == 30.0
    call.handle_deadline(30.0)
    assert ended_with(call) == (6010, "Plivo")
    call.receive_answer(30.1)
    assert call.answered_at is None


def test_a_call_is_given_up_while_it_rings() -> None:
    call = started(replace(PLACED, hangup_on_ring=3.0))
    call.receive_ringing(2.0)
    call.receive_ringing(4.0)
    call.handle_deadline(5.0)
    assert ended_with(call) == (1000, "API Request")


def test_the_called_party_refuses() -> None:
    call = started()
    call.receive_refusal(cause(3010, "Carrier"), 2.0, "busy here")
    assert ended_with(call) == (3010, "Carrier")
    call = running(SPEAK)
    call.receive_refusal(cause(3010, "Carrier"), 7.0)
    assert call.state is State.PROMPTING, "it has answered"


def test_the_called_party_hangs_up() -> None:
    call = running(SPEAK)
    call.receive_hangup(8.0)
    assert ended_with(call) == (4000, "Callee")


def test_the_answer_stops_every_timer_of_the_ringing() -> None:
    call = started(replace(PLACED, ring_timeout=30, hangup_on_ring=10.0, time_limit=100))
    call.receive_ringing(1.0)
    call.receive_answer(5.0)
    assert list(call._run.timers) == [TIME_LIMIT]
    call.handle_deadline(105.0)
    assert ended_with(call) == (6000, "Plivo")


def test_the_carriers_own_limit_is_the_longest() -> None:
    call = started(replace(PLACED, time_limit=10**6), replace(DOCUMENTED, limits=Limits(call_seconds=50)))
    call.receive_answer(5.0)
    assert call.next_deadline() == 55.0


# Screening.


def test_a_screened_call_waits_for_the_verdict() -> None:
    call = started(replace(PLACED, screened=True))
    call.receive_answer(5.0)
    assert (call.state, call.to_send()) == (State.SCREENING, [Answer()])
    call.receive_document(1, xml(SPEAK), 5.5)
    call.receive_digit("1", 5.5)
    assert call.state is State.SCREENING
    call.receive_screening({"Machine": "true"}, 6.0)
    assert call.to_send() == [Fetch(1, DocumentKind.ANSWER, ANSWER, "POST", params={"Machine": "true"})]
    call.receive_screening({"Machine": "false"}, 6.1)
    assert (call.state, call.to_send()) == (State.FETCHING, [])


def test_a_stream_of_a_screened_call_opens_and_ends_like_any_other() -> None:
    call = started(replace(PLACED, screened=True))
    call.receive_answer(5.0)
    assert call.open_stream(Stream("wss://example.com/ws", stream_timeout=9), 5.5) == 1
    call.receive_stream_open(1, 6.0)
    assert call.next_deadline() == 15.0
    call.receive_stream_end(1, 7.0)
    call.receive_screening({"Machine": "false"}, 8.0)
    call.receive_document(1, xml("<DTMF>1</DTMF>"), 9.0)
    assert ended_with(call) == (4010, "Plivo"), "no stream is left that would hold it"


def test_a_call_that_is_transferred_while_it_is_screened_waits_for_no_verdict() -> None:
    call = started(replace(PLACED, screened=True))
    call.receive_answer(5.0)
    call.transfer("https://example.com/next", "GET", 6.0)
    assert call.to_send() == [Answer(), Fetch(1, DocumentKind.TRANSFER, "https://example.com/next", "GET")]
    call.receive_screening({"Machine": "true"}, 6.5)
    assert (call.state, call.to_send()) == (State.FETCHING, [])


# Parked.


def test_a_call_without_a_document_is_parked_until_it_is_transferred() -> None:
    call = running(plan=CallPlan(None, outbound=True))
    assert (call.state, call.to_send()) == (State.PARKED, [])
    call.receive_digit("1", 6.0)
    call.receive_prompt_end("1", 6.0)
    call.receive_document(1, xml("<Hangup/>"), 6.0)
    assert call.state is State.PARKED
    call.transfer("https://example.com/next", "GET", 7.0)
    assert call.to_send() == [Fetch(1, DocumentKind.TRANSFER, "https://example.com/next", "GET")]
    call.receive_document(1, xml(SPEAK), 8.0)
    assert [type(command) for command in call.to_send()] == [Prompt]


def test_a_stream_may_be_opened_on_a_parked_call() -> None:
    call = running(plan=CallPlan(None, outbound=True))
    assert call.open_stream(Stream("wss://example.com/ws", stream_timeout=9), 7.0) == 1
    call.receive_stream_open(1, 8.0)
    assert call.next_deadline() == 17.0
    call.receive_stream_end(1, 9.0)
    assert call.state is State.PARKED


def test_no_stream_that_is_opened_from_outside_blocks_the_document() -> None:
    call = running(plan=CallPlan(None, outbound=True), profile=LIVE)
    call.open_stream(Stream("wss://example.com/ws", keep_call_alive=True), 7.0)
    call.transfer("https://example.com/next", "GET", 8.0)
    assert call.state is State.FETCHING


# Verbs that take events.


def test_a_verb_that_takes_events_runs_until_it_is_done() -> None:
    call = running(DIGITS, SPEAK)
    call.receive_prompt_end("1", 7.0)
    call.receive(SilenceHeard(), 7.5)
    call.receive_digit("1", 8.0)
    assert (call.state, call.to_send()) == (State.RUNNING, [])
    call.receive_digit("2", 9.0)
    assert [command.kind for command in call.to_send() if isinstance(command, Fetch)] == [DocumentKind.ACTION]


def test_a_verb_that_is_done_lets_the_next_one_run_and_leaves_no_timer() -> None:
    call = running(DIGITS, SPEAK)
    call.receive_prompt_end("1", 7.0)
    assert call.next_deadline() == 12.0
    call.handle_deadline(12.0)
    assert call.state is State.PROMPTING
    assert list(call._run.timers) == [TIME_LIMIT]


@pytest.mark.parametrize(
    ("state", "document"),
    [
        (State.PROMPTING, SPEAK),
        (State.WAITING, "<Wait/>"),
        (State.STREAMING, BLOCKING),
        (State.LINGERING, BESIDE),
    ],
)
def test_an_event_that_no_verb_waits_for_is_dropped(state: State, document: str) -> None:
    call = running(document)
    for event in (DigitPressed("1"), SilenceHeard(), SpeechHeard("yes", final=True)):
        call.receive(event, 7.0)
    call.receive_prompt_end("99", 7.0)
    call.receive_screening({}, 7.0)
    call.receive_answer(7.0)
    assert (call.state, call.to_send()) == (state, [])


# Transfers.


@PROFILES
@pytest.mark.parametrize(
    "document", [SPEAK, '<Wait length="9"/>', DIGITS, BESIDE + DIGITS, "<Redirect>http://a.b</Redirect>"]
)
def test_a_transfer_leaves_what_the_document_did(profile: Profile, document: str) -> None:
    call = running(document, "<Hangup/>", profile=profile)
    streams, fetches = dict(call._run.streams), call._run.fetches
    call.transfer("https://example.com/next", "POST", 7.0)
    commands = call.to_send()
    assert commands[-1] == Fetch(fetches + 1, DocumentKind.TRANSFER, "https://example.com/next", "POST")
    assert call._run.streams == streams, "streams beside the document go on"
    assert list(call._run.timers) == [TIME_LIMIT]
    assert any(isinstance(command, StopListening) for command in commands) == (DIGITS in document)
    call.receive_digit("1", 8.0)
    call.receive_prompt_end("1", 8.0)
    call.receive_document(fetches, xml("<Hangup/>"), 8.0)  # that is no longer waited for
    call.receive_failure(fetches, "late", 8.0)
    assert (call.state, call.to_send()) == (State.FETCHING, [])


def test_a_transfer_interrupts_a_blocking_stream_by_the_documents() -> None:
    call = running(BLOCKING, SPEAK, profile=DOCUMENTED)
    call.transfer("https://example.com/next", "POST", 7.0)
    assert [type(command) for command in call.to_send()] == [CloseStream, Fetch]
    call.receive_stream_end(1, 7.5)
    call.receive_document(2, xml("<Play>https://example.com/a.wav</Play>"), 8.0)
    assert [type(command) for command in call.to_send()] == [Prompt]


def test_a_transfer_waits_for_a_blocking_stream_in_the_live_system() -> None:
    call = running(BLOCKING, SPEAK, profile=LIVE)
    call.transfer("https://example.com/first", "POST", 7.0)
    call.transfer("https://example.com/next", "GET", 7.5)
    assert (call.state, call.to_send()) == (State.STREAMING, [])
    call.receive_stream_end(1, 9.0)
    assert call.to_send() == [Fetch(2, DocumentKind.TRANSFER, "https://example.com/next", "GET")]


def test_a_transfer_is_no_link_of_a_loop() -> None:
    redirect = xml("<Redirect>http://a.b</Redirect>")
    call = running("<Redirect>http://a.b</Redirect>", profile=replace(DOCUMENTED, limits=Limits(redirects=2)))
    for _ in range(3):
        call.transfer("https://example.com/next", "POST", 7.0)
        assert call.state is State.FETCHING
    for fetch_id in (5, 6):
        call.receive_document(fetch_id, redirect, 8.0)
    assert ended_with(call) == (2060, "Error")


def test_what_cannot_be_transferred() -> None:
    new = Call(PLACED, DOCUMENTED)
    over = running("<Hangup/>")
    for call in (new, started(), over):
        with pytest.raises(UsageError, match="can be transferred"):
            call.transfer("https://example.com/next", "POST", 2.0)


def test_the_last_stream_holds_the_call() -> None:
    call = running(BESIDE, BESIDE, profile=replace(DOCUMENTED, limits=Limits(streams_per_call=2)))
    call.receive_stream_end(1, 7.0)
    assert (call.state, call.to_send()) == (State.LINGERING, [])
    call.receive_stream_end(2, 8.0)
    assert ended_with(call) == (4010, "Plivo")


# Whatever happens.

ELEMENTS = st.sampled_from(
    [
        SPEAK, '<Wait length="2"/>', '<Wait length="2" silence="true"/>', BLOCKING, BESIDE, DIGITS,
        '<GetInput action="https://example.com/action"><Speak>go</Speak></GetInput>', '<DTMF async="false">1</DTMF>',
        '<GetDigits action="nowhere" numDigits="1"></GetDigits>', "<Hangup/>", '<Hangup schedule="3"/>',
        '<GetDigits action="https://example.com/action" redirect="false" numDigits="1"></GetDigits>',
        "<PreAnswer><Speak>early</Speak><Wait/></PreAnswer>", "<Redirect>https://example.com/next</Redirect>",
        "<Message>hi</Message>", "<MultiPartyCall>room</MultiPartyCall>",
    ]
)  # fmt: skip
EVENTS = (
    st.sampled_from("12#").map(DigitPressed)
    | st.builds(SpeechHeard, st.sampled_from(["", "yes"]), st.booleans(), st.booleans())
    | st.sampled_from([SilenceHeard(), SpeechOver()])
)
INPUTS = st.lists(
    st.tuples(st.just("document"), st.lists(ELEMENTS, max_size=4))
    | st.tuples(st.sampled_from(["failure", "prompt_end", "lost", "deadline", "stream_open", "stream_end"]))
    | st.tuples(st.sampled_from(["ringing", "answer", "refusal", "screening", "transfer", "open"]))
    | st.tuples(st.just("event"), EVENTS)
    | st.tuples(st.just("wait"), st.floats(0, 5)),
    max_size=40,
)
PLANS = st.builds(
    CallPlan,
    st.sampled_from([ANSWER, None]),
    outbound=st.booleans(),
    screened=st.booleans(),
    hangup_on_ring=st.sampled_from([None, 2.0]),
    ring_timeout=st.just(20),
)


class Shell:
    """Feeds a call with anything, and keeps what must hold of every call."""

    def __init__(self, plan: CallPlan, profile: Profile) -> None:
        self.call = Call(plan, profile)
        self.now = 0.0
        self.commands: list[Command] = []
        self.call.start(0.0)
        self.look()

    def count(self, *kinds: type) -> int:
        return sum(isinstance(command, kinds) for command in self.commands)

    def give(self, given: tuple[Any, ...]) -> None:
        call, now = self.call, self.now
        simple: dict[str, Callable[[], object]] = {
            "failure": lambda: call.receive_failure(self.count(Fetch), "no", now),
            "prompt_end": lambda: call.receive_prompt_end(str(self.count(Prompt)), now),
            "lost": lambda: call.receive_prompt_end(str(self.count(Prompt)), now, heard=False),
            "stream_open": lambda: call.receive_stream_open(1, now),
            "stream_end": lambda: call.receive_stream_end(1, now),
            "ringing": lambda: call.receive_ringing(now),
            "answer": lambda: call.receive_answer(now),
            "refusal": lambda: call.receive_refusal(cause(3010, "Carrier"), now),
            "screening": lambda: call.receive_screening({"Machine": "true"}, now),
            "transfer": lambda: call.transfer("https://example.com/next", "POST", now),
            "open": lambda: call.open_stream(Stream("wss://example.com/ws"), now),
        }
        match given:
            case ("document", elements):
                call.receive_document(self.count(Fetch), xml(*elements), now)
            case ("event", event):
                call.receive(event, now)
            case ("deadline",):
                self.now = max(now, call.next_deadline() or now)
                call.handle_deadline(self.now)
            case ("wait", seconds):
                self.now += seconds
                call.handle_deadline(self.now)
            case (what,):
                with suppress(UsageError):  # some may not be, now
                    simple[what]()
        self.look()

    def look(self) -> None:
        call = self.call
        self.commands += call.to_send()
        over = call.state is State.ENDED
        assert self.count(End) == over
        assert (call.next_deadline() is None) == (over or (call.state is State.PARKED and not call._run.timers))
        assert not over or isinstance(self.commands[-1], End)
        assert self.count(Answer) == (call.answered_at is not None)
        assert (call._run.machine is not None) == (call.state is State.RUNNING)
        listening = [it for it in self.commands if isinstance(it, Listen | StopListening)]
        if listening and call.state is not State.RUNNING:
            assert isinstance(listening[-1], StopListening), "nobody listens when no verb runs"


@given(PLANS, st.sampled_from([DOCUMENTED, LIVE]), INPUTS)
def test_whatever_comes_in_whatever_order_a_call_ends_once_and_asks_for_nothing_after(
    plan: CallPlan, profile: Profile, inputs: list[tuple[Any, ...]]
) -> None:
    shell = Shell(plan, replace(profile, limits=Limits(redirects=6)))
    for act in inputs:
        shell.give(act)
    shell.call.receive_hangup(shell.now)
    shell.look()
    assert shell.call.state is State.ENDED
    asked = len(shell.commands)
    for act in inputs:
        shell.give(act)
    assert len(shell.commands) == asked
