"""The live conferences of a node: for the calls that are in them, and for REST (plivo-protocol.md, 5.6 and 6.7)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from bothway.carrier.api.switch import PlayRequest, RecordRequest, RefusedError, SpeakRequest
from bothway.carrier.call_overlay import CallOverlay, OverlayKind
from bothway.carrier.call_report import CallReport
from bothway.carrier.conference_recorder import ConferenceRecorder
from bothway.carrier.config import Account
from bothway.carrier.leg import Leg
from bothway.carrier.node import Node
from bothway.carrier.room_sounds import RoomSounds
from bothway.core.conference import (
    CloseConference,
    ConferenceCommand,
    ConferenceEvent,
    ConferenceJoined,
    ConferenceRoom,
    FloorTaken,
    Member,
    PlayToAll,
    PutOut,
    TakeDown,
)
from bothway.core.execution import VerbEvent, cause
from bothway.core.media import Media
from bothway.core.recording import MAX_SECONDS, RecordOrder
from bothway.core.verbs.conference import CALLBACK_EVENTS, SOUNDS_EVENT
from bothway.errors import UsageError
from bothway.runtime.driver import Driver
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Conference, Play, Speak
from bothway.wire.webhooks import CallFacts, standard_params

__all__ = ["MOST_CONFERENCES", "ConferenceCall", "Conferences", "LiveConference", "LiveMember"]

MOST_CONFERENCES = 500
"""Conferences of one account at a time: our own bound, half the calls that a node takes by default."""

logger = logging.getLogger(__name__)


class ConferenceCall(Protocol):
    """A call that is in a conference.

    Attributes:
        facts: What every webhook says of it.
        account: Whose it is.
        leg: Its party.
        media: Its audio; None until there is any.
        report: Where what happens on it is told.
        overlay: What REST plays and says over it.
    """

    facts: CallFacts
    account: Account
    leg: Leg
    media: Media | None
    report: CallReport
    overlay: CallOverlay

    def tell(self, event: VerbEvent) -> None:
        """Something happened that the running verb may be waiting for."""

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End it."""


class LiveMember:
    """A call in a conference: it is its `MemberControl`.

    Args:
        conference: Where it is.
        call: The call.
        member: Its place.

    Attributes:
        conference: As given.
        call: As given.
        place: As `member`.
    """

    def __init__(self, conference: LiveConference, call: ConferenceCall, member: Member) -> None:
        self.conference = conference
        self.call = call
        self.place = member

    @property
    def member_id(self) -> str:
        """A number, as text."""
        return self.place.member_id

    @property
    def facts(self) -> CallFacts:
        """Of the member's call."""
        return self.call.facts

    @property
    def muted(self) -> bool:
        """Whether the others do not hear it."""
        return self.place.muted

    @property
    def deaf(self) -> bool:
        """Whether it does not hear the others."""
        return self.place.deaf

    @property
    def joined_at(self) -> datetime:
        """When it came in."""
        return self.call.report.moment(self.place.joined_at)

    def mute(self, on: bool) -> None:
        """Let the others not hear it, or hear it again."""
        self.conference.core.mute(self.member_id, on)
        self.call.report.record("muted" if on else "unmuted")

    def deafen(self, on: bool) -> None:
        """Let it not hear the others, or hear them again."""
        self.conference.core.deafen(self.member_id, on)
        self.call.report.record("deafened" if on else "undeafened")

    def kick(self) -> None:
        """Put it out of the conference."""
        self.conference.core.kick(self.member_id)
        self.conference.after_input()

    def hangup(self) -> None:
        """End its call."""
        self.call.hangup(cause(4000, "API Request"), "REST ended the call of a conference's member")

    def play(self, request: PlayRequest) -> None:
        """Play to this member alone."""
        self._overlay("play", [Play(url) for url in request.urls])

    def stop_playing(self) -> None:
        """Stop what `play` began."""
        self.call.overlay.stop("play")

    def speak(self, request: SpeakRequest) -> None:
        """Say to this member alone."""
        self._overlay("speak", [Speak(request.text, voice=request.voice, language=request.language)])

    def stop_speaking(self) -> None:
        """Stop what `speak` began."""
        self.call.overlay.stop("speak")

    def _overlay(self, kind: OverlayKind, prompts: Sequence[Play | Speak]) -> None:
        self.call.overlay.begin(kind, prompts, replace=False, loop=False, seconds=None)


class LiveConference:
    """A conference that somebody is in: it is its `ConferenceControl`.

    Args:
        node: What all calls share.
        registry: Is told when it is over.
        account: Whose it is.
        verb: Of the member that makes it.
        start: A moment from which its room counts.

    Attributes:
        account: As given.
        name: As the document says it.
        uuid: Of this conference, and of no other of this name.
        core: Who is in it.
    """

    def __init__(self, node: Node, registry: Conferences, account: Account, verb: Conference, start: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._node = node
        self._registry = registry
        self._account = account
        self.uuid = node.ids.uuid()
        self.name = verb.room
        self.core = ConferenceRoom(verb, start=start, now=self._loop.time())
        self._began = datetime.fromtimestamp(time.time(), UTC)
        self._driver: Driver[ConferenceCommand, ConferenceEvent] = Driver(self.core, self._obey, self._pass_on)
        self._members: dict[str, LiveMember] = {}  # by their ids; those too whose call is still to be told to go
        self._sounds = RoomSounds(node, self.core.room)
        self._recorder = ConferenceRecorder(node, account, self.core.room, name=self.name, uuid=self.uuid)
        self._ticked = False
        self._recording_id = ""  # of the recording that a member with `record` began

    @property
    def account(self) -> Account:
        """Whose conference it is."""
        return self._account

    @property
    def started_at(self) -> datetime:
        """When the first member came in."""
        return self._began

    @property
    def members(self) -> Sequence[LiveMember]:
        """Who is in it, in the order in which they came."""
        return [member for member in self._members.values() if member.member_id in self.core.members]

    def join(self, call: ConferenceCall, verb: Conference) -> LiveMember:
        """A call comes in: it is told so, and so are the others if the conference begins by it.

        Raises:
            UsageError: It is full, or over.
        """
        media = call.media
        assert media is not None, "the verb picks up before it goes in"
        first = not self.core.members
        place = self.core.enter(verb, media.leg_format, self._loop.time())
        member = self._members[place.member_id] = LiveMember(self, call, place)
        media.sit(place.seat)
        call.report.books.in_conference(self.uuid)
        call.report.record("conference", name=self.name, uuid=self.uuid, member_id=place.member_id)
        if self.core.follows_floor and not self._ticked:
            self._ticked = True
            self._node.ticker.join(self._tick, self._tick_failed)
        call.tell(ConferenceJoined(self.uuid, self.core, place, first))
        if self._recorder.running is not None:
            call.tell(self._recorder.running)
        self.after_input()
        return member

    def leave(self, member: LiveMember) -> None:
        """A member goes, of its own accord; of one that was put out, nothing."""
        if member.member_id in self.core.members:
            self._stand(member)
            self.core.leave(member.member_id)
            self.after_input()

    def relay(self, member: LiveMember, digit: str) -> None:
        """A member pressed a key, which is pressed towards the others too."""
        for other in self.core.hears_keys_of(member.member_id):
            self._members[other].call.leg.send_digits(digit)

    def after_input(self) -> None:
        """The core was told something: do what it asks for."""
        self._driver.after_input()

    async def finished(self) -> None:
        """Wait until its recordings that have ended are complete."""
        await self._recorder.finished()

    def hangup(self) -> None:
        """End the calls of all members."""
        for member in self.members:
            member.hangup()

    async def start_recording(self, request: RecordRequest) -> str:
        """Record the mix of all; see `ConferenceControl`."""
        if self._recorder.running is not None:
            raise RefusedError(f"the conference {self.name!r} is being recorded already", reason="conflict")
        order = RecordOrder(
            file_format=request.file_format,
            channels="mono",
            seconds=request.time_limit,
            callback_url=request.callback_url,
            callback_method=request.callback_method,
            transcription_url=request.transcription_url if request.transcription is not None else None,
            transcription_method=request.transcription_method,
        )
        params = {
            "Event": CALLBACK_EVENTS["record"],
            "ConferenceAction": "record",
            "ConferenceName": self.name,
            "ConferenceUUID": self.uuid,
        }
        begun = self._recorder.start(order, params)
        self._tell_all(begun)
        return begun.recording_id

    def stop_recording(self) -> bool:
        """Stop recording; False if it was not recorded."""
        return self._recorder.stop()

    # What the core asks and tells.

    def _obey(self, command: ConferenceCommand) -> None:
        if isinstance(command, PutOut):
            member = self._members[command.member_id]
            self._stand(member)
            member.call.report.record("conference_left", why=command.why.value)
            member.call.tell(command)
        elif isinstance(command, PlayToAll):
            member = self._members[command.member_id]
            action = "exitSound" if command.exits else "enterSound"
            self._sounds.play(command.sound, member.call, SOUNDS_EVENT, self._params(member, action))
        elif isinstance(command, TakeDown):
            self._take_down(command)
        elif isinstance(command, CloseConference):
            self._close()

    def _pass_on(self, event: ConferenceEvent) -> None:
        if not isinstance(event, FloorTaken):
            self._tell_all(event)
        elif event.member_id in self._members:
            self._members[event.member_id].call.tell(event)

    def _take_down(self, command: TakeDown) -> None:
        running = self._recorder.running
        if running is not None and running.recording_id == self._recording_id:
            self._recorder.leave_out(not command.on)
            return
        if not command.on or running is not None or self._recording_id:
            return  # REST records in its stead, or has ended it
        member = self._members[command.member_id]
        verb, facts = member.place.verb, member.facts
        params = standard_params(facts, event=CALLBACK_EVENTS["record"], status="in-progress")
        order = RecordOrder(
            file_format="wav" if verb.record_file_format == "wav" else "mp3",
            channels="mono",
            seconds=MAX_SECONDS,
            callback_url=verb.callback_url,
            callback_method=verb.callback_method,
            transcription_url=verb.transcription_url if verb.transcription_type is not None else None,
            transcription_method=verb.transcription_method,
        )
        begun = self._recorder.start(order, params | self._params(member, "record"))
        self._recording_id = begun.recording_id
        self._tell_all(begun)

    def _params(self, member: LiveMember, action: str) -> dict[str, str]:
        return {
            "ConferenceAction": action,
            "ConferenceName": self.name,
            "ConferenceUUID": self.uuid,
            "ConferenceMemberID": member.member_id,
        }

    def _tell_all(self, event: VerbEvent) -> None:
        for member in self.members:
            member.call.tell(event)

    def _stand(self, member: LiveMember) -> None:
        media = member.call.media
        assert media is not None, "it came in with its audio"
        media.stand()
        self._loop.call_soon(self._forget)

    def _forget(self) -> None:
        """Who has left is of no more interest, when all that its exit brings about is done."""
        recorder = self.core.recorder
        for member in list(self._members.values()):
            if member.place is not recorder and member.member_id not in self.core.members:
                del self._members[member.member_id]

    def _tick(self, now: float) -> None:
        self.core.poll()
        self.after_input()

    def _tick_failed(self, error: BaseException) -> None:
        logger.error("the floor of the conference %s is not followed any more: %r", self.uuid, error)

    def _close(self) -> None:
        self._driver.close()
        self._node.ticker.leave(self._tick)
        self._sounds.close()
        self._recorder.stop()
        self._registry.closed(self)


class Conferences:
    """All conferences of a node.

    Args:
        node: What all calls share.
        most: Conferences that one account may have at a time.
    """

    def __init__(self, node: Node, *, most: int = MOST_CONFERENCES) -> None:
        self._node = node
        self._most = most
        self._live: dict[tuple[str, str], LiveConference] = {}  # by account and name

    def join(self, call: ConferenceCall, verb: Conference) -> LiveMember:
        """A call comes into the conference of this name of its account's, which is made if there is none.

        Raises:
            UsageError: It is full, or the account has too many.
        """
        key = (call.account.auth_id, verb.room)
        found = self._live.get(key)
        if found is None or found.core.over:
            self._live.pop(key, None)  # one that is over gives its place up, too
            if sum(account == call.account.auth_id for account, _ in self._live) >= self._most:
                raise UsageError(f"the account has {self._most} conferences, and can have no more")
            assert call.media is not None, "the verb picks up before it goes in"
            found = self._live[key] = LiveConference(self._node, self, call.account, verb, call.media.clock.start)
        return found.join(call, verb)

    def all(self) -> list[LiveConference]:
        """Those that somebody is in, oldest first."""
        return [conference for conference in self._live.values() if not conference.core.over]

    def closed(self, conference: LiveConference) -> None:
        """A conference is over."""
        key = (conference.account.auth_id, conference.name)
        if self._live.get(key) is conference:
            del self._live[key]
