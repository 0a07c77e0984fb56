"""What schemathesis makes of the carrier's OpenAPI document while there are calls: it answers, and carries on."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from tests.carrier.api.test_bad_input import fuzz_one, known_ids
from tests.carrier.world import Caller, until
from tests.interop.sdk_voice import MAIN, SdkVoice, sdk_voice

from bothway.carrier.callee import Callee, human
from bothway.carrier.config import RentableNumber

pytestmark = [pytest.mark.virtual_time, pytest.mark.filterwarnings("ignore")]

DOCUMENTS = {
    "wait": "<Response><Wait length='900'/></Response>",
    "dial": "<Response><Dial><Number>15550101</Number></Dial></Response>",
    "room": "<Response><Conference callbackUrl='URL/conference'>room</Conference></Response>",
    "record": "<Response><Record recordSession='true'/><Wait length='900'/></Response>",
}
EXAMPLES = 300 if os.environ.get("BOTHWAY_SOAK") else 6
ENDING = ("DELETE", "Call/"), ("DELETE", "Conference/")
"""What ends everything."""


class Live:
    """Calls of every kind, of which there are some at any time."""

    def __init__(self, v: SdkVoice) -> None:
        self._v = v
        self.callers: dict[str, Caller] = {}

    async def top_up(self) -> dict[str, list[str]]:
        """See that there is a call of each kind, and what ids there are."""
        v = self._v
        for name in DOCUMENTS:
            for place in ("1", "2"):
                caller = self.callers.get(name + place)
                if caller is None or caller.done.is_set():
                    caller = self.callers[name + place] = Caller()
                    v.w.place(v.w.site.pages["/" + name], caller=caller)
                    await until(lambda: caller.heard or caller.done.is_set())  # noqa: B023 - it is awaited here
        await until(lambda: any(call.far_leg is not None for call in v.w.carrier.calls.values()))
        calls = [call for call in v.w.carrier.calls.values() if not call.over]
        for call in calls[:2]:
            if not call.streams.clients:
                await v.sdk("calls.start_stream", call.call_id, v.w.streams.url)
        streams = [client.stream.start.stream_id for call in calls for client in call.streams.clients.values()]
        assert v.w.carrier._exchange is not None
        members = [member.member_id for room in v.w.carrier._exchange.conferences() for member in room.members]
        return {
            "auth_id": [MAIN.auth_id],
            "call_uuid": [*(call.call_id for call in calls), "undefined"],
            "stream_id": [*streams, "undefined"],
            "conference_name": ["room"],
            "member_id": [*members, "all"],
        }


def operations(spec: dict[str, Any], ids: dict[str, list[str]]) -> list[Any]:
    """All operations of the document, with ids that there are; what ends everything comes last."""
    schema: Any = schemathesis.openapi.from_dict(known_ids(spec, ids))
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda one: any(one.method.upper() == m and one.path.endswith("/" + p) for m, p in ENDING))


async def test_no_request_is_a_fault_while_there_are_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inventory = (RentableNumber("14150001", "US"),)
    limits = {"calls_per_second": 1_000, "redirects": 1_000, "streams_per_call": 3}
    async with sdk_voice(tmp_path, Callee("1555*", human("hello", ring=0.2)), limits=limits, inventory=inventory) as v:
        v.pages(**DOCUMENTS)
        spec = (await v.sdk.fetch(v.w.carrier.url + "/v1/openapi.json")).json()
        live, asked, place = Live(v), 0, 0
        with caplog.at_level(logging.ERROR):
            caplog.clear()
            while True:
                found = operations(spec, await live.top_up())
                if place == len(found):
                    break
                asked += await asyncio.to_thread(fuzz_one, v.w.carrier.url, spec, found[place], EXAMPLES)
                place += 1
            faults = [record.getMessage() for record in caplog.records if record.name.startswith("bothway")]
        assert faults == []
        assert asked >= EXAMPLES * 30

        v.w.site.requests.clear()
        assert await v.sdk("conferences.hangup_all") is None
        for call_id in [call_id for call_id, call in v.w.carrier.calls.items() if not call.over]:
            v.w.carrier.calls[call_id].caller_hung_up()
        await until(lambda: not v.w.carrier.calls)
        v.w.site.requests.clear()
        v.pages(answer="<Response><Wait length='3'/></Response>")
        call_id = await v.create()
        assert (await v.over(call_id)).hangup_cause_code == 4010
        assert v.kinds() == ["ring", "answer", "hangup"]
