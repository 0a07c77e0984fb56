"""One socket, message by message, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.app.fake_carrier import CALL, FRAME, STREAM, dtmf_message, media_message, start_message
from tests.app.listed_duplex import ListedDuplex

from bothway.app.call import Call, Parties
from bothway.app.live import LiveCalls
from bothway.app.outgoing import ACK_GRACE, MAX_UNPLAYED_MS, MAX_UNSENT
from bothway.app.receiver import (
    AFTER_THE_CALL,
    MAX_WAITING_FRAMES,
    START_DEADLINE,
    CallReceiver,
    ClosingReceiver,
    Grant,
)
from bothway.app.rest_values import RecordingStarted
from bothway.runtime.logs import REDACTED, get_logger
from bothway.runtime.metrics import Metrics
from bothway.testing.virtual_loop import run

SECRET = "the-token-in-the-path"


class NoControl:
    async def hangup(self, call_id: str) -> None:
        raise AssertionError("nothing is hung up here")

    async def transfer(self, call_id: str, to: object, app_url: str) -> None:
        raise AssertionError("nothing is transferred here")

    async def record(self, call_id: str, options: object) -> RecordingStarted:
        raise AssertionError("nothing is recorded here")

    async def stop_recording(self, call_id: str) -> None:
        raise AssertionError("nothing is recorded here")


class World:
    def __init__(self, handler: Callable[[Call], Awaitable[object]], call_id: str | None = CALL) -> None:
        self.calls = LiveCalls(Metrics())
        self.duplex = ListedDuplex()
        self.receiver = self.another(handler, call_id, self.duplex)

    def another(self, handler: Any, call_id: str | None, duplex: ListedDuplex) -> CallReceiver:
        receiver = CallReceiver(Grant(handler, call_id, Parties(), secret=SECRET), self.calls, NoControl())
        receiver.opened(duplex)
        return receiver

    def receive(self, *messages: str) -> None:
        for message in messages:
            self.receiver.received_text(message.encode())

    def metric(self, line: str) -> bool:
        self.calls.count()
        return line in self.calls.metrics.render()[0].decode()


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[Any]:
    return [record.msg for record in caplog.records if words in str(record.msg)]


async def steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def wait_for_the_end(call: Call) -> None:
    await call.ended


def test_no_start(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(wait_for_the_end)
        world.receive(media_message(FRAME, 1), dtmf_message("1"))
        await asyncio.sleep(START_DEADLINE - 0.1)
        assert world.duplex.closes == []
        await asyncio.sleep(0.2)
        assert world.duplex.closes == [(1008, "no start")]
        get_logger("bothway.test").warning(SECRET)
        world.receiver.closed(1008, "no start")
        get_logger("bothway.test").warning(SECRET)
        assert len(lines(caplog, SECRET)) == 1
        assert len(lines(caplog, REDACTED)) == 1
        assert world.metric('bothway_ws_bad_messages_total{reason="state"} 1.0')

    run(main())
    assert len(lines(caplog, "no start came")) == 1


def test_another_call_s_token(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(wait_for_the_end)
        world.receive(start_message("another"))
        assert world.duplex.closes == [(1008, "policy")]
        assert len(world.calls) == 0
        world.receiver.closed(1008, "policy")

    run(main())
    (line,) = lines(caplog, "another call's token")
    assert line["granted_for"] == CALL
    assert line["call"] == "another"


def test_a_second_socket_for_a_live_call(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(wait_for_the_end)
        world.receive(start_message())
        other = ListedDuplex()
        second = world.another(wait_for_the_end, None, other)
        second.received_text(start_message().encode())
        assert other.closes == [(1008, "policy")]
        second.closed(1008, "policy")
        assert world.duplex.closes == []
        assert len(world.calls) == 1
        await steps()
        world.receiver.closed(1000, "")
        await steps()
        third = ListedDuplex()  # the first is gone, and its call may have a stream again
        world.another(wait_for_the_end, None, third).received_text(start_message().encode())
        assert third.closes == []
        await world.calls.drain(0.0)

    run(main())
    assert len(lines(caplog, "second socket")) == 1


def test_a_slow_handler_loses_the_oldest_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        taken: list[bytes] = []
        dropped: list[int] = []

        async def slow(call: Call) -> None:
            async for frame in call.audio():
                taken.append(frame)
                if len(taken) == 1:
                    await asyncio.sleep(30)
            dropped.append(call.dropped_frames)

        world = World(slow)
        world.receive(start_message())
        for n in range(MAX_WAITING_FRAMES + 101):
            world.receive(media_message(n.to_bytes(2, "big") * 80, n + 1))
            await asyncio.sleep(0.02)
        assert world.metric("bothway_stream_audio_dropped_frames_total 100.0")
        assert world.metric(f'bothway_frames_total{{track="from_caller"}} {MAX_WAITING_FRAMES + 101}.0')
        world.receiver.closed(1000, "")
        await asyncio.sleep(60)
        assert [int.from_bytes(frame[:2], "big") for frame in taken[:3]] == [0, 101, 102]
        assert dropped == [100]

    run(main())
    assert len(lines(caplog, "too slowly")) == 1


def test_who_never_listens_misses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(wait_for_the_end)
        world.receive(start_message())
        for n in range(2 * MAX_WAITING_FRAMES):
            world.receive(media_message(FRAME, n + 1))
        for _ in range(1000):
            world.receive(dtmf_message("1"))
        await steps()
        world.receiver.closed(1000, "")
        await steps()

    run(main())
    assert lines(caplog, "too slowly") == []


def test_tracks_are_kept_apart() -> None:
    async def main() -> None:
        heard: dict[str, list[bytes]] = {"inbound": [], "outbound": []}

        async def listen(call: Call) -> None:
            for track in call.tracks:
                heard[track] = [frame async for frame in call.audio(track=track)]

        world = World(listen)
        world.receive(start_message(tracks=["inbound", "outbound"]))
        world.receive(media_message(FRAME, 1), media_message(FRAME[::-1], 1, "outbound"))
        world.receive(media_message(FRAME[:100], 2), media_message(FRAME[:50], 2, "outbound"))
        world.receive(media_message(FRAME[100:], 3), media_message(FRAME, 3, "outbound"))
        await steps()
        world.receiver.closed(1000, "")
        await steps()
        assert heard == {"inbound": [FRAME, FRAME], "outbound": [FRAME[::-1], FRAME[:50] + FRAME[:110]]}

    run(main())


def test_every_kind_of_bad_message_is_survived_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bad = [
        "no json", "[]", "7", "{}", '{"event":7}', '{"event":"unheard of"}', '{"event":"media"}',
        '{"event":"media","media":{"payload":"***"}}', '{"event":"media","media":{"payload":7}}',
        '{"event":"dtmf","dtmf":{"digit":"x"}}', '{"event":"playedStream"}', '{"event":"playedStream","name":"stray"}',
        '{"event":"clearedAudio"}', '{"event":"start"}', start_message(), '{"event":"connected"}',
        '{"event":"incorrectPayload"}', '{"event":"mark","name":"x"}', "[" * 5000, "\ud800",
    ]  # fmt: skip

    async def main() -> None:
        heard: list[bytes] = []

        async def listen(call: Call) -> None:
            heard.extend([frame async for frame in call.audio()])

        world = World(listen)
        world.receive(start_message())
        for _ in range(3):
            for message in bad:
                world.receiver.received_text(message.encode("utf-8", "surrogatepass"))
            world.receiver.received_binary(b"\x00\x01")
        world.receive(media_message(FRAME, 1))
        await steps()
        assert world.duplex.closes == []
        world.receiver.closed(1000, "")
        await steps()
        assert heard == [FRAME]

    run(main())
    told = [line["kind"] for line in lines(caplog, "what its protocol does not have")]
    assert len(told) == len(set(told)) >= 10
    assert len(lines(caplog, "binary message")) == 1


def test_a_handler_that_raises_closes_its_own_call(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def broken(call: Call) -> None:
            raise TimeoutError("the model is not well")

        world = World(broken)
        world.receive(start_message())
        await steps()
        assert world.duplex.closes == [(1011, "internal error")]
        world.receiver.closed(1011, "internal error")
        assert world.metric('bothway_streams_total{outcome="ended"} 1.0')

    run(main())
    (record,) = [record for record in caplog.records if "handler of a call failed" in str(record.msg)]
    assert record.levelno == logging.ERROR
    assert isinstance(record.msg, dict)
    assert record.msg["call"] == CALL
    assert record.msg["stream"] == STREAM
    assert "the model is not well" in record.msg["exception"]


def test_a_handler_may_outlive_its_call_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def writes_down(call: Call) -> None:
            await call.ended
            await asyncio.sleep(AFTER_THE_CALL + 1)
            raise AssertionError("it was to be cancelled")

        world = World(writes_down)
        world.receive(start_message())
        await steps()
        world.receiver.closed(1006, "the socket died")
        await asyncio.sleep(AFTER_THE_CALL - 1)
        assert lines(caplog, "long after its call") == []
        await asyncio.sleep(2)
        assert world.metric('bothway_streams_total{outcome="dropped"} 1.0')
        await world.calls.drain(0.0)

    run(main())
    assert len(lines(caplog, "long after its call")) == 1


def test_what_still_plays_when_the_handler_has_returned_has_its_time(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        tasks: list[asyncio.Task[Any]] = []
        closed = asyncio.Event()

        async def tell(call: Call) -> None:
            await call.ended
            closed.set()

        async def endless(call: Call) -> None:
            async def tone() -> Any:
                while True:
                    yield FRAME * 50
                    await asyncio.sleep(1)

            tasks.append(asyncio.create_task(call.play(tone())))
            tasks.append(asyncio.create_task(tell(call)))
            await asyncio.sleep(0)

        world = World(endless)
        world.receive(start_message())
        began = asyncio.get_running_loop().time()
        await asyncio.wait_for(closed.wait(), 60)
        assert world.duplex.closes == [(1000, "")]
        assert asyncio.get_running_loop().time() - began == MAX_UNPLAYED_MS / 1000 + ACK_GRACE
        await asyncio.gather(*tasks)

    run(main())
    assert len(lines(caplog, "something still plays")) == 1


def test_a_carrier_that_does_not_read_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def talk(call: Call) -> None:
            await call.play(FRAME * 50)
            world.duplex.unsent_bytes = MAX_UNSENT + 1
            assert await call.checkpoint("x") is False
            assert call.ended.reason == "the carrier did not read what was sent to it"

        world = World(talk)
        world.receive(start_message())
        await steps(20)
        assert world.duplex.aborted
        world.receiver.closed(1006, "aborted at this end")
        await steps()

    run(main())
    assert len(lines(caplog, "does not read")) == 1


def test_the_app_leaves() -> None:
    async def main() -> None:
        world = World(wait_for_the_end)
        world.receive(start_message())
        await steps()
        world.receiver.leave()
        assert world.duplex.closes == [(1001, "the app is stopping")]
        world.receiver.closed(1001, "the app is stopping")
        await world.calls.drain(1.0)

    run(main())


def test_a_socket_that_is_not_wanted() -> None:
    duplex = ListedDuplex()
    receiver = ClosingReceiver(1008, "policy")
    receiver.opened(duplex)
    receiver.received_text(b"")
    receiver.received_binary(b"")
    receiver.closed(1008, "policy")
    assert duplex.closes == [(1008, "policy")]
