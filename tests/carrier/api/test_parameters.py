from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier.api.calls import CreateCall, ListCalls
from bothway.carrier.api.parameters import (
    MAX_FIELDS,
    MAX_TEXT,
    AccountId,
    ApiError,
    Flag,
    HttpUrl,
    Method,
    Number,
    OptionalUrl,
    Text,
    TimeText,
    Uuid,
    bounds,
    parse_body,
    parse_query,
    parse_time,
    read,
    time_bounds,
)
from bothway.carrier.api.table import OPERATIONS
from bothway.carrier.store.records import Comparison


class Shape(msgspec.Struct, rename={"from_": "from"}):
    from_: Text
    count: Annotated[int, msgspec.Meta(ge=1, le=20)] = 20
    free: int | None = None
    flag: Flag = False
    method: Method = "POST"
    detection: Literal["true", "hangup"] | None = None
    url: HttpUrl | None = None
    away: OptionalUrl | None = None
    listed: Annotated[str, msgspec.Meta(extra={"join": ","})] = ""
    number: Number | None = None
    account: AccountId | None = None
    uuid: Uuid | None = None
    anything: Any = None
    at: TimeText | None = None
    at__gte: TimeText | None = None


def one(name: str, value: object) -> Any:
    return getattr(read(Shape, {"from": "x", name: value}), name)


@pytest.mark.parametrize(
    ("name", "given", "found"),
    [
        ("count", 7, 7),
        ("count", "7", 7),
        ("count", " 7 ", 7),
        ("count", 7.0, 7),
        ("count", None, 20),
        ("count", "", 20),
        ("free", -5, -5),
        ("free", "+5", 5),
        ("flag", True, True),
        ("flag", "True", True),
        ("flag", "false", False),
        ("flag", 1, True),
        ("flag", "0", False),
        ("method", "get", "GET"),
        ("detection", True, "true"),
        ("detection", "Hangup", "hangup"),
        ("url", "HTTPS://h:1/a?b=c#ct=2000", "HTTPS://h:1/a?b=c#ct=2000"),
        ("url", "", None),
        ("away", "", ""),
        ("away", "http://h", "http://h"),
        ("listed", ["a", 1], "a,1"),
        ("number", 15550100, "15550100"),
        ("number", "+1555", "+1555"),
        ("uuid", 12, "12"),
        ("anything", {"a": [1]}, {"a": [1]}),
        ("at", "2026-01-31 10:22", "2026-01-31 10:22"),
    ],
)
def test_what_is_read(name: str, given: object, found: object) -> None:
    assert one(name, given) == found


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("count", 0, "count is not a whole number from 1 to 20"),
        ("count", "21", "count is not a whole number from 1 to 20"),
        ("count", 1.5, "count is not a whole number"),
        ("count", True, "count is not a whole number"),
        ("count", [1], "count is not a whole number"),
        ("count", "1e1", "count is not a whole number"),
        ("count", "٧", "count is not a whole number"),
        ("free", 2**31, "free is not a whole number"),
        ("free", 10**400, "free is not a whole number"),
        ("free", float("inf"), "free is not a whole number"),
        ("free", float("nan"), "free is not a whole number"),
        ("flag", "yes", "flag is not true or false"),
        ("flag", 2, "flag is not true or false"),
        ("method", "PUT", "method is not one of GET, POST"),
        ("detection", "maybe", "detection is not one of hangup, true"),
        ("url", "ftp://h", "url is not an http or https URL of 2048 characters at most"),
        ("url", "http://", "url is not an http or https URL"),
        ("url", "http://h/ b", "url is not an http or https URL"),
        ("url", "http://h/b\n", "url is not an http or https URL"),
        ("url", "http://h/" + "b" * 2048, "url is not an http or https URL"),
        ("url", {}, "url is not an http or https URL"),
        ("from", "a\x00b", "from is not text of 0 to 4096 characters"),
        ("from", "\ud800", "from is not text"),
        ("from", "x" * (MAX_TEXT + 1), "from is not text"),
        ("from", ["x"], "from is not text"),
        ("from", True, "from is not text"),
        ("from", None, "from is required: it is text of 0 to 4096 characters"),
        ("number", "1-555", "number is not a telephone number"),
        ("account", "MAX", "account is not an auth id of 20 characters"),
        ("at", "yesterday", "at is not a time, YYYY-MM-DD HH:MM"),
    ],
)
def test_what_is_refused(name: str, given: object, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(Shape, {"from": "x", name: given})
    assert caught.value.status == 400
    assert str(caught.value).startswith(text)


def test_times() -> None:
    assert parse_time("t", "2026-01-31 10:22") == datetime(2026, 1, 31, 10, 22, tzinfo=UTC)
    assert parse_time("t", "2026-01-31 10:22:33.5+05:30") == datetime(2026, 1, 31, 4, 52, 33, 500_000, tzinfo=UTC)
    for text in ("2026-02-30 00:00", "0001-01-01 00:00+14:00", "2026-01-01 25:00"):
        with pytest.raises(ApiError, match="on no calendar"):
            parse_time("t", text)


def test_bounds() -> None:
    shape = Shape("x", at="2026-01-31 10:22", at__gte="2026-01-30 10:22")
    assert bounds(shape, "count") == (Comparison("eq", 20),)
    assert [found.operator for found in time_bounds(shape, "at")] == ["eq", "gte"]
    assert time_bounds(ListCalls(), "end_time") == ()


def test_forms() -> None:
    assert parse_query(b"a=1&b=&a=2&c=%C3%BC&d") == {"a": "2", "b": "", "c": "ü", "d": ""}
    with pytest.raises(ApiError):
        parse_query(b"&".join(b"a=1" for _ in range(MAX_FIELDS + 1)))


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "", "x"]))
def test_any_body_is_parameters_or_an_error_of_the_clients(raw: bytes, kind: str) -> None:
    problem = None
    try:
        assert isinstance(parse_body(raw, kind), dict)
    except ApiError as error:
        problem = error
    assert problem is None or problem.status == 400


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_SHAPES = sorted({one.takes for one in OPERATIONS if one.takes}, key=lambda shape: shape.__name__)


@given(st.data())
def test_any_value_of_any_parameter_is_read_or_an_error_of_the_clients(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(_SHAPES))
    names = [field.encode_name for field in msgspec.structs.fields(shape)]
    given_ = data.draw(st.dictionaries(st.sampled_from(names or ["x"]), _VALUES))
    problem = None
    try:
        assert isinstance(read(shape, given_), shape)
    except ApiError as error:
        problem = error
    assert problem is None or problem.status == 400
    assert problem is None or any(str(problem).startswith(name) for name in names)


def test_what_is_left_out_has_its_default() -> None:
    wanted = read(CreateCall, {"from": "1", "to": "2", "answer_url": "http://h"})
    assert (wanted.ring_timeout, wanted.time_limit, wanted.machine_detection_time) == (120, 14_400, 5_000)
