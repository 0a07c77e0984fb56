"""Live conferences, as REST sees and changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plivo
import pytest
from plivo.exceptions import InvalidRequestError, ResourceNotFoundError
from plivo.rest import client as plivo_client
from tests.carrier.conferring import Speaker, callbacks, conference, did_hear, enter, leave, live, now_ms, should_hear
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import ACCOUNT, World, page, until, world

from bothway.audio.tones import tone
from bothway.audio.wav import wav_header
from bothway.audio.word_tones import encode
from bothway.carrier.api.switch import PlayRequest, SpeakRequest
from bothway.carrier.conferences import Conferences
from bothway.errors import UsageError
from bothway.wire.verbs import Conference

virtual = pytest.mark.virtual_time


@virtual
async def test_what_is_known_of_a_conference(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        await enter(w, one, muted="true")
        await asyncio.sleep(5)
        await enter(w, other)
        await enter(w, Talker(), name="elsewhere")
        assert [found.name for found in live(w)] == ["room", "elsewhere"]
        room = live(w)[0]
        assert room.account == ACCOUNT
        assert [(m.member_id, m.facts.call_uuid, m.muted, m.deaf) for m in room.members] == [
            ("1", one.call_id, True, False),
            ("2", other.call_id, False, False),
        ]
        first, second = room.members
        assert first.joined_at == room.started_at
        assert (second.joined_at - first.joined_at).total_seconds() == pytest.approx(5.0, abs=0.1)
        node = w.carrier._node
        assert node is not None
        record = await node.store.calls.get(one.call_id)
        assert record is not None
        assert record.conference_uuid == room.uuid == callbacks(w.site, "enter")[0]["ConferenceUUID"]
        for found in live(w):
            found.hangup()
        await w.over(one)
        w.check_accounted(one, 4000, "API Request")
        await w.over(other)
        assert live(w) == []


@virtual
async def test_members_are_muted_and_deafened_in_the_middle(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        people = [Speaker() for _ in range(3)]
        one, other, third = people
        for person in people:
            await enter(w, person)
        (room,) = live(w)
        first, second, _ = room.members
        for person, hertz in zip(people, (437, 1203, 2119), strict=True):
            person.hum(hertz, 5000)
        await asyncio.sleep(1)

        async def heard(listener: Speaker, *others: Speaker) -> None:
            since = now_ms() + 60
            await asyncio.sleep(0.5)
            assert did_hear(listener, since) == should_hear(listener, *others, since=since)

        await heard(third, one, other)
        first.mute(on=True)
        assert (first.muted, room.core.members["1"].seat.muted) == (True, True)
        await heard(third, other)
        await heard(one, other, third)
        second.deafen(on=True)
        assert second.deaf
        await heard(other)
        await heard(third, other)
        first.mute(on=False)
        second.deafen(on=False)
        await heard(other, one, third)
        await leave(w, *people)


@virtual
async def test_a_kicked_member_goes_on_behind_its_verb(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        w.site.pages["/action"] = doc("<Speak>kicked</Speak>")
        await enter(w, one, action=w.site.url + "/action", method="GET")
        await enter(w, other)
        (room,) = live(w)
        member = room.members[0]
        member.kick()
        member.kick()
        assert [found.member_id for found in room.members] == ["2"]
        await w.over(one)
        assert one.words == ["kicked"]
        w.check_accounted(one, 4010, "Plivo")
        (asked,) = w.site.asked("/action")
        assert (asked.method, asked.params["ConferenceMemberID"]) == ("GET", "1")
        assert [params["ConferenceMemberID"] for params in callbacks(w.site, "exit")] == ["1"]
        assert [record["why"] for record in one.events("conference_left")] == ["kicked"]
        await leave(w, other)


@virtual
async def test_a_member_is_hung_up(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Talker(), Talker()
        await enter(w, one)
        await enter(w, other)
        live(w)[0].members[0].hangup()
        await w.over(one)
        w.check_accounted(one, 4000, "API Request")
        assert other.cause is None
        await leave(w, other)


@virtual
async def test_one_member_alone_hears_what_is_played_to_it(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other = Speaker(), Speaker()
        await enter(w, one)
        await enter(w, other)
        (room,) = live(w)
        member = room.members[0]
        member.speak(SpeakRequest("psst"))
        await until(lambda: one.words == ["psst"])
        audio = encode("tune", 8000)
        w.site.pages["/tune.wav"] = page(wav_header(8000, 1, len(audio)) + audio)
        member.play(PlayRequest((w.site.url + "/tune.wav",)))
        await until(lambda: one.words == ["psst", "tune"])
        member.speak(SpeakRequest("never heard to its end"))
        await until(lambda: one.words[2:] == ["never"])
        member.stop_speaking()
        long = tone(440, 5000, 8000)
        w.site.pages["/long.wav"] = page(wav_header(8000, 1, len(long)) + long)
        member.play(PlayRequest((w.site.url + "/long.wav",)))
        await asyncio.sleep(1)
        assert one.heard[-1] != one.format.silent_frame
        member.stop_playing()
        await asyncio.sleep(0.1)
        assert one.heard[-1] == one.format.silent_frame
        other.say(encode("still", 8000))
        await asyncio.sleep(1)
        assert (one.words, other.words) == (["psst", "tune", "never", "still"], [])
        await leave(w, one, other)


@virtual
async def test_an_account_has_a_bounded_number_of_conferences(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        node = w.carrier._node
        assert node is not None
        conferences = Conferences(node, most=2)
        calls = [(await enter(w, Talker(), name=f"elsewhere {number}")) for number in range(3)]
        for number in range(2):
            conferences.join(calls[number], Conference(f"room {number}"))
        with pytest.raises(UsageError, match="has 2 conferences"):
            conferences.join(calls[2], Conference("room 2"))
        conferences.join(calls[2], Conference("room 1"))
        assert [len(found.members) for found in conferences.all()] == [1, 2]


@virtual
async def test_who_has_left_is_forgotten(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        host = Talker()
        await enter(w, host)
        for _ in range(5):
            guest = Talker()
            await enter(w, guest)
            await leave(w, guest)
        (room,) = live(w)
        assert list(room._members) == ["1"]
        await leave(w, host)


# The official client, over real sockets.


class Client:
    """The blocking client, in a thread."""

    def __init__(self, rest: Any) -> None:
        self._rest = rest

    async def __call__(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        method: Callable[..., Any] = getattr(self._rest.conferences, name)
        return await asyncio.to_thread(method, *args, **kwargs)


def official(w: World, monkeypatch: pytest.MonkeyPatch) -> plivo.RestClient:
    # The SDK has no argument for its base URL: its constants are the way.
    names = ("PLIVO_API_BASE_URI", "API_VOICE_BASE_URI", *(f"API_VOICE_BASE_URI_FALLBACK_{n}" for n in (1, 2)))
    for name in names:
        monkeypatch.setattr(plivo_client, name, w.carrier.url + "/v1/Account")
    return plivo.RestClient(ACCOUNT.auth_id, ACCOUNT.auth_token)


async def test_the_official_client_drives_a_live_conference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        with official(w, monkeypatch) as rest:
            client = Client(rest)
            one, other = Talker(), Talker()
            for caller in (one, other):
                await enter(w, caller, "<Wait length='1'/>", name="My Room")
            assert (await client("list")).conferences == ["My Room"]
            found = await client("get", "My Room")
            assert (found.conference_name, found.conference_member_count) == ("My Room", "2")
            assert [(m["member_id"], m["call_uuid"], m["muted"], m["deaf"]) for m in found.members] == [
                ("1", one.call_id, False, False),
                ("2", other.call_id, False, False),
            ]
            assert (await client("member_mute", "My Room", "1")).member_id == "1"
            await client("member_deaf", "My Room", "2")
            first, second = live(w)[0].members
            assert (first.muted, second.deaf) == (True, True)
            await client("member_mute_stop", "My Room", "1")
            await client("member_deaf_stop", "My Room", "2")
            assert (first.muted, second.deaf) == (False, False)
            audio = tone(440, 10_000, 8000)
            w.site.pages["/a.wav"] = page(wav_header(8000, 1, len(audio)) + audio)
            await client("member_play", "My Room", "1", w.site.url + "/a.wav")
            await until(lambda: one.heard[-1] != one.format.silent_frame)
            await client("member_play_stop", "My Room", "1")
            await until(lambda: one.heard[-1] == one.format.silent_frame)
            await client("member_speak", "My Room", "1", "hello")
            await client("member_speak_stop", "My Room", "1")
            started = await client("record", "My Room", "wav", callback_url=w.site.url + "/recorded")
            with pytest.raises(InvalidRequestError):
                await client("record", "My Room")
            await asyncio.sleep(0.2)
            await client("record_stop", "My Room")
            await until(lambda: w.site.asked("/recorded"))
            stored = await asyncio.to_thread(rest.recordings.get, started.recording_id)
            assert (stored.recording_type, stored.conference_name) == ("conference", "My Room")
            await client("member_kick", "My Room", "1")
            await until(lambda: len(live(w)[0].members) == 1)
            await client("member_hangup", "My Room", "2")
            await w.over(other)
            w.check_accounted(other, 4000, "API Request")
            await w.over(one)
            w.check_accounted(one, 4010, "Plivo")
            with pytest.raises(ResourceNotFoundError):
                await client("get", "My Room")


async def test_the_official_client_hangs_conferences_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        with official(w, monkeypatch) as rest:
            client = Client(rest)
            callers = [Talker() for _ in range(3)]
            for caller, name in zip(callers, ("a", "b", "c"), strict=True):
                await enter(w, caller, name=name)
            await client("hangup", "b")
            await w.over(callers[1])
            assert (await client("list")).conferences == ["a", "c"]
            await client("hangup_all")
            for caller in callers:
                await w.over(caller)
                w.check_accounted(caller, 4000, "API Request")
            assert (await client("list")).conferences == []


async def test_a_name_is_read_without_the_blanks_around_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one = Talker()
        w.place(doc(conference(w.site, "  spaced  ")), caller=one)
        await until(lambda: callbacks(w.site, "enter"))
        assert [found.name for found in live(w)] == ["spaced"]
        await leave(w, one)
