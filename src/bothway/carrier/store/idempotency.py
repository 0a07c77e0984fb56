"""Requests that were made before, by the key that their client gave them."""

from __future__ import annotations

import hashlib
from asyncio import Future
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from bothway.carrier.store.database import Database
from bothway.carrier.store.records import Answer, CallRecord
from bothway.carrier.store.tables import calls as call_table
from bothway.carrier.store.tables import idempotency, insert, upsert
from bothway.errors import UsageError

__all__ = ["KEPT", "Idempotency"]

KEPT = timedelta(hours=24)
"""How long a key is remembered."""


class Idempotency:
    """Keys of requests, and what those were answered. Neither keys nor requests are stored, only their SHA-256.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self,
        account: str,
        key: str,
        request: bytes,
        answer: Answer,
        *,
        now: datetime,
        calls: Sequence[CallRecord] = (),
    ) -> Future[Answer | None]:
        """Remember an answer before acting, or find the one that was given.

        The answer and the calls that it promises are one transaction. So a request that is repeated after a crash gets
        the same answer, and the calls are either placed or closed as abandoned: never placed twice.

        Args:
            account: Whose key it is.
            key: What the client sent.
            request: What it asked for, so that one key is not used for two things.
            answer: What it will be answered.
            now: When.
            calls: The calls that this places, queued.

        Returns:
            Gets None where the key is new: act now. Otherwise the answer that was given: do not act.

        Raises:
            UsageError: From the future: the key was used for another request.
        """
        key_hash, request_hash = _hashed(account, key), hashlib.sha256(request).hexdigest()
        values = {
            "key_hash": key_hash,
            "request_hash": request_hash,
            "status": answer.status,
            "body": answer.body,
            "expires": now + KEPT,
        }

        wanted = (idempotency.c.request_hash, idempotency.c.status, idempotency.c.body)

        def job(connection: Connection) -> Answer | None:
            expired = (idempotency.c.key_hash == key_hash) & (idempotency.c.expires <= now)
            connection.execute(delete(idempotency).where(expired))
            new = insert(connection, idempotency).values(values).on_conflict_do_nothing()
            if connection.execute(new).rowcount:
                for call in calls:
                    upsert(connection, call_table, call)
                return None
            chosen = select(*wanted).where(idempotency.c.key_hash == key_hash)
            known_request, status, body = connection.execute(chosen).one()
            if known_request != request_hash:
                raise UsageError("this idempotency key was used for another request")
            return Answer(status, bytes(body))

        return self._database.write("an idempotency key", job)


def _hashed(account: str, key: str) -> str:
    return hashlib.sha256(f"{account}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()
