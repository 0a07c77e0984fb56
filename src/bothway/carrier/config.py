"""The carrier's configuration file: accounts, applications, numbers and limits."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import yaml

from bothway.carrier.call_order import CallOrder
from bothway.carrier.callee import Callees
from bothway.carrier.callee_file import read_callees
from bothway.carrier.destination import bare_number
from bothway.carrier.rates import Rates
from bothway.carrier.store.records import PRICE_DECIMALS
from bothway.core.course import CallPlan
from bothway.core.profile import Limits
from bothway.errors import UsageError

__all__ = ["MOST_STREAMS", "Account", "Application", "Config", "Number", "RentableNumber", "load_config"]

MOST_STREAMS = 16
"""What `streams_per_call` may be: each stream of a call takes its share of every tick."""

_CURRENCY = re.compile("[A-Z]{3}")
_COUNTRY = re.compile("[A-Z]{2}")
_MOST_PRICE = 1_000_000


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account: its auth id is public, its token signs and authenticates.

    Attributes:
        name: What people call it.
        parent: The auth id of the main account, if this is a sub-account.
        timezone: Its IANA name; lists write their times with its offset (plivo-protocol.md, 5.1).
        currency: What it pays in, three letters (ISO 4217).
        cash_credits: What it has left to pay with.
        compliance_accepted: Whether its compliance application is accepted, which Indian numbers ask for.
    """

    auth_id: str
    auth_token: str
    name: str = ""
    parent: str | None = None
    timezone: str = "UTC"
    currency: str = "USD"
    cash_credits: Decimal = Decimal(0)
    compliance_accepted: bool = False
    address: str = ""
    city: str = ""
    state: str = ""

    def __repr__(self) -> str:
        return f"Account({self.auth_id})"

    @property
    def main_id(self) -> str:
        """The auth id of the main account: its parent's, or its own."""
        return self.parent or self.auth_id

    @property
    def zone(self) -> tzinfo:
        """The time zone.

        Raises:
            ZoneInfoNotFoundError, ValueError, OSError: There is none of that name.
        """
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens on a call to a number of this application."""

    name: str
    answer_url: str
    answer_method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    hangup_url: str | None = None
    hangup_method: str = "POST"
    time_limit: int = 14_400
    account: str | None = None

    def order(self) -> CallOrder:
        """What happens on a call that has come in."""
        plan = CallPlan(
            answer_url=self.answer_url,
            answer_method=self.answer_method,
            fallback_url=self.fallback_url,
            fallback_method=self.fallback_method,
            time_limit=self.time_limit,
        )
        return CallOrder(plan, self.hangup_url, self.hangup_method)


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that can be dialled."""

    number: str
    application: str


class RentableNumber(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number of the inventory, which accounts can find and rent over REST (plivo-protocol.md, 5.9).

    Attributes:
        number: With its country code.
        country: Two letters (ISO 3166).
        type: As the search names it.
        region: Of the country.
        voice: Whether it takes calls.
        monthly_rental_rate: Per month.
        setup_rate: Once.
        voice_rate: Per minute.
    """

    number: str
    country: str
    type: Literal["local", "tollfree", "mobile", "national", "fixed"] = "local"
    region: str = ""
    city: str = ""
    voice: bool = True
    monthly_rental_rate: Decimal = Decimal("0.80")
    setup_rate: Decimal = Decimal(0)
    voice_rate: Decimal = Decimal("0.0085")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of the file; `plus_in_numbers` is the field of `bothway.core.profile.Profile`."""

    accounts: tuple[Account, ...] = ()
    applications: tuple[Application, ...] = ()
    numbers: tuple[Number, ...] = ()
    inventory: tuple[RentableNumber, ...] = ()
    callees: Callees = Callees()
    barred: tuple[str, ...] = ()
    rates: Rates = Rates()
    limits: Limits = Limits()
    plus_in_numbers: bool = False

    def application_of(self, number: str) -> Application | None:
        """The application that answers `number`, written with or without its `+`."""
        wanted = bare_number(number)
        for entry in self.numbers:
            if bare_number(entry.number) == wanted:
                return next(found for found in self.applications if found.name == entry.application)
        return None

    def account(self, auth_id: str | None) -> Account | None:
        """The account of that id; without one, the first."""
        for account in self.accounts:
            if auth_id is None or account.auth_id == auth_id:
                return account
        return None


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and check a configuration file (docs/configuration.md).

    Raises:
        UsageError: It cannot be read, or something in it is wrong; the message names the file and the place, and holds
            nothing of what stands there, since that may be a token; but for the callees, which have none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML{_place(error)}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
    if isinstance(content, dict) and "callees" in content:
        content["callees"] = read_callees(text, name=str(path), folder=Path(path).parent)
    try:
        config = msgspec.convert({} if content is None else content, Config)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
    for problem in (*_limit_problems(content), *_problems(config)):
        raise UsageError(f"{path}: {problem}")
    return config


def _place(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ""
    mark = error.problem_mark
    return f", at line {mark.line + 1}, column {mark.column + 1}"


def _limit_problems(content: object) -> Iterator[str]:
    """What is wrong with the limits: unlike the rest they are a dataclass, of which a misspelt name goes unnoticed."""
    given = content.get("limits") if isinstance(content, dict) else None
    if not isinstance(given, dict):
        return
    known = {entry.name for entry in dataclasses.fields(Limits)}
    for name, value in given.items():
        if name not in known:
            yield f"limits: there is no limit {name!r}"
        elif name == "streams_per_call" and not 1 <= value <= MOST_STREAMS:
            yield f"limits: streams_per_call is a number from 1 to {MOST_STREAMS}"
        elif name == "degraded_percent" and not all(0 < percent <= 100 for percent in value):
            yield "limits: degraded_percent holds numbers from 1 to 100"
        elif name != "degraded_percent" and not value > 0:
            yield f"limits: {name} is a number above zero"


def _problems(config: Config) -> Iterator[str]:
    accounts = [account.auth_id for account in config.accounts]
    names = [application.name for application in config.applications]
    numbers = [bare_number(number.number) for number in config.numbers]
    rentables = [bare_number(rentable.number) for rentable in config.inventory]
    kinds = (("account", accounts), ("application", names), ("number", numbers), ("rentable number", rentables))
    for what, found in kinds:
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            yield f"the {what} {twice[0]} is there more than once"
    for place, account in enumerate(config.accounts, 1):
        for field in ("auth_id", "auth_token"):
            if not getattr(account, field):
                yield f"{field} of account {place} is empty"
        yield from _account_problems(account, config.accounts)
    for place, number in enumerate(config.numbers, 1):
        if not bare_number(number.number):
            yield f"number {place} is empty"
        if number.application not in names:
            yield f"number {number.number} names the application {number.application!r}, which is not among them"
    for prefix in config.barred:
        if not bare_number(prefix).isdecimal():
            yield f"barred: {prefix!r} is no beginning of a number"
    yield from _rate_problems(config.rates)
    for rentable in config.inventory:
        yield from _inventory_problems(rentable)
    for application in config.applications:
        yield from _application_problems(application, accounts)


def _account_problems(account: Account, accounts: tuple[Account, ...]) -> Iterator[str]:
    parents = [other.auth_id for other in accounts if other.parent is None]
    if account.parent is not None and account.parent not in parents:
        yield f"the parent of account {account.auth_id} is none of the main accounts"
    if not _CURRENCY.fullmatch(account.currency):
        yield f"the currency of account {account.auth_id} is not three capital letters"
    try:
        _ = account.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        yield f"the timezone of account {account.auth_id} is no IANA name of one, such as Europe/Paris"


def _rate_problems(rates: Rates) -> Iterator[str]:
    for field in Rates.__struct_fields__:
        if not _is_amount(getattr(rates, field)):
            yield f"{field} of the rates is no amount: it is 0 to {_MOST_PRICE}, with {PRICE_DECIMALS} decimals at most"


def _inventory_problems(rentable: RentableNumber) -> Iterator[str]:
    if not bare_number(rentable.number).isdecimal():
        yield f"the rentable number {rentable.number} is not digits"
    if not _COUNTRY.fullmatch(rentable.country):
        yield f"the country of the rentable number {rentable.number} is not two capital letters"
    for field in ("monthly_rental_rate", "setup_rate", "voice_rate"):
        rate: Decimal = getattr(rentable, field)
        if not _is_amount(rate):
            yield f"{field} of the rentable number {rentable.number} is no amount"


def _is_amount(price: Decimal) -> bool:
    """Whether records can keep it, and what a day of minutes comes to: else a call's end could not be written."""
    return price.is_finite() and 0 <= price <= _MOST_PRICE and price == round(price, PRICE_DECIMALS)


def _application_problems(application: Application, accounts: list[str]) -> Iterator[str]:
    for field in ("answer_method", "fallback_method", "hangup_method"):
        if getattr(application, field) not in {"GET", "POST"}:
            yield f"{field} of application {application.name} is neither GET nor POST"
    for field in ("answer_url", "fallback_url", "hangup_url"):
        url = getattr(application, field)
        if url is not None and not url.startswith(("http://", "https://")):
            yield f"{field} of application {application.name} is no http or https URL"
    if application.time_limit <= 0:
        yield f"time_limit of application {application.name} is no number of seconds above zero"
    if application.account is not None and application.account not in accounts:
        yield f"application {application.name} belongs to an account that is not there"
