from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.speech.tone_reader import HeardWord
from bothway.testing.transcript import Phrase, Transcript, stretches, text_of


def said(text: str, start_ms: float = 0, gap_ms: float = 60) -> list[HeardWord]:
    words = []
    for word in text.split():
        words.append(HeardWord(word, start_ms, start_ms + 300))
        start_ms += 300 + gap_ms
    return words


def found(transcript: Transcript, phrase: Phrase) -> str | None:
    words = transcript.finder(phrase)()
    return text_of(words) if words is not None else None


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("good morning", "Good morning,"),
        ("GOOD Morning!", "Good morning,"),
        ("morning my name is müller", "morning, my name is Müller."),
        ("O’Neill's", "O'Neill’s"),
        ("₹500", "₹500"),
        ("— here", "here"),
        ("good name", None),
        ("mor", None),
        ("goodbye", None),
    ],
)
def test_words_are_found_one_behind_another_whatever_their_case_and_punctuation(
    phrase: str, expected: str | None
) -> None:
    transcript = Transcript(said("Hello. Good morning, my name is Müller. O'Neill’s here ₹500"))
    assert found(transcript, phrase) == expected


def test_each_phrase_is_looked_for_behind_the_one_before() -> None:
    transcript = Transcript(said("one two one three"))
    assert found(transcript, "one") == "one"
    assert text_of(transcript.unclaimed()) == "two one three"
    assert found(transcript, "one three") == "one three"
    assert found(transcript, "two") is None
    assert transcript.unclaimed() == []


def test_a_phrase_is_found_when_its_last_word_comes() -> None:
    words = said("well good")
    find = Transcript(words).finder("good morning")
    assert find() is None
    assert find() is None
    words.extend(said("morning"))
    assert find() == words[1:]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"\d+ o'clock", "7 o'clock"),
        (r"table for \w+", "table for two"),
        (r"^A", "A"),
        (r"two.*7", "two at 7"),
        (r"le f", "table for"),
        (r"nine", None),
        (r"", None),
    ],
)
def test_a_pattern_is_found_in_the_words_as_they_were_said(pattern: str, expected: str | None) -> None:
    assert found(Transcript(said("A table for two at 7 o'clock")), re.compile(pattern)) == expected


def test_a_pattern_claims_the_words_that_it_touches() -> None:
    transcript = Transcript(said("room 12 floor 3"))
    number = re.compile(r"\d+")
    assert found(transcript, number) == "12"
    assert found(transcript, number) == "3"
    assert found(transcript, number) is None


@pytest.mark.parametrize("phrase", ["", "  ", "?!"])
def test_a_phrase_without_a_word_is_refused(phrase: str) -> None:
    with pytest.raises(UsageError, match="no word to hear"):
        Transcript([]).finder(phrase)


def test_words_are_cut_into_stretches_at_pauses() -> None:
    words = [*said("one two"), *said("three", 2000), *said("four five", 2500)]
    assert [text_of(stretch) for stretch in stretches(words)] == ["one two", "three four five"]
    assert stretches([]) == []


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
def test_finding_is_finding_a_slice(heard: list[str], wanted: list[str]) -> None:
    transcript = Transcript(said(" ".join(heard)))
    places = [at for at in range(len(heard)) if heard[at : at + len(wanted)] == wanted]
    expected = " ".join(wanted) if places else None
    assert found(transcript, " ".join(wanted)) == expected
    if places:
        assert len(transcript.unclaimed()) == len(heard) - places[0] - len(wanted)
