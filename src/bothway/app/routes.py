"""Which path leads to which handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from bothway.app.receiver import CallHandler
from bothway.errors import UsageError
from bothway.wire.callxml import to_xml
from bothway.wire.verbs import Stream, Verb

__all__ = ["OWN_PREFIX", "RESERVED", "STREAM_SEGMENT", "AnswerRoute", "Routes", "check_handler", "header_attribute"]

STREAM_SEGMENT = "/stream/"
"""What stands between the path of an answer URL and a stream token."""

RESERVED = ("/healthz", "/readyz", "/metrics")
"""Paths that every app answers itself."""


OWN_PREFIX = "/bothway/"
"""What the paths begin with that an app has the carrier ask for of its own accord."""


@dataclass(frozen=True)
class AnswerRoute:
    """An answer URL: its document, and the handler of the stream in it.

    Attributes:
        path: Within the app.
        handler: Gets the call.
        before: Verbs that run before the stream.
        after: Verbs that run when the stream has ended.
        stream: The `<Stream>` with all but its URLs.
    """

    path: str
    handler: CallHandler
    before: tuple[Verb, ...]
    after: tuple[Verb, ...]
    stream: Stream

    @property
    def stream_prefix(self) -> str:
        """What the path of its streams begins with."""
        return self.path.rstrip("/") + STREAM_SEGMENT


class Routes:
    """The table of an app's paths.

    Attributes:
        answers: The answer URLs, by path.
        bare: The handlers of bare streams, by path.
    """

    def __init__(self) -> None:
        self.answers: dict[str, AnswerRoute] = {}
        self.bare: dict[str, CallHandler] = {}
        self._taken = set(RESERVED)

    def add_answer(self, route: AnswerRoute) -> None:
        """Add an answer URL.

        Raises:
            UsageError: The path is taken or none, the handler is not asynchronous, or the document cannot be written.
        """
        check_handler(route.handler)
        to_xml((*route.before, route.stream, *route.after))
        self.take(route.path)
        self.answers[route.path] = route

    def add_bare(self, path: str, handler: CallHandler) -> None:
        """Add a bare stream.

        Raises:
            UsageError: As `add_answer` does.
        """
        check_handler(handler)
        self.take(path)
        self.bare[path] = handler

    def take(self, path: str) -> None:
        """Keep a path from being used twice.

        Raises:
            UsageError: It is taken, or none.
        """
        if not path.startswith("/") or "?" in path or "#" in path:
            raise UsageError(f"a path begins with / and has neither query nor fragment: {path!r} cannot be used")
        if path in self._taken:
            raise UsageError(f"the path {path} is taken")
        self._taken.add(path)

    def find_stream(self, path: str) -> tuple[AnswerRoute, str] | None:
        """The answer route that a stream's path belongs to, and the token in it."""
        head, segment, token = path.rpartition(STREAM_SEGMENT)
        if not segment or "/" in token:
            return None
        route = self.answers.get(head) or self.answers.get(head + "/")
        return (route, token) if route is not None else None

    def only_handler(self) -> CallHandler:
        """The one handler that was registered.

        Raises:
            UsageError: There are none, or several.
        """
        answers = [route.handler for path, route in self.answers.items() if not path.startswith(OWN_PREFIX)]
        found = answers + list(self.bare.values())
        if len(found) != 1:
            raise UsageError(f"serve(websocket) has to be told its handler: {len(found)} are registered")
        return found[0]


def check_handler(handler: Callable[..., object]) -> None:
    """Make sure that a handler can be awaited, as far as that can be told without calling it.

    Raises:
        UsageError: It is a plain function, or nothing that can be called.
    """
    if not callable(handler):
        raise UsageError(f"a handler is an `async def`, and {type(handler).__name__} cannot even be called")
    if inspect.isfunction(handler) and not inspect.iscoroutinefunction(handler):
        raise UsageError(f"the handler {handler.__qualname__} has to be an `async def`")


def header_attribute(headers: Mapping[str, str] | None) -> str | None:
    """`extraHeaders` as they are written: `k=v,k2=v2`, the values percent-encoded, which `Call.headers` undoes.

    Raises:
        UsageError: A name has other characters than letters, digits, `-` and `_` (plivo-protocol.md, 1.4).
    """
    if not headers:
        return None
    for name in headers:
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"the name of an extra header has letters, digits, - and _: {name!r} cannot be used")
    return ",".join(f"{name}={quote(value, safe='')}" for name, value in headers.items())
