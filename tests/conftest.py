"""Settings shared by every test."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.carrier import world
from tests.postgres import Postgres, postgres_server

settings.register_profile("slice", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("soak" if os.environ.get("BOTHWAY_SOAK") else "slice")


@pytest.fixture(params=["virtual", pytest.param("real", marks=pytest.mark.real_sockets)])
def both_times() -> None:
    """A test that is marked `virtual_time` runs a second time, unchanged: in real time, over real sockets."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def cut_sockets() -> Iterator[None]:
    """For tests that cut a database's connections: pg8000 does not close the socket of one that it could not set up.

    It goes when it is collected, with a warning, which must not be another test's: nor that of one that collects.
    """
    _collect_quietly()
    yield
    _collect_quietly()


def _collect_quietly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def records_in_postgres(postgres: Postgres) -> Iterator[None]:
    """The carriers of this test's worlds keep their records in PostgreSQL, a database for each data folder."""
    with world.records_in(postgres.new_database):
        yield


if os.environ.get("BOTHWAY_TEST_DB") == "postgres":

    @pytest.fixture(autouse=True)
    def _everywhere(records_in_postgres: None) -> None:
        """Every test's do."""
