from __future__ import annotations

from pathlib import Path

import pytest
from tests.carrier.rest_client import hung_up, placing

from bothway.carrier.callee import Callee, human, voicemail

pytestmark = pytest.mark.virtual_time


async def test_a_person_and_a_machine_are_told_apart(tmp_path: Path) -> None:
    entries = (Callee("15550100", human("Hello?", ring=1)), Callee("15550101", voicemail(ring=1)))
    async with placing(tmp_path, *entries, calls_per_second=100) as (w, rest):
        for number in ("15550100", "15550101"):
            await rest.call(w, number, machine_detection="true", time_limit=30)
        await hung_up(w, 2)
        told = {request.params["To"]: request.params["Machine"] for request in w.site.asked("/answer")}
        assert told == {"15550100": "false", "15550101": "true"}


async def test_a_machine_is_hung_up_on_or_reported(tmp_path: Path) -> None:
    entries = (Callee("15550100", human("Hello?", ring=1)), Callee("1555011*", voicemail(ring=1)))
    async with placing(tmp_path, *entries, calls_per_second=100) as (w, rest):
        url = w.site.url + "/machine"
        await rest.call(w, "15550100", machine_detection="hangup", machine_detection_url=url)
        await rest.call(w, "15550111", machine_detection="hangup", machine_detection_url=url)
        await rest.call(w, "15550112", machine_detection="true", machine_detection_url=url)
        ended = {params["To"]: params["HangupCauseCode"] for params in await hung_up(w, 3)}
        assert ended == {"15550100": "4010", "15550111": "9100", "15550112": "4010"}
        told = {request.params["To"]: request.params for request in w.site.asked("/machine")}
        assert {to: params["IfMachine"] for to, params in told.items()} == {
            "15550111": "hangup",
            "15550112": "continue",
        }
        for params in told.values():
            assert (params["Event"], params["Machine"], params["CallStatus"]) == (
                "MachineDetection",
                "true",
                "in-progress",
            )
