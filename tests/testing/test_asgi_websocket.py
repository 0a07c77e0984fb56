"""Our end of a WebSocket in memory: the contract of `Duplex`, applications of several makes, and what can go wrong.

That both ends do what they do over a socket is in test_uvicorn_websocket.py, and what takes time in
test_asgi_websocket_time.py.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket, WebSocketException
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from tests.runtime.receivers import Echo
from tests.testing.websocket_ends import ACCEPT, URL, Noted, Scripted, opened, passes

from bothway import App, Call
from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp, Message, Receive, Scope, Send
from bothway.runtime.duplex import Connect, Duplex, Receiver
from bothway.runtime.duplex_picows import ConnectTimeoutError, UnreachableError, UpgradeRefusedError
from bothway.testing.asgi_websocket import AppDuplex, AppSockets, connect_app
from bothway.testing.uvicorn_websocket import SERVER_MAX_MESSAGE
from bothway.testing.virtual_loop import run

# --- applications ---------------------------------------------------------------------------------------------------


async def test_starlette() -> None:
    said: list[str] = []

    async def route(websocket: WebSocket) -> None:
        await websocket.accept()
        said.append(f"{websocket.path_params['call']} {websocket.query_params['x']} {websocket.headers['x-name']}")
        said.append(f"{websocket.url} {websocket.client}")
        try:
            while True:
                await websocket.send_text((await websocket.receive_text()).upper())
        except WebSocketDisconnect as gone:
            said.append(f"{gone.code} {gone.reason}")

    receiver = Noted()
    app = Starlette(routes=[WebSocketRoute("/stream/{call}", route)])
    duplex, sockets = await opened(app, receiver, headers=(("X-Name", "välue"),))
    duplex.send_text("grüße".encode())
    await receiver.heard.wait()
    duplex.close(1000, "bye")
    await receiver.over.wait()
    await sockets.close()
    assert receiver.told == [("opened",), ("text", "GRÜSSE".encode()), ("closed", 1000, "bye")]
    assert said == [
        "1 2 y välue".encode().decode("latin-1"),
        "ws://app.test/stream/1 2?x=y Address(host='10.255.0.1', port=49152)",
        "1000 bye",
    ]
    assert sockets.errors == []


async def test_fastapi() -> None:
    app, started = FastAPI(), {"model": object()}

    @app.websocket("/policy")
    async def policy(websocket: WebSocket) -> None:
        await websocket.accept()
        assert websocket.state.model is started["model"]
        await websocket.send_bytes(b"\x00")
        raise WebSocketException(1008, "not you")

    @app.websocket("/denied")
    async def denied(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("no", 401))

    receiver, sockets = Echo(), AppSockets()
    await connect_app(app, "wss://app.test/policy", receiver, owner=sockets, state=started)
    await receiver.over.wait()
    assert receiver.told == [("opened",), ("binary", b"\x00"), ("closed", 1008, "not you")]
    for path, status in (("denied", 401), ("nowhere", 403)):
        with pytest.raises(UpgradeRefusedError, match=f"wss://app.test answered .* {status}") as refused:
            await connect_app(app, f"wss://app.test/{path}", Echo(), owner=sockets)
        assert refused.value.status == status
    await sockets.close()


async def test_the_packages_own_app() -> None:
    app, heard = App(check_signatures=False), asyncio.Event()

    @app.stream("/ws")
    async def echo(call: Call) -> None:
        async for frame in call.audio():
            await call.play(frame)
            heard.set()

    receiver, sockets = Noted(), AppSockets()
    duplex = await connect_app(app, "ws://app.test/ws", receiver, owner=sockets)
    form = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    ids = {"callId": "c", "streamId": "s", "accountId": "1", "tracks": ["inbound"], "mediaFormat": form}
    duplex.send_text(json.dumps({"event": "start", "sequenceNumber": 0, "start": ids, "extra_headers": "{}"}).encode())
    media = {"track": "inbound", "timestamp": "20", "chunk": 1, "payload": base64.b64encode(bytes(160)).decode()}
    duplex.send_text(json.dumps({"event": "media", "sequenceNumber": 1, "streamId": "s", "media": media}).encode())
    await receiver.heard.wait()
    duplex.close()
    await receiver.over.wait()
    await app.stop(0.0)
    await sockets.close()
    played = json.loads(receiver.told[1][1])
    assert base64.b64decode(played["media"]["payload"]) == bytes(160)
    assert receiver.told[-1] == ("closed", 1000, "")
    assert sockets.errors == []


def test_it_can_open_the_carriers_streams() -> None:
    async def opening(
        url: str,
        receiver: Receiver,
        *,
        headers: Iterable[tuple[str, str]],
        timeout: float,  # noqa: ASYNC109 - as `Connect` has it
        check_address: Callable[[str], None] | None,
        send_buffer: int | None,
    ) -> Duplex:
        return await connect_app(
            Scripted(),
            url,
            receiver,
            owner=AppSockets(),
            headers=headers,
            timeout=timeout,
            check_address=check_address,
            send_buffer=send_buffer,
        )

    connect: Connect = opening
    assert callable(connect)


# --- the upgrade ----------------------------------------------------------------------------------------------------


async def test_what_cannot_be_used_is_refused_before_the_application_hears_of_it() -> None:
    app, sockets = Scripted(), AppSockets()
    checked: list[str] = []

    def check(address: str) -> None:
        checked.append(address)
        raise UsageError("not there")

    for url, options in (
        ("http://app.test/", {}),
        ("ws://user@app.test/", {}),
        (URL, {"headers": [("bad name", "x")]}),
        (URL, {"headers": [("name", "x\r\ny")]}),
        (URL, {"check_address": check}),
        (URL, {"check_address": check, "server": ("192.0.2.7", 8080)}),
    ):
        with pytest.raises(UsageError):
            await connect_app(app, url, Echo(), owner=sockets, **options)
    assert checked == ["10.0.0.1", "192.0.2.7"]
    assert not app.scope
    assert sockets.running == 0


async def test_an_answer_that_does_not_come() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.extend([await receive(), await receive()])

    sockets, receiver = AppSockets(), Echo()
    with pytest.raises(ConnectTimeoutError, match=r"ws://app\.test did not open a WebSocket within 0\.01 s"):
        await connect_app(app, URL, receiver, owner=sockets, timeout=0.01)
    await passes()
    assert told == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]
    assert (sockets.running, receiver.told) == (0, [])


async def test_an_upgrade_that_is_given_up() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.extend([await receive(), await receive()])

    sockets, receiver = AppSockets(), Echo()
    opening = asyncio.create_task(connect_app(app, URL, receiver, owner=sockets))
    await passes()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await passes()
    assert told[-1] == {"type": "websocket.disconnect", "code": 1006}
    assert (sockets.running, receiver.told) == (0, [])


async def test_opened_and_then_given_up_is_closed_too() -> None:
    class Impatient(Noted):
        def opened(self, duplex: Duplex) -> None:
            super().opened(duplex)
            opening.cancel()

    receiver = Impatient()
    opening = asyncio.create_task(opened(Scripted(), receiver))
    with pytest.raises(asyncio.CancelledError):
        await opening
    await receiver.over.wait()
    assert receiver.told == [("opened",), ("closed", 1006, "aborted at this end")]


# --- the contract of a Duplex ---------------------------------------------------------------------------------------


async def test_no_callback_is_made_from_inside_a_call_to_the_duplex() -> None:
    class Strict(Noted):
        """Notes when it is told something while it is in the middle of something else."""

        duplex: AppDuplex

        def __init__(self, act: Callable[[AppDuplex], None]) -> None:
            super().__init__()
            self.act = act
            self.busy = self.reentered = False

        def received_text(self, message: bytes) -> None:
            self.reentered |= self.busy
            super().received_text(message)
            self.busy = True
            self.act(self.duplex)
            self.duplex.send_text(b"more")
            self.busy = False

        def closed(self, code: int, reason: str) -> None:
            self.reentered |= self.busy
            super().closed(code, reason)

    def overfull(duplex: AppDuplex) -> None:
        duplex.send_binary(bytes(SERVER_MAX_MESSAGE + 1))

    for act in (AppDuplex.close, AppDuplex.abort, AppDuplex.drop, overfull):
        receiver = Strict(act)
        duplex, sockets = await opened(Scripted(), receiver)
        duplex.send_text(b"first")
        await receiver.over.wait()
        assert not receiver.reentered
        assert [told[0] for told in receiver.told] == ["opened", "text", "closed"]
        await sockets.close()


async def test_after_close_nothing_comes_and_nothing_goes() -> None:
    app, receiver = Scripted(), Noted()
    duplex, sockets = await opened(app, receiver)
    duplex.send_text(b"one")
    duplex.close(3001, "ü" * 200)
    for late in (duplex.close, duplex.abort, duplex.drop, duplex.vanish):
        late()
    duplex.send_text(b"two")
    await receiver.over.wait()
    await passes()
    with pytest.raises(UsageError, match="1005 is not a code"):
        duplex.close(1005)
    duplex.abort()
    assert receiver.told == [("opened",), ("closed", 3001, "ü" * 61)]
    await sockets.close()
    assert receiver.over.is_set()


@pytest.mark.parametrize("moment", ["opened", "received_text", "received_binary", "closed"])
async def test_a_receiver_that_raises_is_logged_once(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Noted):
        pass

    def raises(*_: Any) -> None:
        raise ValueError("as you wish")

    receiver = Broken()
    setattr(receiver, moment, raises)
    duplex, sockets = await opened(Scripted(), receiver)
    duplex.send_text(b"x")
    duplex.send_binary(b"x")
    await passes()
    duplex.close()
    await passes()
    await sockets.close()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"Broken raised {'on a message' if 'received' in moment else f'when {moment}'}"
    ]
    if moment != "closed":
        assert receiver.told[-1] == ("closed", 1011, "internal error")


async def test_an_application_that_raises_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise ValueError(scope["path"])

    sockets = AppSockets()
    for number in range(3):
        receiver = Noted()
        await connect_app(app, f"ws://app.test/{number}", receiver, owner=sockets)
        await receiver.over.wait()
        assert receiver.told[-1] == ("closed", 1006, "the socket died without a close frame")
    assert [str(error) for error in sockets.errors] == ["/0", "/1", "/2"]
    assert caplog.text.count("Traceback") == 3
    await sockets.close()


async def test_both_ends_run_in_the_place_they_belong_to() -> None:
    place = contextvars.ContextVar("place", default="nowhere")
    seen: list[str] = []

    class Aware(Noted):
        def received_text(self, message: bytes) -> None:
            seen.append(f"the carrier in {place.get()}")
            super().received_text(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(f"the app in {place.get()}")
        place.set("the app's")
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "hello"})
        await receive()

    place.set("the server's")
    sockets, receiver = AppSockets(), Aware()
    place.set("the carrier's")
    await connect_app(app, URL, receiver, owner=sockets)
    place.set("another's")
    await receiver.heard.wait()
    await sockets.close()
    assert seen == ["the app in the server's", "the carrier in the carrier's"]


async def test_several_wake_in_the_order_in_which_they_were_written_to() -> None:
    sockets, woken = AppSockets(), []

    def listening(name: int) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(ACCEPT)
            while (await receive())["type"] != "websocket.disconnect":
                woken.append(name)

        return app

    duplexes = [await connect_app(listening(name), URL, Noted(), owner=sockets) for name in range(10)]
    order = [3, 1, 4, 5, 9, 2, 6, 8, 7, 0]
    await passes()
    woken.clear()
    for name in order:
        duplexes[name].send_text(b"x")
    await passes()
    assert woken == order
    assert sockets.live == duplexes
    await sockets.close()


async def test_a_receive_that_is_given_up_loses_nothing() -> None:
    texts: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            try:
                message = await waiting
            except asyncio.CancelledError:
                message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            texts.append(message["text"])

    receiver = Noted()
    duplex, sockets = await opened(app, receiver)
    for number in range(100):
        duplex.send_text(b"%d" % number)
        await passes(number % 5)
    duplex.close()
    await receiver.over.wait()
    await sockets.close()
    assert texts == [str(number) for number in range(100)]


async def test_an_application_that_never_pauses_lets_others_run() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while True:
            await send({"type": "websocket.send", "text": "x" * 1000})

    class Enough(Noted):
        def received_text(self, message: bytes) -> None:
            super().received_text(message)
            if len(self.told) == 1000:
                self.duplex.abort()

    receiver = Enough()
    _, sockets = await opened(app, receiver)
    await receiver.over.wait()
    await passes()
    assert (sockets.running, sockets.errors) == (0, [])
    await sockets.close()


class Puppet:
    """An application that does what it is told, one word at a time."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[str] = asyncio.Queue()
        self.sent: list[bytes] = []
        self.read: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while (word := await self.words.get()) != "return":
            if word == "close":
                await send({"type": "websocket.close", "code": 4001})
            elif word == "raise":
                raise ValueError(word)
            elif word == "send":
                await send({"type": "websocket.send", "text": str(len(self.sent))})
                self.sent.append(b"%d" % len(self.sent))
            else:
                await self.receive(receive)

    async def receive(self, receive: Receive) -> None:
        try:
            message = await asyncio.wait_for(receive(), 0.001)
        except TimeoutError:
            return
        if message["type"] == "websocket.receive":
            self.read.append(message["text"].encode())


OURS = ("send", "close", "abort", "drop", "vanish")
THEIRS = ("read", "read", "read", "send", "close", "raise", "return")


STEPS = st.one_of(
    st.tuples(st.just("carrier"), st.sampled_from(OURS)),
    st.tuples(st.just("app"), st.sampled_from(THEIRS)),
    st.tuples(st.just("wait"), st.sampled_from(("0", "0", "0.01", "6", "50"))),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_the_contract_is_kept(script: list[tuple[str, str]]) -> None:
    async def main() -> None:
        app, receiver = Puppet(), Noted()
        sent: list[bytes] = []
        duplex, sockets = await opened(app, receiver, send_buffer=3)
        for who, word in script:
            if who == "wait":
                await asyncio.sleep(float(word))
            elif who == "app":
                app.words.put_nowait(word)
            elif word == "send":
                sent.append(b"%d" % len(sent))
                duplex.send_text(sent[-1])
            else:
                getattr(duplex, word)()
            assert 0 <= duplex.unsent_bytes <= sum(map(len, sent))
        app.words.put_nowait("return")
        await asyncio.sleep(500)
        assert [told for told in receiver.told if told[0] != "text"] == [receiver.told[0], receiver.told[-1]]
        assert (receiver.told[0], receiver.told[-1][0]) == (("opened",), "closed")
        heard = [told[1] for told in receiver.told[1:-1]]
        assert heard == app.sent[: len(heard)]
        assert app.read == sent[: len(app.read)]
        assert (sockets.live, sockets.running, duplex.unsent_bytes) == ([], 0, 0)
        await sockets.close()

    run(main())


# --- the owner ------------------------------------------------------------------------------------------------------


async def test_applications_that_stay_are_cancelled_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    def staying(name: str, *, obeys: bool = True) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(ACCEPT)
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not obeys:
                    await stubborn.wait()
                ended.append(name)
                raise

        return app

    stubborn, sockets, receivers = asyncio.Event(), AppSockets(), [Noted() for _ in range(4)]
    left, talking, _, _ = [
        await connect_app(app, f"wss://app.test/{secret}", receiver, owner=sockets)
        for secret, (app, receiver) in enumerate(
            zip((staying("a"), staying("b"), staying("c", obeys=False), staying("d")), receivers, strict=True)
        )
    ]
    left.close()
    await receivers[0].over.wait()
    assert (len(sockets.live), sockets.running, sockets.live[0]) == (3, 4, talking)
    await sockets.close(0.05)
    assert ended == ["a", "b", "d"]
    assert [receiver.told[-1][1] for receiver in receivers] == [1000, 1006, 1006, 1006]
    assert "application at wss://app.test" in caplog.text
    assert "application at wss://app.test/" not in caplog.text
    with pytest.raises(UsageError, match="after its owner had closed"):
        await connect_app(staying("e"), URL, Noted(), owner=sockets)
    stubborn.set()
    await passes()
    assert (ended, sockets.live, sockets.running) == (["a", "b", "d", "c"], [], 0)


@pytest.mark.parametrize("half_open", [False, True])
async def test_no_timer_outlives_it(half_open: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.close"})

    receiver = Noted()
    duplex, sockets = await opened(app, receiver)
    duplex.send_text(b"now")
    await passes()
    if half_open:
        duplex, sockets = await opened(Scripted(), receiver)
        duplex.vanish()
        duplex.close()
        await sockets.close()
    await receiver.over.wait()
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_what_is_over_is_forgotten() -> None:
    sockets = AppSockets()
    for _ in range(3):
        receiver = Noted()
        duplex = await connect_app(Scripted(), URL, receiver, owner=sockets)
        assert (sockets.live, duplex.url) == ([duplex], URL)
        duplex.close()
        await receiver.over.wait()
        await passes()
    with pytest.raises(UnreachableError, match="it chose an extension or a subprotocol"):
        await connect_app(choosy, URL, Noted(), owner=sockets)
    assert sockets.live == []
    assert len(sockets._owned) == 1
    await sockets.close()


async def choosy(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**ACCEPT, "subprotocol": "chat"})
