"""What a database's error means: whether it passes, and how it is said in a sentence without secrets."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from bothway.carrier.store.records import StoreError
from bothway.errors import UsageError

__all__ = ["explained", "is_passing", "reason"]

_SQLITE_BUSY = {5, 6}
"""SQLITE_BUSY and SQLITE_LOCKED, the primary result codes (sqlite.org/rescode.html)."""

_POSTGRES_PASSING = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
    "55P03",  # lock not available
    "57P01",  # the server is being stopped
    "57P02",  # it crashed
    "57P03",  # it is starting
}
"""PostgreSQL's error codes that a later try may not see (postgresql.org/docs, appendix A)."""

_NETWORK = ("network error", "communication error", "Can't create a connection", "connection is closed")
"""How pg8000's errors begin that come from the network: they have no code."""


def is_passing(error: BaseException) -> bool:
    """Whether it may be otherwise in a moment: the database is locked, its server is away, a connection was lost."""
    if isinstance(error, OSError):
        return True  # pg8000 lets some of its socket's errors through as they are
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_BUSY
    return (
        error.connection_invalidated
        or _fields(error.orig).get("C") in _POSTGRES_PASSING
        or str(error.orig).startswith(_NETWORK)
    )


def reason(error: BaseException) -> str:
    """The database's own words for what went wrong, without the statement and what was in it."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return _fields(cause).get("M") or str(cause).partition("\n")[0] or type(cause).__name__


def explained(error: Exception, name: str, done: str) -> Exception:
    """The error as whoever asked gets it.

    Args:
        error: What came out of a transaction.
        name: Of the database.
        done: What could not be: `written`, `read`.

    Returns:
        A `StoreError`; or the error itself where it is not the database's.
    """
    if isinstance(error, StatementError) and isinstance(error.orig, UsageError):
        return error.orig
    if isinstance(error, SQLAlchemyError | OSError):
        return StoreError(f"{name} cannot be {done}: {reason(error)}")
    return error


def _fields(error: BaseException) -> dict[str, str]:
    """What PostgreSQL says of an error: `M` is the message, `C` the code; nothing of another database's."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, dict) else {}
