"""Digits through everything that Q.24 asks of a receiver, and no digits in what is none."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.dtmf_reader import DTMF_RATES, DigitReader, HeardDigit
from bothway.audio.g711 import alaw_to_l16, l16_to_alaw, l16_to_mulaw, mulaw_to_l16
from bothway.audio.l16 import from_floats
from bothway.audio.resample import resample_clip
from bothway.audio.tones import DTMF_FREQUENCIES, beep, dtmf, tone
from bothway.audio.wav import read_wav
from bothway.audio.word_tones import encode
from bothway.errors import UsageError

DIGITS = "0123456789*#ABCD"
LAWS: dict[str, Callable[[bytes], bytes]] = {
    "l16": lambda l16: l16,
    "µ-law": lambda l16: mulaw_to_l16(l16_to_mulaw(l16)),
    "A-law": lambda l16: alaw_to_l16(l16_to_alaw(l16)),
}
Wave = npt.NDArray[np.float64]


def read(audio: bytes, rate: int = 8000) -> list[HeardDigit]:
    reader, size = DigitReader(rate), rate // 25
    audio += bytes(-len(audio) % size + 2 * size)
    heard = [reader.feed(audio[at : at + size]) for at in range(0, len(audio), size)]
    assert max(map(len, heard)) <= 1
    return [digit for digits in heard for digit in digits]


def text(heard: list[HeardDigit]) -> str:
    return "".join(one.digit for one in heard)


def press(
    digit: str,
    rate: int,
    ms: float,
    *,
    dbm: tuple[float, float] = (-10.0, -8.0),
    off: tuple[float, float] = (0.0, 0.0),
    phases: tuple[float, float] = (0.0, 1.0),
    fade_ms: float = 0.0,
) -> Wave:
    """One digit: levels of the low and the high tone in dBm0, and how far each is beside its pitch, as a ratio."""
    at = np.arange(int(ms * rate / 1000)) / rate
    wave: Wave = np.zeros(at.size)
    for hertz, level, beside, phase in zip(DTMF_FREQUENCIES[digit], dbm, off, phases, strict=True):
        amplitude = 32768 * 10 ** ((level - 6.18) / 20) * 2**0.5
        wave += amplitude * np.sin(2 * np.pi * hertz * (1 + beside) * at + phase)
    edge = int(fade_ms * rate / 1000)
    rise = (np.arange(edge) + 0.5) / max(edge, 1)
    wave[:edge] *= rise
    wave[wave.size - edge :] *= rise[::-1]
    return wave


@pytest.mark.parametrize("rate", DTMF_RATES)
@pytest.mark.parametrize(("tone_ms", "gap_ms"), [(40, 40), (45, 60), (100, 100), (400, 45)])
def test_what_a_keypad_sounds_is_read(rate: int, tone_ms: int, gap_ms: int) -> None:
    keys = DIGITS + "1122##**AA"
    for lead in range(0, rate // 50, rate // 400):
        heard = read(bytes(2 * lead) + dtmf(keys, rate=rate, tone_ms=tone_ms, gap_ms=gap_ms), rate)
        assert text(heard) == keys
        for number, one in enumerate(heard):
            assert one.start_ms == pytest.approx(lead * 1000 / rate + number * (tone_ms + gap_ms), abs=3)


@given(
    digit=st.sampled_from(DIGITS),
    rate=st.sampled_from(DTMF_RATES),
    law=st.sampled_from(sorted(LAWS)),
    stronger=st.floats(-17, 0),
    twist=st.floats(-8, 4),
    off=st.tuples(st.floats(-0.015, 0.015), st.floats(-0.015, 0.015)),
    phases=st.tuples(st.floats(0, 6.3), st.floats(0, 6.3)),
    ms=st.floats(40, 120),
    fade_ms=st.sampled_from([0.0, 3.0]),
    lead_ms=st.floats(0, 45),
    snr_db=st.sampled_from([None, 20.0, 15.0, 10.0]),
    seed=st.integers(0, 2**32),
)
def test_all_that_q24_admits_is_a_digit(
    digit: str,
    rate: int,
    law: str,
    stronger: float,
    twist: float,
    off: tuple[float, float],
    phases: tuple[float, float],
    ms: float,
    fade_ms: float,
    lead_ms: float,
    snr_db: float | None,
    seed: int,
) -> None:
    """Both tones from 0 to -25 dBm, the larger named by `stronger`; what is over full scale is clipped."""
    dbm = (stronger, stronger + twist) if twist < 0 else (stronger - twist, stronger)
    wave = press(digit, rate, ms, dbm=dbm, off=off, phases=phases, fade_ms=fade_ms)
    line = np.concatenate([np.zeros(int(lead_ms * rate / 1000)), wave, np.zeros(rate // 20)])
    if snr_db is not None:
        line += np.random.default_rng(seed).normal(0, np.sqrt((wave**2).mean()) * 10 ** (-snr_db / 20), line.size)
    heard = read(LAWS[law](from_floats(line)), rate)
    assert text(heard) == digit
    assert heard[0].start_ms == pytest.approx(lead_ms, abs=8)


@given(
    digit=st.sampled_from(DIGITS),
    beside=st.sampled_from([-0.035, 0.035, 0.05, -0.06]),
    high=st.booleans(),
    ms=st.floats(40, 200),
    lead_ms=st.floats(0, 20),
)
def test_a_tone_beside_its_pitch_makes_no_digit(
    digit: str, beside: float, high: bool, ms: float, lead_ms: float
) -> None:
    wave = press(digit, 8000, ms, off=(0.0, beside) if high else (beside, 0.0))
    assert read(from_floats(np.concatenate([np.zeros(int(8 * lead_ms)), wave]))) == []


@given(digit=st.sampled_from(DIGITS), ms=st.floats(1, 23), lead_ms=st.floats(0, 20))
def test_a_burst_is_no_digit(digit: str, ms: float, lead_ms: float) -> None:
    assert read(from_floats(np.concatenate([np.zeros(int(8 * lead_ms)), press(digit, 8000, ms)]))) == []


@given(
    digit=st.sampled_from(DIGITS),
    parts=st.tuples(st.floats(50, 150), st.floats(50, 150)),
    gap_ms=st.floats(0, 10),
    phases=st.tuples(st.floats(0, 6.3), st.floats(0, 6.3)),
    lead_ms=st.floats(0, 20),
)
def test_a_short_interruption_makes_no_second_press(
    digit: str, parts: tuple[float, float], gap_ms: float, phases: tuple[float, float], lead_ms: float
) -> None:
    first, second = press(digit, 8000, parts[0]), press(digit, 8000, parts[1], phases=phases)
    line = np.concatenate([np.zeros(int(8 * lead_ms)), first, np.zeros(int(8 * gap_ms)), second])
    assert text(read(from_floats(line))) == digit


@pytest.mark.parametrize("dbm", [(-45.0, -45.0), (-10.0, -22.0), (-20.0, -10.0), (-10.0, -60.0)])
def test_too_faint_and_too_much_twist_are_no_digits(dbm: tuple[float, float]) -> None:
    for digit in DIGITS:
        assert read(from_floats(press(digit, 8000, 100, dbm=dbm))) == []


def test_a_held_key_is_one_press_and_another_key_follows_without_a_pause() -> None:
    assert text(read(dtmf("5", tone_ms=9000))) == "5"
    assert text(read(dtmf("5", tone_ms=105, gap_ms=0) + dtmf("6", tone_ms=77, gap_ms=0) + dtmf("5"))) == "565"


def test_a_press_under_speech_that_follows_ends_all_the_same() -> None:
    _, said = read_wav(speech("caller_greeting_8k.wav"))
    assert text(read(dtmf("7", gap_ms=0) + said[8000:] + dtmf("7"))) == "77"


@pytest.mark.parametrize("name", ["caller_detailed_8k.wav", "caller_greeting_8k.wav", "speech_female_8k.wav"])
def test_people_press_nothing(name: str) -> None:
    fmt, said = read_wav(speech(name))
    samples = np.frombuffer(said, "<i2").astype(np.float64)
    for lead in range(0, 160, 40):
        for volume in (1.0, 3.0):
            line = from_floats(volume * samples[lead:])
            assert read(line) == []
            assert read(LAWS["µ-law"](line)) == []
    for pitch in (6500, 7250, 8900, 10_500):
        assert read(resample_clip(said, pitch, fmt.rate)) == []
    for rate in DTMF_RATES:
        assert read(resample_clip(said, fmt.rate, rate), rate) == []


def test_what_else_sounds_on_a_line_presses_nothing() -> None:
    rng = np.random.default_rng(5)
    assert read(bytes(16000 * 60)) == []
    assert read(from_floats(rng.normal(0, 4000, 8000 * 60))) == []
    for chord in ([350, 440], [440, 480], [480, 620], [425], [1000], [941], [1336], [697, 770], [1209, 1336]):
        assert read(tone(chord, 2000, 8000)) == []
    assert read(tone([*DTMF_FREQUENCIES["1"], 950], 2000, 8000)) == []
    assert read(beep(ms=800)) == []
    assert read(encode("Words for machines, of ten tones each.", 8000)) == []


def test_chords_of_notes_press_nothing() -> None:
    rng = np.random.default_rng(7)
    at = np.arange(16000) / 8000
    for _ in range(60):
        notes = 440 * 2 ** ((rng.integers(40, 84, rng.integers(1, 4)) - 69) / 12)
        parts = [(note * overtone, overtone) for note in notes for overtone in range(1, 8) if note * overtone < 3900]
        wave = sum(np.sin(2 * np.pi * hertz * at + rng.uniform(0, 6)) / overtone for hertz, overtone in parts)
        assert read(from_floats(np.asarray(4000 * np.exp(-at) * wave))) == []


def test_a_reset_reader_is_as_if_new() -> None:
    reader = DigitReader(8000)
    frames = [dtmf("3")[at : at + 320] for at in range(0, 3200, 320)]
    first = [reader.feed(frame) for frame in frames[:4]]
    reader.reset()
    assert [reader.feed(frame) for frame in frames[:4]] == first
    assert text([one for heard in first for one in heard]) == "3"


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="not at 11025"):
        DigitReader(11025)
    with pytest.raises(UsageError, match="320 bytes"):
        DigitReader(8000).feed(bytes(160))


def test_it_is_cheap() -> None:
    """Processor time, and far above what an idle machine needs: 1 µs a quiet frame, 4 to 6 of speech."""
    _, said = read_wav(speech("speech_female_8k.wav"))
    for audio, most_us in ((bytes(len(said)), 15), (said, 60)):
        frames = [audio[at : at + 320] for at in range(0, len(audio) - 319, 320)]
        reader = DigitReader(8000)
        began = time.process_time()
        for frame in frames:
            reader.feed(frame)
        assert (time.process_time() - began) / len(frames) < most_us / 1e6
