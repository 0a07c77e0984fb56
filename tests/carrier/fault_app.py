"""An app in a process of its own: it plays five seconds of noise on every stream, and clears it when it is told to.

Run it as `python -m tests.carrier.fault_app [FRAMES]`: it prints its port. Each stream is cleared once FRAMES media
messages and up to half as many more have come; without FRAMES never.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import Sequence

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

NOISE = b"\x11" * 160
_PLAY = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": b64encode(NOISE * 250).decode()}


class Stream(WSListener):
    """One stream."""

    count = 0

    def __init__(self, frames: int) -> None:
        super().__init__()
        Stream.count += 1
        self._clear_at = frames + Stream.count % (frames // 2 or 1) if frames else -1
        self._media = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), b"")
            transport.disconnect()
            return
        text = frame.get_payload_as_bytes()
        if b'"event":"start"' in text:
            transport.send(WSMsgType.TEXT, json.dumps({"event": "playAudio", "media": _PLAY}).encode())
        elif b'"event":"media"' in text:
            self._media += 1
            if self._media == self._clear_at:
                transport.send(WSMsgType.TEXT, b'{"event":"clearAudio"}')


async def main(arguments: Sequence[str]) -> None:
    frames = int(arguments[0]) if arguments else 0
    server = await ws_create_server(lambda _: Stream(frames), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
