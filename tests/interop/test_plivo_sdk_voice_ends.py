"""Every way in which a call can end: cause, source and status, told to the hangup URL and to the record alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from plivo.exceptions import ValidationError
from tests.carrier.world import Caller, Request, page, until
from tests.interop.sdk_voice import LONG, SdkVoice, sdk_voice

from bothway.carrier.callee import (
    Answers,
    Behaviour,
    Callee,
    busy,
    confirmer,
    fails,
    human,
    no_answer,
    rejects,
    rings_on,
    unallocated,
    voicemail,
)
from bothway.carrier.script import HangUp, Script, Wait

pytestmark = pytest.mark.virtual_time

Act = Callable[[SdkVoice, str, Caller | None], Awaitable[object]]
STEP = 3.0
"""Seconds into the call at which something is done about it."""


async def hang_up_by_rest(v: SdkVoice, call_id: str, _: Caller | None) -> None:
    await v.sdk("calls.hangup", call_id)


async def cancel(v: SdkVoice, call_id: str, _: Caller | None) -> None:
    await v.sdk("calls.cancel", call_id)


async def caller_hangs_up(_: SdkVoice, __: str, caller: Caller | None) -> None:
    assert caller is not None
    caller.hang_up()


def transfer(to: str) -> Act:
    async def act(v: SdkVoice, call_id: str, _: Caller | None) -> None:
        await v.sdk("calls.transfer", call_id, legs="aleg", aleg_url=to.replace("URL", v.url))

    return act


async def press_one(_: SdkVoice, __: str, caller: Caller | None) -> None:
    assert caller is not None
    caller.press("1")


async def wait(_: SdkVoice, __: str, ___: Caller | None) -> None:
    await asyncio.sleep(55)


class Mute(Caller):
    """A caller from whom nothing comes any more."""

    def _answer(self, frames: int) -> None:
        """Its line is dead."""


@dataclass(frozen=True)
class End:
    """A way to end.

    Attributes:
        name: Of the test.
        code: The cause.
        source: Who ended it.
        status: `CallStatus`.
        document: What the answer URL answers.
        way: Who placed the call.
        does: What the called party does.
        options: Of `calls.create`.
        act: What is done to the call after three seconds.
        kinds: The requests besides the answer and the end.
    """

    name: str
    code: int
    source: str
    status: str = "completed"
    document: str = LONG
    way: Literal["in", "out"] = "out"
    does: Behaviour = field(default_factory=lambda: human("hello", ring=0.5))
    options: dict[str, Any] = field(default_factory=dict)
    act: Act | None = None
    mute: bool = False


def xml(inside: str) -> str:
    return f"<Response>{inside}</Response>"


def digits(attributes: str) -> str:
    return xml(f"<GetDigits numDigits='1' timeout='20' {attributes}><Wait length='1'/></GetDigits><Wait length='9'/>")


GOES = Answers(Script((Wait(2_000), HangUp())), human(ring=0.5).ring)
NO_XML = "URL/no-xml"
GONE = "URL/gone"
NOWHERE = "http://127.0.0.1:1/"

ENDS = [
    End("the caller gives up before the answer", 1000, "Caller", "cancel", "SLOW", way="in", act=caller_hangs_up),
    End("the caller hangs up", 4000, "Caller", way="in", act=caller_hangs_up),
    End("the callee hangs up", 4000, "Callee", does=GOES),
    End("REST while it rings", 1000, "API Request", "cancel", does=rings_on(), act=hang_up_by_rest),
    End("REST cancels the request", 1000, "API Request", "cancel", does=rings_on(), act=cancel),
    End("REST after the answer", 4000, "API Request", act=hang_up_by_rest),
    End("REST before the answer", 4000, "API Request", document="SLOW", way="in", act=hang_up_by_rest),
    End("the document takes no call", 4000, "Answer XML", document=xml("<Hangup/>"), way="in"),
    End("REST on a call that came in", 4000, "API Request", way="in", act=hang_up_by_rest),
    End("the time limit", 6000, "Plivo", options={"time_limit": 7}),
    End("the ring timeout", 6010, "Plivo", "timeout", does=rings_on(), options={"ring_timeout": 9}),
    End("hangup_on_ring", 1000, "API Request", "cancel", does=rings_on(), options={"hangup_on_ring": 5}),
    End("a machine", 9100, "Plivo", does=voicemail(ring=1), options={"machine_detection": "hangup"}),
    End("busy", 3010, "Carrier", "busy", does=busy()),
    End("rejected", 3020, "Carrier", "failed", does=rejects(ring=1)),
    End("no answer", 3000, "Carrier", "no-answer", does=no_answer(ring=9)),
    End("unallocated", 3050, "Carrier", "failed", does=unallocated()),
    End("a network that fails", 5000, "Carrier", "failed", does=fails(ring=1)),
    End("rejected by the document", 3020, "Answer XML", "failed", xml("<Hangup reason='rejected'/>"), way="in"),
    End("busy by the document", 3010, "Answer XML", "busy", xml("<Hangup reason='busy'/>"), way="in"),
    End("too late to reject", 4000, "Answer XML", document=xml("<Wait/><Hangup reason='rejected'/>"), way="in"),
    End("an answered call cannot be rejected", 4000, "Answer XML", document=xml("<Hangup reason='rejected'/>")),
    End("the document hangs up", 4000, "Answer XML", document=xml("<Hangup/>")),
    End("a scheduled end", 6000, "Plivo", document=xml("<Hangup schedule='4'/><Wait length='60'/>")),
    End("an empty document", 4010, "Plivo", document="<Response/>"),
    End("an empty document of a call that came in", 4010, "Plivo", document="<Response/>", way="in"),
    End("the end of the document", 4010, "Plivo", document=xml("<Wait length='2'/>")),
    End("the media timeout", 6020, "Plivo", document=xml("<Wait length='200'/>"), way="in", mute=True, act=wait),
    End("no answer document", 7011, "Error", "completed", "GONE"),
    End("no answer document, and nobody picked up", 7011, "Error", "failed", "GONE", way="in"),
    End("an answer that is no XML", 8011, "Error", document="no XML at all"),
    End("an answer that is JSON", 8011, "Error", document='{"a": 1}'),
    End("an answer that is empty", 8011, "Error", document=""),
    End("no action document", 7012, "Error", document=digits(f"action='{GONE}'"), way="in", act=press_one),
    End("an action that is no XML", 8012, "Error", document=digits(f"action='{NO_XML}'"), way="in", act=press_one),
    End("an action that is no URL", 7022, "Error", document=digits("action='mailto:me'"), way="in", act=press_one),
    End(
        "an action's method", 7032, "Error", document=digits("action='URL/digits' method='PUT'"), way="in",
        act=press_one,
    ),
    End("a transfer to nothing", 7013, "Error", act=transfer(GONE)),
    End("a transfer to a dead host", 7013, "Error", act=transfer(NOWHERE)),
    End("a transfer to no XML", 8013, "Error", act=transfer(NO_XML)),
    End("a redirect to nothing", 7014, "Error", document=xml(f"<Redirect>{GONE}</Redirect>")),
    End("a redirect to no XML", 8014, "Error", document=xml(f"<Redirect>{NO_XML}</Redirect>")),
    End("a redirect that is no URL", 7024, "Error", document=xml("<Redirect>nowhere</Redirect>")),
    End("a redirect's method", 7034, "Error", document=xml("<Redirect method='PUT'>URL/redirect</Redirect>")),
    End("a loop", 2060, "Error", document=xml("<Redirect>URL/redirect</Redirect>")),
]  # fmt: skip


async def slowly(_: Request) -> bytes:
    await asyncio.sleep(10)
    return page(LONG)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
async def test_a_call_ends(tmp_path: Path, end: End) -> None:
    async with sdk_voice(tmp_path, Callee("15550100", end.does), answer=end.document) as v:
        pages = v.w.site.pages
        pages["/gone"] = page("", "404 Not Found")
        pages["/no-xml"] = page("no XML at all")
        v.pages(redirect=xml("<Redirect>URL/redirect</Redirect>"))
        if end.document == "SLOW":
            pages["/answer"] = slowly
        elif end.document == "GONE":
            pages["/answer"] = pages["/gone"]
        caller: Caller | None = None
        if end.way == "in":
            caller, live = v.w.place(pages["/answer"], caller=Mute() if end.mute else Caller())
            call_id = live.call_id
        else:
            call_id = await v.create(**end.options)
        if end.act is not None:
            await asyncio.sleep(STEP)
            await end.act(v, call_id, caller)
        record = await v.over(call_id)
        told = await v.until_asked("hangup", call_id)
        assert (told["HangupCauseCode"], told["HangupSource"]) == (str(end.code), end.source)
        assert told["CallStatus"] == end.status
        assert (record.hangup_cause_code, record.hangup_source) == (end.code, end.source)


async def test_transfers_that_cannot_be_are_refused_beforehand(tmp_path: Path) -> None:
    """So that 7023 and 7033, of which the table of codes has them, are never the end of a call."""
    async with sdk_voice(tmp_path, Callee("1555*", human("hello", ring=0.5))) as v:
        call_id = await v.up()
        with pytest.raises(ValidationError):
            await v.sdk("calls.transfer", call_id, legs="aleg", aleg_url="nowhere")
        with pytest.raises(ValidationError):
            await v.sdk("calls.transfer", call_id, legs="aleg", aleg_url=v.url + "/transfer", aleg_method="PUT")
        assert (await v.sdk("live_calls.get", call_id)).call_status == "in-progress"
        await v.sdk("calls.hangup", call_id)


@pytest.mark.parametrize(
    ("to", "code", "status"),
    [("15559999", 5020, "failed"), ("sip:bob@phone.example.com", 2020, "failed")],
)
async def test_who_cannot_be_reached(tmp_path: Path, to: str, code: int, status: str) -> None:
    async with sdk_voice(tmp_path) as v:
        call_id = await v.create(to)
        assert (await v.over(call_id)).hangup_cause_code == code
        assert (await v.until_asked("hangup"))["CallStatus"] == status


async def test_the_carrier_is_stopped(tmp_path: Path) -> None:
    people = (Callee("15550100", human("hello", ring=0.5)), Callee("15550101", rings_on()))
    async with sdk_voice(tmp_path, *people) as v:
        up, rings = await v.up(), await v.create("15550101")
        await until(lambda: v.told("ring", rings))
        await v.w.carrier.stop()
        v.stopped = True
        for call_id, status in ((up, "completed"), (rings, "failed")):
            (told,) = v.told("hangup", call_id)
            assert (told["HangupCauseCode"], told["HangupSource"], told["CallStatus"]) == ("5010", "Plivo", status)


PERSON = human("hello", ring=1)
ASKED = "confirmSound='URL/sound' confirmKey='1' "


@dataclass(frozen=True)
class Dialled:
    """A way in which a dialled leg ends.

    Attributes:
        does: What the called party does.
        attributes: Of the `<Dial>`.
        code: Of the leg.
        source: Who ended it.
        status: `DialStatus` of the whole.
        cause: `DialHangupCause`.
        rang: Whether it rang.
    """

    name: str
    does: Behaviour
    attributes: str
    code: int
    source: str
    status: str
    cause: str
    rang: bool = True


DIALLED = [
    Dialled("hangs up", GOES, "", 4000, "Callee", "completed", "NORMAL_CLEARING"),
    Dialled("the dial's time limit", PERSON, "timeLimit='5'", 6000, "Plivo", "completed", "NORMAL_CLEARING"),
    Dialled("confirmed", confirmer(ring=1), ASKED + "timeLimit='5'", 6000, "Plivo", "completed", "NORMAL_CLEARING"),
    Dialled("not confirmed", PERSON, ASKED + "confirmTimeout='4'", 9110, "Plivo", "no-answer", "NORMAL_CLEARING"),
    Dialled("the dial's timeout", rings_on(), "timeout='5'", 6010, "Plivo", "timeout", "NO_ANSWER"),
    Dialled("busy", busy(), "", 3010, "Carrier", "busy", "USER_BUSY", rang=False),
    Dialled("rejected", rejects(ring=1), "", 3020, "Carrier", "failed", "CALL_REJECTED"),
    Dialled("no answer", no_answer(ring=9), "", 3000, "Carrier", "no-answer", "NO_ANSWER"),
    Dialled("unallocated", unallocated(), "", 3050, "Carrier", "failed", "UNALLOCATED_NUMBER", rang=False),
    Dialled("a network that fails", fails(ring=1), "", 5000, "Carrier", "failed", "NETWORK_OUT_OF_ORDER"),
]


async def check_leg(v: SdkVoice, parent: str, number: str, code: int, source: str) -> None:
    """The end of a called leg, as the dial's callback tells it and as its own record has it."""
    (told,) = [told for told in v.told("dial hangup") if told["DialBLegTo"] == number]
    assert (told["DialBLegHangupCauseCode"], told["DialBLegHangupSource"]) == (str(code), source)
    record = await v.record(told["DialBLegUUID"])
    assert (record.hangup_cause_code, record.hangup_source, record.to_number) == (code, source, number)
    assert (record.parent_call_uuid, record.call_direction, told["DialALegUUID"]) == (parent, "outbound", parent)
    assert int(told["DialBLegDuration"]) == record.bill_duration
    assert int(told["DialBLegBillDuration"]) == record.billed_duration


@pytest.mark.parametrize("end", DIALLED, ids=lambda end: end.name)
async def test_a_dialled_leg_ends(tmp_path: Path, end: Dialled) -> None:
    number = "<Number>15550101</Number>"
    document = xml(f"<Dial callbackUrl='URL/dial' action='URL/dial-action' {end.attributes}>{number}</Dial>")
    people = (Callee("15550100", human("hello", ring=0.5)), Callee("15550101", end.does))
    async with sdk_voice(tmp_path, *people, answer=document) as v:
        v.pages(dial_action="<Response><Wait/></Response>", sound=xml("<Speak>will you take it</Speak>"))
        call_id = await v.up()
        assert (await v.over(call_id)).hangup_cause_code == 4010
        await until(lambda: not v.w.carrier.calls)
        await check_leg(v, call_id, "15550101", end.code, end.source)
        (told,) = v.told("dial-action")
        assert (told["DialStatus"], told["DialHangupCause"]) == (end.status, end.cause)
        assert told["DialRingStatus"] == ("true" if end.rang else "false")
        assert told["DialALegUUID"] == call_id


async def test_who_is_slower_is_let_go(tmp_path: Path) -> None:
    numbers = "<Number>15550101</Number><Number>15550102</Number>"
    document = xml(f"<Dial callbackUrl='URL/dial'>{numbers}</Dial>")
    people = (Callee("15550101", PERSON), Callee("1555*", human("hello", ring=9)))
    async with sdk_voice(tmp_path, *people, answer=document) as v:
        call_id = await v.up()
        await v.until_asked("dial connected")
        await v.sdk("calls.hangup", call_id)
        await v.over(call_id)
        await until(lambda: not v.w.carrier.calls)
        await check_leg(v, call_id, "15550102", 9000, "Plivo")
        await check_leg(v, call_id, "15550101", 4000, "API Request")
        told = v.told("dial hangup")[-1]
        assert (told["CallStatus"], told["DialBLegTo"]) == ("completed", "15550101"), "the caller's call is over"
