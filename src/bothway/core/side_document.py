"""Sounds that a document at a URL describes, beside the call's own document: dialMusic, confirmSound, waitSound.

Such a document holds `<Speak>`, `<Play>` and `<Wait>`; all else in it is ignored (plivo-protocol.md, 7.3). The machine
of a verb keeps a `SideSounds` while they are to be heard, and passes it the events that it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bothway.core.execution import Execution, PromptEnded, TimerFired, VerbCommand, VerbEvent
from bothway.wire.callxml import parse
from bothway.wire.verbs import Play, Speak, Wait
from bothway.wire.xmltree import XmlError

__all__ = ["FetchSounds", "SideSounds", "Sound", "SoundsFetched", "SoundsMissing", "sounds_of"]

Sound = Speak | Play | Wait
"""What a side document may hold."""

_WAIT = "a wait between sounds"
_ENDLESS = 0


@dataclass(frozen=True, slots=True)
class FetchSounds(VerbCommand):
    """Get a side document; `SoundsFetched` or `SoundsMissing` follows.

    Attributes:
        url: Where, with the delivery policy still in its fragment. It is asked by POST.
        event: `Event` among its parameters.
    """

    url: str
    event: str


@dataclass(frozen=True, slots=True)
class SoundsFetched(VerbEvent):
    """The side document is here."""

    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SoundsMissing(VerbEvent):
    """The side document cannot be had, and why."""

    url: str
    text: str


def sounds_of(body: bytes) -> tuple[Sound, ...]:
    """What a side document holds, in order.

    Raises:
        XmlError: It is no document.
    """
    return tuple(verb for verb in parse(body).verbs if isinstance(verb, Speak | Play | Wait))


class SideSounds:
    """Lets the party of a call hear a side document.

    Args:
        call: Who hears it. Its machine says and plays nothing else meanwhile.
        url: Where the document is.
        event: `Event` among the parameters of the request for it.
        looped: Whether it begins again at its end, for as long as there is anything to hear in it.
    """

    def __init__(self, call: Execution, url: str, event: str, *, looped: bool) -> None:
        self._call = call
        self._url = url
        self._event = event
        self._looped = looped
        self._sounds: Sequence[Sound] = ()
        self._next = 0  # place of the sound under way, or of the next one
        self._again = 0  # how often that one is still to be heard
        self._prompt: str | None = None  # that is being heard
        self._filled_time = False  # anything of this round did

    def begin(self) -> None:
        """Ask for the document."""
        self._call.send(FetchSounds(self._url, self._event))

    def receive(self, event: VerbEvent, now: float) -> bool:
        """Something happened to the call; what is none of these sounds' is ignored. Gives whether they are over."""
        if isinstance(event, SoundsFetched) and event.url == self._url and not self._sounds:
            return self._read(event.body, now)
        if isinstance(event, SoundsMissing) and event.url == self._url:
            self._call.remark(f"the sounds for {self._event} cannot be had: {event.text}")
            return True
        if isinstance(event, PromptEnded) and event.prompt_id == self._prompt:
            self._prompt = None
            self._filled_time = self._filled_time or event.heard
            return self._go_on(now, again=event.heard)
        if event == TimerFired(_WAIT):
            return self._go_on(now, again=False)
        return False

    def stop(self) -> None:
        """They are not wanted any more."""
        self._call.set_timer(_WAIT, None)
        if self._prompt is not None:
            self._prompt = None
            self._call.hush()

    def _read(self, body: bytes, now: float) -> bool:
        try:
            self._sounds = sounds_of(body)
        except XmlError as error:
            self._call.remark(f"the sounds for {self._event} cannot be read: {error}")
            return True
        return self._round(now)

    def _go_on(self, now: float, *, again: bool) -> bool:
        """The sound under way has been heard once, or (not `again`) is not to be heard any more."""
        sound = self._sounds[self._next]
        if again and not isinstance(sound, Wait):
            self._again -= 1
            if sound.loop == _ENDLESS or self._again > 0:
                self._prompt = self._call.say(sound)
                return False
        self._next += 1
        return self._round(now)

    def _round(self, now: float) -> bool:
        """Begin the next sound; gives whether there is none."""
        if self._next == len(self._sounds):
            if not self._looped or not self._filled_time:
                return True
            self._next, self._filled_time = 0, False
        sound = self._sounds[self._next]
        if isinstance(sound, Wait):
            self._filled_time = True
            self._call.set_timer(_WAIT, now + sound.length)
        else:
            self._again = sound.loop
            self._prompt = self._call.say(sound)
        return False
