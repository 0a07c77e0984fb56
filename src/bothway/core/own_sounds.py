"""What the caller hears beside the streams: the document's prompts, the room that the call is in, and an overlay."""

from __future__ import annotations

from bothway.audio.format import AudioFormat
from bothway.audio.mix import mix
from bothway.core.playout import Playout
from bothway.core.room import Seat

__all__ = ["OwnSounds"]

_QUEUE_SECONDS = 3600.0
"""Audio that a document or a request may queue: its sounds come one at a time, and are bounded at their source."""


class OwnSounds:
    """The carrier's own sources of audio for one leg.

    Args:
        leg_format: How the leg's audio is coded.

    Attributes:
        prompts: What the document plays.
        overlay: What a REST request plays over everything else.
        active: Whether there is anything to hear, so that `add` is worth a call.
    """

    __slots__ = ("_format", "_replaces", "_seat", "active", "overlay", "prompts")

    def __init__(self, leg_format: AudioFormat) -> None:
        self.prompts = Playout(leg_format, cap_seconds=_QUEUE_SECONDS)
        self.overlay = Playout(leg_format, cap_seconds=_QUEUE_SECONDS)
        self.active = False
        self._format = leg_format
        self._seat: Seat | None = None
        self._replaces = False

    def prompt(self, chunk: bytes) -> bool:
        """Queue audio of the document's; False if the queue is full."""
        self.active = True
        return self.prompts.play(chunk)

    def lay_over(self, chunk: bytes, *, replace: bool) -> bool:
        """Queue audio that is heard over all else, or in its place; False if the queue is full."""
        self.active = True
        self._replaces = replace
        return self.overlay.play(chunk)

    def sit(self, seat: Seat | None) -> None:
        """The call's place in a room, or none any more."""
        self._seat = seat
        self.active = True

    def add(self, frame: bytes | None, from_caller: bytes, at: float) -> bytes | None:
        """One frame of everything, over what the streams play; None is silence.

        Args:
            frame: What the streams play; None is silence.
            from_caller: What the caller says at the same time, for the room.
            at: When both are due.
        """
        prompts, overlay, seat = self.prompts, self.overlay, self._seat
        if not prompts.idle:
            frame = self._mixed(frame, prompts.release(at))
        if seat is not None:
            seat.say(from_caller, at)
            frame = self._mixed(frame, seat.hear(at))
        if not overlay.idle:
            over = overlay.release(at)
            frame = over if over is not None and self._replaces else self._mixed(frame, over)
        self.active = seat is not None or not prompts.idle or not overlay.idle
        return frame

    def _mixed(self, frame: bytes | None, more: bytes | None) -> bytes | None:
        if frame is None or more is None:
            return more if frame is None else frame
        return mix(frame, more, self._format)
