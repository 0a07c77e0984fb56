"""Where the recorded speech lies that tests measure on: beside the repository, not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def speech(name: str) -> Path:
    """The path of one recording, which must be there: a test without it has measured nothing, so it never skips."""
    path = _FOLDER / name
    if not path.is_file():
        where = "on this CI machine" if os.environ.get("CI") else "here"
        pytest.fail(f"the recording {name} is missing {where}: it belongs in {_FOLDER}", pytrace=False)
    return path
