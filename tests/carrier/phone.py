"""A telephone that a carrier of a test calls: it rings, answers and refuses when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.carrier.world import Caller, World, until

from bothway.audio.format import MULAW_8K, AudioFormat
from bothway.carrier.leg import CalledSink, Summons
from bothway.wire.hangup import HangupCause


class Phone(Caller):
    """A `CalledLeg`. From the answer on it is a `Caller`: it says the same frame over and over, and remembers."""

    def __init__(self, audio_format: AudioFormat = MULAW_8K, says: bytes = b"") -> None:
        super().__init__(audio_format, says)
        self.summons: Summons | None = None
        self.has_answered = False
        self.plays_early = b""  # the frame that it says over and over before it answers
        self._sink: CalledSink | None = None

    def attach(self, call: CalledSink) -> None:  # type: ignore[override]  # a called leg has more to tell
        super().attach(call)
        self._sink = call

    def ring(self, summons: Summons) -> None:
        self.summons = summons

    def send_frames(self, frames: Sequence[bytes]) -> None:
        if self.has_answered:
            super().send_frames(frames)
        elif self.plays_early:
            asyncio.get_running_loop().call_soon(self._play_early, len(frames))

    @property
    def sink(self) -> CalledSink:
        assert self._sink is not None, "nobody calls this telephone"
        return self._sink

    async def called(self) -> Summons:
        await until(lambda: self.summons is not None)
        assert self.summons is not None
        return self.summons

    async def rings(self, seconds: float = 0.0) -> None:
        await self.called()
        self.sink.callee_ringing()
        await asyncio.sleep(seconds)

    async def answers(self, after: float = 0.0) -> None:
        await self.rings(after)
        self.has_answered = True
        self.sink.callee_answered()

    async def refuses(self, code: int, after: float = 0.0) -> None:
        await self.rings(after)
        self.sink.callee_refused(HangupCause.of(code, "Carrier"), "as the test says")

    async def announces(self, frame: bytes) -> None:
        await self.called()
        self.plays_early = frame
        self.sink.callee_early_media()

    def _play_early(self, frames: int) -> None:
        for _ in range(frames):
            if not self.has_answered and not self.done.is_set():
                self.sink.caller_frame(self.plays_early)


def connect(w: World, number: str, phone: Phone | None = None) -> Phone:
    """Let calls to `number` ring at a telephone."""
    phone = phone or Phone()
    w.carrier.lines.connect(number, lambda _: phone)
    return phone
