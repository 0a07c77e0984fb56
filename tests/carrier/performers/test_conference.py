"""What a call does for `<Conference>`, where whole conferences do not show it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.conferring import Speaker, callbacks, conference, enter, leave, live
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import until

from bothway.audio.word_tones import encode

pytestmark = pytest.mark.virtual_time


async def test_who_was_put_out_is_not_parted_from_where_it_is_next(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one, other, third = Speaker(), Speaker(), Speaker()
        call = await enter(w, one, conference(w.site, "next"))
        await enter(w, other)
        await enter(w, third, name="next")
        (first,) = [found for found in live(w) if found.name == "room"]
        member = first.members[0]
        member.kick()
        await until(lambda: len(callbacks(w.site, "enter")) == 4)
        first.leave(member)
        third.say(encode("here", 8000))
        await asyncio.sleep(1)
        assert one.words == ["here"]
        assert not call.over
        await leave(w, one, other, third)


async def test_two_conferences_one_after_another(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        one = Talker()
        w.place(doc(*(conference(w.site, name, hangupOnStar="true") for name in ("a", "b"))), caller=one)
        for count in (1, 2):
            await until(lambda: len(callbacks(w.site, "enter")) == count)  # noqa: B023 - it is over with the turn
            one.press("*")
        await w.over(one)
        assert [params["ConferenceName"] for params in callbacks(w.site, "exit")] == ["a", "b"]
        w.check_accounted(one, 4010, "Plivo")
