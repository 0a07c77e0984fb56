"""The carrier's configuration file: accounts, applications, numbers and limits."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import yaml

from bothway.core.call import CallPlan
from bothway.core.profile import Limits
from bothway.errors import UsageError

__all__ = ["Account", "Application", "Config", "Number", "load_config"]


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account: its auth id is public, its token signs and authenticates."""

    auth_id: str
    auth_token: str

    def __repr__(self) -> str:
        return f"Account({self.auth_id})"


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

    def plan(self) -> CallPlan:
        """What the call machine needs of it."""
        return CallPlan(
            answer_url=self.answer_url,
            answer_method=self.answer_method,
            fallback_url=self.fallback_url,
            fallback_method=self.fallback_method,
            time_limit=self.time_limit,
        )


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that can be dialled."""

    number: str
    application: str


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of the file."""

    accounts: tuple[Account, ...] = ()
    applications: tuple[Application, ...] = ()
    numbers: tuple[Number, ...] = ()
    limits: Limits = Limits()

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


def bare_number(number: str) -> str:
    """A number without the `+`, spaces and dashes that people write into it."""
    return number.strip().replace(" ", "").replace("-", "").removeprefix("+")


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and check a configuration file (docs/configuration.md).

    Raises:
        UsageError: It cannot be read, or something in it is wrong; the message names the file and the place.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}") from None
    try:
        config = msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
    _check(config, path)
    return config


def _check(config: Config, path: str | os.PathLike[str]) -> None:
    names = [application.name for application in config.applications]
    numbers = [bare_number(number.number) for number in config.numbers]
    for what, found in (("application", names), ("number", numbers)):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise UsageError(f"{path}: the {what} {twice[0]} is there more than once")
    for number in config.numbers:
        if number.application not in names:
            raise UsageError(f"{path}: number {number.number} names the application {number.application!r}, "
                             f"which is not among them")  # fmt: skip
    for application in config.applications:
        for field in ("answer_method", "fallback_method", "hangup_method"):
            if getattr(application, field) not in {"GET", "POST"}:
                raise UsageError(f"{path}: {field} of application {application.name} is neither GET nor POST")
        for field in ("answer_url", "fallback_url", "hangup_url"):
            url = getattr(application, field)
            if url is not None and not url.startswith(("http://", "https://")):
                raise UsageError(f"{path}: {field} of application {application.name} is no http or https URL")
        if application.account is not None and config.account(application.account) is None:
            raise UsageError(f"{path}: application {application.name} belongs to an account that is not there")
