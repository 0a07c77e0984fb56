"""The tables of the records, and the types in which their columns hold what the values of `records` have.

Integers carry what databases disagree on: moments are microseconds since 1970, prices hundred-millionths. So both
databases compare, order and index them alike, and nothing is rounded. Text compares byte by byte in both.

What is changed here needs a migration beside it; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Table,
    Text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.types import TypeDecorator

from bothway.carrier.store.records import PRICE_DECIMALS
from bothway.errors import UsageError

__all__ = [
    "METADATA",
    "Json",
    "Moment",
    "Price",
    "Words",
    "accounts",
    "applications",
    "calls",
    "change",
    "idempotency",
    "insert",
    "nodes",
    "numbers",
    "outbox",
    "record",
    "recordings",
    "streams",
    "upsert",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# PostgreSQL would compare as its server's language does.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")

_S = TypeVar("_S", bound=msgspec.Struct)


class Moment(TypeDecorator[datetime]):
    """A moment, as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """What the database is given.

        Raises:
            UsageError: The time has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise UsageError(f"the time {value.isoformat()} has no time zone, so that it is no moment")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """What the database gives."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Price(TypeDecorator[Decimal]):
    """An exact amount of money, as hundred-millionths."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """What the database is given.

        Raises:
            UsageError: It has more decimals than are kept, or is no number.
        """
        if value is None:
            return None
        scaled = value.scaleb(PRICE_DECIMALS)
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise UsageError(f"the price {value} has more than {PRICE_DECIMALS} decimals, and is not kept exactly")
        return int(scaled)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """What the database gives."""
        return None if value is None else Decimal(value).scaleb(-PRICE_DECIMALS)


class Words(TypeDecorator[str]):
    """Text of any origin, compared byte by byte. What no database takes, NUL and half of a pair, becomes U+FFFD."""

    impl = _TEXT
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What the database is given."""
        if value is None or value.isascii():
            return value if value is None or "\0" not in value else value.replace("\0", "\ufffd")
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """What the database gives."""
        return value


class Json(TypeDecorator[dict[str, str]]):
    """A dictionary, as JSON in ASCII: any text comes back as it was."""

    impl = _TEXT
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:
        """What the database is given."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, str] | None:
        """What the database gives."""
        if value is None:
            return None
        found: dict[str, str] = json.loads(value)
        return found


METADATA = MetaData()


def _words(name: str) -> Column[Any]:
    return Column(name, Words, nullable=False)


def _whole(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _price(name: str) -> Column[Any]:
    return Column(name, Price, nullable=False)


def _moment(name: str) -> Column[Any]:
    return Column(name, Moment, nullable=False)


accounts = Table(
    "accounts",
    METADATA,
    Column("auth_id", Words, primary_key=True),
    _moment("created"),
    _moment("modified"),
    Column("parent", Words),
    _words("name"),
    _flag("enabled"),
    _whole("generation"),
    _words("city"),
    _words("address"),
    _words("state"),
    _words("timezone"),
    Index("ix_accounts_parent", "parent", "created"),
)

applications = Table(
    "applications",
    METADATA,
    Column("app_id", Words, primary_key=True),
    _words("account"),
    _words("app_name"),
    _moment("created"),
    _words("sub_account"),
    _words("answer_url"),
    _words("answer_method"),
    _words("fallback_answer_url"),
    _words("fallback_method"),
    _words("hangup_url"),
    _words("hangup_method"),
    _words("message_url"),
    _words("message_method"),
    _flag("default_app"),
    _flag("default_endpoint_app"),
    _flag("enabled"),
    _flag("public_uri"),
    _flag("log_incoming_messages"),
    _whole("time_limit"),
    Index("ix_applications_account", "account", "created"),
)

numbers = Table(
    "numbers",
    METADATA,
    Column("number", Words, primary_key=True),
    _words("country"),
    _moment("added_on"),
    _words("number_type"),
    Column("account", Words),
    _words("sub_account"),
    Column("application", Words),
    _words("alias"),
    _flag("voice_enabled"),
    _flag("sms_enabled"),
    _flag("mms_enabled"),
    _flag("active"),
    _price("monthly_rental_rate"),
    _price("setup_rate"),
    _price("voice_rate"),
    _price("sms_rate"),
    _words("region"),
    _words("city"),
    _words("lata"),
    _words("rate_center"),
    _words("carrier"),
    _words("cnam_lookup"),
    _words("compliance_application_id"),
    Index("ix_numbers_account", "account", "added_on"),
    Index("ix_numbers_application", "application"),
)

calls = Table(
    "calls",
    METADATA,
    Column("call_uuid", Words, primary_key=True),
    _words("request_uuid"),
    _words("account"),
    _words("node"),
    _words("direction"),
    _words("from_number"),
    _words("to_number"),
    _moment("initiation_time"),
    _words("state"),
    _words("sub_account"),
    _words("caller_name"),
    Column("parent_call_uuid", Words),
    Column("answer_time", Moment),
    Column("end_time", Moment),
    _whole("call_duration"),
    _whole("bill_duration"),
    _whole("billed_duration"),
    _price("rate"),
    _price("amount"),
    Column("hangup_cause_code", BigInteger),
    _words("hangup_cause_name"),
    _words("hangup_source"),
    _words("hangup_cause"),
    _words("stir_verification"),
    _words("stir_attestation"),
    _words("country_code"),
    _words("route_type"),
    _words("voice_network_group"),
    _words("source_ip"),
    _words("cnam_lookup"),
    _words("forwarded_from"),
    Column("conference_uuid", Words),
    Column("application", Words),
    _words("answer_url"),
    _words("answer_method"),
    Column("hangup_url", Words),
    _words("hangup_method"),
    Column("sip_headers", Json, nullable=False),
    Index("ix_calls_ended", "account", "end_time"),
    Index("ix_calls_sub_account", "sub_account", "end_time"),
    Index("ix_calls_from", "account", "from_number"),
    Index("ix_calls_to", "account", "to_number"),
    Index("ix_calls_parent", "parent_call_uuid"),
)
Index(
    "ix_calls_live", calls.c.node, sqlite_where=calls.c.end_time.is_(None), postgresql_where=calls.c.end_time.is_(None)
)

streams = Table(
    "streams",
    METADATA,
    Column("stream_id", Words, primary_key=True),
    _words("call_uuid"),
    _words("account"),
    _words("node"),
    _words("service_url"),
    _moment("created_at"),
    _words("status"),
    _words("sub_account"),
    _flag("bidirectional"),
    _words("audio_track"),
    _words("content_type"),
    _whole("stream_timeout"),
    _words("extra_headers"),
    _whole("noise_cancellation_level"),
    Column("status_callback_url", Words),
    _words("status_callback_method"),
    Column("start_time", Moment),
    Column("end_time", Moment),
    _whole("bill_duration"),
    _whole("rounded_bill_duration"),
    _price("rate"),
    _price("billed_amount"),
    Index("ix_streams_call", "call_uuid", "created_at"),
)

recordings = Table(
    "recordings",
    METADATA,
    Column("recording_id", Words, primary_key=True),
    _words("account"),
    _moment("add_time"),
    _words("path"),
    _words("recording_format"),
    _whole("channels"),
    _whole("size"),
    _whole("start_ms"),
    _whole("end_ms"),
    _whole("duration_ms"),
    _whole("rounded_duration"),
    _words("recording_type"),
    _words("sub_account"),
    Column("call_uuid", Words),
    _words("from_number"),
    _words("to_number"),
    Column("conference_name", Words),
    Column("conference_uuid", Words),
    _price("storage_rate"),
    Index("ix_recordings_account", "account", "add_time"),
    Index("ix_recordings_call", "call_uuid"),
    Index("ix_recordings_age", "add_time"),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("key", Words, nullable=False, unique=True),
    _words("call_uuid"),
    _words("kind"),
    _words("account"),
    _words("url"),
    Column("params", Json, nullable=False),
    _moment("created"),
    _words("method"),
    # SQLite would give the number of a deleted row once more, and order is what it is for.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _words("node"),
    _whole("attempts"),
    Column("due", Moment),
    Column("abandoned", Moment),
    _words("error"),
    Index("ix_outbox_node", "node", "seq"),
    Index("ix_outbox_call", "call_uuid"),
    sqlite_autoincrement=True,
)

nodes = Table("nodes", METADATA, Column("node", Words, primary_key=True), _moment("lease_until"))

idempotency = Table(
    "idempotency",
    METADATA,
    Column("key_hash", Words, primary_key=True),
    _words("request_hash"),
    _whole("status"),
    Column("body", LargeBinary, nullable=False),
    _moment("expires"),
    Index("ix_idempotency_expires", "expires"),
)


def insert(connection: Connection, table: Table) -> SqliteInsert | PostgresInsert:
    """An INSERT that knows what to do about a conflict, in the words of the connection's database."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


@cache
def _upsert(table: Table, dialect: str) -> SqliteInsert | PostgresInsert:
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    # A record that has ended stays so, whatever a node that was taken for dead still has to say of it.
    is_open = statement.excluded.end_time.is_not(None) | table.c.end_time.is_(None) if "end_time" in table.c else None
    return statement.on_conflict_do_update(index_elements=keys, set_=changed, where=is_open)


def upsert(connection: Connection, table: Table, value: msgspec.Struct) -> None:
    """Write a whole record, whether or not it is there."""
    connection.execute(_upsert(table, connection.dialect.name), msgspec.structs.asdict(value))


def change(connection: Connection, table: Table, values: Mapping[str, object], *where: ColumnElement[bool]) -> bool:
    """Write these columns of the rows that are there and meet all conditions; whether there were any."""
    return connection.execute(update(table).where(*where).values(values)).rowcount > 0


def record(kind: type[_S], row: RowMapping) -> _S:
    """The value that a row holds."""
    return kind(**row)
