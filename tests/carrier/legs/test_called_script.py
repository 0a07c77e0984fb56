"""Scripted callees, each as a call meets it, to the millisecond of virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from tests.carrier.called import PlacedCall

from bothway.audio.format import L16_8K, MULAW_8K, AudioFormat
from bothway.audio.transcode import to_l16
from bothway.audio.word_tones import CHARACTER_MS
from bothway.carrier.callee import (
    Behaviour,
    busy,
    confirmer,
    echo,
    fails,
    human,
    no_answer,
    plays,
    rejects,
    rings_on,
    unallocated,
    voicemail,
)
from bothway.carrier.clips import ClipShelf
from bothway.carrier.legs.called_script import scripted_callee
from bothway.carrier.script import Beep, Say
from bothway.errors import ProviderError
from bothway.runtime.tasks import Tasks
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice

pytestmark = pytest.mark.virtual_time

QUIET = MULAW_8K.silent_frame


@asynccontextmanager
async def called(
    does: Behaviour, rings_for: float, *, voice: ToneVoice | None = None, says: Callable[[int], bytes] | None = None
) -> AsyncIterator[PlacedCall]:
    tasks = Tasks()
    shelf = ClipShelf(voice or ToneVoice(rate=8000))
    leg = scripted_callee(MULAW_8K, does, rings_for=rings_for, shelf=shelf, tasks=tasks)
    call = PlacedCall(leg, says=says).place()
    yield call
    if not call.over.is_set():
        call.end()
    await asyncio.sleep(0.001)
    assert len(tasks) == 0, "nothing is left behind"
    await tasks.close(1)


def words(call: PlacedCall) -> list[str]:
    reader = ToneReader(MULAW_8K)
    return [word.text for frame in call.heard for word in reader.feed(frame)]


@pytest.mark.parametrize(
    ("does", "rings_for", "code", "told"),
    [
        (busy(), 0.0, 3010, [("refuses", 0.0)]),
        (unallocated(), 0.0, 3050, [("refuses", 0.0)]),
        (rejects(), 3.0, 3020, [("rings", 0.0), ("refuses", 3.0)]),
        (no_answer(), 30.0, 3000, [("rings", 0.0), ("refuses", 30.0)]),
        (fails(), 1.5, 5000, [("rings", 0.0), ("refuses", 1.5)]),
    ],
)
async def test_a_callee_that_refuses(
    does: Behaviour, rings_for: float, code: int, told: list[tuple[str, float]]
) -> None:
    async with called(does, rings_for) as call:
        await call.over.wait()
        assert call.told == told
        assert call.cause is not None
        assert (call.cause.code, call.cause.source) == (code, "Carrier")


async def test_a_person_answers_after_its_ring_and_listens_for_as_long_as_it_takes() -> None:
    async with called(human("Hello there?"), 2.5) as call:
        await asyncio.sleep(3000)
        assert call.told == [("rings", 0.0), ("answers", 2.5)]
        assert words(call) == ["Hello", "there?"]
        await asyncio.sleep(700)
        assert call.words[-1] == "hangs up", "after an hour"


async def test_one_that_answers_at_once_does_not_ring() -> None:
    async with called(echo(), 0.0) as call:
        await asyncio.sleep(1)
        assert call.told == [("answers", 0.0)]


async def test_one_that_lets_it_ring_rings_until_the_caller_gives_up() -> None:
    async with called(rings_on(), 0.0) as call:
        await asyncio.sleep(10_000)
        assert call.told == [("rings", 0.0)]


@pytest.mark.parametrize("does", [human(), busy(), no_answer(), rings_on()])
async def test_a_cancelled_call_is_told_nothing_more(does: Behaviour) -> None:
    async with called(does, 10.0) as call:
        await asyncio.sleep(5)
        call.end()
        await asyncio.sleep(60)
        assert call.words == ["rings"]


async def test_a_voicemail_greets_beeps_and_waits_for_its_time() -> None:
    greeting = "Not in."
    async with called(voicemail(Say(greeting), beep=Beep(400, 1400), message_ms=5000), 4.0) as call:
        await call.over.wait()
        assert [word for word, _ in call.told] == ["rings", "answers", "hangs up"]
        greets = len(greeting) * CHARACTER_MS / 1000
        assert call.told[-1][1] == pytest.approx(4.0 + greets + 0.3 + 0.4 + 5.0, abs=0.05)
        start = round((greets + 0.3) * 50)
        beep = np.frombuffer(b"".join(to_l16(frame, MULAW_8K.encoding) for frame in call.heard[start:][:20]), "<i2")
        spectrum = np.abs(np.fft.rfft(beep))
        assert spectrum.argmax() * 8000 / len(beep) == pytest.approx(1400, abs=3)
        assert set(call.heard[start + 21 :]) == {QUIET}


async def test_a_confirmer_hears_a_prompt_out_and_presses() -> None:
    prompt = b"\x10" * 80 + b"\x90" * 80  # loud, for two seconds from its second second on
    async with called(
        confirmer("1#", after_ms=600), 1.0, says=lambda frame: prompt if 50 <= frame < 150 else QUIET
    ) as call:
        await asyncio.sleep(10)
        assert call.words == ["rings", "answers", "presses 1", "presses #"]
        assert call.told[2][1] == pytest.approx(1.0 + 3.0 + 0.6, abs=0.05)


async def test_an_echo_gives_back_every_sample() -> None:
    def frame(number: int) -> bytes:
        return bytes((number * 7 + at) % 256 for at in range(160))

    async with called(echo(), 0.5, says=frame) as call:
        await asyncio.sleep(5)
        assert len(call.heard) > 200
        assert call.heard == [frame(number) for number in range(len(call.heard))]


async def test_a_callee_without_its_audio_refuses_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with called(plays("/none.wav"), 2.0) as call:
        await call.over.wait()
        assert call.cause is not None
        assert call.cause.code == 2010
        assert "the callee could not be prepared: " in call.detail
        assert "/none.wav" in call.detail
    assert "the callee has nothing to say" in caplog.text


class SlowVoice(ToneVoice):
    """Takes three seconds to say anything, and counts the texts; one it cannot say."""

    said = 0

    async def _tones(self, text: str) -> AsyncGenerator[bytes]:
        self.said += 1
        await asyncio.sleep(3)
        if text == "no":
            raise ProviderError("the voice is gone", retryable=True)
        async for chunk in super()._tones(text):
            yield chunk


async def test_it_answers_when_it_knows_what_to_say() -> None:
    async with called(human("hi"), 2.0, voice=SlowVoice(rate=8000)) as call:
        await asyncio.sleep(5)
        assert call.told == [("rings", 0.0), ("answers", 3.0)]
    async with called(human("no"), 2.0, voice=SlowVoice(rate=8000)) as call:
        await call.over.wait()
        assert call.told == [("rings", 0.0), ("refuses", 3.0)]
    async with called(human("hi"), 2.0, voice=SlowVoice(rate=8000)) as call:
        await asyncio.sleep(1)
        call.end()  # while its audio is being made


async def test_what_many_say_is_made_once() -> None:
    voice = SlowVoice(rate=8000)
    shelf, tasks = ClipShelf(voice), Tasks()
    does = human("hi")

    def leg(fmt: AudioFormat = MULAW_8K) -> PlacedCall:
        return PlacedCall(scripted_callee(fmt, does, rings_for=1.0, shelf=shelf, tasks=tasks)).place()

    calls = [leg() for _ in range(50)]
    await asyncio.sleep(4)
    assert voice.said == 1
    assert {call.told[-1] for call in calls} == {("answers", 3.0)}
    other = leg(L16_8K)
    await asyncio.sleep(3)
    assert voice.said == 2
    for call in (*calls, other):
        call.end()
    await tasks.close(1)
