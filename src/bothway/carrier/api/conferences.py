"""Live conferences and their members (plivo-protocol.md, 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from bothway.carrier.api.live import RecordParameters, RecordStarted, Urls, record_request, split_urls
from bothway.carrier.api.operations import Act, Answer, Operation, Request, not_found
from bothway.carrier.api.recordings import recording_url
from bothway.carrier.api.switch import ConferenceControl, MemberControl, PlayRequest, SpeakRequest

__all__ = [
    "OPERATIONS",
    "ConferenceAnswer",
    "ConferenceNames",
    "ConferenceRecordParameters",
    "MemberAnswer",
    "MemberPlay",
    "MemberSpeak",
    "MembersAnswer",
]


class ConferenceRecordParameters(RecordParameters):
    """How it is recorded: to its end, unless `time_limit` says otherwise, which the official clients cannot."""

    time_limit: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 86_400


class MemberPlay(msgspec.Struct):
    """What is played."""

    url: Urls


class MemberSpeak(msgspec.Struct):
    """What is said."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=3_000)]
    voice: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "WOMAN"
    language: Annotated[str, msgspec.Meta(min_length=2, max_length=40)] = "en-US"


class ConferenceNames(msgspec.Struct):
    """The names of the conferences that live."""

    api_id: str
    conferences: list[str]


class MemberAnswer(msgspec.Struct, rename={"from_": "from"}):
    """A member. `join_time` is how long it has been in, in seconds."""

    call_uuid: str
    caller_name: str
    deaf: bool
    direction: str
    from_: str
    join_time: str
    member_id: str
    muted: bool
    to: str


class ConferenceAnswer(msgspec.Struct):
    """A conference. `conference_run_time` is in seconds."""

    api_id: str
    conference_name: str
    conference_run_time: str
    conference_member_count: str
    members: list[MemberAnswer]


class MembersAnswer(msgspec.Struct):
    """What was done, and to whom: an id, or a list where the path named several."""

    api_id: str
    message: str
    member_id: str | list[str]


def _mine(request: Request) -> list[ConferenceControl]:
    found = [one for one in request.resources.switch.conferences() if request.may_act_on(one.account)]
    # A sub-account may have a conference of the same name: the account's own counts.
    return sorted(found, key=lambda one: one.account.auth_id != request.account.auth_id)


def _find(request: Request) -> ConferenceControl:
    name = request.path["conference_name"]
    for conference in _mine(request):
        if conference.name == name:
            return conference
    raise not_found("conference")


def _members(request: Request) -> Sequence[MemberControl]:
    """Those that the path names: an id, several between commas, or `all`."""
    conference, wanted = _find(request), request.path["member_id"]
    if wanted.strip().lower() == "all":
        return list(conference.members)
    known = {member.member_id: member for member in conference.members}
    ids = [one.strip() for one in wanted.split(",")]
    if not all(one in known for one in ids):
        raise not_found("conference member")
    return [known[one] for one in ids]


def _to_members(message: str | None, do: Callable[[MemberControl, Any], None]) -> Act:
    """An act on each member that the path names; without a message, it is answered with 204."""

    async def act(request: Request, parameters: Any) -> Answer:
        members = _members(request)
        for member in members:
            do(member, parameters)
        if message is None:
            return Answer(204)
        ids = [member.member_id for member in members]
        return Answer(202, MembersAnswer(request.api_id, message, ids[0] if len(ids) == 1 else ids))

    return act


async def _list(request: Request, _: None) -> Answer:
    names = dict.fromkeys(conference.name for conference in _mine(request))
    return Answer(200, ConferenceNames(request.api_id, list(names)))


async def _get(request: Request, _: None) -> Answer:
    conference, now = _find(request), request.resources.now()
    members = [
        MemberAnswer(
            call_uuid=member.facts.call_uuid,
            caller_name=member.facts.caller_name,
            deaf=member.deaf,
            direction=member.facts.direction,
            from_=member.facts.from_,
            join_time=str(max(0, int((now - member.joined_at).total_seconds()))),
            member_id=member.member_id,
            muted=member.muted,
            to=member.facts.to,
        )
        for member in conference.members
    ]
    run_time = str(max(0, int((now - conference.started_at).total_seconds())))
    return Answer(200, ConferenceAnswer(request.api_id, conference.name, run_time, str(len(members)), members))


async def _hang_up(request: Request, _: None) -> Answer:
    _find(request).hangup()
    return Answer(204)


async def _hang_up_all(request: Request, _: None) -> Answer:
    for conference in _mine(request):
        conference.hangup()
    return Answer(204)


async def _record(request: Request, wanted: ConferenceRecordParameters) -> Answer:
    recording_id = await _find(request).start_recording(record_request(wanted))
    url = recording_url(request, recording_id, wanted.file_format)
    return Answer(202, RecordStarted(request.api_id, "conference recording started", recording_id, url))


async def _stop_recording(request: Request, _: None) -> Answer:
    _find(request).stop_recording()
    return Answer(204)


def _play(member: MemberControl, wanted: MemberPlay) -> None:
    member.play(PlayRequest(urls=split_urls(wanted.url)))


def _speak(member: MemberControl, wanted: MemberSpeak) -> None:
    member.speak(SpeakRequest(text=wanted.text, voice=wanted.voice, language=wanted.language))


_ALL = "Conference/"
_ONE = "Conference/{conference_name}/"
_MEMBER = _ONE + "Member/{member_id}/"
_TOLD = {202: (MembersAnswer,)}
_DONE: dict[int, tuple[type[msgspec.Struct], ...]] = {204: ()}


def _member(
    method: str,
    what: str,
    summary: str,
    message: str | None,
    do: Callable[[MemberControl, Any], None],
    takes: type[msgspec.Struct] | None = None,
) -> Operation:
    answers = _DONE if message is None else _TOLD
    return Operation(method, _MEMBER + what, _to_members(message, do), summary, answers, takes)


OPERATIONS = (
    Operation("GET", _ALL, _list, "List conferences", {200: (ConferenceNames,)}, errors=()),
    Operation("DELETE", _ALL, _hang_up_all, "Hang up all conferences", _DONE, errors=()),
    Operation("GET", _ONE, _get, "A conference", {200: (ConferenceAnswer,)}),
    Operation("DELETE", _ONE, _hang_up, "Hang up a conference", _DONE),
    Operation(
        "POST", _ONE + "Record/", _record, "Record a conference", {202: (RecordStarted,)}, ConferenceRecordParameters,
        voice=False, errors=(404, 409),
    ),
    Operation("DELETE", _ONE + "Record/", _stop_recording, "Stop recording a conference", _DONE),
    _member("DELETE", "", "Hang up members", None, lambda member, _: member.hangup()),
    _member("POST", "Kick/", "Put members out", "kicked", lambda member, _: member.kick()),
    _member("POST", "Mute/", "Mute members", "muted", lambda member, _: member.mute(True)),
    _member("DELETE", "Mute/", "Let members be heard again", None, lambda member, _: member.mute(False)),
    _member("POST", "Deaf/", "Deafen members", "deaf", lambda member, _: member.deafen(True)),
    _member("DELETE", "Deaf/", "Let members hear again", None, lambda member, _: member.deafen(False)),
    _member("POST", "Play/", "Play to members", "play queued into conference", _play, MemberPlay),
    _member("DELETE", "Play/", "Stop playing to members", None, lambda member, _: member.stop_playing()),
    _member("POST", "Speak/", "Speak to members", "speak queued into conference", _speak, MemberSpeak),
    _member("DELETE", "Speak/", "Stop speaking to members", None, lambda member, _: member.stop_speaking()),
)  # fmt: skip
"""The operations of this resource."""
