"""A call to one of the carrier's own numbers: two legs in one process, each the other's far end.

The call that is placed has the `LoopbackCallee`; on it rings a second call, which comes in at the same carrier and has
the `LoopbackCaller`. What a call sends to its end comes out of the other as what that call's party says: frames sample
by sample, keys, the answer, the end. It comes with the loop's next round, in order, so that neither call is entered
while it is in the middle of something.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from bothway.audio.format import AudioFormat
from bothway.carrier.digit_presser import DigitPresser
from bothway.carrier.leg import CalledSink, LegSink, Summons
from bothway.errors import UsageError
from bothway.wire.digits import NO_DIGITS
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import LEG_DIGITS

__all__ = ["QUEUE_FRAMES", "LoopbackCallee", "LoopbackCaller", "Take"]

QUEUE_FRAMES = 25
"""Half a second: what may wait in one direction for the loop's next round, in which all of it leaves. More means that
the process stands still, and the oldest is dropped."""

_PASSED_ON = frozenset({*range(2000, 2100), *range(3000, 3200), 4240, 4250, 5000, 5020, 5030})
"""What a called party may end of before it answers: the caller is told the same (plivo-protocol.md, 7.4)."""

_NORMAL = range(1000, 5000)
"""The called application ended the call without answering it."""


class _Wire:
    """One direction: what happens at one end comes to the other in order, with the loop's next round."""

    def __init__(self) -> None:
        self.dropped = 0  # frames
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes | Callable[[], None]] = deque()
        self._frames = 0  # of those
        self._listener: Callable[[bytes], None] | None = None
        self._armed = False
        self._closed = False

    def open(self, listener: Callable[[bytes], None]) -> None:
        """From now on there is somebody for the frames; those before are nobody's."""
        self._listener = listener

    def send(self, frame: bytes) -> None:
        """Carry a frame."""
        if self._frames == QUEUE_FRAMES:
            self._waiting.remove(next(item for item in self._waiting if isinstance(item, bytes)))
            self._frames -= 1
            self.dropped += 1
        self._frames += 1
        self._put(frame)

    def tell(self, event: Callable[[], None]) -> None:
        """Carry something else. Of these a call has few."""
        self._put(event)

    def close(self) -> None:
        """The end that listens is gone."""
        self._closed = True
        self._waiting.clear()

    def _put(self, item: bytes | Callable[[], None]) -> None:
        if self._closed:
            return
        self._waiting.append(item)
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._armed = False
        for _ in range(len(self._waiting)):
            if not self._waiting:
                return  # closed by what came of the one before
            item = self._waiting.popleft()
            if not isinstance(item, bytes):
                item()
                continue
            self._frames -= 1
            if self._listener is not None:
                self._listener(item)


class _End:
    """What both ends have in common.

    Attributes:
        format: Of the frames of both directions.
        hops: How many loops there are one behind the other, this one included.
    """

    def __init__(self, fmt: AudioFormat, hops: int, incoming: _Wire, outgoing: _Wire) -> None:
        self.format = fmt
        self.hops = hops
        self._incoming = incoming
        self._outgoing = outgoing
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether this end has nothing more to do with a call."""
        return self._over

    @property
    def dropped_frames(self) -> int:
        """Frames from the other end that were lost because the process stood still."""
        return self._incoming.dropped

    def log(self, record: Mapping[str, object]) -> None:
        """Nobody reads it here."""


class LoopbackCallee(_End):
    """The called party of the call that is placed: a `CalledLeg`.

    Args:
        fmt: Of the frames of both directions.
        take: Starts the other call.
        hops: How many loops there are one behind the other, this one included.
    """

    def __init__(self, fmt: AudioFormat, take: Take, *, hops: int = 1) -> None:
        super().__init__(fmt, hops, _Wire(), _Wire())
        self._take = take
        self._call: CalledSink | None = None
        self._far: LoopbackCaller | None = None
        self._presser = DigitPresser(NO_DIGITS)

    def attach(self, call: CalledSink) -> None:
        """The call that this leg belongs to."""
        self._call = call

    def ringing(self, call_id: str) -> None:
        """The call has an id."""

    def ring(self, summons: Summons) -> None:
        """Start the other call, with the loop's next round.

        Raises:
            UsageError: The leg was never attached to a call.
        """
        if self._call is None:
            raise UsageError("a loop rings nowhere before it is attached to a call")
        self._presser = DigitPresser(summons.digits)
        asyncio.get_running_loop().call_soon(self._place, self._call, summons)

    def answered(self) -> None:
        """The other call's frames are this call's party from now on."""
        if self._call is not None:
            self._incoming.open(self._call.caller_frame)

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """What the other call's party says."""
        for frame in frames:
            self._outgoing.send(frame)
            self.send_digits(self._presser.frame())

    def send_digits(self, digits: str) -> None:
        """What the other call's party presses; pauses are not pressed."""
        far = self._far
        if far is not None:
            for digit in filter(LEG_DIGITS.__contains__, digits):
                self._outgoing.tell(partial(far.pressed, digit))

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """The other call's party has gone."""
        self._call = None
        if not self._over:
            self._finish()
            if self._far is not None:
                self._outgoing.tell(self._far.left)

    # What the other end tells, through the wire.

    def rings(self) -> None:
        """The other call is there."""
        if self._call is not None and not self._over:
            self._call.callee_ringing()

    def answers(self) -> None:
        """The other call is answered."""
        if self._call is not None and not self._over:
            self._call.callee_answered()

    def pressed(self, digit: str) -> None:
        """The other call pressed a key."""
        if self._call is not None and not self._over:
            self._call.caller_digit(digit)

    def left(self) -> None:
        """The other call is over, after its answer."""
        if self._call is not None and not self._over:
            self._call.caller_hung_up()

    def refuses(self, cause: HangupCause, detail: str) -> None:
        """The other call is over, before its answer, or never was."""
        if self._call is not None and not self._over:
            self._finish()
            self._call.callee_refused(cause, detail)

    def _finish(self) -> None:
        self._over = True
        self._incoming.close()

    def _place(self, call: CalledSink, summons: Summons) -> None:
        if self._over:
            return
        self._far = LoopbackCaller(self, self._outgoing, self._incoming)
        try:
            self._take(self._far, summons)
        except UsageError as error:
            self._far = None
            self._finish()
            call.callee_refused(HangupCause.of(2010, "Plivo"), str(error))


class LoopbackCaller(_End):
    """The caller of the call that comes in: a `Leg`. `LoopbackCallee` makes it."""

    def __init__(self, far: LoopbackCallee, incoming: _Wire, outgoing: _Wire) -> None:
        super().__init__(far.format, far.hops, incoming, outgoing)
        self._far = far
        self._call: LegSink | None = None
        self._is_answered = False

    def attach(self, call: LegSink) -> None:
        """The call that this leg belongs to."""
        self._call = call

    def ringing(self, call_id: str) -> None:
        """The call exists: it rings at the far end."""
        self._outgoing.tell(self._far.rings)

    def answered(self) -> None:
        """The far end hears of it; its frames are this call's caller from now on."""
        self._is_answered = True
        if self._call is not None:
            self._incoming.open(self._call.caller_frame)
        self._outgoing.tell(self._far.answers)

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """What the far end hears."""
        for frame in frames:
            self._outgoing.send(frame)

    def send_digits(self, digits: str) -> None:
        """Keys that the app presses towards the far end; pauses are not pressed."""
        for digit in filter(LEG_DIGITS.__contains__, digits):
            self._outgoing.tell(partial(self._far.pressed, digit))

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """The far end hears of it: that the call is over, or why it is not answered."""
        self._call = None
        if self._over:
            return
        self._over = True
        self._incoming.close()
        if self._is_answered:
            self._outgoing.tell(self._far.left)
        else:
            self._outgoing.tell(partial(self._far.refuses, _as_refusal(cause), detail))

    @property
    def is_gone(self) -> bool:
        """Whether the far end has hung up already."""
        return self._far.is_over

    def refuse(self, cause: HangupCause, detail: str) -> None:
        """There will be no call: the far end hears why."""
        if not self._over:
            self._over = True
            self._incoming.close()
            self._outgoing.tell(partial(self._far.refuses, cause, detail))

    # What the other end tells, through the wire.

    def pressed(self, digit: str) -> None:
        """The far end pressed a key. Before the answer nobody listens."""
        if self._call is not None and self._is_answered and not self._over:
            self._call.caller_digit(digit)

    def left(self) -> None:
        """The far end has gone."""
        if self._call is not None and not self._over:
            self._call.caller_hung_up()


Take: TypeAlias = Callable[[LoopbackCaller, Summons], None]
"""Starts the call that comes in, at once; raises `UsageError` if it cannot be."""


def _as_refusal(cause: HangupCause) -> HangupCause:
    """Why the called party does not answer, as whoever calls it sees that."""
    if cause.code in _PASSED_ON:
        return HangupCause.of(cause.code, "Carrier")
    return HangupCause.of(3020 if cause.code in _NORMAL else 3080, "Carrier")
