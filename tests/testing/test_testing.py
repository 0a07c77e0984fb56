from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import bothway.testing


def test_every_name_is_there_and_documented() -> None:
    for name in bothway.testing.__all__:
        assert inspect.getdoc(getattr(bothway.testing, name)), name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        bothway.testing.Nothing  # noqa: B018


def test_the_plugin_loads_no_carrier_before_it_is_asked_for_one() -> None:
    probe = "import bothway.testing.pytest_plugin, sys; print('bothway.carrier.carrier' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
