"""The official `plivo` SDK at a whole carrier, and all that the carrier's callbacks and records have to say.

`sdk_voice` gives the two. When its block is left, every request that has reached the app is checked: its signatures by
the SDK's own functions, its parameters against `REQUIRED`, its values against the records of its call, its place in the
order of that call's requests. So is the record of each call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import plivo
import pytest
from plivo.exceptions import ResourceNotFoundError
from plivo.rest import client as plivo_client
from plivo.utils import validate_signature, validate_v3_signature
from tests.carrier.world import Behaviour, Page, Request, World, listen, page, until, world

from bothway.carrier.callee import Callee, Callees
from bothway.carrier.config import Account, Config
from bothway.core.profile import Profile
from bothway.speech.tone_ears import ToneEars
from bothway.speech.voices import ToneVoice
from bothway.testing.blocking import guarded
from bothway.testing.virtual_loop import VirtualLoop

MAIN = Account("MAAAAAAAAAAAAAAAAAAA", "a-token-that-signs", timezone="Asia/Kolkata")
SUB = Account("SABBBBBBBBBBBBBBBBBB", "the-sub-accounts-token", parent=MAIN.auth_id, timezone="Asia/Kolkata")
ZONE = ZoneInfo("Asia/Kolkata")
LONG = "<Response><Wait length='60'/></Response>"

# --- what is to be told (plivo-protocol.md, sections 4 and 6) -----------------------------------------------------

IDENTITY = {"CallUUID", "From", "To", "CallStatus", "Direction", "Event", "ParentAuthID", "SessionStart"}
STIR = {"STIRVerification", "STIRAttestation"}
STANDARD = IDENTITY | STIR | {"BillRate", "CountryCode", "RouteType"}
OUTBOUND = {"ALegUUID", "ALegRequestUUID", "RequestUUID"}
RECORDING = {
    "RecordUrl", "RecordingID", "RecordingDuration", "RecordingDurationMs", "RecordingStartMs", "RecordingEndMs",
}  # fmt: skip
DIAL_LEG = {"DialAction", "DialBLegStatus", "DialALegUUID", "DialBLegUUID", "DialBLegFrom", "DialBLegTo"}
DIAL_END = {
    "DialBLegDuration", "DialBLegBillDuration", "DialBLegHangupCauseName", "DialBLegHangupCauseCode",
    "DialBLegHangupSource",
}  # fmt: skip
HANGUP = {
    "AnswerTime", "BillDuration", "BillRate", "Duration", "EndTime", "HangupCause", "HangupCauseCode",
    "HangupCauseName", "HangupSource", "StartTime", "TotalCost",
}  # fmt: skip
CONFERENCE = {"ConferenceName", "ConferenceUUID", "ConferenceMemberID"}
DOCUMENTED_STREAM = {"Event", "CallUUID", "StreamID", "Timestamp", "From", "To", "Direction"}
LIVE_STREAM = {
    "Event", "CallUUID", "StreamID", "From", "To", "Direction", "ParentAuthID", "Timestamp", "status_callback_url",
    "status_callback_method",
}  # fmt: skip

REQUIRED: dict[str, set[str]] = {
    "answer": STANDARD,
    "fallback": STANDARD,
    "redirect": STANDARD,
    "transfer": STANDARD,
    "ring": IDENTITY | {"CallerName", "RequestUUID"},
    "hangup": IDENTITY | STIR | HANGUP,
    "machine": IDENTITY | OUTBOUND | {"Machine", "IfMachine"},
    "dial-action": STANDARD | {"DialStatus", "DialRingStatus", "DialHangupCause", "DialALegUUID", "DialBLegUUID"},
    "dial answer": STANDARD | DIAL_LEG,
    "dial connected": STANDARD | DIAL_LEG,
    "dial hangup": STANDARD | DIAL_LEG | DIAL_END,
    "dial digits": STANDARD | DIAL_LEG | {"DialDigitsMatch", "DialDigitsPressedBy"},
    "record-action": STANDARD | RECORDING | {"Digits"},
    "recorded": STANDARD | RECORDING,
    "transcribed": {
        "transcription", "transcription_charge", "transcription_rate", "duration", "call_uuid", "recording_id", "error",
    },
    "digits": STANDARD | {"Digits"},
    "input": STANDARD | {"InputType", "Digits", "Speech", "SpeechConfidenceScore", "BilledAmount"},
    "interim": STANDARD | {"StableSpeech", "UnstableSpeech", "Stability", "SequenceNumber"},
    "conference-action": STANDARD | CONFERENCE,
    "conference enter": STANDARD | CONFERENCE | {"ConferenceAction"},
    "conference exit": STANDARD | CONFERENCE | {"ConferenceAction"},
    "conference floor": STANDARD | CONFERENCE | {"ConferenceAction"},
    "conference digits": STANDARD | CONFERENCE | {"ConferenceAction", "ConferenceDigitsMatch"},
    "conference record": STANDARD | CONFERENCE | RECORDING | {"ConferenceAction"},
    "conference-recorded": RECORDING | {"ConferenceName"},
    "status started": DOCUMENTED_STREAM,
    "status stopped": DOCUMENTED_STREAM | {"StatusReason", "Duration"},
    "status failed": DOCUMENTED_STREAM | {"StatusReason"},
    "status StartStream": LIVE_STREAM | {"ServiceURL"},
    "status StopStream": LIVE_STREAM,
    "status DroppedStream": LIVE_STREAM | {"ServiceURL", "Error"},
    "status DegradedStream": LIVE_STREAM | {"Error"},
    "status PlayedStream": LIVE_STREAM | {"Name"},
    "status ClearedAudio": LIVE_STREAM,
    "result": {"api_id"},
}  # fmt: skip
"""What each kind of request tells at least. The kind is the first word of the path, and the action or event where a
path has several."""

CAPTURED = {"answer", "ring", "hangup", "machine"}
"""Kinds whose bodies were captured: they tell this and, apart from `EXTRAS`, nothing else."""

EXTRAS = {"ParentCallUUID", "ForwardedFrom", "Machine", "Beep"}

OF_THE_URL = {"tag", "Tag", "blank", "text"}
"""What tests have in the queries of their URLs."""

EVENTS = {
    "answer": "StartApp", "fallback": "StartApp", "ring": "Ring", "hangup": "Hangup", "machine": "MachineDetection",
    "redirect": "Redirect", "transfer": "Redirect", "digits": "GetDigits", "input": "GetInput",
    "dial-action": "Dial", "dial answer": "DialAnswer", "dial connected": "DialConnected",
    "dial hangup": "DialHangup", "dial digits": "DialDigitsMatch",
}  # fmt: skip

STATUSES = {"ringing", "in-progress", "completed", "busy", "failed", "timeout", "no-answer", "cancel"}
SOURCES = {"Caller", "Callee", "Plivo", "Carrier", "API Request", "Answer XML", "Error", "Unknown"}

CDR = {
    "answer_time", "api_id", "bill_duration", "billed_duration", "call_direction", "call_duration", "call_uuid",
    "end_time", "from_number", "initiation_time", "parent_call_uuid", "resource_uri", "to_number", "total_amount",
    "total_rate", "call_state", "conference_uuid", "hangup_cause_code", "hangup_cause_name", "hangup_source",
    "stir_verification", "stir_attestation", "voice_network_group", "source_ip", "cnam_lookup",
}  # fmt: skip
"""The fields of a call's record (plivo-protocol.md, 5.4)."""

STREAM = {
    "api_id", "audio_track", "bidirectional", "bill_duration", "billed_amount", "call_uuid", "content_type",
    "created_at", "end_time", "plivo_auth_id", "resource_uri", "rounded_bill_duration", "service_url", "start_time",
    "status", "status_callback_url", "stream_id",
}  # fmt: skip
"""The fields of a stream (plivo-protocol.md, 5.2)."""

RECORDING_RECORD = {
    "add_time", "api_id", "call_uuid", "conference_name", "recording_id", "recording_type", "recording_format",
    "recording_url", "recording_duration_ms", "recording_start_ms", "recording_end_ms", "rounded_recording_duration",
    "monthly_recording_storage_amount", "recording_storage_rate", "recording_storage_duration", "resource_uri",
}  # fmt: skip
"""The fields of a recording (plivo-protocol.md, 5.7)."""


def kind_of(request: Request) -> str:
    """Which of `REQUIRED` a request is."""
    name, params = request.path.strip("/").partition("/")[0], request.params
    if name == "answer" and params.get("Event") == "Hangup":
        return "hangup"  # a call without a `hangup_url` tells its end there
    action = {"dial": "DialAction", "conference": "ConferenceAction", "status": "Event"}.get(name)
    return f"{name} {params[action]}" if action is not None else name


def required(kind: str, params: Mapping[str, str]) -> set[str]:
    """What a request of this kind has to tell of a call in this direction."""
    wanted = set(REQUIRED[kind])
    if not wanted >= IDENTITY or kind in ("ring", "machine"):
        return wanted
    outbound, unanswered = params["Direction"] == "outbound", kind == "hangup" and not params["AnswerTime"]
    return wanted | ({"RequestUUID"} if outbound and unanswered else OUTBOUND if outbound else {"CallerName"})


# --- the client ---------------------------------------------------------------------------------------------------


class Client:
    """The blocking client, in a thread: `await client("calls.create", …)`."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._rest = plivo.RestClient(account.auth_id, account.auth_token)

    async def __call__(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        method: Callable[..., Any] = self._rest
        for part in name.split("."):
            method = getattr(method, part)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def all(self, resource: str) -> list[Any]:
        """What iterating over a resource gives."""
        return await asyncio.to_thread(lambda: list(getattr(self._rest, resource)))

    async def fetch(self, url: str, **options: Any) -> Any:
        """A URL, by the client's own session, with its credentials unless told otherwise."""
        return await asyncio.to_thread(lambda: self._rest.session.get(url, timeout=5, **options))

    def close(self) -> None:
        self._rest.__exit__(None, None, None)


@dataclass
class SdkVoice:
    """A carrier that the SDK drives.

    Attributes:
        w: The carrier, the app's site and its streams.
        sdk: The client of the main account.
        accounts: Whose tokens may sign, by auth id.
        seen: The kinds of requests that were checked.
        stopped: Whether the test has stopped the carrier, so that there are no records to compare with.
        asks: Whose token signs what names no account.
    """

    w: World
    sdk: Client
    accounts: dict[str, Account]
    seen: list[str] = field(default_factory=list)
    stopped: bool = False
    asks: Account = MAIN
    _clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The app's."""
        return self.w.site.url

    def client(self, account: Account) -> Client:
        """A client of another account."""
        self.accounts[account.auth_id] = account
        self._clients.append(found := Client(account))
        return found

    def pages(self, **documents: str) -> None:
        """What the app answers at `/name`: an underscore stands for a dash."""
        for name, document in documents.items():
            self.w.site.pages["/" + name.replace("_", "-")] = page(document.replace("URL", self.url))

    async def create(self, to: str = "15550100", client: Client | None = None, **options: Any) -> Any:
        """Place a call of which every URL hears. Gives the id, or the ids."""
        urls = {f"{name}_url": f"{self.url}/{name}" for name in ("ring", "hangup")}
        answer = options.pop("answer_url", self.url + "/answer")
        created = await (client or self.sdk)("calls.create", "15550199", to, answer, **{**urls, **options})
        uuid.UUID(created.api_id)
        return created.request_uuid

    async def up(self, to: str = "15550100", client: Client | None = None, **options: Any) -> str:
        """Place a call, and wait until it is answered and its document has been asked for."""
        call_id: str = await self.create(to, client, **options)
        await self.until_asked("answer", call_id)
        return call_id

    def told(self, kind: str, call_id: str | None = None) -> list[dict[str, str]]:
        """What the app was told by requests of a kind, of a call or of all."""
        found = [request.params for request in self.w.site.requests if kind in (kind_of(request), _name(request))]
        return [params for params in found if call_id in (None, params.get("CallUUID"))]

    def kinds(self, call_id: str | None = None) -> list[str]:
        """The kinds of the requests about a call, in the order in which they came."""
        requests = self.w.site.requests
        return [kind_of(request) for request in requests if call_id in (None, request.params.get("CallUUID"))]

    async def until_asked(self, kind: str, call_id: str | None = None, count: int = 1) -> dict[str, str]:
        """The request of this kind; `count` says which."""
        await until(lambda: len(self.told(kind, call_id)) >= count)
        return self.told(kind, call_id)[count - 1]

    async def over(self, call_id: str) -> Any:
        """Wait until a call is over and accounted for. Gives its record."""
        await until(lambda: call_id not in self.w.carrier.calls)
        await asyncio.sleep(0.05)
        return await self.record(call_id)

    async def record(self, call_id: str, client: Client | None = None) -> Any:
        """The record of a call, which has every field."""
        found = await (client or self.sdk)("calls.get", call_id)
        assert vars(found).keys() >= CDR, CDR - vars(found).keys()
        return found

    def close(self) -> None:
        """Close the clients."""
        for client in (self.sdk, *self._clients):
            client.close()

    async def check(self) -> None:
        """Everything that has reached the app is as it should be."""
        await until(lambda: not self.w.carrier.calls)
        await asyncio.sleep(0.05)
        seen: dict[str, list[str]] = {}
        for request in self.w.site.requests:
            kind = kind_of(request) if _name(request) in _NAMES else ""
            if kind or any(name.startswith("x-plivo-") for name in request.headers):
                self.check_signatures(request)
            if kind:
                check_params(kind, request.params)
                self.seen.append(kind)
                if kind != "result" and "CallUUID" in request.params:
                    seen.setdefault(request.params["CallUUID"], []).append(kind)
                    await self._check_values(kind, request.params)
        for call_id, kinds in seen.items():
            check_order(call_id, kinds)

    def check_signatures(self, request: Request) -> None:
        """By the SDK's own functions, with the token of the call's account and that of its main account."""
        account = self.accounts.get(request.params.get("ParentAuthID", ""), self.asks)
        main = self.accounts[account.main_id]
        check_signed(request, account.auth_token, main.auth_token)

    async def _check_values(self, kind: str, params: Mapping[str, str]) -> None:
        if self.stopped:
            return
        try:
            record = await self.record(params["CallUUID"])
        except ResourceNotFoundError:
            raise AssertionError(f"{kind} tells of a call that has no record: {params}") from None
        check_values(kind, params, record)


_NAMES = {kind.partition(" ")[0] for kind in REQUIRED}


def _name(request: Request) -> str:
    return request.path.strip("/").partition("/")[0]


# --- the checks ---------------------------------------------------------------------------------------------------


def check_signed(request: Request, token: str, main_token: str, *, url: str = "") -> None:
    """The SDK takes each signature of a request, and none with another token; `url` is another than that of it."""
    url = url or request.url
    headers, form = request.headers, form_of(request)
    for header, key in (("v3", token), ("ma-v3", main_token)):
        given = (request.method, url, headers["x-plivo-signature-v3-nonce"], key)
        signature = headers[f"x-plivo-signature-{header}"]
        assert validate_v3_signature(*given, signature, dict(form)), (header, request)
        assert not validate_v3_signature(*given[:3], key + "x", signature, dict(form))
    for header, key in (("v2", token), ("ma-v2", main_token)):
        signature = headers[f"x-plivo-signature-{header}"]
        assert validate_signature(url, headers["x-plivo-signature-v2-nonce"], signature, key), (header, request)
    for nonce in ("v2", "v3"):
        assert re.fullmatch("[0-9]{20}", headers[f"x-plivo-signature-{nonce}-nonce"])
    assert (headers["accept"], headers["user-agent"]) == ("*/*", "Plivo")
    assert request.method == "GET" or headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["x-plivo-signature"] == v1_signature(url, form, token)


def form_of(request: Request) -> dict[str, Any]:
    """The form as the SDK wants it: a name that is there more than once has a list."""
    return dict(request.form) if request.method == "POST" else {}


def v1_signature(url: str, form: Mapping[str, str], token: str) -> str:
    """plivo-protocol.md, 8.4: the SDK does not have it any more."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def check_params(kind: str, params: Mapping[str, str]) -> None:
    """All that this kind tells is there."""
    wanted = required(kind, params)
    assert not wanted - params.keys(), f"{kind} lacks {sorted(wanted - params.keys())}: {dict(params)}"
    if kind in CAPTURED:
        more = {name for name in params.keys() - wanted - EXTRAS - OF_THE_URL if not name.startswith("X-PH-")}
        assert not more, f"{kind} has what was never captured: {sorted(more)}"


def check_values(kind: str, params: Mapping[str, str], record: Any) -> None:
    """What a request says is what the call's record says."""
    uuid.UUID(params["CallUUID"])
    assert (params["From"], params["To"]) == (record.from_number, record.to_number), (kind, params)
    assert params["Direction"] == record.call_direction
    if "SessionStart" in params:
        began = datetime.strptime(params["SessionStart"] + "+0000", "%Y-%m-%d %H:%M:%S.%f%z")
        assert began.replace(microsecond=0) == at(record.initiation_time), (kind, params)
    if "ALegUUID" in params:
        assert params["ALegUUID"] == params["CallUUID"]
        assert params["ALegRequestUUID"] == params["RequestUUID"] == params["CallUUID"]
    if "CallStatus" in params:
        assert params["CallStatus"] in STATUSES
    if "STIRVerification" in params:
        assert (params["STIRVerification"], params["STIRAttestation"]) == (
            record.stir_verification,
            record.stir_attestation,
        )
    if "BillRate" in params:
        assert float(params["BillRate"]) == float(record.total_rate)
    if kind in EVENTS:
        assert params["Event"] == EVENTS[kind], (kind, params)
    if record.parent_call_uuid and "CallStatus" in params:
        assert params["ParentCallUUID"] == record.parent_call_uuid
    if "Timestamp" in params:
        assert began_and_ended(record, moment_of(params["Timestamp"])), (kind, params, record)
    for name in ("RecordingStartMs", "RecordingEndMs"):
        if params.get(name, "-1") != "-1":
            assert began_and_ended(record, datetime.fromtimestamp(int(params[name]) / 1000, UTC)), (
                kind,
                params,
                record,
            )
    if kind == "hangup":
        check_hangup(params, record)
    elif kind in ("answer", "fallback"):
        wanted = {"in-progress"} if params["Direction"] == "outbound" else {"ringing"}
        assert params["CallStatus"] in wanted, params


def moment_of(text: str) -> datetime:
    """When something happened to a stream: in UTC, in either vocabulary (plivo-protocol.md, 4.1 and 4.2)."""
    if "T" in text:
        assert text.endswith("Z"), text
        return datetime.fromisoformat(text)
    return datetime.strptime(text + "+0000", "%Y-%m-%d %H:%M:%S%z")


def began_and_ended(record: Any, moment: datetime) -> bool:
    """Whether a moment is one of the call's; its record has whole seconds."""
    second = timedelta(seconds=1)
    return at(record.answer_time or record.initiation_time) - second <= moment <= at(record.end_time) + second


def check_hangup(params: Mapping[str, str], record: Any) -> None:
    """The end of a call, as it is told, is that of the record; its times are local, and name no zone."""
    for name, told in (
        ("StartTime", record.initiation_time),
        ("AnswerTime", record.answer_time),
        ("EndTime", record.end_time),
    ):
        assert (params[name] or None) == (told and told.removesuffix("+05:30")), (name, params, told)
    assert (int(params["Duration"]), int(params["BillDuration"])) == (record.bill_duration, record.billed_duration)
    assert params["TotalCost"] == record.total_amount
    assert (int(params["HangupCauseCode"]), params["HangupCauseName"], params["HangupSource"]) == (
        record.hangup_cause_code,
        record.hangup_cause_name,
        record.hangup_source,
    )
    assert params["HangupSource"] in SOURCES
    assert re.fullmatch("[A-Z_]+", params["HangupCause"])
    assert record.answer_time is None or params["CallStatus"] == "completed", params
    if record.answer_time is not None:
        seconds = (at(record.end_time) - at(record.answer_time)).total_seconds()
        assert abs(record.bill_duration - seconds) <= 1, record
        assert record.billed_duration == -(-record.bill_duration // 60) * 60
        assert float(record.total_amount) == pytest.approx(float(record.total_rate) * record.billed_duration / 60)


def check_order(call_id: str, kinds: Sequence[str]) -> None:
    """It rings, its document is asked for, things happen, it ends: each once but for those in between."""
    for kind in ("ring", "answer", "hangup"):
        assert kinds.count(kind) <= 1, (call_id, kinds)
    if "ring" in kinds:
        assert kinds[0] == "ring", (call_id, kinds)
    if "answer" in kinds and "machine" not in kinds:
        assert set(kinds[: kinds.index("answer")]) <= {"ring"}, (call_id, kinds)
    if "hangup" in kinds:
        # Recordings are finished behind the end, and a stream's other server does not wait for this one.
        late = {"recorded", "transcribed", "record-action", "conference-recorded", "conference record"}
        rest = set(kinds[kinds.index("hangup") + 1 :])
        assert not rest - late, (call_id, kinds)


def at(text: str) -> datetime:
    """A time of a record, which names its zone."""
    found = datetime.fromisoformat(text)
    assert text.endswith("+05:30"), text
    return found


def stream_fields(stream: Any) -> Any:
    """A stream as the SDK gives it, which has every field."""
    assert vars(stream).keys() >= STREAM, STREAM - vars(stream).keys()
    return stream


def recording_fields(recording: Any) -> Any:
    """A recording as the SDK gives it, which has every field."""
    assert vars(recording).keys() >= RECORDING_RECORD, RECORDING_RECORD - vars(recording).keys()
    return recording


# --- the world ----------------------------------------------------------------------------------------------------


def point_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """The SDK has no argument for its base URL: its constants are the way."""
    names = ("PLIVO_API_BASE_URI", "API_VOICE_BASE_URI", *(f"API_VOICE_BASE_URI_FALLBACK_{n}" for n in (1, 2)))
    for name in names:
        patch.setattr(plivo_client, name, url + "/v1/Account")


@asynccontextmanager
async def sdk_voice(
    tmp_path: Path,
    *callees: Callee,
    answer: Page | str = LONG,
    behaviour: Behaviour = listen,
    profile: Profile | None = None,
    limits: Mapping[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[SdkVoice]:
    """A carrier with these callees, whose account writes its times in India's."""
    config = {"accounts": (MAIN, SUB), **config}
    options: dict[str, Any] = {
        "account": MAIN,
        "config": Config(callees=Callees(callees), **config),
        "voice": ToneVoice(rate=8000),
        "ears": ToneEars(),
        "limits": {"calls_per_second": 100, "requests_per_5s": 100_000, **(limits or {})},
        **({"profile": profile} if profile is not None else {}),
    }
    async with world(tmp_path, behaviour, **options) as w:
        with ExitStack() as stack:
            loop = asyncio.get_running_loop()
            if isinstance(loop, VirtualLoop):
                origin = w.carrier.url
                stack.enter_context(
                    guarded(loop, find=lambda url: w.carrier.api if url.startswith(origin + "/") else None)
                )
            point_at(w.carrier.url, stack.enter_context(pytest.MonkeyPatch.context()))
            voice = SdkVoice(w, Client(MAIN), {account.auth_id: account for account in config["accounts"]})
            stack.callback(voice.close)
            w.site.pages["/answer"] = page(answer.replace("URL", w.site.url)) if isinstance(answer, str) else answer
            yield voice
            await voice.check()
