"""Two legs of a call: how they are joined and parted, told apart, and what each of them is as a call of its own."""

from __future__ import annotations

import asyncio
import math
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.carrier.phone import Phone, connect
from tests.carrier.world import Caller, Socket, World, page, world

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import dtmf, ringback, tone
from bothway.audio.transcode import convert, to_l16
from bothway.carrier.api.switch import RefusedError, TransferRequest
from bothway.carrier.call_control import LiveCallControl
from bothway.carrier.live_call import LiveCall
from bothway.wire.hangup import HangupCause

pytestmark = pytest.mark.virtual_time

QUIET = MULAW_8K.silent_frame
ANN, BOB = b"\x11" * 160, b"\x22" * 160


class Counting(Phone):
    """A party whose frames are numbered: those of two such are never the same."""

    def __init__(self, first: int, audio_format: AudioFormat = MULAW_8K) -> None:
        super().__init__(audio_format)
        self.first = first
        self.said: list[bytes] = []

    def _answer(self, frames: int) -> None:
        for _ in range(frames):
            number = len(self.said) % 100 + self.first
            self.says = bytes([number]) * self.format.frame_bytes
            self.said.append(self.says)
            super()._answer(1)


def dial(inside: str = "<Number>2000</Number>", after: str = "", **attributes: str) -> bytes:
    written = " ".join(f"{name}='{value}'" for name, value in attributes.items())
    return page(f"<Response><Dial {written}>{inside}</Dial>{after}</Response>")


def call_of(w: World, party: Caller) -> LiveCall:
    return w.carrier.calls[party.call_id]


async def both(w: World, phone: Phone, caller: Caller) -> None:
    """See both calls to their end."""
    await w.over(caller)
    await w.over(phone)


def run_of(frames: Sequence[bytes], said: Sequence[bytes]) -> int:
    """How many frames were heard as they were said, in order and without a gap, from the first that was heard on."""
    heard = [frame for frame in frames if frame != QUIET]
    assert heard, "nothing was heard"
    first = said.index(heard[0])
    assert heard == list(said[first : first + len(heard)])
    return len(heard)


async def test_two_legs_hear_each_other_sample_by_sample(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = Counting(1), connect(w, "2000", Counting(120))
        assert isinstance(bob, Counting)
        ann.has_answered = True
        w.place(dial(), caller=ann)
        await bob.answers()
        await asyncio.sleep(5)
        ann.hang_up()
        await both(w, bob, ann)
        assert run_of(ann.heard, bob.said) >= 245
        assert run_of(bob.heard, ann.said) >= 245


@pytest.mark.parametrize(("one", "other"), [(MULAW_8K, L16_16K), (L16_16K, L16_8K)], ids=str)
async def test_two_legs_that_are_coded_otherwise_hear_each_other(
    tmp_path: Path, one: AudioFormat, other: AudioFormat
) -> None:
    def says(hertz: float, fmt: AudioFormat) -> bytes:
        return convert(tone(hertz, 20, 8000, -10.0), L16_8K, fmt)

    async with world(tmp_path) as w:
        ann = Caller(one, says=says(500.0, one))
        bob = connect(w, "2000", Phone(other, says=says(1000.0, other)))
        w.place(dial(), caller=ann)
        await bob.answers()
        await asyncio.sleep(1)
        ann.hang_up()
        await both(w, bob, ann)
        for heard, fmt, pitch in ((ann.heard, one, 1000), (bob.heard, other, 500)):
            frame = np.frombuffer(to_l16(heard[-5], fmt.encoding), "<i2")
            assert int(np.argmax(np.abs(np.fft.rfft(frame)))) * 50 == pitch


async def test_a_called_leg_is_a_call_of_its_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "2000")
        document = dial(
            "<Number sipHeaders='b=2,PH-x=3'>2000</Number>", callerId="+15559999", callerName="Ann", sipHeaders="a=1"
        )
        ann, _ = w.place(document)
        summons = await bob.called()
        assert (summons.from_, summons.to, summons.caller_name) == ("15559999", "2000", "Ann")
        assert summons.headers == (("X-PH-a", "1"), ("X-PH-b", "2"))
        facts = call_of(w, bob).facts
        assert facts.call_uuid == bob.call_id != ann.call_id
        assert facts.parent_call_uuid == ann.call_id
        assert (facts.from_, facts.to, facts.direction) == ("15559999", "2000", "outbound")
        assert facts.sip_headers == summons.headers
        await bob.answers()
        await asyncio.sleep(1)
        bob.hang_up()
        await both(w, bob, ann)
        events = [record["event"] for record in w.log(bob)]
        assert events[0] == "call"
        assert {"ringing", "answered", "ended"} <= set(events)
        assert bob.cause == HangupCause.of(4000, "Callee")
        assert [request.params["CallUUID"] for request in w.site.requests] == [ann.call_id] * 2, (
            "no callbacks of its own"
        )


async def test_who_calls_is_who_called_where_the_document_does_not_say(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "sip:bob@example.com")
        user = "<User sipAuthUsername='ann' sipAuthPassword='a long secret'>sip:bob@example.com</User>"
        ann, _ = w.place(dial(user))
        summons = await bob.called()
        assert (summons.from_, summons.to) == ("15550001", "sip:bob@example.com")
        assert summons.sip_auth is not None
        assert (summons.sip_auth.username, summons.sip_auth.password) == ("ann", "a long secret")
        ann.hang_up()
        await both(w, bob, ann)


async def test_a_caller_that_is_not_answered_hears_it_ring_and_is_answered_when_it_is_joined(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "2000", Phone(says=BOB))
        ann, _ = w.place(dial())
        await bob.rings(7)
        assert ann.events("answered") == []
        once = convert(ringback(), L16_8K, MULAW_8K)
        first = next(place for place, frame in enumerate(ann.heard) if frame != QUIET)
        assert b"".join(ann.heard[first : first + 300]) == once
        assert [rms_dbfs(to_l16(frame, MULAW_8K.encoding)) > -30 for frame in ann.heard[-20:]] == [True] * 20, "again"
        await bob.answers()
        await ann.hears(BOB, 10)
        assert ann.is_answered
        first = ann.heard.index(BOB)
        assert set(ann.heard[first:]) == {BOB}, "the tone is cut off"
        ann.hang_up()
        await both(w, bob, ann)


async def test_real_early_media_is_heard_by_the_caller_alone(tmp_path: Path) -> None:
    announced = b"\x33" * 160
    async with world(tmp_path) as w:
        bob = connect(w, "2000", Phone(says=BOB))
        ann, _ = w.place(dial(dialMusic="real"), caller=Caller(says=ANN))
        await bob.rings(1)
        await bob.announces(announced)
        await ann.hears(announced, 50)
        assert not ann.is_answered
        bob.has_answered = True
        bob.sink.callee_answered()
        await ann.hears(BOB, 50)
        bob.hang_up()
        await both(w, bob, ann)
        heard = [frame for frame in ann.heard if frame in (announced, BOB)]
        assert heard == sorted(heard, reverse=True), "first the one, then the other"
        assert ANN in bob.heard
        assert bob.heard.count(QUIET) <= 2


async def test_who_comes_second_with_early_media_does_not_silence_the_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob, eve = connect(w, "2000"), connect(w, "3000")
        parties = "<Number>2000</Number><Number sendOnPreanswer='true' sendDigits='1'>3000</Number>"
        ann, _ = w.place(dial(parties, dialMusic="real"))
        await bob.announces(BOB)
        await ann.hears(BOB, 10)
        await eve.announces(b"\x44" * 160)
        await ann.hears(BOB, 60)
        assert b"\x44" * 160 not in ann.heard
        ann.hang_up()
        await both(w, bob, ann)
        await w.over(eve)


async def test_what_is_said_to_the_question_is_not_for_the_caller(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/confirm"] = page("<Response><Wait length='60'/></Response>")
        bob = connect(w, "2000", Phone(says=BOB))
        document = dial(dialMusic="real", confirmSound=f"{w.site.url}/confirm", confirmKey="1")
        ann, _ = w.place(document, caller=Caller(says=ANN))
        await bob.announces(b"\x33" * 160)
        await ann.hears(b"\x33" * 160, 50)
        await bob.answers()
        await asyncio.sleep(2)
        assert BOB not in ann.heard
        assert ANN not in bob.heard
        bob.press("1")
        await ann.hears(BOB, 50)
        assert ANN in bob.heard
        ann.hang_up()
        await both(w, bob, ann)


async def test_keys_go_across_and_the_callers_own_to_its_stream(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "2000")
        document = w.stream(keepCallAlive="false", after="<Dial><Number>2000</Number></Dial>")
        ann, _ = w.place(document)
        socket = await w.streams.first()
        await bob.answers()
        await asyncio.sleep(0.5)
        ann.press("1")
        bob.press("2")
        await asyncio.sleep(0.5)
        assert (bob.digits, ann.digits) == ("1", "2")
        assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["1"]
        ann.hang_up()
        await both(w, bob, ann)


async def test_the_called_partys_keys_may_be_tones(tmp_path: Path) -> None:
    keys = convert(dtmf("12"), L16_8K, MULAW_8K)
    frames = [keys[at : at + 160] for at in range(0, len(keys), 160)]

    class Toned(Phone):
        def _answer(self, count: int) -> None:
            for _ in range(count):
                self.says = frames.pop(0) if len(self.heard) > 50 and frames else QUIET
                super()._answer(1)

    async with world(tmp_path) as w:
        bob = connect(w, "2000", Toned())
        ann, _ = w.place(dial(digitsMatchBLeg="12", callbackUrl=w.site.url + "/dial"))
        await bob.answers()
        await asyncio.sleep(3)
        ann.hang_up()
        await both(w, bob, ann)
        found = [request.params for request in w.site.asked("/dial") if request.params["DialAction"] == "digits"]
        assert [(params["DialDigitsMatch"], params["DialDigitsPressedBy"]) for params in found] == [("12", "BLeg")]
        assert ann.digits == "", "it has heard them"


async def test_a_stream_beside_hears_both_directions(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.closed.wait()

    async with world(tmp_path, app) as w:
        bob = connect(w, "2000", Phone(says=BOB))
        document = w.stream(
            bidirectional="false", audioTrack="both", keepCallAlive="false", after="<Dial><Number>2000</Number></Dial>"
        )
        ann, _ = w.place(document, caller=Caller(says=ANN))
        socket = await w.streams.first()
        await bob.answers()
        await ann.hears(BOB, 50)
        ann.hang_up()
        await both(w, bob, ann)
        tracks: dict[str, set[bytes]] = {"inbound": set(), "outbound": set()}
        for message in socket.all("media")[20:]:
            tracks[message["media"]["track"]].add(b64decode(message["media"]["payload"]))
        assert ANN in tracks["inbound"]
        assert BOB in tracks["outbound"]
        assert BOB not in tracks["inbound"]


@pytest.mark.parametrize("leg", ["the caller", "the called party"])
async def test_a_recording_of_either_leg_has_both_parties(tmp_path: Path, leg: str) -> None:
    class Tape:
        def __init__(self) -> None:
            self.frames: list[tuple[bytes, bytes]] = []

        def frame(self, from_caller: bytes, to_caller: bytes) -> None:
            self.frames.append((from_caller, to_caller))

    async with world(tmp_path) as w:
        bob = connect(w, "2000", Phone(says=BOB))
        ann, _ = w.place(dial(), caller=Caller(says=ANN))
        await bob.answers()
        tape = Tape()
        media = call_of(w, ann if leg == "the caller" else bob).media
        assert media is not None
        media.add_tap(tape)
        await asyncio.sleep(1)
        bob.hang_up()
        await both(w, bob, ann)
        own, other = (ANN, BOB) if leg == "the caller" else (BOB, ANN)
        assert tape.frames.count((own, other)) >= 45


# --- who ends what, and when --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["called", "rings", "announces", "is asked", "talks"])
@pytest.mark.parametrize("who", ["the caller", "the called party", "the API, the caller", "the API, the called party"])
async def test_an_early_end_in_every_phase(tmp_path: Path, phase: str, who: str) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/confirm"] = page("<Response><Wait length='60'/></Response>")
        bob = connect(w, "2000")
        asked = {"confirmSound": f"{w.site.url}/confirm", "confirmKey": "1"} if phase == "is asked" else {}
        ann, _ = w.place(dial(after="<Wait length='2'/>", dialMusic="real", callbackUrl=w.site.url + "/dial", **asked))
        await bob.called()
        if phase == "rings":
            await bob.rings(1)
        elif phase == "announces":
            await bob.announces(BOB)
        elif phase != "called":
            await bob.answers(1)
        await asyncio.sleep(1)
        answered = phase in ("is asked", "talks")
        if who == "the caller":
            ann.hang_up()
        elif who == "the called party" and answered:
            bob.hang_up()
        elif who == "the called party":
            bob.sink.callee_refused(HangupCause.of(3020, "Carrier"), "")
        else:
            call_of(w, ann if who == "the API, the caller" else bob).hangup(HangupCause.of(4000, "API Request"))
        await both(w, bob, ann)
        assert bob.cause is not None
        source = (
            "API Request" if "API" in who else "Caller" if who == "the caller" else "Callee" if answered else "Carrier"
        )
        code = (4000 if answered else 1000) if "caller" in who else 4000
        if who == "the called party" and not answered:
            code = 3020
        assert (bob.cause.code, bob.cause.source) == (code, source)
        hung_up = [request.params for request in w.site.asked("/dial") if request.params["DialAction"] == "hangup"]
        assert [(params["DialBLegHangupCauseCode"], params["DialBLegHangupSource"]) for params in hung_up] == [
            (str(code), source)
        ]
        assert ann.cause is not None
        if "caller" not in who:
            assert ann.cause.code == 4010, "its document went on, to its end"
        assert w.carrier.calls == {}


async def test_a_caller_that_is_transferred_while_it_rings(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/other"] = page("<Response><Wait length='2'/></Response>")
        bob = connect(w, "2000")
        ann, call = w.place(dial())
        await bob.rings(1)
        call.transfer(w.site.url + "/other", "POST")
        await both(w, bob, ann)
        assert bob.cause == HangupCause.of(1000, "API Request")
        w.check_accounted(ann, 4010)
        assert ann.is_answered


# --- transfers of two that are joined -----------------------------------------------------------------------------


async def joined(w: World, document: bytes | None = None) -> tuple[Caller, Phone]:
    w.site.pages["/a"] = page("<Response><Wait length='2'/><Hangup/></Response>")
    w.site.pages["/b"] = page("<Response><Wait length='4'/><Hangup/></Response>")
    bob = connect(w, "2000", Phone(says=BOB))
    ann, _ = w.place(document or dial(), caller=Caller(says=ANN))
    await bob.answers(1)
    await ann.hears(BOB, 10)
    return ann, bob


async def test_the_first_leg_is_transferred_and_the_second_one_is_hung_up(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = await joined(w)
        call = call_of(w, ann)
        LiveCallControl(call).transfer(TransferRequest(legs="aleg", aleg_url=w.site.url + "/a"))
        assert call.far_leg is None
        await both(w, bob, ann)
        assert bob.cause == HangupCause.of(4000, "API Request")
        w.check_accounted(ann, 4000, "Answer XML")
        assert w.site.events("/a") == ["Redirect"]


@pytest.mark.parametrize("redirect", ["true", "false", None])
async def test_the_second_leg_is_transferred_and_the_first_one_goes_on(tmp_path: Path, redirect: str | None) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/action"] = page("<Response><Wait length='1'/></Response>")
        action = {"action": w.site.url + "/action", "redirect": redirect} if redirect else {}
        ann, bob = await joined(w, dial(after="<Wait length='2'/>", **action))
        LiveCallControl(call_of(w, ann)).transfer(TransferRequest(legs="bleg", bleg_url=w.site.url + "/b"))
        await asyncio.sleep(0.1)
        heard, own = len(ann.heard), len(bob.heard)
        await both(w, bob, ann)
        assert BOB not in ann.heard[heard:], "they do not hear each other any more"
        assert ANN not in bob.heard[own:]
        w.check_accounted(ann, 4010)
        assert bob.cause == HangupCause.of(4000, "Answer XML")
        (transferred,) = w.site.asked("/b")
        assert transferred.params["CallUUID"] == bob.call_id
        assert transferred.params["ParentCallUUID"] == ann.call_id
        followed = [request.params for request in w.site.asked("/action")]
        assert [params["DialStatus"] for params in followed] == (["completed"] if redirect else [])
        assert {params["DialBLegUUID"] for params in followed} <= {bob.call_id}


async def test_both_legs_are_transferred_and_neither_goes_on_where_it_was(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = await joined(w, dial(after="<Hangup/>", action="http://127.0.0.1:1/action"))
        request = TransferRequest(legs="both", aleg_url=w.site.url + "/a", bleg_url=w.site.url + "/b")
        LiveCallControl(call_of(w, ann)).transfer(request)
        await both(w, bob, ann)
        for party, path in ((ann, "/a"), (bob, "/b")):
            assert party.cause == HangupCause.of(4000, "Answer XML")
            assert [request.params["CallUUID"] for request in w.site.asked(path)] == [party.call_id]


async def test_a_leg_that_was_transferred_may_dial_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = await joined(w, dial(after="<Wait length='20'/>"))
        w.site.pages["/b"] = page("<Response><Dial><Number>3000</Number></Dial></Response>")
        eve = connect(w, "3000", Phone(says=b"\x44" * 160))
        LiveCallControl(call_of(w, ann)).transfer(TransferRequest(legs="bleg", bleg_url=w.site.url + "/b"))
        await eve.answers()
        await bob.hears(b"\x44" * 160, 20)
        await eve.hears(BOB, 20)
        ann.hang_up()
        await asyncio.sleep(1)
        assert bob.cause is None, "it has nothing to do with its first caller any more"
        bob.hang_up()
        await both(w, bob, ann)
        await w.over(eve)
        assert eve.cause == HangupCause.of(4000, "Caller")


async def test_a_leg_that_is_transferred_is_not_listened_to_any_more(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = await joined(w, dial(digitsMatchBLeg="12"))
        media = call_of(w, bob).media
        assert media is not None
        before = len(media._ears)
        LiveCallControl(call_of(w, ann)).transfer(TransferRequest(legs="bleg", bleg_url=w.site.url + "/b"))
        assert (before, len(media._ears)) == (1, 0)
        await both(w, bob, ann)


async def test_a_leg_that_is_transferred_while_it_is_asked_is_lost_to_its_dial_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/confirm"] = page("<Response><Wait length='60'/></Response>")
        w.site.pages["/b"] = page("<Response><Wait length='2'/><Hangup/></Response>")
        bob, eve = connect(w, "2000"), connect(w, "3000", Phone(says=BOB))
        ann, _ = w.place(
            dial(after="<Dial><Number>3000</Number></Dial>", confirmSound=f"{w.site.url}/confirm", confirmKey="1")
        )
        await bob.answers()
        await asyncio.sleep(1)
        LiveCallControl(call_of(w, bob)).transfer(TransferRequest(legs="aleg", aleg_url=w.site.url + "/b"))
        await eve.answers()
        await ann.hears(BOB, 10)
        bob.press("5")
        await w.over(bob)
        await asyncio.sleep(1)
        assert bob.cause == HangupCause.of(4000, "Answer XML")
        assert (ann.digits, ann.cause) == ("", None), (
            "what it does now is nothing to the next dial, whose first leg is eve"
        )
        ann.hang_up()
        await both(w, eve, ann)
        assert eve.cause == HangupCause.of(4000, "Caller")


async def test_where_nobody_is_joined_there_is_no_second_leg(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bob = connect(w, "2000")
        ann, call = w.place(page("<Response><Wait length='1'/><Dial><Number>2000</Number></Dial></Response>"))
        await bob.rings(1)
        with pytest.raises(RefusedError, match="no second leg"):
            LiveCallControl(call).transfer(TransferRequest(legs="bleg", bleg_url=w.site.url + "/b"))
        ann.hang_up()
        await both(w, bob, ann)


# --- a machine that stood still -----------------------------------------------------------------------------------


async def test_minutes_of_talk_have_no_gap(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ann, bob = Counting(1), connect(w, "2000", Counting(120))
        assert isinstance(bob, Counting)
        ann.has_answered = True
        w.place(dial(), caller=ann)
        await bob.answers()
        await asyncio.sleep(120)
        ann.hang_up()
        await both(w, bob, ann)
        assert run_of(ann.heard, bob.said) >= math.floor(120 / 0.02) - 5
