"""The records of accounts. No token is among them."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping

from sqlalchemy import Connection, delete, select, update

from bothway.carrier.store.database import Database
from bothway.carrier.store.lists import page
from bothway.carrier.store.records import MAX_PAGE, AccountRecord, Page
from bothway.carrier.store.tables import accounts, applications, change, numbers, record, upsert

__all__ = ["Accounts"]


class Accounts:
    """Sub-accounts, and what REST has changed of main ones.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, account: AccountRecord) -> Future[None]:
        """Write the whole record, whether or not it is there. Raises as `Calls.save` does."""
        return self._database.write(f"account {account.auth_id}", lambda c: upsert(c, accounts, account))

    def change(self, auth_id: str, values: Mapping[str, object]) -> Future[bool]:
        """Change these fields; the future tells whether the account was there: one that went meanwhile stays gone."""
        return self._database.write(
            f"account {auth_id}", lambda c: change(c, accounts, values, accounts.c.auth_id == auth_id)
        )

    async def get(self, auth_id: str) -> AccountRecord | None:
        """An account, or None."""

        def job(connection: Connection) -> AccountRecord | None:
            row = connection.execute(select(accounts).where(accounts.c.auth_id == auth_id)).mappings().first()
            return record(AccountRecord, row) if row is not None else None

        return await self._database.read(job)

    async def list(self, parent: str, *, limit: int = MAX_PAGE, offset: int = 0) -> Page[AccountRecord]:
        """The sub-accounts of an account, those made last first."""
        conditions = [accounts.c.parent == parent]
        order = (accounts.c.created.desc(), accounts.c.auth_id)
        return await self._database.read(lambda c: page(c, accounts, AccountRecord, conditions, order, limit, offset))

    def delete(self, auth_id: str, *, cascade: bool = False) -> Future[bool]:
        """Forget a sub-account; the future tells whether it was there.

        Args:
            auth_id: Which.
            cascade: Its applications go with it, and its numbers back into the inventory; otherwise both become the
                main account's own.
        """

        def job(connection: Connection) -> bool:
            its_own = (applications.c.sub_account == auth_id, numbers.c.sub_account == auth_id)
            if cascade:
                owned = select(applications.c.app_id).where(its_own[0])
                answered = numbers.c.application.in_(owned)
                connection.execute(update(numbers).where(answered).values(application=None))
                connection.execute(delete(applications).where(its_own[0]))
                back = {"account": None, "sub_account": "", "application": None, "alias": ""}
                connection.execute(update(numbers).where(its_own[1]).values(back))
            else:
                # What was a default of the sub-account's is not the main account's.
                heirless = {"sub_account": "", "default_app": False, "default_endpoint_app": False}
                connection.execute(update(applications).where(its_own[0]).values(heirless))
                connection.execute(update(numbers).where(its_own[1]).values(sub_account=""))
            return connection.execute(delete(accounts).where(accounts.c.auth_id == auth_id)).rowcount > 0

        return self._database.write(f"account {auth_id}", job)
