"""The other side of a `Duplex`, for tests."""

from __future__ import annotations

import asyncio
from typing import Any

from bothway.runtime.duplex import Duplex


class Echo:
    """Sends back what comes, and notes all it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.ready = asyncio.Event()
        self.heard = asyncio.Event()
        self.over = asyncio.Event()
        self.duplex: Duplex

    def opened(self, duplex: Duplex) -> None:
        self.duplex = duplex
        self.ready.set()
        self.told.append(("opened",))

    def received_text(self, message: bytes) -> None:
        self.told.append(("text", message))
        self.duplex.send_text(message)
        self.heard.set()

    def received_binary(self, message: bytes) -> None:
        self.told.append(("binary", message))
        self.duplex.send_binary(message)

    def closed(self, code: int, reason: str) -> None:
        self.told.append(("closed", code, reason))
        self.over.set()
