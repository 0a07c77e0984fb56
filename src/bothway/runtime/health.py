"""Health: what a balancer and an orchestrator ask of a process."""

from __future__ import annotations

import json
from collections.abc import Callable

from bothway.errors import BothwayError, UsageError

__all__ = ["CONTENT_TYPE", "Check", "Health"]

CONTENT_TYPE = "application/json"
"""The media type of both bodies."""

Check = Callable[[], str | None]
"""Asks one thing, without waiting: None when it is well, otherwise a sentence that says what is not."""


class Health:
    """Two questions that must not be mixed up.

    *Liveness*: is the process worth keeping? It is while it answers at all; a call in progress is never a reason to
    kill it, so draining and failing checks leave it alive. *Readiness*: should new calls come here? Only once it has
    begun to accept them, while it is not draining, and while every check is well.

    Attributes:
        ready: Whether the process accepts calls; the shell sets it when its listeners stand.
        draining: Whether it is on its way out: calls go on, new ones go elsewhere.
    """

    def __init__(self) -> None:
        self.ready = False
        self.draining = False
        self._checks: dict[str, Check] = {}

    def add_check(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`. A `BothwayError` or an `OSError` that it raises counts as unwell.

        Raises:
            UsageError: The name is taken.
        """
        if name in self._checks:
            raise UsageError(f"there is a health check {name!r} already")
        self._checks[name] = check

    def liveness(self) -> tuple[int, bytes]:
        """The HTTP status, always 200, and the JSON body."""
        return 200, _body({"status": "alive"})

    def readiness(self) -> tuple[int, bytes]:
        """The HTTP status, 200 or 503, and the JSON body.

        The body's `status` is `ready`, `starting`, `draining` or `unwell`; `checks` holds `ok` or a sentence by name.
        """
        checks = {name: _answer(check) or "ok" for name, check in self._checks.items()}
        if self.draining:
            status = "draining"
        elif not self.ready:
            status = "starting"
        elif any(answer != "ok" for answer in checks.values()):
            status = "unwell"
        else:
            status = "ready"
        return 200 if status == "ready" else 503, _body({"status": status, "checks": checks})


def _answer(check: Check) -> str | None:
    try:
        return check()
    except (BothwayError, OSError) as error:
        return str(error) or type(error).__name__


def _body(content: dict[str, object]) -> bytes:
    return json.dumps(content).encode()
