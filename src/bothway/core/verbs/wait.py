"""`<Wait>`: do nothing for a while (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.audio.beep_reader import BeepSettings
from bothway.core.execution import Execution, TimerFired, VerbEvent, Wait
from bothway.core.listening import BeepHeard, Listen, SilenceHeard, StopListening
from bothway.errors import UsageError
from bothway.wire import verbs

__all__ = ["execute"]

_LENGTH = "length"

_SILENCE_MS = 2000
"""What `minSilence` is where it is not written, in milliseconds; the published attribute table has it."""


def execute(verb: verbs.Wait, call: Execution, now: float) -> Wait:
    """Pick up, and wait the whole length, or until it is quiet or beeps where that is asked for.

    It is quiet once nothing was heard of the caller for `minSilence`, whether or not there was something before.
    """
    call.answer()
    silence_ms = (verb.min_silence or _SILENCE_MS) if verb.silence else None
    beep = _beep(verb.beep, call) if silence_ms is None else None  # the published attribute table: silence goes first
    if silence_ms is None and beep is None:
        return call.wait_for(verb.length, now)
    call.send(Listen(silence_ms=silence_ms, beep=beep))
    call.set_timer(_LENGTH, now + verb.length)
    return call.begin(_Waiting(call))


class _Waiting:
    """Waits for whatever ends the `<Wait>`."""

    def __init__(self, call: Execution) -> None:
        self._call = call

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened."""
        if isinstance(event, SilenceHeard | BeepHeard | TimerFired):
            self._call.send(StopListening())
            self._call.finish()

    def stop(self, now: float) -> None:
        """The call goes elsewhere."""
        self._call.send(StopListening())


def _beep(written: bool | str, call: Execution) -> BeepSettings | None:
    if not isinstance(written, str):
        return BeepSettings() if written else None
    try:
        return BeepSettings.parse(written)
    except UsageError as error:
        call.remark(f"<Wait beep> listens for a beep as usual: {error}")
        return BeepSettings()
