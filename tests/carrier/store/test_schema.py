from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from tests.carrier.store.examples import MAIN, NOW, opened

from bothway.carrier.store import schema
from bothway.carrier.store.opening import connect, find
from bothway.carrier.store.schema import REVISIONS, VERSION_TABLE, migrate, prepare
from bothway.carrier.store.tables import METADATA
from bothway.errors import UsageError

FOLDER = Path(schema.__file__).parent / "migrations"


def _engine(where: str | Path) -> Engine:
    return connect(find(where), 2)


def _migrate(where: str | Path, target: str) -> None:
    engine = _engine(where)
    with engine.connect().execution_options(bothway_writes=True) as connection, connection.begin():
        migrate(connection, target)
    engine.dispose()


def _prepare(where: str | Path) -> dict[str, Any]:
    """Open the database as a store does, and say what it then looks like."""
    engine = _engine(where)
    try:
        prepare(engine, find(where))
        with engine.connect() as connection:
            return _shape(connection)
    finally:
        engine.dispose()


def _shape(connection: Connection) -> dict[str, Any]:
    found = inspect(connection)
    shape: dict[str, Any] = {
        name: [
            _plain(found.get_columns(name)),
            _plain(found.get_pk_constraint(name)),
            sorted(map(_plain, found.get_indexes(name))),
            sorted(map(_plain, found.get_unique_constraints(name))),
        ]
        for name in sorted(found.get_table_names())
    }
    shape["revision"] = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
    if connection.dialect.name == "sqlite":
        shape["sql"] = sorted(connection.execute(text("SELECT sql FROM sqlite_master WHERE sql <> ''")).scalars())
    return shape


def _plain(value: Any) -> str:
    """Without the addresses of expressions."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(value[name])}" for name in sorted(value))
    return " | ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _another(where: str | Path, postgres: Any) -> str | Path:
    if isinstance(where, Path):
        (where / "other").mkdir()
        return where / "other"
    return str(postgres.new_database())


@pytest.mark.parametrize("revision", ["nothing", *REVISIONS])
def test_every_way_up_leads_to_the_same_tables(
    shared: str | Path, revision: str, request: pytest.FixtureRequest
) -> None:
    made = _prepare(shared)
    other = _another(shared, request.getfixturevalue("postgres") if isinstance(shared, str) else None)
    if revision == "nothing":
        _migrate(other, "head")
    else:
        _migrate(other, revision)
    assert _prepare(other) == made
    assert made["revision"] == [REVISIONS[-1]]


def test_the_tables_are_those_of_the_code(shared: str | Path) -> None:
    _migrate(shared, "head")
    engine = _engine(shared)
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or name != VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    engine.dispose()


def test_the_revisions_are_those_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_a_migration_can_be_undone(shared: str | Path) -> None:
    engine = _engine(shared)
    _migrate(shared, "head")
    from alembic import command

    with engine.connect().execution_options(bothway_writes=True) as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = {name for name in inspect(connection).get_table_names() if not name.startswith("sqlite_")}
        assert left == {VERSION_TABLE}
    engine.dispose()


async def test_an_old_database_is_migrated_when_it_is_opened(
    shared: str | Path, caplog: pytest.LogCaptureFixture
) -> None:
    _migrate(shared, "0001")
    engine = _engine(shared)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO accounts VALUES ('SA1', 0, 0, :parent, 'kept', true, 3, '', '', '', 'UTC')"),
            {"parent": MAIN},
        )
    engine.dispose()
    async with opened(shared) as store:
        kept = await store.accounts.get("SA1")
        assert kept is not None
        assert (kept.name, kept.generation) == ("kept", 3)
        assert await store.sweep(NOW) == 0  # idempotency keys came with 0002
    (told,) = [record for record in caplog.records if record.name == schema.__name__]
    assert told.levelno == logging.WARNING
    assert "from revision 0001 to 0002" in told.getMessage()
    if isinstance(shared, Path):
        (copy,) = shared.glob("*.bak")  # noqa: ASYNC240 - one file
        assert str(copy) in told.getMessage()
        before = sqlite3.connect(copy)
        assert before.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [("0001",)]
        assert before.execute("SELECT name FROM accounts").fetchall() == [("kept",)]
        before.close()


async def test_a_newer_database_is_refused(shared: str | Path) -> None:
    _prepare(shared)
    engine = _engine(shared)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0099'"))
    with pytest.raises(UsageError, match="is of revision 0099, and this version of bothway knows it up to 0002"):
        async with opened(shared):
            pass
    engine.dispose()


async def test_another_programs_database_is_refused(shared: str | Path) -> None:
    engine = _engine(shared)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE calls (name TEXT)"))
    with pytest.raises(UsageError, match="a table 'calls' of another program"):
        async with opened(shared):
            pass
    engine.dispose()


@pytest.mark.parametrize("revision", ["nothing", "0001"])
def test_of_processes_that_open_it_at_once_one_makes_it(shared: str | Path, revision: str) -> None:
    if revision != "nothing":
        _migrate(shared, revision)
    program = "import asyncio, sys\nfrom bothway.carrier.store.store import Store\n"
    program += "async def main():\n    store = await Store.open(sys.argv[1])\n    await store.close()\n"
    program += "asyncio.run(main())"
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(shared)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    if isinstance(shared, Path):
        assert len([*shared.glob("*.bak")]) == (revision != "nothing")
    assert _prepare(shared)["revision"] == [REVISIONS[-1]]


async def test_a_migration_that_fails_changes_nothing(shared: str | Path) -> None:
    _migrate(shared, "0001")
    engine = _engine(shared)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE idempotency (name TEXT)"))
    with pytest.raises(UsageError, match=r"cannot be opened: .*idempotency"):
        async with opened(shared):
            pass
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "0001"
    engine.dispose()


async def test_alembic_is_loaded_for_a_migration_alone(tmp_path: Path) -> None:
    program = "import asyncio, sys\nfrom bothway.carrier.store.store import Store\n"
    program += "async def main():\n    store = await Store.open(sys.argv[1])\n    await store.close()\n"
    program += "asyncio.run(main())\nassert 'alembic' not in sys.modules"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 0


def test_the_migrations_are_in_the_package() -> None:
    """hatch takes all that lies in `src/bothway`; each revision has a file."""
    assert (FOLDER / "env.py").is_file()
    assert len([*(FOLDER / "versions").glob("r0*.py")]) == len(REVISIONS)
