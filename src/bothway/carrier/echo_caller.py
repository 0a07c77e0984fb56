"""A party that sends back what it hears."""

from __future__ import annotations

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.carrier.scripted_caller import CallerEvent, Outcome, Turn

__all__ = ["EchoCaller"]


class EchoCaller:
    """A `FrameCaller` that answers every frame with itself, and every key with that key. It never hangs up.

    Args:
        fmt: The leg's format.

    Attributes:
        format: As given.
    """

    def __init__(self, fmt: AudioFormat) -> None:
        self.format = fmt
        self._heard = 0  # frames
        self._digits = ""
        self._events: list[CallerEvent] = []

    @property
    def heard_ms(self) -> int:
        """How much of the call it has heard, in milliseconds."""
        return self._heard * FRAME_MS

    def hear(self, frame: bytes) -> Turn:
        """The next 20 ms: gives them back, and the keys that were heard before."""
        self._heard += 1
        digits, self._digits = self._digits, ""
        return Turn(frame, tuple(digits))

    def hear_digits(self, digits: str) -> None:
        """Keys that will be pressed with the next frame."""
        self._digits += digits
        self._events.append(CallerEvent(self.heard_ms, "heard_digits", digits))

    def call_ended(self) -> Outcome:
        """The call is over, which is all that an echo can come to."""
        self._events.append(CallerEvent(self.heard_ms, "ended"))
        return Outcome(ok=True)

    def events(self) -> list[CallerEvent]:
        """What happened since the last call of this."""
        events, self._events = self._events, []
        return events
