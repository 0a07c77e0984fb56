from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.carrier.store.examples import MAIN, NOW, a_call, opened

from bothway.carrier.store.records import Answer
from bothway.errors import UsageError

pytestmark = pytest.mark.virtual_time

FIRST, SECOND = Answer(201, b'{"request_uuid":"1"}'), Answer(201, b'{"request_uuid":"2"}')


async def test_a_key_is_answered_as_it_was_the_first_time(where: str | Path | None) -> None:
    async with opened(where) as store:
        claim = store.idempotency.claim
        assert await claim(MAIN, "key", b"request", FIRST, now=NOW, calls=[a_call("1")]) is None
        assert await claim(MAIN, "key", b"request", SECOND, now=NOW, calls=[a_call("2")]) == FIRST
        assert await claim("another account", "key", b"request", SECOND, now=NOW) is None
        assert await store.calls.get("1") == a_call("1")
        assert await store.calls.get("2") is None


async def test_a_key_is_not_for_two_requests(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.idempotency.claim(MAIN, "key", b"request", FIRST, now=NOW)
        neighbour = store.calls.save(a_call("1"))
        with pytest.raises(UsageError, match="used for another request"):
            await store.idempotency.claim(MAIN, "key", b"another", SECOND, now=NOW)
        await neighbour


async def test_a_key_is_forgotten_after_a_day(where: str | Path | None) -> None:
    async with opened(where) as store:
        claim = store.idempotency.claim
        await claim(MAIN, "old", b"request", FIRST, now=NOW)
        assert await claim(MAIN, "old", b"request", SECOND, now=NOW + timedelta(hours=23)) == FIRST
        assert await claim(MAIN, "old", b"another", SECOND, now=NOW + timedelta(hours=24)) is None
        assert await store.sweep(NOW + timedelta(hours=47)) == 0
        assert await store.sweep(NOW + timedelta(hours=48)) == 1


async def test_of_two_nodes_one_acts(shared: str | Path) -> None:
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:
        for key in map(str, range(10)):
            found = await asyncio.gather(
                one.idempotency.claim(MAIN, key, b"request", FIRST, now=NOW),
                two.idempotency.claim(MAIN, key, b"request", SECOND, now=NOW),
            )
            assert found[0] is None or found[1] is None
            assert FIRST in found or SECOND in found


async def test_neither_keys_nor_requests_are_stored(where: str | Path | None) -> None:
    async with opened(where) as store:
        await store.idempotency.claim(MAIN, "the-key\ud800", b"the-request", FIRST, now=NOW)
        (row,) = await store._database.read(lambda c: c.execute(text("SELECT * FROM idempotency")).all())
        assert "the-" not in str(row)
