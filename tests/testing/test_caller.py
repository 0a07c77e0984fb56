"""What a caller does and expects, on calls in virtual time, where every moment is exact."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from tests.testing.apps import VOICE, hold, listener, new_app, said, say

from bothway import Call
from bothway.audio.format import MULAW_8K
from bothway.audio.wav import write_wav
from bothway.errors import UsageError
from bothway.testing.call_ledger import CallLedger
from bothway.testing.caller import Caller
from bothway.testing.expectation import CallFailedError
from bothway.testing.lab import LabCarrier


async def one_two_three(call: Call) -> None:
    """Say three words of 180, 180 and 300 ms, from the first frame on."""
    await say(call, "one two three")
    await hold(call)


async def silent(carrier: LabCarrier) -> Caller:
    """A call on which the app says nothing."""
    return await carrier.call(new_app(hold))


async def test_words_are_heard_when_their_last_sample_was_played(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(one_two_three))
    (two,) = await caller.hears("two")
    assert two.end_ms - two.start_ms == pytest.approx(180, abs=1)
    assert caller.now_ms - 20 < two.end_ms <= caller.now_ms
    assert caller.heard_text == "one two"
    await caller.hears("three")
    assert [word.text for word in caller.heard] == ["one", "two", "three"]


async def test_what_was_claimed_is_not_heard_again(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(one_two_three))
    await caller.hears("two")
    with pytest.raises(CallFailedError) as caught:
        await caller.hears("one").within(2)
    moment = caller.now_ms / 1000
    assert str(caught.value) == (
        f"expected the caller to hear “one” within 2 s; heard since: “three” (at {moment:.2f} s of the call)"
    )
    assert [mark.text for mark in caller.trace.marks] == [str(caught.value)]
    assert caller.trace.marks[0].ms == caller.now_ms


async def test_a_pattern_is_heard(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(one_two_three))
    words = await caller.hears(re.compile(r"t\w+ t\w+"))
    assert [word.text for word in words] == ["two", "three"]
    with pytest.raises(CallFailedError, match="something like 'four'"):
        await caller.hears(re.compile("four")).within(1)


async def test_nothing_is_said_of_words_where_there_were_none(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    with pytest.raises(CallFailedError, match=r"within 0\.5 s; no word was heard since"):
        await caller.hears("hello").within(0.5)


async def test_time_limits_are_the_calls(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    began = caller.now_ms
    with pytest.raises(CallFailedError):
        await caller.hears("hello").within(3)
    assert caller.now_ms - began == pytest.approx(3000, abs=20)


async def test_speech_of_any_kind_and_its_end_are_heard(carrier: LabCarrier) -> None:
    async def beep(call: Call) -> None:
        await call.play(call.format.silence_byte * 8 * 200 + b"\x10\x90" * 8 * 300)
        await hold(call)

    caller = await carrier.call(new_app(beep))
    spoke = await caller.hears_speech(0.3)
    quiet = await caller.hears_silence(0.5)
    assert quiet - spoke == 300, "it sounded for 600 ms"
    assert caller.now_ms == quiet + 500
    assert await caller.hears_silence(0.5) == quiet, "which takes no time, since it is quiet already"
    assert caller.heard == []


async def test_silence_that_does_not_come(carrier: LabCarrier) -> None:
    async def talk(call: Call) -> None:
        await say(call, "and on " * 30)
        await hold(call)

    caller = await carrier.call(new_app(talk))
    with pytest.raises(CallFailedError, match="expected silence for 1 s within 5 s; heard since: “and on and on"):
        await caller.hears_silence(1).within(5)


async def test_saying_takes_as_long_as_it_takes(carrier: LabCarrier) -> None:
    heard: list[str] = []

    caller = await carrier.call(new_app(listener(heard)))
    began = caller.now_ms
    await caller.say("Hello, Müller!")
    assert caller.now_ms - began == pytest.approx(14 * 60, abs=40)
    await caller.stays_silent(1)
    await caller.say("Two")
    await caller.stays_silent(1)
    assert heard == ["Hello, Müller!", "Two"]


async def test_two_who_speak_for_one_caller_take_turns(carrier: LabCarrier) -> None:
    heard: list[str] = []

    caller = await carrier.call(new_app(listener(heard)))
    await asyncio.gather(caller.say("first "), caller.say("second"))
    await caller.stays_silent(1)
    assert heard == ["first second"]


async def test_a_file_is_played(carrier: LabCarrier, tmp_path: Path) -> None:
    heard: list[str] = []

    write_wav(tmp_path / "caller.wav", VOICE.format, await said("from a file"))
    caller = await carrier.call(new_app(listener(heard)))
    await caller.play(tmp_path / "caller.wav")
    await caller.stays_silent(1)
    assert heard == ["from a file"]
    with pytest.raises(UsageError, match="cannot be read"):
        await caller.play(tmp_path / "nothing.wav")


async def test_keys_are_pressed_in_their_rhythm(carrier: LabCarrier) -> None:
    pressed: list[tuple[str, float]] = []

    async def keys(call: Call) -> None:
        async for digit in call.dtmf():
            pressed.append((digit, asyncio.get_running_loop().time()))  # noqa: PERF401 - one by one, as above

    caller = await carrier.call(new_app(keys))
    await caller.press("12", gap=0.2)
    await caller.press("#")
    await caller.stays_silent(0.1)
    assert [digit for digit, _ in pressed] == ["1", "2", "#"]
    assert pressed[1][1] - pressed[0][1] == pytest.approx(0.2)
    for wrong in ("", "12x", "+"):
        with pytest.raises(UsageError, match="not keys of a telephone"):
            await caller.press(wrong)


async def test_keys_of_the_app_are_heard_in_order(carrier: LabCarrier) -> None:
    async def dial(call: Call) -> None:
        call.send_dtmf("12")
        await asyncio.sleep(1)
        call.send_dtmf("2")
        await hold(call)

    caller = await carrier.call(new_app(dial))
    first = await caller.hears_digits("2")
    assert await caller.hears_digits("2") - first == 1000
    with pytest.raises(CallFailedError, match="expected the app to press 1 within 1 s"):
        await caller.hears_digits("1").within(1)


async def test_an_interruption_begins_when_the_app_has_spoken_for_so_long(carrier: LabCarrier) -> None:
    heard: list[str] = []

    async def talk(call: Call) -> None:
        await call.play(call.format.silence_byte * 8 * 500)
        await say(call, "a rather long story about nothing")
        await listener(heard)(call)

    caller = await carrier.call(new_app(talk))
    await caller.interrupts("stop", after=0.8)
    assert caller.now_ms == pytest.approx(500 + 800 + 240, abs=80), (
        "at the next word: between two there is nothing to interrupt"
    )
    await caller.stays_silent(1)
    assert heard == ["stop"]
    with pytest.raises(CallFailedError, match="expected the app to speak for 1 s within 2 s"):
        await caller.interrupts("stop", after=1, within=2)


async def test_what_is_logged_called_back_and_asked_is_claimed_once(carrier: LabCarrier) -> None:
    async def mark(call: Call) -> None:
        await call.checkpoint("a")
        await call.checkpoint("b")
        await call.hangup()

    caller = await carrier.call(new_app(mark))
    assert (await caller.logged("played")).text("name") == "a"
    assert (await caller.logged("played", name="b")).text("name") == "b"
    with pytest.raises(CallFailedError, match=r"expected a record 'played' with name='a' in the call's log before"):
        await caller.logged("played", name="a")
    webhook = await caller.called_back("/answer", Event="StartApp")
    assert (webhook.method, webhook.status, webhook.path) == ("POST", 200, "/answer")
    assert b"<Stream" in webhook.body
    assert (await caller.asked_by_rest("DELETE")).path.endswith(f"/Call/{caller.call_id}/")
    with pytest.raises(CallFailedError, match="expected the app to make a REST request, DELETE, about this call"):
        await caller.asked_by_rest("DELETE")
    with pytest.raises(CallFailedError, match="expected a request of /answer with Event='Nothing'"):
        await caller.called_back("/answer", Event="Nothing")


async def test_the_end_of_the_call_is_told(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    assert caller.answered
    assert not caller.ended
    end = await caller.hangs_up()
    assert end is caller.ended
    assert (end.facts["code"], end.facts["source"], end.facts["ran_to_end"]) == (4000, "Caller", True)
    assert await caller.hangs_up() is end, "again, which is nothing"
    assert await caller.is_hung_up() is end


async def test_what_is_done_after_the_end_takes_no_time_and_is_not_heard(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    await caller.hangs_up()
    ended = caller.now_ms
    await caller.say("Hello?")
    await caller.press("1")
    assert caller.now_ms == ended
    with pytest.raises(CallFailedError, match="expected the caller to hear “yes” before the call ended"):
        await caller.hears("yes").within(60)


async def test_a_call_that_does_not_end(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    with pytest.raises(CallFailedError, match="expected the call to end within 3 s"):
        await caller.is_hung_up().within(3)


async def test_the_callers_line_may_be_wide(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(one_two_three), leg="l16-16000")
    await caller.hears("one two three")
    assert caller.telephone.format != MULAW_8K


async def test_a_phrase_needs_a_word(carrier: LabCarrier) -> None:
    caller = await silent(carrier)
    with pytest.raises(UsageError, match="no word to hear"):
        caller.hears("…")


async def test_the_ledger_is_the_carriers_account_of_the_apps_audio(carrier: LabCarrier) -> None:
    calls: list[Call] = []

    async def talk(call: Call) -> None:
        calls.append(call)
        await call.play(call.format.silence_byte * 8 * 2000)
        async for _ in call.dtmf():
            call.clear()

    caller = await carrier.call(new_app(talk))
    ledger = await caller.ledger_shows(sent_ms=2000)
    assert ledger == CallLedger(sent_ms=2000, queued_ms=2000)
    ledger = await caller.ledger_shows(played_ms=500).within(0.6)
    assert (ledger.played_ms, ledger.queued_ms) == (500, 1500)
    await caller.press("1")
    ledger = await caller.ledger_shows(cleared_ms=1).within(0.1)
    assert ledger.played_ms + ledger.cleared_ms == 2000
    assert ledger.queued_ms == 0
    await caller.stays_silent(0.1)
    assert calls[0].ledger.heard_ms() == pytest.approx(ledger.played_ms, abs=20)
    with pytest.raises(CallFailedError, match=r"expected the ledger to show refused_ms=1 within 1 s"):
        await caller.ledger_shows(refused_ms=1).within(1)
    with pytest.raises(UsageError, match="and no heard_ms"):
        caller.ledger_shows(heard_ms=1)


async def test_what_goes_down_with_its_stream_is_in_the_ledger(carrier: LabCarrier) -> None:
    async def leave(call: Call) -> None:
        await call.play(call.format.silence_byte * 8 * 2000)
        call.stop_stream()

    caller = await carrier.call(new_app(leave))
    await caller.is_hung_up()
    ledger = caller.ledger
    assert ledger.sent_ms == 2000
    assert ledger.dropped_ms + ledger.played_ms == 2000
