"""Finding a database by what a user wrote, and making connections to it."""

from __future__ import annotations

import os
import sqlite3
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from bothway.errors import UsageError
from bothway.runtime.logs import redact

__all__ = ["FILE_NAME", "Place", "connect", "find"]

FILE_NAME = "records.db"
"""The SQLite file in a data folder."""

_BUSY_MS = 1_000
"""How long SQLite itself waits for another process: it holds the interpreter of no other thread meanwhile."""

_SERVER_S = 10
"""How long a server may be silent, in seconds."""

_PAUSE_S = 0.02

_STATEMENT_MS = 8_000
"""How long PostgreSQL works on one statement before it gives up, in milliseconds: less than we wait for it."""


@dataclass(frozen=True)
class Place:
    """Where a database is.

    Attributes:
        name: What messages call it: without user, password and options.
        file: The SQLite file; None of a server, and of a database in memory.
        url: Of a server.
        options: For its driver.
    """

    name: str
    file: Path | None = None
    url: URL | None = None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether several connections can use it."""
        return self.file is not None or self.url is not None


def find(where: str | Path | None) -> Place:
    """What a user means by a folder, a `postgresql://` URL, or nothing, which is memory.

    Raises:
        UsageError: It is a URL that cannot be used; the message does not show it.
    """
    if where is None:
        return Place("the database in memory")
    if isinstance(where, str) and "://" in where:
        return _server(where)
    file = Path(where) / FILE_NAME
    return Place(f"the database {file}", file=file)


def connect(place: Place, connections: int, *, patience_s: float = _SERVER_S) -> Engine:
    """An engine for a place. A transaction with the execution option `bothway_writes` locks SQLite when it begins.

    What is written is in no error and no log of it: URLs have passwords, headers have tokens.

    Args:
        place: Where.
        connections: How many there are at most.
        patience_s: How long a server may be silent.

    Raises:
        UsageError: The folder cannot be made, or the driver is not installed.
    """
    if place.url is not None:
        return _connect_server(place, connections, patience_s)
    engine = _connect_file(place.file, connections) if place.file is not None else _connect_memory()
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _server(text: str) -> Place:
    scheme = text.partition("://")[0]
    if scheme not in {"postgresql", "postgres"}:
        raise UsageError(f"records are kept in a folder, or at a postgresql:// URL, and not at a {scheme}:// one")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageError("the database's URL is none: postgresql://user:password@host:port/database is meant") from None
    if not url.database:
        raise UsageError("the database's URL names no database: postgresql://user:password@host:port/database is meant")
    if url.password is not None:
        redact(url.password)
    place = f"{url.host or 'localhost'}{f':{url.port}' if url.port else ''}"
    return Place(
        f"the database postgresql://{place}/{url.database}",
        url=url.set(drivername="postgresql+pg8000", query={}),
        options=tuple(_options(url).items()),
    )


def _options(url: URL) -> dict[str, Any]:
    """The driver's options for those of the URL, which are named as PostgreSQL's own programs name them."""
    options: dict[str, Any] = {}
    for name, value in url.query.items():
        if name == "host" and isinstance(value, str) and value.startswith("/"):
            options["unix_sock"] = f"{value}/.s.PGSQL.{url.port or 5432}"
        elif name == "application_name":
            options[name] = value
        elif name == "sslmode" and value in {"require", "verify-ca", "verify-full", "disable", "prefer"}:
            if value != "prefer":
                options["ssl_context"] = _tls(str(value))
        else:
            raise UsageError(
                f"the database's URL has an option {name!r} that is not known, or its value is not: there are sslmode, "
                "application_name, and host for the folder of a socket"
            )
    return options


def _tls(mode: str) -> ssl.SSLContext | bool:
    if mode == "disable":
        return False
    secure = ssl.create_default_context()
    if mode != "verify-full":
        secure.check_hostname = False
    if mode == "require":
        secure.verify_mode = ssl.CERT_NONE
    return secure


def _connect_server(place: Place, connections: int, patience_s: float) -> Engine:
    assert place.url is not None
    try:
        engine = create_engine(
            place.url,
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            connect_args={"timeout": patience_s, "application_name": "bothway", **dict(place.options)},
        )
    except ImportError:
        raise UsageError("records in PostgreSQL need the extra `postgres`: pip install 'bothway[postgres]'") from None

    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = {min(_STATEMENT_MS, round(patience_s * 800))}")
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", prepare)
    return engine


def _connect_file(file: Path, connections: int) -> Engine:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Who called whom is nobody else's business; SQLite gives the files beside it the same mode.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        engine = create_engine(
            URL.create("sqlite", database=str(file)),
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
        )
        _set_wal(file)
    except OSError as error:
        raise UsageError(f"the database {file} cannot be opened: {error.strerror or error}") from None
    except sqlite3.Error as error:
        raise UsageError(f"the database {file} cannot be opened: {error}") from None
    return engine


def _set_wal(file: Path) -> None:
    """Have readers and the writer not wait for each other; the file remembers it."""
    connection = sqlite3.connect(file, timeout=_BUSY_MS / 1000)
    try:
        until = time.monotonic() + _SERVER_S
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # Another process that opens the file has it refuse this at once, however long one would wait.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return
    finally:
        connection.close()


def _connect_memory() -> Engine:
    return create_engine(
        "sqlite://", hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Otherwise Python's driver begins transactions by itself, and not before the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    # In WAL mode NORMAL is safe against a killed process; against a power cut all but the last moments are.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get("bothway_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
