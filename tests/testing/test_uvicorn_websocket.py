"""The application's end, against the original: each behaviour once over a socket with uvicorn, once in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from tests.serving import uvicorn_at

from bothway.errors import PeerError
from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send
from bothway.runtime.duplex import Duplex
from bothway.runtime.duplex_picows import connect
from bothway.testing.asgi_websocket import AppSockets, connect_app
from bothway.testing.uvicorn_websocket import SERVER_MAX_MESSAGE

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
DENIAL = "websocket.http.response"


def text(message: str) -> Message:
    return {"type": "websocket.send", "text": message}


class Carrier:
    """A Receiver that notes what it is told, and does what the behaviour wants of it when it is."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.told: list[tuple[Any, ...]] = []
        self.over = asyncio.Event()
        self.change = asyncio.Event()
        self.duplex: Duplex

    def opened(self, duplex: Duplex) -> None:
        self.duplex = duplex
        self.told.append(("opened",))
        self.behaviour.when_opened(duplex)

    def received_text(self, message: bytes) -> None:
        self.told.append(("text", message))
        self.change.set()
        self.behaviour.when_text(self.duplex, message)

    def received_binary(self, message: bytes) -> None:
        self.told.append(("binary", message))
        self.change.set()

    def closed(self, code: int, reason: str) -> None:
        self.told.append(("closed", code, reason))
        self.over.set()
        self.change.set()

    async def heard(self, message: bytes) -> None:
        """Wait until the message has come."""
        while all(entry[-1] != message for entry in self.told):
            self.change.clear()
            await self.change.wait()


class Ear:
    """Stands between a server and an application, and notes what passes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.scope: Scope = {}
        self.seen: list[Any] = []
        self.done = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> Message:
            message = await receive()
            self.seen.append(dict(message))
            return message

        async def say(message: Message) -> None:
            try:
                await send(message)
            except Exception as error:
                self.seen.append(type(error).__name__)
                raise
            self.seen.append(message["type"])

        self.scope = scope
        try:
            await self.app(scope, listen, say)
        finally:
            self.done.set()


def nothing(*_: Any) -> None:
    """What most carriers do when they are told something."""


async def wait_for_the_end(carrier: Carrier) -> None:
    await carrier.over.wait()


Drive: TypeAlias = Callable[[Carrier], Awaitable[None]]


@dataclass
class Behaviour:
    app: ASGIApp
    drive: Drive = wait_for_the_end
    when_opened: Callable[[Duplex], None] = nothing
    when_text: Callable[[Duplex, bytes], None] = nothing
    options: dict[str, Any] = field(default_factory=dict)


Outcome: TypeAlias = tuple[list[tuple[Any, ...]], list[Any], tuple[str, str] | None]


async def outcome(behaviour: Behaviour, ear: Ear, opening: Callable[[Carrier], Awaitable[Any]]) -> Outcome:
    carrier, failed = Carrier(behaviour), None
    async with asyncio.timeout(5):
        try:
            await opening(carrier)
        except PeerError as error:
            failed = (type(error).__name__, str(error))
        else:
            await behaviour.drive(carrier)
            await carrier.over.wait()
        await ear.done.wait()
    return carrier.told, ear.seen, failed


async def both(make: Callable[[], Behaviour]) -> tuple[Outcome, Outcome]:
    """The same behaviour over a socket and in memory."""
    over_socket = make()
    ear = Ear(over_socket.app)
    async with uvicorn_at(ear) as port:
        url = f"ws://127.0.0.1:{port}/stream/1%202?x=%20y"
        real = await outcome(over_socket, ear, lambda carrier: connect(url, carrier, **over_socket.options))
    in_memory, sockets = make(), AppSockets()
    ear = Ear(in_memory.app)
    ours = await outcome(
        in_memory, ear, lambda carrier: connect_app(ear, url, carrier, owner=sockets, **in_memory.options)
    )
    await sockets.close()
    return real, ours


async def answer(receive: Receive, send: Send, *messages: Message) -> None:
    """Take the upgrade, and say what shall be said."""
    await receive()
    for message in messages or (ACCEPT,):
        await send(message)


async def listen(receive: Receive, disconnects: int = 2) -> None:
    """Take what comes, until the server has said so often that it is over."""
    while disconnects:
        disconnects -= (await receive())["type"] == "websocket.disconnect"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back what comes, until the server says that it is over."""
    await answer(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# --- the carrier ends it --------------------------------------------------------------------------------------------


def echoes() -> Behaviour:
    async def drive(carrier: Carrier) -> None:
        carrier.duplex.send_text("grüße".encode())
        carrier.duplex.send_binary(b"\xff\x00")
        carrier.duplex.send_text(b"")
        await carrier.heard(b"")
        carrier.duplex.close(1000, "bye")
        carrier.duplex.send_text(b"too late")

    return Behaviour(echo, drive)


def goes_away() -> Behaviour:
    return Behaviour(echo, when_opened=lambda duplex: duplex.close(1001))


def aborts() -> Behaviour:
    async def drive(carrier: Carrier) -> None:
        carrier.duplex.send_text(b"last words")
        await carrier.heard(b"last words")
        carrier.duplex.abort()

    return Behaviour(echo, drive)


def refuses_by_policy() -> Behaviour:
    def when_opened(duplex: Duplex) -> None:
        duplex.send_text(b"first")
        duplex.close(1008, "not you")

    return Behaviour(echo, when_opened=when_opened)


def receiver_raises() -> Behaviour:
    def raises(*_: Any) -> None:
        raise ValueError("as you wish")

    return Behaviour(echo, when_opened=lambda duplex: duplex.send_text(b"x"), when_text=raises)


def receiver_raises_when_opened() -> Behaviour:
    def raises(*_: Any) -> None:
        raise ValueError("as you wish")

    return Behaviour(echo, when_opened=raises)


def sends_what_is_not_text() -> Behaviour:
    return Behaviour(echo, when_opened=lambda duplex: duplex.send_text(b"\xff"))


def sends_too_much() -> Behaviour:
    return Behaviour(echo, when_opened=lambda duplex: duplex.send_binary(bytes(SERVER_MAX_MESSAGE + 1)))


def app_is_too_loud() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, text("x" * 65536))
        await receive()
        await send(text("x" * 65537))
        await send(text("small"))
        await listen(receive)

    return Behaviour(app, when_text=lambda duplex, _: duplex.send_text(b"more"))


def app_sends_after_the_carrier_left() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await listen(receive)
        await send(text("anyone?"))

    return Behaviour(app, when_opened=lambda duplex: duplex.close(4000, "enough"))


def app_closes_after_the_carrier_left() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await listen(receive, 1)
        await send(CLOSE)
        await listen(receive, 1)

    return Behaviour(app, when_opened=lambda duplex: duplex.close(1000))


def app_is_busy() -> Behaviour:
    """The Close frame waits behind what was not taken: until then the application may send, and nobody listens."""
    free = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await free.wait()
        await send(text("to nobody"))
        await listen(receive)

    async def drive(carrier: Carrier) -> None:
        for number in range(5):
            carrier.duplex.send_text(b"%d" % number)
        await asyncio.sleep(0.02)
        carrier.duplex.close(1000, "bye")
        await asyncio.sleep(0.02)
        assert not carrier.over.is_set()
        free.set()

    return Behaviour(app, drive)


def app_is_busy_when_the_carrier_aborts() -> Behaviour:
    free = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await free.wait()
        await listen(receive, 1)

    async def drive(carrier: Carrier) -> None:
        for number in range(5):
            carrier.duplex.send_text(b"%d" % number)
        await asyncio.sleep(0.02)
        carrier.duplex.abort()
        await carrier.over.wait()
        await asyncio.sleep(0.02)
        free.set()

    return Behaviour(app, drive)


def app_answers_a_carrier_that_aborted() -> Behaviour:
    free = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await free.wait()
        while (await receive())["type"] == "websocket.receive":
            await send(text("to nobody"))

    async def drive(carrier: Carrier) -> None:
        for number in range(9):
            carrier.duplex.send_text(b"%d" % number)
        await asyncio.sleep(0.02)
        carrier.duplex.abort()
        await carrier.over.wait()
        await asyncio.sleep(0.02)
        free.set()

    return Behaviour(app, drive)


def app_talks_to_a_carrier_that_aborted() -> Behaviour:
    free = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await free.wait()
        for _ in range(9):
            await send(text("to nobody"))
            await asyncio.sleep(0.005)

    async def drive(carrier: Carrier) -> None:
        carrier.duplex.send_text(b"first")
        await asyncio.sleep(0.02)
        carrier.duplex.abort()
        await carrier.over.wait()
        free.set()

    return Behaviour(app, drive)


# --- the application ends it ----------------------------------------------------------------------------------------


def app_closes() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, text("so long"), {**CLOSE, "code": 3001, "reason": "as you wish"})
        await listen(receive)
        await send(text("too late"))

    return Behaviour(app)


def app_closes_with_much_unread() -> Behaviour:
    unread = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await unread.wait()
        await send(CLOSE)
        await asyncio.sleep(0.02)
        try:
            await send(text("too late"))
        except OSError:
            await listen(receive)

    async def drive(carrier: Carrier) -> None:
        for number in range(9):
            carrier.duplex.send_text(b"%d" % number * 60_000)
            await asyncio.sleep(0.005)
        unread.set()
        await carrier.over.wait()

    return Behaviour(app, drive)


def app_closes_without_a_code() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, CLOSE)

    return Behaviour(app)


def app_sends_after_its_close() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, {**CLOSE, "reason": None}, text("wrong"))

    return Behaviour(app)


def app_closes_with_what_no_frame_holds() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, {**CLOSE, "code": 1006})

    return Behaviour(app)


def app_returns() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, *(text(str(number)) for number in range(50)))

    return Behaviour(app)


def app_sends_in_every_form() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        for form in ({"bytes": bytearray(b"1"), "text": "not this"}, {"bytes": None, "text": "2"}, {}, {"text": None}):
            await send({"type": "websocket.send", **form})
        await send({"type": "websocket.send", "text": "\ud800"})

    return Behaviour(app)


def app_raises() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send)
        await receive()
        raise ValueError("as you wish")

    return Behaviour(app, when_opened=lambda duplex: duplex.send_text(b"now"))


def app_accepts_twice() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, ACCEPT)

    return Behaviour(app)


def both_close() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, ACCEPT, text("now"), {**CLOSE, "code": 4001, "reason": "the app"})
        await listen(receive)

    return Behaviour(app, when_text=lambda duplex, _: duplex.close(4000, "the carrier"))


# --- it never opens -------------------------------------------------------------------------------------------------


def denies() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, {**CLOSE, "code": 1008, "reason": "not you"})
        await listen(receive)

    return Behaviour(app)


def denies_with(status: int, *, then: Message | None = None, parts: int = 2) -> Callable[[], Behaviour]:
    def make() -> Behaviour:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, {"type": f"{DENIAL}.start", "status": status, "headers": [(b"X-Why", b"so")]})
            for part in range(parts):
                await send({"type": f"{DENIAL}.body", "body": b"no", "more_body": part < parts - 1})
            if then is not None:
                await send(then)
            if parts:
                await listen(receive)

        return Behaviour(app)

    return make


def raises_first() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("as you wish")

    return Behaviour(app)


def returns_first() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    return Behaviour(app)


def sends_first() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, text("hello"))

    return Behaviour(app)


def accepts_with(**more: Any) -> Callable[[], Behaviour]:
    def make() -> Behaviour:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, {**ACCEPT, **more})
            await listen(receive, 1)

        return Behaviour(app, when_opened=lambda duplex: duplex.close())

    return make


def answers_too_late() -> Behaviour:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await listen(receive, 1)
        await send(ACCEPT)

    return Behaviour(app, options={"timeout": 0.02})


BEHAVIOURS: dict[str, Callable[[], Behaviour]] = {
    make.__name__: make
    for make in (
        echoes, goes_away, aborts, refuses_by_policy, receiver_raises, receiver_raises_when_opened,
        sends_what_is_not_text, sends_too_much, app_is_too_loud, app_sends_after_the_carrier_left,
        app_closes_after_the_carrier_left, app_is_busy, app_is_busy_when_the_carrier_aborts,
        app_answers_a_carrier_that_aborted, app_talks_to_a_carrier_that_aborted, app_closes,
        app_closes_with_much_unread, app_closes_without_a_code, app_sends_after_its_close, app_returns,
        app_sends_in_every_form, app_raises, app_accepts_twice, both_close, denies, raises_first, returns_first,
        sends_first, answers_too_late,
    )
} | {
    "denies with 404": denies_with(404),
    "denies with 401 at once": denies_with(401, parts=1),
    "denies with 499": denies_with(499),
    "denies with 204": denies_with(204),
    "denies with 600": denies_with(600, parts=0),
    "denies and accepts": denies_with(404, parts=0, then=ACCEPT),
    "begins to deny": denies_with(404, parts=0),
    "accepts with a header": accepts_with(headers=[(b"X-Why", b"so")]),
    "accepts with a subprotocol": accepts_with(subprotocol="chat"),
    "accepts with an extension": accepts_with(headers=[(b"Sec-WebSocket-Extensions", b"x-none")]),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_it_is_as_over_a_socket(name: str) -> None:
    real, ours = await both(BEHAVIOURS[name])
    assert ours == real


async def test_the_scope_is_as_over_a_socket() -> None:
    headers = [
        ("User-Agent", "Plivo"),
        ("X-Name", " välue\t"),
        ("X-Name", "two"),
        ("HOST", "voice.example.com"),
    ]
    ears = [Ear(echo), Ear(echo)]
    async with uvicorn_at(ears[0]) as port:
        url = f"ws://127.0.0.1:{port}/stream/1%202/grüße?x=%20y z&x"
        carriers, sockets = [Carrier(goes_away()) for _ in ears], AppSockets()
        await connect(url, carriers[0], headers=headers)
        await connect_app(ears[1], url, carriers[1], owner=sockets, headers=headers, server=("127.0.0.1", port))
        for carrier in carriers:
            await carrier.over.wait()
    real, ours = (ear.scope for ear in ears)
    assert ours.pop("client") == ("10.255.0.1", 49152)
    assert real.pop("client")[0] == "127.0.0.1"
    keys = [dict(scope["headers"])[b"sec-websocket-key"] for scope in (real, ours)]
    assert len(keys[0]) == len(keys[1])
    real["headers"][real["headers"].index((b"sec-websocket-key", keys[0]))] = (b"sec-websocket-key", keys[1])
    assert ours == real
    await sockets.close()


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        ([ACCEPT, {**CLOSE, "code": 1006}], "UsageError", "1006 is not a code"),
        ([ACCEPT, {**CLOSE, "reason": "ü" * 62}], "UsageError", "a close reason of 124 bytes"),
        ([{"type": f"{DENIAL}.start", "status": 404}, *2 * [{"type": f"{DENIAL}.body"}]], "RuntimeError", "belongs"),
    ],
)
async def test_where_the_original_raises_something_else(sent: list[Message], error: str, words: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive, send, *sent)

    ear, sockets = Ear(app), AppSockets()
    told, seen, _ = await outcome(
        Behaviour(app), ear, lambda carrier: connect_app(ear, "ws://app.test/", carrier, owner=sockets)
    )
    assert (seen[0], seen[-1]) == ({"type": "websocket.connect"}, error)
    assert words in str(sockets.errors[0])
    assert told in ([], [("opened",), ("closed", 1006, "the socket died without a close frame")])
    await sockets.close()
