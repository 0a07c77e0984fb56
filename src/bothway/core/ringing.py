"""What a caller hears while it rings elsewhere: a document over and over, the called network, or the ringing tone.

The tone is heard from the moment that it rings somewhere, where there is nothing else to hear.
"""

from __future__ import annotations

from bothway.core.execution import Execution, PromptEnded, Ringback, VerbEvent
from bothway.core.side_document import SideSounds

__all__ = ["RingingSounds"]

_REAL = "real"


class RingingSounds:
    """It is kept by the machine of a `<Dial>`.

    Args:
        call: The caller's.
        music: `dialMusic`: the URL of a side document, `real` for the called network's early media, or None.
    """

    def __init__(self, call: Execution, music: str | None) -> None:
        self._call = call
        self._wants_real = music == _REAL
        self._music = SideSounds(call, music, "DialMusic", looped=True) if music and not self._wants_real else None
        self._real: int | None = None  # the leg whose early media the caller hears
        self._tone: str | None = None  # the tone that is being heard
        self._rings = False

    def begin(self) -> None:
        """The parties are being called."""
        if self._music is not None:
            self._music.begin()

    def receive(self, event: VerbEvent, now: float) -> bool:
        """Take an event of the machine's. Whether it is the tone's alone, and means nothing else."""
        if self._music is not None and self._music.receive(event, now):
            self._music = None
            self._sound()
        elif isinstance(event, PromptEnded) and event.prompt_id == self._tone:
            self._tone = None
            self._sound()
            return True
        return False

    def note(self, *, rings: bool) -> None:
        """It rings somewhere from now on, or nowhere any more."""
        self._rings = rings
        self._sound()

    def takes(self, leg: int) -> bool:
        """A leg has early media: whether the caller hears it from now on. Who comes first is heard."""
        if not self._wants_real or self._real is not None:
            return False
        self._hush()
        self._real = leg
        return True

    def lost(self, leg: int) -> bool:
        """There is no early media of this leg any more: whether it is what the caller heard."""
        was_heard = self._real == leg
        if was_heard:
            self._real = None
        return was_heard

    def stop(self) -> None:
        """It does not ring any more."""
        self._rings = self._wants_real = False
        if self._music is not None:
            self._music.stop()
            self._music = None
        self._hush()

    def _sound(self) -> None:
        if self._rings and self._music is None and self._real is None and self._tone is None:
            self._tone = self._call.say(Ringback())

    def _hush(self) -> None:
        if self._tone is not None:
            self._tone = None
            self._call.hush()
