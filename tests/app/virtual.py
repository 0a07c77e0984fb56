"""Virtual time for what is made of timers, and a socket that is a list."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Clock(selectors.DefaultSelector):
    """Where a loop would wait for a timer, its clock jumps to it."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and no timer runs")
        self.now += max(0.0, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main`, with timers that cost no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


class ListedDuplex:
    """A `Duplex` that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.unsent_bytes = 0
        self.closes: list[tuple[int, str]] = []
        self.aborted = False

    def send_text(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def send_binary(self, message: bytes) -> None:
        raise AssertionError("nothing binary is ever sent")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closes.append((code, reason))

    def abort(self) -> None:
        self.aborted = True

    def names(self) -> list[str]:
        """The checkpoints that were sent."""
        return [message["name"] for message in self.sent if message["event"] == "checkpoint"]

    def events(self) -> list[str]:
        return [message["event"] for message in self.sent]
