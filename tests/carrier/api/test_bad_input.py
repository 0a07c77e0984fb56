"""What schemathesis makes of the OpenAPI document, good and bad, is never answered with a fault of the carrier's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from schemathesis import GenerationMode
from tests.carrier.api.desk import MAIN, basic, desk

from bothway.carrier.api.openapi import document
from bothway.runtime.duplex import Refusal
from bothway.runtime.server import Server

EXAMPLES = 500 if os.environ.get("BOTHWAY_SOAK") else 12


def known_ids(spec: dict[str, Any], ids: dict[str, list[str]]) -> dict[str, Any]:
    """The document with ids that there are: else nearly everything would be 404."""
    for path in spec["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["name"] in ids and parameter["in"] == "path":
                    parameter["schema"] = {"enum": ids[parameter["name"]]}
    return spec


def check(spec: dict[str, Any], operation: Any, response: Any) -> None:
    """The answer is one that the document has, and no 5xx."""
    case = (operation.method, response.request.url, response.request.body, response.status_code, response.text)
    assert response.status_code < 500, case
    if not response.content and response.headers.get("connection") == ["close"]:
        assert response.status_code in (400, 431), case
        return  # a head that is no HTTP, or too long: the server refuses it, and the API never sees it
    described = operation.definition.raw["responses"].get(str(response.status_code))
    assert described is not None, case
    content = described.get("content", {}).get("application/json")
    if content is None:
        return
    schema = {**content["schema"], "components": spec["components"]}
    problems = [problem.message for problem in OAS31Validator(schema).iter_errors(response.json())]
    assert problems == [], (case, problems)


def fuzz(url: str, spec: dict[str, Any]) -> int:
    """Ask every operation what its schema allows, and what it does not; gives how often."""
    schema: Any = schemathesis.openapi.from_dict(spec)
    return sum(fuzz_one(url, spec, result.ok()) for result in schema.get_all_operations())


def fuzz_one(url: str, spec: dict[str, Any], operation: Any, examples: int = EXAMPLES) -> int:
    asked = 0
    headers = {"Authorization": basic(MAIN.auth_id, MAIN.auth_token)}
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases)
    def run(case: Any) -> None:
        nonlocal asked
        asked += 1
        check(spec, operation, case.call(base_url=url, headers=headers))

    run()
    return asked


@pytest.mark.filterwarnings("ignore")
async def test_no_input_is_a_fault_of_the_carriers(tmp_path: Path) -> None:
    async with desk(tmp_path) as api:
        calls = [api.switch.add().record.call_uuid for _ in range(2)]
        app = (await api.ask("POST", "Application/", {"app_name": "a"})).json["app_id"]
        sub = (await api.ask("POST", "Subaccount/", {"name": "s"})).json["auth_id"]
        api.switch.meet("room", "1", "2")
        ids = {
            "auth_id": [MAIN.auth_id],
            "call_uuid": [*calls, "undefined"],
            "app_id": [app],
            "subauth_id": [sub],
            "conference_name": ["room"],
            "member_id": ["1", "all"],
        }
        server = Server(api.api, lambda _: Refusal(404, b""))
        await server.start()
        try:
            asked = await asyncio.to_thread(fuzz, server.url, known_ids(document(), ids))
        finally:
            await server.stop(0.1)
        assert asked > 500
