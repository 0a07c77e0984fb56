from __future__ import annotations

import numpy as np
import pytest
from tests.testing.apps import new_app, say, sentences

from bothway import Call
from bothway.audio.format import MULAW_8K
from bothway.audio.transcode import to_l16
from bothway.testing.caller import Caller
from bothway.testing.expectation import CallFailedError
from bothway.testing.lab import LabCarrier
from bothway.testing.story import evidence_of, tell


async def conversation(carrier: LabCarrier) -> Caller:
    """The app greets, the caller asks, the app answers; then the caller expects what does not come, and hangs up."""

    async def answer(call: Call) -> None:
        await say(call, "Good morning")
        async for sentence in sentences(call):
            await say(call, f"you said {sentence}")

    caller = await carrier.call(new_app(answer))
    await caller.hears("morning")
    await caller.say("hello there")
    await caller.hears("you said hello there")
    with pytest.raises(CallFailedError):
        await caller.hears("goodbye").within(1)
    return caller


async def test_the_timeline_tells_who_said_what_and_where_it_went_wrong(carrier: LabCarrier) -> None:
    caller = await conversation(carrier)
    lines = tell(caller).splitlines()
    told = "\n".join(lines)
    order = [
        "caller   calls 14155550199 from 14155550100",
        "carrier  answers the call",
        "app      is heard to say “Good morning”",
        "caller   says “hello there”",
        "app      is heard to say “you said hello there”",
        "test     expected the caller to hear “goodbye” within 1 s; no word was heard",
    ]
    places = [told.index(text) for text in order]
    assert places == sorted(places)
    (marked,) = [line for line in lines if line.startswith("▶")]
    assert "goodbye" in marked
    assert lines.index(marked) > lines.index(next(line for line in lines if "you said" in line))
    assert "recording:" not in told, "there is no file to look at"
    assert "\x1b" not in told
    assert "\x1b[1m" in tell(caller, colour=True)


async def test_the_timeline_of_a_call_that_was_never_answered(carrier: LabCarrier) -> None:
    caller = await carrier.call(new_app(conversation), "/nowhere")
    await caller.is_hung_up()
    told = tell(caller)
    assert "got no answer document: https://app.test/nowhere answered 404" in told
    assert "the call did not run to its end" in told


async def test_the_evidence_is_what_was_said_and_heard(carrier: LabCarrier) -> None:
    caller = await conversation(carrier)
    evidence = evidence_of(caller)
    assert evidence.samples is not None
    assert evidence.call_id == caller.call_id
    assert not evidence.complete
    said, heard = caller.telephone.tape()
    np.testing.assert_array_equal(evidence.samples[:, 0], np.frombuffer(to_l16(said, MULAW_8K.encoding), "<i2"))
    np.testing.assert_array_equal(evidence.samples[:, 1], np.frombuffer(to_l16(heard, MULAW_8K.encoding), "<i2"))
    assert [utterance.speaker for utterance in evidence.utterances] == ["app", "caller", "app"]
    await caller.hangs_up()
    assert evidence_of(caller).complete
