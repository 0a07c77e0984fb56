"""Health: liveness and readiness."""

from __future__ import annotations

import json

import pytest

from bothway.errors import PeerError, UsageError
from bothway.runtime.health import Health


def readiness(health: Health) -> tuple[int, object]:
    status, body = health.readiness()
    return status, json.loads(body)


def test_a_process_is_ready_between_its_start_and_its_drain() -> None:
    health = Health()
    assert readiness(health) == (503, {"status": "starting", "checks": {}})
    health.ready = True
    assert readiness(health) == (200, {"status": "ready", "checks": {}})
    health.draining = True
    assert readiness(health) == (503, {"status": "draining", "checks": {}})


def test_a_check_that_is_unwell_takes_readiness_away_and_only_that() -> None:
    health = Health()
    health.ready = True
    answers: dict[str, str | None] = {"disk": None}
    health.add_check("disk", lambda: answers["disk"])
    health.add_check("loop", lambda: None)
    assert readiness(health) == (200, {"status": "ready", "checks": {"disk": "ok", "loop": "ok"}})
    answers["disk"] = "the disk is full"
    assert readiness(health) == (503, {"status": "unwell", "checks": {"disk": "the disk is full", "loop": "ok"}})
    assert health.liveness() == (200, b'{"status": "alive"}')


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PeerError("the database is away"), "the database is away"),
        (ConnectionRefusedError(111, "refused"), "[Errno 111] refused"),
        (OSError(), "OSError"),
    ],
)
def test_a_check_may_fail_by_an_error(error: Exception, sentence: str) -> None:
    health = Health()
    health.ready = True

    def check() -> str | None:
        raise error

    health.add_check("database", check)
    assert readiness(health) == (503, {"status": "unwell", "checks": {"database": sentence}})


def test_a_name_is_taken_once() -> None:
    health = Health()
    health.add_check("disk", lambda: None)
    with pytest.raises(UsageError, match="'disk' already"):
        health.add_check("disk", lambda: None)
