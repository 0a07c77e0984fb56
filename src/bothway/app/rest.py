"""A client for the Voice API: calls, streams, recordings and what belongs to them (plivo-protocol.md, section 5).

Every operation is one request. It raises `UsageError` where the account's id or token is not set, or an id is empty;
`RestError` where the carrier refuses or does not answer; and `PeerError` where its answer cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack
from uuid import uuid4

import msgspec

from bothway.app.rest_link import DEADLINE, RestError, RestLink
from bothway.app.rest_values import (
    Accepted,
    AccountRecord,
    ApplicationOptions,
    ApplicationRecord,
    CallFilters,
    CallOptions,
    CallRecord,
    ConferenceMember,
    ConferenceRecord,
    FiredCalls,
    Legs,
    NumberRecord,
    OpenCall,
    Page,
    PlayOptions,
    Recording,
    RecordingFilters,
    RecordingStarted,
    RecordOptions,
    SpeakOptions,
    StreamOptions,
    StreamRecord,
    StreamStarted,
    chosen,
    joined,
    page,
    read,
)
from bothway.errors import PeerError

__all__ = ["PAGE", "Applications", "Calls", "Conferences", "Numbers", "Recordings", "VoiceApi"]

PAGE = 20
"""Objects on a page: the most that there may be (plivo-protocol.md, 5.1)."""


class VoiceApi:
    """An account at a carrier.

    Args:
        api_url: The base of its REST API, such as `https://api.plivo.com/v1`.
        auth_id: The account.
        auth_token: Its token.
        deadline: Seconds for one operation, repeats included.

    Attributes:
        calls: Calls, and what can be done to them: streams, recordings, playing, transfer.
        recordings: What was recorded.
        applications: What numbers lead to.
        numbers: The account's phone numbers.
        conferences: Conferences that are going on.
    """

    def __init__(self, api_url: str, auth_id: str, auth_token: str, *, deadline: float = DEADLINE) -> None:
        self._link = RestLink(api_url, auth_id, auth_token, deadline)
        self.calls = Calls(self._link)
        self.recordings = Recordings(self._link)
        self.applications = Applications(self._link)
        self.numbers = Numbers(self._link)
        self.conferences = Conferences(self._link)

    async def account(self) -> AccountRecord:
        """The account itself."""
        return read(AccountRecord, await self._link.ask("GET"))

    async def close(self) -> None:
        """Close the connections. The next operation opens new ones."""
        await self._link.close()


class Calls:
    """Calls. Made by `VoiceApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def create(
        self,
        to: str | Sequence[str],
        from_: str,
        answer_url: str,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> FiredCalls:
        """Place a call, or several.

        A request whose answer is lost is not sent again, because it may have placed the call: Plivo documents no
        `Idempotency-Key`. One is sent all the same, and is in the error. A key of your own says that the carrier knows
        such keys (this package's does), and then the request is repeated.

        Args:
            to: Numbers or `sip:` URIs, at most 1000.
            from_: The caller id.
            answer_url: Gives the document.
            idempotency_key: Made unless given.
            options: See `CallOptions`.
        """
        body = {"from": from_, "to": joined(to, "<"), "answer_url": answer_url, **chosen(CallOptions, options)}
        key = idempotency_key or uuid4().hex
        found = await self._link.ask("POST", "Call", body=body, key=key, may_repeat=idempotency_key is not None)
        ids = found.get("request_uuid") or ()
        ids = (ids,) if isinstance(ids, str) else tuple(str(one) for one in ids)
        accepted = read(Accepted, found)
        return FiredCalls(
            message=accepted.message, api_id=accepted.api_id, raw=found, request_ids=ids, idempotency_key=key
        )

    async def cancel(self, request_id: str) -> None:
        """Take back a call that is queued or rings."""
        await self._link.ask("DELETE", "Request", request_id)

    async def get(self, call_id: str) -> CallRecord:
        """The record of a call that is over; 404 while it is live."""
        return read(CallRecord, await self._link.ask("GET", "Call", call_id))

    async def list(self, *, limit: int = PAGE, offset: int = 0, **filters: Unpack[CallFilters]) -> Page[CallRecord]:
        """Records of calls that are over, of the last seven days unless the filters say otherwise."""
        query = {**chosen(CallFilters, filters), "limit": limit, "offset": offset}
        return page(CallRecord, await self._link.ask("GET", "Call", query=query), limit, offset)

    async def live(self, call_id: str) -> OpenCall:
        """A call that is live."""
        return await _open(self._link, call_id, "live")

    async def queued(self, call_id: str) -> OpenCall:
        """A call that waits to be placed."""
        return await _open(self._link, call_id, "queued")

    async def live_ids(self, *, limit: int = PAGE, offset: int = 0) -> tuple[str, ...]:
        """The ids of calls that are live."""
        return await _ids(self._link, "live", limit, offset)

    async def queued_ids(self, *, limit: int = PAGE, offset: int = 0) -> tuple[str, ...]:
        """The ids of calls that wait to be placed."""
        return await _ids(self._link, "queued", limit, offset)

    async def hangup(self, call_id: str) -> None:
        """End a call. One that has ended already is no error."""
        try:
            await self._link.ask("DELETE", "Call", call_id)
        except RestError as error:
            if error.status != 404:
                raise

    async def hangup_all(self) -> None:
        """End every call of the account."""
        await self._link.ask("DELETE", "Call")

    async def transfer(
        self,
        call_id: str,
        *,
        aleg_url: str | None = None,
        bleg_url: str | None = None,
        legs: Legs | None = None,
        aleg_method: Literal["GET", "POST"] | None = None,
        bleg_method: Literal["GET", "POST"] | None = None,
    ) -> Accepted:
        """Give legs of a call another document. `legs` follows from the URLs unless given."""
        if legs is None:
            legs = "both" if aleg_url and bleg_url else "bleg" if bleg_url else "aleg"
        body = {
            "legs": legs,
            "aleg_url": aleg_url,
            "aleg_method": aleg_method,
            "bleg_url": bleg_url,
            "bleg_method": bleg_method,
        }
        return await self._post(body, call_id)

    async def record(self, call_id: str, **options: Unpack[RecordOptions]) -> RecordingStarted:
        """Begin to record. The carrier stops after 60 s unless `time_limit` is given."""
        found = await self._link.ask("POST", "Call", call_id, "Record", body=chosen(RecordOptions, options))
        return read(RecordingStarted, found)

    async def stop_recording(self, call_id: str) -> None:
        """End every recording of a call."""
        await self._link.ask("DELETE", "Call", call_id, "Record")

    async def play(self, call_id: str, urls: str | Sequence[str], **options: Unpack[PlayOptions]) -> Accepted:
        """Play MP3 or WAV files, one after another."""
        return await self._post({"urls": joined(urls, ","), **chosen(PlayOptions, options)}, call_id, "Play")

    async def stop_playing(self, call_id: str) -> None:
        """End the playing of files."""
        await self._link.ask("DELETE", "Call", call_id, "Play")

    async def speak(self, call_id: str, text: str, **options: Unpack[SpeakOptions]) -> Accepted:
        """Have the carrier say a text."""
        return await self._post({"text": text, **chosen(SpeakOptions, options)}, call_id, "Speak")

    async def stop_speaking(self, call_id: str) -> None:
        """End the saying of a text."""
        await self._link.ask("DELETE", "Call", call_id, "Speak")

    async def send_digits(self, call_id: str, digits: str, *, leg: Literal["aleg", "bleg"] | None = None) -> Accepted:
        """Press keys."""
        return await self._post({"digits": digits, "leg": leg}, call_id, "DTMF")

    async def start_stream(self, call_id: str, service_url: str, **options: Unpack[StreamOptions]) -> StreamStarted:
        """Open a stream of a live call's audio to a WebSocket."""
        body = {"service_url": service_url, **chosen(StreamOptions, options)}
        return read(StreamStarted, await self._link.ask("POST", "Call", call_id, "Stream", body=body))

    async def stop_stream(self, call_id: str, stream_id: str | None = None) -> None:
        """End one stream of a call, or all of them."""
        await self._link.ask("DELETE", "Call", call_id, "Stream", *(() if stream_id is None else (stream_id,)))

    async def stream(self, call_id: str, stream_id: str) -> StreamRecord:
        """One stream of a call."""
        return read(StreamRecord, await self._link.ask("GET", "Call", call_id, "Stream", stream_id))

    async def streams(self, call_id: str) -> Page[StreamRecord]:
        """Every stream of a call."""
        return page(StreamRecord, await self._link.ask("GET", "Call", call_id, "Stream"), PAGE, 0)

    async def _post(self, body: dict[str, Any], call_id: str, *path: str) -> Accepted:
        given = {name: value for name, value in body.items() if value is not None}
        return read(Accepted, await self._link.ask("POST", "Call", call_id, *path, body=given))


class Recordings:
    """Recordings. Made by `VoiceApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def get(self, recording_id: str) -> Recording:
        """One recording."""
        return read(Recording, await self._link.ask("GET", "Recording", recording_id))

    async def list(self, *, limit: int = PAGE, offset: int = 0, **filters: Unpack[RecordingFilters]) -> Page[Recording]:
        """Recordings, of the last seven days unless the filters say otherwise."""
        query = {**chosen(RecordingFilters, filters), "limit": limit, "offset": offset}
        return page(Recording, await self._link.ask("GET", "Recording", query=query), limit, offset)

    async def delete(self, recording_id: str) -> None:
        """Delete a recording."""
        await self._link.ask("DELETE", "Recording", recording_id)

    async def download(self, recording: str | Recording, path: str | Path) -> int:
        """Save a recording as a file.

        Args:
            recording: It, or its id.
            path: The file; one that is there is replaced once the new one is whole.

        Returns:
            Its length in bytes.

        Raises:
            OSError: The file cannot be written.
        """
        if isinstance(recording, str):
            recording = await self.get(recording)
        if not recording.recording_url:
            raise PeerError(f"the carrier does not say where recording {recording.recording_id} is")
        return await self._link.save(recording.recording_url, Path(path))


class Applications:
    """Applications. Made by `VoiceApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def create(self, app_name: str, **options: Unpack[ApplicationOptions]) -> str:
        """Make an application; gives its id."""
        body = {"app_name": app_name, **chosen(ApplicationOptions, options)}
        found = await self._link.ask("POST", "Application", body=body)
        return read(ApplicationRecord, found).app_id

    async def get(self, app_id: str) -> ApplicationRecord:
        """One application."""
        return read(ApplicationRecord, await self._link.ask("GET", "Application", app_id))

    async def list(
        self, *, limit: int = PAGE, offset: int = 0, app_name: str | None = None, subaccount: str | None = None
    ) -> Page[ApplicationRecord]:
        """Applications; `app_name` is what their names begin with."""
        query = _given(app_name=app_name, subaccount=subaccount, limit=limit, offset=offset)
        return page(ApplicationRecord, await self._link.ask("GET", "Application", query=query), limit, offset)

    async def update(self, app_id: str, **options: Unpack[ApplicationOptions]) -> Accepted:
        """Change an application."""
        found = await self._link.ask("POST", "Application", app_id, body=chosen(ApplicationOptions, options))
        return read(Accepted, found)

    async def delete(self, app_id: str) -> None:
        """Delete an application."""
        await self._link.ask("DELETE", "Application", app_id)


class Numbers:
    """Phone numbers. Made by `VoiceApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def get(self, number: str) -> NumberRecord:
        """One of the account's numbers."""
        return read(NumberRecord, await self._link.ask("GET", "Number", number))

    async def list(
        self, *, limit: int = PAGE, offset: int = 0, number_startswith: str | None = None, alias: str | None = None
    ) -> Page[NumberRecord]:
        """The account's numbers."""
        query = _given(number_startswith=number_startswith, alias=alias, limit=limit, offset=offset)
        return page(NumberRecord, await self._link.ask("GET", "Number", query=query), limit, offset)

    async def update(
        self, number: str, *, app_id: str | None = None, subaccount: str | None = None, alias: str | None = None
    ) -> Accepted:
        """Give a number another application, sub-account or alias."""
        body = _given(app_id=app_id, subaccount=subaccount, alias=alias)
        return read(Accepted, await self._link.ask("POST", "Number", number, body=body))

    async def delete(self, number: str) -> None:
        """Give a number back."""
        await self._link.ask("DELETE", "Number", number)

    async def search(
        self,
        country_iso: str,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        pattern: str | None = None,
        services: str | None = None,
        limit: int = PAGE,
        offset: int = 0,
    ) -> Page[NumberRecord]:
        """Numbers that can be had."""
        query = _given(
            country_iso=country_iso, type=type, pattern=pattern, services=services, limit=limit, offset=offset
        )
        return page(NumberRecord, await self._link.ask("GET", "PhoneNumber", query=query), limit, offset)

    async def buy(self, number: str, *, app_id: str | None = None) -> Accepted:
        """Take a number."""
        return read(Accepted, await self._link.ask("POST", "PhoneNumber", number, body=_given(app_id=app_id)))


class Conferences:
    """Conferences. Made by `VoiceApi`. A member is named by its `member_id`, several by commas, everybody by `all`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def names(self) -> tuple[str, ...]:
        """Which are going on."""
        return _names(await self._link.ask("GET", "Conference"), "conferences")

    async def get(self, name: str) -> ConferenceRecord:
        """One conference, with its members."""
        found = await self._link.ask("GET", "Conference", name)
        members = found.get("members")
        return msgspec.structs.replace(
            # Each member is read on its own, so that one oddity in one of them does not lose the others.
            read(ConferenceRecord, {**found, "members": None}),
            members=tuple(read(ConferenceMember, one) for one in members) if isinstance(members, list) else (),
            raw=found,
        )

    async def hangup(self, name: str) -> None:
        """End every call of a conference."""
        await self._link.ask("DELETE", "Conference", name)

    async def hangup_all(self) -> None:
        """End every call of every conference."""
        await self._link.ask("DELETE", "Conference")

    async def mute(self, name: str, member: str, on: bool = True) -> None:
        """Nobody hears a member; or everybody again."""
        await self._switch(name, member, "Mute", on)

    async def deafen(self, name: str, member: str, on: bool = True) -> None:
        """A member hears nobody; or everybody again."""
        await self._switch(name, member, "Deaf", on)

    async def kick(self, name: str, member: str) -> None:
        """Let a member leave; the call goes on with its document."""
        await self._switch(name, member, "Kick", True)

    async def hangup_member(self, name: str, member: str) -> None:
        """End a member's call."""
        await self._link.ask("DELETE", "Conference", name, "Member", member)

    async def play(self, name: str, member: str, url: str) -> None:
        """Play a file to a member."""
        await self._link.ask("POST", "Conference", name, "Member", member, "Play", body={"url": url})

    async def stop_playing(self, name: str, member: str) -> None:
        """End the playing of a file."""
        await self._switch(name, member, "Play", False)

    async def speak(
        self, name: str, member: str, text: str, *, voice: str | None = None, language: str | None = None
    ) -> None:
        """Have the carrier say a text to a member."""
        body = _given(text=text, voice=voice, language=language)
        await self._link.ask("POST", "Conference", name, "Member", member, "Speak", body=body)

    async def stop_speaking(self, name: str, member: str) -> None:
        """End the saying of a text."""
        await self._switch(name, member, "Speak", False)

    async def record(self, name: str, **options: Unpack[RecordOptions]) -> RecordingStarted:
        """Begin to record a conference."""
        body = chosen(RecordOptions, options)
        return read(RecordingStarted, await self._link.ask("POST", "Conference", name, "Record", body=body))

    async def stop_recording(self, name: str) -> None:
        """End the recording."""
        await self._link.ask("DELETE", "Conference", name, "Record")

    async def _switch(self, name: str, member: str, what: str, on: bool) -> None:
        body: dict[str, Any] | None = {} if on else None
        await self._link.ask("POST" if on else "DELETE", "Conference", name, "Member", member, what, body=body)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


async def _open(link: RestLink, call_id: str, status: str) -> OpenCall:
    return read(OpenCall, await link.ask("GET", "Call", call_id, query={"status": status}))


async def _ids(link: RestLink, status: str, limit: int, offset: int) -> tuple[str, ...]:
    query = {"limit": limit, "offset": offset, "status": status}
    return _names(await link.ask("GET", "Call", query=query), "calls")


def _names(found: dict[str, Any], key: str) -> tuple[str, ...]:
    names = found.get(key)
    if not isinstance(names, list):
        raise PeerError(f"the carrier answered a list without {key}")
    return tuple(str(name) for name in names)
