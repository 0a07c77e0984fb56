from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.level import FLOOR_DBFS, SilenceGate, SpeechGate, peak, rms_dbfs
from bothway.audio.mix import gain
from bothway.audio.tones import tone
from bothway.audio.wav import read_wav
from bothway.errors import UsageError

QUIET = bytes(320)
LOUD = tone(400, 40, 8000, -20)[160:480]


def l16(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def test_levels_count_from_a_square_of_full_scale() -> None:
    assert rms_dbfs(l16(*[-32768] * 100)) == 0
    sine = (32767 * np.sin(2 * np.pi * np.arange(8000) / 8)).astype("<i2").tobytes()
    assert rms_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert rms_dbfs(l16(3277, -3277)) == pytest.approx(-20, abs=0.01)
    assert rms_dbfs(l16(1, -1)) == pytest.approx(-90.31, abs=0.01)


def test_silence_and_nothing_are_the_floor() -> None:
    assert rms_dbfs(b"") == rms_dbfs(bytes(320)) == FLOOR_DBFS
    assert rms_dbfs(l16(1, *[0] * 8000)) == FLOOR_DBFS


@given(st.lists(st.integers(-32768, 32767)))
def test_peak_is_the_largest_magnitude(values: list[int]) -> None:
    assert peak(l16(*values)) == max(map(abs, values), default=0)


def test_half_a_sample_is_refused() -> None:
    for measure in (rms_dbfs, peak, SpeechGate().feed):
        with pytest.raises(UsageError, match="3 bytes"):
            measure(b"abc")


def run(gate: SpeechGate, pattern: str) -> str:
    """What the gate says of a row of frames: `#` is loud and sounding, `.` quiet and not."""
    return "".join("#" if gate.feed(LOUD if frame == "#" else QUIET) else "." for frame in pattern)


def test_it_opens_after_start_and_closes_after_stop() -> None:
    gate = SpeechGate(start_ms=60, stop_ms=100)
    assert run(gate, "..#####.......") == "....#######..."
    assert not gate.sounding


def test_a_click_opens_nothing_and_a_gap_closes_nothing() -> None:
    assert run(SpeechGate(start_ms=60), "##.##.##.#.#") == "............"
    assert run(SpeechGate(start_ms=60, stop_ms=100), "###....#....#....") == "..###############"


def test_times_round_up_to_frames_and_reset_closes() -> None:
    gate = SpeechGate(start_ms=1, stop_ms=21)
    assert run(gate, "#..") == "##."
    run(gate, "#")
    gate.reset()
    assert not gate.sounding
    assert run(gate, ".") == "."


@given(st.text("#.", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_it_changes_only_after_an_unbroken_run(pattern: str, start: int, stop: int) -> None:
    told = run(SpeechGate(start_ms=20 * start, stop_ms=20 * stop), pattern)
    for at, (before, now) in enumerate(zip("." + told, told, strict=False)):
        if before != now:
            needed = start if now == "#" else stop
            assert pattern[max(0, at + 1 - needed) : at + 1] == now * needed


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="over 0"):
        SpeechGate(start_ms=0)


def utterances(name: str, factor: float = 1.0) -> list[tuple[float, float]]:
    """When a recording sounds, in seconds, by a gate as it comes."""
    fmt, audio = read_wav(speech(name))
    audio = gain(audio, factor, fmt)
    gate = SpeechGate()
    found: list[tuple[float, float]] = []
    begun = None
    for at in range(0, len(audio) - fmt.frame_bytes + 1, fmt.frame_bytes):
        sounding = gate.feed(audio[at : at + fmt.frame_bytes])
        now = fmt.duration_ms(at) / 1000
        if sounding and begun is None:
            begun = now
        elif not sounding and begun is not None:
            found.append((begun, now))
            begun = None
    if begun is not None:
        found.append((begun, fmt.duration_ms(len(audio)) / 1000))
    return found


def test_one_utterance_is_found_as_one() -> None:
    [(begun, ended)] = utterances("caller_greeting_8k.wav")
    assert 0 <= begun <= 0.2
    assert 3.4 <= ended <= 3.7


def test_a_request_in_four_parts_is_found_in_four() -> None:
    found = utterances("caller_detailed_8k.wav")
    assert [(round(begun, 1), round(ended, 1)) for begun, ended in found] == [
        (0.0, 1.6), (1.8, 4.6), (4.8, 11.1), (11.4, 13.2),
    ]  # fmt: skip


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_speech_without_a_pause_never_closes_the_gate(factor: float) -> None:
    """Not even 12 dB quieter, with soft syllables under the threshold."""
    [(begun, ended)] = utterances("speech_female_8k.wav", factor)
    assert begun < 0.5
    assert ended > 14.8


def test_silence_is_long_enough() -> None:
    gate = SilenceGate(100)
    assert [gate.feed(QUIET) for _ in range(6)] == [False] * 4 + [True] * 2
    assert [SilenceGate(90).feed(QUIET), SilenceGate(20).feed(QUIET)] == [False, True]


def test_speech_breaks_a_silence_and_a_click_does_not() -> None:
    gate = SilenceGate(100)
    frames = [QUIET, QUIET, LOUD, QUIET, QUIET, LOUD, LOUD, QUIET, QUIET, QUIET, QUIET, QUIET]
    assert [gate.feed(frame) for frame in frames] == [False] * 4 + [True] * 2 + [False] * 5 + [True]


def test_no_silence_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="0 ms is none"):
        SilenceGate(0)
