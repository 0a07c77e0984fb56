"""What the REST API can do with one live call: its `CallControl`."""

from __future__ import annotations

import asyncio

from bothway.carrier.api.switch import (
    Leg,
    Legs,
    PlayRequest,
    RecordRequest,
    RefusedError,
    SpeakRequest,
    StreamRequest,
    TransferRequest,
)
from bothway.carrier.config import Account
from bothway.carrier.live_call import LiveCall
from bothway.core.execution import cause
from bothway.errors import UsageError
from bothway.wire.digits import read_digits
from bothway.wire.verbs import Play, Speak, Stream

__all__ = ["MOST_TRANSFERS", "LiveCallControl"]

MOST_TRANSFERS = 70
"""Transfers of one call; one more would be a loop (plivo-protocol.md, 5.5)."""


def _press(call: LiveCall, text: str) -> None:
    """Press keys towards a call's party, with the pauses that the text has."""
    plan = read_digits(text)
    loop = asyncio.get_running_loop()
    call.report.record("send_dtmf", digits=plan.keys)

    def press(key: str) -> None:
        if not call.over:
            call.leg.send_digits(key)

    for at_ms, key in plan.presses:
        loop.call_later(at_ms / 1000, press, key)


class LiveCallControl:
    """It is the `CallControl` of a live call.

    Args:
        call: The call.
    """

    def __init__(self, call: LiveCall) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call

    @property
    def account(self) -> Account:
        """Whose call it is."""
        return self._call.account

    def hangup(self) -> None:
        """End the call; see `CallControl`."""
        answered = self._call.core.answered_at is not None or self._call.facts.direction == "inbound"
        self._call.hangup(cause(4000 if answered else 1000, "API Request"))

    def transfer(self, request: TransferRequest) -> None:
        """Other documents for its legs; see `CallControl`."""
        legs = self._legs(request.legs)
        if any(leg.transfers >= MOST_TRANSFERS for leg in legs):
            raise RefusedError(f"Loop detected: a call is transferred {MOST_TRANSFERS} times at most")
        first, second = request.aleg_url, request.bleg_url
        if request.legs != "aleg" and second is not None:
            legs[-1].transfer(second, request.bleg_method)
        if request.legs != "bleg" and first is not None:
            legs[0].transfer(first, request.aleg_method)

    async def start_recording(self, request: RecordRequest) -> str:
        """Record from now on; see `CallControl`."""
        self._check_answered()
        return await self._call.recorder.start_by_request(request)

    def stop_recording(self, recording_id: str | None = None) -> bool:
        """Stop recording; see `CallControl`."""
        return self._call.recorder.stop_by_request(recording_id)

    def play(self, request: PlayRequest) -> None:
        """Play over the call; see `CallControl`."""
        prompts = [Play(url) for url in request.urls]
        for leg in self._legs(request.legs):
            leg.overlay.begin("play", prompts, replace=not request.mix, loop=request.loop, seconds=request.length)

    def stop_playing(self) -> None:
        """Stop what `play` began."""
        self._stop("play")

    def speak(self, request: SpeakRequest) -> None:
        """Speak over the call; see `CallControl`."""
        prompts = [Speak(request.text, voice=request.voice, language=request.language)]
        for leg in self._legs(request.legs):
            leg.overlay.begin("speak", prompts, replace=not request.mix, loop=request.loop, seconds=None)

    def stop_speaking(self) -> None:
        """Stop what `speak` began."""
        self._stop("speak")

    def send_digits(self, digits: str, leg: Leg) -> None:
        """Press keys towards a leg; see `CallControl`."""
        for found in self._legs(leg):
            _press(found, digits)

    async def start_stream(self, request: StreamRequest) -> str:
        """Open a stream; see `CallControl`."""
        self._check_answered()
        if any(client.verb.url == request.service_url for client in self._call.streams.clients.values()):
            raise RefusedError("a stream to this service_url is open on this call already")
        verb = Stream(
            request.service_url,
            bidirectional=request.bidirectional,
            audio_track=request.audio_track,
            stream_timeout=request.stream_timeout,
            status_callback_url=request.status_callback_url,
            status_callback_method=request.status_callback_method,
            content_type=request.content_type,
            extra_headers=request.extra_headers or None,
            noise_cancellation=request.noise_cancellation,
            noise_cancellation_level=request.noise_cancellation_level or 85,
        )
        try:
            index = self._call.core.open_stream(verb, self._loop.time())
        except UsageError as error:
            raise RefusedError(str(error)) from None
        self._call.after_input()
        return self._call.streams.clients[index].stream.start.stream_id

    def stop_stream(self, stream_id: str) -> bool:
        """Close a stream; see `CallControl`."""
        return self._call.streams.stop("API request", stream_id)

    def stop_streams(self) -> None:
        """Close all streams."""
        self._call.streams.stop("API request")

    def _stop(self, kind: str) -> None:
        for leg in (self._call, self._call.far_leg):
            if leg is not None:
                leg.overlay.stop("play" if kind == "play" else "speak")

    def _legs(self, wanted: Legs) -> list[LiveCall]:
        """The legs meant, the first one first.

        Raises:
            RefusedError: The call is not answered yet, or has no second leg.
        """
        self._check_answered()
        far = self._call.far_leg
        if wanted != "aleg" and far is None:
            raise RefusedError("this call has no second leg", reason="not-found")
        return [
            leg for leg, word in ((self._call, "aleg"), (far, "bleg")) if leg is not None and wanted in (word, "both")
        ]

    def _check_answered(self) -> None:
        if self._call.core.answered_at is None:
            raise RefusedError("this call is not answered yet", reason="conflict")
