"""What calls, streams and recordings cost, and how time is rounded for it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from bothway.wire.billing import MINUTE, billed_seconds, started_seconds

__all__ = ["Bill", "Rates", "bill"]


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices, in the account's currency; the `rates` of the configuration file.

    The defaults are those that the hosted system publishes for the United States (plivo-protocol.md, section 9, has the
    stream's).

    Attributes:
        inbound: A started minute of a call that came in.
        outbound: A started minute of a call that the carrier placed.
        stream: A started minute of an audio stream.
        recording_month: Keeping a minute of a recording for a month.
        transcription: A minute of transcribed audio.
    """

    inbound: Decimal = Decimal("0.0055")
    outbound: Decimal = Decimal("0.0100")
    stream: Decimal = Decimal("0.003")
    recording_month: Decimal = Decimal("0.0004")
    transcription: Decimal = Decimal("0.0095")


class Bill(NamedTuple):
    """What some time costs.

    Attributes:
        seconds: How long it was: each started second counts.
        billed_seconds: The same in started minutes.
        amount: The price.
    """

    seconds: int
    billed_seconds: int
    amount: Decimal


def bill(seconds: float, rate: Decimal) -> Bill:
    """What `seconds` cost at `rate` a minute: every started minute counts whole (plivo-protocol.md, 5.2 and 6.3)."""
    billed = billed_seconds(seconds)
    return Bill(started_seconds(seconds), billed, rate * (billed // MINUTE))
