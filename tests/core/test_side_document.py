from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import PromptEnded, TimerFired
from bothway.core.side_document import FetchSounds, SideSounds, SoundsFetched, SoundsMissing, sounds_of
from bothway.wire.verbs import Play, Speak, Wait
from bothway.wire.xmltree import XmlError

URL = "https://app.example.com/music"


class Hall:
    """Somebody who hears a side document: `asked` has what is said to it."""

    def __init__(self, document: str, *, looped: bool = False) -> None:
        self.call = Recorder(answered=True)
        self.sounds = SideSounds(self.call, URL, "DialMusic", looped=looped)
        self.sounds.begin()
        assert self.call.asked.pop() == ("send", FetchSounds(URL, "DialMusic"))
        self.over = self.sounds.receive(SoundsFetched(URL, f"<Response>{document}</Response>".encode()), 0.0)

    def heard(self, *, heard: bool = True) -> None:
        """The prompt under way has been heard."""
        assert self.call.asked[-1][0] == "say"
        self.over = self.sounds.receive(PromptEnded(str(len(self.call.asked)), heard), 1.0)

    def waited(self, now: float) -> None:
        what, name, at = self.call.asked[-1]
        assert (what, at) == ("set_timer", now)
        self.over = self.sounds.receive(TimerFired(str(name)), now)

    @property
    def said(self) -> list[object]:
        return [details[0] for what, *details in self.call.asked if what == "say"]


def test_what_else_a_side_document_holds_is_ignored() -> None:
    document = b"<Response><Speak>Hi</Speak><Hangup/><Wait length='2'/><Dial><Number>1</Number></Dial></Response>"
    assert sounds_of(document) == (Speak("Hi"), Wait(length=2))
    with pytest.raises(XmlError):
        sounds_of(b"RIFF")


def test_sounds_are_heard_one_after_another_and_once() -> None:
    hall = Hall("<Speak>Hi</Speak><Wait length='3'/><Play>https://x.example.com/a.wav</Play>")
    assert hall.said == [Speak("Hi")]
    hall.heard()
    hall.waited(4.0)
    assert hall.said == [Speak("Hi"), Play("https://x.example.com/a.wav")]
    assert not hall.over
    hall.heard()
    assert hall.over


def test_sounds_that_are_looped_begin_again() -> None:
    hall = Hall("<Speak>a</Speak><Speak>b</Speak>", looped=True)
    for _ in range(5):
        hall.heard()
    assert hall.said == [Speak("a"), Speak("b")] * 3
    assert not hall.over


@pytest.mark.parametrize(("loop", "times"), [("1", 1), ("3", 3), ("0", 7)])
def test_a_sound_is_heard_as_often_as_it_says(loop: str, times: int) -> None:
    hall = Hall(f"<Speak loop='{loop}'>a</Speak><Speak>b</Speak>")
    for _ in range(times):
        assert hall.said[-1] == Speak("a", loop=int(loop))
        hall.heard()
    assert hall.said[-1] == (Speak("b") if loop != "0" else Speak("a", loop=0))


@pytest.mark.parametrize("document", ["<Speak>a</Speak><Play loop='0'>b</Play>", "<Speak></Speak>"])
def test_a_loop_of_nothing_comes_to_an_end(document: str) -> None:
    """A round in which nothing could be heard is not repeated: it would fetch or say it without a pause."""
    hall = Hall(document, looped=True)
    for _ in hall.sounds._sounds:
        assert not hall.over
        hall.heard(heard=False)
    assert hall.over


def test_a_loop_goes_on_where_a_part_of_it_cannot_be_had() -> None:
    hall = Hall("<Speak>a</Speak><Play>b</Play>", looped=True)
    hall.heard()
    hall.heard(heard=False)
    assert hall.said == [Speak("a"), Play("b"), Speak("a")]
    hall.heard(heard=False)
    hall.heard(heard=False)
    assert hall.over


def test_a_loop_of_waits_waits() -> None:
    hall = Hall("<Wait length='2'/>", looped=True)
    hall.waited(2.0)
    hall.waited(4.0)
    assert not hall.over


@pytest.mark.parametrize("document", ["", "<Hangup/>"])
def test_a_document_without_sounds_is_over_at_once(document: str) -> None:
    assert Hall(document, looped=True).over


def test_a_document_that_cannot_be_read_or_had_is_remarked() -> None:
    call = Recorder()
    sounds = SideSounds(call, URL, "ConfirmSound", looped=True)
    assert sounds.receive(SoundsFetched(URL, b"no XML"), 0.0)
    assert sounds.receive(SoundsMissing(URL, "it is not there"), 0.0)
    assert [what for what, *_ in call.asked] == ["remark", "remark"]
    assert "ConfirmSound cannot be had: it is not there" in str(call.asked[1])


def test_what_is_none_of_its_own_is_ignored() -> None:
    hall = Hall("<Speak>Hi</Speak>")
    asked = list(hall.call.asked)
    foreign = [
        SoundsFetched("https://other.example.com", b"<Response/>"),
        SoundsFetched(URL, b"<Response/>"),
        SoundsMissing("x", "y"),
        PromptEnded("99", heard=True),
        TimerFired("another"),
    ]
    for event in foreign:
        assert not hall.sounds.receive(event, 1.0)
    assert hall.call.asked == asked


def test_stopped_sounds_are_not_heard_any_more() -> None:
    hall = Hall("<Speak>Hi</Speak><Wait length='9'/>")
    hall.sounds.stop()
    assert [what for what, *_ in hall.call.asked][-2:] == ["set_timer", "hush"]
    assert not hall.sounds.receive(PromptEnded("1", heard=True), 1.0)
    waiting = Hall("<Wait length='9'/>")
    waiting.sounds.stop()
    assert waiting.call.asked[-1][-1] is None
    assert ("hush",) not in waiting.call.asked
