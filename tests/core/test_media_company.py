"""What takes part in a call beside its one stream: more streams, overlays, rooms, taps and ears."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_16K, MULAW_8K, AudioFormat
from bothway.audio.mix import mix
from bothway.audio.tones import dtmf
from bothway.audio.transcode import from_l16, to_l16
from bothway.core.ears import DigitEar, InBandDigit
from bothway.core.media import (
    AudioBegun,
    AudioCleared,
    CheckpointPlayed,
    Heard,
    Media,
    OverlayPlayed,
    PromptPlayed,
    StreamMistake,
)
from bothway.core.room import Room
from bothway.core.stream import CarrierStream
from bothway.errors import UsageError
from bothway.wire.dialects import plivo
from bothway.wire.stream import Checkpoint, Start

SILENT = MULAW_8K.silent_frame


def frame(number: int) -> bytes:
    return bytes((number * 7 + at) % 251 for at in range(160))


def stream(name: str, *tracks: str, bidirectional: bool = False, audio_format: AudioFormat = MULAW_8K) -> CarrierStream:
    start = Start(name, "call-1", audio_format, tracks=tracks or ("inbound",))
    end = CarrierStream(start, first_sequence=1, epoch=0.0, bidirectional=bidirectional)
    end.open()
    end.to_send()
    return end


def call(start: float = 0.0) -> Media:
    return Media(MULAW_8K, start=start, playout_seconds=60)


def play(audio: bytes) -> bytes:
    return plivo.PlayWriter(MULAW_8K).write(audio)


def checkpoint(name: str) -> bytes:
    return plivo.encode_checkpoint(Checkpoint(name), stream_id="")


def run(media: Media, frames: int) -> list[bytes]:
    """Tick on time; gives what the leg got."""
    for _ in range(frames):
        media.tick(media.clock.next_due)
    return media.to_leg()


def sent(media: Media, to: CarrierStream) -> list[dict[str, Any]]:
    return [json.loads(message) for message in media.to_send(to)]


def words(media: Media, to: CarrierStream) -> list[str]:
    return [
        message["media"]["track"] if message["event"] == "media" else message["event"] for message in sent(media, to)
    ]


class Recorder:
    """A tap that keeps what it gets."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        self.frames.append((from_caller, to_caller))


# Streams.


def test_streams_of_every_kind_are_on_one_call_and_each_gets_its_own() -> None:
    media = call()
    talk = stream("talk", bidirectional=True)
    listens = stream("listens", "outbound")
    both = stream("both", "inbound", "outbound", audio_format=L16_16K)
    for one in (talk, listens, both):
        media.attach(one)
    media.receive_from_leg(frame(1))
    media.receive_from_app(play(frame(2)), 0.0, talk)
    assert run(media, 1) == [frame(2)]
    decoded = [plivo.decode_from_carrier(message) for one in (talk, listens) for message in media.to_send(one)]
    assert [(one.track, one.payload) for one in decoded] == [("inbound", frame(1)), ("outbound", frame(2))]  # type: ignore[union-attr]
    assert words(media, both) == ["inbound", "outbound"]
    media.press("7")
    assert [words(media, one) for one in (talk, listens, both)] == [["dtmf"]] * 3


def test_events_say_which_stream_they_are_about() -> None:
    media, one, other = call(), stream("one", bidirectional=True), stream("other")
    media.attach(other)
    media.attach(one)
    media.receive_from_app(play(frame(1)), 0.0, one)
    media.receive_from_app(checkpoint("c"), 0.0, one)
    media.receive_from_app(play(frame(1)), 0.0, other)
    media.receive_from_app(b'{"event":"mark"}', 0.0, one)
    run(media, 2)
    events = media.events()
    assert events[0] == AudioBegun(20, "one")
    assert events[-1] == CheckpointPlayed("c", 0.02, "one")
    mistakes = [(event.mistake.code, event.stream_id) for event in events if isinstance(event, StreamMistake)]
    assert mistakes == [("one-way", "other"), ("twilio-mark", "one")]
    assert words(media, one) == ["inbound", "playedStream", "inbound"]
    assert words(media, other) == ["inbound", "inbound"]


def test_what_two_streams_play_is_mixed_and_one_may_go() -> None:
    media, one, other = call(), stream("one", bidirectional=True), stream("other", bidirectional=True)
    media.attach(one)
    media.attach(other)
    with pytest.raises(UsageError, match="joined this call already"):
        media.attach(one)
    media.receive_from_app(play(frame(1) * 9), 0.0, one)
    media.receive_from_app(play(frame(2) * 2), 0.0, other)
    assert run(media, 1) == [mix(frame(1), frame(2), MULAW_8K)]
    media.events()
    media.detach(one)
    assert media.events() == [AudioCleared(160, "one")]
    media.detach(one)
    media.receive_from_app(play(frame(1)), 0.0, one)
    assert run(media, 2) == [frame(2), SILENT]
    assert (media.to_send(one), media.events()) == ([], [])
    assert words(media, other) == ["inbound"] * 3
    assert media.playout is not None
    media.detach()
    assert media.playout is None


def test_one_stream_gets_the_caller_without_noise_and_the_other_as_it_was() -> None:
    media, clean, raw = call(), stream("clean"), stream("raw")
    media.attach(clean, denoise=lambda noisy: noisy[::-1])
    media.attach(raw)
    tap = Recorder()
    media.add_tap(tap)
    media.receive_from_leg(frame(1))
    run(media, 1)
    heard = [plivo.decode_from_carrier(message) for one in (clean, raw) for message in media.to_send(one)]
    assert [one.payload for one in heard] == [frame(1)[::-1], frame(1)]  # type: ignore[union-attr]
    assert tap.frames[0][0] == frame(1)


# Overlays.


@pytest.mark.parametrize("replace", [False, True])
def test_an_overlay_is_heard_with_everything_or_alone(replace: bool) -> None:
    media, one = call(), stream("one", "outbound", bidirectional=True)
    media.attach(one)
    media.receive_from_app(play(frame(1) * 3), 0.0)
    media.receive_from_app(checkpoint("c"), 0.0)
    media.play_prompt(frame(2) * 3)
    media.end_prompt("p", 0.0)
    assert media.overlay(frame(3) * 2, replace=replace)
    media.end_overlay("o", 0.0)
    beneath = mix(frame(1), frame(2), MULAW_8K)
    over = frame(3) if replace else mix(beneath, frame(3), MULAW_8K)
    assert run(media, 5) == [over, over, beneath, SILENT, SILENT]
    ends = [event for event in media.events() if isinstance(event, CheckpointPlayed | PromptPlayed | OverlayPlayed)]
    assert ends == [OverlayPlayed("o"), PromptPlayed("p"), CheckpointPlayed("c", 0.06, "one")]
    assert words(media, one)[-3:] == ["playedStream", "outbound", "outbound"]


def test_an_overlay_can_be_stopped_and_is_not_told() -> None:
    media = call()
    media.play_prompt(frame(1) * 4)
    media.overlay(frame(3) * 9, replace=True)
    media.end_overlay("o", 0.0)
    run(media, 1)
    media.stop_overlay()
    assert run(media, 3) == [frame(1)] * 3
    assert media.events() == []
    media.end_overlay("none", 0.1)
    assert media.events() == [OverlayPlayed("none")]


# Rooms.


def test_two_calls_hear_each_other_in_a_room_and_their_streams_and_taps_hear_it() -> None:
    room, legs = Room(0.0, capacity=2), (call(0.0), call(0.005))
    for leg in legs:
        leg.sit(room.join(MULAW_8K))
    listens = stream("listens", "outbound")
    legs[1].attach(listens)
    tap = Recorder()
    legs[0].add_tap(tap)
    heard: tuple[list[bytes], list[bytes]] = ([], [])
    for number in range(50):
        for who, leg in enumerate(legs):
            leg.receive_from_leg(frame(who * 60 + number))
            heard[who].extend(run(leg, 1))
    assert heard[0] == [SILENT, *(frame(60 + number) for number in range(49))]
    assert heard[1] == [frame(number) for number in range(50)]
    assert tap.frames == [(frame(number), heard[0][number]) for number in range(50)]
    assert len(sent(legs[1], listens)) == 50
    legs[0].stand()
    legs[0].receive_from_leg(frame(3))
    assert [run(leg, 1) for leg in legs] == [[SILENT], [SILENT]]


def test_what_the_room_says_and_what_the_stream_plays_are_mixed() -> None:
    room, media, one = Room(0.0), call(0.005), stream("one", bidirectional=True)
    media.sit(room.join(MULAW_8K))
    media.attach(one)
    media.receive_from_app(play(frame(1)), 0.0)
    other = room.join(MULAW_8K)
    other.say(frame(2), 0.0)
    assert run(media, 1) == [mix(frame(1), frame(2), MULAW_8K)]


def test_a_seat_of_another_format_does_not_fit() -> None:
    with pytest.raises(UsageError, match="does not fit a leg"):
        call().sit(Room(0.0).join(L16_16K))


@given(st.lists(st.sampled_from([(20, 0), (20, 1), (45, 2), (20, 3), (70, 0), (90, 3)]), max_size=60))
def test_calls_in_a_room_give_whole_frames_however_late_they_are(ticks: list[tuple[int, int]]) -> None:
    room, legs = Room(0.0), [call(phase * 0.005) for phase in range(4)]
    for leg in legs:
        leg.sit(room.join(MULAW_8K))
    now = 0
    for later, who in ticks:
        now += later
        legs[who].receive_from_leg(frame(now))
        legs[who].tick(now / 1000)
        assert all(len(one) == 160 for one in legs[who].to_leg())


# Taps and ears.


def test_taps_come_and_go() -> None:
    media, one, other = call(), Recorder(), Recorder()
    media.add_tap(one)
    media.add_tap(other)
    media.receive_from_leg(frame(1))
    run(media, 1)
    media.remove_tap(one)
    media.remove_tap(one)
    run(media, 1)
    assert one.frames == [(frame(1), SILENT)]
    assert other.frames == [(frame(1), SILENT), (SILENT, SILENT)]


class Listener:
    """An ear that says what it was given."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def feed(self, l16: bytes) -> list[object]:
        self.heard.append(l16)
        return [len(self.heard)]


def test_an_ear_hears_every_frame_and_what_it_finds_is_told() -> None:
    media, ear, other = call(), Listener(), Listener()
    media.add_ear(ear)
    media.add_ear(other)
    media.receive_from_leg(frame(1))
    run(media, 2)
    assert ear.heard == [to_l16(frame(1), MULAW_8K.encoding), bytes(320)]
    assert ear.heard[0] is other.heard[0], "converted once"
    assert media.events() == [Heard(one, at + 1, at * 0.02) for at in range(2) for one in (ear, other)]
    media.remove_ear(ear)
    run(media, 1)
    assert media.events() == [Heard(other, 3, 0.04)]


def test_tones_count_as_keys_until_the_leg_tells_of_one() -> None:
    media, one, ear = call(), stream("one"), DigitEar(8000)
    media.attach(one)
    media.add_ear(ear)

    def sound(digits: str) -> list[object]:
        audio = from_l16(dtmf(digits), MULAW_8K.encoding)
        for at in range(0, len(audio), 160):
            media.receive_from_leg(audio[at : at + 160])
            run(media, 1)
        return [event.what for event in media.events() if isinstance(event, Heard)]

    assert sound("12") == [InBandDigit("1"), InBandDigit("2")]
    assert not media.press("2"), "the same key, once more"
    assert media.press("2")
    assert sound("3") == []
    assert media.press("3")
    digits = [message["dtmf"]["digit"] for message in sent(media, one) if message["event"] == "dtmf"]
    assert digits == ["1", "2", "2", "3"]


# The caller's silence.


def test_the_frames_since_the_caller_was_heard_are_counted() -> None:
    media = call()
    run(media, 3)
    assert (media.frames_since_caller, media.caller_gaps) == (3, 0)
    media.receive_from_leg(frame(1))
    assert media.frames_since_caller == 0
    run(media, 1)
    assert media.frames_since_caller == 0
    run(media, 2)
    assert (media.frames_since_caller, media.caller_gaps) == (2, 2)
