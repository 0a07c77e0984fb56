"""`<Conference>` through whole calls with audio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.test_verbs_input import Talker, doc, offline
from tests.carrier.world import Site, until

pytestmark = pytest.mark.virtual_time


def conference(site: Site, name: str = "room", **attributes: str) -> str:
    given = {"callbackUrl": site.url + "/callback", **attributes}
    written = " ".join(f'{key}="{value}"' for key, value in given.items())
    return f"<Conference {written}>{name}</Conference>"


async def test_smoke(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, two = Talker(), Talker()
        w.place(doc(conference(w.site)), caller=one)
        await until(lambda: w.site.asked("/callback"))
        w.place(doc(conference(w.site)), caller=two)
        await until(lambda: len(w.site.asked("/callback")) > 1)
        print([r.params for r in w.site.asked("/callback")])
        await asyncio.sleep(1)
        one.hang_up()
        await w.over(one)
        two.hang_up()
        await w.over(two)
