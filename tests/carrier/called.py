"""A call that places a leg, as far as the leg can tell: it remembers what it is told, and moves frames every 20 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bothway.audio.format import FRAME_MS, MULAW_8K
from bothway.carrier.leg import CalledLeg, Summons
from bothway.wire.hangup import HangupCause

SUMMONS = Summons(from_="15550001", to="15550002")
ENDED = HangupCause.of(4000, "API Request")


class PlacedCall:
    """A `CalledSink`.

    `told` has what happened and the seconds at which it did, frames apart; `heard` the frames of the party.
    """

    def __init__(self, leg: CalledLeg, *, says: Callable[[int], bytes] | None = None, early: bool = False) -> None:
        self.leg = leg
        self.told: list[tuple[str, float]] = []
        self.heard: list[bytes] = []
        self.cause: HangupCause | None = None
        self.detail = ""
        self.digits = ""
        self._says = says or (lambda _: MULAW_8K.silent_frame)
        self._early = early
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._inside = False
        self.over = asyncio.Event()

    def place(self, summons: Summons = SUMMONS) -> PlacedCall:
        self._do(lambda: self.leg.attach(self))
        self._do(lambda: self.leg.ringing("c-1"))
        self._do(lambda: self.leg.ring(summons))
        return self

    def end(self, cause: HangupCause = ENDED) -> None:
        self._stop()
        self._do(lambda: self.leg.ended(cause, "", ran_to_end=True))
        self.over.set()

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.told]

    def callee_ringing(self) -> None:
        self._tell("rings")

    def callee_early_media(self) -> None:
        self._tell("early media")
        if self._early:
            self._tick()

    def callee_answered(self) -> None:
        self._tell("answers")
        self._stop()
        self._do(self.leg.answered)
        self._tick()

    def callee_refused(self, cause: HangupCause, detail: str) -> None:
        self._tell("refuses")
        self._stop()
        self.cause, self.detail = cause, detail
        self.over.set()

    def caller_frame(self, frame: bytes) -> None:
        assert not self._inside, "a leg does not enter its call from inside a method of its own"
        self.heard.append(frame)

    def caller_digit(self, digit: str) -> None:
        self._tell(f"presses {digit}")

    def caller_hung_up(self) -> None:
        self._tell("hangs up")
        self.end()

    def _tell(self, what: str) -> None:
        assert not self._inside, "a leg does not enter its call from inside a method of its own"
        assert not self.over.is_set(), f"told {what} when it was over"
        self.told.append((what, round(self._loop.time() - self._began, 3)))

    def _do(self, method: Callable[[], None]) -> None:
        was, self._inside = self._inside, True
        method()
        self._inside = was

    def _tick(self) -> None:
        self._timer = self._loop.call_later(FRAME_MS / 1000, self._tick)
        frame = self._says(self._sent)
        self._sent += 1
        self._do(lambda: self.leg.send_frames([frame]))

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
