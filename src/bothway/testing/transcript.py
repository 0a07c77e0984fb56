"""The words that were heard on a call, and which of them an expectation has claimed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bothway.errors import UsageError
from bothway.speech.tone_reader import HeardWord

__all__ = ["Finder", "Phrase", "Transcript", "stretches", "text_of"]

Phrase: TypeAlias = str | re.Pattern[str]
"""What is listened for: words, of which case and punctuation do not count, or a regular expression over the words as
they were said, with a space between two."""

Finder: TypeAlias = Callable[[], Sequence[HeardWord] | None]
"""Gives what was found, and claims it; None if it is not there."""

_PAUSE_MS = 300


class Transcript:
    """Looks for phrases in words that grow, each behind the one that was found before.

    Args:
        words: The words; somebody else appends to them.
    """

    def __init__(self, words: Sequence[HeardWord]) -> None:
        self._words = words
        self._next = 0  # the first word that was not claimed

    def finder(self, phrase: Phrase) -> Finder:
        """What finds a phrase as soon as it is there. It looks only when there is a new word: most frames bring none.

        Raises:
            UsageError: There is no word in the phrase.
        """
        if isinstance(phrase, str):
            wanted = [plain for word in phrase.split() if (plain := _plain(word))]
            if not wanted:
                raise UsageError(f"there is no word to hear in {phrase!r}")
        looked_at = -1

        def find() -> Sequence[HeardWord] | None:
            nonlocal looked_at
            if len(self._words) == looked_at:
                return None
            looked_at = len(self._words)
            return self._find_words(wanted) if isinstance(phrase, str) else self._find_pattern(phrase)

        return find

    def unclaimed(self) -> Sequence[HeardWord]:
        """The words behind the last phrase that was found."""
        return self._words[self._next :]

    def _find_words(self, wanted: Sequence[str]) -> Sequence[HeardWord] | None:
        plain = [_plain(word.text) for word in self.unclaimed()]
        for start in range(len(plain) - len(wanted) + 1):
            if plain[start : start + len(wanted)] == wanted:
                return self._claim(start, start + len(wanted))
        return None

    def _find_pattern(self, pattern: re.Pattern[str]) -> Sequence[HeardWord] | None:
        text = text_of(self.unclaimed())
        found = pattern.search(text)
        if found is None or not found.group():
            return None
        return self._claim(text.count(" ", 0, found.start()), text.count(" ", 0, found.end()) + 1)

    def _claim(self, start: int, end: int) -> Sequence[HeardWord]:
        found = self.unclaimed()[start:end]
        self._next += end
        return found


def text_of(words: Sequence[HeardWord]) -> str:
    """The words, with a space between two."""
    return " ".join(word.text for word in words)


def stretches(words: Sequence[HeardWord]) -> list[Sequence[HeardWord]]:
    """The words, cut where there was a pause of more than 300 ms."""
    cuts = [0]
    for place, word in enumerate(words[1:], 1):
        if word.start_ms - words[place - 1].end_ms > _PAUSE_MS:
            cuts.append(place)
    return [words[start:end] for start, end in zip(cuts, [*cuts[1:], len(words)], strict=True)] if words else []


def _plain(word: str) -> str:
    """A word as it sounds: without case and punctuation; a lone dash is no word."""
    folded = unicodedata.normalize("NFC", word).casefold()
    return "".join(char for char in folded if not unicodedata.category(char).startswith("P"))
