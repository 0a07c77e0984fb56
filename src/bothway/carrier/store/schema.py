"""Bringing a database to the tables that this version uses: made when new, migrated when old, refused when newer."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from bothway.carrier.store.faults import is_passing, reason
from bothway.carrier.store.opening import Place, connect
from bothway.carrier.store.tables import METADATA
from bothway.errors import UsageError

__all__ = ["LOCK_S", "MIGRATION_S", "REVISIONS", "VERSION_TABLE", "migrate", "prepare"]

REVISIONS = ("0001", "0002")
"""The revisions in `migrations/versions`, oldest first; the last is what `tables` says."""

VERSION_TABLE = "bothway_version"
"""Where a database's revision stands: a name that no other program's migrations use."""

LOCK_S = 60.0
"""How long an opening waits for another process that makes or migrates the same database, in seconds."""

MIGRATION_S = 3600.0
"""How long a server may work on one step of a migration, in seconds."""

_LOCK_KEY = 0xB07_5A7
"""PostgreSQL's advisory lock for it: any number that is always the same."""

_PAUSE_S = 0.05

_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)

logger = logging.getLogger(__name__)


def prepare(engine: Engine, place: Place) -> None:
    """See that a database has today's tables.

    Of several processes that open one database at once, one makes or migrates it, and the others wait.

    Raises:
        UsageError: It cannot be read or changed; it is of a newer version, or another program's.
    """
    try:
        with engine.connect() as connection:
            if _revision(connection, place) == REVISIONS[-1]:
                return
        # A migration may take longer than anything else is allowed to.
        patient = connect(place, 1, patience_s=MIGRATION_S) if place.url is not None else engine
        try:
            with _locked(patient, place) as connection:
                _change(connection, place)
        finally:
            if patient is not engine:
                patient.dispose()
    except (SQLAlchemyError, OSError) as error:
        raise UsageError(f"{place.name} cannot be opened: {reason(error)}") from None


def migrate(connection: Connection, target: str = "head") -> None:
    """Migrate up to a revision, within the connection's transaction."""
    # Loaded where a migration really has to run, and nowhere else: it is large.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def _revision(connection: Connection, place: Place) -> str | None:
    """The revision of a database; None where it has no tables of ours."""
    found = set(inspect(connection).get_table_names())
    if VERSION_TABLE in found:
        revision: str | None = connection.execute(select(_version.c.version_num)).scalar()
        return revision or "of no version"
    if strange := found & METADATA.tables.keys():
        raise UsageError(f"{place.name} has a table {min(strange)!r} of another program: records need one of their own")
    return None


def _change(connection: Connection, place: Place) -> None:
    """Make the tables, or migrate them; the connection has the lock."""
    found, newest = _revision(connection, place), REVISIONS[-1]
    if found == newest:
        return
    if found is None:
        METADATA.create_all(connection, checkfirst=False)
        _version.create(connection, checkfirst=False)
        connection.execute(insert(_version).values(version_num=newest))
        return
    if found not in REVISIONS:
        raise UsageError(
            f"{place.name} is of revision {found}, and this version of bothway knows it up to {newest}: use a newer one"
        )
    copy = _back_up(place.file, found) if place.file is not None else None
    logger.warning(
        "%s is migrated from revision %s to %s%s", place.name, found, newest, f"; a copy is {copy}" if copy else ""
    )
    migrate(connection)


@contextmanager
def _locked(engine: Engine, place: Place) -> Iterator[Connection]:
    """A transaction that one process at a time is in."""
    until = time.monotonic() + LOCK_S
    with engine.connect().execution_options(bothway_writes=True) as connection:
        while True:
            try:
                transaction = connection.begin()
            except OperationalError as error:
                if not is_passing(error) or time.monotonic() >= until:
                    raise
            else:
                if (
                    place.url is None
                    or connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_LOCK_KEY})")).scalar()
                ):
                    break
                transaction.rollback()
                if time.monotonic() >= until:
                    raise UsageError(f"{place.name} is being migrated by another process, for more than {LOCK_S:g} s")
            time.sleep(_PAUSE_S)
        with transaction:
            yield connection


def _back_up(file: Path, revision: str) -> Path:
    """Copy an SQLite file as it was last committed."""
    copy = file.with_name(f"{file.stem}-{revision}-{time.strftime('%Y%m%dT%H%M%S')}.bak")
    unfinished = copy.with_suffix(".part")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError(f"the database {file} is old, and cannot be copied before it is migrated: {error}") from None
    return copy
