"""Calls that the app places: from the request to the stream that comes of it.

Each has a key, which stands in its answer URL and its hang-up URL, so that it does not matter whether the carrier asks
for the document before or after it has answered the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from urllib.parse import urlencode
from uuid import uuid4

from bothway.app.call import Call
from bothway.app.live import LiveCalls
from bothway.app.rest import VoiceApi
from bothway.app.rest_link import RestError
from bothway.app.rest_values import CallOptions, FiredCalls
from bothway.errors import PeerError, UsageError
from bothway.runtime.logs import get_logger
from bothway.wire.hangup import HangupCause
from bothway.wire.webhooks import HangupReport

__all__ = ["DIAL_GRACE", "DIAL_PARAMETER", "DIAL_PATH", "RING_TIMEOUT", "DialError", "Dials"]

DIAL_PATH = "/bothway/dial"
"""The answer URL, and the hang-up URL, of every call that an app places."""

DIAL_PARAMETER = "dial"
"""The query parameter that holds the key."""

RING_TIMEOUT = 120
"""Seconds of ringing unless told otherwise (plivo-protocol.md, 5.3)."""

DIAL_GRACE = 30.0
"""Seconds beyond the ringing: for the carrier's queue, the document and the stream."""

_LAST_WORDS = 3.0

log = get_logger(__name__)


class DialError(PeerError):
    """A call that was placed came to nothing.

    Attributes:
        status: `busy`, `no-answer`, `timeout`, `failed`, `cancel` …; `completed` where it was answered, and no stream
            came of it.
        cause: Why the carrier says it ended; None where it did not say.
    """

    def __init__(self, message: str, status: str, cause: HangupCause | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.cause = cause


class Dials:
    """The calls that are being placed.

    Args:
        rest: The account's REST API.
        calls: Who is on the line; the owner of the tasks.
    """

    def __init__(self, rest: VoiceApi, calls: LiveCalls) -> None:
        self._rest = rest
        self._calls = calls
        self._waiting: dict[str, asyncio.Future[Call]] = {}

    async def dial(self, to: str, from_: str, app_url: str, options: CallOptions) -> Call:
        """Place a call, and wait for its stream.

        Args:
            to: A number, or a `sip:` URI.
            from_: The caller id.
            app_url: Where the app is for the carrier.
            options: See `CallOptions`.

        Raises:
            UsageError: The app is stopping, or an option is not for this.
            DialError: Nobody answered, or no stream came.
            PeerError: The carrier did not place the call.
        """
        if self._calls.draining:
            raise UsageError("this app is stopping, and places no calls any more")
        for taken in ("hangup_url", "hangup_method", "answer_method"):
            if taken in options:
                raise UsageError(f"dial() says {taken} itself; place the call by app.rest.calls.create to say it")
        key = uuid4().hex
        url = f"{app_url}{DIAL_PATH}?{urlencode({DIAL_PARAMETER: key})}"
        waiting: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        told: CallOptions = {**options, "hangup_url": url}
        request = self._rest.calls.create(to, from_, url, **told)
        self._calls.spawn(self._place(request, waiting), f"dial {key}")
        patience = options.get("ring_timeout", RING_TIMEOUT) + DIAL_GRACE
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except TimeoutError:
            self._drop(waiting)
            raise DialError(
                f"the call to {to} has no stream after {patience:g} s: it is cancelled. Either nobody answered, or the "
                f"carrier does not reach {app_url}, or the stream went to another process of this app",
                "timeout",
            ) from None
        except asyncio.CancelledError:
            self._drop(waiting)
            raise
        finally:
            del self._waiting[key]

    async def streamed(self, call: Call) -> None:
        """The handler of such calls: hand it to whoever waits for it, and let it live."""
        waiting = self._waiting.get(call.query.get(DIAL_PARAMETER, ""))
        if waiting is None or waiting.done():
            log.warning("the stream of a call that nobody waits for in this process: it is closed", call=call.id)
            return
        waiting.set_result(call)
        await call.ended

    async def hung_up(self, key: str, report: HangupReport) -> None:
        """A call that was placed is over."""
        waiting = self._waiting.get(key)
        if waiting is None or waiting.done():
            return
        cause = report.cause
        told = f"{cause.name or cause.cause or 'no cause given'} ({cause.code})"
        what = "was answered and ended before its stream" if report.answered else f"came to nothing: {report.status}"
        waiting.set_exception(DialError(f"the call to {report.to} {what}: {told}", report.status, cause))

    async def _place(self, request: Awaitable[FiredCalls], waiting: asyncio.Future[Call]) -> None:
        """Place a call, and take it back when nobody waits for it any more."""
        fired: FiredCalls | None = None
        try:
            fired = await request
            await asyncio.wait([waiting])
        except (PeerError, UsageError) as error:
            if waiting.done():
                log.warning("a call that nobody waits for was not placed", reason=str(error))
            else:
                waiting.set_exception(error)
        except asyncio.CancelledError:
            if not waiting.done():
                waiting.set_exception(DialError("this app is stopping: the call is cancelled", "cancel"))
            await self._take_back(fired)
            raise
        else:
            if waiting.cancelled():
                await self._take_back(fired)

    async def _take_back(self, fired: FiredCalls | None) -> None:
        for request_id in fired.request_ids if fired is not None else ():
            try:
                async with asyncio.timeout(_LAST_WORDS):
                    await self._take_one_back(request_id)
            except (PeerError, TimeoutError) as error:
                log.warning("a call could not be cancelled", request=request_id, reason=str(error))

    async def _take_one_back(self, request_id: str) -> None:
        try:
            await self._rest.calls.cancel(request_id)
        except RestError as error:
            if error.status not in (404, 405):
                raise
            # It is no request any more, but a call, of the same id (plivo-protocol.md, 5.3).
            await self._rest.calls.hangup(request_id)

    def _drop(self, waiting: asyncio.Future[Call]) -> None:
        """End a call whose stream came in the very moment in which nobody wanted it any more."""
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            call = waiting.result()
            self._calls.spawn(self._hang_up(call), f"dropped {call.id}")

    async def _hang_up(self, call: Call) -> None:
        try:
            await call.hangup(after_playing=False)
        except PeerError as error:
            log.warning("a call that nobody waits for could not be hung up", call=call.id, reason=str(error))
            call.stop_stream()
