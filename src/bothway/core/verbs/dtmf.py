"""`<DTMF>`: press keys towards the caller (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import Execution, VerbEvent, Wait
from bothway.core.listening import KeysPressed, PressKeys
from bothway.errors import UsageError
from bothway.wire.digits import DIGIT_GAP_MS, DigitPlan, read_digits
from bothway.wire.verbs import Dtmf

__all__ = ["execute"]


def execute(verb: Dtmf, call: Execution, now: float) -> Wait:
    """Pick up and press the keys. The next verb runs at once, or with `async="false"` when all are pressed.

    The leg carries keys as a telephone does, as events beside the audio; the caller's audio has no tones of them.
    """
    call.answer()
    try:
        plan = read_digits(verb.digits)
    except UsageError as error:
        call.remark(f"<DTMF> presses nothing: {error}")
        return Wait.NOTHING
    command = PressKeys(plan, _length_ms(verb.digits, plan))
    if not command.length_ms:
        return Wait.NOTHING
    call.send(command)
    return Wait.NOTHING if verb.async_ else call.begin(_Pressing(command, call))


class _Pressing:
    """Waits until all keys are pressed."""

    def __init__(self, command: PressKeys, call: Execution) -> None:
        self._command = command
        self._call = call

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened."""
        if isinstance(event, KeysPressed) and event.command is self._command:
            self._call.finish()

    def stop(self, now: float) -> None:
        """The call goes elsewhere: the keys go on being pressed, as those of `async="true"` do."""


def _length_ms(text: str, plan: DigitPlan) -> int:
    """How long it takes: the plan knows of no pauses behind its last key."""
    written = text.partition("@")[0]
    behind = written[len(written.rstrip("wW")) :]
    pressing = plan.presses[-1][0] + plan.tone_ms + DIGIT_GAP_MS if plan.presses else 0
    return pressing + 500 * behind.count("w") + 1000 * behind.count("W")
