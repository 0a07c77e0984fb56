"""Accounts, numbers and applications: those that the configuration names, and those that were made over REST."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import cast

import msgspec

from bothway.carrier.api.access import Gate
from bothway.carrier.api.applications import new_app_id
from bothway.carrier.config import Account, Application, Config
from bothway.carrier.store.records import ApplicationRecord, Method, NumberRecord
from bothway.carrier.store.store import Store

__all__ = ["Directory"]

_NAMES = uuid.UUID("6f2c3c0e-2f0b-4f0a-9a55-6a2f6b0c7d11")  # of applications that a file names


class Directory:
    """Who answers a number, and whose token signs.

    Args:
        accounts: The main accounts, the carrier's own first, and sub-accounts with tokens of their own.
        config: The configuration.
        gate: Knows the accounts.
        store: The records.
    """

    def __init__(self, accounts: Sequence[Account], config: Config, gate: Gate, store: Store) -> None:
        self._accounts = accounts
        self._config = config
        self._gate = gate
        self._store = store

    async def fill(self, now: datetime) -> None:
        """Put what the configuration names into the records, where REST finds it. The file outweighs what is there."""
        config = self._config
        ids = {application.name: self._app_id(application) for application in config.applications}
        for application in config.applications:
            await self._store.applications.save(self._record(application, ids[application.name], now))
        owners = {application.name: self._owner(application) for application in config.applications}
        for number in config.numbers:
            owner = owners[number.application]
            known = await self._store.numbers.get(number.number)
            await self._store.numbers.save(
                msgspec.structs.replace(
                    known or NumberRecord(number=number.number, country="", added_on=now),
                    account=owner.main_id,
                    sub_account=owner.auth_id if owner.parent else "",
                    application=ids[number.application],
                )
            )
        if config.inventory:
            await self._store.numbers.stock(
                [
                    NumberRecord(
                        number=number.number,
                        country=number.country,
                        added_on=now,
                        number_type=number.type,
                        voice_enabled=number.voice,
                        monthly_rental_rate=number.monthly_rental_rate,
                        setup_rate=number.setup_rate,
                        voice_rate=number.voice_rate,
                        region=number.region,
                        city=number.city,
                    )
                    for number in config.inventory
                ]
            )

    async def account(self, auth_id: str) -> tuple[Account, str] | None:
        """An account and the token of its main account; None if there is none of that id."""
        account = await self._gate.account(auth_id)
        if account is None:
            return None
        main = await self._gate.account(account.main_id)
        return account, (main or account).auth_token

    async def answering(self, number: str) -> tuple[Application, Account] | None:
        """What answers a number, and whose it is; None where nobody has it, or nothing answers."""
        found = await self._store.numbers.application_of(number)
        if found is None:
            return None
        record, answers = found
        if answers is None or not answers.enabled or not answers.answer_url:
            return None
        account = await self._gate.account(answers.sub_account or record.sub_account or answers.account)
        if account is None:
            return None
        application = Application(
            name=answers.app_name,
            answer_url=answers.answer_url,
            answer_method=answers.answer_method,
            fallback_url=answers.fallback_answer_url or None,
            fallback_method=answers.fallback_method,
            hangup_url=answers.hangup_url or None,
            hangup_method=answers.hangup_method,
            time_limit=answers.time_limit,
        )
        return application, account

    def _owner(self, application: Application) -> Account:
        wanted = application.account
        return next((account for account in self._accounts if account.auth_id == wanted), self._accounts[0])

    def _app_id(self, application: Application) -> str:
        """The same in every run."""
        return new_app_id(str(uuid.uuid5(_NAMES, f"{self._owner(application).auth_id}/{application.name}")))

    def _record(self, application: Application, app_id: str, now: datetime) -> ApplicationRecord:
        owner = self._owner(application)
        return ApplicationRecord(
            app_id=app_id,
            account=owner.main_id,
            sub_account=owner.auth_id if owner.parent else "",
            app_name=application.name,
            created=now,
            answer_url=application.answer_url,
            answer_method=cast("Method", application.answer_method),
            fallback_answer_url=application.fallback_url or "",
            fallback_method=cast("Method", application.fallback_method),
            hangup_url=application.hangup_url or "",
            hangup_method=cast("Method", application.hangup_method),
            time_limit=application.time_limit,
        )
