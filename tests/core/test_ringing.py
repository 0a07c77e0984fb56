from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import PromptEnded, Ringback
from bothway.core.ringing import RingingSounds
from bothway.core.side_document import FetchSounds, SoundsFetched, SoundsMissing
from bothway.wire.verbs import Speak

MUSIC = "https://app.example.com/music"
TONE = ("say", Ringback())


def ended(call: Recorder) -> PromptEnded:
    """What was said last has been heard."""
    assert call.asked[-1][0] == "say"
    return PromptEnded(str(len(call.asked)), heard=True)


@pytest.mark.parametrize("music", [None, "", "real"])
def test_the_tone_begins_with_the_ringing_and_is_repeated_while_it_rings(music: str | None) -> None:
    call = Recorder()
    sounds = RingingSounds(call, music)
    sounds.begin()
    assert call.asked == []
    sounds.note(rings=True)
    sounds.note(rings=True)
    assert call.asked == [TONE]
    assert sounds.receive(ended(call), 1.0)
    assert call.asked == [TONE, TONE]
    sounds.note(rings=False)
    assert sounds.receive(ended(call), 1.0)
    assert call.asked == [TONE, TONE]
    sounds.note(rings=True)
    sounds.stop()
    sounds.note(rings=False)
    assert call.asked == [TONE, TONE, TONE, ("hush",)]


def test_music_is_instead_of_the_tone_until_there_is_none() -> None:
    call = Recorder()
    sounds = RingingSounds(call, MUSIC)
    sounds.begin()
    sounds.note(rings=True)
    sounds.receive(SoundsFetched(MUSIC, b"<Response><Speak>la</Speak></Response>"), 1.0)
    assert call.asked == [("send", FetchSounds(MUSIC, "DialMusic")), ("say", Speak("la"))]
    sounds.receive(PromptEnded(str(len(call.asked)), heard=False), 1.0)
    assert call.asked[-1] == TONE
    failing = RingingSounds(call, MUSIC)
    failing.note(rings=True)
    failing.receive(SoundsMissing(MUSIC, "gone"), 1.0)
    assert call.asked[-1] == TONE


def test_early_media_of_the_first_is_instead_of_the_tone() -> None:
    call = Recorder()
    sounds = RingingSounds(call, "real")
    sounds.note(rings=True)
    assert sounds.takes(1)
    assert not sounds.takes(2)
    assert call.asked == [TONE, ("hush",)]
    assert not sounds.lost(2)
    assert sounds.lost(1)
    sounds.note(rings=True)
    assert call.asked[-1] == TONE
    sounds.stop()
    assert not sounds.takes(2)


@pytest.mark.parametrize("music", [None, MUSIC])
def test_early_media_is_nobodys_where_it_was_not_asked_for(music: str | None) -> None:
    assert not RingingSounds(Recorder(), music).takes(1)
