"""The published documents: printed, and kept in docs/.

`bothway schema openapi > docs/openapi.json` and `bothway schema asyncapi > docs/asyncapi.json` write them anew.
"""

from __future__ import annotations

import json

import pytest
from tests.source_tree import ROOT

from bothway.cli import main
from bothway.cli.schema import DOCUMENTS, text_of


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_it_prints_the_document(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    printed = capsys.readouterr().out
    assert printed == text_of(name)
    assert json.loads(printed) == DOCUMENTS[name]()


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_published_document_is_the_code_s(name: str) -> None:
    path = ROOT / "docs" / f"{name}.json"
    # Not compared by assert: the difference of two documents of this length takes minutes to show.
    is_fresh = path.is_file() and path.read_text(encoding="utf-8") == text_of(name)
    if not is_fresh:
        pytest.fail(f"docs/{name}.json is stale, write it anew: .venv/bin/bothway schema {name} > docs/{name}.json")


def test_there_are_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schema", "wsdl"])
    assert "invalid choice" in capsys.readouterr().err
