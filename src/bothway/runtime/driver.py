"""Runs one machine of `bothway.core` on an event loop: after any input send, dispatch, and re-arm one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

__all__ = ["Driver", "Machine"]

_Command_co = TypeVar("_Command_co", covariant=True)
_Event_co = TypeVar("_Event_co", covariant=True)
_Command = TypeVar("_Command")
_Event = TypeVar("_Event")


class Machine(Protocol[_Command_co, _Event_co]):
    """What every timed machine of the core offers its shell."""

    def to_send(self) -> Sequence[_Command_co]:
        """Commands since the last call."""
        ...

    def events(self) -> Sequence[_Event_co]:
        """Events since the last call."""
        ...

    def next_deadline(self) -> float | None:
        """When `handle_deadline` wants to be called."""
        ...

    def handle_deadline(self, now: float) -> None:
        """It is that time."""
        ...


class Driver(Generic[_Command, _Event]):
    """The shell around one machine.

    Args:
        machine: Driven from here on; its inputs are called by whoever owns it, each followed by `after_input`.
        send: Obeys one command. It may call the machine's inputs: what they ask for is done in turn.
        dispatch: Gets one event.
    """

    def __init__(
        self, machine: Machine[_Command, _Event], send: Callable[[_Command], None], dispatch: Callable[[_Event], None]
    ) -> None:
        self._machine = machine
        self._send = send
        self._dispatch = dispatch
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._busy = False
        self._closed = False

    def after_input(self) -> None:
        """Do all that the machine asks for, until it asks for nothing."""
        if self._busy:
            return  # a command is being obeyed: the loop below goes on when it is
        self._busy = True
        try:
            while True:
                events, commands = self._machine.events(), self._machine.to_send()
                if not events and not commands:
                    break
                for event in events:
                    self._dispatch(event)
                for command in commands:
                    self._send(command)
        finally:
            self._busy = False
        self._arm()

    def close(self) -> None:
        """The machine is done with: no timer fires any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        at = None if self._closed else self._machine.next_deadline()
        if at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at is None else self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        # A timer may fire a little early, by the clock's resolution: the machine is told the time it asked for.
        now = max(self._loop.time(), self._timer_at or 0.0)
        self._machine.handle_deadline(now)
        self.after_input()
