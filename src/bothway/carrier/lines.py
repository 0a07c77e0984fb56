"""How a destination is reached: which leg the carrier takes to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from bothway.audio.format import AudioFormat
from bothway.carrier.callee import Behaviour, Callees, Luck, Refuses, Span
from bothway.carrier.clips import ClipShelf
from bothway.carrier.config import Account, Application
from bothway.carrier.destination import bare_number, destination_kind, is_endpoint, plain_destination
from bothway.carrier.leg import CalledLeg, Leg, Summons
from bothway.carrier.legs.called_script import scripted_callee
from bothway.carrier.legs.loopback import LoopbackCallee, LoopbackCaller
from bothway.errors import PeerError, UsageError
from bothway.runtime.tasks import Tasks
from bothway.speech.protocols import TextToSpeech
from bothway.wire.hangup import HangupCause

__all__ = ["MOST_HOPS", "BarredError", "Inbound", "Lines", "MakeLeg", "OwnNumber"]

MOST_HOPS = 8
"""Calls to the carrier's own numbers that may be made one because of the other. SIP's bound is 70 (RFC 3261, 8.1.1.6),
but each of ours is two whole calls in one process."""


class BarredError(UsageError):
    """This destination may not be called. REST answers 403 with this text (plivo-protocol.md, 5.1)."""

    def __init__(self) -> None:
        super().__init__("Calls to this destination region are barred")


class Inbound(Protocol):
    """Starts a call that comes in, as `Carrier.place` does."""

    def __call__(
        self,
        leg: Leg,
        *,
        from_: str,
        to: str,
        application: Application,
        account: Account,
        sip_headers: Mapping[str, str] | None = None,
    ) -> object:
        """Start it.

        Raises:
            UsageError: The carrier takes no more calls.
        """


OwnNumber: TypeAlias = Callable[[str], Awaitable[tuple[Application, Account] | None]]
"""The application that answers a number, and whose it is; None if it is none of the carrier's, or has none."""

MakeLeg: TypeAlias = Callable[[AudioFormat], CalledLeg]
"""Makes a leg for one call to a connected destination."""


class Lines:
    """Everything that the carrier can call.

    A destination is, in this order: connected by hand (`connect`), a configured callee, one of the carrier's own
    numbers, on which a call comes in at the same carrier, or a SIP endpoint. What is none of these is called too, and
    refuses with the cause and a sentence that says what is missing.

    Args:
        callees: The configured ones.
        own_number: Finds the application of one of the carrier's own numbers.
        inbound: Starts a call to one of them.
        voice: Says what callees say.
        tasks: Owns what callees do before they answer.
        barred: Beginnings of numbers that may not be called.
        seed: Makes what callees do the same in every run.
    """

    def __init__(
        self,
        *,
        callees: Callees,
        own_number: OwnNumber,
        inbound: Inbound,
        voice: TextToSpeech | None,
        tasks: Tasks,
        barred: Sequence[str] = (),
        seed: int | None = None,
    ) -> None:
        self._callees = callees
        self._own_number = own_number
        self._inbound = inbound
        self._shelf = ClipShelf(voice)
        self._tasks = tasks
        self._barred = tuple(bare_number(prefix) for prefix in barred)
        self._luck = Luck(seed)
        self._connected: dict[str, MakeLeg] = {}

    def connect(self, destination: str, make: MakeLeg) -> None:
        """Let calls to `destination` go to legs that `make` makes. It comes before everything else.

        Raises:
            UsageError: Somebody else is connected there.
        """
        plain = plain_destination(destination)
        if plain in self._connected:
            raise UsageError(f"{destination} is connected already")
        self._connected[plain] = make

    def disconnect(self, destination: str) -> None:
        """Undo `connect`; nothing happens if nobody was connected."""
        self._connected.pop(plain_destination(destination), None)

    def check(self, destination: str) -> None:
        """Whether `destination` may be called; it need not be reached.

        Raises:
            BarredError: It may not.
        """
        if self._is_barred(destination):
            raise BarredError

    def leg_to(self, destination: str, fmt: AudioFormat, *, behind: Leg | None = None) -> CalledLeg:
        """A leg to `destination`, for one call. A destination that cannot be reached has one too, which refuses.

        Args:
            destination: A number, with or without what people write into it, or a SIP address.
            fmt: Of the frames, as far as the leg is free to choose.
            behind: The leg of the call that calls because it was called; so calls that go round in a circle are found.
        """
        if self._is_barred(destination):
            return self._refusal(
                fmt, 2030, "calls to this destination region are barred by the carrier's configuration"
            )
        make = self._connected.get(plain_destination(destination))
        if make is not None:
            return make(fmt)
        callee = self._callees.find(destination)
        if callee is not None:
            does, rings_for = callee.react(self._luck.next(plain_destination(destination)))
            return self._callee(fmt, does, rings_for)
        kind = destination_kind(destination)
        if kind == "endpoint":
            return self._refusal(fmt, 2020, f"no endpoint is registered as {destination}")
        if kind == "invalid":
            return self._refusal(fmt, 2000, f"{destination[:80]!r} is neither a telephone number nor a SIP address")
        return self._loop(fmt, behind)

    def _loop(self, fmt: AudioFormat, behind: Leg | None) -> CalledLeg:
        hops = behind.hops + 1 if isinstance(behind, LoopbackCaller | LoopbackCallee) else 1
        if hops > MOST_HOPS:
            return self._refusal(
                fmt, 2060, f"{MOST_HOPS} calls to the carrier's own numbers were made one for the other"
            )
        return LoopbackCallee(fmt, self._take, hops=hops)

    def _take(self, leg: LoopbackCaller, summons: Summons) -> None:
        self._tasks.spawn(self._find(leg, summons), f"call to {summons.to}")

    async def _find(self, leg: LoopbackCaller, summons: Summons) -> None:
        """Start the call that comes in, if one of the carrier's own numbers was called."""
        try:
            found = await self._own_number(summons.to)
        except PeerError as error:
            leg.refuse(HangupCause.of(5010, "Error"), str(error))
            return
        if leg.is_gone:
            return
        if found is None:
            text = f"no trunk leads to {summons.to}, and it is no callee and none of the numbers that are answered here"
            leg.refuse(HangupCause.of(5020, "Plivo"), text)
            return
        application, account = found
        headers = dict(summons.headers)
        try:
            self._inbound(
                leg, from_=summons.from_, to=summons.to, application=application, account=account, sip_headers=headers
            )
        except UsageError as error:
            leg.refuse(HangupCause.of(2010, "Plivo"), str(error))

    def _refusal(self, fmt: AudioFormat, code: int, detail: str) -> CalledLeg:
        return self._callee(fmt, Refuses(HangupCause.of(code, "Plivo"), detail, Span(0.0, 0.0)), 0.0)

    def _callee(self, fmt: AudioFormat, does: Behaviour, rings_for: float) -> CalledLeg:
        return scripted_callee(fmt, does, rings_for=rings_for, shelf=self._shelf, tasks=self._tasks)

    def _is_barred(self, destination: str) -> bool:
        return bool(self._barred) and not is_endpoint(destination) and bare_number(destination).startswith(self._barred)
