"""A callee in a test: is called, answers or does not, and then talks like any caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bothway.audio.format import AudioFormat
from bothway.carrier.clips import spoken
from bothway.carrier.leg import Summons
from bothway.carrier.legs.phone import PhoneLeg
from bothway.errors import UsageError
from bothway.speech.protocols import TextToSpeech
from bothway.testing.caller import Caller
from bothway.testing.expectation import Expectation
from bothway.wire.hangup import HangupCause

__all__ = ["Callee"]

_RING_SECONDS = 0.1
"""What a network takes to say that it rings; who is busy says so before."""


class Callee(Caller):
    """One call that the carrier places, from the end of whoever is called. It is called once.

    Until it answers it rings; it does so when its test says so, or by itself. From the answer on it does and expects
    what a `Caller` does; all times count from there.

    Args:
        fmt: The leg's format.
        voice: Says the texts; a `ToneVoice`, if the app is to understand them.
        keep_audio: Whether the audio of both sides is kept for the timeline.
        answers_after: Seconds of ringing after which it answers by itself; None waits for the test to say so.
        on_call: Told when the carrier calls.
        on_over: Told when the call is over, answered or not; closes `trace`, now or later. By default now.

    Attributes:
        phone: The leg; None until it is asked for by `leg`.
    """

    def __init__(
        self,
        fmt: AudioFormat,
        voice: TextToSpeech,
        *,
        keep_audio: bool = True,
        answers_after: float | None = None,
        on_call: Callable[[Callee], None] | None = None,
        on_over: Callable[[Callee], None] | None = None,
    ) -> None:
        super().__init__(fmt, voice, keep_audio=keep_audio)
        self.phone: PhoneLeg | None = None
        self._is_called = False
        self._answers_after = answers_after
        self._on_call = on_call
        self._on_over = on_over

    @property
    def summons(self) -> Summons | None:
        """How it is called: `from_`, `to`, `caller_name`, `headers`; None until it is."""
        return self.phone.summons if self.phone is not None else None

    def leg(self) -> PhoneLeg:
        """The leg of the one call.

        Raises:
            UsageError: It was asked for before.
        """
        if self.phone is not None:
            raise UsageError("this callee is called already: a second call needs a second callee")
        self.phone = PhoneLeg(self.telephone.format, self._called, on_over=self._ended, on_log=self.trace.log)
        return self.phone

    def is_called(self) -> Expectation[Summons]:
        """To be called.

        Returns:
            When awaited: how.
        """
        return Expectation(
            self.trace, "the callee to be called", lambda: self.summons if self._is_called else None, on_line=False
        )

    async def answers(self, *, after: float = 0.0, within: float = 30.0) -> None:
        """Wait to be called, let it ring, and answer.

        Args:
            after: For how many seconds it rings.
            within: How long to wait for the call.

        Raises:
            CallFailedError: Nobody called, or the caller gave up.
        """
        phone = await self._wait(after, within)
        if not phone.answers(self.telephone):
            raise self.trace.failed(f"the caller gave up before the callee answered after {after:g} s")
        self.trace.happened()

    async def announces(self, text: str, *, within: float = 30.0) -> None:
        """Wait to be called, and say something before the answer, as networks do; returns at once.

        Raises:
            CallFailedError: Nobody called, or the caller gave up.
        """
        audio = await spoken(self._voice, text, self.telephone.format)
        phone = await self._wait(0.0, within)
        if not phone.announces(audio):
            raise self.trace.failed("the caller gave up before the callee announced anything")

    async def is_busy(self, *, within: float = 30.0) -> None:
        """Wait to be called, and be busy.

        Raises:
            CallFailedError: Nobody called, or the caller gave up.
        """
        await self.refuses(3010, within=within)

    async def rejects(self, *, after: float = 0.0, within: float = 30.0) -> None:
        """Wait to be called, let it ring, and decline.

        Raises:
            CallFailedError: Nobody called, or the caller gave up.
        """
        await self.refuses(3020, after=after, within=within)

    async def refuses(self, code: int, *, after: float = 0.0, within: float = 30.0) -> None:
        """Wait to be called, let it ring, and have the network refuse.

        Args:
            code: Why: a hang-up code (plivo-protocol.md, 7.4).
            after: For how many seconds it rings.
            within: How long to wait for the call.

        Raises:
            UsageError: There is no such code.
            CallFailedError: Nobody called, or the caller gave up.
        """
        cause = HangupCause.of(code, "Carrier")
        phone = await self._wait(after, within)
        if not phone.refuses(cause, f"the callee of the test refused: {cause.name}"):
            raise self.trace.failed(f"the caller gave up before the callee refused after {after:g} s")

    async def _wait(self, after: float, within: float) -> PhoneLeg:
        await self.is_called().within(within)
        if after:
            await asyncio.sleep(after)
        assert self.phone is not None, "a summons comes over a leg"
        return self.phone

    def _called(self, phone: PhoneLeg) -> None:
        self._is_called = True
        if self._on_call is not None:
            self._on_call(self)
        loop = asyncio.get_running_loop()
        loop.call_later(_RING_SECONDS, phone.rings)
        if self._answers_after is not None:
            loop.call_later(self._answers_after, self._answer, phone)
        self.trace.happened()

    def _answer(self, phone: PhoneLeg) -> None:
        if not phone.is_answered and phone.answers(self.telephone):
            self.trace.happened()

    def _ended(self) -> None:
        if self._on_over is not None:
            self._on_over(self)
        else:
            self.trace.close()
