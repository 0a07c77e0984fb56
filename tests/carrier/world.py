"""A small world for a carrier: a caller, an application's HTTP site and its WebSocket, each at a port of 127.0.0.1.

In virtual time the ports are those of the memory network, with the marker `real_sockets` the machine's; which, nothing
here knows.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape, quoteattr

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bothway.audio.format import MULAW_8K, AudioFormat
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account, Application
from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.leg import LegSink
from bothway.carrier.live_call import LiveCall
from bothway.core.profile import DOCUMENTED, Profile
from bothway.wire.hangup import HangupCause

ACCOUNT = Account("MAAAAAAAAAAAAAAAAAAA", "a-token-that-signs")
PATIENCE = 45.0
"""Seconds after which a test has failed: in virtual time, longer than any deadline of the carrier's."""


class Caller:
    """A `Leg`: a caller that says the same frame over and over, and remembers what it hears."""

    def __init__(self, audio_format: AudioFormat = MULAW_8K, says: bytes = b"") -> None:
        self.format = audio_format
        self.says = says or audio_format.silent_frame
        self.heard: list[bytes] = []
        self.digits = ""
        self.call_id = ""
        self.records: list[Mapping[str, object]] = []
        self.cause: HangupCause | None = None
        self.detail = ""
        self.ran_to_end: bool | None = None
        self.is_answered = False
        self.done = asyncio.Event()
        self._call: LegSink | None = None

    def attach(self, call: LegSink) -> None:
        self._call = call

    def ringing(self, call_id: str) -> None:
        self.call_id = call_id

    def answered(self) -> None:
        self.is_answered = True

    def send_frames(self, frames: Sequence[bytes]) -> None:
        self.heard.extend(frames)
        asyncio.get_running_loop().call_soon(self._answer, len(frames))

    def send_digits(self, digits: str) -> None:
        self.digits += digits

    def log(self, record: Mapping[str, object]) -> None:
        self.records.append(record)

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        assert self.cause is None, "a call ends once"
        self.cause, self.detail, self.ran_to_end = cause, detail, ran_to_end
        self.done.set()

    def press(self, digit: str) -> None:
        assert self._call is not None
        self._call.caller_digit(digit)

    def hang_up(self) -> None:
        assert self._call is not None
        self._call.caller_hung_up()

    async def hears(self, frame: bytes, count: int = 1) -> None:
        await until(lambda: self.heard.count(frame) >= count)

    def events(self, name: str) -> list[Mapping[str, object]]:
        return [record for record in self.records if record["event"] == name]

    def _answer(self, frames: int) -> None:
        if self._call is not None and not self.done.is_set():
            for _ in range(frames):
                self._call.caller_frame(self.says)


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition may be anything
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    """As dialled."""
    headers: dict[str, str]
    form: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def params(self) -> dict[str, str]:
        return self.form or dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


Page: TypeAlias = "bytes | Callable[[Request], Awaitable[bytes]]"


def page(body: bytes | str, status: str = "200 OK", *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers])
    return head.encode() + b"\r\n\r\n" + content


class Site:
    """An application's HTTP server. What `pages` lacks is answered with 200 and nothing."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def events(self, path: str) -> list[str]:
        return [request.params["Event"] for request in self.asked(path)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                form = dict(parse_qsl(body.decode(), keep_blank_values=True))
                request = Request(method, f"http://{headers['host']}{target}", headers, form, body)
                self.requests.append(request)
                found = self.pages.get(request.path, page(b""))
                writer.write(found if isinstance(found, bytes) else await found(request))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the carrier has gone
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


Behaviour: TypeAlias = "Callable[[Socket], Awaitable[None]]"


@dataclass
class Socket:
    """One stream, as an app sees it."""

    connection: ServerConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def headers(self) -> Mapping[str, str]:
        assert self.connection.request is not None
        return self.connection.request.headers

    @property
    def path(self) -> str:
        assert self.connection.request is not None
        return self.connection.request.path

    async def send(self, **message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def play(self, audio: bytes, content_type: str = "audio/x-mulaw", rate: int = 8000) -> None:
        media = {"contentType": content_type, "sampleRate": rate, "payload": b64encode(audio).decode()}
        await self.send(event="playAudio", media=media)

    def all(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    async def until(self, event: str, count: int = 1) -> dict[str, Any]:
        await until(lambda: len(self.all(event)) >= count or self.closed.is_set())
        return self.all(event)[count - 1]

    async def read(self) -> None:
        try:
            async for message in self.connection:
                assert isinstance(message, str), "a stream has text messages alone"
                self.messages.append(json.loads(message))
        except ConnectionClosed:
            pass  # without a handshake
        self.close_code, self.close_reason = self.connection.close_code, self.connection.close_reason or ""
        self.closed.set()


async def listen(socket: Socket) -> None:
    """The app that only listens, until the stream ends."""
    await socket.closed.wait()


class Streams:
    """An application's WebSocket server. Each stream gets the behaviour; it ends when the behaviour returns."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.sockets: list[Socket] = []
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        socket = Socket(connection)
        self.sockets.append(socket)
        reading = asyncio.create_task(socket.read())
        try:
            await self.behaviour(socket)
            await connection.close()
        except ConnectionClosed:
            pass  # the carrier closed first
        finally:
            await reading

    async def first(self) -> Socket:
        await until(lambda: self.sockets)
        return self.sockets[0]


@dataclass
class World:
    """A carrier and what is around it."""

    carrier: Carrier
    site: Site
    streams: Streams
    data: Path

    def stream(self, *, url: str | None = None, after: str = "", before: str = "", **attributes: str) -> bytes:
        """An answer document with one `<Stream>`."""
        given = {"bidirectional": "true", "keepCallAlive": "true", **attributes}
        written = " ".join(f"{name}={quoteattr(value)}" for name, value in given.items())
        target = escape(self.streams.url if url is None else url)
        return page(f"<Response>{before}<Stream {written}>{target}</Stream>{after}</Response>")

    def place(self, document: Page, *, caller: Caller | None = None, **application: Any) -> tuple[Caller, LiveCall]:
        """Start a call that `document` answers and whose end `/hangup` hears of."""
        self.site.pages["/answer"] = document
        caller = caller or Caller()
        plan = Application("test", self.site.url + "/answer", hangup_url=self.site.url + "/hangup")
        plan = Application(**{**{name: getattr(plan, name) for name in plan.__struct_fields__}, **application})
        return caller, self.carrier.place(caller, from_="+15550001", to="15550002", application=plan)

    async def call(self, document: Page, *, caller: Caller | None = None, **application: Any) -> Caller:
        """Place a call and see it to its end."""
        caller, _ = self.place(document, caller=caller, **application)
        await self.over(caller)
        return caller

    async def over(self, caller: Caller) -> None:
        """Wait until the call is over, and all that is to be done about it is done."""
        async with asyncio.timeout(PATIENCE):
            await caller.done.wait()
        await until(lambda: caller.call_id not in self.carrier.calls)
        assert self.carrier._node is not None
        await self.carrier._node.writer.drained()

    def log(self, caller: Caller) -> list[dict[str, Any]]:
        lines = (self.data / "calls" / caller.call_id / LOG_NAME).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def metric(self, name: str, **labels: str) -> float:
        value = self.carrier.metrics.registry.get_sample_value(name, labels)
        assert value is not None, f"no metric {name} with {labels}"
        return value

    def check_accounted(self, caller: Caller, code: int, source: str | None = None) -> str:
        """The call ended with `code` everywhere that an end is told. Gives the detail."""
        assert caller.cause is not None
        assert caller.cause.code == code, (caller.cause, caller.detail)
        ended = [record for record in self.log(caller) if record["event"] == "ended"]
        assert [record["code"] for record in ended] == [code]
        hangups = [request.params for request in self.site.asked("/hangup")]
        mine = [params for params in hangups if params["CallUUID"] == caller.call_id]
        assert [params["HangupCauseCode"] for params in mine] == [str(code)]
        if source is not None:
            assert caller.cause.source == ended[0]["source"] == mine[0]["HangupSource"] == source
        assert caller.ran_to_end == ended[0]["ran_to_end"]
        assert self.metric("bothway_calls_active") == len(self.carrier.calls)
        assert self.metric("bothway_calls_total", outcome=mine[0]["CallStatus"]) >= 1
        assert self.metric("bothway_streams_active") == 0 or self.carrier.calls
        assert not list((self.data / "live").glob("*/*")) or self.carrier.calls
        return str(ended[0]["detail"])


@asynccontextmanager
async def websockets_at(streams: Streams) -> AsyncIterator[WebSocketServer]:
    async with serve(streams.serve, "127.0.0.1", 0, max_size=None) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        streams.url = f"ws://{host}:{port}/stream"
        yield server


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    found = Site()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    found.url = f"http://{host}:{port}"
    try:
        yield found
    finally:
        server.close()
        await found.close()


_databases: dict[Path, str] = {}
_new_database: Callable[[], str] | None = None


@contextmanager
def records_in(new_database: Callable[[], str]) -> Iterator[None]:
    """Let the carriers keep their records in databases of another server; the same one for the same data folder."""
    global _new_database
    _new_database = new_database
    try:
        yield
    finally:
        _new_database = None
        _databases.clear()


def _database(data: Path) -> str | None:
    if _new_database is None:
        return None
    if data not in _databases:
        _databases[data] = _new_database()
    return _databases[data]


@asynccontextmanager
async def world(
    data: Path,
    behaviour: Behaviour = listen,
    *,
    profile: Profile = DOCUMENTED,
    limits: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    if limits:
        profile = replace(profile, limits=replace(profile.limits, **limits))
    settings: dict[str, Any] = {"account": ACCOUNT, "allow_private": True, "db": _database(data), **options}
    streams = Streams(behaviour)
    async with site() as http, websockets_at(streams), Carrier(profile=profile, data=data, **settings) as carrier:
        yield World(carrier, http, streams, data)
