"""An app without Bothway: FastAPI, and Plivo's own SDKs for the XML and the stream. It runs here unchanged:

    uvicorn --app-dir examples plain_fastapi_plivo_sdk:api --port 5000
    bothway dev --answer-url http://127.0.0.1:5000/answer

It plays back what it hears, and what is left to play is dropped when a key is pressed.
"""

# mypy: disallow-untyped-decorators=False
# The SDK's have no types.

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from plivo import plivoxml
from plivo_stream import PlivoFastAPIStreamingHandler
from plivo_stream.types import DtmfEvent, MediaEvent

api = FastAPI()


@api.api_route("/answer", methods=["GET", "POST"])
def answer(request: Request) -> Response:
    """Connect the call to the stream below."""
    scheme = "wss" if request.url.scheme == "https" else "ws"
    stream = plivoxml.StreamElement(
        f"{scheme}://{request.headers['host']}/stream",
        bidirectional=True,
        keepCallAlive=True,
        contentType="audio/x-mulaw;rate=8000",
    )
    document = plivoxml.ResponseElement()
    document.add(stream)
    return Response(document.to_string(), media_type="application/xml")


@api.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """One call's audio."""
    call = PlivoFastAPIStreamingHandler(websocket)

    @call.on_media
    async def media(event: MediaEvent) -> None:
        await call.send_media(event.get_raw_media())

    @call.on_dtmf
    async def dtmf(event: DtmfEvent) -> None:
        await call.send_clear_audio()

    @call.on_error
    async def error(failure: Exception) -> None:
        # The SDK reports here what it does not know, a `stop` message among it, and goes on.
        logging.getLogger(__name__).warning("the stream reports: %s", failure)
        if isinstance(failure, WebSocketDisconnect):
            await call.stop()  # or the SDK reads for ever from a socket that is gone

    await call.start()
