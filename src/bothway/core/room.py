"""A room mixes what its members say: two legs of a bridge, or up to 20 members of a conference.

Every call moves its frames at its own moments: on one of four phases of the node's 5 ms grid, and late when the machine
is. The room therefore goes by when a frame is *due*, not by when it comes, and keeps time in slots of 5 ms:

- A frame that is due in slot `s` sounds in the slots `s + 1` to `s + 4`. Who listens in slot `s` hears all that others
  say there. So it takes 5 to 20 ms from one member to another, never more, and it makes no difference in which order
  the members of one slot are ticked.
- What sounds in a slot is settled when the first member listens in it. A frame that comes too late for that sounds a
  frame later, and so do its seat's next ones: a pause of 20 ms, and nothing lost. When a seat has not needed that for
  two seconds, one of its frames is dropped, and it is in time again. The two are counted. So the members of a machine
  that stood still hear each other without gaps while it catches up, and the delay that is left goes away.
- What one member alone says reaches a seat of the same format as it is, byte by byte. What several say is added as L16,
  and saturates once.
- Where rates differ, each speaker is resampled once for each other rate that somebody hears. Members of equal rate
  never hear each other resampled, whoever else is in the room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bothway.audio.format import L16_8K, AudioFormat
from bothway.audio.level import SpeechGate
from bothway.audio.transcode import to_l16
from bothway.core.mixing import FRAME_SLOTS, SLOT_SECONDS, Mixer, Voice
from bothway.core.playout import FRAME_SECONDS, Playout
from bothway.errors import UsageError

__all__ = ["ROOM_MEMBERS", "FloorPassed", "MixTap", "PlayedToAll", "Room", "RoomEvent", "Seat"]

ROOM_MEMBERS = 20
"""The most members of a conference (plivo-protocol.md, 7.3 and the table of limits)."""

_SPARE_TICKS = 100
"""Frames in a row, 2 s of them, that came in time for an earlier place: then the seat moves there."""

_MOST_AHEAD = 3 * FRAME_SLOTS
"""A frame placed further ahead than this of what was heard last (60 ms) is one too many at once."""

_PLAY_SECONDS = 3600.0
"""Audio that may be queued for all members; it is bounded at its source too."""


@dataclass(frozen=True, slots=True)
class FloorPassed:
    """Another member has the floor: of those who speak, `seat` began first. None when nobody speaks any more."""

    seat: Seat | None


@dataclass(frozen=True, slots=True)
class PlayedToAll:
    """All members have heard this sound to its end."""

    play_id: str


RoomEvent: TypeAlias = FloorPassed | PlayedToAll


class MixTap(Protocol):
    """Gets all that is said and played in a room: a recording."""

    def frame(self, l16: bytes) -> None:
        """20 ms of the sum of all, as L16 of the rate that was asked for."""


class _Floor:
    """Who speaks.

    Attributes:
        followed: Whether somebody wants to know.
        speakers: Those who do, in the order in which they began.
    """

    def __init__(self, events: list[RoomEvent]) -> None:
        self.followed = False
        self.speakers: list[Seat] = []
        self._events = events

    def note(self, seat: Seat, *, speaks: bool) -> None:
        if speaks == (seat in self.speakers):
            return
        before = self.speakers[:1]
        if speaks:
            self.speakers.append(seat)
        else:
            self.speakers.remove(seat)
        if self.speakers[:1] != before:
            self._events.append(FloorPassed(self.speakers[0] if self.speakers else None))


class Seat:
    """A member's place in a room, made by `Room.join`. For each frame it says one, then hears one.

    Attributes:
        format: How its frames of both directions are coded.
        muted: Whether nobody hears it. May be changed at any time.
        deaf: Whether it hears nobody. May be changed at any time.
        pads: Pauses of 20 ms that the others heard because its frames came too late.
        drops: Its frames that were dropped to be in time again.
    """

    __slots__ = (
        "_anchor", "_anchor_at", "_at", "_floor", "_gate", "_lag", "_leave", "_mixer", "_slot", "_spare", "_start",
        "_voice", "deaf", "drops", "format", "muted", "pads",
    )  # fmt: skip

    def __init__(self, mixer: Mixer, floor: _Floor, voice: Voice, start: float, leave: Callable[[Seat], None]) -> None:
        self.format = voice.format
        self.muted = False
        self.deaf = False
        self.pads = 0
        self.drops = 0
        self._mixer = mixer
        self._floor = floor
        self._voice = voice
        self._start = start
        self._leave: Callable[[Seat], None] | None = leave
        self._gate = SpeechGate()
        self._anchor: int | None = None  # the slot of its first moment
        self._anchor_at = self._at = start
        self._slot = 0  # of `_at`
        self._lag = 0  # slots by which its frames sound later than they should
        self._spare = 0  # frames in a row for which that was not needed

    def say(self, frame: bytes, at: float) -> None:
        """The member's frame that is due at `at`, in seconds of the calls' clock. It comes before `hear` of that time.

        Raises:
            UsageError: It is not one frame of the seat's format.
        """
        if self._leave is None:
            return
        if len(frame) != self.format.frame_bytes:
            raise UsageError(f"a frame of {self.format} has {self.format.frame_bytes} bytes, not {len(frame)}")
        if self._floor.followed:
            speaks = not self.muted and self._gate.feed(to_l16(frame, self.format.encoding))
            self._floor.note(self, speaks=speaks)
        place = None if self.muted else self._place(self._slot_of(at))
        if place is None:
            self._voice.pause()
        else:
            self._mixer.place(self._voice, frame, place)

    def hear(self, at: float) -> bytes | None:
        """The frame of all others that is due at `at`, in the seat's format; None is silence."""
        if self._leave is None:
            return None
        slot = self._slot_of(at)
        self._mixer.reach(slot)
        return None if self.deaf else self._mixer.heard_by(self._voice, slot)

    def leave(self) -> None:
        """The member goes: what it said last is still heard, it hears nothing, and the seat is of no more use."""
        if self._leave is not None:
            leave, self._leave = self._leave, None
            leave(self)

    def _slot_of(self, at: float) -> int:
        """A member keeps its phase for good: between two of its moments is always a whole number of frames."""
        if self._anchor is None:
            self._anchor = self._slot = round((at - self._start) / SLOT_SECONDS)
            self._anchor_at = self._at = at
        elif at != self._at:
            self._slot = self._anchor + FRAME_SLOTS * round((at - self._anchor_at) / FRAME_SECONDS)
            self._at = at
        return self._slot

    def _place(self, slot: int) -> int | None:
        """Where a frame goes that is due in `slot`; None if it is dropped."""
        place = slot + 1 + self._lag
        ahead = place - self._mixer.head
        if ahead < 1:
            late = (FRAME_SLOTS - ahead) // FRAME_SLOTS  # in whole frames, rounded up
            self._lag += late * FRAME_SLOTS
            self.pads += late
            self._spare = 0
            return place + late * FRAME_SLOTS
        if self._lag:
            self._spare = self._spare + 1 if ahead > FRAME_SLOTS else 0
            if self._spare >= _SPARE_TICKS or ahead > _MOST_AHEAD:
                self._lag -= FRAME_SLOTS
                self.drops += 1
                self._spare = 0
                return None
        return place


class Room:
    """Where members hear each other.

    What `play` queues is heard by all of them. To play to one member alone is a matter of its own call
    (`Media.overlay`).

    Args:
        start: A moment of the calls' clock from which slots are counted, in seconds: any `FrameClock.start` will do.
        capacity: How many seats there are.
        play_format: How the audio for `play` is coded.

    Attributes:
        capacity: As given.
        play_format: As given.
    """

    def __init__(self, start: float, *, capacity: int = ROOM_MEMBERS, play_format: AudioFormat = L16_8K) -> None:
        self.capacity = capacity
        self.play_format = play_format
        self._start = start
        self._events: list[RoomEvent] = []
        self._floor = _Floor(self._events)
        self._mixer = Mixer(self._move_own)
        self._voices: dict[Seat, Voice] = {}
        self._taps: tuple[tuple[MixTap, int], ...] = ()
        self._playout = Playout(play_format, cap_seconds=_PLAY_SECONDS)
        self._voice = Voice(play_format)

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._voices)

    @property
    def floor(self) -> Seat | None:
        """Who has the floor, if anybody speaks and it is followed."""
        return self._floor.speakers[0] if self._floor.speakers else None

    def follow_floor(self) -> None:
        """Tell from now on who speaks, as `FloorPassed`; it costs some 5 µs a frame of each member."""
        self._floor.followed = True

    def join(self, audio_format: AudioFormat, *, muted: bool = False, deaf: bool = False) -> Seat:
        """A new member, whose frames of both directions are in `audio_format`.

        Raises:
            UsageError: Every seat is taken.
        """
        if len(self._voices) >= self.capacity:
            raise UsageError(f"the room is full: it has {self.capacity} seats")
        voice = Voice(audio_format)
        seat = Seat(self._mixer, self._floor, voice, self._start, self._left)
        seat.muted, seat.deaf = muted, deaf
        self._voices[seat] = voice
        self._tune()
        return seat

    def play(self, chunk: bytes) -> bool:
        """Queue audio for all members, in `play_format`; False if the queue is full, and none of it is queued."""
        return self._playout.play(chunk)

    def end_play(self, play_id: str, now: float) -> None:
        """All of this sound is queued: `PlayedToAll` follows when it was heard. It waits while nobody is here."""
        self._playout.checkpoint(play_id, now)
        self._pass_plays()

    def stop_play(self) -> None:
        """Drop what is queued for all members; no `PlayedToAll` follows for it."""
        self._playout.clear()

    def add_tap(self, tap: MixTap, rate: int = 8000) -> None:
        """Give `tap` the sum of all, at `rate` samples a second, from now on. Nothing comes while nobody is here."""
        self._taps = (*self._taps, (tap, rate))
        self._tune()

    def remove_tap(self, tap: MixTap) -> None:
        """Give `tap` no more."""
        self._taps = tuple(entry for entry in self._taps if entry[0] is not tap)
        self._tune()

    def events(self) -> list[RoomEvent]:
        """What happened since the last call."""
        events = self._events[:]
        self._events.clear()
        return events

    def _tune(self) -> None:
        """Who came or went may be the first or the last to hear a rate."""
        rates = {voice.format.rate for voice in self._voices.values()} | {rate for _, rate in self._taps}
        for voice in (self._voice, *self._voices.values()):
            voice.tune(rates)

    def _left(self, seat: Seat) -> None:
        del self._voices[seat]
        self._floor.note(seat, speaks=False)
        self._tune()

    def _move_own(self, slot: int) -> None:
        """20 ms of what the room plays, and of what is taken down of it."""
        if not self._playout.idle:
            frame = self._playout.release(self._start + slot * SLOT_SECONDS)
            self._mixer.place(self._voice, frame if frame is not None else self.play_format.silent_frame, slot)
            self._pass_plays()
        for tap, rate in self._taps:
            tap.frame(self._mixer.sum(slot, rate))

    def _pass_plays(self) -> None:
        self._events.extend(PlayedToAll(passed.name) for passed in self._playout.take_passed())
