"""Lists: the conditions that their parameters make, their windows of time, and their pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import Boolean, ColumnElement, Connection, Table, and_, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType

from bothway.carrier.store.records import Comparison, Operator, Page
from bothway.carrier.store.tables import record

__all__ = ["begins", "beside", "bounds", "kept_for", "page", "window"]

_WEEK = timedelta(days=7)
_MONTH = timedelta(days=30)
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_LAST = "\U0010ffff"
_MOST = 2**63 - 1
_LOWER: tuple[Operator, ...] = ("gt", "gte")
_UPPER: tuple[Operator, ...] = ("lt", "lte")
_MIRRORED: dict[Operator, Operator] = {"gte": "lte", "lt": "gt"}

_SELECTIVE = 7
"""Digits that few calls of an account begin with."""

_S = TypeVar("_S", bound=msgspec.Struct)


class _Rare(FunctionElement[bool]):
    """A condition of which SQLite, which keeps no statistics by itself, is told that few rows meet it."""

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: OperatorType | None = None) -> Self:
        """Itself: as a function of truth it would be compared with 1, and SQLite would see a condition no longer."""
        return self


class _Unindexed(FunctionElement[Any]):
    """A column whose index SQLite is not to use."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.type = column.type
        super().__init__(column)


@compiles(_Rare)
@compiles(_Unindexed)
def _as_it_is(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(_Rare, "sqlite")
def _rare(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"unlikely({compiler.process(element.clauses, **options)})"


@compiles(_Unindexed, "sqlite")
def _unindexed(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


def page(
    connection: Connection,
    table: Table,
    kind: type[_S],
    conditions: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
    limit: int,
    offset: int,
) -> Page[_S]:
    """A part of the list of those rows that meet all conditions, and how many there are.

    Args:
        connection: Within a transaction.
        table: Of the rows.
        kind: What each of them is.
        conditions: All of them hold.
        order: Total, so that no record is on two pages.
        limit: Records at most.
        offset: Records before them.
    """
    total = connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
    if offset >= total or limit <= 0:
        return Page((), total)
    chosen = select(table).where(*conditions).order_by(*order).limit(min(limit, _MOST)).offset(max(offset, 0))
    return Page(tuple(record(kind, row) for row in connection.execute(chosen).mappings()), total)


def bounds(column: ColumnElement[Any], comparisons: Sequence[Comparison[Any]]) -> list[ColumnElement[bool]]:
    """The conditions that a column meets all of these comparisons."""
    return [_compared(column, comparison.operator, _clamped(comparison.value)) for comparison in comparisons]


def begins(column: ColumnElement[Any], prefix: str | None) -> list[ColumnElement[bool]]:
    """The condition that a number begins with `prefix`, where either may have a `+` before it. An index serves it."""
    if not prefix:
        return []
    bare = prefix.removeprefix("+")
    found = or_(*(and_(column >= start, column < start + _LAST) for start in (bare, "+" + bare)))
    return [_Rare(found) if _is_selective(prefix) else found]


def beside(column: ColumnElement[Any], *prefixes: str | None) -> ColumnElement[Any]:
    """The column of times, for `bounds` and the order, in a list of what `begins` with these.

    The index of a nearly whole number finds a few calls; that of the times would go through all of the week's.
    """
    return _Unindexed(column) if any(map(_is_selective, prefixes)) else column


def window(comparisons: Sequence[Comparison[datetime]], now: datetime) -> tuple[Comparison[datetime], ...]:
    """The comparisons, and what bounds the list besides (plivo-protocol.md, 5.4).

    Without any, the last seven days; with bounds to one side, thirty days from the strictest of them.
    """
    lower = [comparison.value for comparison in comparisons if comparison.operator in _LOWER]
    upper = [comparison.value for comparison in comparisons if comparison.operator in _UPPER]
    if not comparisons:
        return (Comparison("gte", _moved(now, -_WEEK)),)
    if any(comparison.operator == "eq" for comparison in comparisons) or (lower and upper):
        return tuple(comparisons)
    if lower:
        return (*comparisons, Comparison("lte", _moved(max(lower), _MONTH)))
    return (*comparisons, Comparison("gte", _moved(min(upper), -_MONTH)))


def kept_for(comparisons: Sequence[Comparison[int]], now: datetime) -> tuple[Comparison[datetime], ...]:
    """When something was added, from how many whole days it has been kept (plivo-protocol.md, 5.7)."""
    found: list[Comparison[datetime]] = []
    for comparison in comparisons:
        days = comparison.value
        # Whole days: more than two are at least three.
        wanted: dict[Operator, tuple[tuple[Operator, int], ...]] = {
            "gte": (("gte", days),),
            "gt": (("gte", days + 1),),
            "lt": (("lt", days),),
            "lte": (("lt", days + 1),),
            "eq": (("gte", days), ("lt", days + 1)),
        }
        for operator, least in wanted[comparison.operator]:
            found.append(Comparison(_MIRRORED[operator], _moved(now, -_days(least))))
    return tuple(found)


def _is_selective(prefix: str | None) -> bool:
    return prefix is not None and len(prefix) >= _SELECTIVE


def _compared(column: ColumnElement[Any], operator: Operator, value: object) -> ColumnElement[bool]:
    comparisons: dict[Operator, ColumnElement[bool]] = {
        "eq": column == value,
        "gt": column > value,
        "gte": column >= value,
        "lt": column < value,
        "lte": column <= value,
    }
    return comparisons[operator]


def _clamped(value: object) -> object:
    """A number that a database takes: no column has one beyond its 64 bits."""
    return max(-_MOST, min(_MOST, value)) if isinstance(value, int) else value


def _days(count: int) -> timedelta:
    return timedelta(days=max(-9_999_999, min(9_999_999, count)))


def _moved(moment: datetime, by: timedelta) -> datetime:
    """A moment that may lie beyond the calendar: its last or first day."""
    try:
        return moment + by
    except OverflowError:
        return _END if by > timedelta(0) else _BEGINNING
