"""Reading a request's parameters: liberal in how they are written, strict in what they mean.

What an operation takes is a msgspec Struct; its fields' types and `Meta` say what is allowed, and the OpenAPI document
says the same. They come as JSON, as a form or in the query, and clients write booleans as `"True"` and integers as text
(plivo-protocol.md, 5.1). What a request has beyond them, such as the ids of its path, is left alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from bothway.carrier.store.records import Comparison, Operator
from bothway.errors import UsageError

__all__ = [
    "MAX_FIELDS",
    "MAX_INTEGER",
    "MAX_TEXT",
    "AccountId",
    "ApiError",
    "Flag",
    "HttpUrl",
    "Method",
    "Number",
    "OptionalUrl",
    "Text",
    "TimeText",
    "Uuid",
    "bounds",
    "parse_body",
    "parse_query",
    "parse_time",
    "read",
    "time_bounds",
]

logger = logging.getLogger(__name__)

_Shape = TypeVar("_Shape", bound=msgspec.Struct)

MAX_INTEGER = 2**31 - 1
"""The largest whole number that a parameter may be."""

MAX_TEXT = 4_096
"""The longest text that a parameter may be, in characters, unless it says otherwise."""

MAX_FIELDS = 1_000
"""Parameters that a form or a query may have."""

HttpUrl: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+[^\s]*$",
        max_length=2048,
        extra={"is": "an http or https URL of 2048 characters at most"},
    ),
]
"""A URL that is asked or called."""

OptionalUrl: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+[^\s]*)?$",
        max_length=2048,
        extra={"is": "an http or https URL of 2048 characters at most, or nothing to take it away"},
    ),
]
"""A URL, or an empty text that takes it away."""

Method: TypeAlias = Literal["GET", "POST"]
"""How a URL is asked."""

Flag: TypeAlias = bool
"""True or false, in any of the ways in which clients write it."""

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
"""Any text."""

Number: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^\+?[0-9]{1,20}$", extra={"is": "a telephone number: digits, with or without a +"})
]
"""A telephone number."""

Uuid: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
"""An id that the carrier made."""

AccountId: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^(MA|SA)[A-Z0-9]{18}$", extra={"is": "an auth id of 20 characters"})
]
"""The auth id of an account or sub-account."""

TimeText: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d:\d\d)?$",
        extra={"is": "a time, YYYY-MM-DD HH:MM[:ss[.uuuuuu]] in UTC"},
    ),
]
"""A moment, in UTC unless it names an offset (plivo-protocol.md, 5.4)."""


class ApiError(UsageError):
    """A request that is answered with an error.

    Args:
        status: Of the answer.
        message: What the client is told.
        headers: That the answer carries besides.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


# --- from bytes to names and values -------------------------------------------------------------------------------


def parse_query(raw: bytes) -> dict[str, object]:
    """The parameters of a query string; of one that comes twice, the last.

    Raises:
        ApiError: There are too many (400).
    """
    return _form(raw)


def parse_body(raw: bytes, content_type: str) -> dict[str, object]:
    """The parameters of a body: a JSON object or a form, as the content type says or, failing that, as it looks.

    Raises:
        ApiError: It is neither (400).
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = raw.strip()
    if not text:
        return {}
    if kind.endswith("json") or (kind != "application/x-www-form-urlencoded" and text[:1] in b"{["):
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ApiError(400, "the body is not valid JSON") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ApiError(400, "the body is JSON, but no object with the parameters in it")
        return value
    if kind in ("application/x-www-form-urlencoded", "", "text/plain"):
        return _form(text)
    raise ApiError(400, "the body's content type is neither application/json nor application/x-www-form-urlencoded")


def _form(raw: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:  # that is what too many fields raise
        raise ApiError(400, f"there are more than {MAX_FIELDS} parameters") from None
    return dict(pairs)


def parse_time(name: str, text: str) -> datetime:
    """The moment that a `TimeText` names, in UTC.

    Raises:
        ApiError: There is no such day or hour (400).
    """
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ApiError(400, f"{name} is not a time: {text!r} is on no calendar") from None


_OPERATORS: tuple[Operator, ...] = ("eq", "gt", "gte", "lt", "lte")


def bounds(shape: msgspec.Struct, name: str) -> tuple[Comparison[Any], ...]:
    """The bounds that `name` and `name__gt`, `__gte`, `__lt`, `__lte` set, of those fields that are there."""
    found = []
    for operator in _OPERATORS:
        value = getattr(shape, name if operator == "eq" else f"{name}__{operator}", None)
        if value is not None:
            found.append(Comparison(operator, value))
    return tuple(found)


def time_bounds(shape: msgspec.Struct, name: str) -> tuple[Comparison[datetime], ...]:
    """The same of times.

    Raises:
        ApiError: One of them is on no calendar (400).
    """
    return tuple(Comparison(one.operator, parse_time(name, one.value)) for one in bounds(shape, name))


# --- from values to a Struct --------------------------------------------------------------------------------------


def read(shape: type[_Shape], given: Mapping[str, object]) -> _Shape:
    """The parameters in `shape`, of those that were given.

    None counts as not given; an empty text does too, unless the parameter can be empty.

    Raises:
        ApiError: One is missing, or is not what it may be (400); the message names it and says what it may be.
    """
    plan = _plan(shape)
    values: dict[str, Any] = {}
    for field in plan:
        raw = given.get(field.name)
        if raw is None or (raw == "" and not field.may_be_empty):
            if field.required:
                raise ApiError(400, f"{field.name} is required: it is {field.what}")
            continue
        values[field.attribute] = field.read(raw)
    if strange := given.keys() - {field.name for field in plan}:
        logger.debug("parameters that are left alone: %s", ", ".join(sorted(map(repr, strange)))[:500])
    return shape(**values)


class _Field:
    """One parameter: how it is read, and how it is spoken of."""

    def __init__(self, field: inspect.Field) -> None:
        self.attribute = field.name
        self.name = field.encode_name
        self.required = field.required
        kind, extra = _bare(field.type)
        self._kind = kind
        self._join: str | None = extra.get("join")
        self._convert = _CONVERSIONS[type(kind)]
        self.what: str = extra.get("is") or _spoken(kind)
        self.may_be_empty = isinstance(kind, inspect.StrType) and _fits(kind, "")

    def read(self, raw: object) -> Any:
        if self._join is not None and isinstance(raw, list):
            raw = self._join.join(str(one) for one in raw)
        value = self._convert(self._kind, raw)
        if value is None:
            raise ApiError(400, f"{self.name} is not {self.what}")
        return value


@cache
def _plan(shape: type[msgspec.Struct]) -> Sequence[_Field]:
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)
    return [_Field(field) for field in found.fields]


def _bare(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """A type without `| None` and without its metadata, and those."""
    extra: dict[str, Any] = {}
    while True:
        if isinstance(kind, inspect.Metadata):
            extra |= kind.extra or {}
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
        else:
            return kind, extra


def _spoken(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.IntType):
        least, most = kind.ge, kind.le
        if most is None:
            return "a whole number" if least is None else f"a whole number from {least}"
        return f"a whole number from {least} to {most}"
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(map(str, kind.values))
    if isinstance(kind, inspect.StrType) and kind.max_length is not None:
        return f"text of {kind.min_length or 0} to {kind.max_length} characters"
    return "what the parameter may be"


def _boolean(_: inspect.Type, raw: object) -> bool | None:
    if isinstance(raw, bool):
        return raw
    words = {"true": True, "1": True, "false": False, "0": False}
    return words.get(str(raw).strip().lower()) if isinstance(raw, str | int) else None


def _integer(kind: inspect.Type, raw: object) -> int | None:
    assert isinstance(kind, inspect.IntType)
    if isinstance(raw, bool):
        return None
    if isinstance(raw, float):
        value = int(raw) if raw.is_integer() else None
    elif isinstance(raw, str):
        value = int(raw) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", raw, re.ASCII) else None
    else:
        value = raw if isinstance(raw, int) else None
    if value is None or not (kind.ge if kind.ge is not None else -MAX_INTEGER) <= value <= (kind.le or MAX_INTEGER):
        return None
    return value


def _text(kind: inspect.Type, raw: object) -> str | None:
    assert isinstance(kind, inspect.StrType)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = str(raw)
    return text if _fits(kind, text) else None


def _fits(kind: inspect.StrType, text: str) -> bool:
    if len(text) > (kind.max_length if kind.max_length is not None else MAX_TEXT) or len(text) < (kind.min_length or 0):
        return False
    # No database keeps the former, and no encoding has the latter.
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return False
    return kind.pattern is None or re.search(kind.pattern.removesuffix("$") + r"\Z", text, re.ASCII) is not None


def _choice(kind: inspect.Type, raw: object) -> object | None:
    assert isinstance(kind, inspect.LiteralType)
    written = str(raw).strip().lower()
    return next((value for value in kind.values if str(value).lower() == written), None)


_CONVERSIONS: dict[type[inspect.Type], Callable[[Any, object], Any]] = {
    inspect.BoolType: _boolean,
    inspect.IntType: _integer,
    inspect.StrType: _text,
    inspect.LiteralType: _choice,
    inspect.AnyType: lambda _, raw: raw,
}
