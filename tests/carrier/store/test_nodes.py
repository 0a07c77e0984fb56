from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.carrier.store.examples import NOW, opened

pytestmark = pytest.mark.virtual_time


async def test_a_node_is_alive_until_its_lease_runs_out_or_it_leaves(shared: str | Path) -> None:
    async with opened(shared, node="1") as one, opened(shared, node="2") as two:
        assert await one.nodes.others(NOW) == frozenset()
        await one.nodes.renew(NOW + timedelta(seconds=10))
        await two.nodes.renew(NOW + timedelta(seconds=10))
        await two.nodes.renew(NOW + timedelta(seconds=20))
        assert await one.nodes.others(NOW) == {"2"}
        assert await two.nodes.others(NOW) == {"1"}
        assert await two.nodes.others(NOW + timedelta(seconds=10)) == frozenset()
        assert await one.nodes.others(NOW + timedelta(seconds=19)) == {"2"}
        await two.nodes.leave()
        assert await one.nodes.others(NOW) == frozenset()
