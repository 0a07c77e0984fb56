"""`<Conference>`: talk with all others that are in the room of this name (plivo-protocol.md, 6.7 and 7.3).

A call that cannot come in, because the room is full, goes on behind the verb as one that has left does: its `action`
hears of no member and of no conference. A call whose member was put out, by REST, by the end of the conference or by
its time limit, goes on too. With `relayDTMF` a key that the member's leg tells of is pressed towards the other legs;
the tones of one that was heard are in the mix anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bothway.core.conference import (
    ConferenceBegun,
    ConferenceJoined,
    ConferenceRecording,
    ConferenceRefused,
    FloorTaken,
    JoinConference,
    LeaveConference,
    PutOut,
    RelayDigit,
)
from bothway.core.execution import CallBack, DigitPressed, Execution, VerbEvent, Wait
from bothway.core.key_patterns import KeyPatterns
from bothway.core.listening import Listen, PressKeys, StopListening
from bothway.core.side_document import SideSounds
from bothway.errors import UsageError
from bothway.wire.digits import DIGIT_GAP_MS, read_digits
from bothway.wire.verbs import Conference

__all__ = ["CALLBACK_EVENTS", "SOUNDS_EVENT", "ConferenceMachine", "execute"]

_STAR = "*"

CALLBACK_EVENTS = {
    "enter": "ConferenceEnter",
    "exit": "ConferenceExit",
    "digits": "ConferenceDigitsMatch",
    "floor": "ConferenceFloor",
    "record": "ConferenceRecord",
}
"""`Event` of the callbacks, by `ConferenceAction` (plivo-protocol.md, 6.7). The first two are those of the hosted
carrier, the others are formed like them."""

SOUNDS_EVENT = "ConferenceRemoteSounds"
"""`Event` where a sound's document is asked for."""


class ConferenceMachine:
    """It is a `VerbMachine`.

    Args:
        verb: What is to be done.
        call: The member's.
    """

    def __init__(self, verb: Conference, call: Execution) -> None:
        self._verb = verb
        self._call = call
        self._joined: ConferenceJoined | None = None
        self._done = False
        self._waiting: SideSounds | None = None
        self._patterns = KeyPatterns(verb.digits_match)
        self._listens = bool(self._patterns) or verb.hangup_on_star
        self._recording: ConferenceRecording | None = None
        self._on: dict[type[VerbEvent], Callable[[Any, float], None]] = {
            ConferenceJoined: self._on_joined,
            ConferenceRefused: self._on_refused,
            ConferenceBegun: self._on_begun,
            ConferenceRecording: self._on_recording,
            PutOut: self._on_put_out,
            FloorTaken: self._on_floor,
            DigitPressed: self._on_digit,
        }

    def start(self) -> None:
        """Pick up, and go in."""
        self._call.answer()
        self._call.send(JoinConference(self._verb))

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened to the member, or in the conference."""
        if self._done:
            return
        if self._waiting is not None and self._waiting.receive(event, now):
            self._waiting = None
            return
        what = self._on.get(type(event))
        if what is not None:
            what(event, now)

    def stop(self, now: float) -> None:
        """The member is gone, or goes elsewhere."""
        if not self._done:
            self._come_out()

    # What happens.

    def _on_joined(self, event: ConferenceJoined, now: float) -> None:
        self._joined = event
        verb, call = self._verb, self._call
        self._tell("enter", {"ConferenceFirstMember": _flag(event.first)})
        if self._listens:
            call.send(Listen(keys=True))
        if verb.send_digits:
            self._press(verb.send_digits)
        if not event.room.begun and verb.wait_sound:
            self._waiting = SideSounds(call, verb.wait_sound, SOUNDS_EVENT, looped=True)
            self._waiting.begin()

    def _on_refused(self, event: ConferenceRefused, now: float) -> None:
        self._call.remark(f"the call does not come into the conference: {event.reason}")
        self._done = True
        self._follow()

    def _on_begun(self, event: ConferenceBegun, now: float) -> None:
        self._hush()

    def _on_recording(self, event: ConferenceRecording, now: float) -> None:
        self._recording = event

    def _on_put_out(self, event: PutOut, now: float) -> None:
        self._gone(last=event.last)
        self._follow()

    def _on_floor(self, event: FloorTaken, now: float) -> None:
        if self._verb.floor_event:
            self._tell("floor")

    def _on_digit(self, event: DigitPressed, now: float) -> None:
        verb = self._verb
        if self._joined is None:
            return
        if verb.hangup_on_star and event.digit == _STAR:
            self._come_out()
            self._follow()
            return
        if verb.relay_dtmf and not event.in_band:
            self._call.send(RelayDigit(event.digit))
        match = self._patterns.press(event.digit)
        if match is not None:
            self._tell("digits", {"ConferenceDigitsMatch": match})

    # What follows from it.

    def _come_out(self) -> None:
        """Leave by one's own doing."""
        self._call.send(LeaveConference())
        joined = self._joined
        self._gone(last=joined is not None and set(joined.room.members) <= {joined.member.member_id})

    def _gone(self, *, last: bool) -> None:
        self._done = True
        self._hush()
        if self._joined is None:
            return
        if self._listens:
            self._call.send(StopListening())
        self._tell("exit", {"ConferenceLastMember": _flag(last)})

    def _follow(self) -> None:
        verb = self._verb
        self._call.follow("Conference", verb.action, verb.method, redirect=verb.redirect, params=self._params())

    def _hush(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def _press(self, written: str) -> None:
        try:
            plan = read_digits(written)
        except UsageError as error:
            self._call.remark(f"the sendDigits of <Conference> are not pressed: {error}")
            return
        if plan.presses:
            self._call.send(PressKeys(plan, plan.presses[-1][0] + plan.tone_ms + DIGIT_GAP_MS))

    def _params(self) -> dict[str, str]:
        joined = self._joined
        params = {
            "ConferenceName": self._verb.room,
            "ConferenceUUID": joined.uuid if joined is not None else "",
            "ConferenceMemberID": joined.member.member_id if joined is not None else "",
        }
        if self._recording is not None:
            params |= {"RecordUrl": self._recording.url, "RecordingID": self._recording.recording_id}
        return params

    def _tell(self, action: str, more: dict[str, str] | None = None) -> None:
        """Report to the `callbackUrl`."""
        verb = self._verb
        if verb.callback_url:
            params = {"ConferenceAction": action, **self._params(), **(more or {})}
            self._call.send(
                CallBack("conference", verb.callback_url, verb.callback_method, CALLBACK_EVENTS[action], params)
            )


def execute(verb: Conference, call: Execution, now: float) -> Wait:
    """Go into the conference, and wait until it is over for this call."""
    machine = ConferenceMachine(verb, call)
    waits_for = call.begin(machine)
    machine.start()
    return waits_for


def _flag(on: bool) -> str:
    return "true" if on else "false"
