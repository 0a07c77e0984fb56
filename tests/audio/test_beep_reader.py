"""Beeps on good and bad lines, and none in everything else that sounds there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.beep_reader import BEEP_RATES, BeepReader, BeepSettings, HeardBeep
from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.audio.l16 import from_floats
from bothway.audio.resample import resample_clip
from bothway.audio.tones import beep, dtmf, tone
from bothway.audio.wav import read_wav
from bothway.errors import UsageError

SHORT = BeepSettings(duration=120)


def read(audio: bytes, rate: int = 8000, settings: BeepSettings | None = SHORT) -> list[tuple[HeardBeep, float]]:
    """The beeps, each with when it was reported."""
    reader, size = BeepReader(rate, settings), rate // 25
    audio += bytes(-len(audio) % size)
    heard = [(reader.feed(audio[at : at + size]), (at + size) * 500 / rate) for at in range(0, len(audio), size)]
    return [(one, when) for one, when in heard if one is not None]


def silence(ms: float, rate: int = 8000) -> bytes:
    return bytes(2 * int(ms * rate / 1000))


@given(
    rate=st.sampled_from(BEEP_RATES),
    hertz=st.floats(360, 2490),
    ms=st.floats(130, 590),
    dbfs=st.floats(-28, -6),
    lead_ms=st.floats(100, 150),
    snr_db=st.sampled_from([None, 20.0, 12.0]),
    seed=st.integers(0, 2**32),
)
def test_a_beep_is_heard_where_it_is(
    rate: int, hertz: float, ms: float, dbfs: float, lead_ms: float, snr_db: float | None, seed: int
) -> None:
    line = silence(lead_ms, rate) + tone(hertz, ms, rate, dbfs) + silence(1000, rate)
    if snr_db is not None:
        noise = 32768 * 10 ** ((dbfs - snr_db) / 20)
        samples = np.frombuffer(line, "<i2")
        line = from_floats(samples + np.random.default_rng(seed).normal(0, noise, samples.size))
    ((found, when),) = read(mulaw_to_l16(l16_to_mulaw(line)), rate)
    assert found.start_ms == pytest.approx(lead_ms, abs=5)
    assert found.end_ms == pytest.approx(lead_ms + ms, abs=5)
    assert found.hertz == pytest.approx(hertz, abs=2)
    assert when - found.end_ms <= (100 if hertz > 505 else 950)


def test_speech_before_a_beep_does_not_hide_it() -> None:
    _, said = read_wav(speech("caller_greeting_8k.wav"))
    ((found, when),) = read(said[:40_000] + beep(ms=400) + silence(500))
    assert found.start_ms == pytest.approx(2500, abs=25)
    assert found.end_ms == pytest.approx(2900, abs=5)
    assert when <= 2980


def test_a_beep_before_speech_is_none() -> None:
    _, said = read_wav(speech("caller_greeting_8k.wav"))
    assert read(beep(ms=400) + said[8000:30_000]) == []


def test_settings() -> None:
    line = silence(200) + tone(1000, 220, 8000) + silence(200) + tone(1000, 320, 8000) + silence(800)
    assert [round(found.start_ms, -1) for found, _ in read(line)] == [200]
    assert read(line, settings=None) == [], "the first is too short, and the second belongs to it"
    assert [round(found.start_ms, -1) for found, _ in read(line[6720:], settings=None)] == [200]
    apart = BeepSettings(duration=120, intra_silence=100)
    assert [round(found.start_ms, -1) for found, _ in read(line, settings=apart)] == [200, 620]
    assert read(line, settings=BeepSettings(threshold=8000)) == []
    assert [when for _, when in read(line[6720:], settings=BeepSettings(inter_silence=400))] == [920]


def test_settings_from_an_attribute() -> None:
    assert BeepSettings.parse("duration=300,inter_silence=50,intra_silence=500,threshold=256") == BeepSettings()
    assert BeepSettings.parse(" duration = 200 ,, threshold=100") == BeepSettings(duration=200, threshold=100)
    assert BeepSettings.parse("") == BeepSettings()
    for bad, sentence in [("loudness=3", "'loudness=3' is no setting"), ("duration=x", "whole numbers")]:
        with pytest.raises(UsageError, match=sentence):
            BeepSettings.parse(bad)
    for bad in ("duration=59", "threshold=0"):
        with pytest.raises(UsageError, match="finds no beep"):
            BeepSettings.parse(bad)


def cadence(chord: float | list[float], on_ms: float, off_ms: float) -> bytes:
    return (tone(chord, on_ms, 8000) + silence(off_ms)) * 5


NO_BEEPS = {
    "ringing, America": cadence([440, 480], 2000, 4000),
    "ringing, Britain": cadence([400, 450], 400, 200),
    "ringing, Europe": cadence(425, 1000, 4000),
    "ringing, France": cadence(440, 1500, 3500),
    "busy, Europe": cadence(425, 480, 480),
    "busy, Britain": cadence(400, 375, 375),
    "busy, America": cadence([480, 620], 500, 500),
    "congestion": cadence(425, 250, 250),
    "reorder": cadence([480, 620], 250, 250),
    "dial tone": tone([350, 440], 3000, 8000),
    "a modem": tone(2100, 3300, 8000),
    "number not in service": tone(950, 330, 8000) + tone(1400, 330, 8000) + tone(1800, 330, 8000),
    "digits": dtmf("0123456789*#ABCD", tone_ms=300),
    "too low": tone(300, 400, 8000),
    "too high": tone(2700, 400, 8000),
    "too short": tone(1000, 90, 8000),
    "silence": b"",
    "noise": from_floats(np.random.default_rng(3).normal(0, 3000, 80_000)),
}


@pytest.mark.parametrize("name", NO_BEEPS)
def test_other_tones_are_no_beeps(name: str) -> None:
    for lead_ms in (0, 6, 13):
        assert read(silence(lead_ms) + NO_BEEPS[name] + silence(1500)) == []


@pytest.mark.parametrize("name", ["caller_detailed_8k.wav", "caller_greeting_8k.wav", "speech_female_8k.wav"])
def test_people_do_not_beep(name: str) -> None:
    fmt, said = read_wav(speech(name))
    for pitch in (6500, 7500, fmt.rate, 9000, 11_000):
        assert read(resample_clip(said, pitch, fmt.rate) + silence(1000), settings=BeepSettings(duration=100)) == []
    for rate in BEEP_RATES:
        assert read(resample_clip(said, fmt.rate, rate), rate) == []


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="not at 48000"):
        BeepReader(48000)
    with pytest.raises(UsageError, match="320 bytes"):
        BeepReader().feed(bytes(2))
