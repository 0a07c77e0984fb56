"""The demo takes half a minute, in which it does little: it runs while the other tests do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.cli.processes import Command


@dataclass(frozen=True)
class Demos:
    """Two demos, started with the first test of this folder."""

    once: Command
    stays: Command


@pytest.fixture(scope="session", autouse=True)
def demos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos | None]:
    """The demos; None where their tests were not asked for."""
    if not any(item.path.stem == "test_demo" for item in request.session.items):
        yield None
        return
    with ExitStack() as stack:
        once = Command("demo", "--once", "--out", "out", cwd=tmp_path_factory.mktemp("once"))
        stays = Command("demo", "--log-level", "debug", cwd=tmp_path_factory.mktemp("stays"))
        yield Demos(stack.enter_context(once), stack.enter_context(stays))
