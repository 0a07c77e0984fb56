"""A clear is silence within one frame, also on a carrier that is full of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tests.carrier.fault_app import NOISE
from tests.carrier.test_faults import process
from tests.carrier.world import Caller, until, world

CALLS = 200


class Interrupted(Caller):
    """A caller that notes how much it had heard when the carrier read the clear."""

    heard_at_clear = -1

    def log(self, record: Mapping[str, object]) -> None:
        super().log(record)
        if record["event"] == "cleared":
            self.heard_at_clear = len(self.heard)


async def test_a_clear_is_silence_within_one_frame_with_200_calls_live(tmp_path: Path) -> None:
    async with process("fault_app", 60) as (_, port), world(tmp_path, limits={"connect_seconds": 10.0}) as w:
        w.streams.url = f"ws://127.0.0.1:{port}/"
        document = w.stream(contentType="audio/x-mulaw;rate=8000")
        callers = []
        for _ in range(CALLS):
            caller, _ = w.place(document, caller=Interrupted())
            callers.append(caller)
            await asyncio.sleep(0.002)
        await until(lambda: all(caller.events("cleared") for caller in callers), 15)
        live = len(w.carrier.calls)
        await asyncio.sleep(0.2)
        for caller in callers:
            caller.hang_up()
        await until(lambda: not w.carrier.calls, 15)

        assert live == CALLS, "all of them at once"
        for caller in callers:
            assert isinstance(caller, Interrupted)
            before, after = caller.heard[: caller.heard_at_clear], caller.heard[caller.heard_at_clear :]
            assert before[-1] == NOISE, "it was being played to until then"
            assert len(after) >= 5
            assert set(after) == {caller.format.silent_frame}, "the next frame is silent, and all that follow"
            assert caller.cause is not None
            assert caller.cause.code == 4000
        assert w.metric("bothway_clears_total") == CALLS
