"""Logs: one chain for our own events and for the standard library's, from which secrets cannot get out.

Three rules keep secrets in. A field whose *name* says that it is a secret is never printed. A *value* that was
registered with `redact` is cut out of every string, wherever it stands: message, field, exception or URL. And what is
neither text nor a number is printed by its `repr`, cut in the same way.

Our own events are cut when they are made, so they are safe even in a program that never calls `configure` and sends
them to log files of its own; `configure` puts the standard library's records through the same cut.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TextIO, cast
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bothway.errors import UsageError

__all__ = ["LEVELS", "REDACTED", "Logger", "bound", "configure", "forget", "get_logger", "redact"]

LEVELS = ("debug", "info", "warning", "error")
"""The levels that `configure` knows, from the most talkative."""

REDACTED = "***"
"""What stands where a secret was."""

Logger = structlog.stdlib.BoundLogger
"""A logger as `get_logger` makes it: `log.info("what happened", field=value)`, `log.bind(field=value)`."""

_SECRET_NAME = re.compile(r"token|secret|passw(or)?d|authorization|signature|api_?key", re.IGNORECASE)
_MAX_DEPTH = 6

_secrets: dict[str, int] = {}
"""How often each was registered, the longest first: one that contains another must not leave its remainder behind."""


def redact(value: str) -> None:
    """Cut `value` out of everything logged from now on, as it is and percent-encoded.

    Args:
        value: The secret: an auth token, the token of one call.

    Raises:
        UsageError: It is empty; cutting that out would cut everywhere.
    """
    if not value:
        raise UsageError("an empty value cannot be redacted from the logs")
    for spelling in _spellings(value):
        _secrets[spelling] = _secrets.get(spelling, 0) + 1
    ordered = sorted(_secrets.items(), key=lambda item: len(item[0]), reverse=True)
    _secrets.clear()
    _secrets.update(ordered)


def forget(value: str) -> None:
    """Stop looking for `value`, when all who registered it have forgotten it. An unknown value is ignored."""
    for spelling in _spellings(value):
        if _secrets.get(spelling, 0) > 1:
            _secrets[spelling] -= 1
        else:
            _secrets.pop(spelling, None)


def bound(*, call: str | None = None, stream: str | None = None) -> AbstractContextManager[None]:
    """Put the ids of a call and of a stream on every line that this task logs inside the `with` block.

    The standard library's lines get them too, and tasks that are started inside the block inherit them.
    """
    ids = {"call": call, "stream": stream}
    return cast(
        "AbstractContextManager[None]",
        structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value is not None}),
    )


def get_logger(name: str) -> Logger:
    """A logger called `name` (pass `__name__`); it writes to the standard library's logger of that name."""
    return cast(
        "Logger",
        structlog.wrap_logger(
            logging.getLogger(name),
            processors=_EVENT_CHAIN,
            wrapper_class=structlog.stdlib.BoundLogger,
            context_class=dict,
            cache_logger_on_first_use=False,
        ),
    )


def configure(level: str, json: bool, stream: TextIO) -> None:
    """Send every log line of this process to `stream`, and nowhere else.

    Calling it again replaces what the last call set.

    Args:
        level: The least level that is written: one of `LEVELS`.
        json: One JSON object a line; otherwise text for people, coloured on a terminal.
        stream: Where lines go; standard error, as a rule.

    Raises:
        UsageError: No such level.
    """
    if level not in LEVELS:
        raise UsageError(f"there is no log level {level!r}; the levels are {', '.join(LEVELS)}")
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    )
    lines = _LineWriter(stream)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_CHAIN],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _cut_secrets, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level.upper())
    structlog.configure(
        processors=list(_EVENT_CHAIN),
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _LineWriter(logging.StreamHandler[TextIO]):
    """Writes lines. A line that cannot be formatted is named, without the arguments that logging would print raw."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Say which logger's line was lost."""
        try:
            self.stream.write(f"a log line of {record.name} could not be written\n")
        except (OSError, ValueError):
            # The stream itself is gone (a closed pipe): there is no place left to say so.
            self.close()


def _spellings(value: str) -> set[str]:
    return {value, quote(value, safe="")}


def _cut_text(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


def _cut(value: object, depth: int = 0) -> object:
    """`value` without secrets, made of text, numbers, lists and dicts alone."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if _cut_text(str(value)) == str(value) else REDACTED
    if isinstance(value, str):
        return _cut_text(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {_cut_text(str(key)): _cut_field(str(key), item, depth + 1) for key, item in value.items()}
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            # A header, or a query parameter, as most libraries hand them over.
            return [_cut_text(value[0]), _cut_field(value[0], value[1], depth + 1)]
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_cut(item, depth + 1) for item in value]
    return _cut_text(repr(value))


def _cut_field(name: str, value: object, depth: int) -> object:
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    return _cut(value, depth)


def _cut_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        # What structlog keeps for itself between two steps is no field.
        name if name.startswith("_") else _cut_text(name): value if name.startswith("_") else _cut_field(name, value, 0)
        for name, value in event.items()
    }


_CHAIN: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
    _cut_secrets,
)
_EVENT_CHAIN: tuple[Processor, ...] = (
    structlog.stdlib.filter_by_level,
    *_CHAIN,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
)
