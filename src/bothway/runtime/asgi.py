"""The types of an ASGI 3 application (asgi.readthedocs.io), for whoever is one or calls one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["ASGIApp", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
"""What is known of a connection when it starts; its `type` is `http`, `websocket` or `lifespan`."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event; its `type` says which."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
"""Waits for the next message from the server."""

Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""Gives a message to the server."""

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application."""
