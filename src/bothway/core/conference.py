"""The keeping of one conference: who is in it, whether it has begun, who is put out of it, and what all of them hear.

It is shared by the calls that are in it. Each call's own part is a machine of its own (core/verbs/conference.py), and
the shell passes between the two. The rules, where sources leave them open (plivo-protocol.md, 7.3):

- Who makes a conference says how many may come in (`maxMembers`) and how long it may last (`timeLimit`); those who
  come later change neither.
- It begins with the first member that has `startConferenceOnEnter`, and has begun for good then. Who comes before is
  neither heard nor hears anybody, and there are no sounds yet.
- With one member that has `stayAlone="false"` the conference ends when so many have left that one is alone. Who comes
  first waits for others.
- It is recorded from the first member on that has `record`; and while only one is in it, or it has not begun, only if
  that member has `recordWhenAlone`.
- The floor is the member's who speaks; it keeps it until another speaks and it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from bothway.audio.format import AudioFormat
from bothway.core.execution import VerbCommand, VerbEvent
from bothway.core.room import FloorPassed, Room, Seat
from bothway.errors import UsageError
from bothway.wire.verbs import Conference

__all__ = [
    "CloseConference",
    "ConferenceBegun",
    "ConferenceCommand",
    "ConferenceEvent",
    "ConferenceJoined",
    "ConferenceRecording",
    "ConferenceRefused",
    "ConferenceRoom",
    "FloorTaken",
    "JoinConference",
    "LeaveConference",
    "Member",
    "Parting",
    "PlayToAll",
    "PutOut",
    "RelayDigit",
    "TakeDown",
]

_COMPANY = 2


class Parting(Enum):
    """Why a member is put out, in a word for the call's log."""

    KICKED = "kicked"
    ENDED = "the conference was ended by a member's exit"
    ALONE = "nobody else was left"
    TIME_LIMIT = "the time limit was reached"


# --- between the machine of a call's verb and the shell -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinConference(VerbCommand):
    """Go into the conference that `verb` names; `ConferenceJoined` or `ConferenceRefused` follows."""

    verb: Conference


@dataclass(frozen=True, slots=True)
class LeaveConference(VerbCommand):
    """Come out of it; nothing follows."""


@dataclass(frozen=True, slots=True)
class RelayDigit(VerbCommand):
    """Press a key towards all other members."""

    digit: str


@dataclass(frozen=True, slots=True)
class ConferenceJoined(VerbEvent):
    """This call is in the conference.

    Attributes:
        uuid: Of the conference.
        room: The conference, to be looked at.
        member: This call's place in it.
        first: Whether it was empty.
    """

    uuid: str
    room: ConferenceRoom
    member: Member
    first: bool


@dataclass(frozen=True, slots=True)
class ConferenceRefused(VerbEvent):
    """This call cannot come in, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConferenceRecording(VerbEvent):
    """The conference is being recorded; the recording will be at `url`."""

    recording_id: str
    url: str


# --- what the keeping asks and tells --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutOut(VerbEvent):
    """A member is out of the conference by no doing of its own; its call is told so.

    Attributes:
        member_id: Its number.
        why: For the log.
        last: Whether nobody is left.
    """

    member_id: str
    why: Parting
    last: bool


@dataclass(frozen=True, slots=True)
class PlayToAll:
    """Let all hear that a member came or went.

    Attributes:
        member_id: Whose sound it is.
        sound: `beep:1`, `beep:2`, or the URL of a side document.
        exits: Whether the member goes.
    """

    member_id: str
    sound: str
    exits: bool


@dataclass(frozen=True, slots=True)
class TakeDown:
    """Record what all say, for the member that asked for it first; or do not, for a while, with `on` false."""

    member_id: str
    on: bool


@dataclass(frozen=True, slots=True)
class CloseConference:
    """Nobody is left: it is over."""


@dataclass(frozen=True, slots=True)
class ConferenceBegun(VerbEvent):
    """From here on the members hear each other; the calls of all are told so."""


@dataclass(frozen=True, slots=True)
class FloorTaken(VerbEvent):
    """Another member speaks; its call is told so."""

    member_id: str


ConferenceCommand: TypeAlias = PutOut | PlayToAll | TakeDown | CloseConference
ConferenceEvent: TypeAlias = ConferenceBegun | FloorTaken


class Member:
    """One who is in a conference.

    Attributes:
        member_id: A number, as text, that no other member of this conference has or had.
        verb: How it came in.
        seat: Its place in the room.
        joined_at: When it came in, in seconds of the calls' clock.
        muted: Whether the others are not to hear it.
        deaf: Whether it is not to hear the others.
    """

    __slots__ = ("deaf", "joined_at", "member_id", "muted", "seat", "verb")

    def __init__(self, member_id: str, verb: Conference, seat: Seat, joined_at: float) -> None:
        self.member_id = member_id
        self.verb = verb
        self.seat = seat
        self.joined_at = joined_at
        self.muted = verb.muted
        self.deaf = False


class ConferenceRoom:
    """The machine of one conference.

    Args:
        verb: Of the member that makes it, which has still to `enter`.
        start: A moment of the calls' clock from which the room counts.
        now: The time.

    Attributes:
        room: Where its members hear each other.
        begun: Whether they do already.
        over: Whether everybody has left, or was put out. Then another conference may have its name.
        follows_floor: Whether somebody wants to know who has the floor, so that `poll` has something to find.
        recorder: Who asked first that it be recorded, if somebody did; it may have left.
    """

    def __init__(self, verb: Conference, *, start: float, now: float) -> None:
        self.room = Room(start, capacity=verb.max_members)
        self.begun = False
        self.over = False
        self.follows_floor = False
        self.recorder: Member | None = None
        self._deadline: float | None = now + verb.time_limit
        self._members: dict[str, Member] = {}
        self._numbers = 0
        self._may_be_alone = True
        self._floor: Seat | None = None
        self._taking_down = False
        self._commands: list[ConferenceCommand] = []
        self._events: list[ConferenceEvent] = []

    @property
    def members(self) -> Mapping[str, Member]:
        """Who is in it, in the order in which they came."""
        return MappingProxyType(self._members)

    def enter(self, verb: Conference, audio_format: AudioFormat, now: float) -> Member:
        """A member comes in, whose frames of both directions are in `audio_format`.

        Raises:
            UsageError: The conference is full, or over.
        """
        if self.over:
            raise UsageError(f"the conference {verb.room!r} is over")
        if len(self._members) >= self.room.capacity:
            raise UsageError(f"the conference {verb.room!r} is full: it has {self.room.capacity} members")
        self._numbers += 1
        seat = self.room.join(audio_format, muted=True, deaf=True)
        member = self._members[str(self._numbers)] = Member(str(self._numbers), verb, seat, now)
        self._may_be_alone = self._may_be_alone and verb.stay_alone
        if verb.floor_event and not self.follows_floor:
            self.follows_floor = True
            self.room.follow_floor()
        if verb.start_conference_on_enter and not self.begun:
            self.begun = True
            self._events.append(ConferenceBegun())
            for other in self._members.values():
                self._tune(other)
        self._tune(member)
        self._sound(member, verb.enter_sound, exits=False)
        if verb.record and self.recorder is None:
            self.recorder = member
        self._look_at_recording()
        return member

    def leave(self, member_id: str) -> None:
        """A member goes, of its own accord; of one that is not there, nothing."""
        member = self._members.get(member_id)
        if member is not None:
            self._remove(member)
            self._left(member)

    def kick(self, member_id: str) -> None:
        """Put a member out; of one that is not there, nothing."""
        member = self._members.get(member_id)
        if member is not None:
            self._put_out(member, Parting.KICKED)
            self._left(member)

    def mute(self, member_id: str, on: bool) -> None:
        """Let the others not hear a member, or hear it."""
        member = self._members.get(member_id)
        if member is not None:
            member.muted = on
            self._tune(member)

    def deafen(self, member_id: str, on: bool) -> None:
        """Let a member not hear the others, or hear them."""
        member = self._members.get(member_id)
        if member is not None:
            member.deaf = on
            self._tune(member)

    def hears_keys_of(self, member_id: str) -> list[str]:
        """The other members towards whom this one's keys are pressed: as they would hear its voice."""
        speaker = self._members.get(member_id)
        if speaker is None or speaker.seat.muted:
            return []
        return [other.member_id for other in self._members.values() if other is not speaker and not other.seat.deaf]

    def poll(self) -> None:
        """Frames have moved: see who has the floor."""
        for event in self.room.events():
            if not isinstance(event, FloorPassed) or event.seat is None or event.seat is self._floor:
                continue
            holder = next((member for member in self._members.values() if member.seat is event.seat), None)
            if holder is not None:
                self._floor = event.seat
                self._events.append(FloorTaken(holder.member_id))

    def to_send(self) -> list[ConferenceCommand]:
        """Commands for the shell since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def events(self) -> list[ConferenceEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """When `handle_deadline` is due."""
        return self._deadline

    def handle_deadline(self, now: float) -> None:
        """Do what is due at `now`."""
        if self._deadline is not None and now >= self._deadline:
            self._end(Parting.TIME_LIMIT)

    def _tune(self, member: Member) -> None:
        member.seat.muted = member.muted or not self.begun
        member.seat.deaf = member.deaf or not self.begun

    def _sound(self, member: Member, sound: str | None, *, exits: bool) -> None:
        if sound and self.begun:
            self._commands.append(PlayToAll(member.member_id, sound, exits))

    def _remove(self, member: Member) -> None:
        del self._members[member.member_id]
        member.seat.leave()

    def _put_out(self, member: Member, why: Parting) -> None:
        self._remove(member)
        self._commands.append(PutOut(member.member_id, why, last=not self._members))

    def _left(self, member: Member) -> None:
        """A member is gone: so may others be."""
        if member.verb.end_conference_on_exit:
            self._end(Parting.ENDED)
        elif len(self._members) == 1 and not self._may_be_alone:
            self._end(Parting.ALONE)
        elif not self._members:
            self._close()
        else:
            self._sound(member, member.verb.exit_sound, exits=True)
            self._look_at_recording()

    def _end(self, why: Parting) -> None:
        for member in list(self._members.values()):
            self._put_out(member, why)
        self._close()

    def _close(self) -> None:
        self.over = True
        self._deadline = None
        self._commands.append(CloseConference())

    def _look_at_recording(self) -> None:
        recorder = self.recorder
        if recorder is None:
            return
        on = recorder.verb.record_when_alone or (self.begun and len(self._members) >= _COMPANY)
        if on != self._taking_down:
            self._taking_down = on
            self._commands.append(TakeDown(recorder.member_id, on))
