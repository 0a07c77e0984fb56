"""A socket that is a list."""

from __future__ import annotations

import json
from typing import Any


class ListedDuplex:
    """A `Duplex` that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.unsent_bytes = 0
        self.closes: list[tuple[int, str]] = []
        self.aborted = False

    def send_text(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def send_binary(self, message: bytes) -> None:
        raise AssertionError("nothing binary is ever sent")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closes.append((code, reason))

    def abort(self) -> None:
        self.aborted = True

    def names(self) -> list[str]:
        """The checkpoints that were sent."""
        return [message["name"] for message in self.sent if message["event"] == "checkpoint"]

    def events(self) -> list[str]:
        return [message["event"] for message in self.sent]
