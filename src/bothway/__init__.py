"""Bothway: phone-call audio, both ways."""

from __future__ import annotations

from bothway.app.app import App
from bothway.app.call import Call
from bothway.errors import PeerError, ProviderError, UsageError
from bothway.version import __version__

__all__ = ["App", "Call", "PeerError", "ProviderError", "UsageError", "__version__"]
