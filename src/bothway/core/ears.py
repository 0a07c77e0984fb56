"""What listens to the caller: a reader of digits, a finder of beeps, a recogniser of speech.

And the rule by which a key counts once that is heard twice. A leg that tells of keys (RFC 4733, or a message of its
own) often lets their tones through as well, and only its first key shows that it does. So:

- From the first key that the leg tells of, tones count no more on this call.
- That first one does not count if its tone was counted less than `TWICE_SECONDS` before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bothway.audio.dtmf_reader import DigitReader

__all__ = ["TWICE_SECONDS", "DigitEar", "Ear", "InBandDigit", "KeysOnce"]

TWICE_SECONDS = 0.2
"""How long after its tone the message of a key may come: a tone is known after 40 ms (ITU-T Q.24), a message is on its
way for a network's delay, and hardly anybody presses one key twice so fast."""


class Ear(Protocol):
    """Listens to the caller."""

    def feed(self, l16: bytes) -> Iterable[object]:
        """20 ms of the caller, as L16 at the leg's rate: gives what was found in it. It may only listen."""


@dataclass(frozen=True, slots=True)
class InBandDigit:
    """The tones of a key were heard in the caller's audio."""

    digit: str


class DigitEar:
    """An `Ear` for keys, which counts as the leg's own (`Media.press`).

    Args:
        rate: The leg's, in samples a second.

    Raises:
        UsageError: A rate that a `DigitReader` does not take.
    """

    def __init__(self, rate: int) -> None:
        self._reader = DigitReader(rate)

    def feed(self, l16: bytes) -> list[InBandDigit]:
        """20 ms of the caller: gives the keys that are complete with it."""
        return [InBandDigit(found.digit) for found in self._reader.feed(l16)]


class KeysOnce:
    """Says of each key of a call whether it counts."""

    def __init__(self) -> None:
        self._told = False  # the leg tells of keys
        self._tone = ""  # the last that counted
        self._tone_at = 0.0

    def told(self, digit: str, at: float) -> bool:
        """The leg told of a key, `at` the call's clock, in seconds."""
        first, self._told = not self._told, True
        return not (first and digit == self._tone and at - self._tone_at < TWICE_SECONDS)

    def heard(self, digit: str, at: float) -> bool:
        """The tones of a key were heard, `at` the call's clock, in seconds."""
        if self._told:
            return False
        self._tone, self._tone_at = digit, at
        return True
