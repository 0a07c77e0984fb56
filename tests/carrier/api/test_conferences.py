from __future__ import annotations

import msgspec
import pytest
from tests.carrier.api.desk import MAIN, OTHER, Desk

from bothway.carrier.api.conferences import ConferenceRecordParameters
from bothway.carrier.api.switch import PlayRequest, SpeakRequest


async def test_whose_conferences_are_seen(api: Desk) -> None:
    sub = await api.subaccount()
    theirs, mine = api.switch.meet("same", "1", account=sub), api.switch.meet("same", "2", "3")
    api.switch.meet("other", "4", account=OTHER)
    assert (await api.ask("GET", "Conference/")).json["conferences"] == ["same"]
    assert (await api.ask("GET", "Conference/same/")).json["conference_member_count"] == "2", "its own comes first"
    assert (await api.ask("GET", "Conference/same/", account=sub)).json["conference_member_count"] == "1"
    assert (await api.ask("GET", "Conference/other/")).status == 404
    assert (await api.ask("DELETE", "Conference/", account=sub)).status == 204
    assert theirs not in api.switch.rooms
    assert mine in api.switch.rooms
    assert (await api.ask("DELETE", "Conference/")).status == 204
    assert [room.name for room in api.switch.rooms] == ["other"]


async def test_members_are_named_one_by_one_or_together(api: Desk) -> None:
    room = api.switch.meet("r", "1", "2", "3")
    for wanted, ids in (("1", "1"), ("1,3", ["1", "3"]), ("all", ["1", "2", "3"]), ("All", ["1", "2", "3"])):
        reply = await api.ask("POST", f"Conference/r/Member/{wanted}/Kick/", {"member_id": "ignored"})
        assert (reply.status, reply.json["member_id"], reply.json["message"]) == (202, ids, "kicked")
    assert [len(member.log) for member in room.people] == [4, 2, 3]
    for wanted in ("9", "1,9", ","):
        reply = await api.ask("DELETE", f"Conference/r/Member/{wanted}/")
        assert (reply.status, reply.error) == (404, "conference member not found")
    assert room.people[0].log.count(("hangup",)) == 0


async def test_what_members_hear(api: Desk) -> None:
    room = api.switch.meet("My Room", "1")
    path = "Conference/My%20Room/Member/1/"
    assert (await api.ask("POST", path + "Play/", {"url": "http://h/a.mp3"})).status == 202
    assert (await api.ask("POST", path + "Speak/", {"text": "hi", "voice": "MAN"})).status == 202
    assert room.people[0].log == [("play", PlayRequest(("http://h/a.mp3",))), ("speak", SpeakRequest("hi", "MAN"))]
    assert (await api.ask("POST", path + "Play/", {})).error.startswith("url is required")
    assert (await api.ask("POST", path + "Play/", {"url": "x"})).status == 400
    assert (await api.ask("POST", path + "Speak/", {"text": ""})).status == 400


@pytest.mark.parametrize("path", ["", "Record/", "Member/1/", "Member/1/Mute/"])
async def test_conferences_that_are_not_there(api: Desk, path: str) -> None:
    api.switch.meet("r", "1", account=OTHER)
    reply = await api.ask("DELETE", f"Conference/r/{path}")
    assert (reply.status, reply.error) == (404, "conference not found")


async def test_recording(api: Desk) -> None:
    room = api.switch.meet("r", "1")
    reply = await api.ask("POST", "Conference/r/Record/", {"file_format": "wav", "callback_url": "http://h/"})
    assert (reply.status, reply.json["recording_id"]) == (202, room.recording)
    assert f"/v1/Account/{MAIN.auth_id}/Recording/{room.recording}.wav?" in reply.json["url"]
    assert (await api.ask("POST", "Conference/r/Record/")).status == 409
    assert (await api.ask("DELETE", "Conference/r/Record/")).status == 204
    assert room.recording == ""


def test_a_conference_is_recorded_to_its_end() -> None:
    assert msgspec.convert({}, ConferenceRecordParameters).time_limit == 86_400
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"time_limit": 0}, ConferenceRecordParameters)
