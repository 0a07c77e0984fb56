"""Slow readers, pings, deadlines and dead connections of WebSockets in memory, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.testing.websocket_ends import ACCEPT, Noted, Scripted, opened, passes

from bothway.runtime.asgi import Receive, Scope, Send
from bothway.testing.asgi_websocket import swallowed_bytes
from bothway.testing.virtual_loop import run


def now() -> float:
    return asyncio.get_running_loop().time() - 1000


class Timed(Noted):
    """Notes when it was told that it is over."""

    ended = 0.0

    def closed(self, code: int, reason: str) -> None:
        super().closed(code, reason)
        self.ended = now()


def test_a_slow_reader_shows_and_lasts_until_the_carrier_has_had_enough() -> None:
    message, send_buffer = b"x" * 330, 16 * 1024

    async def main() -> None:
        app, receiver = Scripted(free=False, echoes=False), Timed()
        duplex, sockets = await opened(app, receiver, send_buffer=send_buffer)
        filled = 0.0
        while duplex.unsent_bytes < 40 * 50 * len(message):
            duplex.send_text(message)
            filled = filled or (now() if duplex.unsent_bytes else 0.0)
            await asyncio.sleep(0.02)
        assert filled == pytest.approx(swallowed_bytes(send_buffer) / len(message) * 0.02, abs=0.05)
        assert now() - filled == pytest.approx(40, abs=0.1)
        duplex.abort()
        await receiver.over.wait()
        app.free.set()
        await passes(1000)
        assert receiver.told[-1] == ("closed", 1006, "aborted at this end")
        held = swallowed_bytes(send_buffer) // len(message)
        assert app.texts() == [message.decode()] * (1 + held) + [(1005, None)]
        await sockets.close()

    run(main())


def test_a_reader_that_was_slow_catches_up() -> None:
    async def main() -> None:
        app, receiver = Scripted(free=False), Timed()
        duplex, sockets = await opened(app, receiver, send_buffer=1024)
        sent = [f"{number:0>1000}" for number in range(1000)]
        for text in sent:
            duplex.send_text(text.encode())
        await asyncio.sleep(30)
        assert duplex.unsent_bytes == pytest.approx(999_000 - swallowed_bytes(1024) - 256 * 1024, abs=4096)
        app.free.set()
        await passes(50)
        assert duplex.unsent_bytes == 0
        assert app.texts() == sent
        assert len(receiver.told) == 1001
        await asyncio.sleep(300)
        assert duplex.is_open
        await sockets.close()

    run(main())


def test_the_server_reads_on_when_the_application_has_taken_all() -> None:
    async def main() -> None:
        taken = asyncio.Semaphore(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            while True:
                await taken.acquire()
                await receive()

        duplex, sockets = await opened(app, Timed(), send_buffer=0)
        for _ in range(3):
            duplex.send_text(b"together")
        await passes()
        duplex.send_text(b"behind")
        for left in (6, 6, 0):
            taken.release()
            await passes()
            assert duplex.unsent_bytes == left
        await sockets.close()

    run(main())


@pytest.mark.parametrize("talking", [False, True])
def test_one_that_reads_nothing_answers_no_ping(talking: bool) -> None:
    async def main() -> None:
        app, receiver = Scripted(free=False), Timed()
        duplex, sockets = await opened(app, receiver, ping_interval=10.0)
        duplex.send_text(b"held up")
        await asyncio.sleep(0)
        while now() < 60 and not receiver.over.is_set():
            duplex.send_text(b"ever more")
            if talking:
                await app.send({"type": "websocket.send", "text": "all is well"})
            await asyncio.sleep(5)
        if talking:
            assert duplex.is_open
        else:
            assert receiver.told[-1] == ("closed", 1006, "no answer to a ping within 10 s")
            assert receiver.ended == 20
        await sockets.close()

    run(main())


def test_a_silent_one_answers_pings() -> None:
    async def main() -> None:
        duplex, sockets = await opened(Scripted(), Timed())
        await asyncio.sleep(3600)
        assert duplex.is_open
        await sockets.close()

    run(main())


def test_a_close_frame_that_nobody_reads() -> None:
    async def main() -> None:
        app, receiver = Scripted(free=False, echoes=False), Timed()
        duplex, sockets = await opened(app, receiver)
        duplex.send_text(b"one")
        await passes()
        duplex.send_text(b"two")
        duplex.close(1000, "bye")
        await receiver.over.wait()
        assert (receiver.ended, receiver.told[-1]) == (5, ("closed", 1000, "bye"))
        app.free.set()
        await passes()
        assert app.texts() == ["one", "two", (1000, "bye")]
        await sockets.close()

    run(main())


def test_dropped_in_the_middle() -> None:
    async def main() -> None:
        app, receiver = Scripted(), Timed()
        duplex, sockets = await opened(app, receiver)
        duplex.send_text(b"arrives")
        await passes()
        duplex.send_text(b"is lost")
        duplex.drop()
        await passes()
        assert receiver.told == [
            ("opened",),
            ("text", b"arrives"),
            ("closed", 1006, "the socket died without a close frame"),
        ]
        assert app.texts() == ["arrives", (1005, None)]
        assert (sockets.live, sockets.running) == ([], 0)
        with pytest.raises(OSError):  # noqa: PT011 - its type is all that it says
            await app.send({"type": "websocket.send", "text": "too late"})
        await sockets.close()

    run(main())


def test_a_half_open_one_is_found_out_by_pings() -> None:
    async def main() -> None:
        app, receiver = Scripted(), Timed()
        duplex, sockets = await opened(app, receiver)
        await asyncio.sleep(31)
        duplex.send_text(b"arrives")
        await passes()
        duplex.vanish()
        duplex.send_text(b"is lost")
        await app.send({"type": "websocket.send", "text": "is lost"})
        await receiver.over.wait()
        assert receiver.told == [
            ("opened",),
            ("text", b"arrives"),
            ("closed", 1006, "no answer to a ping within 20 s"),
        ]
        # Heard from at 31: the look at 40 finds that, the one at 60 pings, and the one at 80 has had no answer.
        assert receiver.ended == 80
        await asyncio.sleep(100)
        # uvicorn pings at 40, and again has its answer at 60 or never.
        assert app.seen == [(31, "arrives"), (60, (1005, None))]
        assert sockets.running == 0
        await sockets.close()

    run(main())


def test_a_half_open_one_with_a_backlog_gets_three_times_as_long() -> None:
    async def main() -> None:
        receiver = Timed()
        duplex, sockets = await opened(Scripted(), receiver, send_buffer=300)
        duplex.vanish()
        duplex.send_text(bytes(2000))
        await asyncio.sleep(50)
        duplex.send_text(bytes(2000))
        assert duplex.unsent_bytes == 3000
        await receiver.over.wait()
        assert (receiver.ended, receiver.told[-1][-1]) == (80, "no answer to a ping within 60 s")
        await sockets.close()

    run(main())


@pytest.mark.parametrize("ending", ["close", "abort", "drop", "app closes", "app returns"])
def test_how_a_half_open_one_may_end(ending: str) -> None:
    async def main() -> None:
        codes: list[Any] = []
        leave = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            if ending.startswith("app"):
                await leave.wait()
            if ending == "app closes":
                await send({"type": "websocket.close", "code": 4000})
            while ending != "app returns" and len(codes) < 1 + (ending == "app closes"):
                codes.append(((await receive())["code"], round(now(), 3)))

        receiver = Timed()
        duplex, sockets = await opened(app, receiver)
        duplex.vanish()
        leave.set()
        await asyncio.sleep(1)
        if ending in ("close", "abort", "drop"):
            getattr(duplex, ending)()
        await receiver.over.wait()
        told = {"close": (6, 1000), "abort": (1, 1006), "drop": (1, 1006)}
        assert (receiver.ended, receiver.told[-1][1]) == told.get(ending, (40, 1006))
        await asyncio.sleep(100)
        app_told = {"app closes": [(4000, 0), (1005, 10)], "app returns": [], "drop": [(1005, 1)]}
        assert codes == app_told.get(ending, [(1005, 40)])
        assert sockets.running == 0
        await sockets.close()

    run(main())


def test_half_open_with_an_application_that_never_pauses() -> None:
    async def main() -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send(ACCEPT)
            while True:
                await send({"type": "websocket.send", "text": "x" * 996})
                sent += 1000

        receiver = Timed()
        duplex, sockets = await opened(app, receiver)
        duplex.vanish()
        await receiver.over.wait()
        assert (receiver.ended, sockets.running) == (60, 0)
        assert sent == pytest.approx(4_000_000, abs=150_000)
        await sockets.close()

    run(main())
