"""The official SDK on streams, recordings and conferences of live calls."""

from __future__ import annotations

import asyncio
import io
import wave
from pathlib import Path
from typing import Any

import pytest
from plivo.exceptions import InvalidRequestError, ResourceNotFoundError, ValidationError
from tests.carrier.talker import Talker, sound
from tests.carrier.world import Socket, until
from tests.interop.sdk_voice import MAIN, SUB, SdkVoice, at, recording_fields, sdk_voice, stream_fields

from bothway.audio.word_tones import encode
from bothway.carrier.callee import Callee, echo, human

pytestmark = pytest.mark.virtual_time

QUICK = Callee("1555*", human("hello", ring=0.2))


def id_of(socket: Socket) -> str:
    """The stream's, as its app is told."""
    return str(socket.all("start")[0]["start"]["streamId"])


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "size"),
    [("audio/x-mulaw;rate=8000", 160), ("audio/x-l16;rate=8000", 320), ("audio/x-l16;rate=16000", 640)],
)
async def test_a_stream_from_its_start_to_its_bill(tmp_path: Path, content_type: str, size: int) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        call_id, url = await v.up(), v.w.streams.url + "?body=e30%3D"
        started = await v.sdk(
            "calls.start_stream", call_id, url, bidirectional=True, audio_track="inbound", stream_timeout=3600,
            status_callback_url=v.url + "/status", status_callback_method="GET", content_type=content_type,
            extra_headers="a=1,b=2",
        )  # fmt: skip
        assert started.message == "audio streaming started"
        socket = await v.w.streams.first()
        await socket.until("media", 50)
        assert (socket.path, id_of(socket)) == ("/stream?body=e30%3D", started.stream_id)
        start = socket.all("start")[0]["start"]
        assert (start["callId"], start["mediaFormat"]["encoding"]) == (call_id, content_type.partition(";")[0])
        stream = stream_fields(await v.sdk("calls.get_details_of_specific_stream", call_id, started.stream_id))
        assert (stream.status, stream.bidirectional, stream.audio_track) == ("in-progress", True, "inbound")
        assert (stream.service_url, stream.content_type, stream.call_uuid) == (url, content_type, call_id)
        assert (stream.end_time, stream.plivo_auth_id) == (None, MAIN.auth_id)
        assert stream.resource_uri == f"/v1/Account/{MAIN.auth_id}/Call/{call_id}/Stream/{started.stream_id}/"
        with pytest.raises(ValidationError, match="open on this call already"):
            await v.sdk("calls.start_stream", call_id, url)
        await asyncio.sleep(25.5)
        assert await v.sdk("calls.delete_specific_stream", call_id, started.stream_id) is None
        await socket.closed.wait()
        with pytest.raises(ResourceNotFoundError, match="stream not found, or it has ended"):
            await v.sdk("calls.delete_specific_stream", call_id, started.stream_id)
        ended = stream_fields(await v.sdk("calls.get_details_of_specific_stream", call_id, started.stream_id))
        assert (ended.status, ended.bill_duration, ended.rounded_bill_duration) == ("completed", 27, 60)
        assert ended.billed_amount == "0.00300"
        assert (at(ended.end_time) - at(ended.start_time)).total_seconds() == pytest.approx(27, abs=1.1)
        assert ended.created_at.endswith("+00:00")
        stopped = await v.until_asked("status stopped")
        assert (stopped["StatusReason"], stopped["Duration"][:2]) == ("completed", "26")
        assert stopped["StreamID"] == v.told("status started")[0]["StreamID"] == started.stream_id
        assert (await v.sdk("live_calls.get", call_id)).call_status == "in-progress", "the call goes on"
        await v.sdk("calls.hangup", call_id)
        await v.over(call_id)
        assert v.kinds() == ["ring", "answer", "status started", "status stopped", "hangup"]


async def test_streams_are_listed_and_all_stopped(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK, limits={"streams_per_call": 3}) as v:
        call_id = await v.up()
        ids = []
        for number, track in enumerate(("inbound", "outbound", "both")):
            started = await v.sdk(
                "calls.start_stream", call_id, f"{v.w.streams.url}?n={number}", audio_track=track,
                status_callback_url=v.url + "/status",
            )  # fmt: skip
            ids.append(started.stream_id)
            await until(lambda: len(v.w.streams.sockets) == len(ids))
            await asyncio.sleep(1.1)
        with pytest.raises(ValidationError, match="no more than 3"):
            await v.sdk("calls.start_stream", call_id, v.w.streams.url + "?n=9")
        listed = await v.sdk("calls.get_all_streams", call_id)
        assert (listed.meta.count, listed.meta.total_count) == (3, 3)
        assert {stream_fields(one).stream_id for one in listed.objects} == set(ids)
        assert {one.audio_track for one in listed.objects} == {"inbound", "outbound", "both"}
        assert await v.sdk("calls.delete_all_streams", call_id) is None
        await until(lambda: len(v.told("status stopped")) == 3)
        assert {told["StreamID"] for told in v.told("status stopped")} == set(ids)
        listed = await v.sdk("calls.get_all_streams", call_id)
        assert {one.status for one in listed.objects} == {"completed"}
        await v.sdk("calls.hangup", call_id)
        await v.over(call_id)
        assert len((await v.sdk("calls.get_all_streams", call_id)).objects) == 3, "they outlive the call"
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("calls.start_stream", call_id, v.w.streams.url)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"audio_track": "both", "bidirectional": True}, "audio_track is inbound"),
        ({"content_type": "audio/mp3"}, "content_type"),
        ({"extra_headers": "a=" + "b" * 600}, "extra_headers"),
        ({"stream_timeout": 0}, "stream_timeout"),
        ({"service_url": "http://h.example/"}, "service_url"),
        ({"service_url": "wss://h.example/" + "x" * 2048}, "service_url"),
    ],
)
async def test_a_stream_that_cannot_be(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        call_id = await v.up()
        given = {"service_url": v.w.streams.url, **options}
        with pytest.raises(ValidationError, match=says):
            await v.sdk("calls.start_stream", call_id, **given)
        for undefined in ("undefined", "None", "null"):
            with pytest.raises(ResourceNotFoundError, match=f"is the text '{undefined}'"):
                await v.sdk("calls.get_details_of_specific_stream", call_id, undefined)
            with pytest.raises(ResourceNotFoundError, match=f"is the text '{undefined}'"):
                await v.sdk("calls.delete_specific_stream", call_id, undefined)
        await v.sdk("calls.hangup", call_id)


# --- recordings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["wav", "mp3"])
@pytest.mark.parametrize("channels", ["mono", "stereo"])
async def test_a_recording_from_its_start_to_its_file(tmp_path: Path, file_format: str, channels: str) -> None:
    async with sdk_voice(tmp_path, Callee("1555*", echo(ring=0.2))) as v:
        call_id = await v.up()
        started = await v.sdk(
            "calls.record", call_id, file_format=file_format, record_channel_type=channels, time_limit=30,
            callback_url=v.url + "/recorded", callback_method="GET",
        )  # fmt: skip
        assert started.message == "call recording started"
        await asyncio.sleep(4)
        assert await v.sdk("calls.stop_recording", call_id, None, None) is None
        told = await v.until_asked("recorded", call_id)
        assert told["RecordingID"] == started.recording_id
        assert told["RecordUrl"].partition("?")[0] == started.url.partition("?")[0]
        assert told["CallStatus"] == "in-progress"
        ms = int(told["RecordingDurationMs"])
        assert 3_900 <= ms <= 4_200
        assert int(told["RecordingEndMs"]) - int(told["RecordingStartMs"]) == ms
        assert int(told["RecordingDuration"]) == round(ms / 1000)

        found = recording_fields(await v.sdk("recordings.get", started.recording_id))
        assert (found.call_uuid, found.recording_type, found.recording_format) == (call_id, "call", file_format)
        assert (found.recording_duration_ms, found.recording_start_ms, found.recording_end_ms) == tuple(
            f"{told[name]}.00000" for name in ("RecordingDurationMs", "RecordingStartMs", "RecordingEndMs")
        )
        assert found.add_time.endswith("+05:30")
        assert [one.recording_id for one in await v.sdk("recordings.list", call_uuid=call_id)] == [started.recording_id]

        told_of = await v.sdk.fetch(told["RecordUrl"], auth=lambda request: request)
        bare = found.recording_url.partition("?")[0]
        assert bare.endswith(f"/v1/Account/{MAIN.auth_id}/Recording/{started.recording_id}.{file_format}")
        by_signature = await v.sdk.fetch(found.recording_url, auth=lambda request: request)
        by_credentials = await v.sdk.fetch(bare)
        nobody = await v.sdk.fetch(bare, auth=lambda request: request)
        forged = await v.sdk.fetch(found.recording_url[:-1] + "x", auth=lambda request: request)
        assert (by_signature.status_code, by_credentials.status_code) == (200, 200)
        assert (nobody.status_code, forged.status_code) == (401, 403)
        assert by_signature.content == by_credentials.content == told_of.content
        check_file(by_signature.content, file_format, channels, ms)

        assert await v.sdk("recordings.delete", started.recording_id) is None
        assert (await v.sdk.fetch(bare)).status_code == 404
        with pytest.raises(ResourceNotFoundError):
            await v.sdk("recordings.get", started.recording_id)
        assert len(await v.sdk("recordings.list")) == 0
        await v.sdk("calls.hangup", call_id)


def check_file(content: bytes, file_format: str, channels: str, ms: int) -> None:
    if file_format == "mp3":
        assert content[:3] == b"ID3" or content[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xfa", b"\xff\xe3")
        return
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1 if channels == "mono" else 2, 8000)
        assert file.getnframes() == ms * 8


async def test_recordings_by_every_filter(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        ids: dict[str, str] = {}
        for number in ("15550101", "15550102"):
            call_id = await v.up(number)
            started = await v.sdk("calls.record", call_id, file_format="wav", callback_url=v.url + "/recorded")
            await asyncio.sleep(2)
            await v.sdk("calls.hangup", call_id)
            await v.over(call_id)
            assert (await v.until_asked("recorded", call_id))["CallStatus"] == "completed"
            ids[number] = started.recording_id
            await asyncio.sleep(60)

        async def listed(**wanted: Any) -> set[str]:
            found = {one.recording_id for one in await v.sdk("recordings.list", **wanted)}
            return {number for number, recording_id in ids.items() if recording_id in found}

        assert await listed() == set(ids)
        assert await listed(to_number="15550102") == {"15550102"}
        assert await listed(from_number="15550199") == set(ids)
        assert await listed(recording_storage_duration=0) == set(ids)
        assert await listed(recording_storage_duration__gt=0) == set()
        assert await listed(limit=1) == {"15550102"}
        first = await v.sdk("recordings.get", ids["15550101"])
        moment = at(first.add_time).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
        assert await listed(add_time__gt=moment) == {"15550102"}
        assert await listed(add_time__lte=moment) == {"15550101"}
        assert len(await v.sdk.all("recordings")) == 2


async def test_the_recordings_of_a_sub_account(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, QUICK) as v:
        mine, v.asks = v.client(SUB), SUB
        call_id = await v.up(client=mine)
        started = await mine("calls.record", call_id, file_format="wav", callback_url=v.url + "/recorded")
        await asyncio.sleep(2)
        await mine("calls.hangup", call_id)
        await v.over(call_id)
        told = await v.until_asked("recorded", call_id)
        for url in (told["RecordUrl"], started.url, (await mine("recordings.get", started.recording_id)).recording_url):
            assert f"/v1/Account/{SUB.auth_id}/Recording/" in url
            assert (await v.sdk.fetch(url, auth=lambda request: request)).status_code == 200
        listed = await v.sdk("recordings.list", subaccount=SUB.auth_id)
        assert [one.recording_id for one in listed] == [started.recording_id]
        assert (await v.sdk.fetch(listed[0].recording_url, auth=lambda request: request)).status_code == 200
        assert (await mine.fetch(told["RecordUrl"].partition("?")[0])).status_code == 200
        assert (await v.sdk.fetch(told["RecordUrl"].partition("?")[0])).status_code == 200, "it is its main account's"


# --- over the call ------------------------------------------------------------------------------------------------


DIAL = "<Response><Dial callbackUrl='URL/dial'><Number>15550101</Number></Dial></Response>"


async def test_either_leg_is_spoken_to_and_pressed_keys_at(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, Callee("15550101", human("hello", ring=0.2)), answer=DIAL) as v:
        caller = Talker()
        _, call = v.w.place(v.w.site.pages["/answer"], caller=caller)
        connected = await v.until_asked("dial connected")
        await caller.hears_words("hello")
        await v.sdk("calls.speak", call.call_id, "for one", legs="aleg")
        await caller.hears_words("for", "one")
        await v.sdk("calls.speak", call.call_id, "for the other", legs="bleg")
        await asyncio.sleep(3)
        assert "other" not in caller.words
        await v.sdk("calls.speak", call.call_id, "for both", legs="both", mix=False)
        await caller.hears_words("for", "both")
        await v.sdk("calls.send_digits", call.call_id, "12", leg="bleg")
        await asyncio.sleep(2)
        assert caller.digits == ""
        await v.sdk("calls.send_digits", call.call_id, "34", leg="aleg")
        await until(lambda: caller.digits == "34")
        assert (await v.sdk("live_calls.get", connected["DialBLegUUID"])).parent_call_uuid == call.call_id
        await v.sdk("calls.hangup", connected["DialBLegUUID"])
        await v.w.over(caller)
        assert (await v.over(call.call_id)).hangup_cause_code == 4010


async def test_what_is_played_and_said_is_heard(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, answer="<Response><Wait length='60'/></Response>") as v:
        caller = Talker()
        _, call = v.w.place(v.w.site.pages["/answer"], caller=caller)
        await until(lambda: caller.heard)
        await v.sdk("calls.speak", call.call_id, "good morning to you", voice="MAN", language="en-GB")
        await caller.hears_words("good", "morning", "to", "you")
        await v.sdk("calls.speak", call.call_id, "again", loop=True)
        await until(lambda: caller.words[-3:] == ["again"] * 3)
        await v.sdk("calls.stop_speaking", call.call_id)
        count = len(caller.words)
        await asyncio.sleep(3)
        assert len(caller.words) <= count + 1
        v.w.site.pages["/a.wav"] = sound("song")
        assert (await v.sdk("calls.play", call.call_id, f"{v.url}/a.wav,{v.url}/a.wav")).message == "play started"
        await caller.hears_words("song", "song")
        await v.sdk("calls.play", call.call_id, v.url + "/a.wav", loop=True, length=4, mix=False)
        await asyncio.sleep(6)
        count = caller.words.count("song")
        assert count > 4
        await asyncio.sleep(3)
        assert caller.words.count("song") == count, "four seconds are over"
        await v.sdk("calls.send_digits", call.call_id, "42#")
        await until(lambda: caller.digits == "42#")
        await v.sdk("calls.hangup", call.call_id)
        await v.w.over(caller)


# --- conferences --------------------------------------------------------------------------------------------------

ROOM = """<Response><Conference callbackUrl='URL/conference' action='URL/conference-action' redirect='false'
 enterSound='URL/sound' exitSound='beep:1'>My Room</Conference></Response>"""


async def meet(v: SdkVoice, count: int) -> dict[str, tuple[Talker, str]]:
    """Callers in a conference: by their member ids, who they are, and their call ids."""
    people = {}
    for number in range(1, count + 1):
        caller = Talker()
        _, call = v.w.place(v.w.site.pages["/answer"], caller=caller)
        entered = await v.until_asked("conference enter", call.call_id)
        assert entered["ConferenceMemberID"] == str(number)
        people[entered["ConferenceMemberID"]] = (caller, call.call_id)
    await asyncio.sleep(4)  # the sounds are over
    return people


async def test_a_conference_and_every_act_on_its_members(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, answer=ROOM) as v:
        v.pages(sound="<Response><Speak>ding</Speak></Response>")
        people = await meet(v, 3)
        (one, first), (two, second), (three, third) = people.values()
        assert (await v.sdk("conferences.list")).conferences == ["My Room"]
        shown = await v.sdk("conferences.get", "My Room")
        assert (shown.conference_name, shown.conference_member_count) == ("My Room", "3")
        assert int(shown.conference_run_time) >= 4
        members = {member.member_id: member for member in shown.members}
        assert {number: member.call_uuid for number, member in members.items()} == {"1": first, "2": second, "3": third}
        for member in members.values():
            assert (vars(member)["from"], member.to, member.direction) == ("15550001", "15550002", "inbound")
            assert (member.muted, member.deaf) == (False, False)
            assert int(member.join_time) <= int(shown.conference_run_time)

        async def hear(word: str) -> list[bool]:
            """Who hears the first one's word."""
            before = [len(talker.words) for talker in (one, two, three)]
            one.say(encode(word, 8000))
            await asyncio.sleep(1.5)
            counts = zip((one, two, three), before, strict=True)
            return [word in talker.words[count:] for talker, count in counts]

        assert await hear("hello") == [False, True, True]
        assert (await v.sdk("conferences.member_mute", "My Room", "1")).message == "muted"
        assert await hear("quiet") == [False, False, False]
        assert (await v.sdk("conferences.get", "My Room")).members[0].muted is True
        assert await v.sdk("conferences.member_mute_stop", "My Room", "1") is None
        deaf = await v.sdk("conferences.member_deaf", "My Room", "2,3")
        assert (deaf.message, deaf.member_id) == ("deaf", ["2", "3"])
        assert await hear("deaf") == [False, False, False]
        assert await v.sdk("conferences.member_deaf_stop", "My Room", "3") is None
        assert await hear("some") == [False, False, True]
        assert await v.sdk("conferences.member_deaf_stop", "My Room", "all") is None
        assert await hear("all") == [False, True, True]

        said = await v.sdk("conferences.member_speak", "My Room", "2", "only you", voice="MAN", language="en-GB")
        assert (said.message, said.member_id) == ("speak queued into conference", "2")
        await two.hears_words("only", "you")
        assert "only" not in one.words + three.words
        assert await v.sdk("conferences.member_speak_stop", "My Room", "2") is None
        v.w.site.pages["/a.wav"] = sound("song")
        played = await v.sdk("conferences.member_play", "My Room", "3", v.url + "/a.wav")
        assert (played.message, played.member_id) == ("play queued into conference", "3")
        await three.hears_words("song")
        assert "song" not in one.words + two.words
        assert await v.sdk("conferences.member_play_stop", "My Room", "3") is None

        kicked = await v.sdk("conferences.member_kick", "My Room", "3")
        assert (kicked.message, kicked.member_id) == ("kicked", "3")
        assert (await v.until_asked("conference-action", third))["ConferenceMemberID"] == "3"
        await v.w.over(three)
        assert (await v.over(third)).hangup_cause_code == 4010, "its document goes on"
        assert await v.sdk("conferences.member_hangup", "My Room", "2") is None
        await v.w.over(two)
        ended = await v.over(second)
        assert (ended.hangup_cause_code, ended.hangup_source) == (4000, "API Request")
        for member_id in ("2", "3", "99"):
            with pytest.raises(ResourceNotFoundError, match="conference member not found"):
                await v.sdk("conferences.member_mute", "My Room", member_id)
        assert await v.sdk("conferences.hangup", "My Room") is None
        await v.w.over(one)
        with pytest.raises(ResourceNotFoundError, match="conference not found"):
            await v.sdk("conferences.get", "My Room")
        exits = v.told("conference exit")
        assert [told["ConferenceMemberID"] for told in exits] == ["3", "2", "1"]
        uuids = {told["ConferenceUUID"] for told in (*v.told("conference enter"), *exits)}
        assert {(await v.record(call_id)).conference_uuid for call_id in (first, second, third)} == uuids
        for call_id in (first, second, third):
            await v.until_asked("hangup", call_id)
            assert v.kinds(call_id)[0] == "answer"
            assert v.kinds(call_id)[-1] == "hangup"


async def test_a_conference_is_recorded(tmp_path: Path) -> None:
    async with sdk_voice(tmp_path, answer=ROOM) as v:
        v.pages(sound="<Response><Wait/></Response>")
        people = await meet(v, 2)
        begun = await v.sdk(
            "conferences.record", "My Room", file_format="wav", callback_url=v.url + "/conference-recorded"
        )
        assert begun.message == "conference recording started"
        with pytest.raises(InvalidRequestError, match="is being recorded"):
            await v.sdk("conferences.record", "My Room")
        await asyncio.sleep(3)
        assert await v.sdk("conferences.record_stop", "My Room") is None
        told = await v.until_asked("conference-recorded")
        assert (told["RecordingID"], told["ConferenceName"]) == (begun.recording_id, "My Room")
        ms = int(told["RecordingDurationMs"])
        assert 2_900 <= ms <= 3_100
        found = recording_fields(await v.sdk("recordings.get", begun.recording_id))
        assert (found.recording_type, found.conference_name) == ("conference", "My Room")
        assert found.conference_uuid == told["ConferenceUUID"] == v.told("conference enter")[0]["ConferenceUUID"]
        assert [one.recording_id for one in await v.sdk("recordings.list", conference_name="My Room")] == [
            begun.recording_id
        ]
        check_file((await v.sdk.fetch(begun.url, auth=lambda request: request)).content, "wav", "mono", ms)
        assert await v.sdk("conferences.hangup_all") is None
        for caller, _ in people.values():
            await v.w.over(caller)
        assert (await v.sdk("conferences.list")).conferences == []
