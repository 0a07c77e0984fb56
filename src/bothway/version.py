"""The version; a test compares it with pyproject.toml, which holds it too."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"  # not `importlib.metadata`, whose import costs a tenth of the package's own
