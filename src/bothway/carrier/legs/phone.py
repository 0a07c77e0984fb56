"""A telephone that the carrier can call, inside its own process: somebody, or something, has it in the hand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from bothway.audio.format import AudioFormat
from bothway.carrier.digit_presser import DigitPresser
from bothway.carrier.leg import CalledSink, Summons
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.scripted_caller import CallResult, FrameCaller, Outcome
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Ended

__all__ = ["PhoneLeg"]


class PhoneLeg:
    """A `CalledLeg` in the hand of whoever lets it ring, answers or refuses; after the answer a `FrameCaller` talks.

    What is done with it when the call is over already does nothing, and says so.

    Args:
        fmt: Of the frames of both directions.
        on_ring: It is called; told by the loop, and not from inside `ring`.
        on_over: There will be no call any more, or it is over; told once.
        tap: Called with every pair of the frame that the party sent and the frame that it answered by it.
        on_log: Called with every record of the call's evidence log.

    Attributes:
        format: As given.
        call_id: The call's id; empty until there is one.
        summons: How it is called; None until it is.
    """

    def __init__(
        self,
        fmt: AudioFormat,
        on_ring: Callable[[PhoneLeg], None],
        *,
        on_over: Callable[[], None] | None = None,
        tap: Callable[[bytes, bytes], None] | None = None,
        on_log: Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        self.format = fmt
        self.call_id = ""
        self.summons: Summons | None = None
        self._loop = asyncio.get_running_loop()
        self._on_ring = on_ring
        self._on_over = on_over
        self._tap = tap
        self._on_log = on_log
        self._call: CalledSink | None = None
        self._line: ScriptedLeg | None = None  # from the answer on
        self._presser: DigitPresser | None = None
        self._early: deque[bytes] | None = None  # frames that are left of it, once there was any
        self._over = False
        self._unanswered: asyncio.Future[CallResult] = self._loop.create_future()

    @property
    def over(self) -> bool:
        """Whether nothing can be done with it any more."""
        return self._over

    @property
    def is_answered(self) -> bool:
        """Whether somebody talks, or talked."""
        return self._line is not None

    async def result(self) -> CallResult:
        """What became of the call, once it is over; one that was not answered is no failure of the party's."""
        result = await asyncio.shield(self._unanswered)
        return result if self._line is None else await self._line.result()

    # What the call does.

    def attach(self, call: CalledSink) -> None:
        """The call that this leg belongs to."""
        self._call = call

    def ringing(self, call_id: str) -> None:
        """The call has this id."""
        self.call_id = call_id

    def ring(self, summons: Summons) -> None:
        """Call the party."""
        self.summons = summons
        self._loop.call_soon(self._summon)

    def answered(self) -> None:
        """Frames follow."""

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Let the party hear frames. Before the answer they clock its early media, and are not heard.

        Raises:
            UsageError: A frame has another size than the leg's format.
        """
        if self._over:
            return
        if self._line is None:
            self._loop.call_soon(self._send_early, len(frames))
            return
        if self._presser is not None:
            for _ in frames:
                keys = self._presser.frame()
                if keys:
                    self._line.send_digits(keys)
        self._line.send_frames(frames)

    def send_digits(self, digits: str) -> None:
        """Let the party hear keys; before the answer there is nobody to hear them."""
        if self._line is not None and not self._over:
            self._line.send_digits(digits)

    def log(self, record: Mapping[str, object]) -> None:
        """Pass a record on."""
        if self._on_log is not None:
            self._on_log(record)

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """The call is over, or is not wanted any more: it stops ringing."""
        self._call = None
        if self._over:
            return
        if self._line is not None:
            self._line.ended(cause, detail, ran_to_end=ran_to_end)
        self._finish(cause, detail, ran_to_end=ran_to_end)

    # What the party does.

    def rings(self) -> bool:
        """Let the caller hear that it rings. Gives whether the call is still there."""
        if self._over or self._line is not None:
            return False
        self._sink().callee_ringing()
        return not self._over

    def announces(self, audio: bytes) -> bool:
        """Let the caller hear audio, in the leg's format, before the answer. Gives whether the call is still there."""
        if self._over or self._line is not None:
            return False
        call = self._sink()
        size = self.format.frame_bytes
        frames = [audio[at : at + size].ljust(size, self.format.silence_byte) for at in range(0, len(audio), size)]
        if self._early is not None:
            self._early.extend(frames)
        else:
            self._early = deque(frames)
            call.callee_early_media()
        return not self._over

    def answers(self, party: FrameCaller) -> bool:
        """Answer; `party`, which has heard nothing yet, talks from now on. Gives whether the call is still there.

        Raises:
            UsageError: The party talks in another format, or one has answered already.
        """
        if self._over:
            return False
        if self._line is not None:
            raise UsageError("the call is answered already")
        if party.format != self.format:
            raise UsageError(f"the party talks {party.format}, and the call is in {self.format}")
        call = self._sink()
        line = ScriptedLeg(party, tap=self._tap)
        line.attach(call)
        line.ringing(self.call_id)
        self._line = line
        if self.summons is not None and self.summons.digits.presses:
            self._presser = DigitPresser(self.summons.digits)
        call.callee_answered()
        return not self._over

    def refuses(self, cause: HangupCause, detail: str = "") -> bool:
        """Do not answer. Gives whether the call was still there to be refused.

        Raises:
            UsageError: It is answered already.
        """
        if self._over:
            return False
        if self._line is not None:
            raise UsageError("the call is answered already, and can only be hung up")
        call = self._sink()
        self._finish(cause, detail, ran_to_end=True)
        call.callee_refused(cause, detail)
        return True

    def _sink(self) -> CalledSink:
        if self._call is None or self.summons is None:
            raise UsageError("nobody calls this telephone yet")
        return self._call

    def _summon(self) -> None:
        if not self._over:
            self._on_ring(self)

    def _send_early(self, frames: int) -> None:
        if self._call is None or self._early is None:
            return
        for _ in range(frames):
            if self._over or self._line is not None:
                return
            self._call.caller_frame(self._early.popleft() if self._early else self.format.silent_frame)

    def _finish(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        self._over = True
        ended = Ended(code=cause.code, name=cause.name, source=cause.source, detail=detail, ran_to_end=ran_to_end)
        self._unanswered.set_result(CallResult(self.call_id, ended, Outcome(ok=True), 0))
        if self._on_over is not None:
            self._on_over()
