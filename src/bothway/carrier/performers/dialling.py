"""The called legs of a call: placed, asked to confirm, joined to it, and ended.

Each called leg is a call of its own, with its own id, audio and records, whose parent is the call that dials. It has no
document while the dial lasts. Two that are joined sit in a room of two; each call's own streams and taps go on beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bothway.carrier.call_order import CallOrder, Party
from bothway.carrier.leg import SipAuth, Summons
from bothway.carrier.performer import CallShell, PlacedCall
from bothway.core.confirming import confirm
from bothway.core.course import CallPlan
from bothway.core.dialling import (
    CallLeg,
    ConfirmEnded,
    ConfirmLeg,
    DropLeg,
    EarlyLeg,
    JoinLeg,
    LegAnswered,
    LegConfirmed,
    LegDigit,
    LegEarlyMedia,
    LegEnded,
    LegPlaced,
    LegRang,
    LegTransferred,
    PassDigit,
)
from bothway.core.execution import Execution, VerbCommand, VerbEvent, Wait, cause
from bothway.core.listening import Listen, StopListening
from bothway.core.media import Media, MediaEvent
from bothway.core.room import Room, Seat
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Number

__all__ = ["Dialling"]

_BOTH = 2


class Dialling:
    """The `Performer` of `<Dial>`. On the call of a called leg it tells the dialling one whether that confirms.

    Args:
        call: Whose verbs they are.

    Attributes:
        commands: What does each of the verb's commands.
    """

    def __init__(self, call: CallShell) -> None:
        self.commands: Mapping[type[VerbCommand], Callable[[Any], None]] = {
            CallLeg: self._place,
            EarlyLeg: self._take_early_media,
            ConfirmLeg: self._ask,
            ConfirmEnded: self._asked,
            JoinLeg: self._join,
            DropLeg: self._drop,
            PassDigit: self._pass_digit,
        }
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._legs: dict[int, _CalledParty] = {}
        self._bridge: _Bridge | None = None

    def media_event(self, event: MediaEvent) -> None:
        """The room does without."""

    def ended(self) -> None:
        """The call is over. Its machine has ended every leg by now."""

    async def close(self) -> None:
        """The legs are calls of their own, and finish by themselves."""

    # What the machine asks.

    def _place(self, command: CallLeg) -> None:
        call, wanted = self._call, command.to
        destination = wanted.number if isinstance(wanted, Number) else wanted.uri
        from_ = (command.from_ or call.facts.from_).lstrip("+")
        auth = None
        if not isinstance(wanted, Number) and wanted.sip_auth_username and wanted.sip_auth_password:
            auth = SipAuth(wanted.sip_auth_username, wanted.sip_auth_password)
        summons = Summons(
            from_=from_,
            to=destination,
            caller_name=command.caller_name,
            headers=command.headers,
            sip_auth=auth,
            digits=command.digits,
            digits_on_early_media=wanted.send_on_preanswer,
        )
        party = Party(
            from_,
            destination,
            direction="outbound",
            sip_headers=command.headers,
            caller_name=command.caller_name,
            parent_call_uuid=call.call_id,
        )
        # The dial has the limit of the joined call; its leg has none but the longest of all.
        plan = CallPlan(
            None,
            outbound=True,
            ring_timeout=command.ring_seconds,
            time_limit=call.node.profile.limits.call_seconds,
        )
        party_called = self._legs[command.leg] = _CalledParty(self, command.leg)
        try:
            leg = call.owner.lines.leg_to(destination, call.leg.format, behind=call.leg)
            party_called.call = call.owner.dial(
                leg, summons, party, CallOrder(plan), call.account, watcher=party_called
            )
        except UsageError as error:
            call.report.remark(f"<Dial> cannot call {destination}: {error}")
            party_called.leg_ended(cause(5010, "Error"), str(error))
        else:
            call.tell(LegPlaced(command.leg, party_called.call.facts))

    def _take_early_media(self, command: EarlyLeg) -> None:
        leg = self._leg(command.leg)
        if leg is None:
            return
        leg.core.host(_let_hear, self._loop.time())
        leg.after_input()
        if command.heard:
            self._bridge_to(leg, one_way=True)
        elif self._bridge is not None and self._bridge.leg is leg:
            self._part()

    def _ask(self, command: ConfirmLeg) -> None:
        leg = self._leg(command.leg)
        if leg is not None:
            leg.core.host(confirm(command), self._loop.time())
            leg.after_input()

    def _asked(self, command: ConfirmEnded) -> None:
        if self._call.watcher is not None:
            self._call.watcher.leg_confirmed(confirmed=command.confirmed)

    def _join(self, command: JoinLeg) -> None:
        leg = self._leg(command.leg)
        if leg is not None:
            self._bridge_to(leg, one_way=False)
            if command.listens:
                leg.core.host(_listen, self._loop.time())
                leg.after_input()
            self._call.far_leg = leg
            self._call.report.record("joined", call_id=leg.call_id)
            self._call.dial_connected()

    def _drop(self, command: DropLeg) -> None:
        leg = self._let_go(command.leg)
        if leg is not None:
            leg.hangup(command.cause, command.detail)

    def _pass_digit(self, command: PassDigit) -> None:
        to = self._call if command.leg is None else self._leg(command.leg)
        if to is not None:
            to.leg.send_digits(command.digit)

    # What the legs tell, by way of their watchers.

    def gone(self, number: int, end_cause: HangupCause) -> None:
        """A leg has ended by itself."""
        self._let_go(number)
        self._call.tell(LegEnded(number, end_cause))

    def transferred(self, number: int) -> None:
        """REST has given a leg a document of its own."""
        was_joined = self._call.far_leg is not None
        self._let_go(number)
        if not was_joined:
            self._call.tell(LegEnded(number, cause(4000, "API Request")))
            return
        self._call.tell(LegTransferred(number, goes_on=False))
        self._loop.call_soon(self._call.tell, LegTransferred(number, goes_on=True))

    def tell(self, event: LegRang | LegEarlyMedia | LegAnswered | LegConfirmed | LegDigit) -> None:
        """Something happened on a leg."""
        self._call.tell(event)

    def _leg(self, number: int) -> PlacedCall | None:
        found = self._legs.get(number)
        return found.call if found is not None else None

    def _let_go(self, number: int) -> PlacedCall | None:
        found = self._legs.pop(number, None)
        leg = found.call if found is not None else None
        if found is not None:
            found.watched = False
        if leg is not None and self._bridge is not None and self._bridge.leg is leg:
            self._part()
        return leg

    def _bridge_to(self, leg: PlacedCall, *, one_way: bool) -> None:
        """Let the caller and a leg hear each other; `one_way` lets the caller hear alone."""
        if self._bridge is None:
            assert self._call.media is not None, "the machine lets the caller hear before it lets it hear a leg"
            assert leg.media is not None, "a leg that has answered, or lets hear something before, has audio"
            self._bridge = _Bridge(self._call.media, leg, leg.media)
        self._bridge.from_caller.muted = one_way

    def _part(self) -> None:
        self._call.far_leg = None
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None


def _let_hear(call: Execution, now: float) -> Wait:
    """Of a leg that rings: take its early media."""
    call.early_media()
    return Wait.NOTHING


def _listen(call: Execution, now: float) -> Wait:
    """Of a leg that is joined: let its keys count that are tones."""
    call.send(Listen(keys=True))
    return call.begin(_Joined(call))


class _Joined:
    """The machine of a joined leg whose keys are listened for: until it ends, or is transferred."""

    def __init__(self, call: Execution) -> None:
        self._call = call

    def receive(self, event: VerbEvent, now: float) -> None:
        """The dialling call is told by the leg itself."""

    def stop(self, now: float) -> None:
        """It goes its own way."""
        self._call.send(StopListening())


class _Bridge:
    """A caller and a called leg in a room of two.

    Attributes:
        leg: The called one.
        from_caller: The caller's seat.
    """

    def __init__(self, caller: Media, leg: PlacedCall, called: Media) -> None:
        self.leg = leg
        room = Room(caller.clock.start, capacity=_BOTH)
        self.from_caller = room.join(caller.leg_format)
        self._seated: list[tuple[Media, Seat]] = [(caller, self.from_caller), (called, room.join(called.leg_format))]
        for media, seat in self._seated:
            media.sit(seat)

    def close(self) -> None:
        """They do not hear each other any more."""
        for media, seat in self._seated:
            media.stand()
            seat.leave()


class _CalledParty:
    """One called leg, as the dial sees it: it is the `CallWatcher` of the leg's call.

    Args:
        dialling: Is told.
        number: Of the leg.

    Attributes:
        call: The leg's own call, once it is placed.
        watched: Whether it is still the dial's.
    """

    def __init__(self, dialling: Dialling, number: int) -> None:
        self.call: PlacedCall | None = None
        self.watched = True
        self._dialling = dialling
        self._number = number

    def leg_ringing(self) -> None:
        """Its telephone rings."""
        if self.watched:
            self._dialling.tell(LegRang(self._number))

    def leg_early_media(self) -> None:
        """There is something to hear before it picks up."""
        if self.watched:
            self._dialling.tell(LegEarlyMedia(self._number))

    def leg_answered(self) -> None:
        """It has picked up."""
        if self.watched:
            self._dialling.tell(LegAnswered(self._number))

    def leg_confirmed(self, *, confirmed: bool) -> None:
        """It takes the call, or not."""
        if self.watched:
            self._dialling.tell(LegConfirmed(self._number, confirmed))

    def leg_digit(self, digit: str, *, in_band: bool) -> None:
        """It pressed a key."""
        if self.watched:
            self._dialling.tell(LegDigit(self._number, digit, in_band))

    def leg_transferred(self) -> None:
        """It goes its own way."""
        if self.watched:
            self._dialling.transferred(self._number)

    def leg_ended(self, end_cause: HangupCause, detail: str) -> None:
        """It is gone."""
        if self.watched:
            self._dialling.gone(self._number, end_cause)
