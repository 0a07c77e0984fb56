from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.mix import mix
from bothway.audio.transcode import convert, from_l16, to_l16
from bothway.core.media import (
    LEG_QUEUE_FRAMES,
    AudioBegun,
    AudioCleared,
    AudioRefused,
    CheckpointPlayed,
    CheckpointQueued,
    Media,
    PromptPlayed,
    StreamMistake,
    TimeSkipped,
)
from bothway.core.stream import CarrierStream, State
from bothway.errors import UsageError
from bothway.wire.dialects import plivo
from bothway.wire.stream import Checkpoint, SendDtmf, Start
from bothway.wire.stream import Media as WireMedia

STREAM = "5a8d0c1e-2f34-4c7b-8a21-7d90e1b2c3d4"
CALL = "0f6a1b9e-6d1c-4f0e-9b7e-3f5e2c7a1d10"
ALAW_8K = AudioFormat(Encoding.ALAW, 8000)


def stream(audio_format: AudioFormat = MULAW_8K, *tracks: str, bidirectional: bool = True) -> CarrierStream:
    start = Start(STREAM, CALL, audio_format, tracks=tracks or ("inbound",))
    end = CarrierStream(start, first_sequence=1, epoch=0.0, bidirectional=bidirectional)
    end.open()
    end.to_send()
    return end


def joined(
    leg_format: AudioFormat = MULAW_8K, end: CarrierStream | None = None, *, playout_seconds: float = 60
) -> Media:
    media = Media(leg_format, start=0.0, playout_seconds=playout_seconds)
    media.attach(end or stream())
    return media


def frame(number: int, audio_format: AudioFormat = MULAW_8K) -> bytes:
    """A frame unlike its neighbours."""
    return bytes((number * 7 + at) % 251 for at in range(audio_format.frame_bytes))


def play(audio: bytes, audio_format: AudioFormat = MULAW_8K) -> bytes:
    return plivo.PlayWriter(audio_format).write(audio)


def checkpoint(name: str) -> bytes:
    return plivo.encode_checkpoint(Checkpoint(name), stream_id=STREAM)


CLEAR = plivo.encode_clear_audio(stream_id=STREAM)


def sent(media: Media) -> list[dict[str, Any]]:
    return [json.loads(message) for message in media.to_send()]


def payloads(media: Media, track: str = "inbound") -> list[bytes]:
    """What was sent of one track."""
    messages = map(plivo.decode_from_carrier, media.to_send())
    return [message.payload for message in messages if isinstance(message, WireMedia) and message.track == track]


def words(messages: list[dict[str, Any]]) -> list[str]:
    """What was sent, in order: a track, or an event and its name."""
    return [
        message["media"]["track"] if message["event"] == "media" else message["event"] + ":" + message.get("name", "")
        for message in messages
    ]


def run(media: Media, frames: int, *, first: int | None = None) -> list[bytes]:
    """Tick on time; gives what the leg got."""
    first = media.clock.taken if first is None else first
    for number in range(first, first + frames):
        media.tick(number * 0.02)
    return media.to_leg()


class Recorder:
    """A tap that keeps what it gets."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []

    def frame(self, from_caller: bytes, to_caller: bytes) -> None:
        self.frames.append((from_caller, to_caller))


def tapped(media: Media) -> Recorder:
    tap = Recorder()
    media.add_tap(tap)
    return tap


# Bytes that need no conversion pass as they are.


@pytest.mark.parametrize("audio_format", [MULAW_8K, L16_8K, L16_16K], ids=str)
def test_audio_in_the_leg_s_own_format_passes_untouched(audio_format: AudioFormat) -> None:
    media = joined(audio_format, stream(audio_format, "inbound", "outbound"))
    chunks = [frame(number, audio_format) for number in range(5)]
    for chunk in chunks:
        media.receive_from_app(play(chunk, audio_format), 0.0)
    for number in range(5):
        media.receive_from_leg(frame(100 + number, audio_format))
    assert run(media, 5) == chunks
    messages = [
        message for message in map(plivo.decode_from_carrier, media.to_send()) if isinstance(message, WireMedia)
    ]
    assert [message.track for message in messages] == ["inbound", "outbound"] * 5
    assert [message.payload for message in messages[::2]] == [frame(100 + number, audio_format) for number in range(5)]
    assert [message.payload for message in messages[1::2]] == chunks


def test_a_mulaw_frame_reaches_the_leg_without_a_copy() -> None:
    media = joined()
    media.receive_from_app(play(frame(1)), 0.0)
    assert media.playout is not None
    tap = tapped(media)
    caller = frame(2)
    media.receive_from_leg(caller)
    (to_leg,) = run(media, 1)
    assert tap.frames[0][0] is caller
    assert tap.frames[0][1] is to_leg


def test_a_call_without_a_stream_is_silent_and_takes_no_messages() -> None:
    media = Media(MULAW_8K, start=0.0, playout_seconds=60)
    media.receive_from_leg(frame(1))
    media.receive_from_app(play(frame(1)), 0.0)
    media.press("1")
    assert run(media, 2) == [b"\xff" * 160] * 2
    assert (media.to_send(), media.events(), media.playout) == ([], [], None)
    assert media.now_ms == 40
    assert media.sounding_frames == 0


# Conversion keeps its state from frame to frame.


def voice(audio_format: AudioFormat, seconds: float) -> bytes:
    """A sweep under a syllable's envelope: something whose place in time is plain."""
    at = np.arange(int(seconds * audio_format.rate)) / audio_format.rate
    sweep = 8000 * np.sin(2 * np.pi * (300 + 600 * at) * at) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * at))
    return from_l16(sweep.astype("<i2").tobytes(), audio_format.encoding)


def samples(audio: bytes, audio_format: AudioFormat) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.frombuffer(to_l16(audio, audio_format.encoding), "<i2").astype(np.float64)


def likeness(audio: bytes, clip: bytes, audio_format: AudioFormat) -> float:
    """The best correlation of `audio` with `clip` at one delay of 0 to 3 ms."""
    one, other = samples(audio, audio_format), samples(clip, audio_format)
    best = 0.0
    for delay in range(3 * audio_format.rate // 1000 + 1):
        length = min(len(one) - delay, len(other))
        a, b = one[delay : delay + length], other[:length]
        best = max(best, float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return best


PAIRS = [(MULAW_8K, L16_16K), (L16_16K, MULAW_8K), (MULAW_8K, L16_24K), (ALAW_8K, MULAW_8K), (L16_24K, L16_16K)]


@pytest.mark.parametrize(("leg_format", "stream_format"), PAIRS, ids=str)
def test_the_caller_is_converted_frame_by_frame_as_in_one_piece(
    leg_format: AudioFormat, stream_format: AudioFormat
) -> None:
    media = joined(leg_format, stream(stream_format))
    speech = voice(leg_format, 1.0)
    for at in range(50):
        media.receive_from_leg(speech[at * leg_format.frame_bytes : (at + 1) * leg_format.frame_bytes])
        run(media, 1)
    heard = payloads(media)
    assert [len(payload) for payload in heard] == [stream_format.frame_bytes] * 50
    assert likeness(b"".join(heard), convert(speech, leg_format, stream_format), stream_format) > 0.99


@pytest.mark.parametrize("chunk_ms", [20, 7, 333])
@pytest.mark.parametrize(("leg_format", "stream_format"), PAIRS, ids=str)
def test_the_app_is_converted_chunk_by_chunk_as_in_one_piece(
    leg_format: AudioFormat, stream_format: AudioFormat, chunk_ms: int
) -> None:
    media = joined(leg_format, stream(stream_format))
    speech = voice(stream_format, 1.0)
    size = stream_format.bytes_for(chunk_ms)
    for at in range(0, len(speech), size):
        media.receive_from_app(play(speech[at : at + size], stream_format), 0.0)
    media.receive_from_app(checkpoint("end"), 0.0)
    heard = b"".join(run(media, 60))
    assert {type(event) for event in media.events()} == {AudioBegun, CheckpointQueued, CheckpointPlayed}
    expected = convert(speech, stream_format, leg_format)
    assert likeness(heard[: len(expected) + leg_format.bytes_for(3)], expected, leg_format) > 0.99
    # The last sample is there too: what the resampler held back is heard before silence begins.
    assert media.playout is not None
    delay_ms = 0 if leg_format.rate == stream_format.rate else 2
    assert leg_format.duration_ms(media.playout.played_bytes) == pytest.approx(1000 + delay_ms, abs=1.01)


def test_the_end_of_a_converted_utterance_is_heard_and_does_not_begin_the_next() -> None:
    """Whole frames leave nothing to pad, yet two milliseconds of them are in the resampler."""
    media = joined(MULAW_8K, stream(L16_16K))
    loud = from_l16(np.full(1600, 12000, "<i2").tobytes(), Encoding.L16)
    media.receive_from_app(play(loud, L16_16K), 0.0)
    media.receive_from_app(checkpoint("end"), 0.0)
    heard = run(media, 6)
    assert media.sounding_frames == 6
    assert abs(samples(heard[5], MULAW_8K)[:8]).max() > 6000
    assert CheckpointPlayed("end", 0.12, STREAM) not in media.events()
    run(media, 20)
    assert CheckpointPlayed("end", 0.12, STREAM) in media.events()
    media.receive_from_app(play(bytes(640), L16_16K), 0.52)
    assert run(media, 1) == [b"\xff" * 160]


def test_an_app_may_change_its_format_from_chunk_to_chunk() -> None:
    media = joined(MULAW_8K, stream(L16_16K))
    media.receive_from_app(play(bytes([0x20]) * 800, MULAW_8K), 0.0)
    media.receive_from_app(play(voice(L16_16K, 0.1), L16_16K), 0.0)
    media.receive_from_app(play(bytes([0x21]) * 800, MULAW_8K), 0.0)
    assert media.playout is not None
    assert media.playout.queued_ms == pytest.approx(302, abs=0.2)  # the resampler's delay is played out between
    heard = b"".join(run(media, 16))
    assert heard.startswith(bytes([0x20]) * 800)
    assert bytes([0x21]) * 800 in heard


# The order of things on the wire.


def test_a_checkpoint_is_reported_when_its_frame_ends_and_before_the_media_of_that_moment() -> None:
    media = joined(MULAW_8K, stream(MULAW_8K, "inbound", "outbound"))
    media.receive_from_app(play(frame(1) + frame(2)), 0.0)
    media.receive_from_app(checkpoint("two"), 0.0)
    media.receive_from_app(checkpoint("again"), 0.0)
    run(media, 4)
    both = ["inbound", "outbound"]
    assert words(sent(media)) == both + both + ["playedStream:two", "playedStream:again"] + both + both
    events = media.events()
    assert events[1:3] == [CheckpointQueued("two", True, STREAM), CheckpointQueued("again", True, STREAM)]
    assert events[3:] == [CheckpointPlayed("two", 0.04, STREAM), CheckpointPlayed("again", 0.04, STREAM)]


def test_a_checkpoint_with_nothing_before_it_is_reported_at_once() -> None:
    media = joined()
    media.receive_from_app(checkpoint("now"), 0.007)
    assert media.events() == [CheckpointQueued("now", True, STREAM), CheckpointPlayed("now", 0.007, STREAM)]
    assert words(sent(media)) == ["playedStream:now"]


def test_a_clear_silences_the_next_frame_and_is_answered_once() -> None:
    media = joined()
    media.receive_from_app(play(frame(1) * 50), 0.0)
    media.receive_from_app(checkpoint("never"), 0.0)
    assert run(media, 2) == [frame(1)] * 2
    media.to_send()
    media.events()
    media.receive_from_app(CLEAR, 0.03)
    assert media.events() == [AudioCleared(960, STREAM)]
    assert run(media, 2) == [b"\xff" * 160] * 2
    assert words(sent(media)) == ["clearedAudio:", "inbound", "inbound"]
    media.receive_from_app(CLEAR, 0.1)
    assert words(sent(media)) == ["clearedAudio:"]
    media.receive_from_app(play(frame(3)), 0.1)
    media.receive_from_app(checkpoint("after"), 0.1)
    assert run(media, 2) == [frame(3), b"\xff" * 160]
    assert words(sent(media)) == ["inbound", "playedStream:after", "inbound"]
    assert [event for event in media.events() if isinstance(event, CheckpointPlayed)] == [
        CheckpointPlayed("after", 0.1, STREAM)
    ]


def test_a_clear_leaves_nothing_in_the_resampler() -> None:
    media = joined(MULAW_8K, stream(L16_16K))
    media.receive_from_app(play(voice(L16_16K, 0.2), L16_16K), 0.0)
    run(media, 3)
    media.receive_from_app(CLEAR, 0.05)
    assert run(media, 3) == [b"\xff" * 160] * 3


def test_what_exceeds_the_cap_is_refused_whole_and_told() -> None:
    media = joined(playout_seconds=1)
    media.receive_from_app(play(bytes(7840)), 0.0)
    media.receive_from_app(play(bytes(161)), 0.0)
    media.receive_from_app(play(bytes(160)), 0.0)
    assert media.events() == [AudioBegun(980, STREAM), AudioRefused(20.125, 980, STREAM)]
    assert media.app_ms == 1000
    assert media.playout is not None
    assert media.playout.queued_ms == 1000


def test_what_was_refused_leaves_nothing_in_the_resampler() -> None:
    media = joined(MULAW_8K, stream(L16_16K), playout_seconds=0.1)
    loud, low = b"\x00\x40" * 3200, b"\x00\x04" * 1600
    media.receive_from_app(play(loud, L16_16K), 0.0)
    assert isinstance(media.events()[0], AudioRefused)
    media.receive_from_app(play(low, L16_16K), 0.0)
    heard = b"".join(run(media, 6))
    fresh = joined(MULAW_8K, stream(L16_16K), playout_seconds=0.1)
    fresh.receive_from_app(play(low, L16_16K), 0.0)
    assert heard == b"".join(run(fresh, 6))


def test_the_beginning_of_the_app_s_audio_is_told_and_its_going_on_is_not() -> None:
    media = joined()
    for chunk in (b"", frame(1), frame(2)):
        media.receive_from_app(play(chunk), 0.0)
    run(media, 2)
    media.receive_from_app(play(frame(3)), 0.03)  # in time for the next frame
    run(media, 2)
    media.receive_from_app(play(frame(4)), 0.07)
    assert media.events() == [AudioBegun(20, STREAM), AudioBegun(20, STREAM)]
    assert media.app_ms == 80


def test_keys_go_both_ways() -> None:
    media = joined()
    run(media, 3)
    media.to_send()
    media.press("5")
    (message,) = sent(media)
    assert message["dtmf"] == {"track": "inbound", "digit": "5", "timestamp": "60"}
    media.receive_from_app(plivo.encode_send_dtmf(SendDtmf("12#")), 0.06)
    assert media.events() == [SendDtmf("12#")]


def test_mistakes_of_the_app_are_told() -> None:
    media = joined()
    media.receive_from_app(b'{"event":"mark"}', 0.0)
    (event,) = media.events()
    assert isinstance(event, StreamMistake)
    assert event.mistake.code == "twilio-mark"


# Several sources and takers.


def test_prompts_and_stream_are_mixed() -> None:
    media = joined()
    media.play_prompt(frame(1) * 2)
    media.end_prompt("p", 0.0)
    media.receive_from_app(play(frame(9) * 3), 0.0)
    assert run(media, 3) == [mix(frame(1), frame(9), MULAW_8K)] * 2 + [frame(9)]
    assert media.events()[1:] == [PromptPlayed("p")]
    assert media.sounding_frames == 3


def test_prompts_are_played_without_a_stream_and_told_at_their_end() -> None:
    media = Media(MULAW_8K, start=0.0, playout_seconds=60)
    media.end_prompt("empty", 0.0)
    assert media.events() == [PromptPlayed("empty")]
    assert media.play_prompt(frame(1) + bytes(10))
    media.end_prompt("p", 0.0)
    assert run(media, 2) == [frame(1), bytes(10) + b"\xff" * 150]
    assert media.events() == []
    run(media, 1)
    assert media.events() == [PromptPlayed("p")]


def test_a_prompt_may_be_much_longer_than_what_an_app_may_queue() -> None:
    media = Media(MULAW_8K, start=0.0, playout_seconds=1)
    assert media.play_prompt(bytes(8000 * 3600))
    assert not media.play_prompt(bytes(1))


def test_stopped_prompts_fall_silent_and_are_not_told() -> None:
    media = Media(MULAW_8K, start=0.0, playout_seconds=60)
    media.play_prompt(frame(1) * 10)
    media.end_prompt("p", 0.0)
    run(media, 2)
    media.stop_prompts()
    assert run(media, 20) == [b"\xff" * 160] * 20
    assert media.events() == []


def test_a_clear_does_not_touch_the_prompts() -> None:
    media = joined()
    media.play_prompt(frame(1) * 2)
    media.receive_from_app(play(frame(9) * 2), 0.0)
    media.receive_from_app(CLEAR, 0.0)
    assert run(media, 3) == [frame(1), frame(1), b"\xff" * 160]


def test_a_tap_gets_every_frame_as_it_crossed_the_leg() -> None:
    media = joined(MULAW_8K, stream(L16_16K))
    tap = tapped(media)
    media.receive_from_leg(frame(5))
    media.receive_from_app(play(frame(1)), 0.0)
    to_leg = run(media, 3)
    assert [to_caller for _, to_caller in tap.frames] == to_leg
    assert [from_caller for from_caller, _ in tap.frames] == [frame(5), b"\xff" * 160, b"\xff" * 160]


def test_a_stream_hears_both_tracks_mixed_as_the_caller_does() -> None:
    media = joined(MULAW_8K, stream(MULAW_8K, "outbound", bidirectional=False))
    media.play_prompt(frame(4))
    run(media, 2)
    assert payloads(media, "outbound") == [frame(4), b"\xff" * 160]


def test_a_stream_that_follows_another_begins_afresh() -> None:
    media = joined()
    media.receive_from_app(play(frame(1) * 5), 0.0)
    media.receive_from_app(checkpoint("never"), 0.0)
    run(media, 1)
    media.events()
    media.detach()
    assert media.events() == [AudioCleared(80, STREAM)]
    media.detach()
    assert run(media, 2) == [b"\xff" * 160] * 2
    assert (media.events(), media.to_send()) == ([], [])
    second = stream()
    media.attach(second)
    media.receive_from_app(play(frame(2)), 0.06)
    assert run(media, 1) == [frame(2)]
    assert words(sent(media)) == ["inbound"]


def test_an_ended_stream_is_sent_nothing_more_while_it_is_attached() -> None:
    end = stream()
    media = joined(MULAW_8K, end)
    media.receive_from_app(play(frame(1)), 0.0)
    media.receive_from_app(checkpoint("a"), 0.0)
    end.stop("hangup", say_so=True)
    media.press("1")
    run(media, 3)
    assert words(sent(media)) == ["stop:"]
    assert end.state is State.ENDED


# The leg's side.


def test_frames_of_a_wrong_size_are_the_leg_s_fault() -> None:
    media = joined()
    with pytest.raises(UsageError, match="160 bytes, not 320"):
        media.receive_from_leg(bytes(320))


def test_gaps_are_counted_from_the_caller_s_first_frame_and_overruns_drop_the_oldest() -> None:
    media = joined()
    run(media, 3)
    assert media.caller_gaps == 0
    media.receive_from_leg(frame(0))
    run(media, 3)
    assert media.caller_gaps == 2
    media.to_send()
    for number in range(LEG_QUEUE_FRAMES + 3):
        media.receive_from_leg(frame(number))
    assert media.caller_overruns == 3
    run(media, 1)
    assert payloads(media) == [frame(3)]


def test_a_caller_in_step_with_the_clock_is_never_cut_short() -> None:
    """One frame for each that the caller heard, however long: nothing is dropped where nothing stalled."""
    media = joined()
    tap = tapped(media)
    run(media, 1)
    for number in range(1, 1000):
        media.receive_from_leg(frame(number))
        run(media, 1)
    assert [left for left, _ in tap.frames[1:]] == [frame(number) for number in range(1, 1000)]
    assert (media.caller_gaps, media.caller_overruns) == (0, 0)


def test_a_caller_whose_frames_come_in_bursts_is_not_cut_short_either() -> None:
    """Three at a time, every 60 ms: the queue is as deep as the bursts are, and empty between them."""
    media = joined()
    for number in range(900):
        if number % 3 == 0:
            for more in range(3):
                media.receive_from_leg(frame(number + more))
        run(media, 1)
    assert payloads(media) == [frame(number) for number in range(900)]
    assert (media.caller_gaps, media.caller_overruns) == (0, 0)


@pytest.mark.parametrize("stalled", [1, 3, 4, 5, 9])
def test_the_latency_that_a_stall_leaves_behind_goes_down_to_a_cushion_a_frame_every_two_seconds(stalled: int) -> None:
    media = joined()
    for number in range(3):
        media.receive_from_leg(frame(number))
        run(media, 1)
    run(media, stalled)  # the leg's network holds its frames back, and gives them all at once
    sent_frames = 3
    for number in range(3, 3 + stalled):
        media.receive_from_leg(frame(number))
        sent_frames += 1
    assert media.caller_gaps == stalled
    payloads(media)
    for ticks in range(1, 100 * stalled + 100):
        media.receive_from_leg(frame(sent_frames))
        sent_frames += 1
        run(media, 1)
        assert media.caller_overruns == min(ticks // 100, max(0, stalled - 3))
    heard = payloads(media)
    assert heard[:99] == [frame(number) for number in range(3, 102)]
    assert heard[-1] == frame(sent_frames - 1 - min(stalled, 3)), "no more than the cushion is left of the stall"
    assert media.caller_gaps == stalled


def test_a_call_that_stood_still_goes_on_without_what_it_missed() -> None:
    media = joined()
    run(media, 2)
    media.events()
    media.tick(3600.025)
    assert len(media.to_leg()) == 1
    assert media.events() == [TimeSkipped((180_001 - 2) * 20)]
    media.tick(3600.035)
    assert media.to_leg() == []
    media.tick(3600.041)
    assert len(media.to_leg()) == 1
    assert (media.now_ms, media.clock.slips) == (80, 0)


def test_a_late_tick_moves_two_frames_of_both_directions_each_in_its_own_slot() -> None:
    media = joined(MULAW_8K, stream(MULAW_8K, "inbound", "outbound"))
    media.tick(0.0)
    media.to_leg()
    media.to_send()
    media.receive_from_app(play(frame(1) + frame(2) + frame(3)), 0.0)
    media.receive_from_app(checkpoint("end"), 0.0)
    for number in range(3):
        media.receive_from_leg(frame(50 + number))
    media.tick(0.079)
    assert media.to_leg() == [frame(1), frame(2)]
    stamps = [(message["media"]["track"], message["media"]["timestamp"]) for message in sent(media)]
    assert stamps == [("inbound", "20"), ("outbound", "20"), ("inbound", "40"), ("outbound", "40")]
    media.tick(0.081)
    assert media.to_leg() == [frame(3), b"\xff" * 160]
    assert words(sent(media)) == ["inbound", "outbound", "playedStream:end", "inbound", "outbound"]
    assert CheckpointPlayed("end", 0.08, STREAM) in media.events()
    assert media.clock.slips == 3
    assert media.caller_gaps == 1
    media.tick(0.0811)
    assert media.to_leg() == []


ACTS = st.lists(
    st.tuples(st.just("play"), st.integers(0, 2000), st.sampled_from([MULAW_8K, L16_8K, L16_16K, L16_24K]))
    | st.tuples(st.just("checkpoint"), st.sampled_from(["a", "b"]))
    | st.tuples(st.just("clear"))
    | st.tuples(st.just("prompt"), st.integers(0, 700))
    | st.tuples(st.just("leg"), st.integers(1, 3))
    | st.tuples(st.just("tick"), st.sampled_from([20, 20, 20, 45, 100]))
    | st.tuples(st.just("swap"), st.sampled_from([MULAW_8K, L16_8K, L16_16K, L16_24K])),
    max_size=40,
)


@given(st.sampled_from([MULAW_8K, ALAW_8K, L16_16K]), ACTS)
def test_whatever_happens_every_tick_gives_whole_frames_of_both_directions(
    leg_format: AudioFormat, acts: list[tuple[Any, ...]]
) -> None:
    end = stream(L16_16K)
    media = joined(leg_format, end, playout_seconds=0.5)
    now = frames = cleared = 0
    inbound = 0
    for act in acts:
        match act:
            case ("play", size, audio_format):
                media.receive_from_app(play(bytes(size * audio_format.sample_bytes), audio_format), now / 1000)
            case ("checkpoint", name):
                media.receive_from_app(checkpoint(name), now / 1000)
            case ("clear",):
                media.receive_from_app(CLEAR, now / 1000)
                cleared += 1
            case ("prompt", size):
                media.play_prompt(bytes(size * leg_format.sample_bytes))
                media.end_prompt("p", now / 1000)
            case ("leg", count):
                for _ in range(count):
                    media.receive_from_leg(leg_format.silent_frame)
            case ("swap", audio_format):
                media.detach()
                end = stream(audio_format)
                media.attach(end)
            case ("tick", later):
                now += later
                media.tick(now / 1000)
        to_leg = media.to_leg()
        frames += len(to_leg)
        assert all(len(entry) == leg_format.frame_bytes for entry in to_leg)
        for message in sent(media):
            cleared -= message["event"] == "clearedAudio"
            if message["event"] == "media":
                inbound += 1
                assert message["media"]["chunk"] >= 1
        media.events()
    assert frames == media.clock.taken == inbound
    assert cleared == 0


def test_what_is_played_right_after_a_clear_begins_anew() -> None:
    # The frame that sounds when the clear comes is still in the air: it is not what the new audio follows on.
    media = joined()
    play = plivo.PlayWriter(MULAW_8K).write(bytes(320))
    media.receive_from_app(play, 0.0)
    media.tick(0.0)
    media.receive_from_app(plivo.encode_clear_audio(stream_id=STREAM), 0.005)
    media.receive_from_app(play, 0.01)
    media.receive_from_app(play, 0.01)
    assert media.events() == [AudioBegun(40.0, STREAM), AudioCleared(20.0, STREAM), AudioBegun(40.0, STREAM)]
