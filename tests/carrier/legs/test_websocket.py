"""The carrier's side of the WebSocket leg: `Server` here, the `websockets` library as the caller."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bothway.audio.format import L16_16K, MULAW_8K
from bothway.carrier.legs.websocket import WebSocketLeg
from bothway.errors import UsageError
from bothway.runtime.server import Server
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Dial

pytestmark = pytest.mark.virtual_time

FRAME = bytes(160)


class Call:
    """A call that remembers what its leg tells it."""

    def __init__(self, leg: WebSocketLeg) -> None:
        self.leg = leg
        self.told: asyncio.Queue[object] = asyncio.Queue()

    def caller_frame(self, frame: bytes) -> None:
        self.told.put_nowait(frame)

    def caller_digit(self, digit: str) -> None:
        self.told.put_nowait(digit)

    def caller_hung_up(self) -> None:
        self.told.put_nowait("hung up")

    async def next(self) -> object:
        return await asyncio.wait_for(self.told.get(), 5)


class Carrier:
    """Takes legs and puts a `Call` on each; what it should not take it refuses."""

    def __init__(self) -> None:
        self.dials: list[Dial] = []
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.server = Server(_no_http, lambda _: WebSocketLeg(self.dialled, dial_deadline=7.0))

    def dialled(self, leg: WebSocketLeg, dial: Dial) -> None:
        self.dials.append(dial)
        if dial.to == "nobody":
            leg.refused("no application answers nobody")
            return
        call = Call(leg)
        leg.attach(call)
        leg.ringing("c-1")
        self.calls.put_nowait(call)

    def connect(self) -> connect:
        return connect("ws" + self.server.url.removeprefix("http") + "/v1/leg", compression=None)

    async def call(self) -> Call:
        return await asyncio.wait_for(self.calls.get(), 5)


async def _no_http(*_: Any) -> None:
    raise AssertionError("no plain request is sent here")


@asynccontextmanager
async def a_carrier() -> AsyncIterator[Carrier]:
    carrier = Carrier()
    await carrier.server.start()
    try:
        yield carrier
    finally:
        await carrier.server.stop(grace=0)


async def say(socket: ClientConnection, **message: object) -> None:
    await socket.send(json.dumps(message))


async def heard(socket: ClientConnection) -> Any:
    message = await asyncio.wait_for(socket.recv(), 5)
    return json.loads(message) if isinstance(message, str) else message


async def closing(socket: ClientConnection) -> tuple[int, str]:
    """How the carrier closed, whatever it sent before."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 10)
    except ConnectionClosed:
        return socket.close_code or 0, socket.close_reason or ""


@pytest.mark.usefixtures("both_times")
async def test_a_call_from_dial_to_end() -> None:
    async with a_carrier() as carrier:
        async with carrier.connect() as socket:
            await say(socket, type="dial", to="100", events=True, **{"from": "+1"})
            call = await carrier.call()
            assert carrier.dials == [Dial(to="100", from_="+1", events=True)]
            assert call.leg.format == MULAW_8K
            call.leg.log({"event": "call", "t_ms": 0})
            call.leg.answered()
            call.leg.send_frames([FRAME, b"\x01" * 160])
            call.leg.send_digits("12")
            assert [await heard(socket) for _ in range(6)] == [
                {"type": "ringing", "call_id": "c-1"},
                {"type": "log", "record": {"event": "call", "t_ms": 0}},
                {"type": "answered", "call_id": "c-1"},
                FRAME,
                b"\x01" * 160,
                {"type": "dtmf", "digits": "12"},
            ]
            await socket.send(b"\x02" * 160)
            await say(socket, type="dtmf", digit="#")
            await say(socket, type="hangup")
            await socket.send(FRAME)
            await say(socket, type="dtmf", digit="1")
            assert [await call.next() for _ in range(3)] == [b"\x02" * 160, "#", "hung up"]
            call.leg.ended(HangupCause.of(4000, "Caller"), "bye", ran_to_end=True)
            call.leg.send_frames([FRAME])
            call.leg.log({"event": "late"})
            assert await heard(socket) == {
                "type": "ended",
                "code": 4000,
                "name": "Normal Hangup",
                "source": "Caller",
                "detail": "bye",
                "ran_to_end": True,
            }
            assert await closing(socket) == (1000, "the call ended")
        await carrier.server.stop(grace=5)
        assert call.told.empty()


async def test_what_comes_before_the_answer_is_not_listened_to() -> None:
    async with a_carrier() as carrier, carrier.connect() as socket:
        await say(socket, type="dial", to="100", format="l16-16000")
        call = await carrier.call()
        assert call.leg.format == L16_16K
        await socket.send(bytes(640))
        await say(socket, type="dtmf", digit="1")
        await socket.ping()
        assert await heard(socket) == {"type": "ringing", "call_id": "c-1"}
        # The pong shows that what was sent before the ping has been read.
        await (await socket.ping())
        call.leg.answered()
        await say(socket, type="dtmf", digit="2")
        assert await call.next() == "2"
        call.leg.log({"event": "not asked for"})
        call.leg.ended(HangupCause.of(4010, "Plivo"), "", ran_to_end=True)
        assert [(await heard(socket))["type"] for _ in range(2)] == ["answered", "ended"]


async def test_frames_before_the_answer_are_early_media() -> None:
    async with a_carrier() as carrier, carrier.connect() as socket:
        await say(socket, type="dial", to="100")
        call = await carrier.call()
        call.leg.send_frames([FRAME])
        call.leg.send_frames([FRAME])
        await socket.send(b"\x02" * 160)
        await say(socket, type="dtmf", digit="#")
        assert [await call.next() for _ in range(2)] == [b"\x02" * 160, "#"]
        call.leg.answered()
        assert [await heard(socket) for _ in range(5)] == [
            {"type": "ringing", "call_id": "c-1"},
            {"type": "early", "call_id": "c-1"},
            FRAME,
            FRAME,
            {"type": "answered", "call_id": "c-1"},
        ]


async def test_a_call_that_is_refused() -> None:
    async with a_carrier() as carrier, carrier.connect() as socket:
        await say(socket, type="dial", to="nobody")
        assert await heard(socket) == {"type": "refused", "reason": "no application answers nobody"}
        assert await closing(socket) == (1008, "no application answers nobody")


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        ([b"\x00" * 160], 1008, "the caller sent audio before dial"),
        (['{"type":"hangup"}'], 1008, "the caller sent another message before dial"),
        (["hello"], 1007, "the caller sent what is no leg message: JSON is malformed: invalid character (byte 0)"),
        (['{"type":"dial","to":"1"}', b"\x00" * 320], 1007, "the caller sent 320 bytes, where a frame has 160"),
        (['{"type":"dial","to":"1"}', b""], 1007, "the caller sent 0 bytes, where a frame has 160"),
        (['{"type":"dial","to":"1"}'] * 2, 1008, "the caller dialled twice"),
        (
            ['{"type":"dial","to":"1"}', '{"type":"dtmf"}'],
            1007,
            "the caller sent what is no leg message: Object missing required field `digit`",
        ),
    ],
)
async def test_a_fault_is_named_and_ends_the_call(messages: list[str | bytes], code: int, reason: str) -> None:
    async with a_carrier() as carrier:
        async with carrier.connect() as socket:
            for message in messages:
                await socket.send(message)
            assert await closing(socket) == (code, reason)
        if carrier.dials:
            call = await carrier.call()
            assert await call.next() == "hung up"
            call.leg.ended(HangupCause.of(4000, "Caller"), "", ran_to_end=True)
            await carrier.server.stop(grace=5)
            assert call.told.empty()


async def test_a_caller_that_does_not_dial_is_sent_away() -> None:
    async with a_carrier() as carrier, carrier.connect() as socket:
        assert await closing(socket) == (1008, "the caller did not dial within 7 s")


@pytest.mark.usefixtures("both_times")
async def test_a_caller_whose_socket_dies_has_hung_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="bothway")
    async with a_carrier() as carrier, carrier.connect() as socket:
        await say(socket, type="dial", to="100")
        call = await carrier.call()
        socket.transport.abort()
        assert await call.next() == "hung up"
    assert "call c-1: the caller's WebSocket ended without hangup: 1006" in caplog.text


@pytest.mark.usefixtures("both_times")
async def test_a_caller_that_does_not_read_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="bothway")
    async with a_carrier() as carrier, carrier.connect() as socket:
        await say(socket, type="dial", to="100")
        call = await carrier.call()
        socket.transport.pause_reading()
        call.leg.answered()
        # More than both kernels hold between them, and then 5 s of audio.
        for _ in range(1000):
            call.leg.send_frames([FRAME] * 50)
            await asyncio.sleep(0)
            if not call.told.empty():
                break
        assert await call.next() == "hung up"
        assert "has not read for 5 s and is dropped" in caplog.text
        socket.transport.abort()


def test_a_leg_has_no_format_before_the_dial() -> None:
    with pytest.raises(UsageError, match="no format before its caller has dialled"):
        _ = WebSocketLeg(lambda leg, dial: None).format
