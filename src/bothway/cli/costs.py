"""`bothway costs`: what the traffic in the records cost here, and what it would have cost at hosted carriers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec

from bothway.carrier.costs import ITEMS, Costs, Item, hosted_costs, own_costs, roundings_of
from bothway.carrier.prices import PUBLISHED, PriceList, read_prices
from bothway.carrier.store.opening import FILE_NAME
from bothway.carrier.store.store import Store
from bothway.carrier.store.usage import Metered, Usage
from bothway.errors import UsageError
from bothway.runtime.settings import Settings, add_options

__all__ = ["add_parser", "run"]

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_TITLES = ("voice in", "voice out", "streams", "recordings", "numbers")
_LONGEST = 100 * 366
_CENTS, _PARTS = Decimal("0.01"), Decimal("0.00001")
_LARGE = 10
_NAMES = 2


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "costs",
        help="what the traffic cost here, and would have cost hosted",
        description="Add up the calls, streams, recordings and numbers of some time, this month if nothing else is "
        "said, and say what they cost here, by the carrier's own rates, and what they would have cost by the "
        "published prices of hosted carriers. All times are UTC.",
    )
    add_options(parser, "costs")
    parser.add_argument("--month", type=_month, metavar="YYYY-MM", help="a calendar month")
    parser.add_argument(
        "--since", type=_moment, metavar="TIME", help="from this day or time on: 2026-01-31, 2026-01-31T12:00"
    )
    parser.add_argument("--until", type=_moment, metavar="TIME", help="before this day or time; without it, until now")
    parser.add_argument("--account", metavar="ID", help="of this account or sub-account alone")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="other prices, as YAML (docs/costs.md)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Print the report. Gives the exit code."""
    settings = Settings.from_arguments("costs", arguments)
    since, until = _window(arguments, datetime.now(UTC))
    lists = read_prices(arguments.prices) if arguments.prices is not None else PUBLISHED
    roundings = roundings_of(lists)
    if settings.db is None and not (settings.data / FILE_NAME).is_file():
        raise UsageError(f"there are no records in {settings.data}: name the carrier's data folder with --data")
    store = await Store.open(settings.db or settings.data, node="costs")
    try:
        usage = await store.usage.between(since, until, account=arguments.account, roundings=roundings)
    finally:
        await store.close()
    here, hosted = own_costs(usage), [hosted_costs(usage, prices, roundings) for prices in lists]
    if arguments.json:
        report = _report(since, until, arguments.account, usage, here, hosted)
        print(msgspec.json.encode(report).decode())
    else:
        print("\n".join(_lines(since, until, arguments.account, usage, here, hosted, lists)))
    return 0


def _window(arguments: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """From when until when.

    Raises:
        UsageError: It is said twice, or the end is before the beginning.
    """
    month: datetime | None = arguments.month
    if month is not None:
        if arguments.since is not None or arguments.until is not None:
            raise UsageError("say either --month, or --since and --until")
        return month, month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    until: datetime = arguments.until or now
    since: datetime = arguments.since or until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if not since < until:
        raise UsageError(f"there is no time from {_shown(since)} until {_shown(until)}")
    if (until - since).days > _LONGEST:
        raise UsageError("that is more than a hundred years")
    return since, until


def _month(text: str) -> datetime:
    match = _MONTH.fullmatch(text)
    if match is None or not 1970 <= int(match[1]) <= 2999:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no month such as 2026-01")
    return datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or not 1970 <= at.year <= 2999:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no day or time such as 2026-01-31 or 2026-01-31T12:00")
    return at


def _shown(at: datetime) -> str:
    is_day = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    return at.strftime("%Y-%m-%d" if is_day else "%Y-%m-%d %H:%M")


# --- for programs -------------------------------------------------------------------------------------------------


def _report(
    since: datetime, until: datetime, account: str | None, usage: Usage, here: Costs, hosted: Sequence[Costs]
) -> dict[str, Any]:
    metered = {
        name: {"count": one.count, "billable": one.billable, "seconds": one.seconds}
        for name, one in (
            ("voice_in", usage.voice_in),
            ("voice_out", usage.voice_out),
            ("streams", usage.streams),
            ("recordings", usage.recordings),
        )
    }
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "account": account,
        "usage": {**metered, "numbers": {"count": usage.numbers.count, "months": usage.numbers.months}},
        "here": _costs(here),
        "hosted": [_costs(one) for one in hosted],
    }


def _costs(costs: Costs) -> dict[str, Any]:
    return {
        "carrier": costs.carrier,
        "currency": costs.currency or None,
        **{name: _item(getattr(costs, name)) for name in ITEMS},
        "total": _rounded(costs.total, _PARTS),
        "unpublished": costs.unpublished,
        "elsewhere_seconds": costs.elsewhere,
    }


def _item(item: Item) -> dict[str, str | None]:
    return {
        "quantity": _rounded(item.quantity, _PARTS),
        "price": None if item.price is None else f"{item.price:f}",
        "amount": None if item.amount is None else _rounded(item.amount, _PARTS),
    }


def _rounded(amount: Decimal, to: Decimal) -> str:
    return f"{amount.quantize(to, ROUND_HALF_UP):f}"


# --- for people ---------------------------------------------------------------------------------------------------


def _lines(
    since: datetime,
    until: datetime,
    account: str | None,
    usage: Usage,
    here: Costs,
    hosted: Sequence[Costs],
    lists: Sequence[PriceList],
) -> Iterator[str]:
    whose = f"account {account}" if account is not None else "all accounts"
    yield f"{_shown(since)} to {_shown(until)} UTC, {whose}"
    yield ""
    yield _used("calls in", usage.voice_in)
    yield _used("calls out", usage.voice_out)
    yield _used("streams", usage.streams)
    yield _used("recordings", usage.recordings)
    months = "1 month" if usage.numbers.months == 1 else f"{usage.numbers.months:,} months"
    yield f"{'numbers':<12}{usage.numbers.count:>10,}   {months}"
    yield ""
    totals = [one.total for one in (here, *hosted) if one.total]
    to = _CENTS if totals and min(totals) >= _LARGE else _PARTS
    rows = [("", "", *_TITLES, "total"), *(_row(one, to) for one in (here, *hosted))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        padded = (cell.ljust(widths[n]) if n < _NAMES else cell.rjust(widths[n]) for n, cell in enumerate(row))
        yield "  ".join(padded).rstrip()
    yield from _notes(hosted, lists)


def _used(title: str, metered: Metered) -> str:
    lasted = f", {metered.billable:,} of them lasted" if metered.billable != metered.count else ""
    return f"{title:<12}{metered.count:>10,}   {metered.seconds / 60:,.1f} minutes{lasted}"


def _row(costs: Costs, to: Decimal) -> tuple[str, ...]:
    amounts = (getattr(costs, name).amount for name in ITEMS)
    cells = ("?" if amount is None else _grouped(amount, to) for amount in amounts)
    total = ("> " if costs.unpublished else "") + _grouped(costs.total, to)
    return costs.carrier, costs.currency, *cells, total


def _grouped(amount: Decimal, to: Decimal) -> str:
    return f"{amount.quantize(to, ROUND_HALF_UP):,f}"


def _notes(hosted: Sequence[Costs], lists: Sequence[PriceList]) -> Iterator[str]:
    if any(one.unpublished for one in hosted):
        yield ""
        yield "?  no price is published: the total is more"
    foreign = {prices.country: one.elsewhere for one, prices in zip(hosted, lists, strict=True) if one.elsewhere}
    if foreign:
        yield ""
    for country, seconds in foreign.items():
        names = ", ".join(prices.carrier for prices in lists if prices.country == country)
        yield f"{seconds / 60:,.1f} minutes were not with {country}, whose prices are counted for them: {names}"
    dates = sorted({figure.date for prices in lists for figure in _figures(prices) if figure.date})
    if dates:
        yield ""
        read = f"read {dates[0]} to {dates[-1]}"
        yield f"List prices, {read}, without taxes, fees and discounts; --prices FILE changes them."


def _figures(prices: PriceList) -> Iterator[Any]:
    fields = (prices.voice_in, prices.voice_out, prices.stream, prices.recording, prices.storage, prices.number)
    return (figure for figure in fields if figure is not None)
