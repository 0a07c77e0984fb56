"""Words of tones: made, read back, cut, damaged, and not found where there are none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bothway.audio.format import FRAME_MS, L16_8K
from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.audio.l16 import FULL_SCALE, from_floats, to_samples
from bothway.audio.level import SpeechGate, rms_dbfs
from bothway.audio.mix import mix
from bothway.audio.resample import RATES
from bothway.audio.tones import beep, dtmf, tone
from bothway.audio.word_tones import CHARACTER_MS, TimedWord, WordReader, encode, encode_pieces, word_times
from bothway.errors import UsageError

SENTENCE = "The fee of ₹500, paid by Müller: हिन्दी or 日本語? 🙂 no-one KNOWS"
LEVEL = FULL_SCALE / 10
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(lambda text: text.split() == [text])


def read(l16: bytes, rate: int = 8000) -> list[TimedWord]:
    return WordReader(rate).feed(l16)


def texts(l16: bytes, rate: int = 8000) -> list[str]:
    return [word.text for word in read(l16, rate)]


def floats(l16: bytes) -> npt.NDArray[np.float64]:
    return to_samples(l16).astype(np.float64)


def noise(count: int, dbfs: float, *, seed: int = 1) -> bytes:
    return from_floats(np.random.default_rng(seed).normal(0, FULL_SCALE * 10 ** (dbfs / 20), count))


def silence(ms: int, rate: int = 8000) -> bytes:
    return bytes(2 * ms * rate // 1000)


@settings(deadline=None, max_examples=50)
@given(text=st.text(st.characters(), max_size=30), rate=st.sampled_from(RATES))
def test_a_text_lasts_as_long_as_its_characters(text: str, rate: int) -> None:
    whole = encode(text, rate)
    assert len(whole) == len(text) * CHARACTER_MS * rate // 1000 * 2
    assert b"".join(encode_pieces(text, rate)) == whole


@settings(deadline=None, max_examples=60)
@given(
    words=st.lists(WORDS, min_size=1, max_size=4),
    gap=st.sampled_from([" ", "\n", "  ", "\u3000"]),
    rate=st.sampled_from([8000, 16000, 24000]),
    lead=st.integers(0, 2000),
)
def test_words_read_back_as_they_were_written_and_where(words: list[str], gap: str, rate: int, lead: int) -> None:
    text = gap.join(words)
    expected = word_times(text)
    assert [word.text for word in expected] == words
    heard = read(bytes(2 * lead) + encode(text, rate), rate)
    assert [word.text for word in heard] == words
    for word, planned in zip(heard, expected, strict=True):
        assert word.start_ms == pytest.approx(planned.start_ms + lead * 1000 / rate, abs=0.25)
        assert word.end_ms == pytest.approx(planned.end_ms + lead * 1000 / rate, abs=0.25)


def test_any_code_point_is_a_character() -> None:
    word = "\0\x01~\x7f\ud800\udfff\ufffe\U0010ffff"
    assert texts(encode(word, 8000)) == [word]


def test_a_word_of_many_pieces_is_one_word() -> None:
    word = "ab" * 60
    pieces = list(encode_pieces(word, 8000))
    assert len(pieces) > 1
    assert texts(b"".join(pieces)) == [word]


def test_texts_without_words_are_silence() -> None:
    assert encode("", 8000) == b""
    assert encode(" \n\t", 16000) == silence(3 * CHARACTER_MS, 16000)
    assert word_times(" \n\t") == []


def test_times_are_those_of_the_text() -> None:
    assert word_times(" Oh,  no") == [TimedWord("Oh,", 60.0, 240.0), TimedWord("no", 360.0, 480.0)]


def test_texts_in_a_row_need_no_gap() -> None:
    assert texts(encode("good", 8000) + encode("morning I", 8000) + encode("said", 8000)) == [
        "good",
        "morning",
        "I",
        "said",
    ]


@pytest.mark.parametrize("rate", RATES)
def test_it_is_as_loud_as_speech_and_the_gate_stays_open_from_word_to_word(rate: int) -> None:
    audio = encode(SENTENCE, rate)
    size = 2 * rate * FRAME_MS // 1000
    frames = [audio[at : at + size] for at in range(0, len(audio), size)]
    assert all(-22 < rms_dbfs(frame) < -18 for frame in frames if any(frame))
    assert float(np.abs(floats(audio)).max()) < 0.6 * FULL_SCALE
    gate = SpeechGate()
    states = [gate.feed(frame) for frame in frames]
    assert states == sorted(states)
    assert all(states[1:])


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 12_000), max_size=12), rate=st.sampled_from([8000, 16000]))
def test_how_a_stream_is_split_changes_nothing(cuts: list[int], rate: int) -> None:
    audio = mix(encode("so I said no", rate) + silence(20, rate), noise(14_000, -40), L16_8K)
    edges = [0, *sorted(2 * cut for cut in cuts), len(audio)]
    reader = WordReader(rate)
    assert [word for at, end in pairwise(edges) for word in reader.feed(audio[at:end])] == read(audio, rate)


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
@pytest.mark.parametrize("size", [1, 7, 53, 160])
def test_a_word_is_given_as_soon_as_its_last_sample_came(rate: int, size: int) -> None:
    text = "go on I am"
    audio = bytes(2 * 31) + encode(text, rate)
    reader = WordReader(rate)
    given: dict[str, int] = {}
    for at in range(0, len(audio), 2 * size):
        for word in reader.feed(audio[at : at + 2 * size]):
            given[word.text] = at // 2 + size
    for word in word_times(text):
        end = 31 + round(word.end_ms * rate / 1000)
        assert end - rate / 2000 <= given[word.text] < end + size


@pytest.mark.parametrize("word", ["a", "no", "₹500", "🙂"])
@pytest.mark.parametrize("coded", [False, True], ids=["l16", "µ-law"])
def test_a_word_is_heard_when_its_end_was_to_three_milliseconds(word: str, coded: bool) -> None:
    audio = silence(20) + encode(word, 8000)
    for missing in (*range(49), 80, 160, 239, 240, 241, 320, 479):
        cut = audio[: len(audio) - 2 * missing] + silence(100)
        heard = texts(mulaw_to_l16(l16_to_mulaw(cut)) if coded else cut)
        if missing <= 12:
            assert heard == [word], missing
        elif missing >= 24:
            assert heard == [], missing


def test_audio_that_stops_is_no_word_either() -> None:
    audio = encode("stop", 8000)
    assert all(texts(audio[: len(audio) - 2 * missing]) == [] for missing in range(24, 1900, 13))


@pytest.mark.parametrize("size", range(1, 5))
def test_the_start_of_a_word_is_no_word(size: int) -> None:
    assert texts(encode("hello", 8000)[: size * 2 * 480] + silence(200)) == []


@settings(deadline=None, max_examples=60)
@given(missing=st.integers(32, 1400), other=st.sampled_from(["word", "middle", "noise", "beep"]))
def test_a_word_that_another_sound_cuts_is_not_heard(missing: int, other: str) -> None:
    sounds = {
        "word": encode("yes", 8000),
        "middle": encode("middles", 8000)[2 * 777 :],
        "noise": noise(1600, -20, seed=missing),
        "beep": beep(8000),
    }
    audio = encode("never", 8000)
    heard = texts(audio[: len(audio) - 2 * missing] + sounds[other] + silence(60))
    assert heard == (["yes"] if other == "word" else [])


@pytest.mark.parametrize("at", range(0, 4 * 480 - 64, 53))
def test_a_word_with_a_hole_is_not_heard(at: int) -> None:
    audio = encode("holy", 8000)
    assert texts(audio[: 2 * at] + silence(8) + audio[2 * at + 128 :]) == []
    assert texts(audio[: 2 * at] + audio[2 * at + 48 :]) == []


def test_a_character_lost_or_doubled_is_not_heard() -> None:
    first, second, third, last = (encode("abab", 8000)[at : at + 960] for at in range(0, 4 * 960, 960))
    assert texts(first + second + third + last) == ["abab"]
    assert texts(first + last) == []
    assert texts(first + second + last) == []
    assert texts(first + second + third + second + third + last) == []


@pytest.mark.parametrize("late", [24, 25, 40, 64, 100, 333, 480, 481, 700, 1200])
def test_hearing_may_start_anywhere_and_begins_with_the_next_word(late: int) -> None:
    audio = encode("one two", 8000)[2 * late :]
    (word,) = read(audio)
    assert word.text == "two"
    assert word.end_ms == pytest.approx(420 - late / 8, abs=0.25)


@pytest.mark.parametrize("gain_db", [0, -10, -20, -30, -40])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_levels(gain_db: int, rate: int) -> None:
    audio = from_floats(floats(encode(SENTENCE, rate)) * 10 ** (gain_db / 20))
    assert texts(audio, rate) == SENTENCE.split()


@pytest.mark.parametrize("gain_db", [0, -30])
@pytest.mark.parametrize("snr_db", [30, 15, 10])
def test_words_are_read_in_noise(gain_db: int, snr_db: int) -> None:
    words = from_floats(floats(encode(SENTENCE * 3, 8000)) * 10 ** (gain_db / 20))
    noisy = mix(words, noise(len(words) // 2, -20 + gain_db - snr_db), L16_8K)
    heard = read(mulaw_to_l16(l16_to_mulaw(noisy)))
    for word, planned in zip(heard, word_times(SENTENCE * 3), strict=True):
        assert word.text == planned.text
        assert (word.start_ms, word.end_ms) == pytest.approx((planned.start_ms, planned.end_ms), abs=0.5)


@pytest.mark.parametrize("snr_db", [5, 2, 0, -3])
def test_in_too_much_noise_a_word_is_missed_and_never_misread(snr_db: int) -> None:
    words = encode(SENTENCE * 6, 8000)
    heard = texts(mix(words, noise(len(words) // 2, -20 - snr_db, seed=snr_db + 9), L16_8K))
    assert set(heard) <= set((SENTENCE * 6).split())


@pytest.mark.parametrize("hertz", [50, 60, 100, 180])
def test_words_are_read_in_hum(hertz: int) -> None:
    words = from_floats(floats(encode(SENTENCE, 8000)) * 0.5)
    assert texts(mix(words, tone(hertz, len(words) / 16, 8000, -20.0), L16_8K)) == SENTENCE.split()


def test_a_constant_and_an_inverted_line_are_borne() -> None:
    words = floats(encode(SENTENCE, 8000))
    assert texts(from_floats(3000 - words)) == SENTENCE.split()


def test_other_sounds_are_no_words() -> None:
    at = np.arange(8000 * 10) / 8000
    word = floats(encode("I", 8000))
    sounds = [
        noise(8000 * 60, -20),
        noise(8000 * 60, -50),
        dtmf("0123456789*#ABCD" * 5, tone_ms=60, gap_ms=40),
        tone((440, 480), 5000, 8000),
        beep(8000, ms=3000),
        from_floats(LEVEL * np.sign(np.sin(2 * np.pi * 133 * at))),
        from_floats(LEVEL * np.sin(2 * np.pi * (400 * (at % 0.1) + 14_000 * (at % 0.1) ** 2))),
        from_floats(np.tile(word[:64], 500)),
        from_floats(np.concatenate([word[:64], floats(noise(416, -20))] * 20)),
        from_floats(np.concatenate([word[:64], floats(encode("ab", 8000))[480 + 64 : 960]] * 20)),
        from_floats(word[::-1]),
        encode("drow", 16000),
    ]
    assert [texts(sound + silence(100)) for sound in sounds] == [[] for _ in sounds]


def test_what_a_reader_keeps_is_bounded() -> None:
    reader = WordReader(8000)
    for sound in (silence(60_000), noise(8000 * 20, -20), encode("word" * 100, 8000)):
        for at in range(0, len(sound), 320):
            reader.feed(sound[at : at + 320])
            assert len(reader._audio) < 2 * 8 * 150
    assert reader.feed(silence(100)) == []


def test_time_counts_from_the_first_sample_ever_fed() -> None:
    reader = WordReader(16000)
    reader.feed(silence(3_600_000, 16000))
    assert reader.feed(encode("an hour", 16000)) == [
        TimedWord("an", 3_600_000.0, 3_600_120.0),
        TimedWord("hour", 3_600_180.0, 3_600_420.0),
    ]


def test_what_cannot_be_is_refused() -> None:
    for make in (lambda: encode("a", 11025), lambda: list(encode_pieces("a", 44100)), lambda: WordReader(0)):
        with pytest.raises(UsageError, match="words have no tones at"):
            make()
    reader = WordReader(8000)
    with pytest.raises(UsageError, match="not a whole number"):
        reader.feed(b"abc")
    assert texts(encode("fine", 8000)) == ["fine"]
