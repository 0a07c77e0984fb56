"""The carrier's side of the WebSocket leg: a caller in another process, or in a browser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from bothway.audio.format import AudioFormat
from bothway.carrier.leg import BACKLOG_SECONDS, LegSink
from bothway.errors import PeerError, UsageError
from bothway.runtime.duplex import CloseCode, Duplex
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import (
    LEG_FORMATS,
    Answered,
    Dial,
    Early,
    Ended,
    FromCarrier,
    HangUp,
    LegDigits,
    Log,
    Refused,
    Ringing,
    decode_from_caller,
    encode,
)

__all__ = ["DIAL_DEADLINE", "OnDial", "WebSocketLeg"]

logger = logging.getLogger(__name__)

DIAL_DEADLINE = 10.0
"""Seconds that a caller has to say whom it calls."""

_INVALID_DATA = 1007  # RFC 6455, section 7.4.1: "data within a message that was not consistent with the type"


class WebSocketLeg:
    """One caller: a `Receiver` to the WebSocket, and a `Leg` to the call.

    Args:
        on_dial: Is given this leg and what the caller dialled. It starts a call, which attaches itself, or calls
            `refused`.
        dial_deadline: Seconds that the caller has for `dial`.
    """

    def __init__(self, on_dial: OnDial, *, dial_deadline: float = DIAL_DEADLINE) -> None:
        self._on_dial = on_dial
        self._dial_deadline = dial_deadline
        self._timer: asyncio.TimerHandle | None = None
        self._duplex: Duplex
        self._dial: Dial | None = None
        self._format: AudioFormat | None = None
        self._backlog = 0  # bytes
        self._call: LegSink | None = None
        self._call_id = ""
        self._flows = False  # frames do, since the answer or early media
        self._caller_gone = False
        self._over = False

    @property
    def format(self) -> AudioFormat:
        """The format that the caller chose.

        Raises:
            UsageError: It has not dialled yet.
        """
        if self._format is None:
            raise UsageError("a WebSocket leg has no format before its caller has dialled")
        return self._format

    # What the call does.

    def attach(self, call: LegSink) -> None:
        """The call that this leg belongs to."""
        self._call = call

    def refused(self, reason: str) -> None:
        """There will be no call. `reason` goes to the caller, as a sentence."""
        self._send(Refused(reason=reason))
        self._over = True
        self._duplex.close(CloseCode.POLICY, reason)

    def ringing(self, call_id: str) -> None:
        """Tell the caller the call's id."""
        self._call_id = call_id
        self._send(Ringing(call_id=call_id))

    def answered(self) -> None:
        """Tell the caller; its frames count from now on."""
        self._flows = True
        self._send(Answered(call_id=self._call_id))

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send what the caller hears. A caller that has not read for `BACKLOG_SECONDS` is dropped."""
        if self._over:
            return
        if not self._flows:
            self._flows = True
            self._send(Early(call_id=self._call_id))
        for frame in frames:
            self._duplex.send_binary(frame)
        self._bound_backlog()

    def send_digits(self, digits: str) -> None:
        """Send keys that the app pressed."""
        self._send(LegDigits(digits=digits))

    def log(self, record: Mapping[str, object]) -> None:
        """Send a record of the evidence log, if the caller asked for events."""
        if self._dial is not None and self._dial.events:
            self._send(Log(record=dict(record)))

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        """Tell the caller, and close behind all that was sent."""
        self._send(Ended(code=cause.code, name=cause.name, source=cause.source, detail=detail, ran_to_end=ran_to_end))
        self._over = True
        self._call = None
        self._duplex.close(CloseCode.NORMAL, "the call ended")

    # What the WebSocket tells.

    def opened(self, duplex: Duplex) -> None:
        """The caller is here, and has to dial."""
        self._duplex = duplex
        self._timer = asyncio.get_running_loop().call_later(self._dial_deadline, self._dialled_nothing)

    def received_text(self, message: bytes) -> None:
        """A control message came."""
        if self._over or self._caller_gone:
            return
        try:
            said = decode_from_caller(message)
        except PeerError as error:
            self._fault(_INVALID_DATA, str(error))
            return
        if isinstance(said, Dial):
            self._dialled(said)
        elif self._dial is None:
            self._fault(CloseCode.POLICY, "the caller sent another message before dial")
        elif isinstance(said, HangUp):
            self._lose_caller()
        elif self._flows and self._call is not None:
            self._call.caller_digit(said.digit)

    def received_binary(self, message: bytes) -> None:
        """A frame came. Before the answer, or early media, nobody listens."""
        if self._over or self._caller_gone:
            return
        if self._format is None:
            self._fault(CloseCode.POLICY, "the caller sent audio before dial")
        elif len(message) != self._format.frame_bytes:
            size = self._format.frame_bytes
            self._fault(_INVALID_DATA, f"the caller sent {len(message)} bytes, where a frame has {size}")
        elif self._flows and self._call is not None:
            self._call.caller_frame(message)

    def closed(self, code: int, reason: str) -> None:
        """The WebSocket is over, in whatever way."""
        self._stop_timer()
        if self._over or self._caller_gone:
            return
        if self._call is not None:
            logger.warning("call %s: the caller's WebSocket ended without hangup: %d %s", self._call_id, code, reason)
        self._lose_caller()

    def _dialled(self, dial: Dial) -> None:
        if self._dial is not None:
            self._fault(CloseCode.POLICY, "the caller dialled twice")
            return
        self._stop_timer()
        self._dial = dial
        self._format = LEG_FORMATS[dial.format]
        self._backlog = int(BACKLOG_SECONDS * self._format.second_bytes)
        self._on_dial(self, dial)

    def _dialled_nothing(self) -> None:
        self._fault(CloseCode.POLICY, f"the caller did not dial within {self._dial_deadline:g} s")

    def _fault(self, code: int, text: str) -> None:
        """The caller broke the contract: it is told how, and has hung up as far as the call is concerned."""
        logger.warning("call %s: %s", self._call_id or "(none yet)", text)
        self._duplex.close(code, text)
        self._lose_caller()

    def _lose_caller(self) -> None:
        self._caller_gone = True
        if self._call is not None:
            self._call.caller_hung_up()

    def _send(self, message: FromCarrier) -> None:
        if not self._over:
            self._duplex.send_text(encode(message))
            self._bound_backlog()

    def _bound_backlog(self) -> None:
        if self._duplex.unsent_bytes > self._backlog:
            logger.warning("call %s: the caller has not read for %g s and is dropped", self._call_id, BACKLOG_SECONDS)
            # `closed` follows from the event loop, and only then is the call told: it may be in the middle of a tick.
            self._duplex.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


OnDial: TypeAlias = Callable[[WebSocketLeg, Dial], None]
"""Decides about a call, at once: see `WebSocketLeg`."""
