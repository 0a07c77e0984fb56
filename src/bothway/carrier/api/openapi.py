"""The OpenAPI document (3.1), made from the table of operations."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

from bothway.carrier.api.operations import ErrorAnswer, Operation
from bothway.carrier.api.table import OPERATIONS
from bothway.version import __version__

__all__ = [
    "document",
]

_VARIABLE = re.compile(r"{(\w+)}")
_MEANINGS = {
    200: "Done",
    201: "Made",
    202: "Taken",
    204: "Done, and there is nothing to say",
    400: "A parameter is missing or wrong",
    401: "The credentials are wrong",
    403: "Not allowed",
    404: "There is no such thing",
    405: "This resource has no such method, or is not offered",
    408: "The body came too slowly",
    409: "The state of things forbids it",
    413: "The body is too large",
    422: "The idempotency key was used for another request",
    429: "Too many requests",
    503: "Not now",
}
_ALWAYS = (400, 401, 403, 404, 405, 408, 413, 429, 503)
_REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The whole document, as JSON values."""
    _, schemas = msgspec.json.schema_components(_shapes(), ref_template=_REF)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        entry = paths.setdefault("/v1/Account/{auth_id}/" + operation.path, {})
        entry[operation.method.lower()] = _described(operation, schemas)
    for name in ("get", "head"):
        paths.setdefault("/v1/Account/{auth_id}/Recording/{recording_id}.{file_format}", {})[name] = _file(name)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bothway carrier",
            "version": __version__,
            "description": "Calls, streams, conferences, recordings, applications, numbers and accounts. Paths end "
            "with a slash, and work without it. Parameters of POST and DELETE are a JSON object or a form.",
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The auth id and the auth token of an account or sub-account",
                }
            },
        },
    }


def _shapes() -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {ErrorAnswer: None}
    for operation in OPERATIONS:
        for shapes in operation.answers.values():
            found.update(dict.fromkeys(shapes))
        if operation.takes is not None:
            found[operation.takes] = None
    return list(found)


def _described(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [_path_parameter(name) for name in ("auth_id", *_VARIABLE.findall(operation.path))],
        "responses": _responses(operation),
    }
    if operation.takes is not None and operation.method == "GET":
        described["parameters"] += _query(operation.takes, schemas)
    elif operation.takes is not None:
        described["requestBody"] = _body(operation.takes)
    if (operation.method, operation.path) == ("POST", "Call/"):
        described["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A request that is repeated with the same key gets the first answer, and places nothing",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            }
        )
    if operation.voice:
        described["description"] = (
            "With `callback_url` (and `callback_method`) it is done later: the answer is 202, `async api spawned`, and "
            "the result goes to that URL."
        )
    return described


def _id(operation: Operation) -> str:
    words = [re.sub(r"\W", "", part) for part in operation.path.split("/") if part and not part.startswith("{")]
    one = operation.path.endswith("}/") or not operation.path
    return "_".join([operation.method.lower(), *(words or ["Account"]), "one" if one else "all"])


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(shape: type[msgspec.Struct], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    properties, required = schemas[shape.__name__]["properties"], schemas[shape.__name__].get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in properties.items()
    ]


def _body(shape: type[msgspec.Struct]) -> dict[str, Any]:
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)
    content = {"schema": {"$ref": _REF.format(name=shape.__name__)}}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    return {"required": any(field.required for field in found.fields), "content": dict.fromkeys(kinds, content)}


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, shapes in operation.answers.items():
        responses[str(status)] = {"description": _MEANINGS[status]}
        if shapes:
            refs = [{"$ref": _REF.format(name=shape.__name__)} for shape in shapes]
            schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
    for status in sorted({*_ALWAYS, *operation.errors}):
        schema = {"$ref": _REF.format(name="ErrorAnswer")}
        responses[str(status)] = {"description": _MEANINGS[status], "content": {"application/json": {"schema": schema}}}
    return responses


def _file(method: str) -> dict[str, Any]:
    names = ("auth_id", "recording_id", "file_format")
    content: dict[str, Any] = {kind: {} for kind in ("audio/mpeg", "audio/wav")}
    signed = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in ("Expires", "Signature")
    ]
    return {
        "operationId": f"{method}_Recording_file",
        "summary": "The file of a recording, with credentials or by a signed URL; ranges can be asked for",
        "tags": ["Recording"],
        "security": [{"basic": []}, {}],
        "parameters": [*(_path_parameter(name) for name in names), *signed],
        "responses": {
            "200": {"description": "The file", "content": content},
            "206": {"description": "A part of the file", "content": content},
            **{
                str(status): {"description": meaning}
                for status, meaning in {**_MEANINGS, 416: "There is no such part of the file"}.items()
                if status in (400, 401, 403, 404, 416, 429, 503)
            },
        },
    }
