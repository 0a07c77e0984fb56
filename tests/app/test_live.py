from __future__ import annotations

import asyncio

from bothway.app.live import LiveCalls
from bothway.runtime.metrics import Metrics
from bothway.testing.virtual_loop import run


class Stream:
    def __init__(self, calls: LiveCalls, call_id: str) -> None:
        self.calls = calls
        self.call_id = call_id
        self.left = False
        self.counted = 0

    def leave(self) -> None:
        self.left = True
        self.calls.closed(self.call_id, self)

    def count(self) -> None:
        self.counted += 1


def test_a_call_belongs_to_the_stream_that_claims_it_first() -> None:
    async def main() -> None:
        calls = LiveCalls(Metrics())
        first, second = Stream(calls, "a"), Stream(calls, "a")
        calls.opened(first)
        calls.opened(second)
        assert calls.claim("a", first)
        assert calls.claim("a", first)
        assert not calls.claim("a", second)
        calls.count()
        assert (len(calls), first.counted, second.counted) == (1, 1, 0)
        assert b"bothway_streams_active 1.0" in calls.metrics.render()[0]
        calls.closed("a", second)  # it never had the call
        assert len(calls) == 1
        calls.closed("a", first)
        assert len(calls) == 0
        assert calls.claim("a", second)

    run(main())


def test_draining_waits_for_calls_and_their_handlers() -> None:
    async def main() -> None:
        calls = LiveCalls(Metrics())
        stream = Stream(calls, "a")
        calls.opened(stream)
        task = calls.spawn(asyncio.sleep(7.0), "call a")
        asyncio.get_running_loop().call_later(5.0, calls.closed, None, stream)
        began = asyncio.get_running_loop().time()
        await calls.drain(60.0)
        assert calls.draining
        assert task.done()
        assert not task.cancelled()
        assert not stream.left
        assert asyncio.get_running_loop().time() - began == 7.0

    run(main())


def test_draining_ends_what_does_not_end() -> None:
    async def main() -> None:
        calls = LiveCalls(Metrics())
        stream = Stream(calls, "a")
        calls.opened(stream)
        calls.claim("a", stream)
        task = calls.spawn(asyncio.sleep(7000.0), "call a")
        began = asyncio.get_running_loop().time()
        await calls.drain(30.0)
        assert stream.left
        assert task.cancelled()
        assert asyncio.get_running_loop().time() - began == 35.0, "5 s are for the handler to see it"

    run(main())
