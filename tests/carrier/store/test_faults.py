from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError, StatementError

from bothway.carrier.store.faults import explained, is_passing, reason
from bothway.carrier.store.records import StoreError
from bothway.errors import UsageError


def _sqlite(code: int, text: str) -> OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return OperationalError("INSERT INTO calls VALUES (?)", ("+1415",), error)


def _postgres(code: str, text: str) -> DatabaseError:
    return DatabaseError("INSERT", (), Exception({"S": "ERROR", "C": code, "M": text, "F": "x.c"}))


def test_what_passes() -> None:
    assert is_passing(_sqlite(5, "database is locked"))
    assert is_passing(_sqlite(5 | 2 << 8, "database is locked"))
    assert is_passing(_sqlite(6, "database table is locked"))
    assert is_passing(_postgres("40P01", "deadlock detected"))
    assert is_passing(_postgres("57P03", "the database system is starting up"))
    assert is_passing(InterfaceError("SELECT", (), Exception("network error")))
    assert is_passing(DatabaseError("SELECT", (), Exception("?"), connection_invalidated=True))


def test_what_does_not() -> None:
    assert not is_passing(_sqlite(13, "database or disk is full"))
    assert not is_passing(_postgres("23502", "null value in column"))
    assert not is_passing(_postgres("53100", "could not extend file: No space left on device"))
    assert not is_passing(StatementError("?", "INSERT", (), UsageError("naive")))
    assert not is_passing(ValueError("network error"))


def test_a_sockets_own_error_passes() -> None:
    assert is_passing(ConnectionResetError(104, "Connection reset by peer"))
    assert isinstance(explained(BrokenPipeError(32, "Broken pipe"), "x", "read"), StoreError)


def test_the_reason_has_nothing_of_what_was_written() -> None:
    assert reason(_sqlite(13, "database or disk is full")) == "database or disk is full"
    assert reason(_postgres("53100", "No space left on device")) == "No space left on device"
    assert reason(ValueError()) == "ValueError"


def test_whose_fault_it_is() -> None:
    full = explained(_sqlite(13, "database or disk is full"), "the database x", "written")
    assert isinstance(full, StoreError)
    assert str(full) == "the database x cannot be written: database or disk is full"
    fault, bug = UsageError("naive"), ValueError("a bug")
    assert explained(StatementError("?", "INSERT", (), fault), "x", "read") is fault
    assert explained(bug, "x", "read") is bug
