"""Keys to be pressed one after another, with pauses: `send_digits` and `<DTMF>` (plivo-protocol.md, 5.3 and 7.3).

A text of `0-9`, `*`, `#` and `A-D`; `w` waits half a second and `W` a whole one; `@` and a number of milliseconds at
the end says how long each key is held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bothway.errors import UsageError

__all__ = ["DIGIT_GAP_MS", "DIGIT_TONE_MS", "NO_DIGITS", "DigitPlan", "read_digits"]

DIGIT_TONE_MS = 100
"""How long a key is held where the text does not say; receivers need 40 ms (ITU-T Q.24)."""

DIGIT_GAP_MS = 100
"""The silence behind each key; receivers need 40 ms of it (ITU-T Q.24)."""

_LONGEST_TONE_MS = 10_000
_MOST = 256

_PAUSES_MS = {"w": 500, "W": 1000}
_TEXT = re.compile(r"([0-9*#A-DwW]*)(?:@([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class DigitPlan:
    """Which keys are pressed, and when.

    Attributes:
        presses: Milliseconds since the beginning, and the key, in order.
        tone_ms: How long each key is held.
    """

    presses: tuple[tuple[int, str], ...] = ()
    tone_ms: int = DIGIT_TONE_MS

    @property
    def keys(self) -> str:
        """The keys alone."""
        return "".join(key for _, key in self.presses)


NO_DIGITS = DigitPlan()
"""Nothing is pressed."""


def read_digits(text: str) -> DigitPlan:
    """Read such a text; the empty one presses nothing.

    Raises:
        UsageError: It holds another character, or more than 256, or keys are held for no time or for over 10 s.
    """
    if len(text) > _MOST:
        raise UsageError(f"{len(text)} digits are too many to send: {_MOST} are the most")
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} cannot be pressed: digits are 0-9, *, #, A-D, w and W pause, @MILLISECONDS ends it")
    tone_ms = int(found[2]) if found[2] is not None else DIGIT_TONE_MS
    if not 0 < tone_ms <= _LONGEST_TONE_MS:
        raise UsageError(f"a key cannot be held for {tone_ms} ms: 1 to {_LONGEST_TONE_MS} can be asked for")
    presses, at_ms = [], 0
    for character in found[1]:
        if character in _PAUSES_MS:
            at_ms += _PAUSES_MS[character]
        else:
            presses.append((at_ms, character))
            at_ms += tone_ms + DIGIT_GAP_MS
    return DigitPlan(tuple(presses), tone_ms)
