"""Whether a machine picked up: listened for from the answer on, and told (plivo-protocol.md, 5.3 and 6.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from bothway.carrier.call_order import Screening
from bothway.carrier.call_report import CallReport
from bothway.core.call import Call
from bothway.core.execution import cause
from bothway.core.machine import MachineDetector, MachineReason, MachineVerdict, Who
from bothway.core.media import Heard, Media, MediaEvent
from bothway.wire.hangup import HangupCause
from bothway.wire.webhooks import CallFacts, machine_params

__all__ = ["CallScreening", "ScreenedCall"]


class ScreenedCall(Protocol):
    """The call that is listened to.

    Attributes:
        facts: What every webhook says of it.
        core: Its call machine.
        report: Where what happens is told.
    """

    facts: CallFacts
    core: Call
    report: CallReport

    def after_input(self) -> None:
        """The call machine was told something: do what it asks for."""

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End it."""


class _Ear:
    """Finds out who it is, from the callee's frames."""

    def __init__(self, detector: MachineDetector) -> None:
        self._detector = detector

    def feed(self, l16: bytes) -> Iterable[MachineVerdict]:
        verdict = self._detector.feed(l16)
        return () if verdict is None else (verdict,)


class CallScreening:
    """The screening of one call.

    Args:
        call: The call.
        screening: How it is done, and who is told.
    """

    def __init__(self, call: ScreenedCall, screening: Screening) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._screening = screening
        self._media: Media | None = None
        self._ear: _Ear | None = None

    def begin(self, media: Media) -> None:
        """The call is answered: listen."""
        self._media = media
        self._ear = _Ear(MachineDetector(media.leg_format.rate, self._screening.settings))
        media.add_ear(self._ear)

    def media_event(self, event: MediaEvent) -> None:
        """Something happened to the call's audio. What follows from it is done in the loop's next round."""
        if isinstance(event, Heard) and event.ear is self._ear and isinstance(event.what, MachineVerdict):
            self._loop.call_soon(self._decided, event.what)

    def _decided(self, verdict: MachineVerdict) -> None:
        call, screening = self._call, self._screening
        if self._media is not None and self._ear is not None:
            self._media.remove_ear(self._ear)
        if call.core.end_cause is not None:
            return
        call.report.record("screened", who=verdict.who.value, why=verdict.reason.value, at_ms=verdict.at_ms)
        is_machine = verdict.who is Who.MACHINE
        if is_machine and screening.url is not None:
            params = machine_params(call.facts, if_machine="hangup" if screening.hangup else "continue")
            beep = {"Beep": "true"} if verdict.reason is MachineReason.BEEP else {}
            call.report.webhooks.call_back("machine", screening.url, screening.method, params | beep)
        if is_machine and screening.hangup:
            call.hangup(cause(9100, "Plivo"), f"a machine picked up: {verdict.reason.value}")
            return
        # Nothing follows where the answer document does not wait for it.
        call.core.receive_screening({"Machine": "true" if is_machine else "false"}, self._loop.time())
        call.after_input()
