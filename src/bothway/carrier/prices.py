"""What hosted carriers publish as their prices, each figure with where and when it was read.

They are list prices, for calls within one country and without discounts, taxes and fees; and they age. Whoever knows
their own puts them into a file, which changes these lists or adds others (docs/costs.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from bothway.carrier.store.usage import Rounding
from bothway.errors import UsageError

__all__ = ["FIGURES", "PUBLISHED", "Figure", "PriceList", "read_prices"]

_CURRENCY = re.compile("[A-Z]{3}")
_COUNTRY = re.compile("[A-Z]{2}")
_MOST = 1_000_000
_MANY_SECONDS = 86_400


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One price.

    Attributes:
        price: In the list's currency.
        source: Where it was read.
        date: When it was read: a year, a month, maybe a day.
        note: What else one should know of it.
    """

    price: Decimal
    source: str = ""
    date: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{4}-[0-9]{2}(-[0-9]{2})?)?$")] = ""
    note: str = ""


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier's prices. A figure that it does not publish is None, and is not taken for nothing.

    Attributes:
        carrier: Its name.
        currency: Three letters (ISO 4217).
        country: Whose domestic calls are meant, two letters (ISO 3166).
        rounding: Of calls.
        stream_rounding: Of streams; that of calls where it is None.
        rounding_source: Where the roundings were read.
        voice_in: A minute of a call to a local number.
        voice_out: A minute of a call to a local number of somebody else.
        stream: A minute of audio over a WebSocket, on top of the call's.
        recording: A minute that is recorded.
        storage: Keeping a recorded minute for a month.
        number: A local number for a month.
    """

    carrier: str
    currency: str = "USD"
    country: str = "US"
    rounding: Rounding = Rounding()
    stream_rounding: Rounding | None = None
    rounding_source: str = ""
    voice_in: Figure | None = None
    voice_out: Figure | None = None
    stream: Figure | None = None
    recording: Figure | None = None
    storage: Figure | None = None
    number: Figure | None = None


FIGURES = ("voice_in", "voice_out", "stream", "recording", "storage", "number")
"""The fields of a list that are prices."""


def _figure(price: str, source: str, date: str, note: str = "") -> Figure:
    return Figure(Decimal(price), source, date, note)


_PLIVO = "plivo.com/voice/pricing/us/"
_TWILIO = "twilio.com/en-us/voice/pricing/us"
_TELNYX = "telnyx.com/pricing/voice-api and telnyx.com/pricing/elastic-sip"
_VONAGE = "vonage.com/communications-apis/voice/pricing/"
_EXOTEL = "developer.exotel.com/docs/billing/pricing-model"

PUBLISHED = (
    PriceList(
        carrier="plivo",
        rounding_source="support.plivo.com, How will I be charged for calls",
        voice_in=_figure("0.0055", _PLIVO, "2026-09-30"),
        voice_out=_figure("0.0115", _PLIVO, "2026-09-30"),
        stream=_figure("0", _PLIVO, "2026-09-30", "listed as included; its documents have also named 0.003"),
        recording=_figure("0", "plivo.com/voice/pricing/ca/", "2026-09-01"),
        storage=_figure(
            "0.0004", "support.plivo.com, How can I track recording storage charges", "2026-11", "from day 91 on"
        ),
        number=_figure(
            "0.80", "plivo.com/docs/account/api/origin-based-pricing/", "2026-11", "its example of the United States"
        ),
    ),
    PriceList(
        carrier="twilio",
        rounding_source="support.twilio.com, How do you round minutes for billing",
        voice_in=_figure("0.0085", _TWILIO, "2026-09-30"),
        voice_out=_figure("0.0140", _TWILIO, "2026-09-30"),
        stream=_figure("0.0044", _TWILIO, "2026-09-30", "Media Streams"),
        recording=_figure("0.0025", _TWILIO, "2026-07-18"),
        storage=_figure("0.0005", _TWILIO, "2026-07-18"),
        number=_figure("1.15", _TWILIO, "2026-07-18"),
    ),
    PriceList(
        carrier="telnyx",
        rounding_source="support.telnyx.com, Billing increments",
        voice_in=_figure("0.0052", _TELNYX, "2026-09-30", "0.002 for the Voice API and from 0.0032 for the trunk"),
        voice_out=_figure("0.0070", _TELNYX, "2026-09-30", "0.002 for the Voice API and from 0.005 for the trunk"),
        stream=_figure("0.0035", "telnyx.com/pricing/call-control", "2026-09-01", "media streaming over WebSockets"),
        recording=_figure("0.002", "telnyx.com/pricing/call-control", "2026-09-01"),
        storage=_figure("0", "telnyx.com/pricing/voice-api", "2026-10-06"),
        number=_figure("1.00", "telnyx.com/pricing/numbers", "2026-09-01", "from"),
    ),
    PriceList(
        carrier="vonage",
        rounding=Rounding(1, 1),
        rounding_source="help.nexmo.com, How does voice pricing work for inbound and outbound calls",
        voice_in=_figure("0.00485", _VONAGE, "2026-09-30"),
        voice_out=_figure("0.00849", _VONAGE, "2026-09-30"),
    ),
    PriceList(
        carrier="exotel",
        currency="INR",
        country="IN",
        rounding_source=_EXOTEL,
        voice_in=_figure("0.50", _EXOTEL, "2026-11", "its worked example: the rate is the plan's"),
        voice_out=_figure("0.50", _EXOTEL, "2026-11", "its worked example: the rate is the plan's"),
        recording=_figure("0", _EXOTEL, "2026-11", "included"),
    ),
)
"""The lists, those of Plivo's first; docs/costs.md has them as a table."""


def read_prices(path: str | os.PathLike[str], lists: tuple[PriceList, ...] = PUBLISHED) -> tuple[PriceList, ...]:
    """The lists as a file changes them: carriers by name, each with the fields of `PriceList` that are other.

    A price is a number, or the fields of a `Figure`; `null` takes it away. A carrier of another name is a new list.

    Args:
        path: A YAML file.
        lists: What it changes.

    Raises:
        UsageError: It cannot be read, or something in it is wrong; the message names the file and the place.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(given, dict) for name, given in content.items()
    ):
        raise UsageError(f"{path}: it has to name carriers, each with its prices below it")
    found = {one.carrier: one for one in lists}
    for carrier, given in content.items():
        found[carrier] = _changed(found.get(carrier, PriceList(carrier=carrier)), given, f"{path}: {carrier}")
    return tuple(found.values())


def _changed(known: PriceList, given: dict[str, Any], place: str) -> PriceList:
    figures = {name: _written(value) for name, value in given.items() if name in FIGURES}
    before: dict[str, Any] = msgspec.to_builtins(known)
    try:
        changed = msgspec.convert({**before, **given, **figures, "carrier": known.carrier}, PriceList)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: {error}") from None
    for problem in _problems(changed):
        raise UsageError(f"{place}: {problem}")
    return changed


def _written(value: object) -> object:
    """A figure as its fields: a file may have a bare number, and YAML makes a day of what looks like one."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return {"price": value}
    if isinstance(value, dict):
        return {key: one.isoformat() if isinstance(one, date) else one for key, one in value.items()}
    return value


def _problems(prices: PriceList) -> Iterator[str]:
    if not _CURRENCY.fullmatch(prices.currency):
        yield "currency is not three capital letters"
    if not _COUNTRY.fullmatch(prices.country):
        yield "country is not two capital letters"
    for rounding in (prices.rounding, prices.stream_rounding or prices.rounding):
        if not (0 < rounding.first <= _MANY_SECONDS and 0 < rounding.step <= _MANY_SECONDS):
            yield "a rounding is of whole seconds above zero, to a day at most"
    for name in FIGURES:
        figure: Figure | None = getattr(prices, name)
        if figure is not None and not (figure.price.is_finite() and 0 <= figure.price <= _MOST):
            yield f"{name} is no price"
