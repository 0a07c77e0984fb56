"""Settings shared by every test."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("slice", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("soak" if os.environ.get("BOTHWAY_SOAK") else "slice")
