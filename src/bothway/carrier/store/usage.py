"""What was used in a stretch of time, added up by the database: a million calls take no more memory than one.

Whoever compares prices asks with the rounding of each price list: the database rounds each call by itself, and adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select

from bothway.carrier.store.database import Database
from bothway.carrier.store.tables import calls, numbers, recordings, streams

__all__ = ["Metered", "Rented", "Rounding", "Usage", "UsageRecords"]


class Rounding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a price list rounds seconds up: to `first`, and beyond that by whole `step`s; 60 and 60 are started minutes.

    Attributes:
        first: The least that is billed, in seconds.
        step: In what steps it goes on, in seconds.
    """

    first: int = 60
    step: int = 60

    def billed(self, seconds: int) -> int:
        """What is billed of some seconds; nothing of none."""
        if seconds <= 0:
            return 0
        return self.first + max(0, -(-(seconds - self.first) // self.step)) * self.step


class Metered(msgspec.Struct, frozen=True):
    """Calls, streams or recordings, added up.

    Attributes:
        count: How many there were.
        billable: How many of them lasted.
        seconds: How long they were together.
        billed: The seconds that each rounding makes of them, in the order in which the roundings were asked for.
        amount: What they cost here, by the rates that held when they ended.
    """

    count: int
    billable: int
    seconds: int
    billed: tuple[int, ...]
    amount: Decimal


class Rented(msgspec.Struct, frozen=True):
    """Phone numbers.

    Attributes:
        count: Those that the account has at the end.
        months: Calendar months of having one, begun ones included, added up over the numbers.
        amount: What they cost here.
    """

    count: int
    months: int
    amount: Decimal


class Usage(msgspec.Struct, frozen=True):
    """What was used.

    Attributes:
        voice_in: Calls that came in.
        voice_out: Calls that were placed, second legs included.
        streams: Audio streams.
        recordings: Recordings that were made.
        numbers: Phone numbers.
        by_country: Seconds of answered calls by the country of the other party, two letters, or nothing.
    """

    voice_in: Metered
    voice_out: Metered
    streams: Metered
    recordings: Metered
    numbers: Rented
    by_country: dict[str, int]


class UsageRecords:
    """The records as sums.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def between(
        self,
        since: datetime,
        until: datetime,
        *,
        account: str | None = None,
        roundings: Sequence[Rounding] = (Rounding(),),
    ) -> Usage:
        """What was used from `since` on and before `until`: calls and streams that ended then, recordings added then.

        Args:
            since: The first moment.
            until: The first moment after it.
            account: The auth id of a main account, its sub-accounts included, or of a sub-account; None for all.
            roundings: By which the seconds of each call, stream and recording are rounded.

        Raises:
            StoreError: The database cannot be read.
        """

        def job(connection: Connection) -> Usage:
            return _usage(connection, since, until, account, roundings)

        return await self._database.read(job)


def _usage(
    connection: Connection, since: datetime, until: datetime, account: str | None, roundings: Sequence[Rounding]
) -> Usage:
    directions: dict[str, Metered] = {}
    by_country: dict[str, int] = {}
    of_calls = _sums(calls.c.call_uuid, calls.c.bill_duration, calls.c.amount, roundings, by=_CALL_KINDS)
    for direction, country, *sums in connection.execute(
        of_calls.where(*_within(calls.c.end_time, since, until), *_of(calls, account)).group_by(*_CALL_KINDS)
    ):
        metered = _metered(sums)
        directions[direction] = _added(directions[direction], metered) if direction in directions else metered
        if metered.seconds:
            by_country[country] = by_country.get(country, 0) + metered.seconds
    of_streams = _sums(streams.c.stream_id, streams.c.bill_duration, streams.c.billed_amount, roundings)
    # A recording's duration is known to the millisecond, and each started second counts.
    seconds = (recordings.c.duration_ms + 999) // 1000
    of_recordings = _sums(recordings.c.recording_id, seconds, recordings.c.storage_rate, roundings)
    nothing = Metered(0, 0, 0, (0,) * len(roundings), Decimal(0))
    return Usage(
        voice_in=directions.get("inbound", nothing),
        voice_out=directions.get("outbound", nothing),
        streams=_one(connection, of_streams, *_within(streams.c.end_time, since, until), *_of(streams, account)),
        recordings=_one(
            connection, of_recordings, *_within(recordings.c.add_time, since, until), *_of(recordings, account)
        ),
        numbers=_rented(connection, since, until, account),
        by_country=by_country,
    )


_CALL_KINDS = (calls.c.direction, calls.c.country_code)


def _sums(
    key: ColumnElement[Any],
    seconds: ColumnElement[int],
    amount: ColumnElement[Decimal],
    roundings: Sequence[Rounding],
    by: Sequence[ColumnElement[Any]] = (),
) -> Select[Any]:
    return select(
        *by,
        func.count(key),
        func.sum(case((seconds > 0, 1), else_=0)),
        func.sum(seconds),
        func.sum(amount),
        *(func.sum(_rounded(seconds, rounding)) for rounding in roundings),
    )


def _rounded(seconds: ColumnElement[int], rounding: Rounding) -> ColumnElement[int]:
    """`Rounding.billed` in SQL."""
    beyond = seconds - rounding.first
    return case(
        (seconds <= 0, 0),
        (beyond <= 0, rounding.first),
        else_=rounding.first + (beyond + (rounding.step - 1)) // rounding.step * rounding.step,
    )


def _within(at: ColumnElement[Any], since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return at >= since, at < until


def _of(table: Any, account: str | None) -> tuple[ColumnElement[bool], ...]:
    if account is None:
        return ()
    return (or_(table.c.account == account, table.c.sub_account == account),)


def _one(connection: Connection, sums: Select[Any], *conditions: ColumnElement[bool]) -> Metered:
    return _metered(connection.execute(sums.where(*conditions)).one())


def _metered(sums: Iterable[Any]) -> Metered:
    """What one row says: PostgreSQL's sums are decimals, and those of no rows are nothing in both."""
    count, billable, seconds, amount, *billed = sums
    return Metered(
        count=count,
        billable=int(billable or 0),
        seconds=int(seconds or 0),
        billed=tuple(int(one or 0) for one in billed),
        amount=Decimal(0) if amount is None else amount,
    )


def _added(one: Metered, other: Metered) -> Metered:
    return Metered(
        one.count + other.count,
        one.billable + other.billable,
        one.seconds + other.seconds,
        tuple(a + b for a, b in zip(one.billed, other.billed, strict=True)),
        one.amount + other.amount,
    )


def _rented(connection: Connection, since: datetime, until: datetime, account: str | None) -> Rented:
    """The numbers that an account has now: when it gave others back is not kept."""
    count, months, amount = 0, 0, Decimal(0)
    for month_end in _month_ends(since, until):
        held = select(func.count(numbers.c.number), func.sum(numbers.c.monthly_rental_rate)).where(
            numbers.c.account.is_not(None), numbers.c.added_on < month_end, *_of(numbers, account)
        )
        count, cost = connection.execute(held).one()
        months += count
        amount += Decimal(0) if cost is None else cost
    return Rented(count, months, amount)


def _month_ends(since: datetime, until: datetime) -> Iterator[datetime]:
    """Where each calendar month ends that the time touches, in UTC, the last one no later than the time itself."""
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    start = since.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while start < until:
        start = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        yield min(start, until)
