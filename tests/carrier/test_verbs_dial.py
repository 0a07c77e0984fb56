"""`<Dial>` through whole calls: scripted callees, words that are heard, callbacks as an application gets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.world import ACCOUNT, Caller, Request, World, page, until, world

from bothway.audio.format import L16_8K, MULAW_8K
from bothway.audio.tones import dtmf
from bothway.audio.transcode import convert
from bothway.carrier.callee import (
    Behaviour,
    Callee,
    Callees,
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
from bothway.carrier.config import Application, Config, Number
from bothway.carrier.live_call import LiveCall
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice
from bothway.wire.hangup import HangupCause

pytestmark = pytest.mark.virtual_time


@dataclass
class Ended:
    """How a called leg ended, by its own log."""

    to: str
    code: int
    source: str


@dataclass
class Town:
    """A carrier with people to call, and an application that hears of it."""

    w: World
    legs: list[LiveCall] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.w.site.url

    def dial(self, *numbers: str, after: str = "", **attributes: str) -> bytes:
        given = {"callbackUrl": f"{self.url}/dial", **attributes}
        return page(f"<Response>{self.element(*numbers, **given)}{after}</Response>")

    def element(self, *numbers: str, **attributes: str) -> str:
        written = " ".join(f"{name}='{value}'" for name, value in attributes.items())
        return f"<Dial {written}>{''.join(f'<Number>{number}</Number>' for number in numbers)}</Dial>"

    def begin(self, document: bytes) -> Caller:
        caller, _ = self.w.place(document)
        return caller

    async def until_joined(self) -> None:
        await until(lambda: "connected" in self.actions())

    async def call(self, document: bytes, *, hang_up_after: float | None = None) -> Caller:
        """A call to its end; the caller hangs up so many seconds behind the joining."""
        caller = self.begin(document)
        if hang_up_after is not None:
            await self.until_joined()
            await asyncio.sleep(hang_up_after)
            caller.hang_up()
        await self.over(caller)
        return caller

    async def over(self, caller: Caller) -> None:
        await self.w.over(caller)
        await until(lambda: not self.w.carrier.calls)
        assert self.w.carrier._node is not None
        await self.w.carrier._node.writer.drained()

    @property
    def reports(self) -> list[dict[str, str]]:
        return [request.params for request in self.w.site.asked("/dial")]

    def actions(self) -> list[str]:
        return [params["DialAction"] for params in self.reports]

    def outcome(self, *names: str) -> tuple[str, ...]:
        """What the action URL was told."""
        (request,) = self.w.site.asked("/action")
        return tuple(request.params[name] for name in names)

    def ends(self) -> dict[str, tuple[int, str]]:
        """How each called leg ended, by number: as its callback says, and as its own log does."""
        found = {}
        for params in self.reports:
            if params["DialAction"] == "hangup":
                log = self.log(params["DialBLegUUID"])
                end = (int(params["DialBLegHangupCauseCode"]), params["DialBLegHangupSource"])
                assert [(r["code"], r["source"]) for r in log if r["event"] == "ended"] == [end]
                assert params["DialBLegTo"] not in found, "a leg ends once"
                found[params["DialBLegTo"]] = end
        return found

    def log(self, call_id: str) -> list[dict[str, Any]]:
        caller = Caller()
        caller.call_id = call_id
        return self.w.log(caller)


@asynccontextmanager
async def town(tmp_path: Path, people: Mapping[str, Behaviour]) -> AsyncIterator[Town]:
    config = Config(callees=Callees([Callee(number, does) for number, does in people.items()]))
    async with world(tmp_path, config=config, voice=ToneVoice(rate=8000)) as w:
        yield Town(w)


def words(frames: Sequence[bytes]) -> list[str]:
    reader = ToneReader(MULAW_8K)
    return [word.text for frame in frames for word in reader.feed(frame)]


def signed(requests: Iterable[Request]) -> bool:
    return all(
        validate_v3_signature(
            request.method,
            request.url,
            request.headers["x-plivo-signature-v3-nonce"],
            ACCOUNT.auth_token,
            request.headers["x-plivo-signature-v3"],
            request.form,
        )
        for request in requests
    )


# --- one party ----------------------------------------------------------------------------------------------------


async def test_somebody_answers_is_heard_and_the_caller_hangs_up(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human("Hello this is Bob", ring=3)}) as t:
        caller = await t.call(t.dial("2000", action=t.url + "/action"), hang_up_after=61.5)
        assert words(caller.heard) == ["Hello", "this", "is", "Bob"]
        assert t.actions() == ["answer", "connected", "hangup"]
        assert t.ends() == {"2000": (4000, "Caller")}
        assert t.reports[-1]["DialBLegDuration"] == "62"
        assert t.reports[-1]["DialBLegBillDuration"] == "120"
        assert not t.w.site.asked("/action"), "who hung up goes nowhere"
        t.w.check_accounted(caller, 4000, "Caller")


async def test_every_callback_is_whole_and_signed(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": confirmer("77", ring=1)}) as t:
        document = t.dial("2000", action=t.url + "/action", digitsMatchBLeg="77", digitsMatch="5,12")
        caller = t.begin(document)
        await t.until_joined()
        for key in "512":
            caller.press(key)
        await until(lambda: t.actions().count("digits") == 2)
        caller.hang_up()
        await t.over(caller)
        assert [request.params["Event"] for request in t.w.site.asked("/dial")] == [
            "DialAnswer", "DialConnected", "DialDigitsMatch", "DialDigitsMatch", "DialHangup"
        ]  # fmt: skip
        assert [(p["DialDigitsMatch"], p["DialDigitsPressedBy"]) for p in t.reports if p["DialAction"] == "digits"] == [
            ("5", "ALeg"), ("12", "ALeg")
        ]  # fmt: skip
        assert signed(t.w.site.requests)
        legs = {params["DialBLegUUID"] for params in t.reports}
        assert len(legs) == 1
        assert caller.call_id not in legs
        for params in t.reports:
            assert params["CallUUID"] == params["DialALegUUID"] == caller.call_id
            assert (params["DialBLegFrom"], params["DialBLegTo"]) == ("15550001", "2000")
            assert {"From", "To", "Direction", "CallStatus", "STIRVerification", "BillRate", "ParentAuthID"} <= set(
                params
            )
        assert [params["DialBLegStatus"] for params in t.reports] == [
            "answer", "connected", "connected", "connected", "hangup"
        ]  # fmt: skip


async def test_keys_of_the_called_party_are_matched_too(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": confirmer("977", within_ms=1000, ring=1)}) as t:
        caller = await t.call(t.dial("2000", digitsMatchBLeg="77,1"), hang_up_after=5)
        assert [(p["DialDigitsMatch"], p["DialDigitsPressedBy"]) for p in t.reports if p["DialAction"] == "digits"] == [
            ("77", "BLeg")
        ]
        assert caller.digits == "977"


@pytest.mark.parametrize(
    ("does", "code", "status", "word", "rang"),
    [
        (busy(), 3010, "busy", "USER_BUSY", "false"),
        (rejects(), 3020, "failed", "CALL_REJECTED", "true"),
        (no_answer(ring=20), 3000, "no-answer", "NO_ANSWER", "true"),
        (unallocated(), 3050, "failed", "UNALLOCATED_NUMBER", "false"),
        (fails(), 5000, "failed", "NETWORK_OUT_OF_ORDER", "true"),
        (rings_on(), 6010, "timeout", "NO_ANSWER", "true"),
    ],
    ids=["busy", "rejects", "no answer", "unallocated", "fails", "rings on"],
)
@pytest.mark.parametrize("redirect", ["true", "false", "none"])
async def test_nobody_answers(
    tmp_path: Path, does: Behaviour, code: int, status: str, word: str, rang: str, redirect: str
) -> None:
    async with town(tmp_path, {"2000": does}) as t:
        t.w.site.pages["/action"] = page("<Response><Speak>action</Speak></Response>")
        action = {"action": t.url + "/action", "redirect": redirect} if redirect != "none" else {}
        caller = await t.call(t.dial("2000", timeout="30", after="<Speak>next</Speak>", **action))
        source = "Plivo" if code == 6010 else "Carrier"
        assert t.ends() == {"2000": (code, source)}
        assert t.actions() == ["hangup"]
        assert t.reports[0]["DialBLegDuration"] == "0"
        assert words(caller.heard) == ["action" if redirect == "true" else "next"]
        if action:
            assert t.outcome("DialStatus", "DialHangupCause", "DialRingStatus") == (status, word, rang)
            assert t.outcome("DialALegUUID", "DialBLegUUID", "Event") == (caller.call_id, "", "Dial")
            assert signed(t.w.site.requests)
        t.w.check_accounted(caller, 4010)


async def test_nobody_answers_and_nothing_is_behind_it(tmp_path: Path) -> None:
    """The caller was never answered; but a document that has run to its end answers it (plivo-protocol.md, 7.1)."""
    async with town(tmp_path, {"2000": busy()}) as t:
        caller = await t.call(t.dial("2000"))
        t.w.check_accounted(caller, 4010)


async def test_a_number_that_leads_nowhere(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as t:
        await t.call(t.dial("2000", "bob", action=t.url + "/action"))
        assert t.ends() == {"2000": (5020, "Plivo"), "bob": (2000, "Plivo")}
        assert t.outcome("DialStatus", "DialRingStatus") == ("failed", "false")


async def test_the_called_party_hangs_up_and_the_document_goes_on(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": voicemail(message_ms=3000, ring=1)}) as t:
        t.w.site.pages["/action"] = page("<Response><Speak>action</Speak></Response>")
        caller = await t.call(t.dial("2000", action=t.url + "/action"))
        assert t.ends() == {"2000": (4000, "Callee")}
        assert words(caller.heard)[-1] == "action"
        status, leg = t.outcome("DialStatus", "DialBLegUUID")
        assert (status, leg) == ("completed", t.reports[0]["DialBLegUUID"])


async def test_the_time_limit_is_the_joined_calls_and_the_document_goes_on(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human(ring=5)}) as t:
        caller = await t.call(
            t.dial("2000", timeLimit="10", action=t.url + "/action", redirect="false", after="<Speak>bye</Speak>")
        )
        assert t.ends() == {"2000": (6000, "Plivo")}
        assert t.reports[-1]["DialBLegDuration"] == "10"
        assert t.outcome("DialStatus") == ("completed",)
        assert words(caller.heard)[-1] == "bye"
        t.w.check_accounted(caller, 4010)


@pytest.mark.parametrize("phase", ["rings", "talks"])
async def test_a_star_hangs_up_on_the_called_party(tmp_path: Path, phase: str) -> None:
    async with town(tmp_path, {"2000": human(ring=5)}) as t:
        caller = t.begin(
            t.dial("2000", hangupOnStar="true", action=t.url + "/action", redirect="false", after="<Speak>so</Speak>")
        )
        if phase == "talks":
            await t.until_joined()
        else:
            await asyncio.sleep(3)
        caller.press("1")
        caller.press("*")
        await t.over(caller)
        assert t.ends() == {"2000": (4000 if phase == "talks" else 1000, "Caller")}
        assert t.outcome("DialStatus") == ("completed" if phase == "talks" else "cancel",)
        assert words(caller.heard)[-1] == "so"
        t.w.check_accounted(caller, 4010)


async def test_the_callers_time_limit_is_the_called_partys_too(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human(ring=1)}) as t:
        caller, _ = t.w.place(t.dial("2000"), time_limit=20)
        await t.over(caller)
        t.w.check_accounted(caller, 6000, "Plivo")
        assert t.ends() == {"2000": (6000, "Plivo")}


async def test_the_carrier_is_stopped(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human(ring=1)}) as t:
        caller = t.begin(t.dial("2000"))
        await t.until_joined()
        await t.w.carrier.stop()
        assert caller.cause == HangupCause.of(5010, "Plivo")
        assert t.ends() == {"2000": (5010, "Plivo")}


async def test_keys_are_pressed_towards_who_answers(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human(ring=1)}) as t:
        document = page("<Response><Dial><Number sendDigits='w1W2'>2000</Number></Dial></Response>")
        caller = t.begin(document)
        await until(lambda: caller.is_answered)
        (leg,) = [call for call in t.w.carrier.calls.values() if call.facts.parent_call_uuid == caller.call_id]
        summons = getattr(leg.leg, "summons", None)
        assert summons is not None
        assert summons.digits.presses == ((500, "1"), (1700, "2"))
        caller.hang_up()
        await t.over(caller)


# --- several parties ----------------------------------------------------------------------------------------------


async def test_who_answers_first_wins_and_the_others_lose_the_race(tmp_path: Path) -> None:
    people: Mapping[str, Behaviour] = {
        "2000": human("slow", ring=4),
        "3000": human("fast", ring=2),
        "4000": rings_on(),
        "5000": busy(),
    }
    async with town(tmp_path, people) as t:
        caller = await t.call(t.dial("2000", "3000", "4000", "5000"), hang_up_after=5)
        assert words(caller.heard) == ["fast"]
        assert t.ends() == {
            "2000": (9000, "Plivo"), "3000": (4000, "Caller"), "4000": (9000, "Plivo"), "5000": (3010, "Carrier")
        }  # fmt: skip
        assert t.actions().count("connected") == t.actions().count("answer") == 1


async def test_one_dial_after_another_rings_one_after_another(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": no_answer(ring=5), "3000": busy(), "4000": human("third", ring=1)}) as t:
        back = {"callbackUrl": f"{t.url}/dial"}
        dials = "".join(t.element(number, **back) for number in ("2000", "3000", "4000"))
        caller = await t.call(page(f"<Response>{dials}</Response>"), hang_up_after=5)
        assert words(caller.heard) == ["third"]
        assert t.ends() == {"2000": (3000, "Carrier"), "3000": (3010, "Carrier"), "4000": (4000, "Caller")}


async def test_of_two_that_answer_in_the_same_moment_one_is_joined(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human("one", ring=2), "3000": human("two", ring=2)}) as t:
        caller = await t.call(t.dial("2000", "3000"), hang_up_after=3)
        assert sorted(code for code, _ in t.ends().values()) == [4000, 9000]
        assert len(words(caller.heard)) == 1


# --- who is asked to confirm --------------------------------------------------------------------------------------

CONFIRM = "<Response><Speak>Press one to take the call</Speak></Response>"


@asynccontextmanager
async def asking(tmp_path: Path, people: Mapping[str, Behaviour]) -> AsyncIterator[Town]:
    async with town(tmp_path, people) as t:
        t.w.site.pages["/confirm"] = page(CONFIRM)
        yield t


def confirm(t: Town, **attributes: str) -> dict[str, str]:
    return {"confirmSound": t.url + "/confirm", "confirmKey": "1", "action": t.url + "/action", **attributes}


async def test_who_presses_the_key_is_joined(tmp_path: Path) -> None:
    async with asking(tmp_path, {"2000": confirmer("1", ring=1)}) as t:
        await t.call(t.dial("2000", **confirm(t)), hang_up_after=2)
        assert t.actions() == ["answer", "connected", "hangup"]
        assert t.ends() == {"2000": (4000, "Caller")}
        (asked,) = t.w.site.asked("/confirm")
        assert asked.form["Event"] == "ConfirmSound"
        assert asked.form["ParentCallUUID"] == t.reports[0]["DialALegUUID"]


@pytest.mark.parametrize(("keys", "seconds"), [("2", "60"), ("", "3")])
async def test_who_does_not_confirm_is_not_joined(tmp_path: Path, keys: str, seconds: str) -> None:
    async with asking(tmp_path, {"2000": confirmer(keys, ring=1) if keys else human(ring=1)}) as t:
        caller = await t.call(
            t.dial("2000", after="<Speak>nobody</Speak>", redirect="false", **confirm(t, confirmTimeout=seconds))
        )
        assert t.actions() == ["answer", "hangup"]
        assert t.ends() == {"2000": (9110, "Plivo")}
        assert t.reports[-1]["DialBLegHangupCauseName"] == "Confirm Key Challenge Failed"
        assert t.outcome("DialStatus", "DialBLegUUID", "DialRingStatus") == ("no-answer", "", "true")
        assert words(caller.heard) == ["nobody"]


async def test_of_several_the_first_that_confirms_is_joined(tmp_path: Path) -> None:
    people = {"2000": human(ring=1), "3000": confirmer("2", ring=1), "4000": confirmer("1", after_ms=2000, ring=3)}
    async with asking(tmp_path, people) as t:
        await t.call(t.dial("2000", "3000", "4000", **confirm(t)), hang_up_after=2)
        assert t.ends() == {"2000": (9000, "Plivo"), "3000": (9110, "Plivo"), "4000": (4000, "Caller")}
        assert t.actions().count("answer") == 3


async def test_a_sound_alone_is_heard_out(tmp_path: Path) -> None:
    async with asking(tmp_path, {"2000": human("", ring=1)}) as t:
        attributes = {name: value for name, value in confirm(t).items() if name != "confirmKey"}
        caller = t.begin(t.dial("2000", **attributes))
        await until(lambda: "answer" in t.actions())
        began = asyncio.get_running_loop().time()
        await t.until_joined()
        assert asyncio.get_running_loop().time() - began > 0.5
        caller.hang_up()
        await t.over(caller)


async def test_the_caller_hears_nothing_of_the_question(tmp_path: Path) -> None:
    async with asking(tmp_path, {"2000": confirmer("1", says="who is it", ring=1)}) as t:
        t.w.site.pages["/music"] = page("<Response><Speak>la</Speak></Response>")
        caller = await t.call(t.dial("2000", dialMusic=t.url + "/music", **confirm(t)), hang_up_after=2)
        assert set(words(caller.heard)) == {"la"}


async def test_music_is_heard_while_it_rings_and_is_over_when_it_does_not(tmp_path: Path) -> None:
    async with town(tmp_path, {"2000": human("Bob", ring=6)}) as t:
        t.w.site.pages["/music"] = page(
            "<Response><Speak>one two</Speak><Wait length='1'/><Speak loop='2'>x</Speak></Response>"
        )
        caller = await t.call(t.dial("2000", dialMusic=t.url + "/music"), hang_up_after=3)
        heard = words(caller.heard)
        assert heard[:8] == ["one", "two", "x", "x", "one", "two", "x", "x"]
        assert heard[-1] == "Bob"
        assert heard.count("Bob") == 1


# --- the carrier's own numbers ------------------------------------------------------------------------------------


async def test_a_number_of_the_carriers_own_is_two_calls_and_both_hear_each_other(tmp_path: Path) -> None:
    async with world(tmp_path, voice=ToneVoice(rate=8000)) as probe:
        site = probe.site
        site.pages["/desk"] = page("<Response><Speak>Front desk</Speak><Wait length='1'/></Response>")
        config = Config(
            applications=(Application("desk", site.url + "/desk"),), numbers=(Number("+1 555 0199", "desk"),)
        )
        async with world(tmp_path / "own", voice=ToneVoice(rate=8000), config=config) as w:
            t = Town(w)
            caller = await t.call(t.dial("15550199", action=t.url + "/action"))
            assert words(caller.heard) == ["Front", "desk"]
            assert t.outcome("DialStatus") == ("completed",)
            assert t.ends() == {"15550199": (4000, "Callee")}


@pytest.mark.parametrize("star", [True, False])
async def test_a_callers_keys_may_be_tones(tmp_path: Path, *, star: bool) -> None:
    """They count, and are not pressed a second time towards the called party, who has heard them."""
    keys = convert(dtmf("12*" if star else "12"), L16_8K, MULAW_8K)
    frames = [keys[at : at + 160] for at in range(0, len(keys), 160)]

    class Toned(Caller):
        """A caller whose telephone sends tones."""

        def _answer(self, count: int) -> None:
            for _ in range(count):
                self.says = frames.pop(0) if talking and frames else MULAW_8K.silent_frame
                super()._answer(1)

    talking = False
    async with town(tmp_path, {"2000": human(ring=1)}) as t:
        document = t.dial("2000", digitsMatch="12", hangupOnStar="true" if star else "false")
        caller, _ = t.w.place(document, caller=Toned())
        await t.until_joined()
        talking = True
        await asyncio.sleep(2)
        if not star:
            caller.hang_up()
        await t.over(caller)
        assert [p["DialDigitsMatch"] for p in t.reports if p["DialAction"] == "digits"] == ["12"]
        assert t.ends() == {"2000": (4000, "Caller")}
        log = t.log(t.reports[0]["DialBLegUUID"])
        assert not [record for record in log if record["event"] == "send_dtmf"]
