"""What all members of a conference hear of its own: that somebody came or went (plivo-protocol.md, 7.3, Conference)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from functools import cache
from typing import Protocol

from bothway.audio.format import AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import from_l16
from bothway.carrier.call_report import CallReport
from bothway.carrier.node import Node
from bothway.carrier.prompts import prompt_audio
from bothway.core.room import Room
from bothway.core.side_document import sounds_of
from bothway.errors import BothwayError, UsageError
from bothway.wire.verbs import Wait
from bothway.wire.webhooks import CallFacts, standard_params

__all__ = ["MOST_SECONDS", "MOST_WAITING", "RoomSounds", "SoundCall", "beeps"]

MOST_WAITING = 20
"""Sounds of one conference that may be on their way: as many as it has members. Others are left out."""

MOST_SECONDS = 60
"""How long one of them may sound: nobody listens longer to who came in."""

_BEEP_HZ, _BEEP_MS, _PAUSE_MS = 700, 300, 200
_BEEPS = {"beep:1": 1, "beep:2": 2}

logger = logging.getLogger(__name__)


class SoundCall(Protocol):
    """The call of the member that comes or goes; it may be over.

    Attributes:
        facts: What every webhook says of it.
        report: The way to the application's URLs.
    """

    facts: CallFacts
    report: CallReport


@cache
def beeps(sound: str, audio_format: AudioFormat) -> bytes | None:
    """The audio of `beep:1` and `beep:2`; None for other sounds."""
    count = _BEEPS.get(sound)
    if count is None:
        return None
    rate = audio_format.rate
    one = tone(_BEEP_HZ, _BEEP_MS, rate) + bytes(2 * rate * _PAUSE_MS // 1000)
    return from_l16(one * count, audio_format.encoding)


class RoomSounds:
    """Plays beeps, and documents that are fetched for it, to all in a room: each whole, and none into another.

    Args:
        node: What all calls share.
        room: Where they are heard.
    """

    def __init__(self, node: Node, room: Room) -> None:
        self._node = node
        self._room = room
        self._tasks: set[asyncio.Task[None]] = set()

    def play(self, sound: str, call: SoundCall, event: str, params: Mapping[str, str]) -> None:
        """Let all hear `sound` behind what they are hearing.

        Args:
            sound: `beep:1`, `beep:2`, or the URL of a document, which is asked by POST.
            call: Whose sound it is: its account signs the request, and its log says what became of it.
            event: `Event` among the parameters of the request.
            params: What else is said there, beyond the standard parameters.
        """
        beep = beeps(sound, self._room.play_format)
        if beep is not None:
            self._room.play(beep)
        elif not sound.startswith(("http://", "https://")):
            call.report.remark(f"the sound {sound[:60]!r} of <Conference> is neither beep:1, beep:2 nor a URL")
        elif len(self._tasks) >= MOST_WAITING:
            call.report.remark("too many sounds of this conference are on their way: one is left out")
        else:
            task = self._node.tasks.spawn(self._fetch(sound, call, event, params), "sounds of a conference")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Nobody is left to hear anything."""
        for task in self._tasks:
            task.cancel()

    async def _fetch(self, url: str, call: SoundCall, event: str, params: Mapping[str, str]) -> None:
        asked = standard_params(call.facts, event=event, status="in-progress") | dict(params)
        try:
            body = await call.report.webhooks.fetch("sounds", url, "POST", asked)
            audio = await self._audio(body)
        except BothwayError as error:
            logger.warning("call %s: a sound of its conference cannot be had: %s", call.facts.call_uuid, error)
            call.report.record("sounds_failed", text=str(error))
        else:
            self._room.play(audio)

    async def _audio(self, body: bytes) -> bytes:
        """All of a document, each sound as often as it says, or once where that is for ever.

        Raises:
            BothwayError: It is no document, it is too long, or one of its sounds cannot be had.
        """
        audio_format, audio = self._room.play_format, bytearray()
        most = MOST_SECONDS * audio_format.second_bytes
        for verb in sounds_of(body):
            once = bytearray()
            if isinstance(verb, Wait):
                once += audio_format.silent_frame * min(verb.length * 50, most // audio_format.frame_bytes + 1)
            else:
                async with aclosing(prompt_audio(self._node, verb, audio_format)) as chunks:
                    async for chunk in chunks:
                        once += chunk
            times = 1 if isinstance(verb, Wait) else max(1, verb.loop)
            if len(audio) + len(once) * times > most:
                raise UsageError(f"it would sound for more than {MOST_SECONDS} s")
            audio += once * times
        return bytes(audio)
