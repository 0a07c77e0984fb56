"""Callers that talk in a conference, and what each of them should hear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import numpy as np
from tests.carrier.talker import Talker, doc
from tests.carrier.world import Site, World, until

from bothway.audio.format import MULAW_8K, AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import from_l16, to_l16
from bothway.carrier.conferences import LiveConference

QUIET_MS = (25, 30, 35, 40)
"""How long after a frame was said it may be heard: it is taken with the speaker's next tick, 20 ms later, and sounds in
the four slots of 5 ms behind that."""


class Speaker(Talker):
    """A caller that knows when it said and heard what."""

    def __init__(self, audio_format: AudioFormat = MULAW_8K) -> None:
        super().__init__(audio_format)
        self.said_at: dict[int, bytes] = {}
        self.heard_at: dict[int, bytes] = {}

    def send_frames(self, frames: Any) -> None:
        (frame,) = frames
        self.heard_at[_now_ms()] = frame
        super().send_frames(frames)

    def _answer(self, frames: int) -> None:
        super()._answer(frames)
        self.said_at[_now_ms()] = self.says

    def hum(self, hertz: float, ms: int = 1000) -> None:
        self.say(tone(hertz, ms, 8000))


def conference(site: Site, name: str = "room", /, **attributes: str) -> str:
    given = {"callbackUrl": site.url + "/callback", **attributes}
    written = " ".join(f'{key}="{value}"' for key, value in given.items())
    return f"<Conference {written}>{name}</Conference>"


def callbacks(site: Site, action: str) -> list[dict[str, str]]:
    """What the callback URL was told of this."""
    return [one.params for one in site.asked("/callback") if one.params["ConferenceAction"] == action]


async def enter(
    w: World, caller: Talker, after: str = "", /, name: str = "room", url: str = "", **attributes: str
) -> Any:
    """Call, and be in the conference."""
    count = len(callbacks(w.site, "enter"))
    _, call = w.place(
        doc(conference(w.site, name, **attributes), after), caller=caller, **({"answer_url": url} if url else {})
    )
    await until(lambda: len(callbacks(w.site, "enter")) > count)
    return call


async def leave(w: World, *callers: Talker) -> None:
    """Hang up one after another."""
    for caller in callers:
        if caller.cause is None:
            caller.hang_up()
        await w.over(caller)


def live(w: World) -> list[LiveConference]:
    """The conferences of the carrier."""
    assert w.carrier._exchange is not None
    found = w.carrier._exchange.conferences()
    return [one for one in found if isinstance(one, LiveConference)]


def sum_at(ms: int, speakers: Iterable[Speaker]) -> bytes:
    """What these say, as it sounds at a time, in L16 and with one saturation."""
    total = np.zeros(160, np.int64)
    for speaker in speakers:
        for late in QUIET_MS:
            frame = speaker.said_at.get(ms - late)
            if frame is not None:
                total += np.frombuffer(to_l16(frame, speaker.format.encoding), "<i2")
    return np.clip(total, -32768, 32767).astype("<i2").tobytes()


def should_hear(listener: Speaker, *others: Speaker, since: int = 0, until_ms: int = 1 << 60) -> dict[int, bytes]:
    """What a listener should have heard of the others between two times, by the time of each frame."""
    times = [ms for ms in listener.heard_at if since <= ms <= until_ms]
    return {ms: from_l16(sum_at(ms, others), listener.format.encoding) for ms in times}


def did_hear(listener: Speaker, since: int = 0, until_ms: int = 1 << 60) -> dict[int, bytes]:
    return {ms: frame for ms, frame in listener.heard_at.items() if since <= ms <= until_ms}


def _now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


now_ms = _now_ms
