"""A carrier that is killed: what is around it, and what it must have left behind when another one starts.

A `Scene` brings one call to one step of its life, and says what is known of it there; `check` compares that with what
the next carrier makes of it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import msgspec
from plivo.utils import validate_v3_signature
from tests.carrier.kill_carrier import Settings
from tests.carrier.test_evidence import check_wav
from tests.carrier.world import ACCOUNT, Request, Site, Socket, Streams, page, site, until, websockets_at

from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account
from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.mp3 import is_mp3
from bothway.carrier.store.opening import FILE_NAME
from bothway.carrier.store.records import CallRecord

_ROOT = Path(__file__).parents[2]


async def until_so(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the condition may be anything
            await asyncio.sleep(0.02)


class Victim:
    """A carrier in a process of its own, made by `victim`."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self._turn = asyncio.Lock()

    async def tell(self, do: str, **facts: str) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._turn, asyncio.timeout(20):
            stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")
            return json.loads(await stdout.readline())

    async def events(self, call_id: str) -> list[str]:
        """What the call's log has."""
        found: list[str] = await self.tell("events", call=call_id)
        return found

    async def has(self, call_id: str, event: str) -> None:
        """Wait for a record in the call's log."""

        async def there() -> bool:
            return event in await self.events(call_id)

        await until_so(there)

    async def hears(self, call_id: str, frames: int) -> None:
        """Wait until the caller has heard so much."""

        async def heard() -> bool:
            count: int = await self.tell("heard", call=call_id)
            return count >= frames

        await until_so(heard)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def victim(settings: Settings) -> AsyncIterator[Victim]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.carrier.kill_carrier", msgspec.json.encode(settings).decode(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(30):
            url = await process.stdout.readline()
        if not url:
            raise AssertionError((await errors).decode())
        yield Victim(process, url.decode().strip())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await errors


@dataclass
class Town:
    """What is around the carrier, and outlives it."""

    site: Site
    streams: Streams
    silent: str
    """A WebSocket URL that answers nothing."""
    data: Path
    victim: Victim
    killed_at: int = 0
    """How many requests the site had when the carrier was killed."""
    stalls: list[asyncio.Event] = field(default_factory=list)

    async def rest(self, method: str, path: str, account: Account = ACCOUNT, **given: Any) -> tuple[int, Any]:
        """Ask the carrier: `key` is the Idempotency-Key."""
        return await ask(self.victim.url, method, path, account, **given)

    async def kill(self) -> None:
        await self.victim.kill()
        self.killed_at = len(self.site.requests)
        for opened in self.stalls:
            opened.set()

    def after(self, path: str) -> list[dict[str, str]]:
        """What a path was told since the carrier was killed."""
        return [request.params for request in self.site.requests[self.killed_at :] if request.path == path]

    def stall(self, path: str) -> asyncio.Event:
        """Let this page answer once the event is set; those who ask after the kill get it at once."""
        opened = asyncio.Event()
        self.stalls.append(opened)

        async def answer(_: Request) -> bytes:
            if not self.killed_at:
                await opened.wait()
            return page(b"")

        self.site.pages[path] = answer
        return opened

    @contextmanager
    def database_held(self) -> Iterator[None]:
        """Nobody else can write while this lasts."""
        connection = sqlite3.connect(self.data / FILE_NAME, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()


async def ask(
    url: str, method: str, path: str, account: Account = ACCOUNT, *, key: str = "", **given: Any
) -> tuple[int, Any]:
    headers = {"Authorization": aiohttp.encode_basic_auth(account.auth_id, account.auth_token)}
    if key:
        headers["Idempotency-Key"] = key
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{url}/v1/Account/{account.auth_id}/{path}", json=given or None) as answer,
    ):
        return answer.status, (await answer.json() if await answer.read() else {})


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass  # the carrier was killed
    finally:
        writer.close()


@asynccontextmanager
async def town(data: Path, settings: Settings | None = None) -> AsyncIterator[Town]:
    """A carrier to be killed, and all around it."""

    async def app(socket: Socket) -> None:
        await socket.play(b"\x11" * 160 * 50)
        await socket.closed.wait()

    streams = Streams(app)
    silent = await asyncio.start_server(_silence, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    try:
        async with site() as http, websockets_at(streams), victim(settings or Settings(str(data))) as process:
            w = Town(http, streams, f"ws://127.0.0.1:{port}/", data, process)
            try:
                yield w
            finally:
                for opened in w.stalls:
                    opened.set()
    finally:
        silent.close()


@dataclass
class Left:
    """What is known of the calls of a scene when their carrier is killed.

    Attributes:
        calls: Those that are told of at `/NAME/hangup`.
        legs: Those that nobody is told of.
        account: Whose.
        code: Why they ended.
        source: Who ended them.
        state: What became of them.
        streams: How many there were.
        recordings: How many there were, told of at `/NAME/recorded`.
        told: Whether the application had been told of the end, and its answer had been noted.
        has_log: Whether there was anything to be noted in a call's log.
    """

    calls: list[str]
    legs: list[str] = field(default_factory=list)
    account: Account = ACCOUNT
    code: int = 5010
    source: str = "Error"
    state: str = "completed"
    streams: int = 0
    recordings: int = 0
    told: bool = False
    has_log: bool = True


Reach: TypeAlias = Callable[[Town, str], Coroutine[Any, Any, Left]]
"""Brings a call to a step; gets the root of its URLs at the site."""


async def check(w: Town, name: str, left: Left, carrier: Carrier) -> None:
    """What the next carrier has made of a scene."""
    for call_id in (*left.calls, *left.legs):
        record = await check_record(carrier, call_id, left)
        told = w.after(f"/{name}/hangup") if call_id in left.calls else []
        ends = [params for params in told if params["CallUUID"] == call_id]
        assert bool(ends) == (call_id in left.calls and not left.told), f"{name}: {len(ends)} hangup callbacks"
        for params in ends:
            check_hangup(params, record)
        streams = await check_streams(w, name, carrier, record)
        assert streams == (left.streams if call_id == left.calls[0] else 0), name
        if left.has_log:
            check_log(w.data / "calls" / call_id / LOG_NAME, left)
    await check_recordings(w, name, left, carrier)


async def check_record(carrier: Carrier, call_id: str, left: Left) -> CallRecord:
    """The call is closed: in the store, and as REST shows it."""
    assert carrier._store is not None
    record = await carrier._store.calls.get(call_id)
    assert record is not None
    assert (record.hangup_cause_code, record.hangup_source, record.state) == (left.code, left.source, left.state)
    assert record.end_time is not None
    assert record.end_time >= (record.answer_time or record.initiation_time)
    if left.code == 5010:
        assert (record.answer_time is not None) == (left.state == "completed")
        assert (record.bill_duration, float(record.amount)) == (0, 0.0), "what was not counted is not billed"
    status, shown = await ask(carrier.url, "GET", f"Call/{call_id}/", left.account)
    assert status == 200
    assert (shown["hangup_cause_code"], shown["call_state"], shown["end_time"] is None) == (
        left.code, "ANSWERED" if record.answer_time else shown["call_state"], False,
    )  # fmt: skip
    assert (await ask(carrier.url, "GET", f"Call/{call_id}/?status=live", left.account))[0] == 404
    return record


def check_hangup(params: Mapping[str, str], record: CallRecord) -> None:
    assert (params["Event"], params["CallStatus"]) == ("Hangup", record.state)
    assert (params["HangupCauseCode"], params["HangupSource"]) == (str(record.hangup_cause_code), record.hangup_source)
    assert (params["From"], params["To"]) == (record.from_number, record.to_number)
    assert (params["Direction"], params["TotalCost"]) == (record.direction, f"{record.amount:.5f}")
    assert bool(params["AnswerTime"]) == (record.answer_time is not None)
    assert params["EndTime"]


async def check_streams(w: Town, name: str, carrier: Carrier, record: CallRecord) -> int:
    """Every stream is closed, and its status URL has heard of its beginning and its end, in this order."""
    assert carrier._store is not None
    found = await carrier._store.streams.list(record.call_uuid)
    for stream in found.records:
        assert stream.end_time is not None
        assert stream.status == ("failed" if record.hangup_cause_code == 5010 else "completed")
        if stream.status_callback_url is not None:
            events = [p["Event"] for p in all_of(w, f"/{name}/status") if p["StreamID"] == stream.stream_id]
            opened = ["started"] if stream.start_time is not None else []
            assert once_each(events) == [*opened, "failed" if stream.status == "failed" else "stopped"]
    return len(found.records)


def check_log(log: Path, left: Left) -> None:
    content = log.read_bytes()
    assert content.endswith(b"\n")
    ends = [record for record in map(json.loads, content.splitlines()) if record["event"] == "ended"]
    assert [(end["code"], end["source"]) for end in ends] == [(left.code, left.source)]


async def check_recordings(w: Town, name: str, left: Left, carrier: Carrier) -> None:
    """Every recording has a file that can be heard, a record, and a URL that was told and works."""
    assert carrier._store is not None
    await until(lambda: len({p["RecordingID"] for p in all_of(w, f"/{name}/recorded")}) >= left.recordings)
    told = {params["RecordingID"]: params for params in all_of(w, f"/{name}/recorded")}
    assert len(told) == left.recordings, name
    for recording_id, params in told.items():
        record = await carrier._store.recordings.get(recording_id)
        assert record is not None
        assert (record.call_uuid, params["CallUUID"]) == (left.calls[0], left.calls[0])
        assert record.duration_ms == int(params["RecordingDurationMs"]) >= 1000
        file = w.data / record.path
        if record.recording_format == "wav":
            check_wav(file)
            assert record.duration_ms == (file.stat().st_size - 44) * 1000 // (8000 * 2 * record.channels)
        else:
            assert is_mp3(file.read_bytes())
            assert not file.with_suffix(".wav").exists()
        assert file.stat().st_size == record.size
        assert params["RecordUrl"].startswith(carrier.url)
        async with aiohttp.ClientSession() as session, session.get(params["RecordUrl"]) as answer:
            assert await answer.read() == file.read_bytes()
        assert not file.with_suffix(".json").exists()


def all_of(w: Town, path: str) -> list[dict[str, str]]:
    return [request.params for request in w.site.asked(path)]


def once_each(events: Iterable[str]) -> list[str]:
    """Without what came again: at least once means that it may."""
    found: list[str] = []
    for event in events:
        if event not in found:
            found.append(event)
    return found


def check_all_told(w: Town, owners: Mapping[str, Account]) -> None:
    """What came after the kill was signed by who owns the call, of calls that were there, and of their ends alone."""
    for request in w.site.requests[w.killed_at :]:
        params = request.params
        assert params["CallUUID"] in owners, f"{request.path} hears of a call that never was"
        assert request.path.rsplit("/", 1)[1] in ("hangup", "status", "recorded"), request.path
        signature, nonce = request.headers["x-plivo-signature-v3"], request.headers["x-plivo-signature-v3-nonce"]
        token = owners[params["CallUUID"]].auth_token
        assert validate_v3_signature(request.method, request.url, nonce, token, signature, request.form)
