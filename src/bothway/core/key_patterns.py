"""The patterns of keys that a document wants to hear of: `digitsMatch` of `<Dial>` and `<Conference>`."""

from __future__ import annotations

__all__ = ["KeyPatterns"]


class KeyPatterns:
    """The keys of one party, and the patterns that are reported.

    A pattern is reported with its last key, whatever was pressed before; of two that end with the same key, the longer.

    Args:
        patterns: As written: patterns between commas.
    """

    def __init__(self, patterns: str | None) -> None:
        found = {pattern.strip() for pattern in (patterns or "").split(",")} - {""}
        self._patterns = sorted(found, key=lambda pattern: (-len(pattern), pattern))
        self._pressed = ""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._patterns)

    def press(self, digit: str) -> str | None:
        """The pattern that this key completes."""
        if not self._patterns:
            return None
        self._pressed = (self._pressed + digit)[-len(self._patterns[0]) :]
        return next((pattern for pattern in self._patterns if self._pressed.endswith(pattern)), None)
