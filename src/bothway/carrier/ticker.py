"""The one media ticker of a process: every frame of every call moves on its absolute deadlines.

The grid has a step every 5 ms and four phases, so a call moves every 20 ms and the calls of a node are spread over four
steps. A ticker that wakes late calls each phase once: a call's own `FrameClock` knows how many frames are due, and
lets at most two of them go at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from bothway.core.playout import FRAME_SECONDS

__all__ = ["PHASES", "STEP_SECONDS", "OnFailure", "Tick", "Ticker"]

PHASES = 4
STEP_SECONDS = FRAME_SECONDS / PHASES

logger = logging.getLogger(__name__)

Tick: TypeAlias = Callable[[float], None]
"""Called with the time, every 20 ms."""

OnFailure: TypeAlias = Callable[[BaseException], None]
"""Called with what a `Tick` raised."""


class Ticker:
    """Ticks its members until they leave. It wakes only for steps that have members.

    Args:
        on_wake: Told at every wake-up how late it was, in seconds.
    """

    def __init__(self, on_wake: Callable[[float], None] | None = None) -> None:
        self._on_wake = on_wake
        self._loop = asyncio.get_running_loop()
        self._phases: list[dict[Tick, OnFailure]] = [{} for _ in range(PHASES)]
        self._start = self._loop.time()
        self._step = 0  # those before are done
        self._armed = 0  # the step that the timer is for
        self._timer: asyncio.TimerHandle | None = None
        self._waking = False

    def __len__(self) -> int:
        """How many members there are."""
        return sum(map(len, self._phases))

    def join(self, tick: Tick, on_failure: OnFailure) -> float:
        """Tick `tick` from now on, every 20 ms. Gives the time of its first tick, which starts the member's grid.

        Args:
            tick: Called with the time at which it is due, or later if the ticker is late.
            on_failure: Called if `tick` raises; the member has left by then.
        """
        if not self._waking:
            self._step = max(self._step, int((self._loop.time() - self._start) / STEP_SECONDS) + 1)
        phase = min(range(PHASES), key=lambda index: (len(self._phases[index]), (index - self._step) % PHASES))
        self._phases[phase][tick] = on_failure
        first = self._step + (phase - self._step) % PHASES
        if not self._waking and (self._timer is None or first < self._armed):
            self._arm(first)
        return self._start + first * STEP_SECONDS

    def leave(self, tick: Tick) -> None:
        """Stop ticking `tick`, if it is a member."""
        for phase in self._phases:
            phase.pop(tick, None)

    def close(self) -> None:
        """Stop for good."""
        for phase in self._phases:
            phase.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, step: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = step
        self._timer = self._loop.call_at(self._start + step * STEP_SECONDS, self._wake)

    def _wake(self) -> None:
        self._timer = None
        due = self._start + self._armed * STEP_SECONDS
        now = max(self._loop.time(), due)  # a timer may fire early by the clock's resolution
        if self._on_wake is not None:
            self._on_wake(now - due)
        last = max(self._armed, int((now - self._start) / STEP_SECONDS))
        first = max(self._armed, last - PHASES + 1)
        self._step = last + 1  # from here on: who joins during a tick is ticked from the next step on
        self._waking = True
        # However late: each phase once, the longest-waiting first.
        for step in range(first, last + 1):
            self._tick_phase(self._phases[step % PHASES], now)
        self._waking = False
        for step in range(self._step, self._step + PHASES):
            if self._phases[step % PHASES]:
                self._arm(step)
                break

    def _tick_phase(self, phase: dict[Tick, OnFailure], now: float) -> None:
        for tick, on_failure in list(phase.items()):
            if tick not in phase:
                continue  # it left while another member was ticked
            try:
                tick(now)
            except Exception as error:
                phase.pop(tick, None)
                logger.exception("a member of the ticker failed and was taken off it")
                self._tell(on_failure, error)

    def _tell(self, on_failure: OnFailure, error: BaseException) -> None:
        try:
            on_failure(error)
        except Exception:
            logger.exception("a member of the ticker failed, and failed again when it was told")
