"""A voice agent without Bothway: FastAPI, and Plivo's own SDKs. It runs here unchanged:

    uvicorn --app-dir examples sdk_agent:api --port 5000
    bothway dev --answer-url http://127.0.0.1:5000/answer

It greets, answers when the caller has stopped speaking, is silent when the caller interrupts, and reads keys back; at
`#` it says goodbye and hangs up. It takes only what is signed: set PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN for uvicorn to
the BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN that `bothway dev` runs with.

How it is tested: tests/interop/test_plivo_stream_sdk_virtual.py.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from array import array
from collections import deque
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl

import plivo
from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from plivo import plivoxml
from plivo.utils import validate_v3_signature
from plivo_stream import PlivoFastAPIStreamingHandler
from plivo_stream.types import DtmfEvent, MediaEvent, PlayedStreamEvent, StartEvent

RATE = 8000
LOUD = 500
"""The mean amplitude, of 32767, above which a frame counts as speech."""

SPEAKS_FRAMES = 3
"""So many loud frames of 20 ms are the caller speaking, and no click on the line."""

DONE_FRAMES = 30
"""So many quiet ones behind them, 600 ms, and the caller waits for an answer."""

log = logging.getLogger(__name__)
api = FastAPI()


class Ended(NamedTuple):
    """A call that is over: what of it was not heard to its end, the keys that were pressed, and when it ended."""

    call_id: str
    unplayed: tuple[str, ...]
    keys: str
    at: datetime


ended: deque[Ended] = deque(maxlen=1000)


async def speak(text: str) -> AsyncIterator[bytes]:
    """Where a text-to-speech service goes: a tone for every word. It gives L16 at `RATE`."""
    for word in text.split():
        pitch = 300 + 40 * (sum(word.encode()) % 12)
        samples = (round(6000 * math.sin(math.tau * pitch * at / RATE)) for at in range(len(word) * RATE * 60 // 1000))
        yield array("h", samples).tobytes() + bytes(2 * RATE * 60 // 1000)


def hang_up(call_id: str) -> None:
    """End a call. This waits for the answer, so that it is run in a thread."""
    plivo.RestClient().calls.delete(call_id)


class Conversation:
    """One call, from the start of its stream to the end."""

    def __init__(self, line: PlivoFastAPIStreamingHandler) -> None:
        self.line = line
        self.unplayed: list[str] = []
        self.keys = ""
        self.spoken = self.loud = self.quiet = 0
        self.texts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.talking = asyncio.create_task(self.talk())
        line.on_start(self.started)
        line.on_media(self.heard)
        line.on_dtmf(self.pressed)
        line.on_played_stream(self.played)
        line.on_disconnected(self.disconnected)
        line.on_error(self.failed)

    def say(self, name: str, text: str) -> None:
        """Say something behind everything else, with a checkpoint of this name."""
        self.unplayed.append(name)
        self.texts.put_nowait((name, text))

    async def talk(self) -> None:
        """Say what there is to say, as fast as it is made: the carrier plays it in its time."""
        while True:
            name, text = await self.texts.get()
            async for audio in speak(text):
                await self.line.send_media(audio, "audio/x-l16", RATE)
            await self.line.send_checkpoint(name)

    async def be_silent(self) -> None:
        """Drop what the caller has not heard, and what was still to be said."""
        self.talking.cancel()
        self.unplayed.clear()
        self.texts = asyncio.Queue()
        self.talking = asyncio.create_task(self.talk())
        await self.line.send_clear_audio()

    async def started(self, event: StartEvent) -> None:
        """The stream is open."""
        self.say("greeting", "Hello, this is the bakery. How can I help you?")

    async def heard(self, event: MediaEvent) -> None:
        """The caller's next 20 ms."""
        samples = array("h", event.get_raw_media())
        self.spoken += 1
        if sum(map(abs, samples)) > LOUD * len(samples):
            self.quiet = 0
            self.loud += 1
            if self.loud >= SPEAKS_FRAMES and self.unplayed:
                await self.be_silent()
            return
        self.quiet += 1
        if self.quiet < DONE_FRAMES and self.loud:
            return
        if self.loud >= SPEAKS_FRAMES:
            self.say("answer", f"You spoke for {(self.spoken - self.quiet) / 50:g} seconds.")
        self.spoken = self.loud = 0

    async def pressed(self, event: DtmfEvent) -> None:
        """The caller has pressed a key."""
        key = event.dtmf.digit
        self.keys += key
        if key == "#":
            self.say("goodbye", "Goodbye.")
        else:
            self.say(f"key {key}", f"You pressed {key}.")

    async def played(self, event: PlayedStreamEvent) -> None:
        """The caller has heard everything up to a checkpoint."""
        if event.name in self.unplayed:
            self.unplayed.remove(event.name)
        if event.name == "goodbye":
            await asyncio.to_thread(hang_up, self.line.get_call_id())

    async def disconnected(self) -> None:
        """The socket is closed, or has died: leave nothing behind."""
        self.talking.cancel()
        await asyncio.gather(self.talking, return_exceptions=True)
        ended.append(Ended(self.line.get_call_id(), tuple(self.unplayed), self.keys, datetime.now(UTC)))

    async def failed(self, error: Exception) -> None:
        """The SDK met something that it does not know, a `stop` for instance, or could not send."""
        log.info("the stream reports: %s", error)
        if isinstance(error, WebSocketDisconnect):
            await self.line.stop()  # or the SDK tries for ever to read from a socket that is gone


def is_signed(method: str, url: str, headers: Mapping[str, str], params: dict[str, str] | None = None) -> bool:
    """Whether Plivo sent this, for our account."""
    nonce, signature = headers.get("x-plivo-signature-v3-nonce"), headers.get("x-plivo-signature-v3")
    if nonce is None or signature is None:
        return False
    return bool(validate_v3_signature(method, url, nonce, os.environ["PLIVO_AUTH_TOKEN"], signature, params))


async def signed(request: Request) -> dict[str, str]:
    """What a webhook tells."""
    params = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    if not is_signed("POST", str(request.url), request.headers, params):
        raise HTTPException(403)
    return params


Params = Annotated[dict[str, str], Depends(signed)]


@api.post("/answer")
async def answer(request: Request, params: Params) -> Response:
    """Connect the call to the stream below; if it breaks, the caller is told."""
    stream = plivoxml.StreamElement(
        str(request.url_for("stream")),
        bidirectional=True,
        keepCallAlive=True,
        contentType=f"audio/x-l16;rate={RATE}",
        statusCallbackUrl=str(request.url_for("status")),
    )
    document = plivoxml.ResponseElement()
    document.add(stream)
    document.add(plivoxml.SpeakElement("We were cut off. Please call again."))
    return Response(document.to_string(), media_type="application/xml")


@api.post("/status")
async def status(params: Params) -> None:
    """The stream has begun or ended."""
    log.info("the stream of call %s: %s", params["CallUUID"], params["Event"])


@api.post("/hangup")
async def hangup(params: Params) -> None:
    """The call is over."""
    log.info("call %s: %s", params["CallUUID"], params["HangupCauseName"])


@api.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """One call's audio. Its upgrade is signed as a GET of the same URL with `http`."""
    if not is_signed("GET", str(websocket.url.replace(scheme="http")), websocket.headers):
        await websocket.close()
        return
    line = PlivoFastAPIStreamingHandler(websocket)
    Conversation(line)
    await line.start()
