"""Settings shared by every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("slice", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("soak" if os.environ.get("BOTHWAY_SOAK") else "slice")


@pytest.fixture(params=["virtual", pytest.param("real", marks=pytest.mark.real_sockets)])
def both_times() -> None:
    """A test that is marked `virtual_time` runs a second time, unchanged: in real time, over real sockets."""
