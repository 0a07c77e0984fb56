"""The question whether the called party of a `<Dial>` takes the call: confirmSound and confirmKey.

It runs on the called party's own call, which has no document (plivo-protocol.md, 7.3).
"""

from __future__ import annotations

from functools import partial

from bothway.core.dialling import ConfirmEnded, ConfirmLeg
from bothway.core.execution import DigitPressed, Execution, Executor, TimerFired, VerbEvent, Wait
from bothway.core.listening import Listen, StopListening
from bothway.core.side_document import SideSounds

__all__ = ["Confirmation", "confirm"]

_TIMER = "confirm"


class Confirmation:
    """It is a `VerbMachine`.

    The sound is heard once. With a key it is not waited for: whatever is pressed counts from the answer on. The right
    key confirms, another one does not, nor does none in time; and where no sound can be had the key is waited for in
    silence. Without a key the call is confirmed when the sound has been heard.

    Args:
        call: The called party's.
        ask: What is asked.
    """

    def __init__(self, call: Execution, ask: ConfirmLeg) -> None:
        self._call = call
        self._key = ask.key
        self._pressed = ""
        self._sounds = SideSounds(call, ask.sound, "ConfirmSound", looped=False)
        self._over = False

    def receive(self, event: VerbEvent, now: float) -> None:
        """The party pressed a key, the time is up, or the sound goes on."""
        if self._over:
            return
        if isinstance(event, DigitPressed):
            self._press(event.digit)
        elif event == TimerFired(_TIMER):
            self._conclude(confirmed=False)
        elif self._sounds.receive(event, now) and self._key is None:
            self._conclude(confirmed=True)

    def stop(self, now: float) -> None:
        """The party is gone, or transferred: nobody waits for the answer any more."""
        if self._key is not None:
            self._call.send(StopListening())

    def start(self, now: float, seconds: float) -> None:
        """The party has answered."""
        self._sounds.begin()
        if self._key is not None:
            self._call.send(Listen(keys=True))
            self._call.set_timer(_TIMER, now + seconds)

    def _press(self, digit: str) -> None:
        if self._key is None:
            return
        self._pressed += digit
        if self._pressed == self._key:
            self._conclude(confirmed=True)
        elif not self._key.startswith(self._pressed):
            self._conclude(confirmed=False)

    def _conclude(self, *, confirmed: bool) -> None:
        self._over = True
        self._sounds.stop()
        if self._key is not None:
            self._call.send(StopListening())
        self._call.send(ConfirmEnded(confirmed))
        self._call.finish()


def confirm(ask: ConfirmLeg) -> Executor:
    """What `Call.host` runs on the call of a leg that has answered."""
    return partial(_execute, ask)


def _execute(ask: ConfirmLeg, call: Execution, now: float) -> Wait:
    machine = Confirmation(call, ask)
    waits_for = call.begin(machine)
    machine.start(now, ask.seconds)
    return waits_for
