"""A scripted caller inside the carrier's own process, without a socket: for load and for benches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.carrier.leg import LegSink
from bothway.carrier.scripted_caller import CallResult, FrameCaller, Turn
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Ended

__all__ = ["ScriptedLeg"]


class ScriptedLeg:
    """A `Leg` whose party is a `FrameCaller`, such as a `ScriptedCaller`.

    What the caller does in answer to a frame reaches the call with the loop's next round: after the tick that sent the
    frame, and before the next one, as over a very fast network. It hangs up between two frames.

    Args:
        caller: Has heard nothing yet.
        tap: Called with every pair of the frame that the caller sent and the frame that it answered by it.
        on_log: Called with every record of the call's evidence log.
    """

    def __init__(
        self,
        caller: FrameCaller,
        *,
        tap: Callable[[bytes, bytes], None] | None = None,
        on_log: Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._caller = caller
        self._tap = tap
        self._on_log = on_log
        self._call: LegSink | None = None
        self._call_id = ""
        self._hung_up = False
        self._done: asyncio.Future[CallResult] = self._loop.create_future()

    @property
    def format(self) -> AudioFormat:
        """The caller's format."""
        return self._caller.format

    async def result(self) -> CallResult:
        """What became of the call, once it is over."""
        return await asyncio.shield(self._done)

    def attach(self, call: LegSink) -> None:
        """The call that this leg belongs to."""
        self._call = call

    def ringing(self, call_id: str) -> None:
        """The call has this id."""
        self._call_id = call_id

    def answered(self) -> None:
        """Frames follow; the caller begins with the first of them."""

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Let the caller hear frames.

        Raises:
            UsageError: A frame has another size than the leg's format, or the leg was never attached to a call.
        """
        if self._call is None:
            raise UsageError("a scripted leg hears nothing before it is attached to a call")
        turns = []
        for frame in frames:
            turn = self._caller.hear(frame)
            if self._tap is not None:
                self._tap(turn.frame, frame)
            turns.append(turn)
        self._loop.call_soon(self._act, self._call, turns)

    def send_digits(self, digits: str) -> None:
        """Let the caller hear digits."""
        self._caller.hear_digits(digits)

    def log(self, record: Mapping[str, object]) -> None:
        """Pass a record on."""
        if self._on_log is not None:
            self._on_log(record)

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """The call is over: `result` knows."""
        self._hung_up = True
        self._call = None
        outcome = self._caller.call_ended()
        ended = Ended(code=cause.code, name=cause.name, source=cause.source, detail=detail, ran_to_end=ran_to_end)
        self._done.set_result(
            CallResult(self._call_id, ended, outcome, self._caller.heard_ms, tuple(self._caller.events()))
        )

    def _act(self, call: LegSink, turns: list[Turn]) -> None:
        for turn in turns:
            if self._hung_up:
                return
            call.caller_frame(turn.frame)
            for digit in turn.digits:
                call.caller_digit(digit)
            if turn.hang_up:
                self._hung_up = True
                self._loop.call_later(FRAME_MS / 2000, self._hang_up, call)

    def _hang_up(self, call: LegSink) -> None:
        if not self._done.done():
            call.caller_hung_up()
