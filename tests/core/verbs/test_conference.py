"""The part of one call in a conference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.audio.format import MULAW_8K
from bothway.core.conference import (
    ConferenceBegun,
    ConferenceJoined,
    ConferenceRecording,
    ConferenceRefused,
    ConferenceRoom,
    FloorTaken,
    JoinConference,
    LeaveConference,
    Parting,
    PutOut,
    RelayDigit,
)
from bothway.core.execution import CallBack, DigitPressed, PromptEnded, Wait
from bothway.core.listening import Listen, PressKeys, StopListening
from bothway.core.side_document import FetchSounds, SoundsFetched
from bothway.core.verbs.conference import ConferenceMachine, execute
from bothway.wire.verbs import Conference

ROOM = Conference("room", callback_url="http://app/cb", action="http://app/action")
WHERE = {"ConferenceName": "room", "ConferenceUUID": "u-1", "ConferenceMemberID": "1"}


class Call(Recorder):
    """A call in a conference, with the others that it needs."""

    def __init__(self, verb: Conference = ROOM, *, others: int = 0, begun: bool = True) -> None:
        super().__init__()
        self.verb = verb
        first = verb if begun else replace(verb, start_conference_on_enter=False)
        self.room = ConferenceRoom(first, start=0.0, now=0.0)
        self.member = self.room.enter(first, MULAW_8K, 0.0)
        for _ in range(others):
            self.room.enter(first, MULAW_8K, 0.0)
        assert execute(verb, self, 1.0) is Wait.VERB
        (machine,) = (what[1] for what in self.asked if what[0] == "begin")
        assert isinstance(machine, ConferenceMachine)
        self.machine = machine
        assert self.take() == [("begin", machine), ("answer",), ("send", JoinConference(verb))]

    def joined(self) -> Call:
        self.machine.receive(ConferenceJoined("u-1", self.room, self.member, first=True), 1.0)
        return self

    def take(self) -> list[tuple[object, ...]]:
        asked, self.asked = self.asked, []
        return asked

    @property
    def sent(self) -> list[Any]:
        return [what[1] for what in self.take() if what[0] == "send"]


def told(action: str, event: str, **more: str) -> CallBack:
    params = {"ConferenceAction": action, **WHERE, **more}
    return CallBack("conference", "http://app/cb", "POST", event, params)


ENTER = told("enter", "ConferenceEnter", ConferenceFirstMember="true")
EXIT = told("exit", "ConferenceExit", ConferenceLastMember="true")
STAYS = told("exit", "ConferenceExit", ConferenceLastMember="false")
FOLLOW = ("follow", "Conference", "http://app/action", "POST", True, WHERE)


def test_it_enters_and_is_put_out() -> None:
    call = Call().joined()
    assert call.sent == [ENTER]
    call.machine.receive(PutOut("1", Parting.KICKED, last=False), 2.0)
    assert call.take() == [("send", STAYS), FOLLOW]
    call.machine.receive(DigitPressed("1"), 3.0)
    call.machine.stop(3.0)
    assert call.take() == []


def test_one_that_cannot_come_in_goes_on_and_says_of_which_conference() -> None:
    call = Call()
    call.machine.receive(ConferenceRefused("it is full"), 1.0)
    remark, follow = call.take()
    assert remark == ("remark", "the call does not come into the conference: it is full")
    nowhere = {"ConferenceName": "room", "ConferenceUUID": "", "ConferenceMemberID": ""}
    assert follow == ("follow", "Conference", "http://app/action", "POST", True, nowhere)
    call.machine.stop(2.0)
    assert call.take() == []


@pytest.mark.parametrize(("others", "told_of"), [(0, EXIT), (1, STAYS)])
def test_the_end_of_the_call_is_an_exit(others: int, told_of: CallBack) -> None:
    call = Call(others=others).joined()
    call.take()
    call.machine.stop(2.0)
    assert call.take() == [("send", LeaveConference()), ("send", told_of)]


def test_a_call_that_ends_before_it_is_in_was_never_in() -> None:
    call = Call(replace(ROOM, digits_match="1"))
    call.machine.receive(DigitPressed("1"), 1.0)
    call.machine.stop(1.0)
    assert call.take() == [("send", LeaveConference())]


def test_a_star_leaves_where_it_is_asked_for() -> None:
    call = Call(replace(ROOM, hangup_on_star=True, redirect=False), others=1).joined()
    assert call.sent == [ENTER, Listen(keys=True)]
    call.machine.receive(DigitPressed("*"), 2.0)
    left = [("send", LeaveConference()), ("send", StopListening()), ("send", STAYS)]
    assert call.take() == [*left, (*FOLLOW[:4], False, WHERE)]


def test_a_star_is_a_key_like_others_elsewhere() -> None:
    call = Call().joined()
    call.take()
    call.machine.receive(DigitPressed("*"), 2.0)
    assert call.sent == [RelayDigit("*")]


def test_keys_are_relayed_and_patterns_reported() -> None:
    call = Call(replace(ROOM, digits_match="12,#")).joined()
    assert call.sent == [ENTER, Listen(keys=True)]
    for digit in "12#":
        call.machine.receive(DigitPressed(digit), 2.0)
    call.machine.receive(DigitPressed("#", in_band=True), 2.0)
    match = [told("digits", "ConferenceDigitsMatch", ConferenceDigitsMatch=keys) for keys in ("12", "#", "#")]
    assert call.sent == [RelayDigit("1"), RelayDigit("2"), match[0], RelayDigit("#"), match[1], match[2]]


def test_keys_are_not_relayed_where_that_is_not_wanted() -> None:
    call = Call(replace(ROOM, relay_dtmf=False)).joined()
    call.take()
    call.machine.receive(DigitPressed("1"), 2.0)
    assert call.take() == []


@pytest.mark.parametrize(("wanted", "sent"), [(True, [told("floor", "ConferenceFloor")]), (False, [])])
def test_the_floor(wanted: bool, sent: list[CallBack]) -> None:
    call = Call(replace(ROOM, floor_event=wanted)).joined()
    call.take()
    call.machine.receive(FloorTaken("1"), 2.0)
    assert call.sent == sent


def test_the_action_knows_of_the_recording() -> None:
    call = Call().joined()
    call.take()
    call.machine.receive(ConferenceRecording("r-1", "http://carrier/r-1.mp3"), 2.0)
    call.machine.receive(PutOut("1", Parting.TIME_LIMIT, last=True), 3.0)
    known = {"RecordUrl": "http://carrier/r-1.mp3", "RecordingID": "r-1"}
    exited = told("exit", "ConferenceExit", **known, ConferenceLastMember="true")
    assert call.take() == [("send", exited), (*FOLLOW[:5], WHERE | known)]


def test_keys_are_pressed_towards_the_member() -> None:
    call = Call(replace(ROOM, send_digits="1w2")).joined()
    _, press = call.sent
    assert isinstance(press, PressKeys)
    assert (press.plan.keys, press.length_ms) == ("12", 900)
    call = Call(replace(ROOM, send_digits="w")).joined()
    assert call.sent == [ENTER]
    call = Call(replace(ROOM, send_digits="?")).joined()
    assert [what[0] for what in call.take()] == ["send", "remark"]


def test_without_urls_nothing_is_told() -> None:
    call = Call(Conference("room")).joined()
    assert call.take() == []
    call.machine.receive(PutOut("1", Parting.KICKED, last=True), 2.0)
    assert call.take() == [("follow", "Conference", None, "POST", True, WHERE)]


WAITING = replace(ROOM, wait_sound="http://app/wait", callback_url=None)
MUSIC = b"<Response><Play>http://app/m.wav</Play></Response>"


def test_music_is_heard_over_and_over_until_it_begins() -> None:
    call = Call(WAITING, begun=False).joined()
    assert call.sent == [FetchSounds("http://app/wait", "ConferenceRemoteSounds")]
    call.machine.receive(SoundsFetched("http://app/wait", MUSIC), 1.0)
    for _ in range(3):
        ((what, _),) = call.take()
        assert what == "say"
        call.machine.receive(PromptEnded("1", heard=True), 2.0)
    call.machine.receive(ConferenceBegun(), 3.0)
    assert ("hush",) in call.take()
    call.machine.receive(PromptEnded("1", heard=True), 4.0)
    assert call.take() == []


def test_music_that_cannot_be_read_is_silence() -> None:
    call = Call(WAITING, begun=False).joined()
    call.machine.receive(SoundsFetched("http://app/wait", b"no xml"), 1.0)
    call.take()
    call.machine.receive(ConferenceBegun(), 3.0)
    assert call.take() == []


def test_music_stops_when_the_member_goes() -> None:
    call = Call(WAITING, begun=False).joined()
    call.machine.receive(SoundsFetched("http://app/wait", MUSIC), 1.0)
    call.take()
    call.machine.receive(PutOut("1", Parting.KICKED, last=True), 2.0)
    assert ("hush",) in call.take()


def test_there_is_no_music_in_a_conference_that_has_begun() -> None:
    assert Call(WAITING).joined().take() == []
