"""The records of applications."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace
from sqlalchemy import Connection, delete, select, update

from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import page
from bothway.carrier.store.records import MAX_PAGE, ApplicationRecord, Page
from bothway.carrier.store.tables import applications, change, numbers, record, upsert

__all__ = ["Applications"]

_LAST = "\U0010ffff"


class Applications:
    """What happens on calls to numbers.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, application: ApplicationRecord) -> Future[None]:
        """Write the whole record, whether or not it is there.

        One that is a default takes that from whichever was; a sub-account's defaults are its own matter. Raises as
        `Calls.save` does.
        """
        return self._database.write(f"application {application.app_id}", lambda c: _save(c, application))

    def add(self, application: ApplicationRecord) -> Future[bool]:
        """Write a new one, unless its account has another of its name; the future tells whether it was written."""

        def job(connection: Connection) -> bool:
            if _is_taken(connection, application):
                return False
            _save(connection, application)
            return True

        return self._database.write(f"application {application.app_id}", job)

    def change(self, app_id: str, values: Mapping[str, object]) -> Future[Literal["changed", "gone", "taken"]]:
        """Change these fields.

        Returns:
            Gets `gone` where it went meanwhile, and `taken` where its account has another of the new name; in both
            cases nothing is changed.
        """

        def job(connection: Connection) -> Literal["changed", "gone", "taken"]:
            known = _first(connection, app_id)
            if known is None:
                return "gone"
            application = replace(known, **values)
            if application.app_name != known.app_name and _is_taken(connection, application):
                return "taken"
            _save(connection, application)
            return "changed"

        return self._database.write(f"application {app_id}", job)

    async def get(self, app_id: str) -> ApplicationRecord | None:
        """An application, or None."""
        return await self._database.read(lambda c: _first(c, app_id))

    async def default(self, account: str, sub_account: str = "") -> ApplicationRecord | None:
        """The application that numbers get which are given none, or None: a sub-account's, or else its main account's.

        Args:
            account: The main account's auth id.
            sub_account: The sub-account's, or nothing.
        """
        chosen = (
            select(applications)
            .where(
                applications.c.account == account,
                applications.c.sub_account.in_(("", sub_account)),
                applications.c.default_app,
            )
            .order_by(applications.c.sub_account.desc())
        )

        def job(connection: Connection) -> ApplicationRecord | None:
            row = connection.execute(chosen).mappings().first()
            return record(ApplicationRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(
        self,
        account: str,
        *,
        name: str | None = None,
        sub_account: str | None = None,
        limit: int = MAX_PAGE,
        offset: int = 0,
    ) -> Page[ApplicationRecord]:
        """The applications of an account, those made last first.

        Args:
            account: The main account's auth id.
            name: How their names begin.
            sub_account: Whose they are.
            limit: How many at most.
            offset: How many are left out before them.
        """
        conditions = [applications.c.account == account]
        if name:
            conditions += [applications.c.app_name >= name, applications.c.app_name < name + _LAST]
        if sub_account is not None:
            conditions.append(applications.c.sub_account == sub_account)
        order = (applications.c.created.desc(), applications.c.app_id)
        return await self._database.read(
            lambda c: page(c, applications, ApplicationRecord, conditions, order, limit, offset)
        )

    def delete(self, app_id: str, *, heir: str | None = None) -> Future[bool]:
        """Forget an application; the future tells whether it was there.

        Args:
            app_id: Which.
            heir: The application that its numbers get; None for no one.
        """

        def job(connection: Connection) -> bool:
            connection.execute(update(numbers).where(numbers.c.application == app_id).values(application=heir))
            return connection.execute(delete(applications).where(applications.c.app_id == app_id)).rowcount > 0

        return self._database.write(f"application {app_id}", job)


def _save(connection: Connection, application: ApplicationRecord) -> None:
    others = (
        (applications.c.account == application.account)
        & (applications.c.sub_account == application.sub_account)
        & (applications.c.app_id != application.app_id)
    )
    for column in (applications.c.default_app, applications.c.default_endpoint_app):
        if getattr(application, column.name):
            change(connection, applications, {column.name: False}, others, column)
    upsert(connection, applications, application)


def _is_taken(connection: Connection, application: ApplicationRecord) -> bool:
    same = select(applications.c.app_id).where(
        applications.c.account == application.account,
        applications.c.app_name == application.app_name,
        applications.c.app_id != application.app_id,
    )
    return connection.execute(same).first() is not None


def _first(connection: Connection, app_id: str) -> ApplicationRecord | None:
    row = connection.execute(select(applications).where(applications.c.app_id == app_id)).mappings().first()
    return record(ApplicationRecord, row) if row is not None else None
