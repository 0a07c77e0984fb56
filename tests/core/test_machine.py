from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech_data import speech

from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.audio.l16 import from_floats
from bothway.audio.tones import beep
from bothway.audio.wav import read_wav
from bothway.core.machine import LIMITS, MachineDetector, MachineReason, MachineSettings, MachineVerdict, Who
from bothway.errors import UsageError
from bothway.speech.providers.espeak import EspeakVoice

PEOPLE = [
    "Hello?",
    "Yes?",
    "Bob speaking.",
    "Hi, this is Sarah.",
    "Hello, who is it?",
    "Good morning, Miller and sons, how can I help?",
]
MACHINES = [
    "Hi, you have reached Sarah. I can't come to the phone right now. Please leave a message after the tone.",
    "The person you are calling is not available. At the tone, please record your message.",
    "Hello! Nobody is here. Please leave a message.",
    "Leave a message.",
]


@pytest.fixture
async def voice() -> AsyncIterator[EspeakVoice]:
    voice = EspeakVoice(rate=8000)
    yield voice
    await voice.close()


def answered(said: bytes, *, beeps: bool = False) -> bytes:
    """What a line carries after the answer: noise, 600 ms until something is said, and five seconds behind it."""
    line = bytes(9600) + said + (bytes(8000) + beep(ms=400) if beeps else b"") + bytes(80_000)
    samples = np.frombuffer(line, "<i2") + np.random.default_rng(1).normal(0, 40, len(line) // 2)
    return mulaw_to_l16(l16_to_mulaw(from_floats(samples)))


def decide(line: bytes, settings: MachineSettings | None = None) -> MachineVerdict | None:
    detector = MachineDetector(8000, settings)
    found = [detector.feed(line[at : at + 320]) for at in range(0, len(line) - 319, 320)]
    verdicts = [verdict for verdict in found if verdict]
    assert len(verdicts) <= 1
    assert detector.verdict == (verdicts[0] if verdicts else None)
    return detector.verdict


@pytest.mark.parametrize("speaker", ["WOMAN", "MAN"])
async def test_people_and_machines(voice: EspeakVoice, speaker: str) -> None:
    for texts, who in ((PEOPLE, Who.HUMAN), (MACHINES, Who.MACHINE)):
        for text in texts:
            said = b"".join([chunk async for chunk in voice.synthesize(text, voice=speaker)])
            verdict = decide(answered(said, beeps=who is Who.MACHINE))
            assert verdict is not None
            assert verdict.who is who, (text, verdict)
            assert (verdict.reason is MachineReason.BEEP) == (text == "Leave a message.")


async def test_a_short_message_without_a_beep_is_taken_for_a_person(voice: EspeakVoice) -> None:
    said = b"".join([chunk async for chunk in voice.synthesize("Leave a message.")])
    verdict = decide(answered(said))
    assert verdict
    assert (verdict.who, verdict.reason) == (Who.HUMAN, MachineReason.PAUSE)


def test_recorded_speech_is_a_machine_that_speaks_on() -> None:
    verdict = decide(read_wav(speech("speech_female_8k.wav"))[1])
    assert verdict
    assert (verdict.who, verdict.reason, verdict.words) == (Who.MACHINE, MachineReason.LONG_GREETING, 1)


def hear(*parts: tuple[int, bool], settings: MachineSettings | None = None) -> MachineVerdict | None:
    """The verdict on stretches of milliseconds, as a speech gate tells of them."""
    detector = MachineDetector(8000, settings)
    for ms, sounding in parts:
        for _ in range(ms // 20):
            detector.hear(sounding=sounding)
    return detector.verdict


WORD, GAP = (400, True), (300, False)


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([(4500, False)], None),
        ([(4520, False)], (Who.MACHINE, MachineReason.INITIAL_SILENCE, 4520, 0, 0)),
        ([GAP, (1500, True)], (Who.MACHINE, MachineReason.LONG_GREETING, 1800, 1520, 1)),
        ([GAP, (1480, True), (660, False)], None),
        ([GAP, (1480, True), (680, False)], (Who.HUMAN, MachineReason.PAUSE, 2460, 1380, 1)),
        ([GAP, WORD, GAP, WORD, GAP, WORD, GAP], None),
        ([GAP, WORD, GAP, WORD, GAP, WORD, GAP, WORD], (Who.MACHINE, MachineReason.MANY_WORDS, 2420, 940, 4)),
        ([GAP, WORD, GAP, (4000, True)], (Who.UNKNOWN, MachineReason.TIME_UP, 5000, 4320, 2)),
        ([(4200, False), (1000, True)], (Who.UNKNOWN, MachineReason.TIME_UP, 5000, 820, 1)),
    ],
)
def test_the_table(parts: list[tuple[int, bool]], verdict: tuple[Who, MachineReason, int, int, int] | None) -> None:
    assert hear(*parts) == (None if verdict is None else MachineVerdict(*verdict))


def test_each_setting_moves_its_rule() -> None:
    for settings, parts, reason in [
        (MachineSettings(initial_silence=2000), [(2020, False)], MachineReason.INITIAL_SILENCE),
        (MachineSettings(initial_greeting=3000), [GAP, (3000, True)], MachineReason.LONG_GREETING),
        (MachineSettings(maximum_words=2), [WORD, GAP, WORD, GAP, (20, True)], MachineReason.MANY_WORDS),
        (MachineSettings(maximum_speech_length=1000), [WORD, GAP, (720, True)], MachineReason.LONG_SPEECH),
        (MachineSettings(silence=500), [WORD, (380, False)], MachineReason.PAUSE),
        (MachineSettings(time=2000), [(1900, False), (100, True)], MachineReason.TIME_UP),
    ]:
        verdict = hear(*parts, settings=settings)
        assert verdict
        assert verdict.reason is reason
        assert hear(*parts[:-1], (parts[-1][0] - 20, parts[-1][1]), settings=settings) is None


def test_a_beep_decides_in_any_state() -> None:
    for parts in ([], [GAP], [GAP, WORD], [GAP, WORD, GAP]):
        detector = MachineDetector()
        for ms, sounding in parts:
            for _ in range(ms // 20):
                assert detector.hear(sounding=sounding) is None
        verdict = detector.hear(sounding=False, beep=True)
        assert verdict
        assert (verdict.who, verdict.reason) == (Who.MACHINE, MachineReason.BEEP)
        assert detector.hear(sounding=True, beep=True) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 80)), max_size=12))
def test_it_decides_once_and_in_time(parts: list[tuple[bool, int]]) -> None:
    detector = MachineDetector()
    frames = [sounding for sounding, count in parts for _ in range(count)]
    found = [detector.hear(sounding=sounding) for sounding in frames]
    verdicts = [verdict for verdict in found if verdict]
    assert len(verdicts) <= 1
    assert len(verdicts) == 1 or len(frames) < 250
    for verdict in verdicts:
        assert 0 <= verdict.speech_ms <= verdict.at_ms == 20 * (found.index(verdict) + 1) <= 5000


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    for value in (LIMITS[name][0], LIMITS[name][-1]):
        MachineSettings(**{name: value})
    for value in (LIMITS[name][0] - 1, LIMITS[name][-1] + 1):
        with pytest.raises(UsageError, match=f"{name} is {LIMITS[name][0]} to {LIMITS[name][-1]}, not {value}"):
            MachineSettings(**{name: value})


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="not at 48000"):
        MachineDetector(48000)
    with pytest.raises(UsageError, match="320 bytes"):
        MachineDetector().feed(b"")
