from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.room_model import Member, RoomModel

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.mix import mix
from bothway.audio.tones import tone
from bothway.audio.transcode import Transcoder, convert, from_l16, to_l16
from bothway.core.room import FloorPassed, PlayedToAll, Room, Seat
from bothway.errors import UsageError

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
FORMATS = [MULAW_8K, ALAW_8K, L16_8K, L16_16K, L16_24K]


def frame(number: int, audio_format: AudioFormat = MULAW_8K) -> bytes:
    """A frame unlike its neighbours, with bytes of every value."""
    return bytes((number * 7 + at) % 256 for at in range(audio_format.frame_bytes))


def due(phase: int, number: int) -> float:
    """When the frame of this number is due for a member of this phase, in a clock that does not begin at zero."""
    return 1000.0 + phase * 0.005 + number * 0.02


def room(**settings: Any) -> Room:
    return Room(1000.0, **settings)


def tick(seat: Seat, phase: int, number: int, said: bytes | None = None) -> bytes | None:
    """One frame of a member: says what is given, or silence."""
    at = due(phase, number)
    seat.say(seat.format.silent_frame if said is None else said, at)
    return seat.hear(at)


class Recorder:
    """A tap that keeps what it gets."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def frame(self, l16: bytes) -> None:
        self.frames.append(l16)


# A room of two: a bridge.


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
@pytest.mark.parametrize("phases", [(0, 0), (0, 1), (1, 0), (3, 0), (0, 3), (2, 2)])
def test_two_hear_each_other_byte_by_byte_and_at_most_a_frame_later(
    audio_format: AudioFormat, phases: tuple[int, int]
) -> None:
    bridge = room(capacity=2)
    seats = [bridge.join(audio_format), bridge.join(audio_format)]
    heard: list[list[bytes | None]] = [[], []]
    said = [[frame(who * 100 + number, audio_format) for number in range(60)] for who in (0, 1)]
    for number in range(60):
        for who in sorted((0, 1), key=lambda who: phases[who]):
            heard[who].append(tick(seats[who], phases[who], number, said[who][number]))
    for who, other in ((0, 1), (1, 0)):
        # In the same slot or before it means: with the next frame.
        delay = 0 if phases[other] < phases[who] else 1
        assert heard[who][delay:] == said[other][: 60 - delay]
        assert heard[who][:delay] == [None] * delay
    assert [(seat.pads, seat.drops) for seat in seats] == [(0, 0), (0, 0)]


def test_what_is_heard_is_what_was_said_without_a_copy() -> None:
    bridge = room()
    one, other = bridge.join(MULAW_8K), bridge.join(MULAW_8K)
    said = frame(1)
    tick(one, 0, 0, said)
    assert tick(other, 1, 0) is said


def test_a_and_mu_law_meet_by_their_table() -> None:
    bridge = room()
    one, other = bridge.join(MULAW_8K), bridge.join(ALAW_8K)
    tick(one, 0, 0, frame(3))
    assert tick(other, 1, 0) == convert(frame(3), MULAW_8K, ALAW_8K)


def test_any_phase_will_do_and_its_rounding_never_skips_or_repeats() -> None:
    for offset in (0.0024, 0.0025, 0.0026, 0.0075, 0.0199):
        bridge = room()
        one, other = bridge.join(MULAW_8K), bridge.join(MULAW_8K)
        heard = []
        for number in range(500):
            one.say(frame(number), 1000.0 + number * 0.02)
            one.hear(1000.0 + number * 0.02)
            other.say(MULAW_8K.silent_frame, 1000.0 + offset + number * 0.02)
            heard.append(other.hear(1000.0 + offset + number * 0.02))
        assert [one for one in heard if one is not None] == [frame(number) for number in range(500)][: len(heard)] or (
            heard[0] is None and heard[1:] == [frame(number) for number in range(499)]
        )


def test_an_hour_later_nothing_has_drifted() -> None:
    bridge = room()
    one, other = bridge.join(MULAW_8K), bridge.join(MULAW_8K)
    for number in (0, 1, 180_000, 180_001):
        tick(one, 2, number, frame(number))
        assert tick(other, 3, number) == frame(number)


# Several.


def test_each_hears_all_but_itself() -> None:
    conference = room()
    seats = [conference.join(L16_8K) for _ in range(4)]
    said = [frame(number, L16_8K) for number in range(4)]
    for who, seat in enumerate(seats):
        seat.say(said[who], due(0, 0))
        seat.hear(due(0, 0))
    for who, seat in enumerate(seats):
        others = [np.frombuffer(said[other], "<i2").astype(int) for other in range(4) if other != who]
        expected = np.clip(sum(others), -32768, 32767).astype("<i2").tobytes()
        assert tick(seat, 0, 1) == expected


def test_g711_is_added_as_l16() -> None:
    conference = room()
    one, two, three = (conference.join(MULAW_8K) for _ in range(3))
    tick(one, 0, 0, frame(1))
    tick(two, 1, 0, frame(2))
    assert tick(three, 2, 0, frame(3)) == mix(frame(1), frame(2), MULAW_8K)
    assert tick(one, 0, 1) == mix(frame(2), frame(3), MULAW_8K)


def test_one_who_speaks_alone_among_many_passes_as_it_is() -> None:
    conference = room()
    seats = [conference.join(MULAW_8K) for _ in range(5)]
    conference.join(L16_16K)
    tick(seats[0], 0, 0, bytes([0x7F]) * 160)  # negative zero: L16 does not have it
    for seat in seats[1:]:
        assert tick(seat, 1, 0) == bytes([0x7F]) * 160


def test_the_muted_are_not_heard_and_the_deaf_hear_nothing_from_the_next_frame_on() -> None:
    conference = room()
    one, other = conference.join(MULAW_8K, muted=True), conference.join(MULAW_8K, deaf=True)
    tick(one, 0, 0, frame(1))
    assert tick(other, 1, 0, frame(2)) is None
    one.muted = other.deaf = False
    assert tick(one, 0, 1, frame(3)) == frame(2)
    assert tick(other, 1, 1) == frame(3)


def test_who_left_says_and_hears_nothing_and_makes_room() -> None:
    conference = room(capacity=2)
    one, other = conference.join(MULAW_8K), conference.join(MULAW_8K)
    with pytest.raises(UsageError, match="full"):
        conference.join(MULAW_8K)
    tick(one, 0, 0, frame(1))
    one.leave()
    one.leave()
    assert len(conference) == 1
    assert tick(other, 1, 0, frame(9)) == frame(1)  # the last that it said
    assert tick(one, 0, 1, frame(2)) is None
    assert tick(other, 1, 1) is None
    assert tick(conference.join(MULAW_8K), 2, 1) is None


def test_a_frame_of_a_wrong_size_is_its_sayer_s_fault() -> None:
    with pytest.raises(UsageError, match="160 bytes, not 320"):
        room().join(MULAW_8K).say(bytes(320), 1000.0)


SAMPLES = st.lists(st.sampled_from([-32768, -20000, -1, 0, 1, 300, 20000, 32767]), min_size=2, max_size=2)
SCHEDULES = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2), SAMPLES), max_size=150)


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=5),
    SCHEDULES,
    st.sampled_from([L16_8K, L16_16K]),
    st.sets(st.integers(0, 4)),
)
def test_whenever_they_are_ticked_they_hear_what_the_model_says(
    phases: list[int], schedule: list[tuple[int, int, list[int]]], audio_format: AudioFormat, quiet: set[int]
) -> None:
    """Members may be ticked in any order, and be two frames behind each other."""
    conference, model = room(), RoomModel()
    members = [Member(phase, muted=who in quiet, deaf=who + 1 in quiet) for who, phase in enumerate(phases)]
    seats = [conference.join(audio_format, muted=member.muted, deaf=member.deaf) for member in members]
    repeats = audio_format.frame_samples // 2
    for pick, count, samples in schedule:
        who = pick % len(members)
        slowest = min(range(len(members)), key=lambda one: members[one].slot)
        if members[who].slot > members[slowest].slot + 8:
            who = slowest
        member, seat = members[who], seats[who]
        for _ in range(count):
            at = 1000.0 + member.slot * 0.005
            seat.say(np.array(samples * repeats, "<i2").tobytes(), at)
            model.say(member, samples)
            heard = seat.hear(at) or audio_format.silent_frame
            assert heard == np.array(model.hear(member, 2) * repeats, "<i2").tobytes()
            member.ticks += 1
        assert (seat.pads, seat.drops) == (member.pads, member.drops)


# Late.


def stalled(phases: list[int], stall: int) -> tuple[list[Seat], dict[int, list[bytes | None]], dict[int, int]]:
    """A ticker stands still for `stall` slots, and catches up two frames a tick. Gives what each heard of the first."""
    bridge = room()
    seats = [bridge.join(MULAW_8K) for _ in phases]
    heard: dict[int, list[bytes | None]] = {who: [] for who in range(len(phases))}
    taken = dict.fromkeys(range(len(phases)), 0)

    def wake(now: int, phase: int) -> None:
        for who, own in enumerate(phases):
            if own != phase:
                continue
            for _ in range(min(2, (now - own) // 4 + 1 - taken[who])):
                number = taken[who]
                taken[who] += 1
                said = frame(1 + number % 250) if who == 0 else None
                heard[who].append(tick(seats[who], own, number, said))

    for now in range(400):
        wake(now, now % 4)
    for step in range(400 + stall - 3, 400 + stall + 1):  # as the ticker does: each phase once
        wake(400 + stall, step % 4)
    for now in range(401 + stall, 400 + stall + 1600):
        wake(now, now % 4)
    return seats, heard, taken


@pytest.mark.parametrize("stall", [3, 4, 5, 7, 9, 22, 100, 390])
@pytest.mark.parametrize("phases", [[0, 0], [0, 1], [1, 0], [0, 3], [3, 0], [2, 3, 0, 1]])
def test_after_a_stall_nothing_is_lost_but_the_pause_and_the_delay_goes_away(phases: list[int], stall: int) -> None:
    seats, heard, taken = stalled(phases, stall)
    speaker = seats[0]
    assert speaker.pads == speaker.drops <= 2
    if stall < 4 or len(set(phases)) == 1:
        assert speaker.pads == 0  # no order was upset
    for who in range(1, len(phases)):
        said = [frame(1 + number % 250) for number in range(taken[0])]
        begun = next(at for at, one in enumerate(heard[who]) if one is not None)
        assert heard[who][begun:].count(None) == speaker.pads
        sounds = [one for one in heard[who] if one is not None]
        # In order and without repetition; what is left out was dropped when all had been well for two seconds.
        missing, expected = 0, iter(said)
        for one in sounds:
            while next(expected) != one:
                missing += 1
        assert missing == speaker.drops
        assert heard[who][-1] in said[-2:]


@pytest.mark.parametrize("behind", [2, 8, 25, 100])
def test_a_call_that_joins_while_the_others_catch_up_is_heard_and_hears(behind: int) -> None:
    """Its frames are due now, and those of the others up to two seconds ago."""
    bridge = room()
    late, fresh = bridge.join(MULAW_8K), bridge.join(MULAW_8K)
    tick(late, 0, 0, frame(0))
    heard, heard_by_late = [], []
    done = 1
    for number in range(behind, behind + 500):
        for own in range(done, min(done + 2, number + 1)):
            heard_by_late.append(tick(late, 0, own, frame(own % 97)))
            done = own + 1
        heard.append(tick(fresh, 1, number, frame(100 + number % 97)))
    assert None not in heard[1:]
    assert heard[-1] == frame((behind + 499) % 97)
    assert late.pads == late.drops
    first = next(at for at, one in enumerate(heard_by_late) if one is not None)
    # It heard the time before the other came, and then what was said no longer than 200 ms ago.
    assert first <= max(behind, 2 * (behind - 10))
    assert heard_by_late[first:] == [frame(100 + number % 97) for number in range(first, behind + 499)]


# Of different rates.


def voice(audio_format: AudioFormat, frames: int) -> list[bytes]:
    l16 = tone([300.0, 1100.0], frames * 20, audio_format.rate, -12)
    audio = from_l16(l16, audio_format.encoding)
    return [audio[at : at + audio_format.frame_bytes] for at in range(0, len(audio), audio_format.frame_bytes)]


@pytest.mark.parametrize("listener", FORMATS, ids=str)
@pytest.mark.parametrize("speaker", FORMATS, ids=str)
def test_a_speaker_is_transcoded_frame_by_frame_as_in_one_piece(speaker: AudioFormat, listener: AudioFormat) -> None:
    conference = room()
    one, other = conference.join(speaker), conference.join(listener)
    said, heard = voice(speaker, 20), []
    for number in range(20):
        tick(one, 0, number, said[number])
        heard.append(tick(other, 1, number))
    transcoder = Transcoder(speaker, listener)
    assert heard == [transcoder.process(one) for one in said]


def test_members_of_equal_rate_are_never_resampled_for_each_other() -> None:
    conference = room()
    narrow = [conference.join(MULAW_8K) for _ in range(3)]
    wide = conference.join(L16_16K)
    tap = Recorder()
    conference.add_tap(tap, 24000)
    tick(narrow[0], 0, 0, frame(1))
    tick(narrow[1], 1, 0, frame(2))
    assert tick(narrow[2], 2, 0) == mix(frame(1), frame(2), MULAW_8K)
    up = [Transcoder(MULAW_8K, L16_16K).process(frame(number)) for number in (1, 2)]
    assert tick(wide, 3, 0) == mix(up[0], up[1], L16_16K)


def test_a_pause_leaves_nothing_in_the_resamplers() -> None:
    conference = room()
    one, other = conference.join(MULAW_8K), conference.join(L16_16K)
    tick(one, 0, 0, bytes(160))
    assert tick(other, 1, 0) is not None
    one.muted = True
    tick(one, 0, 1, bytes(160))
    assert tick(other, 1, 1) is None
    one.muted = False
    tick(one, 0, 2, frame(1))
    assert tick(other, 1, 2) == Transcoder(MULAW_8K, L16_16K).process(frame(1))


def test_the_end_of_what_was_said_is_heard_at_the_other_rate() -> None:
    conference = room()
    one, other = conference.join(L16_8K), conference.join(L16_16K)
    tick(one, 0, 0, b"\x00\x20" * 160)
    tick(other, 1, 0)
    tick(one, 0, 1)
    tail = tick(other, 1, 1)
    assert tail is not None
    assert any(tail)
    tick(one, 0, 2)
    assert tick(other, 1, 2) is None


def test_a_rate_that_nobody_hears_any_more_is_begun_afresh() -> None:
    conference = room()
    one, other = conference.join(L16_8K), conference.join(L16_16K)
    tick(one, 0, 0, b"\x00\x20" * 160)
    other.leave()
    tick(one, 0, 1, b"\x00\x20" * 160)
    again = conference.join(L16_16K)
    # The frame still in the air was said when nobody heard 16 kHz.
    assert tick(again, 1, 1) is None
    tick(one, 0, 2, frame(5, L16_8K))
    assert tick(again, 1, 2) == Transcoder(L16_8K, L16_16K).process(frame(5, L16_8K))


# What the room plays, and what is taken down of it.


def test_what_the_room_plays_is_heard_by_all_and_told_at_its_end() -> None:
    conference = room()
    one, other = conference.join(MULAW_8K), conference.join(L16_8K)
    assert conference.play(frame(1, L16_8K) + frame(2, L16_8K))
    conference.end_play("enter", 1000.0)
    assert conference.events() == []
    heard = []
    for number in range(4):
        said = frame(9) if number == 1 else None
        heard.append((tick(one, 1, number, said), tick(other, 2, number)))
    first, second = frame(1, L16_8K), frame(2, L16_8K)
    # The room's frames begin in the slots 4, 8, …: the first tick of all was behind slot 0.
    assert heard[0] == (None, None)
    assert heard[1] == (from_l16(first, Encoding.MULAW), mix(first, to_l16(frame(9), Encoding.MULAW), L16_8K))
    assert heard[2] == (from_l16(second, Encoding.MULAW), second)
    assert heard[3] == (None, None)
    assert conference.events() == [PlayedToAll("enter")]
    conference.end_play("nothing", 1000.1)
    assert conference.events() == [PlayedToAll("nothing")]


def test_what_the_room_plays_can_be_stopped() -> None:
    conference = room(play_format=MULAW_8K)
    one = conference.join(MULAW_8K)
    conference.play(frame(1) * 50)
    conference.end_play("long", 1000.0)
    assert [tick(one, 0, number) for number in range(2)] == [frame(1)] * 2
    conference.stop_play()
    assert [tick(one, 0, number) for number in range(2, 10)] == [None] * 8
    assert conference.events() == []
    assert not conference.play(bytes(8000 * 3601))


def test_a_tap_gets_the_sum_of_all_every_20_ms() -> None:
    conference = room()
    seats = [conference.join(MULAW_8K) for _ in range(3)]
    tap, wide = Recorder(), Recorder()
    conference.add_tap(tap)
    conference.add_tap(wide, 16000)
    for number in range(3):
        for who, seat in enumerate(seats):
            tick(seat, who, number, frame(10 * who + number) if number == 0 else None)
    l16 = [np.frombuffer(to_l16(frame(10 * who), Encoding.MULAW), "<i2").astype(int) for who in range(3)]
    expected = np.clip(sum(l16), -32768, 32767).astype("<i2").tobytes()
    assert tap.frames == [bytes(320), expected, bytes(320)]
    assert [len(one) for one in wide.frames] == [640] * 3
    conference.remove_tap(tap)
    tick(seats[0], 0, 3)
    assert (len(tap.frames), len(wide.frames)) == (3, 4)


def test_a_tap_is_not_given_an_hour_that_was_left_out() -> None:
    conference = room()
    one = conference.join(MULAW_8K)
    tap = Recorder()
    conference.add_tap(tap)
    for number in (0, 1, 180_000, 180_001):
        tick(one, 0, number)
    assert len(tap.frames) == 4


# Who speaks.


def test_the_floor_is_told_to_who_asks() -> None:
    conference = room()
    one, other = conference.join(MULAW_8K), conference.join(L16_16K)
    loud, wide = voice(MULAW_8K, 1)[0], voice(L16_16K, 1)[0]
    for number in range(5):
        tick(one, 0, number, loud)
    assert conference.events() == []
    conference.follow_floor()

    def talk(first: int, count: int, *speaking: Seat) -> list[object]:
        for number in range(first, first + count):
            tick(one, 0, number, loud if one in speaking else None)
            tick(other, 1, number, wide if other in speaking else None)
        return [*conference.events()]

    assert talk(5, 5, one) == [FloorPassed(one)]
    assert conference.floor is one
    assert talk(10, 20, one, other) == []
    assert talk(30, 20, other) == [FloorPassed(other)]
    assert talk(50, 20) == [FloorPassed(None)]
    assert talk(70, 5, one, other) == [FloorPassed(one)]
    one.muted = True
    assert talk(75, 1, one, other) == [FloorPassed(other)]
    other.leave()
    assert conference.events() == [FloorPassed(None)]
    assert conference.floor is None
