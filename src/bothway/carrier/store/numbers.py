"""The records of phone numbers: those that accounts have, and those for rent."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import asdict, replace
from sqlalchemy import ColumnElement, Connection, func, select

from bothway.carrier.destination import bare_number
from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import begins, page
from bothway.carrier.store.records import MAX_PAGE, ApplicationRecord, NumberFilter, NumberRecord, Page
from bothway.carrier.store.tables import applications, change, insert, numbers, record, upsert

__all__ = ["EVERYTHING", "Numbers"]

EVERYTHING = NumberFilter()
"""No conditions."""

_SERVICES = {"voice": numbers.c.voice_enabled, "sms": numbers.c.sms_enabled, "mms": numbers.c.mms_enabled}


class Numbers:
    """Phone numbers, by their digits: a `+`, spaces and dashes do not matter.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, number: NumberRecord) -> Future[None]:
        """Write the whole record, whether or not it is there. Raises as `Calls.save` does."""
        bare = replace(number, number=bare_number(number.number))
        return self._database.write(f"number {bare.number}", lambda c: upsert(c, numbers, bare))

    def change(self, number: str, account: str, values: Mapping[str, object]) -> Future[bool]:
        """Change these fields of a number of an account; the future tells whether the account had it.

        One that was given back meanwhile, and may be somebody else's, is left alone.
        """
        bare = bare_number(number)
        its_own = (numbers.c.number == bare) & (numbers.c.account == account)
        return self._database.write(f"number {bare}", lambda c: change(c, numbers, values, its_own))

    def bring(self, brought: Sequence[NumberRecord]) -> Future[str | None]:
        """Write new numbers of an account: all of them, or none where one is known already, which the future gets."""
        bare = [asdict(replace(number, number=bare_number(number.number))) for number in brought]
        known = select(numbers.c.number).where(numbers.c.number.in_([one["number"] for one in bare]))

        def job(connection: Connection) -> str | None:
            found: str | None = connection.execute(known.order_by(numbers.c.number)).scalar()
            if found is None:
                connection.execute(insert(connection, numbers), bare)
            return found

        return self._database.write(f"{len(bare)} numbers of one's own", job)

    def stock(self, offered: Sequence[NumberRecord]) -> Future[int]:
        """Put numbers into the inventory that are not known yet, and leave those alone that are: they may be rented.

        Returns:
            Gets how many are new.
        """
        bare = [replace(number, number=bare_number(number.number)) for number in offered]

        def job(connection: Connection) -> int:
            return sum(_add(connection, number) for number in bare)

        return self._database.write("the inventory of numbers", job)

    async def get(self, number: str) -> NumberRecord | None:
        """A number, an account's or for rent, or None."""
        return await self._database.read(lambda c: _first(c, bare_number(number)))

    async def application_of(self, number: str) -> tuple[NumberRecord, ApplicationRecord | None] | None:
        """Who answers a number: the number and its application if it has one; None where no account has the number."""

        def job(connection: Connection) -> tuple[NumberRecord, ApplicationRecord | None] | None:
            found = _first(connection, bare_number(number))
            if found is None or found.account is None:
                return None
            chosen = select(applications).where(applications.c.app_id == found.application)
            row = connection.execute(chosen).mappings().first()
            return found, record(ApplicationRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(
        self, account: str, wanted: NumberFilter = EVERYTHING, *, limit: int = MAX_PAGE, offset: int = 0
    ) -> Page[NumberRecord]:
        """The numbers of an account, those rented last first.

        Args:
            account: The main account's auth id.
            wanted: Which of them.
            limit: How many at most.
            offset: How many are left out before them.
        """
        conditions = [numbers.c.account == account, *_conditions(wanted)]
        order = (numbers.c.added_on.desc(), numbers.c.number)
        return await self._database.read(lambda c: page(c, numbers, NumberRecord, conditions, order, limit, offset))

    async def search(
        self, wanted: NumberFilter = EVERYTHING, *, limit: int = MAX_PAGE, offset: int = 0
    ) -> Page[NumberRecord]:
        """Numbers for rent, by their digits; see `list`."""
        conditions = [numbers.c.account.is_(None), *_conditions(wanted)]
        order = (numbers.c.number,)
        return await self._database.read(lambda c: page(c, numbers, NumberRecord, conditions, order, limit, offset))

    def rent(
        self,
        number: str,
        account: str,
        *,
        at: datetime,
        application: str | None = None,
        sub_account: str = "",
        alias: str = "",
        cnam_lookup: str = "disabled",
        compliance_application_id: str = "",
    ) -> Future[NumberRecord | None]:
        """Give a number to an account.

        Args:
            number: Which.
            account: The main account's auth id.
            at: When.
            application: Who answers it, by id.
            sub_account: Whose it is.
            alias: What people call it.
            cnam_lookup: `enabled` or `disabled`.
            compliance_application_id: Under which papers.

        Returns:
            Gets the number; or None where it is not for rent, or not any more: nobody else gets it after that.
        """
        bare = bare_number(number)
        given = {
            "account": account,
            "sub_account": sub_account,
            "application": application,
            "added_on": at,
            "alias": alias,
            "cnam_lookup": cnam_lookup,
            "compliance_application_id": compliance_application_id,
        }

        def job(connection: Connection) -> NumberRecord | None:
            is_free = (numbers.c.number == bare) & numbers.c.account.is_(None)
            return _first(connection, bare) if change(connection, numbers, given, is_free) else None

        return self._database.write(f"the rent of {bare}", job)

    def release(self, number: str, account: str) -> Future[bool]:
        """Put a number of an account back into the inventory; the future tells whether the account had it."""
        bare = bare_number(number)
        its_own = (numbers.c.number == bare) & (numbers.c.account == account)
        back = {"account": None, "sub_account": "", "application": None, "alias": ""}
        return self._database.write(f"the release of {bare}", lambda c: change(c, numbers, back, its_own))


def _first(connection: Connection, number: str) -> NumberRecord | None:
    row = connection.execute(select(numbers).where(numbers.c.number == number)).mappings().first()
    return record(NumberRecord, row) if row is not None else None


def _add(connection: Connection, number: NumberRecord) -> bool:
    return connection.execute(insert(connection, numbers).values(asdict(number)).on_conflict_do_nothing()).rowcount > 0


def _conditions(wanted: NumberFilter) -> list[ColumnElement[bool]]:
    exact = (
        (numbers.c.sub_account, wanted.sub_account),
        (numbers.c.number_type, wanted.number_type),
        (numbers.c.alias, wanted.alias),
        (numbers.c.application, wanted.application),
        (numbers.c.lata, wanted.lata),
        (numbers.c.cnam_lookup, wanted.cnam_lookup),
    )
    in_any_case = (
        (numbers.c.country, wanted.country),
        (numbers.c.region, wanted.region),
        (numbers.c.city, wanted.city),
        (numbers.c.rate_center, wanted.rate_center),
    )
    return [
        *(column == value for column, value in exact if value is not None),
        *(func.lower(column) == _lower(value) for column, value in in_any_case if value is not None),
        *begins(numbers.c.number, wanted.prefix),
        *(_SERVICES[service] for service in sorted(wanted.services)),
    ]


def _lower(text: str) -> str:
    """As both databases have it: ASCII alone."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
