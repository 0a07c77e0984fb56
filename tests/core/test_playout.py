from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.playout_model import PlayoutModel

from bothway.audio.format import L16_8K, L16_24K, MULAW_8K, AudioFormat
from bothway.core.playout import FRAME_SECONDS, MAX_CHECKPOINTS, MAX_LATE_SECONDS, FrameClock, Passed, Playout

Step = tuple[Any, ...]

CAP_SECONDS = 0.2


def steps(audio_format: AudioFormat) -> st.SearchStrategy[list[Step]]:
    """Anything that may be done to a playout, in any order; chunks are counted in samples."""
    frame = audio_format.frame_samples
    sizes = st.sampled_from(
        [0, 1, 7, frame - 1, frame, frame + 1, 2 * frame, 10 * frame, 10 * frame + 1]
    ) | st.integers(0, 12 * frame)
    return st.lists(
        st.tuples(st.just("play"), sizes)
        | st.tuples(st.just("checkpoint"), st.sampled_from("abc"))
        | st.tuples(st.just("clear"))
        | st.tuples(st.just("hold"), st.integers(1, 2 * frame))
        | st.tuples(st.just("tick"), st.sampled_from([20] * 6 + [0, 1, 5, 19, 21, 39, 40, 65, 140])),
        max_size=60,
    )


class Pair:
    """A playout with its clock, and the model, driven by the same steps."""

    def __init__(self, audio_format: AudioFormat) -> None:
        cap = audio_format.bytes_for(CAP_SECONDS * 1000)
        self.format = audio_format
        self.held = b""
        self.playout = Playout(audio_format, cap_seconds=CAP_SECONDS, tail=self._tail)
        self.clock = FrameClock(0.0)
        self.model = PlayoutModel(audio_format.frame_bytes, cap, audio_format.silence_byte[0])
        self.now = -7  # milliseconds; the first frame is due at 0
        self.made = 0

    def _tail(self) -> bytes:
        held, self.held = self.held, b""
        return held

    def audio(self, samples: int) -> bytes:
        """Bytes that never repeat nearby, so that a frame in the wrong place is seen."""
        size = samples * self.format.sample_bytes
        self.made += size
        return bytes(at % 251 for at in range(self.made - size, self.made))

    def do(self, step: Step) -> None:
        playout, model = self.playout, self.model
        match step:
            case ("play", samples):
                chunk = self.audio(samples)
                assert playout.play(chunk) == model.play(chunk)
            case ("checkpoint", name):
                assert playout.checkpoint(name, self.now / 1000)
                model.checkpoint(name, self.now)
            case ("clear",):
                self.held = b""
                assert playout.clear() == model.clear()
            case ("hold", samples):
                self.held = model.held = self.audio(samples)
            case ("tick", later):
                self.now += later
                first = self.clock.taken
                count = self.clock.take(self.now / 1000)
                frames = [playout.release(self.clock.due(frame)) for frame in range(first, first + count)]
                assert frames == model.tick(self.now)

    def compare(self) -> None:
        playout, model = self.playout, self.model
        passed = [(entry.name, round(entry.at * 1000, 6)) for entry in playout.take_passed()]
        assert passed == model.passed
        model.passed.clear()
        assert playout.queued_bytes == model.queued()
        assert playout.queued_ms == self.format.duration_ms(model.queued())
        assert playout.idle == (not model.items and not model.sounding)
        assert (playout.played_bytes, playout.cleared_bytes, playout.refused_bytes) == (
            model.played, model.cleared, model.refused,
        )  # fmt: skip
        assert (self.clock.taken, self.clock.slips) == (model.taken, model.slips)


@pytest.mark.parametrize("audio_format", [MULAW_8K, L16_8K, L16_24K], ids=str)
@given(data=st.data())
def test_playout_does_what_the_model_does(audio_format: AudioFormat, data: st.DataObject) -> None:
    pair = Pair(audio_format)
    for step in data.draw(steps(audio_format)):
        pair.do(step)
        pair.compare()
    for _ in range(40):  # … to the end of whatever is queued
        pair.do(("tick", 20))
        pair.compare()
    assert pair.playout.idle


@given(st.lists(st.integers(0, 700), max_size=30))
def test_audio_comes_out_whole_however_it_was_split(sizes: list[int]) -> None:
    audio = bytes(at % 251 for at in range(sum(sizes)))
    playout = Playout(MULAW_8K, cap_seconds=60)
    at = 0
    for size in sizes:
        assert playout.play(audio[at : at + size])
        at += size
    heard = b""
    while (frame := playout.release(0.0)) is not None:
        assert len(frame) == 160
        heard += frame
    assert heard[: len(audio)] == audio
    assert heard[len(audio) :] == b"\xff" * (-len(audio) % 160)


def test_a_chunk_that_is_a_frame_is_not_copied() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    chunk = bytes(range(160))
    playout.play(chunk)
    assert playout.release(0.0) is chunk


def test_a_checkpoint_on_an_idle_queue_passes_at_once() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    playout.checkpoint("a", 3.5)
    assert playout.take_passed() == [Passed("a", 3.5)]
    assert playout.take_passed() == []


def test_a_checkpoint_behind_a_sounding_frame_passes_when_it_ends() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    playout.play(bytes(160))
    playout.release(0.0)
    playout.checkpoint("a", 0.005)
    assert playout.take_passed() == []
    assert playout.release(0.02) is None
    assert playout.take_passed() == [Passed("a", 0.02)]


def test_a_frame_spans_checkpoints_and_passes_them_at_its_end() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    for size, name in ((50, "a"), (60, "b"), (70, "c")):
        playout.play(bytes(size))
        playout.checkpoint(name, 0.0)
    playout.release(0.0)
    assert playout.take_passed() == []
    playout.release(0.02)
    assert playout.take_passed() == [Passed("a", 0.02), Passed("b", 0.02)]
    playout.release(0.04)
    assert playout.take_passed() == [Passed("c", 0.04)]


def test_clear_drops_audio_and_checkpoints_even_of_the_sounding_frame() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    playout.play(bytes(400))
    playout.checkpoint("queued", 0.0)
    playout.release(0.0)
    playout.checkpoint("behind", 0.0)
    assert playout.clear() == 240
    playout.play(b"\x01" * 160)
    playout.checkpoint("new", 0.0)
    assert playout.release(0.02) == b"\x01" * 160
    assert playout.release(0.04) is None
    assert playout.take_passed() == [Passed("new", 0.04)]
    assert playout.clear() == 0


def test_the_cap_refuses_whole_chunks_and_takes_what_fits_exactly() -> None:
    playout = Playout(MULAW_8K, cap_seconds=60)
    assert playout.play(bytes(479_999))
    assert not playout.play(bytes(2))
    assert playout.play(bytes(1))
    assert playout.play(b"")
    assert not playout.play(bytes(1))
    assert (playout.queued_bytes, playout.refused_bytes) == (480_000, 3)
    playout.release(0.0)
    assert playout.play(bytes(160))


def test_checkpoints_are_bounded_queued_and_sounding() -> None:
    playout = Playout(MULAW_8K, cap_seconds=1)
    playout.play(bytes(160))
    assert all(playout.checkpoint("x", 0.0) for _ in range(MAX_CHECKPOINTS))
    assert not playout.checkpoint("one too many", 0.0)
    playout.release(0.0)
    assert not playout.checkpoint("one too many", 0.0)
    playout.release(0.02)
    assert len(playout.take_passed()) == MAX_CHECKPOINTS
    playout.play(bytes(160))
    assert playout.checkpoint("x", 0.0)


def test_the_tail_of_a_resampler_is_heard_before_the_checkpoint_behind_it() -> None:
    tails = [b"\x07" * 16]
    playout = Playout(MULAW_8K, cap_seconds=1, tail=lambda: tails.pop() if tails else b"")
    playout.play(b"\x01" * 160)
    playout.checkpoint("end", 0.0)
    assert playout.release(0.00) == b"\x01" * 160
    assert playout.release(0.02) == b"\x07" * 16 + b"\xff" * 144
    assert playout.take_passed() == []
    assert playout.release(0.04) is None
    assert playout.take_passed() == [Passed("end", 0.04)]
    assert playout.played_bytes == 176


def test_the_tail_fills_a_frame_that_would_be_padded() -> None:
    tails = [b"\x07" * 16]
    playout = Playout(MULAW_8K, cap_seconds=1, tail=lambda: tails.pop() if tails else b"")
    playout.play(b"\x01" * 150)
    playout.checkpoint("end", 0.0)
    assert playout.release(0.00) == b"\x01" * 150 + b"\x07" * 10
    assert playout.release(0.02) == b"\x07" * 6 + b"\xff" * 154
    assert playout.take_passed() == []
    assert playout.release(0.04) is None
    assert playout.take_passed() == [Passed("end", 0.04)]


def test_checkpoints_that_waited_for_a_tail_are_counted_once() -> None:
    tails = [b"\x07" * 16]
    playout = Playout(MULAW_8K, cap_seconds=1, tail=lambda: tails.pop() if tails else b"")
    playout.play(b"\x01" * 160)
    playout.release(0.00)
    playout.checkpoint("end", 0.0)
    playout.release(0.02)
    playout.release(0.04)
    assert playout.take_passed() == [Passed("end", 0.04)]
    playout.play(bytes(160))
    assert [playout.checkpoint("x", 0.05) for _ in range(MAX_CHECKPOINTS + 1)].count(False) == 1


def test_no_tail_is_asked_for_while_audio_waits_or_nothing_sounds() -> None:
    asked: list[int] = []

    def tail() -> bytes:
        asked.append(1)
        return b""

    playout = Playout(MULAW_8K, cap_seconds=1, tail=tail)
    assert playout.release(0.0) is None
    playout.play(bytes(480))
    for _ in range(3):
        playout.release(0.0)
    assert asked == []
    playout.release(0.0)
    playout.release(0.0)
    assert asked == [1]


def test_the_clock_gives_nothing_before_its_start_and_is_patient_about_rounding() -> None:
    clock = FrameClock(5.0)
    assert clock.take(0.0) == 0
    assert clock.take(4.999) == 0
    assert clock.take(5.0 - 1e-7) == 1
    assert clock.take(5.01999) == 0
    assert clock.next_due == 5.02
    assert clock.take(5.02) == 1
    assert (clock.taken, clock.slips) == (2, 0)


def test_late_frames_leave_two_at_a_time_and_are_counted() -> None:
    clock = FrameClock(0.0)
    assert [clock.take(0.09), clock.take(0.09), clock.take(0.09), clock.take(0.1)] == [2, 2, 1, 1]
    assert clock.slips == 4
    assert clock.take(0.16, most=3) == 3
    assert clock.next_due == pytest.approx(0.18)


def test_the_clock_never_goes_back() -> None:
    clock = FrameClock(0.0)
    clock.take(0.0)
    clock.take(0.02)
    assert clock.take(0.0) == 0
    assert clock.taken == 2


@pytest.mark.parametrize("start", [0.0, 0.013, 86_400.0 * 365])
@pytest.mark.parametrize("suspended", [10.02, 11.0, 3600.007, 86_400.0 * 30])
def test_a_clock_that_stood_still_leaves_out_what_it_missed_and_keeps_its_grid(start: float, suspended: float) -> None:
    clock = FrameClock(start)
    assert clock.take(start) == 1
    now = clock.next_due + suspended
    assert clock.take(now) == 1
    assert clock.take(now) == 0, "there is nothing to make up for"
    assert (clock.taken, clock.slips, clock.skipped) == (2, 0, int((suspended + 1e-6) / FRAME_SECONDS))
    slots = (clock.next_due - start) / FRAME_SECONDS
    assert slots == pytest.approx(round(slots), abs=1e-4), "the grid is the one of before"
    assert 0 < clock.next_due - now <= FRAME_SECONDS + 1e-6
    assert clock.due(1) == pytest.approx(clock.next_due - FRAME_SECONDS), "what left now was due now"
    assert clock.take(clock.next_due) == 1


def test_who_is_ten_seconds_late_makes_up_for_all_of_it() -> None:
    clock = FrameClock(0.0)
    now = MAX_LATE_SECONDS - FRAME_SECONDS
    taken = 0
    while leaving := clock.take(now):
        taken += leaving
    assert (taken, clock.skipped) == (500, 0)


@pytest.mark.parametrize("start", [0.0, 0.013, 86_400.0 * 365, 1_760_000_000.123])
def test_the_grid_does_not_drift_over_an_hour(start: float) -> None:
    """A tick every 20 ms for an hour, up to 18 ms late and now and then 100 ms: every frame goes in its own slot."""
    jitter = random.Random(20)
    clock = FrameClock(start)
    late_until = 0
    for frame in range(180_000):
        if frame % 10_007 == 0:
            late_until = frame + 5
        if frame < late_until:
            continue
        clock.take(start + frame * FRAME_SECONDS + jitter.random() * 0.018)
        assert frame - 5 < clock.taken <= frame + 1
    assert clock.taken == 180_000
    assert clock.next_due == start + 3600
    assert clock.slips > 0
    assert clock.slips < 200
    assert clock.skipped == 0
