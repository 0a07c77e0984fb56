"""Whom a call goes to, as people and programs write it."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

__all__ = ["DestinationKind", "bare_number", "destination_kind", "is_endpoint", "plain_destination", "written_number"]

DestinationKind: TypeAlias = Literal["number", "endpoint", "invalid"]
"""A telephone number, a SIP endpoint, or what can be neither."""

_NUMBER = re.compile(r"[0-9]{3,15}")
"""At most 15 digits (ITU-T E.164, 6.2.1); short numbers such as 911 have three."""

_ENDPOINT = re.compile(r"(?i:sips?):[^@\s<>]{1,128}@[^@\s<>]{1,255}")
"""A SIP address with its user and host (RFC 3261, 19.1.1), as `to` and `<User>` take it."""


def bare_number(number: str) -> str:
    """A number without the `+`, spaces and dashes that people write into it."""
    return number.strip().replace(" ", "").replace("-", "").removeprefix("+")


def is_endpoint(destination: str) -> bool:
    """Whether it is meant as a SIP address, well or badly written."""
    return destination.strip().lower().startswith(("sip:", "sips:"))


def destination_kind(destination: str) -> DestinationKind:
    """What `destination` can be."""
    if is_endpoint(destination):
        return "endpoint" if _ENDPOINT.fullmatch(destination.strip()) else "invalid"
    return "number" if _NUMBER.fullmatch(bare_number(destination)) else "invalid"


def plain_destination(destination: str) -> str:
    """A destination as it is compared with others: the bare number, or the SIP address as it stands."""
    return destination.strip() if is_endpoint(destination) else bare_number(destination)


def written_number(number: str, *, plus: bool) -> str:
    """A number as callbacks and records write it: captured ones have no `+`, others do (plivo-protocol.md, D50).

    Args:
        number: With or without a `+`; what is no telephone number, a SIP address say, is only freed of one.
        plus: Whether telephone numbers get one.
    """
    bare = number.lstrip("+")
    return f"+{bare}" if plus and _NUMBER.fullmatch(bare) else bare
