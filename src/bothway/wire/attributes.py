"""How one XML attribute of the answer document becomes a value, as metadata on a dataclass field.

The verbs (`bothway.wire.verbs`) are declared with the functions below, and `bothway.wire.callxml` reads and prints
every one of them from that metadata alone. A value that is out of order never fails the document: it is clamped or
replaced by the default, and a note says what was done (design.md, section 4: never silence).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Attribute", "Reader", "choice", "flag", "http_method", "keys", "string", "tones", "whole"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_KEYS = re.compile(r"[0-9*#]*")
_TONES = re.compile(r"[a-z_]+=[0-9]+(,[a-z_]+=[0-9]+)*")

Reader: TypeAlias = Callable[[str], tuple[object, str | None]]
"""Gives the value of what was written, and what is wrong with that, or None if nothing is."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an element.

    Attributes:
        name: As XML writes it; empty where it is the camelCase form of the field's name.
        read: Makes the value of the written text.
    """

    name: str
    read: Reader

    def named(self, field_name: str) -> str:
        """The attribute's name in XML, for a field of this name."""
        return self.name or re.sub(r"_(\w)", lambda match: match[1].upper(), field_name)


def _attribute(default: object, read: Reader, name: str = "", *, secret: bool = False) -> Any:
    metadata = {"attribute": Attribute(name, read)}
    return field(default=default, kw_only=True, repr=not secret, metadata=metadata)


def _so(value: object) -> str:
    return "so it is ignored" if value is None else f"so {value} is used"


def flag(default: bool = False, *, name: str = "", any_case: bool = False) -> Any:
    """A boolean: exactly `true` is true, and anything else is false (plivo-protocol.md, 1.2).

    Args:
        default: What a missing attribute means.
        name: The attribute's name, where it is not the field's in camelCase.
        any_case: Whether `True` is true and `False` no fault, where the official SDK itself writes them so.
    """

    def read(written: str) -> tuple[bool, str | None]:
        word = written.lower() if any_case else written
        if word in ("true", "false"):
            return word == "true", None
        if word.strip().lower() == "true":
            return False, "only lower-case true counts, so this is taken as false"
        return False, "neither true nor false, so this is taken as false"

    return _attribute(default, read, name)


def whole(default: int | None = None, low: int = 0, high: int | None = None, *, auto: bool = False) -> Any:
    """A whole number of `low` to `high`.

    Outside a range with two ends the nearer end counts; below a mere floor the default does, since a time of 0 or -1
    is meant as "none" more often than as "at once".

    Args:
        default: What a missing attribute means.
        low: The least value allowed.
        high: The greatest, or None for no bound.
        auto: Whether the word `auto` may be written too, for None.
    """
    allowed = f"{low} to {high}" if high is not None else f"{low} or more"

    def read(written: str) -> tuple[int | None, str | None]:
        if auto and written == "auto":
            return None, None
        if not _WHOLE.fullmatch(written.strip()):
            return default, f"not a whole number, {_so(default)}"
        number = int(written)
        if high is None:
            return (number, None) if number >= low else (default, f"allowed is {allowed}, {_so(default)}")
        nearest = min(max(number, low), high)
        return nearest, None if nearest == number else f"allowed is {allowed}, so {nearest} is used"

    return _attribute(default, read)


def string(default: str | None = None, *, limit: int | None = None, secret: bool = False) -> Any:
    """Any text, cut at `limit` characters. A `secret` stays out of the verb's `repr`."""

    def read(written: str) -> tuple[str, str | None]:
        if limit is not None and len(written) > limit:
            return written[:limit], f"longer than {limit} characters, so it is cut there"
        return written, None

    return _attribute(default, read, secret=secret)


def choice(default: str | None, *allowed: str, any_case: bool = False) -> Any:
    """One of a few lower-case words; with `any_case` other spellings of them are no fault."""

    def read(written: str) -> tuple[str | None, str | None]:
        word = written.strip().lower()
        if word not in allowed:
            return default, f"allowed is {', '.join(allowed)}, {_so(default)}"
        return word, None if any_case or word == written else f"taken as {word}"

    return _attribute(default, read)


def http_method(default: str = "POST", *, keep: bool = False) -> Any:
    """The HTTP method of a request to the app: GET or POST.

    Args:
        default: What a missing attribute means.
        keep: Keep another value as written, upper-cased, rather than use the default: for the methods that the call
            itself depends on, whose fault ends it with 7032 or 7034 (plivo-protocol.md, 7.1).
    """

    def read(written: str) -> tuple[str, str | None]:
        word = written.strip().upper()
        if word in ("GET", "POST"):
            return word, None if word == written else f"methods are upper-case; taken as {word}"
        return (word, "only GET and POST exist") if keep else (default, f"only GET and POST exist, {_so(default)}")

    return _attribute(default, read)


def keys(default: str) -> Any:
    """The keys that end an input: any of `0-9*#`; empty for none, which `none` says too (plivo-protocol.md, 7.3)."""

    def read(written: str) -> tuple[str, str | None]:
        if written == "none":
            return "", None
        if _KEYS.fullmatch(written):
            return written, None
        return default, f"allowed is a digit, * or #, or none, {_so(default)}"

    return _attribute(default, read)


def tones() -> Any:
    """The `beep` of `<Wait>`: a boolean, or the detector's settings as `duration=300,threshold=256`."""

    def read(written: str) -> tuple[bool | str, str | None]:
        if written in ("true", "false"):
            return written == "true", None
        if _TONES.fullmatch(written):
            return written, None
        return False, "neither true, false nor name=number pairs, so this is taken as false"

    return _attribute(False, read)
