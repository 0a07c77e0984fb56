"""Keys that are pressed as a call goes on, each in its 20 ms."""

from __future__ import annotations

from collections import deque

from bothway.audio.format import FRAME_MS
from bothway.wire.digits import DigitPlan

__all__ = ["DigitPresser"]


class DigitPresser:
    """Carries a `DigitPlan` out. The call's frames are its only clock.

    Args:
        plan: What to press; its times count from the first frame.
    """

    def __init__(self, plan: DigitPlan) -> None:
        self._left = deque(plan.presses)
        self._frames = 0

    def frame(self) -> str:
        """The next 20 ms: gives the keys that are pressed in them."""
        if not self._left:
            return ""
        self._frames += 1
        keys = ""
        while self._left and self._left[0][0] < self._frames * FRAME_MS:
            keys += self._left.popleft()[1]
        return keys
