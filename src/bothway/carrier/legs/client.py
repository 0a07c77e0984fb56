"""A scripted caller in a process of its own: the other end of the WebSocket leg.

It keeps no time. Each frame that the carrier sends is heard and answered by one frame before the callback returns, so
the carrier's clock is the only one on the call.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from bothway.carrier.leg import BACKLOG_SECONDS
from bothway.carrier.scripted_caller import CallResult, Outcome, ScriptedCaller
from bothway.errors import PeerError, UsageError
from bothway.runtime.duplex import Duplex
from bothway.runtime.duplex_picows import connect
from bothway.wire.leg import (
    LEG_FORMATS,
    LEG_PATH,
    Answered,
    Dial,
    Early,
    Ended,
    HangUp,
    LegDigits,
    Log,
    Press,
    Refused,
    Ringing,
    decode_from_carrier,
    encode,
)

__all__ = ["ANSWER_DEADLINE", "CONNECT_DEADLINE", "SILENCE_DEADLINE", "RemoteCaller", "leg_url"]

logger = logging.getLogger(__name__)

CONNECT_DEADLINE = 5.0
"""Seconds for the connection and the upgrade."""

ANSWER_DEADLINE = 60.0
"""Seconds from `dial` to the answer: what a phone rings at most."""

SILENCE_DEADLINE = 10.0
"""Seconds that an answered call may go without any message of the carrier's, which owes one every 20 ms; and the
seconds that it has to end the call after the caller hung up."""

_PARTING_SECONDS = 2.0

_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


def leg_url(carrier: str) -> str:
    """Where the carrier at this URL takes WebSocket legs.

    Args:
        carrier: The carrier's own URL, `http(s)` or `ws(s)`, with or without a path in front of it or the leg's own.

    Raises:
        UsageError: It is no such URL, or holds credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(carrier)
    except ValueError:
        raise UsageError("the carrier's URL does not parse") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError("the carrier's URL starts with http://, https://, ws:// or wss://, and a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the carrier's URL holds no credentials, no query and no fragment")
    path = parts.path.rstrip("/").removesuffix(LEG_PATH)
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}{LEG_PATH}"


class RemoteCaller:
    """Places one call. It is the `Receiver` of its WebSocket.

    Args:
        caller: What happens on the call. It has heard nothing yet.
        dial: Whom to call; its format is the caller's.
        tap: Called with every pair of the frame that the caller sent and the frame that it answered by it.
        on_log: Called with every record of the call's evidence log, if `dial` asks for events.
        answer_deadline: See `ANSWER_DEADLINE`.
        silence_deadline: See `SILENCE_DEADLINE`.

    Raises:
        UsageError: `dial` names another format than the caller's.
    """

    def __init__(
        self,
        caller: ScriptedCaller,
        dial: Dial,
        *,
        tap: Callable[[bytes, bytes], None] | None = None,
        on_log: Callable[[dict[str, Any]], None] | None = None,
        answer_deadline: float = ANSWER_DEADLINE,
        silence_deadline: float = SILENCE_DEADLINE,
    ) -> None:
        if LEG_FORMATS[dial.format] != caller.format:
            raise UsageError(f"the caller speaks {caller.format}, and dials {dial.format}")
        self._loop = asyncio.get_running_loop()
        self._caller = caller
        self._dial = dial
        self._tap = tap
        self._on_log = on_log
        self._answer_deadline = answer_deadline
        self._silence_deadline = silence_deadline
        self._backlog = int(BACKLOG_SECONDS * caller.format.second_bytes)
        self._duplex: Duplex
        self._call_id = ""
        self._flows = False  # frames do, since the answer or early media
        self._hung_up = False
        self._ended: Ended | None = None
        self._deadline = 0.0  # of the loop's clock
        self._overdue = ""  # what it means when the deadline passes
        self._timer: asyncio.TimerHandle | None = None
        self._failure = ""  # why there will be no `ended`
        self._done = asyncio.Event()
        self._closed = asyncio.Event()

    async def call(
        self,
        url: str,
        *,
        auth_id: str,
        auth_token: str,
        ssl: ssl.SSLContext | None = None,
    ) -> CallResult:
        """Place the call, and live it to its end. Cancelled, it hangs up, and waits for that a moment.

        Args:
            url: Of the carrier's legs: see `leg_url`.
            auth_id: Of the account on whose behalf the call is placed.
            auth_token: Its token.
            ssl: Used for `wss`; by default the system's certificates decide.

        Raises:
            UsageError: The URL cannot be used.
            PeerError: There is no carrier, or it does not let us in.
        """
        credentials = b64encode(f"{auth_id}:{auth_token}".encode()).decode()
        headers = [("Authorization", f"Basic {credentials}")]
        duplex = await connect(url, self, headers=headers, ssl=ssl, timeout=CONNECT_DEADLINE)
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            self._hang_up()
            try:
                async with asyncio.timeout(_PARTING_SECONDS):
                    await self._done.wait()
            except TimeoutError:
                logger.warning("the carrier did not end the call within %g s of the hang-up", _PARTING_SECONDS)
            raise
        finally:
            if self._ended is not None:
                duplex.close()
            else:
                duplex.abort()
            await self._closed.wait()
        return self._result()

    def opened(self, duplex: Duplex) -> None:
        """The carrier is there: dial."""
        self._duplex = duplex
        self._expect(self._answer_deadline, f"the call was not answered within {self._answer_deadline:g} s")
        duplex.send_text(encode(self._dial))

    def received_text(self, message: bytes) -> None:
        """The carrier says something."""
        if self._done.is_set():
            return
        try:
            said = decode_from_carrier(message)
        except PeerError as error:
            self._fail(str(error))
            return
        match said:
            case Ringing():
                self._call_id = said.call_id
            case Early() | Answered():
                self._call_id = said.call_id
                self._flows = True
            case LegDigits():
                self._caller.hear_digits(said.digits)
            case Log():
                if self._on_log is not None:
                    self._on_log(said.record)
            case Ended():
                self._ended = said
                self._done.set()
            case Refused():
                self._fail(f"the carrier refused the call: {said.reason}")
        self._heard_carrier()

    def received_binary(self, message: bytes) -> None:
        """20 ms of the call: hear them, and answer."""
        if self._done.is_set():
            return
        if not self._flows:
            self._fail("the carrier sent audio before the call was answered")
            return
        size = self._caller.format.frame_bytes
        if len(message) != size:
            self._fail(f"the carrier sent {len(message)} bytes, where a frame has {size}")
            return
        turn = self._caller.hear(message)
        self._duplex.send_binary(turn.frame)
        if self._tap is not None:
            self._tap(turn.frame, message)
        for digit in turn.digits:
            self._duplex.send_text(encode(Press(digit=digit)))
        if turn.hang_up:
            self._hang_up()
        self._heard_carrier()
        if self._duplex.unsent_bytes > self._backlog:
            self._fail(f"the carrier has not read for {BACKLOG_SECONDS:g} s of the call")

    def closed(self, code: int, reason: str) -> None:
        """The WebSocket is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._fail(f"the carrier's socket died before the call had ended: {code} {reason}".rstrip())
        self._closed.set()

    def _expect(self, seconds: float, overdue: str) -> None:
        """Set the deadline anew: a timer that fires before it is armed again then, and not with every frame."""
        self._deadline = self._loop.time() + seconds
        self._overdue = overdue
        if self._timer is None or self._deadline < self._timer.when():
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        if self._loop.time() < self._deadline:
            self._arm()
            return
        reason = self._overdue
        self._hang_up()
        self._fail(reason)

    def _heard_carrier(self) -> None:
        if self._flows and not self._hung_up:
            self._expect(self._silence_deadline, f"the carrier was silent for {self._silence_deadline:g} s")

    def _hang_up(self) -> None:
        if not self._hung_up and not self._done.is_set():
            self._hung_up = True
            self._duplex.send_text(encode(HangUp()))
            seconds = self._silence_deadline
            self._expect(seconds, f"the carrier did not end the call within {seconds:g} s of the hang-up")

    def _fail(self, reason: str) -> None:
        if not self._done.is_set():
            self._failure = reason
            self._done.set()

    def _result(self) -> CallResult:
        outcome = self._caller.outcome
        if not self._failure:
            outcome = self._caller.call_ended()
        elif outcome is None or outcome.ok:
            outcome = Outcome(ok=False, reason=self._failure)
        else:
            outcome = Outcome(ok=False, reason=f"{outcome.reason}; then {self._failure}")
        events = tuple(self._caller.events())
        return CallResult(self._call_id, self._ended, outcome, self._caller.heard_ms, events)
