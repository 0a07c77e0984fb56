"""The keeping of a conference, without calls: who is in, and what is asked for by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import convert
from bothway.core.conference import (
    CloseConference,
    ConferenceBegun,
    ConferenceRoom,
    FloorTaken,
    Member,
    Parting,
    PlayToAll,
    PutOut,
    TakeDown,
)
from bothway.errors import UsageError
from bothway.wire.verbs import Conference

PLAIN = Conference("room")
WAITS = replace(PLAIN, start_conference_on_enter=False)


class Gathering:
    """A conference, and what came of it."""

    def __init__(self, first: Conference = PLAIN) -> None:
        self.core = ConferenceRoom(first, start=10.0, now=10.0)
        self.first = first

    def enter(self, verb: Conference | None = None, audio_format: AudioFormat = MULAW_8K, now: float = 10.0) -> Member:
        return self.core.enter(verb or self.first, audio_format, now)

    def heard(self, member: Member) -> tuple[bool, bool]:
        """Whether others hear it, and it hears others."""
        return not member.seat.muted, not member.seat.deaf


def test_members_have_numbers_that_no_other_has_or_had() -> None:
    g = Gathering()
    assert [g.enter().member_id for _ in range(3)] == ["1", "2", "3"]
    g.core.leave("2")
    assert g.enter().member_id == "4"
    assert list(g.core.members) == ["1", "3", "4"]
    assert g.core.members["4"].joined_at == 10.0


def test_nobody_is_heard_until_it_begins_and_then_for_good() -> None:
    g = Gathering(WAITS)
    waiting = [g.enter(), g.enter(replace(WAITS, muted=True))]
    assert [g.heard(member) for member in waiting] == [(False, False), (False, False)]
    assert (g.core.begun, g.core.events()) == (False, [])
    host = g.enter(PLAIN)
    assert g.core.events() == [ConferenceBegun()]
    assert [g.heard(member) for member in [*waiting, host]] == [(True, True), (False, True), (True, True)]
    g.core.leave(host.member_id)
    assert g.heard(g.enter()) == (True, True)
    assert g.core.events() == []


def test_rest_mutes_and_deafens_at_once_or_when_it_begins() -> None:
    g = Gathering(WAITS)
    one, other = g.enter(), g.enter()
    g.core.mute("1", on=True)
    g.core.deafen("2", on=True)
    assert (one.muted, one.deaf, other.muted, other.deaf) == (True, False, False, True)
    g.enter(PLAIN)
    assert [g.heard(one), g.heard(other)] == [(False, True), (True, False)]
    g.core.mute("1", on=False)
    g.core.deafen("2", on=False)
    assert [g.heard(one), g.heard(other)] == [(True, True), (True, True)]
    g.core.mute("9", on=True)
    g.core.deafen("9", on=True)


def test_the_first_says_how_many_may_come_in() -> None:
    g = Gathering(replace(PLAIN, max_members=2))
    g.enter()
    g.enter(replace(PLAIN, max_members=20))
    with pytest.raises(UsageError, match="full: it has 2 members"):
        g.enter(replace(PLAIN, max_members=20))
    g.core.leave("1")
    g.enter()


def test_twenty_come_in_and_one_more_does_not() -> None:
    g = Gathering()
    for _ in range(20):
        g.enter()
    with pytest.raises(UsageError, match="full: it has 20 members"):
        g.enter()


def test_the_last_to_leave_closes_it() -> None:
    g = Gathering()
    g.enter()
    g.core.leave("1")
    assert (g.core.over, g.core.to_send(), g.core.next_deadline()) == (True, [CloseConference()], None)
    with pytest.raises(UsageError, match="over"):
        g.enter()
    g.core.leave("1")
    g.core.kick("1")
    assert g.core.to_send() == []


def test_a_kicked_member_is_told_and_its_exit_is_heard() -> None:
    g = Gathering(replace(PLAIN, exit_sound="beep:2"))
    g.enter()
    g.enter()
    g.core.kick("1")
    assert g.core.to_send() == [PutOut("1", Parting.KICKED, last=False), PlayToAll("1", "beep:2", exits=True)]
    g.core.kick("2")
    assert g.core.to_send() == [PutOut("2", Parting.KICKED, last=True), CloseConference()]


@pytest.mark.parametrize("kicked", [False, True])
def test_a_member_whose_exit_ends_it_puts_all_out(kicked: bool) -> None:
    g = Gathering()
    for verb in (PLAIN, replace(PLAIN, end_conference_on_exit=True, exit_sound="beep:1"), PLAIN):
        g.enter(verb)
    if kicked:
        g.core.kick("2")
        assert g.core.to_send()[:1] == [PutOut("2", Parting.KICKED, last=False)]
    g2 = Gathering()
    for verb in (PLAIN, replace(PLAIN, end_conference_on_exit=True), PLAIN):
        g2.enter(verb)
    g2.core.leave("2")
    assert g2.core.to_send() == [
        PutOut("1", Parting.ENDED, last=False),
        PutOut("3", Parting.ENDED, last=True),
        CloseConference(),
    ]
    assert (g2.core.over, len(g2.core.room)) == (True, 0)


def test_one_that_is_left_alone_is_put_out_if_anybody_asked_for_that() -> None:
    g = Gathering()
    g.enter()
    g.enter(replace(PLAIN, stay_alone=False))
    g.enter()
    g.core.leave("2")
    assert g.core.to_send() == []
    g.core.leave("3")
    assert g.core.to_send() == [PutOut("1", Parting.ALONE, last=True), CloseConference()]


def test_who_comes_first_waits_for_others_all_the_same() -> None:
    g = Gathering(replace(PLAIN, stay_alone=False))
    g.enter()
    assert (g.core.to_send(), g.core.over) == ([], False)


def test_the_first_says_how_long_it_lasts() -> None:
    g = Gathering(replace(PLAIN, time_limit=60))
    g.enter()
    g.enter(replace(PLAIN, time_limit=5), now=20.0)
    assert g.core.next_deadline() == 70.0
    g.core.handle_deadline(69.9)
    assert g.core.to_send() == []
    g.core.handle_deadline(70.0)
    assert [type(command) for command in g.core.to_send()] == [PutOut, PutOut, CloseConference]
    assert g.core.next_deadline() is None


def test_sounds_are_heard_by_those_that_hear_each_other() -> None:
    g = Gathering(replace(WAITS, enter_sound="beep:1"))
    g.enter()
    assert g.core.to_send() == []
    g.enter(replace(PLAIN, enter_sound="http://app/enter", exit_sound="http://app/exit"))
    g.core.leave("2")
    assert g.core.to_send() == [
        PlayToAll("2", "http://app/enter", exits=False),
        PlayToAll("2", "http://app/exit", exits=True),
    ]


def test_it_is_recorded_while_two_talk() -> None:
    g = Gathering(WAITS)
    g.enter()
    g.enter(replace(WAITS, record=True))
    assert g.core.to_send() == []
    g.enter(replace(PLAIN, record=True))
    g.core.leave("1")
    assert g.core.to_send() == [TakeDown("2", on=True)]
    g.core.leave("2")
    assert g.core.to_send() == [TakeDown("2", on=False)]
    g.enter()
    assert g.core.to_send() == [TakeDown("2", on=True)]


def test_it_is_recorded_when_one_is_alone_if_that_was_asked_for() -> None:
    g = Gathering(replace(PLAIN, record=True, record_when_alone=True))
    g.enter()
    assert g.core.to_send() == [TakeDown("1", on=True)]
    g.enter()
    g.core.leave("1")
    assert g.core.to_send() == []


def test_keys_pass_where_the_voice_does() -> None:
    g = Gathering(WAITS)
    g.enter()
    g.enter()
    assert g.core.hears_keys_of("1") == []
    g.enter(PLAIN)
    g.core.deafen("2", on=True)
    assert g.core.hears_keys_of("1") == ["3"]
    assert g.core.hears_keys_of("2") == ["1", "3"]
    g.core.mute("2", on=True)
    assert g.core.hears_keys_of("2") == []
    assert g.core.hears_keys_of("9") == []


def test_the_floor_is_kept_until_another_speaks() -> None:
    g = Gathering(replace(PLAIN, floor_event=True))
    members = [g.enter(audio_format=audio_format) for audio_format in (MULAW_8K, MULAW_8K, L16_16K)]
    assert g.core.follows_floor
    g.core.events()
    speech = tone(440, 20, 8000)
    taken = []
    for number, speaker in enumerate([None] * 5 + [0] * 10 + [None] * 30 + [0] * 10 + [None] * 30 + [2] * 10):
        for place, member in enumerate(members):
            at = 10.0 + number * 0.02
            said = convert(speech, L16_8K, member.seat.format) if place == speaker else member.seat.format.silent_frame
            member.seat.say(said.ljust(member.seat.format.frame_bytes, b"\0"), at)
            member.seat.hear(at)
        g.core.poll()
        taken += g.core.events()
    assert taken == [FloorTaken("1"), FloorTaken("3")]


def test_without_floor_events_nobody_measures() -> None:
    g = Gathering()
    g.enter()
    g.core.poll()
    assert not g.core.follows_floor
    assert g.core.events() == [ConferenceBegun()]


VERBS = st.builds(
    Conference,
    room=st.just("room"),
    start_conference_on_enter=st.booleans(),
    end_conference_on_exit=st.sampled_from([False, False, False, True]),
    stay_alone=st.sampled_from([True, True, False]),
    exit_sound=st.sampled_from([None, "beep:1"]),
    record=st.booleans(),
    record_when_alone=st.booleans(),
)
STEPS = st.lists(st.one_of(VERBS, st.tuples(st.sampled_from(["leave", "kick"]), st.integers(1, 8))), max_size=30)


@given(STEPS)
def test_everybody_is_out_once_and_a_closed_one_is_empty(steps: list[Conference | tuple[str, int]]) -> None:
    core = ConferenceRoom(PLAIN, start=0.0, now=0.0)
    inside: list[str] = []
    closed, on = False, False
    for step in steps:
        if isinstance(step, Conference):
            if closed:
                break
            inside.append(core.enter(step, MULAW_8K, 0.0).member_id)
        else:
            what, number = step
            getattr(core, what)(str(number))
            if what == "leave" and str(number) in inside:
                inside.remove(str(number))
        for command in core.to_send():
            assert not closed, "nothing follows the close"
            if isinstance(command, PutOut):
                inside.remove(command.member_id)
                assert command.last == (not inside)
            elif isinstance(command, TakeDown):
                assert command.on is not on
                on = command.on
            elif isinstance(command, PlayToAll):
                assert inside
            closed = isinstance(command, CloseConference)
        assert list(core.members) == inside
        assert len(core.room) == len(inside)
        assert closed == core.over == (core.next_deadline() is None)
        assert closed <= (not inside)
        assert all(member.seat.muted != core.begun for member in core.members.values())
