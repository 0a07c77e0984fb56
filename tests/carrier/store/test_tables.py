from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from bothway.carrier.store import records, tables
from bothway.carrier.store.tables import Json, Moment, Price, Words
from bothway.errors import UsageError

DIALECT = sqlite.dialect()


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (records.AccountRecord, tables.accounts),
        (records.ApplicationRecord, tables.applications),
        (records.CallRecord, tables.calls),
        (records.NumberRecord, tables.numbers),
        (records.OutboxItem, tables.outbox),
        (records.RecordingRecord, tables.recordings),
        (records.StreamRecord, tables.streams),
    ],
)
def test_a_table_has_what_its_records_have(kind: type[msgspec.Struct], table: Table) -> None:
    assert {column.name for column in table.c} == set(kind.__struct_fields__)
    for field in msgspec.structs.fields(kind):
        if not table.c[field.name].primary_key:
            assert table.c[field.name].nullable == ("None" in str(field.type)), field.name


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_is_exact(moment: datetime) -> None:
    if moment.utcoffset() is None:
        return
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return
    kept = Moment().process_bind_param(moment, DIALECT)
    assert Moment().process_result_value(kept, DIALECT) == expected


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=8))
def test_a_price_is_exact(price: Decimal) -> None:
    kept = Price().process_bind_param(price, DIALECT)
    assert Price().process_result_value(kept, DIALECT) == price


@pytest.mark.parametrize("price", [Decimal("0.000000001"), Decimal("NaN"), Decimal("Infinity")])
def test_a_price_that_is_not_kept_exactly_is_refused(price: Decimal) -> None:
    with pytest.raises(UsageError, match="is not kept exactly"):
        Price().process_bind_param(price, DIALECT)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="no time zone"):
        Moment().process_bind_param(datetime(2026, 1, 1), DIALECT)  # noqa: DTZ001


@given(st.text(st.characters(categories=None)))
def test_words_are_what_a_database_takes(text: str) -> None:
    kept = Words().process_bind_param(text, DIALECT)
    assert kept is not None
    kept.encode()
    assert "\0" not in kept
    assert len(kept) == len(text)


@given(st.dictionaries(st.text(st.characters(categories=None)), st.text(st.characters(categories=None))))
def test_a_dictionary_comes_back_as_it_was(found: dict[str, str]) -> None:
    kept = Json().process_bind_param(found, DIALECT)
    assert kept is not None
    assert kept.isascii()
    assert Json().process_result_value(kept, DIALECT) == found


def test_nothing_is_nothing() -> None:
    for kind in (Json, Moment, Price, Words):
        assert kind().process_bind_param(None, DIALECT) is None
        assert kind().process_result_value(None, DIALECT) is None
