from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K
from bothway.audio.transcode import Transcoder
from bothway.core.mixing import FRAME_SLOTS, KEPT_SLOTS, SLOT_SECONDS, Mixer, Voice
from bothway.core.playout import FRAME_SECONDS


def l16(value: int) -> bytes:
    return np.full(160, value, "<i2").tobytes()


def ignore(_: int) -> None:
    """A beat that nobody minds."""


def test_slots_are_the_phases_of_a_frame() -> None:
    assert FRAME_SLOTS * SLOT_SECONDS == FRAME_SECONDS


def test_a_frame_sounds_in_four_slots() -> None:
    mixer, speaker, listener = Mixer(ignore), Voice(L16_8K), Voice(L16_8K)
    mixer.place(speaker, l16(5), 10)
    heard = {}
    for slot in range(8, 16):
        mixer.reach(slot)
        heard[slot] = mixer.heard_by(listener, slot)
        assert mixer.heard_by(speaker, slot) is None
    assert heard == {slot: l16(5) if 10 <= slot < 14 else None for slot in range(8, 16)}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-32768, 32767)), min_size=1, max_size=20))
def test_each_hears_the_sum_of_the_others_saturated_once(said: list[tuple[int, int]]) -> None:
    mixer, listener = Mixer(ignore), Voice(L16_8K)
    voices = [Voice(L16_8K) for _ in said]
    for voice, (slot, value) in zip(voices, said, strict=True):
        mixer.place(voice, l16(value), slot)
    mixer.reach(3)
    total = sum(value for _, value in said)
    for voice, (_, value) in zip(voices, said, strict=True):
        expected = max(-32768, min(32767, total - value))
        assert (mixer.heard_by(voice, 3) or l16(0)) == l16(expected)
    assert (mixer.heard_by(listener, 3) or l16(0)) == l16(max(-32768, min(32767, total))) == mixer.sum(3, 8000)


def test_listeners_that_are_silent_share_one_mix() -> None:
    mixer = Mixer(ignore)
    for value in (1000, 2000):
        mixer.place(Voice(MULAW_8K), bytes([value % 251]) * 160, 0)
    mixer.reach(0)
    assert mixer.heard_by(Voice(MULAW_8K), 0) is mixer.heard_by(Voice(MULAW_8K), 0)


def test_silence_is_not_added_up() -> None:
    mixer, speaker = Mixer(ignore), Voice(MULAW_8K)
    mixer.place(Voice(MULAW_8K), MULAW_8K.silent_frame, 0)
    mixer.place(speaker, bytes(160), 0)
    mixer.reach(0)
    assert mixer.heard_by(Voice(MULAW_8K), 0) == bytes(160)
    assert mixer.heard_by(speaker, 0) is None


def test_what_is_long_past_is_forgotten() -> None:
    mixer, speaker, listener = Mixer(ignore), Voice(L16_8K), Voice(L16_8K)
    for slot in range(0, KEPT_SLOTS + 8, 4):
        mixer.place(speaker, l16(slot + 1), slot)
    mixer.reach(KEPT_SLOTS + 4)
    assert mixer.heard_by(listener, 0) is None
    assert mixer.heard_by(listener, 4) == l16(5)


def test_a_rate_that_was_not_heard_when_it_was_said_is_silence() -> None:
    mixer, speakers, wide = Mixer(ignore), [Voice(L16_8K), Voice(L16_8K)], Voice(L16_16K)
    mixer.place(speakers[0], l16(1), 0)
    mixer.reach(0)
    assert mixer.heard_by(wide, 0) is None
    speakers[1].tune({8000, 16000})
    mixer.place(speakers[1], l16(3000), 1)
    mixer.reach(1)
    assert mixer.heard_by(wide, 1) == Transcoder(L16_8K, L16_16K).process(l16(3000))
    assert mixer.sum(1, 8000) == l16(3001)


def test_a_beat_comes_for_every_20_ms_but_not_for_a_time_that_was_left_out() -> None:
    beats: list[int] = []
    mixer = Mixer(beats.append)
    for slot in (1, 3, 2, 5, 17, 17, 1_000_001, 1_000_005):
        mixer.reach(slot)
    assert beats == [4, 8, 12, 16, 1_000_004]
    assert mixer.head == 1_000_005


def test_what_a_beat_places_is_heard_at_once() -> None:
    voice = Voice(L16_8K)
    mixer = Mixer(lambda slot: mixer.place(voice, l16(slot), slot))
    mixer.reach(9)
    mixer.reach(12)
    assert mixer.heard_by(Voice(L16_8K), 11) is None
    assert mixer.heard_by(Voice(L16_8K), 12) == l16(12)
