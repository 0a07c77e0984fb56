"""`extraHeaders`: the metadata that an answer document gives a stream, and the shapes in which it comes back.

The attribute is `k=v,k2=v2` (or with `;`, as the guide writes it). On the wire it is a string that comes as the
attribute was written (documents), as `{X-PH-k: v, X-PH-k2: v2}` (the live system), or as JSON (an SDK's comment):
plivo-protocol.md, 1.4 and 2.8. The carrier never decodes percent signs; the app does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

__all__ = ["EXTRA_HEADERS_LIMIT", "PREFIX", "ExtraHeaders", "parse_attribute", "parse_wire", "wire_form"]

EXTRA_HEADERS_LIMIT = 512
"""Bytes of UTF-8 that the attribute may hold (plivo-protocol.md, 1.4)."""

PREFIX = "X-PH-"
"""What the live system puts before every name."""

_NONE = "{}"


class ExtraHeaders(Mapping[str, str]):
    """What could be read: names to decoded values, found in any case and with or without `X-PH-`.

    Iteration gives the names in the sender's spelling, without the prefix. Of a repeated name the last value counts.

    Attributes:
        raw: The text as it came.
    """

    __slots__ = ("_found", "raw")

    def __init__(self, raw: str, pairs: tuple[tuple[str, str], ...] = ()) -> None:
        self.raw = raw
        self._found = {_bare(name).lower(): (_bare(name), value) for name, value in pairs}

    def __getitem__(self, name: str) -> str:
        return self._found[_bare(name).lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"ExtraHeaders({dict(self)!r})"


def parse_attribute(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of the `extraHeaders` attribute, in order and not decoded.

    Commas part the pairs; semicolons do where there is no comma. A part without `=` is a name with an empty value,
    so that what was meant as a value with a comma in it is seen on the wire instead of vanishing.
    """
    return tuple(_split(text, "="))


def wire_form(attribute: str | None, *, brace: bool) -> str:
    """The `extra_headers` string that a carrier puts into a stream's messages.

    Args:
        attribute: The attribute as written, or None.
        brace: True for the live system's `{X-PH-name: Amal, X-PH-k: v}`; False for the attribute itself. Both
            give `{}` when there are none.
    """
    if attribute is None or not attribute.strip():
        return _NONE
    if not brace:
        return attribute
    return "{" + ", ".join(f"{PREFIX}{_bare(name)}: {value}" for name, value in parse_attribute(attribute)) + "}"


def parse_wire(text: str) -> ExtraHeaders:
    """Read `extra_headers` in any of its shapes; what cannot be read is left out, and nothing is raised.

    A value with a comma in it cannot be recovered from the brace form unless it was percent-encoded, so values are
    percent-decoded in every shape.
    """
    plain = text.strip()
    pairs = _json_pairs(plain)
    if pairs is None:
        pairs = _split(plain.removeprefix("{").removesuffix("}"), "=:")
    return ExtraHeaders(text, tuple((name, unquote(value)) for name, value in pairs))


def _json_pairs(text: str) -> list[tuple[str, str]] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [
        (name, value if isinstance(value, str) else "" if value is None else json.dumps(value))
        for name, value in found.items()
    ]


def _split(text: str, separators: str) -> list[tuple[str, str]]:
    """Names and values around the first of `separators` in each part."""
    pairs = []
    for part in text.split("," if "," in text else ";"):
        at = min((at for at in map(part.find, separators) if at >= 0), default=len(part))
        name = part[:at].strip()
        if name:
            pairs.append((name, part[at + 1 :].strip()))
    return pairs


def _bare(name: str) -> str:
    return name[len(PREFIX) :] if name[: len(PREFIX)].upper() == PREFIX else name
