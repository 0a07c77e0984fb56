"""A carrier's REST API that is strict about every request, notes it, and answers as the hosted one does."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

from bothway.app.rest import VoiceApi

AUTH_ID, TOKEN = "MAAAAAAAAAAAAAAAAAAA", "the-account-token"
CALL, STREAM, RECORDING = "call-1", "stream-1", "recording-1"
API_ID = "4e04fa3e-03da-11ed-b158-0242ac110008"

Reply: TypeAlias = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass(frozen=True)
class Seen:
    """One request, as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class FakeRest:
    """The server's memory.

    Attributes:
        url: The base of the API.
        seen: The requests, in order.
        replies: What is answered first, one after another: a status, a JSON value or bytes, and headers. An exception
            breaks the connection.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    replies: list[Reply | Exception] = field(default_factory=list)
    on_request: Callable[[Seen], None] = lambda _: None
    before_reply: Callable[[], Awaitable[object]] | None = None

    @property
    def lines(self) -> list[str]:
        return [one.line for one in self.seen]

    def api(self, **options: Any) -> VoiceApi:
        return VoiceApi(self.url, AUTH_ID, TOKEN, **options)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        seen, wrong = await self._read(request)
        self.seen.append(seen)
        self.on_request(seen)
        if self.before_reply is not None:
            await self.before_reply()
        if wrong:
            return web.json_response({"api_id": API_ID, "error": wrong}, status=400)
        reply = self.replies.pop(0) if self.replies else usual(seen)
        if isinstance(reply, Exception):
            assert request.transport is not None
            request.transport.abort()
            raise reply
        status, value, *more = reply
        body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        return web.Response(status=status, body=body, headers=more[0] if more else None)

    async def _read(self, request: web.Request) -> tuple[Seen, str]:
        """The request, and what is wrong with it."""
        raw = await request.read()
        wrong, body = "", {}
        if request.headers.get("Authorization") != "Basic " + b64encode(f"{AUTH_ID}:{TOKEN}".encode()).decode():
            wrong = "the credentials are wrong"
        elif not request.path.startswith(f"/v1/Account/{AUTH_ID}/") or not request.path.endswith("/"):
            wrong = "the path is wrong"
        elif raw and request.headers.get("Content-Type") != "application/json":
            wrong = "the body is no JSON"
        elif raw and request.method == "GET":
            wrong = "a GET has no body"
        if raw:
            body = json.loads(raw)
        path = request.raw_path.partition("?")[0].removeprefix(f"/v1/Account/{AUTH_ID}")
        return Seen(request.method, path, dict(request.query), body, dict(request.headers)), wrong


def usual(seen: Seen) -> Reply:
    """What the hosted platform answers (plivo-protocol.md, section 5)."""
    done = {"api_id": API_ID}
    if seen.method == "DELETE":
        return 204, None
    parts = seen.path.strip("/").split("/")
    if seen.method == "POST":
        match parts:
            case ["Call"]:
                return 201, {**done, "message": "call fired", "request_uuid": CALL}
            case ["Application"]:
                return 201, {**done, "message": "created", "app_id": "17000000000000001"}
            case [*_, "Stream"]:
                return 202, {**done, "message": "audio streaming started", "stream_id": STREAM}
            case [*_, "Record"]:
                told = {"url": "https://media.example/r.mp3", "recording_id": RECORDING}
                return 202, {**done, "message": "call recording started", **told}
        return 202, {**done, "message": "done"}
    if len(parts) > 1 or not parts[0]:
        status = seen.query.get("status")
        return 200, {**done, **(OPEN_CALL if status else OBJECTS.get(parts[-2] if len(parts) > 1 else "", {}))}
    if seen.query.get("status"):
        return 200, {**done, "calls": [CALL, "call-2"]}
    if parts[0] == "Conference":
        return 200, {**done, "conferences": ["My Room"]}
    return 200, listed(OBJECTS["Number" if parts[0] == "PhoneNumber" else parts[0]])


def listed(one: dict[str, Any], **meta: Any) -> dict[str, Any]:
    defaults = {"limit": 20, "offset": 0, "total_count": 1, "next": None, "previous": None}
    return {"api_id": API_ID, "meta": defaults | meta, "objects": [one]}


OPEN_CALL = {
    "direction": "inbound",
    "from": "15856338537",
    "call_status": "in-progress",
    "to": "14154830302",
    "caller_name": "+15856338537",
    "call_uuid": CALL,
    "session_start": "2017-05-22 13:17:49.050872",
    "request_uuid": CALL,
    "stir_verification": "Verified",
}

OBJECTS: dict[str, dict[str, Any]] = {
    "": {"auth_id": AUTH_ID, "cash_credits": "12.34500", "name": "Ann", "timezone": "Asia/Kolkata"},
    "Call": {
        "answer_time": "2023-06-21 18:53:16+05:30",
        "bill_duration": 27,
        "billed_duration": "60",
        "call_direction": "outbound",
        "call_duration": 27,
        "call_uuid": CALL,
        "end_time": "",
        "from_number": "+14155550100",
        "hangup_cause_code": 4000,
        "hangup_cause_name": "Normal Hangup",
        "initiation_time": "2023-06-21 18:53:10+05:30",
        "parent_call_uuid": None,
        "to_number": "14155550199",
        "total_amount": "0.00300",
        "total_rate": 0.003,
        "voice_network_group": "ABC",
    },
    "Stream": {
        "audio_track": "inbound",
        "bidirectional": True,
        "bill_duration": 27,
        "billed_amount": "0.00300",
        "call_uuid": CALL,
        "created_at": "2023-06-21 13:23:44.136962+00:00",
        "end_time": None,
        "rounded_bill_duration": "60",
        "service_url": "wss://a.example/b",
        "status": "initiated",
        "stream_id": STREAM,
    },
    "Recording": {
        "add_time": "2023-06-21 18:53:16+05:30",
        "call_uuid": CALL,
        "recording_duration_ms": "345100.00000",
        "recording_format": "wav",
        "recording_id": RECORDING,
        "recording_start_ms": "1690000000000.00000",
        "recording_url": "https://media.example/r.wav",
    },
    "Application": {"app_id": "17000000000000001", "app_name": "Shop", "answer_url": "https://a.example/answer"},
    "Number": {"number": "14155550199", "alias": "desk", "voice_enabled": True, "monthly_rental_rate": "0.80000"},
    "Conference": {
        "conference_name": "My Room",
        "conference_run_time": "590",
        "conference_member_count": "1",
        "members": [{"muted": False, "member_id": "17", "deaf": False, "from": "1415", "join_time": "590"}],
    },
}


@asynccontextmanager
async def fake_rest() -> AsyncIterator[FakeRest]:
    """Serve one on a port of the loopback interface."""
    rest = FakeRest()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", rest.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rest.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield rest
    finally:
        await runner.cleanup()
