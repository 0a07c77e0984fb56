"""The databases on which every test of the records runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.postgres import Postgres


@pytest.fixture(params=["memory", "file", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path | None:
    """What `Store.open` is given: an empty database."""
    if request.param == "memory":
        return None
    return _shared(request, tmp_path)


@pytest.fixture(params=["file", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """An empty database that several stores can open."""
    return _shared(request, tmp_path)


def _shared(request: pytest.FixtureRequest, folder: Path) -> str | Path:
    if request.param == "file":
        return folder
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()
