"""What some use costs, here and by the price lists of hosted carriers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bothway.carrier.prices import Figure, PriceList
from bothway.carrier.store.usage import Metered, Rounding, Usage

__all__ = ["ITEMS", "Costs", "Item", "hosted_costs", "own_costs", "roundings_of"]

ITEMS = ("voice_in", "voice_out", "streams", "recordings", "numbers")
"""What costs are split into."""


class Item(msgspec.Struct, frozen=True):
    """One kind of cost.

    Attributes:
        quantity: Billed minutes; of numbers, months.
        price: Of one of them; None where no one price makes the amount, or none is published.
        amount: What it comes to; None where it cannot be told.
    """

    quantity: Decimal
    price: Decimal | None
    amount: Decimal | None


class Costs(msgspec.Struct, frozen=True):
    """What one carrier takes.

    Attributes:
        carrier: Its name.
        currency: Three letters, or nothing for that of the accounts here.
        voice_in: Calls that came in.
        voice_out: Calls that were placed.
        streams: Audio streams.
        recordings: Recording, and keeping what was recorded for a month.
        numbers: Phone numbers.
        total: Of all that can be told.
        unpublished: What was used and cannot be told: the total is more.
        elsewhere: Seconds of calls with other countries than the prices are for, which are counted at the same prices.
    """

    carrier: str
    currency: str
    voice_in: Item
    voice_out: Item
    streams: Item
    recordings: Item
    numbers: Item
    total: Decimal
    unpublished: tuple[str, ...]
    elsewhere: int


def roundings_of(lists: Sequence[PriceList]) -> tuple[Rounding, ...]:
    """Every rounding that the lists have, once; the one of this carrier first. `Usage` is asked for with them."""
    found = dict.fromkeys([Rounding()])
    for one in lists:
        found.update(dict.fromkeys([one.rounding, one.stream_rounding or one.rounding]))
    return tuple(found)


def own_costs(usage: Usage) -> Costs:
    """What it cost here, by the records: each at the rate that held then."""
    return _summed(
        "here",
        "",
        {
            "voice_in": Item(_minutes(usage.voice_in, 0), None, usage.voice_in.amount),
            "voice_out": Item(_minutes(usage.voice_out, 0), None, usage.voice_out.amount),
            "streams": Item(_minutes(usage.streams, 0), None, usage.streams.amount),
            "recordings": Item(_minutes(usage.recordings, 0), None, usage.recordings.amount),
            "numbers": Item(Decimal(usage.numbers.months), None, usage.numbers.amount),
        },
    )


def hosted_costs(usage: Usage, prices: PriceList, roundings: Sequence[Rounding]) -> Costs:
    """What it would have cost by a price list.

    Args:
        usage: What was used.
        prices: The list.
        roundings: Those that `usage` was asked for with; the list's are among them.
    """
    of_calls = roundings.index(prices.rounding)
    of_streams = roundings.index(prices.stream_rounding or prices.rounding)
    elsewhere = sum(seconds for country, seconds in usage.by_country.items() if country and country != prices.country)
    return _summed(
        prices.carrier,
        prices.currency,
        {
            "voice_in": _priced(_minutes(usage.voice_in, of_calls), prices.voice_in),
            "voice_out": _priced(_minutes(usage.voice_out, of_calls), prices.voice_out),
            "streams": _priced(_minutes(usage.streams, of_streams), prices.stream),
            "recordings": _priced(_minutes(usage.recordings, of_calls), prices.recording, prices.storage),
            "numbers": _priced(Decimal(usage.numbers.months), prices.number),
        },
        elsewhere,
    )


def _minutes(metered: Metered, rounding: int) -> Decimal:
    return Decimal(metered.billed[rounding]) / 60


def _priced(quantity: Decimal, *figures: Figure | None) -> Item:
    """So many at the sum of these prices. What was not used costs nothing, whatever its price."""
    known = [figure.price for figure in figures if figure is not None]
    price = sum(known, Decimal(0)) if len(known) == len(figures) else None
    if not quantity:
        return Item(quantity, price, Decimal(0))
    return Item(quantity, price, None if price is None else quantity * price)


def _summed(carrier: str, currency: str, items: dict[str, Item], elsewhere: int = 0) -> Costs:
    return Costs(
        carrier=carrier,
        currency=currency,
        **items,
        total=sum((item.amount for item in items.values() if item.amount is not None), Decimal(0)),
        unpublished=tuple(name for name, item in items.items() if item.amount is None),
        elsewhere=elsewhere,
    )
