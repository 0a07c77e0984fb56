"""Apps written with the official stream SDK, unchanged, on calls of our carrier."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from plivo import plivoxml
from plivo.utils import validate_v3_signature
from tests.carrier.world import ACCOUNT, Caller, World, page, until, world
from tests.serving import uvicorn_at
from websockets.asyncio.server import ServerConnection, serve

from bothway.core.profile import DOCUMENTED, LIVE, Profile

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK has warnings of its own, which are not ours to fix
    from plivo_stream import PlivoFastAPIStreamingHandler, PlivoWebsocketStreamingHandler

pytestmark = pytest.mark.virtual_time

GREETING = b"\x11" * 160 * 5
LONG = b"\x22" * 160 * 500
VOICE = b"\x33" * 160


class Diary:
    """What one app saw, through the SDK's callbacks."""

    def __init__(self) -> None:
        self.starts: list[Any] = []
        self.media: list[Any] = []
        self.raw: list[bytes] = []
        self.digits: list[str] = []
        self.played: list[str] = []
        self.cleared = 0
        self.errors: list[Exception] = []
        self.connected = 0
        self.disconnected = asyncio.Event()


def converse(handler: Any, diary: Diary) -> None:
    """The app: it greets, and on a key it speaks at length and thinks better of it; on another it hangs up."""

    @handler.on_connected  # type: ignore[untyped-decorator]
    async def connected() -> None:
        diary.connected += 1

    @handler.on_disconnected  # type: ignore[untyped-decorator]
    async def disconnected() -> None:
        diary.disconnected.set()

    @handler.on_start  # type: ignore[untyped-decorator]
    async def started(event: Any) -> None:
        diary.starts.append(event)
        await handler.send_media(GREETING)
        await handler.send_checkpoint("greeted")

    @handler.on_media  # type: ignore[untyped-decorator]
    async def media(event: Any) -> None:
        diary.media.append(event)
        diary.raw.append(event.get_raw_media())

    @handler.on_dtmf  # type: ignore[untyped-decorator]
    async def pressed(event: Any) -> None:
        diary.digits.append(event.dtmf.digit)
        if event.dtmf.digit == "#":
            await handler.stop()
            return
        for start in range(0, len(LONG), 16_000):
            await handler.send_media(LONG[start : start + 16_000])
        await handler.send_checkpoint("never heard")
        await asyncio.sleep(0.1)
        await handler.send_clear_audio()

    @handler.on_played_stream  # type: ignore[untyped-decorator]
    async def played(event: Any) -> None:
        diary.played.append(event.name)

    @handler.on_cleared_audio  # type: ignore[untyped-decorator]
    async def cleared(event: Any) -> None:
        assert event.stream_id == handler.get_stream_id()
        diary.cleared += 1

    @handler.on_error  # type: ignore[untyped-decorator]
    async def failed(error: Exception) -> None:
        diary.errors.append(error)


def answer_xml(url: str) -> str:
    """As the REST SDK writes it."""
    stream = plivoxml.StreamElement(
        url, bidirectional=True, keepCallAlive=True, contentType="audio/x-mulaw;rate=8000", extraHeaders="a=1,b=2"
    )
    return str(plivoxml.ResponseElement().add(stream).to_string())


@asynccontextmanager
async def fastapi_app(diary: Diary, w: World) -> AsyncIterator[str]:
    """The FastAPI variant under uvicorn, with an answer URL and an upgrade that check signatures."""
    app = FastAPI()

    def check(method: str, url: str, headers: Any, params: dict[str, str] | None = None) -> None:
        nonce, signature = headers["x-plivo-signature-v3-nonce"], headers["x-plivo-signature-v3"]
        assert validate_v3_signature(method, url, nonce, ACCOUNT.auth_token, signature, params)

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        check("POST", str(request.url), request.headers, form)
        xml = answer_xml(f"ws://{request.url.netloc}/stream?call={form['CallUUID']}")
        return Response(xml, media_type="application/xml")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        check("GET", str(websocket.url).replace("ws://", "http://"), websocket.headers)
        handler = PlivoFastAPIStreamingHandler(websocket)
        converse(handler, diary)
        await handler.start()

    async with uvicorn_at(app) as port:
        yield f"http://127.0.0.1:{port}/answer"


@asynccontextmanager
async def websockets_app(diary: Diary, w: World) -> AsyncIterator[str]:
    """The plain websockets variant; its document lies on the world's own site."""

    async def stream(connection: ServerConnection) -> None:
        handler = PlivoWebsocketStreamingHandler()
        converse(handler, diary)
        await handler.handle(connection)

    async with serve(stream, "127.0.0.1", 0) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        w.site.pages["/sdk"] = page(answer_xml(f"ws://{host}:{port}/stream"))
        yield w.site.url + "/sdk"


Variant: TypeAlias = Callable[[Diary, World], AbstractAsyncContextManager[str]]


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(DOCUMENTED, id="documented"),
        pytest.param(LIVE, id="live"),
        pytest.param(DOCUMENTED, id="real", marks=pytest.mark.real_sockets),
    ],
)
@pytest.mark.parametrize("variant", [fastapi_app, websockets_app], ids=["fastapi", "websockets"])
@pytest.mark.parametrize("who", ["app", "caller"])
async def test_a_conversation(tmp_path: Path, variant: Variant, profile: Profile, who: str) -> None:
    diary = Diary()
    async with world(tmp_path, profile=profile) as w, variant(diary, w) as answer_url:
        caller, _ = w.place(page(b""), caller=Caller(says=VOICE), answer_url=answer_url)
        await until(lambda: diary.played == ["greeted"])
        assert caller.heard.count(GREETING[:160]) == 5
        caller.press("5")
        await caller.hears(LONG[:160])
        await until(lambda: diary.cleared == 1)
        silence_from = len(caller.heard)
        await until(lambda: len(caller.heard) >= silence_from + 5)
        assert set(caller.heard[silence_from + 1 :]) == {caller.format.silent_frame}, "the clear was obeyed"
        if who == "app":
            caller.press("#")
        else:
            caller.hang_up()
        await w.over(caller)
        await asyncio.wait_for(diary.disconnected.wait(), 5)
        w.check_accounted(caller, 4010 if who == "app" else 4000)
        assert caller.ran_to_end

        (start,) = diary.starts
        assert start.start.call_id == caller.call_id
        assert start.start.media_format.encoding == "audio/x-mulaw"
        assert start.start.media_format.sample_rate == 8000
        assert start.extra_headers == ("a=1,b=2" if profile is DOCUMENTED else "{X-PH-a: 1, X-PH-b: 2}")
        assert [event.media.chunk for event in diary.media] == list(range(1, len(diary.media) + 1))
        assert diary.raw.count(VOICE) >= len(diary.raw) - 3
        times = [int(event.media.timestamp) for event in diary.media]
        assert {later - sooner for sooner, later in pairwise(times)} <= {19, 20, 21}
        assert diary.digits == (["5", "#"] if who == "app" else ["5"])
        assert diary.played == ["greeted"]
        assert diary.cleared == diary.connected == 1

        # The live system sends no stop, and the SDK knows none.
        told_stop = profile is DOCUMENTED and who == "caller"
        assert [str(error) for error in diary.errors] == (["Unknown event type: stop"] if told_stop else [])
