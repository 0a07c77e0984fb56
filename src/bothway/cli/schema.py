"""`bothway schema`: the published documents of the carrier's REST API and of its audio stream."""

from __future__ import annotations

import argparse
import json
from typing import Any

from bothway.carrier.api import openapi
from bothway.carrier.api.asyncapi import asyncapi_document

__all__ = ["DOCUMENTS", "add_parser", "run", "text_of"]

DOCUMENTS = {"openapi": openapi.document, "asyncapi": asyncapi_document}
"""What makes each document: OpenAPI for REST, AsyncAPI for the stream."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "schema",
        help="print the OpenAPI or the AsyncAPI document",
        description="Print a document of the carrier's interfaces as JSON: `openapi` is the REST API, `asyncapi` the "
        "audio stream. A running carrier serves them at /v1/openapi.json and /v1/asyncapi.json.",
    )
    parser.add_argument("document", choices=sorted(DOCUMENTS), help="which")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    print(text_of(arguments.document), end="")
    return 0


def text_of(name: str) -> str:
    """A document as it is published: indented JSON."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"
