from __future__ import annotations

import json

import openapi_spec_validator

from bothway.carrier.api.openapi import document
from bothway.carrier.api.table import OPERATIONS


def test_the_document_is_valid() -> None:
    openapi_spec_validator.validate(document())


def test_the_document_is_json_and_always_the_same() -> None:
    assert json.dumps(document()) == json.dumps(document())


def test_every_operation_is_in_it() -> None:
    paths = document()["paths"]
    for operation in OPERATIONS:
        found = paths["/v1/Account/{auth_id}/" + operation.path][operation.method.lower()]
        assert {str(status) for status in operation.answers} <= found["responses"].keys()
        assert {"400", "401", "429"} <= found["responses"].keys()
    ids = [found["operationId"] for path in paths.values() for found in path.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS) + 2


def test_where_parameters_come_from() -> None:
    paths = document()["paths"]
    listed = paths["/v1/Account/{auth_id}/Call/"]["get"]["parameters"]
    limit = next(one for one in listed if one["name"] == "limit")
    assert limit == {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 20, "default": 20},
    }
    created = paths["/v1/Account/{auth_id}/Call/"]["post"]
    assert "Idempotency-Key" in [one["name"] for one in created["parameters"]]
    assert created["requestBody"]["required"]
    shape = document()["components"]["schemas"]["CreateCall"]
    assert shape["required"] == ["from", "to", "answer_url"]
