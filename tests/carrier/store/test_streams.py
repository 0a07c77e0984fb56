from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.carrier.store.examples import NOW, a_stream, ago, an_item, opened

pytestmark = pytest.mark.virtual_time


async def test_a_stream_comes_back_as_it_was_saved(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.streams.save(a_stream())
        assert await store.streams.get("stream-1") == a_stream()
        ended = a_stream(
            bidirectional=True,
            status="completed",
            start_time=ago(minutes=3),
            end_time=NOW,
            bill_duration=27,
            rounded_bill_duration=60,
            rate=Decimal("0.003"),
            billed_amount=Decimal("0.00300"),
            status_callback_url="https://example.com/status",
        )
        await store.streams.save(ended, [an_item("stream-1 stopped")])
        assert await store.streams.get("stream-1") == ended
        assert await store.outbox.waiting("call-1") == 1
        assert await store.streams.get("undefined") is None


async def test_a_stream_that_has_ended_stays_so(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.streams.save(a_stream(end_time=NOW))
        await store.streams.save(a_stream(status="in-progress"))
        assert await store.streams.get("stream-1") == a_stream(end_time=NOW)


async def test_the_streams_of_a_call_newest_first(where: str | Path | None) -> None:
    async with opened(where) as store:
        for number in range(3):
            store.streams.save(a_stream(f"stream-{number}", created_at=ago(minutes=number)))
        store.streams.save(a_stream("foreign", call_uuid="call-2"))
        page = await store.streams.list("call-1", limit=2)
        assert [stream.stream_id for stream in page.records] == ["stream-0", "stream-1"]
        assert page.total == 3
        assert (await store.streams.list("call-3")).total == 0
