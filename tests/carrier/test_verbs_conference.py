"""`<Conference>` through whole calls with audio."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path

import pytest
from tests.carrier.conferring import (
    Speaker,
    callbacks,
    conference,
    did_hear,
    enter,
    leave,
    live,
    now_ms,
    should_hear,
)
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import page, until

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat, Encoding
from bothway.audio.tones import dtmf
from bothway.audio.word_tones import encode
from bothway.carrier.config import Account, Application
from bothway.speech.tone_reader import ToneReader

pytestmark = pytest.mark.virtual_time

ALAW_8K = AudioFormat(Encoding.ALAW, 8000)
GONE = "<Speak>it is over</Speak>"


# Who hears whom.


async def test_three_hear_the_sum_of_the_others_to_the_sample(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        people = [Speaker() for _ in range(3)]
        for one in people:
            await enter(w, one)
        since = now_ms()
        for one, hertz in zip(people, (437, 1203, 2119), strict=True):
            one.hum(hertz, 600)
            await asyncio.sleep(0.25)
        await asyncio.sleep(1)
        for one in people:
            others = [other for other in people if other is not one]
            heard = did_hear(one, since)
            assert heard == should_hear(one, *others, since=since)
            assert len({frame for frame in heard.values() if frame != MULAW_8K.silent_frame}) > 40
        await leave(w, *people)
        enters = callbacks(w.site, "enter")
        assert [params["ConferenceMemberID"] for params in enters] == ["1", "2", "3"]
        assert [params["ConferenceFirstMember"] for params in enters] == ["true", "false", "false"]
        assert [params["ConferenceLastMember"] for params in callbacks(w.site, "exit")] == ["false", "false", "true"]
        assert {params["Event"] for params in enters} == {"ConferenceEnter"}
        assert {params["ConferenceName"] for params in enters} == {"room"}
        assert len({params["ConferenceUUID"] for params in enters}) == 1
        for one in people:
            w.check_accounted(one, 4000, "Caller")


async def test_members_of_all_codings_understand_each_other(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        people = [Speaker(audio_format) for audio_format in (MULAW_8K, ALAW_8K, L16_8K, L16_16K)]
        for one in people:
            await enter(w, one)
        for word, one in zip(("anna", "ben", "carl", "dora"), people, strict=True):
            one.say(encode(word, 8000))
            await asyncio.sleep(1)
        assert [one.words for one in people] == [
            ["ben", "carl", "dora"],
            ["anna", "carl", "dora"],
            ["anna", "ben", "dora"],
            ["anna", "ben", "carl"],
        ]
        await leave(w, *people)


async def test_a_muted_member_hears_and_is_not_heard(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        await enter(w, one, muted="true")
        await enter(w, other)
        one.say(encode("one", 8000))
        other.say(encode("other", 8000))
        await asyncio.sleep(1)
        assert (one.words, other.words) == (["other"], [])
        await leave(w, one, other)


async def test_a_stream_of_a_member_carries_the_mix_as_its_outbound_track(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        stream = f'<Stream audioTrack="outbound" keepCallAlive="false">{w.streams.url}</Stream>'
        w.place(doc(stream, conference(w.site)), caller=one)
        socket = await w.streams.first()
        await until(lambda: callbacks(w.site, "enter"))
        await enter(w, other)
        await socket.until("media")
        other.say(encode("listen", 8000))
        await asyncio.sleep(1)
        await leave(w, one, other)
        heard = b"".join(b64decode(message["media"]["payload"]) for message in socket.all("media"))
        assert [word.text for word in ToneReader(MULAW_8K).feed(heard)] == ["listen"]


# How it begins.


async def test_those_that_wait_hear_music_and_nobody_until_it_begins(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/wait"] = page("<Response><Speak>wait</Speak><Wait length='1'/></Response>")
        waits = {"startConferenceOnEnter": "false", "waitSound": w.site.url + "/wait"}
        one, other, host = Speaker(), Speaker(), Speaker()
        await enter(w, one, **waits)
        await enter(w, other, **waits)
        one.say(encode("nobody", 8000))
        await until(lambda: one.words == ["wait"] * 3)
        assert set(other.words) == {"wait"}
        (asked, _) = w.site.asked("/wait")
        assert (asked.method, asked.params["Event"]) == ("POST", "ConferenceRemoteSounds")
        await enter(w, host)
        since = now_ms() + 50
        one.say(encode("hello", 8000))
        await asyncio.sleep(3)
        assert (other.words[-1], host.words) == ("hello", ["hello"])
        assert did_hear(host, since) == should_hear(host, one, other, since=since)
        assert did_hear(other, since) == should_hear(other, one, host, since=since), "the music has stopped"
        await leave(w, one, other, host)


async def test_it_has_begun_for_good(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        host, one, other = Speaker(), Speaker(), Speaker()
        await enter(w, host)
        await enter(w, one, startConferenceOnEnter="false")
        await leave(w, host)
        await enter(w, other, startConferenceOnEnter="false")
        other.say(encode("still", 8000))
        await asyncio.sleep(1)
        assert one.words == ["still"]
        await leave(w, one, other)


# How it ends, and what comes behind it.


async def test_the_exit_of_one_ends_the_verb_of_all(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        host, one, other = Talker(), Talker(), Talker()
        w.site.pages["/action"] = doc("<Speak>goodbye</Speak>")
        await enter(w, host, endConferenceOnExit="true")
        await enter(w, one, GONE)
        await enter(w, other, action=w.site.url + "/action")
        host.hang_up()
        for caller in (host, one, other):
            await w.over(caller)
        assert (one.words, other.words) == (["it", "is", "over"], ["goodbye"])
        w.check_accounted(one, 4010, "Plivo")
        w.check_accounted(other, 4010, "Plivo")
        (action,) = w.site.asked("/action")
        exits = {params["ConferenceMemberID"]: params for params in callbacks(w.site, "exit")}
        assert set(exits) == {"1", "2", "3"}
        assert exits["3"]["ConferenceLastMember"] == "true"
        names = ("ConferenceName", "ConferenceUUID", "ConferenceMemberID", "CallUUID")
        assert [action.params[name] for name in names] == [exits["3"][name] for name in names]
        assert (action.params["Event"], action.method) == ("Conference", "POST")
        assert live(w) == []


async def test_one_that_is_left_alone_goes_on_where_that_is_wanted(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        await enter(w, one, GONE, stayAlone="false")
        await enter(w, other)
        await leave(w, other)
        await w.over(one)
        assert one.words == ["it", "is", "over"]
        stays, goes = Talker(), Talker()
        await enter(w, stays, GONE)
        await enter(w, goes)
        await leave(w, goes)
        await asyncio.sleep(10)
        assert stays.cause is None
        await leave(w, stays)


async def test_a_star_leaves_and_the_document_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        w.site.pages["/action"] = doc("<Hangup/>")
        await enter(w, one, GONE, hangupOnStar="true", action=w.site.url + "/action", redirect="false")
        await enter(w, other)
        one.say(dtmf("*"))
        await w.over(one)
        assert one.words == ["it", "is", "over"], "redirect is false: what the action answers is ignored"
        assert len(w.site.asked("/action")) == 1
        other.press("*")
        await asyncio.sleep(1)
        assert other.cause is None
        await leave(w, other)


async def test_the_time_limit_puts_all_out(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        began = now_ms()
        await enter(w, one, timeLimit="30")
        await asyncio.sleep(10)
        await enter(w, other)
        await w.over(one)
        await w.over(other)
        w.check_accounted(other, 4010, "Plivo")
        assert 30_000 <= now_ms() - began < 32_000


async def test_a_transfer_leaves(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        call = await enter(w, one, exitSound="beep:1")
        await enter(w, other)
        w.site.pages["/elsewhere"] = doc("<Wait length='2'/>")
        call.transfer(w.site.url + "/elsewhere", "POST")
        await until(lambda: callbacks(w.site, "exit"))
        assert [member.member_id for member in live(w)[0].members] == ["2"]
        other.say(encode("alone", 8000))
        await w.over(one)
        assert one.words == []
        await leave(w, other)


async def test_who_was_put_out_may_come_in_again_and_into_another_of_the_name(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        host, guest = Talker(), Talker()
        await enter(w, host, endConferenceOnExit="true")
        await enter(w, guest, conference(w.site))
        await leave(w, host)
        await until(lambda: len(callbacks(w.site, "enter")) == 3)
        first, _, again = callbacks(w.site, "enter")
        assert again["ConferenceUUID"] != first["ConferenceUUID"]
        assert (again["ConferenceMemberID"], again["ConferenceFirstMember"]) == ("1", "true")
        await leave(w, guest)


# How many.


async def test_the_twenty_first_goes_on(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        people = [Speaker() for _ in range(20)]
        for one in people:
            await enter(w, one)
        late = Talker()
        w.site.pages["/full"] = doc("<Speak>sorry</Speak>")
        w.place(doc(conference(w.site, action=w.site.url + "/full")), caller=late)
        await w.over(late)
        assert late.words == ["sorry"]
        (request,) = w.site.asked("/full")
        assert [request.params[name] for name in ("ConferenceName", "ConferenceUUID", "ConferenceMemberID")] == [
            "room", "", ""
        ]  # fmt: skip
        assert any("full: it has 20 members" in str(record["text"]) for record in late.events("remark"))
        assert [params["ConferenceMemberID"] for params in callbacks(w.site, "exit")] == []
        since = now_ms()
        for number, one in enumerate(people):
            one.hum(300 + 97 * number, 400)
        await asyncio.sleep(1)
        for one in people:
            others = [other for other in people if other is not one]
            assert did_hear(one, since) == should_hear(one, *others, since=since)
        await leave(w, *people)
        assert live(w) == []


async def test_the_first_member_says_how_many(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, late = Talker(), Talker()
        await enter(w, one, maxMembers="1")
        w.place(doc(conference(w.site, maxMembers="20"), GONE), caller=late)
        await w.over(late)
        assert late.words == ["it", "is", "over"]
        await leave(w, one)


async def test_names_are_those_of_one_account(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        await enter(w, one)
        w.site.pages["/theirs"] = doc(conference(w.site))
        application = Application("theirs", w.site.url + "/theirs")
        theirs = Account("MABBBBBBBBBBBBBBBBBB", "another-token")
        w.carrier.place(other, from_="1", to="2", application=application, account=theirs)
        await until(lambda: len(callbacks(w.site, "enter")) == 2)
        assert [(found.name, len(found.members)) for found in live(w)] == [("room", 1), ("room", 1)]
        assert [found.account.auth_id for found in live(w)] == ["MAAAAAAAAAAAAAAAAAAA", theirs.auth_id]
        await leave(w, one, other)


# Keys and the floor.


async def test_keys_are_reported_and_reach_the_others(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other, third = Talker(), Talker(), Talker()
        await enter(w, one, digitsMatch="12,#")
        await enter(w, other, relayDTMF="false", digitsMatch="12")
        await enter(w, third)
        for digit in "312#":
            one.press(digit)
        other.press("1")
        await until(lambda: len(callbacks(w.site, "digits")) == 2)
        assert (one.digits, other.digits, third.digits) == ("", "312#", "312#")
        told = callbacks(w.site, "digits")
        assert [params["ConferenceDigitsMatch"] for params in told] == ["12", "#"]
        assert {params["CallUUID"] for params in told} == {one.call_id}
        assert {params["Event"] for params in told} == {"ConferenceDigitsMatch"}
        await leave(w, one, other, third)


async def test_tones_of_keys_count_where_keys_are_wanted_and_are_not_pressed_again(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        await enter(w, one, digitsMatch="42")
        await enter(w, other)
        one.say(dtmf("42"))
        await until(lambda: callbacks(w.site, "digits"))
        assert other.digits == ""
        await leave(w, one, other)


async def test_a_member_hears_of_the_floor_when_it_takes_it(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other, third = Talker(), Talker(), Talker()
        await enter(w, one, floorEvent="true")
        await enter(w, other, floorEvent="true")
        await enter(w, third)
        for speaker in (one, one, other, third, one):
            speaker.say(encode("words", 8000))
            await asyncio.sleep(1)
        floor = callbacks(w.site, "floor")
        assert [params["ConferenceMemberID"] for params in floor] == ["1", "2", "1"]
        assert {params["Event"] for params in floor} == {"ConferenceFloor"}
        await leave(w, one, other, third)
        assert len(w.carrier._node.ticker if w.carrier._node else ()) == 0


async def test_keys_are_pressed_towards_one_that_comes_in(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Talker()
        await enter(w, one, sendDigits="12w3")
        await until(lambda: one.digits == "123")
        await leave(w, one)
