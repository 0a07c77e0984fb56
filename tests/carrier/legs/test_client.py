"""The remote caller against a small carrier written with the `websockets` library.

The carrier sends a frame, awaits the answer, sends the next: calls run as fast as the machine does, and always alike.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bothway.audio.format import L16_16K, MULAW_8K
from bothway.audio.tones import tone
from bothway.audio.transcode import from_l16
from bothway.carrier.legs.client import RemoteCaller, leg_url
from bothway.carrier.legs.websocket import WebSocketLeg
from bothway.carrier.script import Hear, Play, Press, Say, Script, Step, Wait
from bothway.carrier.scripted_caller import CallResult, Outcome, ScriptedCaller
from bothway.errors import PeerError, UsageError
from bothway.runtime.duplex_picows import UpgradeRefusedError
from bothway.runtime.server import Server
from bothway.wire.hangup import HangupCause
from bothway.wire.leg import Dial, Ended

pytestmark = pytest.mark.virtual_time

QUIET = MULAW_8K.silent_frame
LOUD = from_l16(tone(440, 20, 8000), MULAW_8K.encoding)
WORDS = b"\x01" * 160 + b"\x02" * 160
ENDED = {"type": "ended", "code": 4000, "name": "Normal Hangup", "source": "Caller", "detail": "", "ran_to_end": True}


class Line:
    """The fake carrier's end of one call."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.heard: list[bytes] = []
        self.said: list[dict[str, Any]] = []

    async def say(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def pick_up(self) -> dict[str, Any]:
        dial: dict[str, Any] = json.loads(await self.socket.recv())
        await self.say(type="ringing", call_id="c-1")
        await self.say(type="answered", call_id="c-1")
        return dial

    async def play(self, frame: bytes) -> None:
        """One tick: a frame out, and its answer in; what the caller says in text comes behind that."""
        await self.socket.send(frame)
        while isinstance(message := await self.socket.recv(), str):
            self.said.append(json.loads(message))
        self.heard.append(message)

    async def last_words(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.recv())
        self.said.append(message)
        return message


@asynccontextmanager
async def a_carrier(serve_call: Callable[[Line], Awaitable[None]]) -> AsyncIterator[str]:
    """A carrier that lets MA1 with the token t0ken in, and does `serve_call` with each caller."""

    async def serve_socket(socket: ServerConnection) -> None:
        try:
            await serve_call(Line(socket))
        except ConnectionClosed:
            return  # the caller left first

    def check(socket: ServerConnection, request: Request) -> Response | None:
        _, _, credentials = request.headers.get("Authorization", "").partition("Basic ")
        return None if b64decode(credentials) == b"MA1:t0ken" else socket.respond(401, "who are you?\n")

    server = await serve(serve_socket, "127.0.0.1", 0, process_request=check, compression=None)
    async with server:
        yield leg_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def a_caller(*steps: Step, **options: Any) -> RemoteCaller:
    script = Script(steps)
    caller = ScriptedCaller(script, MULAW_8K, {words.clip: WORDS for words in script.clips})
    return RemoteCaller(caller, Dial(to="100"), **options)


async def call(url: str, caller: RemoteCaller) -> CallResult:
    return await asyncio.wait_for(caller.call(url, auth_id="MA1", auth_token="t0ken"), 10)


@pytest.mark.usefixtures("both_times")
async def test_a_call_from_dial_to_end() -> None:
    lines: list[Line] = []
    dials: list[dict[str, Any]] = []

    async def serve_call(line: Line) -> None:
        lines.append(line)
        dials.append(await line.pick_up())
        await line.say(type="log", record={"event": "call"})
        for frame in [QUIET, QUIET, *[LOUD] * 10, *[QUIET] * 35]:
            await line.play(frame)
        await line.say(type="dtmf", digits="7")
        await line.play(QUIET)
        await line.play(QUIET)
        assert await line.last_words() == {"type": "hangup"}
        await line.say(**ENDED)

    crossed: list[tuple[bytes, bytes]] = []
    records: list[object] = []
    caller = a_caller(
        Say("hi"),
        Hear("silence", 700),
        Press("5"),
        Wait(20),
        tap=lambda *pair: crossed.append(pair),
        on_log=records.append,
    )
    async with a_carrier(serve_call) as url:
        result = await call(url, caller)
    (line,) = lines
    assert dials == [
        {
            "type": "dial",
            "to": "100",
            "answer_url": None,
            "method": "POST",
            "from": "",
            "format": "pcmu",
            "events": False,
            "headers": {},
        }
    ]
    assert line.heard == [WORDS[:160], WORDS[160:], *[QUIET] * 47]
    assert crossed == list(zip(line.heard, [QUIET, QUIET, *[LOUD] * 10, *[QUIET] * 37], strict=True))
    assert line.said == [{"type": "dtmf", "digit": "5"}, {"type": "hangup"}]
    assert records == [{"event": "call"}]
    assert result.ok
    assert (result.call_id, result.heard_ms) == ("c-1", 49 * 20)
    assert result.ended == Ended(code=4000, name="Normal Hangup", source="Caller", ran_to_end=True)
    assert [(event.ms, event.kind) for event in result.events] == [
        (0, "said"),
        (40, "heard_speech"),
        (240, "heard_silence"),
        (920, "pressed"),
        (940, "heard_digits"),
        (960, "hung_up"),
    ]


async def test_the_app_hangs_up_first() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.play(QUIET)
        await line.say(**ENDED)

    async with a_carrier(serve_call) as url:
        assert (await call(url, a_caller(Hear("hang_up")))).ok
        result = await call(url, a_caller(Say("hi")))
    assert not result.ok
    assert result.outcome == Outcome(ok=False, reason="the call ended during step 1 of 1 (say 'hi')")
    assert result.ended is not None


async def test_a_call_that_is_refused() -> None:
    async def serve_call(line: Line) -> None:
        await line.say(type="refused", reason="no application answers 100")

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi")))
    assert result == CallResult(
        "", None, Outcome(ok=False, reason="the carrier refused the call: no application answers 100"), 0
    )


async def test_a_socket_that_dies() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.play(QUIET)
        line.socket.transport.abort()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi")))
    assert result.ended is None
    assert not result.ok
    assert result.outcome.reason.startswith("the carrier's socket died before the call had ended: 1006")


async def test_a_socket_that_closes_without_a_word() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.socket.close(1001, "stopping")

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi")))
    assert result.outcome.reason == "the carrier's socket died before the call had ended: 1001 stopping"


async def test_the_scripts_own_failure_comes_first() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.play(QUIET)
        await line.play(QUIET)
        await line.last_words()
        line.socket.transport.abort()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Hear("speech", within_ms=20)))
    assert result.outcome.reason.startswith(
        "step 1 of 1 (hear speech within 0.02 s) timed out; then the carrier's socket died"
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (QUIET + b"\xff", "the carrier sent 161 bytes, where a frame has 160"),
        ("hello", "the carrier sent what is no leg message: JSON is malformed: invalid character (byte 0)"),
    ],
)
async def test_a_carrier_that_breaks_the_contract(message: str | bytes, said: str) -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.socket.send(message)
        await line.socket.wait_closed()

    async with a_carrier(serve_call) as url:
        assert (await call(url, a_caller(Say("hi")))).outcome == Outcome(ok=False, reason=said)


async def test_early_media_is_heard_and_answered_before_the_answer() -> None:
    async def serve_call(line: Line) -> None:
        await line.socket.recv()
        await line.say(type="ringing", call_id="c-1")
        await line.say(type="early", call_id="c-1")
        await line.socket.send(QUIET)
        await line.socket.recv()
        await line.say(type="ended", code=3010, name="Busy Line", source="Answer XML", detail="", ran_to_end=False)
        await line.socket.wait_closed()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Wait(5000)))
    assert result.heard_ms == 20
    assert result.ended is not None
    assert result.ended.code == 3010


async def test_audio_before_the_answer_is_a_breach() -> None:
    async def serve_call(line: Line) -> None:
        await line.socket.send(QUIET)
        await line.socket.wait_closed()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi")))
    assert result.outcome.reason == "the carrier sent audio before the call was answered"


async def test_nobody_answers() -> None:
    said: list[object] = []

    async def serve_call(line: Line) -> None:
        await line.socket.recv()
        await line.say(type="ringing", call_id="c-1")
        said.append(await line.last_words())
        await line.socket.wait_closed()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi"), answer_deadline=0.1))
    assert result.call_id == "c-1"
    assert result.outcome == Outcome(ok=False, reason="the call was not answered within 0.1 s")
    assert said == [{"type": "hangup"}]


async def test_an_answered_call_goes_silent() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.play(QUIET)
        await line.socket.wait_closed()

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Say("hi"), silence_deadline=0.1))
    assert result.outcome == Outcome(ok=False, reason="the carrier was silent for 0.1 s")


async def test_a_hang_up_is_not_heeded() -> None:
    async def serve_call(line: Line) -> None:
        await line.pick_up()
        while True:
            await line.play(QUIET)
            await asyncio.sleep(0.005)

    async with a_carrier(serve_call) as url:
        result = await call(url, a_caller(Wait(20), silence_deadline=0.1))
    assert result.outcome.reason == "the carrier did not end the call within 0.1 s of the hang-up"


async def test_a_cancelled_call_hangs_up_first() -> None:
    started = asyncio.Event()
    said: list[object] = []

    async def serve_call(line: Line) -> None:
        await line.pick_up()
        await line.play(QUIET)
        started.set()
        said.append(await line.last_words())
        await line.say(**ENDED)
        await line.socket.wait_closed()
        said.append(line.socket.close_code)

    async with a_carrier(serve_call) as url:
        task = asyncio.create_task(call(url, a_caller(Wait(9000))))
        await asyncio.wait_for(started.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert said == [{"type": "hangup"}, 1000]


async def test_a_carrier_that_lets_nobody_in() -> None:
    async def serve_call(line: Line) -> None:
        raise AssertionError("nobody comes in")

    async with a_carrier(serve_call) as url:
        with pytest.raises(UpgradeRefusedError) as caught:
            await a_caller(Say("hi")).call(url, auth_id="MA1", auth_token="wrong")
    assert caught.value.status == 401
    assert "wrong" not in str(caught.value)
    with pytest.raises(PeerError, match="cannot be connected to"):
        await a_caller(Say("hi")).call(url, auth_id="MA1", auth_token="t0ken")


async def test_a_caller_dials_its_own_format() -> None:
    caller = ScriptedCaller(Script((Wait(20),)), L16_16K, {})
    with pytest.raises(UsageError, match="speaks audio/x-l16;rate=16000, and dials pcmu"):
        RemoteCaller(caller, Dial(to="100"))


@pytest.mark.parametrize(
    ("carrier", "url"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/leg"),
        ("https://phone.example/", "wss://phone.example/v1/leg"),
        ("ws://[::1]:80/voice/", "ws://[::1]:80/voice/v1/leg"),
        ("wss://phone.example/v1/leg", "wss://phone.example/v1/leg"),
    ],
)
def test_where_a_carrier_takes_legs(carrier: str, url: str) -> None:
    assert leg_url(carrier) == url


@pytest.mark.parametrize(
    "carrier", ["phone.example", "ftp://a/", "http://", "http://[", "http://MA1:t0ken@a/", "http://a/?t0ken"]
)
def test_what_is_no_carriers_url(carrier: str) -> None:
    with pytest.raises(UsageError, match="the carrier's URL") as caught:
        leg_url(carrier)
    assert "t0ken" not in str(caught.value)


class Echo:
    """A call on the carrier's own leg that plays back what it hears, three frames later, as fast as it can."""

    def __init__(self) -> None:
        self.leg: WebSocketLeg
        self.waiting: list[bytes] = []

    def dialled(self, leg: WebSocketLeg, _dial: Dial) -> None:
        self.leg = leg
        self.waiting = [leg.format.silent_frame] * 3
        leg.attach(self)
        leg.ringing("c-2")
        leg.answered()
        self.tick()

    def tick(self) -> None:
        self.leg.send_frames([self.waiting.pop(0)])

    def caller_frame(self, frame: bytes) -> None:
        self.waiting.append(frame)
        self.tick()

    def caller_digit(self, digit: str) -> None:
        raise AssertionError(f"{digit} was not in the script")

    def caller_hung_up(self) -> None:
        self.leg.ended(HangupCause.of(4000, "Caller"), "", ran_to_end=True)


async def _no_http(*_: Any) -> None:
    raise AssertionError("no plain request is sent here")


@pytest.mark.usefixtures("both_times")
async def test_both_ends_of_the_leg_agree() -> None:
    audio = tone([300, 800], 2000, 16000)
    script = Script.for_wav("speech.wav")
    left, right = bytearray(), bytearray()

    def tap(from_caller: bytes, to_caller: bytes) -> None:
        left.extend(from_caller)
        right.extend(to_caller)

    server = Server(_no_http, lambda _: WebSocketLeg(Echo().dialled))
    await server.start()
    try:
        caller = ScriptedCaller(script, L16_16K, {Play("speech.wav").clip: audio})
        dial = Dial(answer_url="http://app/answer", format="l16-16000")
        result = await call(leg_url(server.url), RemoteCaller(caller, dial, tap=tap))
    finally:
        await server.stop(grace=5)
    assert result.ok
    assert left[: len(audio)] == audio
    shift = 3 * L16_16K.frame_bytes
    assert right[shift:] == left[:-shift]
    assert abs(result.heard_ms - 5060) <= 40
