"""The REST API over real records, with a switch that keeps its calls in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from bothway.carrier.api.operations import Resources
from bothway.carrier.api.rest import RestApi
from bothway.carrier.api.switch import (
    CallControl,
    CallRequest,
    ConferenceControl,
    Leg,
    MemberControl,
    PlayRequest,
    RecordRequest,
    RefusedError,
    SpeakRequest,
    StreamRequest,
    Switch,
    TransferRequest,
)
from bothway.carrier.config import Account
from bothway.carrier.keys import Keys
from bothway.carrier.store.records import AccountRecord, CallRecord, StreamRecord
from bothway.carrier.store.store import Store
from bothway.runtime.health import Health
from bothway.runtime.metrics import Metrics
from bothway.runtime.tasks import Tasks
from bothway.wire.webhooks import CallFacts

MAIN = Account(
    "MAAAAAAAAAAAAAAAAAAA", "a-token-that-signs", name="Main", timezone="Asia/Kolkata", cash_credits=Decimal("4.5")
)
OTHER = Account("MABBBBBBBBBBBBBBBBBB", "another-token")
SUB_ID = "SAAAAAAAAAAAAAAAAAAA"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
UNKNOWN = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@dataclass
class BoardCall:
    """A live call; `log` has what was done to it."""

    board: Switchboard
    account: Account
    record: CallRecord
    log: list[tuple[Any, ...]] = field(default_factory=list)
    open_streams: dict[str, StreamRecord] = field(default_factory=dict)
    recordings: dict[str, RecordRequest] = field(default_factory=dict)
    transfers: int = 0

    def move(self, **values: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **values)
        self.board.store.calls.save(self.record)

    def hangup(self) -> None:
        self.stop_streams()
        del self.board.calls[self.record.call_uuid]
        self.move(
            state="completed",
            end_time=self.board.now,
            hangup_cause_code=4000,
            hangup_cause_name="Normal Hangup",
            hangup_source="API Request",
        )

    def transfer(self, request: TransferRequest) -> None:
        if self.transfers == 70:
            raise RefusedError("Loop detected: a call can be transferred 70 times")
        self._leg(request.legs)
        self.transfers += 1
        self.log.append(("transfer", request))

    async def start_recording(self, request: RecordRequest) -> str:
        self._answered()
        recording_id = str(uuid.uuid4())
        self.recordings[recording_id] = request
        return recording_id

    def stop_recording(self, recording_id: str | None = None) -> bool:
        stopped = [one for one in self.recordings if recording_id in (None, one)]
        for one in stopped:
            del self.recordings[one]
        return bool(stopped)

    def play(self, request: PlayRequest) -> None:
        self._answered()
        self._leg(request.legs)
        self.log.append(("play", request))

    def stop_playing(self) -> None:
        self.log.append(("stop playing",))

    def speak(self, request: SpeakRequest) -> None:
        self._answered()
        self.log.append(("speak", request))

    def stop_speaking(self) -> None:
        self.log.append(("stop speaking",))

    def send_digits(self, digits: str, leg: Leg) -> None:
        self._leg(leg)
        self.log.append(("digits", digits, leg))

    async def start_stream(self, request: StreamRequest) -> str:
        self._answered()
        if any(stream.service_url == request.service_url for stream in self.open_streams.values()):
            raise RefusedError("service_url has a stream of this call already")
        stream = StreamRecord(
            stream_id=str(uuid.uuid4()),
            call_uuid=self.record.call_uuid,
            account=self.record.account,
            sub_account=self.record.sub_account,
            node="1",
            service_url=request.service_url,
            created_at=self.board.now,
            start_time=self.board.now,
            status="in-progress",
            bidirectional=request.bidirectional,
            audio_track=request.audio_track,
            content_type=request.content_type or "audio/x-mulaw;rate=8000",
            status_callback_url=request.status_callback_url,
            rate=Decimal("0.003"),
        )
        self.open_streams[stream.stream_id] = stream
        self.board.store.streams.save(stream)
        self.log.append(("stream", request))
        return stream.stream_id

    def stop_stream(self, stream_id: str) -> bool:
        stream = self.open_streams.pop(stream_id, None)
        if stream is not None:
            ended = msgspec.structs.replace(
                stream,
                status="completed",
                end_time=self.board.now,
                bill_duration=27,
                rounded_bill_duration=60,
                billed_amount=Decimal("0.003"),
            )
            self.board.store.streams.save(ended)
        return stream is not None

    def stop_streams(self) -> None:
        for stream_id in list(self.open_streams):
            self.stop_stream(stream_id)

    def _answered(self) -> None:
        if self.record.state != "in-progress":
            raise RefusedError("the call is not answered yet", reason="conflict")

    def _leg(self, leg: str) -> None:
        if leg != "aleg":
            raise RefusedError("the call has no second leg", reason="not-found")


@dataclass
class BoardMember:
    member_id: str
    facts: CallFacts
    joined_at: datetime
    muted: bool = False
    deaf: bool = False
    log: list[tuple[Any, ...]] = field(default_factory=list)

    def mute(self, on: bool) -> None:
        self.muted = on

    def deafen(self, on: bool) -> None:
        self.deaf = on

    def kick(self) -> None:
        self.log.append(("kick",))

    def hangup(self) -> None:
        self.log.append(("hangup",))

    def play(self, request: PlayRequest) -> None:
        self.log.append(("play", request))

    def stop_playing(self) -> None:
        self.log.append(("stop playing",))

    def speak(self, request: SpeakRequest) -> None:
        self.log.append(("speak", request))

    def stop_speaking(self) -> None:
        self.log.append(("stop speaking",))


@dataclass
class BoardConference:
    board: Switchboard
    name: str
    account: Account
    started_at: datetime
    people: list[BoardMember]
    recording: str = ""

    @property
    def members(self) -> Sequence[MemberControl]:
        return self.people

    def hangup(self) -> None:
        self.board.rooms.remove(self)

    async def start_recording(self, request: RecordRequest) -> str:
        if self.recording:
            raise RefusedError("the conference is being recorded", reason="conflict")
        self.recording = str(uuid.uuid4())
        return self.recording

    def stop_recording(self) -> bool:
        was, self.recording = bool(self.recording), ""
        return was


@dataclass
class Switchboard:
    """A `Switch` whose calls live in a dict."""

    store: Store
    now: datetime = NOW
    calls: dict[str, BoardCall] = field(default_factory=dict)
    queue: dict[str, CallRecord] = field(default_factory=dict)
    rooms: list[BoardConference] = field(default_factory=list)
    placed: list[CallRequest] = field(default_factory=list)

    def prepare_calls(self, account: Account, request: CallRequest) -> Sequence[CallRecord]:
        if any(to.startswith("979") for to in request.to):
            raise RefusedError("Calls to this destination region are barred", reason="barred")
        ids = [str(uuid.uuid4()) for _ in request.to]
        return [
            CallRecord(
                call_uuid=one,
                request_uuid=one,
                account=account.main_id,
                sub_account=account.auth_id if account.parent else "",
                node="1",
                direction="outbound",
                from_number=request.from_,
                to_number=to,
                initiation_time=self.now,
                caller_name=request.caller_name,
                parent_call_uuid=request.parent_call_uuid,
            )
            for one, to in zip(ids, request.to, strict=True)
        ]

    def place_calls(self, account: Account, request: CallRequest, calls: Sequence[CallRecord]) -> None:
        self.placed.append(request)
        self.queue.update({call.call_uuid: call for call in calls})

    def live_call(self, call_id: str) -> CallControl | None:
        return self.calls.get(call_id)

    def live_calls(self) -> Sequence[CallControl]:
        return list(self.calls.values())

    def cancel_request(self, request_uuid: str) -> bool:
        record = self.queue.pop(request_uuid, None)
        if record is None:
            return False
        self.store.calls.save(msgspec.structs.replace(record, state="cancel", end_time=self.now))
        return True

    def conferences(self) -> Sequence[ConferenceControl]:
        return list(self.rooms)

    # What tests do.

    def add(self, account: Account = MAIN, *, answered: bool = True, **values: Any) -> BoardCall:
        """A live call."""
        call_id = str(uuid.uuid4())
        given = {"direction": "inbound", "from_number": "15550001", "to_number": "15550002", **values}
        record = CallRecord(
            call_uuid=call_id,
            request_uuid=call_id,
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            node="1",
            initiation_time=self.now - timedelta(seconds=10),
            answer_time=self.now - timedelta(seconds=5) if answered else None,
            state="in-progress" if answered else "ringing",
            **given,
        )
        call = self.calls[call_id] = BoardCall(self, account, record)
        self.store.calls.save(record)
        return call

    def meet(self, name: str, *members: str, account: Account = MAIN) -> BoardConference:
        """A conference of members with these ids."""
        people = [
            BoardMember(
                one,
                CallFacts(str(uuid.uuid4()), "15550001", "15550002", "inbound", account.auth_id, self.now),
                self.now - timedelta(seconds=59),
            )
            for one in members
        ]
        room = BoardConference(self, name, account, self.now - timedelta(seconds=60), people)
        self.rooms.append(room)
        return room


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert set(self.json) == {"api_id", "error"}
        uuid.UUID(self.json["api_id"])
        return str(self.json["error"])


@dataclass
class Desk:
    """The API and what is behind it."""

    api: RestApi
    store: Store
    switch: Switchboard
    resources: Resources
    data: Path
    delivered: list[tuple[Account, str, str, Mapping[str, str]]]

    async def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        account: Account | None = MAIN,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        about: str | None = None,
    ) -> Reply:
        """One request without sockets. A path without a slash before it is below the account's."""
        if not path.startswith("/"):
            path = f"/v1/Account/{about or (account or MAIN).auth_id}/{path}"
        sent = dict(headers or {})
        if account is not None:
            sent.setdefault("Authorization", basic(account.auth_id, account.auth_token))
        if content is not None:
            body = json.dumps(content).encode()
            sent.setdefault("Content-Type", "application/json")
        return await ask(self.api, method, path, body or b"", sent)

    async def subaccount(self, auth_id: str = SUB_ID, *, enabled: bool = True, parent: Account = MAIN) -> Account:
        record = AccountRecord(auth_id=auth_id, created=NOW, modified=NOW, parent=parent.auth_id, enabled=enabled)
        await self.store.accounts.save(record)
        token = self.resources.keys.subaccount_token(auth_id, 0)
        return msgspec.structs.replace(parent, auth_id=auth_id, auth_token=token, parent=parent.auth_id)


def basic(auth_id: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{auth_id}:{token}".encode()).decode()


async def ask(api: RestApi, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    parts = urlsplit(target)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "server": ("carrier.test", 80),
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict[str, Any]] = []

    requests = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.Event().wait()  # the client stays
        return requests.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await api(scope, receive, send)
    start, *parts_sent = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], found, b"".join(part.get("body", b"") for part in parts_sent))


@asynccontextmanager
async def desk(
    data: Path, *, requests_per_5s: int = 100_000, accounts: Sequence[Account] = (MAIN, OTHER)
) -> AsyncIterator[Desk]:
    store = await Store.open()
    tasks = Tasks()
    switch = Switchboard(store)
    delivered: list[tuple[Account, str, str, Mapping[str, str]]] = []
    checked: Switch = switch
    resources = Resources(
        store=store,
        switch=checked,
        accounts=accounts,
        keys=Keys(b"k" * 32),
        new_id=lambda: str(uuid.uuid4()),
        deliver=lambda account, url, method, form: delivered.append((account, url, method, form)),
        data=data,
        now=lambda: switch.now,
    )
    api = RestApi(Health(), Metrics(), lambda: str(uuid.uuid4()), requests_per_5s=requests_per_5s)
    api.open(resources, tasks)
    try:
        yield Desk(api, store, switch, resources, data, delivered)
    finally:
        api.close()
        await tasks.close(1.0)
        await store.close()


async def settled(desk: Desk, count: int = 1) -> None:
    """Until that many asynchronous results were delivered."""
    async with asyncio.timeout(5):
        while len(desk.delivered) < count:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.001)
