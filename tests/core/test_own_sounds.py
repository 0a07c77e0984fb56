from __future__ import annotations

from bothway.audio.format import MULAW_8K
from bothway.audio.mix import mix
from bothway.core.own_sounds import OwnSounds
from bothway.core.room import Room


def frame(number: int) -> bytes:
    return bytes((number * 7 + at) % 251 for at in range(160))


SILENT = MULAW_8K.silent_frame


def test_it_is_active_only_while_there_is_something_to_hear() -> None:
    own = OwnSounds(MULAW_8K)
    active = [own.active]
    own.prompt(frame(1))
    active.append(own.active)
    assert [own.add(None, SILENT, number * 0.02) for number in range(2)] == [frame(1), None]
    active.append(own.active)
    own.lay_over(frame(2), replace=False)
    active.append(own.active)
    assert [own.add(None, SILENT, number * 0.02) for number in range(2)] == [frame(2), None]
    active.append(own.active)
    own.sit(Room(0.0).join(MULAW_8K))
    assert own.add(None, SILENT, 0.04) is None
    active.append(own.active)
    own.sit(None)
    assert own.add(frame(3), SILENT, 0.06) == frame(3)
    active.append(own.active)
    assert active == [False, True, False, True, False, True, False]


def test_everything_is_mixed() -> None:
    own, room = OwnSounds(MULAW_8K), Room(0.0)
    other = room.join(MULAW_8K)
    own.sit(room.join(MULAW_8K))
    own.prompt(frame(1))
    own.lay_over(frame(2), replace=False)
    other.say(frame(3), 0.0)
    heard = own.add(frame(4), frame(5), 0.005)
    expected = frame(4)
    for more in (1, 3, 2):
        expected = mix(expected, frame(more), MULAW_8K)
    assert heard == expected
    assert other.hear(0.02) == frame(5)


def test_a_replacing_overlay_is_heard_alone_and_all_else_goes_on_beneath_it() -> None:
    own, room = OwnSounds(MULAW_8K), Room(0.0)
    other = room.join(MULAW_8K)
    own.sit(room.join(MULAW_8K))
    own.prompt(frame(10) + frame(11) + frame(12))
    own.lay_over(frame(2), replace=True)
    heard = []
    for number in range(3):
        other.say(frame(20 + number), number * 0.02)
        heard.append(own.add(None, SILENT, 0.005 + number * 0.02))
    assert heard == [frame(2), mix(frame(11), frame(21), MULAW_8K), mix(frame(12), frame(22), MULAW_8K)]


def test_its_queues_are_bounded() -> None:
    own = OwnSounds(MULAW_8K)
    assert own.prompt(bytes(8000 * 3600))
    assert not own.prompt(bytes(1))
    assert own.lay_over(bytes(8000 * 3600), replace=True)
    assert not own.lay_over(bytes(1), replace=True)
