"""A carrier small enough to read: it signs what Plivo signs, plays at the pace of speech, and notes all it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from tests.serving import uvicorn_at
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bothway import App
from bothway.wire.callxml import parse
from bothway.wire.signature import sign_v3, upgrade_signature_header
from bothway.wire.verbs import Stream

AUTH_ID, TOKEN, CALL = "MAAAAAAAAAAAAAAAAAAA", "the-account-token", "0f6a1b9e-6d1c-4f0e-9b7e-3f5e2c7a1d10"
STREAM = "5a8d0c1e-2f34-4c7b-8a21-7d90e1b2c3d4"
NONCE = "31627761595286130198"
PATIENCE = 8.0
"""Seconds after which a test has failed."""

FRAME = bytes(range(160))


def start_message(call: str = CALL, *, encoding: str = "audio/x-mulaw", rate: int = 8000, **more: Any) -> str:
    start = {
        "callId": call,
        "streamId": STREAM,
        "accountId": "500025",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": encoding, "sampleRate": rate},
    }
    return json.dumps(
        {"sequenceNumber": 0, "event": "start", "start": start | more, "extra_headers": "{X-PH-tier: gold}"}
    )


def media_message(audio: bytes, chunk: int, track: str = "inbound") -> str:
    media = {"track": track, "timestamp": str(20 * chunk), "chunk": chunk, "payload": base64.b64encode(audio).decode()}
    return json.dumps(
        {"event": "media", "sequenceNumber": chunk, "streamId": STREAM, "media": media, "extra_headers": "{}"}
    )


def dtmf_message(digit: str) -> str:
    body = {"track": "inbound", "digit": digit, "timestamp": "1"}
    return json.dumps({"event": "dtmf", "sequenceNumber": 1, "streamId": STREAM, "dtmf": body, "extra_headers": "{}"})


@dataclass
class FakeCarrier:
    """The carrier's end of one stream.

    Attributes:
        heard: Audio that was played to the caller.
        got: The events that came, as `play 20` (milliseconds), `checkpoint name`, `clear`, `dtmf 12`.
        closed: The code and the reason of the Close frame, once the app has sent one.
    """

    socket: ClientConnection
    heard: bytearray = field(default_factory=bytearray)
    got: list[str] = field(default_factory=list)
    largest: int = 0
    most_queued_ms: float = 0.0
    closed: tuple[int, str] | None = None
    _queue: asyncio.Queue[tuple[str, bytes]] = field(default_factory=asyncio.Queue)
    _change: asyncio.Event = field(default_factory=asyncio.Event)
    _chunk: int = 0

    async def say(self, *frames: bytes) -> None:
        for frame in frames:
            self._chunk += 1
            await self.socket.send(media_message(frame, self._chunk))

    async def send(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._change.clear()
                await self._change.wait()

    async def until_closed(self) -> tuple[int, str]:
        await self.until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed

    async def read(self) -> None:
        try:
            async for raw in self.socket:
                self.largest = max(self.largest, len(raw))
                self._received(json.loads(raw))
                self._change.set()
        except ConnectionClosed:
            pass
        self.closed = (self.socket.close_code or 0, self.socket.close_reason or "")
        self._change.set()

    def _received(self, message: dict[str, Any]) -> None:
        match message["event"]:
            case "playAudio":
                audio = base64.b64decode(message["media"]["payload"])
                self.got.append(f"play {len(audio) // 8}")
                self._queue.put_nowait(("play", audio))
                queued = sum(len(audio) for kind, audio in self._queue._queue if kind == "play")  # type: ignore[attr-defined, misc]
                self.most_queued_ms = max(self.most_queued_ms, queued / 8)
            case "checkpoint":
                self.got.append(f"checkpoint {message['name']}")
                self._queue.put_nowait((message["name"], b""))
            case "clearAudio":
                self.got.append("clear")
                while not self._queue.empty():
                    self._queue.get_nowait()
                self._queue.put_nowait(("cleared", b""))
            case "sendDTMF":
                self.got.append(f"dtmf {message['dtmf']}")

    async def play(self) -> None:
        ids = {"streamId": STREAM, "sequenceNumber": 9}
        due = 0.0
        while True:
            what, audio = await self._queue.get()
            now = time.monotonic()
            if what == "play":
                due = max(due, now) + len(audio) / 8000
                await asyncio.sleep(due - now)
                self.heard += audio
            else:
                name = {} if what == "cleared" else {"name": what}
                event = "clearedAudio" if what == "cleared" else "playedStream"
                await self.socket.send(json.dumps({"event": event, **name, **ids}))
            self._change.set()

    @property
    def ours(self) -> list[str]:
        """What came, without the checkpoints that the app makes for itself."""
        return [event for event in self.got if not event.startswith("checkpoint bothway:")]


@asynccontextmanager
async def dialled(
    url: str,
    *,
    start: str | None = "",
    sign: str | None = TOKEN,
    signed_url: str | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[FakeCarrier]:
    """Open a stream at `url` as a carrier does; `start` is its first message, None for none."""
    more = dict(headers or {})
    if sign is not None:
        more["X-Plivo-Signature-V3"] = upgrade_signature_header(signed_url or url, NONCE, sign, every_form=False)
        more["X-Plivo-Signature-V3-Nonce"] = NONCE
    async with connect(url, additional_headers=more, compression=None, proxy=None) as socket:
        carrier = FakeCarrier(socket)
        tasks = [asyncio.create_task(carrier.read()), asyncio.create_task(carrier.play())]
        try:
            with contextlib.suppress(ConnectionClosed):  # one that is refused may be closed already
                if start is not None:
                    await socket.send(start or start_message())
            yield carrier
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Answer:
    """What an HTTP request got."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def stream(self) -> Stream:
        found = [verb for verb in parse(self.text).verbs if isinstance(verb, Stream)]
        assert len(found) == 1
        return found[0]


def answer_form(call: str = CALL) -> dict[str, str]:
    return {"CallUUID": call, "From": "14155550100", "To": "14155550199", "Direction": "inbound", "Event": "StartApp"}


async def ask(
    url: str,
    form: dict[str, str] | None = None,
    *,
    method: str = "POST",
    sign: str | None = TOKEN,
    signed_url: str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a webhook as the carrier does."""
    form = answer_form() if form is None else form
    if method == "GET":
        url += ("&" if "?" in url else "?") + urlencode(form)
    more = dict(headers or {})
    if sign is not None:
        params = form if method == "POST" else None
        more["X-Plivo-Signature-V3"] = sign_v3(method, signed_url or url, NONCE, sign, params)
        more["X-Plivo-Signature-V3-Nonce"] = NONCE
    if method == "POST":
        more["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode() if body is None else body
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=more, allow_redirects=False) as response,
    ):
        return Answer(response.status, await response.text(), dict(response.headers))


@asynccontextmanager
async def served_by_uvicorn(asgi: Any) -> AsyncIterator[str]:
    """Serve by uvicorn; gives its URL."""
    async with uvicorn_at(asgi) as port:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            if isinstance(asgi, App):
                await asgi.stop(0.0)


def new_app(**options: Any) -> App:
    return App(**{"auth_id": AUTH_ID, "auth_token": TOKEN} | options)


def ws(url: str) -> str:
    return urlsplit(url)._replace(scheme="ws").geturl()
