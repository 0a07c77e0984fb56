"""`<Dial>`: ring others, and join the first that answers to the caller (plivo-protocol.md, 6.4 and 7.3).

What the caller hears while it rings is `dialMusic`: a document that is played over and over; with `real` what the
called network plays, if it plays anything; and the ringing tone where there is neither, from the moment that it rings
somewhere. A caller whose call is not answered yet hears it as early media, and is answered when it is joined.

Who answers first is joined; with `confirmSound`, who first confirms. All others are ended by then (9000). While two are
joined, keys that the one's leg tells of are passed on to the other, who hears tones anyway. The streams of the caller's
call are told of the caller's own keys alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from bothway.core.dialling import (
    CallLeg,
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
    read_sip_headers,
)
from bothway.core.execution import (
    CallBack,
    DigitPressed,
    Execution,
    TimerFired,
    VerbEvent,
    Wait,
    cause,
)
from bothway.core.key_patterns import KeyPatterns
from bothway.core.listening import Listen, StopListening
from bothway.core.ringing import RingingSounds
from bothway.errors import UsageError
from bothway.wire.billing import billed_seconds, started_seconds
from bothway.wire.digits import NO_DIGITS, DigitPlan, read_digits
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Dial, Number, User
from bothway.wire.webhooks import CallFacts, unanswered_status

__all__ = ["CONFIRM_SECONDS", "MOST_RUNG", "RING_SECONDS", "DialMachine", "execute"]

RING_SECONDS = 120
"""How long it rings where the document does not say (plivo-protocol.md, D32)."""

CONFIRM_SECONDS = 120
"""How long a called party may take to confirm where the document does not say: the hosted carrier's own default."""

MOST_RUNG = 20
"""Parties that one dial rings at a time: our own bound."""

_LIMIT = "time limit of the dial"
_STAR = "*"
_EVENTS = {"answer": "DialAnswer", "connected": "DialConnected", "hangup": "DialHangup", "digits": "DialDigitsMatch"}
"""`Event` of the callbacks, by `DialAction` (plivo-protocol.md, 6.4)."""
_HANGUP_WORDS = {4240: "sip_auth_failed", 4250: "sip_auth_timeout"}
"""`DialHangupCause`, where it is not the switch's word (plivo-protocol.md, 6.4)."""
_STATUSES = {4000: "failed", 4250: "timeout", 9110: "no-answer"}
"""`DialStatus`, where it is not what a call of its own that ended like this would have."""


class _State(Enum):
    CALLED = auto()
    CONFIRMING = auto()  # it has answered, and is asked whether it takes the call
    JOINED = auto()
    GONE = auto()


@dataclass(slots=True, eq=False)
class _Leg:
    """A called party."""

    number: int
    party: Number | User
    state: _State = _State.CALLED
    facts: CallFacts | None = None
    rang: bool = False
    answered_at: float | None = None
    cause: HangupCause | None = None  # why it is gone

    @property
    def alive(self) -> bool:
        return self.state is not _State.GONE


class DialMachine:
    """It is a `VerbMachine`.

    Args:
        verb: What is to be done.
        call: The caller's.
    """

    def __init__(self, verb: Dial, call: Execution) -> None:
        self._verb = verb
        self._call = call
        self._legs = {number: _Leg(number, party) for number, party in enumerate(verb.children[:MOST_RUNG], 1)}
        self._joined: _Leg | None = None
        self._last: _Leg | None = None  # the last that was lost
        self._cancelled = False
        self._done = False
        self._sounds = RingingSounds(call, verb.dial_music)
        self._listens = bool(verb.digits_match) or verb.hangup_on_star  # to tones too: else nobody needs the caller's
        self._caller_keys = KeyPatterns(verb.digits_match)
        self._called_keys = KeyPatterns(verb.digits_match_b_leg)
        self._on: dict[type[VerbEvent], Callable[[Any, float], None]] = {
            LegPlaced: self._on_placed,
            LegRang: self._on_rang,
            LegEarlyMedia: self._on_early_media,
            LegAnswered: self._on_answered,
            LegConfirmed: self._on_confirmed,
            LegDigit: self._on_leg_digit,
            LegEnded: self._on_ended,
            LegTransferred: self._on_transferred,
            DigitPressed: self._on_digit,
            TimerFired: self._on_timer,
        }

    def start(self, now: float) -> None:
        """Ring them all."""
        verb, call = self._verb, self._call
        call.early_media()
        if len(verb.children) > MOST_RUNG:
            call.remark(f"<Dial> rings the first {MOST_RUNG} of its {len(verb.children)} parties, and no more")
        if verb.confirm_sound is None and verb.confirm_key is not None:
            call.remark("<Dial> has a confirmKey and no confirmSound: without the sound nothing is asked")
        for leg in self._legs.values():
            party = leg.party
            call.send(
                CallLeg(
                    leg=leg.number,
                    to=party,
                    from_=verb.caller_id or "",
                    caller_name=verb.caller_name or "",
                    headers=read_sip_headers(verb.sip_headers, party.sip_headers),
                    digits=_digits(party.send_digits, call),
                    ring_seconds=verb.timeout or RING_SECONDS,
                )
            )
        if self._listens:
            call.send(Listen(keys=True))
        self._sounds.begin()

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened to the caller, or to one of those that are rung."""
        if self._done or self._sounds.receive(event, now):
            return
        what = self._on.get(type(event))
        if what is not None:
            what(event, now)

    def stop(self, now: float) -> None:
        """The caller is gone, or goes elsewhere: so are those that are rung, and the one that is joined."""
        if self._done:
            return
        self._done = True
        if self._listens:
            self._call.send(StopListening())
        for leg in self._alive():
            self._drop(leg, self._parting(leg), now)

    # What happens.

    def _on_placed(self, event: LegPlaced, now: float) -> None:
        self._legs[event.leg].facts = event.facts

    def _on_rang(self, event: LegRang, now: float) -> None:
        leg = self._legs[event.leg]
        if leg.state is _State.CALLED:
            leg.rang = True
            self._note_ringing()

    def _on_early_media(self, event: LegEarlyMedia, now: float) -> None:
        leg = self._legs[event.leg]
        if leg.state is not _State.CALLED:
            return
        heard = self._sounds.takes(leg.number)
        if heard or leg.party.send_on_preanswer:
            self._call.send(EarlyLeg(leg.number, heard))

    def _on_answered(self, event: LegAnswered, now: float) -> None:
        leg = self._legs[event.leg]
        if leg.state is not _State.CALLED:
            return
        leg.answered_at, leg.rang = now, True
        self._tell(leg, "answer")
        verb = self._verb
        if verb.confirm_sound is None:
            self._join(leg, now)
            return
        leg.state = _State.CONFIRMING
        if self._sounds.lost(leg.number):  # what it says now is not for the caller
            self._call.send(EarlyLeg(leg.number, heard=False))
        self._note_ringing()
        seconds = verb.confirm_timeout or CONFIRM_SECONDS
        self._call.send(ConfirmLeg(leg.number, verb.confirm_sound, verb.confirm_key, seconds))

    def _on_confirmed(self, event: LegConfirmed, now: float) -> None:
        leg = self._legs[event.leg]
        if leg.state is not _State.CONFIRMING:
            return
        if event.confirmed:
            self._join(leg, now)
        else:
            self._drop(leg, cause(9110, "Plivo"), now, "the called party did not confirm that it takes the call")
            self._lost(leg, now)

    def _on_leg_digit(self, event: LegDigit, now: float) -> None:
        leg = self._joined
        if leg is None or event.leg != leg.number:
            return
        if not event.in_band:
            self._call.send(PassDigit(None, event.digit))
        match = self._called_keys.press(event.digit)
        if match is not None:
            self._tell(leg, "digits", {"DialDigitsMatch": match, "DialDigitsPressedBy": "BLeg"})

    def _on_ended(self, event: LegEnded, now: float) -> None:
        leg = self._legs[event.leg]
        if leg.alive:
            self._gone(leg, event.cause, now)
            self._lost(leg, now)

    def _on_transferred(self, event: LegTransferred, now: float) -> None:
        leg = self._joined
        if leg is None or event.leg != leg.number:  # what is told a moment later may find another dial
            return
        leg.state, leg.cause = _State.GONE, cause(4000, "API Request")
        self._call.set_timer(_LIMIT, None)
        if event.goes_on:
            self._finish()

    def _on_digit(self, event: DigitPressed, now: float) -> None:
        if self._verb.hangup_on_star and event.digit == _STAR:
            self._give_up(now)
            return
        leg = self._joined
        if leg is None or not leg.alive:
            return
        if not event.in_band:
            self._call.send(PassDigit(leg.number, event.digit))
        match = self._caller_keys.press(event.digit)
        if match is not None:
            self._tell(leg, "digits", {"DialDigitsMatch": match, "DialDigitsPressedBy": "ALeg"})

    def _on_timer(self, event: TimerFired, now: float) -> None:
        leg = self._joined
        if event.name == _LIMIT and leg is not None and leg.alive:
            self._drop(leg, cause(6000, "Plivo"), now, "the time limit of <Dial> was reached")
            self._finish()

    # What follows from it.

    def _alive(self) -> list[_Leg]:
        return [leg for leg in self._legs.values() if leg.alive]

    def _note_ringing(self) -> None:
        self._sounds.note(rings=any(leg.rang for leg in self._alive()))

    def _join(self, leg: _Leg, now: float) -> None:
        self._sounds.stop()
        for other in self._alive():
            if other is not leg:
                self._drop(other, cause(9000, "Plivo"), now, "another party was faster")
        leg.state = _State.JOINED
        self._joined = leg
        self._call.answer()
        self._call.send(JoinLeg(leg.number, listens=bool(self._called_keys)))
        self._call.set_timer(_LIMIT, now + self._verb.time_limit)
        self._tell(leg, "connected")

    def _drop(self, leg: _Leg, why: HangupCause, now: float, detail: str = "") -> None:
        self._call.send(DropLeg(leg.number, why, detail))
        self._gone(leg, why, now)

    def _gone(self, leg: _Leg, why: HangupCause, now: float) -> None:
        leg.state, leg.cause = _State.GONE, why
        self._last = leg
        self._sounds.lost(leg.number)
        seconds = now - leg.answered_at if leg.answered_at is not None else 0.0
        ended = {
            "DialBLegDuration": str(started_seconds(seconds)),
            "DialBLegBillDuration": str(billed_seconds(seconds)),
            "DialBLegHangupCauseName": why.name,
            "DialBLegHangupCauseCode": str(why.code),
            "DialBLegHangupSource": why.source,
        }
        self._tell(leg, "hangup", ended)

    def _lost(self, leg: _Leg, now: float) -> None:
        """A leg is gone, by its own doing: if it was the joined one, or the last, there is no more to wait for."""
        if leg is self._joined or not self._alive():
            self._finish()
        else:
            self._note_ringing()

    def _give_up(self, now: float) -> None:
        """The caller wants no more of it, and stays."""
        self._cancelled = True
        for leg in self._alive():
            self._drop(leg, cause(1000 if leg.answered_at is None else 4000, "Caller"), now)
        self._finish()

    def _parting(self, leg: _Leg) -> HangupCause:
        """Why a leg ends with the caller's."""
        ended = self._call.end_cause
        if ended is None:
            return cause(1000 if leg.answered_at is None else 4000, "API Request")
        source = "Caller" if ended.source in ("Caller", "Callee") else ended.source
        if leg.answered_at is None:
            return cause(1000, source)
        return cause(4000 if ended.code == 1000 else ended.code, source)

    def _finish(self) -> None:
        self._done = True
        self._sounds.stop()
        if self._listens:
            self._call.send(StopListening())
        leg = self._joined or self._last
        assert leg is not None, "a dial ends with one of its legs"
        assert leg.cause is not None, "that leg is gone"
        placed = leg.facts or next((other.facts for other in self._legs.values() if other.facts), None)
        params = {
            "DialStatus": self._status(leg.cause),
            "DialRingStatus": "true" if any(other.rang for other in self._legs.values()) else "false",
            "DialHangupCause": _HANGUP_WORDS.get(leg.cause.code, leg.cause.cause),
            "DialALegUUID": placed.parent_call_uuid if placed is not None else "",
            "DialBLegUUID": leg.facts.call_uuid if leg is self._joined and leg.facts is not None else "",
        }
        verb = self._verb
        self._call.follow("Dial", verb.action, verb.method, redirect=verb.redirect, params=params)

    def _status(self, why: HangupCause) -> str:
        if self._joined is not None:
            return "completed"
        return "cancel" if self._cancelled else _STATUSES.get(why.code) or unanswered_status(why)

    def _tell(self, leg: _Leg, action: str, more: dict[str, str] | None = None) -> None:
        """Report to the `callbackUrl`."""
        url = self._verb.callback_url
        if not url:
            return
        facts = leg.facts
        params = {
            "DialAction": action,
            "DialBLegStatus": "connected" if action == "digits" else action,
            "DialBLegPosition": str(leg.number),
        }
        if facts is not None:
            params |= {
                "DialALegUUID": facts.parent_call_uuid,
                "DialBLegUUID": facts.call_uuid,
                "DialBLegFrom": facts.from_,
                "DialBLegTo": facts.to,
                "DialBLegBillRate": f"{facts.bill_rate:f}",
            }
        self._call.send(CallBack("dial", url, self._verb.callback_method, _EVENTS[action], params | (more or {})))


def _digits(written: str | None, call: Execution) -> DigitPlan:
    try:
        return read_digits(written) if written else NO_DIGITS
    except UsageError as error:
        call.remark(f"the sendDigits of <Dial> are not pressed: {error}")
        return NO_DIGITS


def execute(verb: Dial, call: Execution, now: float) -> Wait:
    """Ring, and wait until somebody was talked to, or nobody answers."""
    machine = DialMachine(verb, call)
    waits_for = call.begin(machine)
    machine.start(now)
    return waits_for
