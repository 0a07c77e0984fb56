"""What the performer does by itself; whole calls are in tests/carrier/test_verbs_*.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import World, until

from bothway.audio.word_tones import encode
from bothway.carrier.live_call import LiveCall
from bothway.carrier.performers.listening import Listening, _SilenceEar
from bothway.core.execution import VerbEvent
from bothway.core.listening import (
    EndSpeech,
    KeysPressed,
    Listen,
    PressKeys,
    SilenceHeard,
    SpeechHeard,
    SpeechOver,
    SpeechWanted,
    StopListening,
)
from bothway.core.media import Heard
from bothway.errors import ProviderError
from bothway.speech.tone_ears import ToneTranscription
from bothway.wire.digits import read_digits

pytestmark = pytest.mark.virtual_time


class Told:
    """A call's performer, and what it tells the call."""

    def __init__(self, call: LiveCall) -> None:
        (self.listening,) = (one for one in call._performers if isinstance(one, Listening))
        self.call = call
        self.events: list[VerbEvent] = []
        call.tell = self.events.append  # type: ignore[method-assign,assignment]

    def ask(self, command: Any) -> None:
        self.listening.commands[type(command)](command)

    @property
    def ears(self) -> int:
        assert self.call.media is not None
        return len(self.call.media._ears)


async def a_call(w: World) -> tuple[Talker, Told]:
    caller = Talker()
    _, call = w.place(doc('<Wait length="30"/>'), caller=caller)
    await until(lambda: caller.heard)
    return caller, Told(call)


async def test_what_is_listened_for_already_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        _, told = await a_call(w)
        told.ask(Listen(keys=True, silence_ms=500))
        await asyncio.sleep(0.4)
        told.ask(Listen(keys=True, silence_ms=500, speech=SpeechWanted()))
        told.ask(Listen(speech=SpeechWanted()))
        assert told.ears == 3
        await asyncio.sleep(0.2)
        assert told.events == [SilenceHeard()], "told once"
        told.ask(StopListening())
        told.ask(StopListening())
        assert told.ears == 0


async def test_what_was_heard_for_a_verb_that_is_over_is_not_told_to_the_next(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        _, told = await a_call(w)
        told.ask(Listen(silence_ms=60_000))
        ear = told.listening._ears["silence"]
        told.listening.media_event(Heard(ear, SilenceHeard(), 1.0))
        told.ask(StopListening())
        told.ask(Listen(silence_ms=60_000))
        await asyncio.sleep(0.1)
        assert told.events == []


def test_silence_is_told_once_with_the_frame_that_makes_it_long_enough() -> None:
    ear = _SilenceEar(60)
    assert [list(ear.feed(bytes(320))) for _ in range(4)] == [[], [], [SilenceHeard()], []]


async def test_nobody_listens_for_a_recogniser_that_has_failed(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        _, told = await a_call(w)
        told.ask(Listen(speech=SpeechWanted()))
        line = told.listening._speech
        assert isinstance(line, ToneTranscription)
        line.fail(ProviderError("the recogniser has gone", retryable=False))
        await until(lambda: told.events)
        assert (told.events, told.ears) == ([SpeechOver()], 0)


async def test_speech_that_ends_tells_the_rest(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, told = await a_call(w)
        told.ask(Listen(speech=SpeechWanted()))
        caller.say(encode("one", 8000))
        await until(lambda: told.events)
        told.ask(EndSpeech(drain=True))
        assert told.ears == 0
        await until(lambda: len(told.events) == 3)
        one, again, over = told.events
        assert one == SpeechHeard("one", final=False, confidence=1.0, stability=0.5)
        assert again == SpeechHeard("one", final=True, utterance_over=True, confidence=1.0, stability=1.0)
        assert isinstance(over, SpeechOver)
        told.ask(EndSpeech(drain=True))
        await until(lambda: len(told.events) == 4)
        told.ask(EndSpeech(drain=False))
        told.ask(Listen(speech=SpeechWanted()))
        assert told.ears == 1, "another begins"


async def test_a_word_that_ends_the_listening_lets_go_of_the_recogniser(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, told = await a_call(w)
        told.call.tell = lambda event: told.ask(StopListening())  # type: ignore[method-assign]
        told.ask(Listen(speech=SpeechWanted()))
        line = told.listening._speech
        assert isinstance(line, ToneTranscription)
        caller.say(encode("one", 8000))
        await until(lambda: told.ears == 0)
        await until(lambda: line.over, 1.0)
        await until(lambda: not told.listening._tasks, 1.0)


async def test_a_word_that_ends_the_call_lets_go_of_the_recogniser(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, call = w.place(doc('<GetInput action="nowhere" inputType="speech"/>'), caller=Talker())
        assert isinstance(caller, Talker)
        (listening,) = (one for one in call._performers if isinstance(one, Listening))
        await until(lambda: listening._speech)
        line = listening._speech
        assert isinstance(line, ToneTranscription)
        closed = []
        close = line.close

        async def close_slowly() -> None:
            await asyncio.sleep(0.5)
            await close()
            closed.append(line)

        line.close = close_slowly  # type: ignore[method-assign]
        caller.say(encode("one", 8000))
        await w.over(caller)
        w.check_accounted(caller, 7022)
        assert closed == [line]


async def test_a_line_that_is_given_up_tells_nothing(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, told = await a_call(w)
        told.ask(Listen(speech=SpeechWanted()))
        caller.say(encode("one", 8000))
        told.ask(EndSpeech(drain=False))
        await asyncio.sleep(2)
        assert told.events == []


async def test_keys_wait_for_those_before_them(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, told = await a_call(w)
        first, second = PressKeys(read_digits("12"), 400), PressKeys(read_digits("3"), 200)
        told.ask(first)
        told.ask(second)
        await asyncio.sleep(0.45)
        assert caller.digits == "123"
        assert told.events == [KeysPressed(first)]
        await asyncio.sleep(0.2)
        assert told.events == [KeysPressed(first), KeysPressed(second)]
        told.ask(first)
        await asyncio.sleep(0.1)
        assert caller.digits == "1231"


async def test_too_many_keys_are_not_pressed(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, told = await a_call(w)
        commands = [PressKeys(read_digits("1"), 200) for _ in range(105)]
        for command in commands:
            told.ask(command)
        await asyncio.sleep(0.01)
        assert len(told.events) == 105 - 100
        assert "was not pressed" in str(caller.events("remark")[0]["text"])
        await until(lambda: len(told.events) == 105)
        assert len(caller.digits) == 100
