from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from tests.carrier.store.examples import a_call

from bothway.carrier.store.records import CallRecord


def test_records_do_not_change() -> None:
    with pytest.raises(AttributeError):
        a_call().state = "completed"  # type: ignore[misc]


def test_records_are_json() -> None:
    call = a_call()
    assert msgspec.json.decode(msgspec.json.encode(call), type=CallRecord) == call


def test_the_values_need_no_database() -> None:
    """Whoever names records in a signature does not load what keeps them."""
    program = "import bothway.carrier.store.records, sys; assert not {'sqlalchemy', 'alembic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
