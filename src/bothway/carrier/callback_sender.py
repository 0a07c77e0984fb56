"""Sends the callbacks of the outbox: signed for whose call it was, and told to the call's log while there is one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from bothway.carrier.config import Account
from bothway.carrier.node import Node
from bothway.carrier.store.records import OutboxItem
from bothway.carrier.webhook_client import MAX_BODY, Report, signed_by
from bothway.errors import UsageError
from bothway.runtime.http import FetchError, FetchPolicy, redacted

__all__ = ["CallbackSender", "FindAccount", "FindReport"]

FindAccount = Callable[[str], Awaitable[tuple[Account, str] | None]]
"""`(auth id) -> the account and its main account's token`."""

FindReport = Callable[[str], Report | None]
"""`(call id) -> where what happens to the call is reported`; None once it is accounted for."""

_NEVER = frozenset({"private", "invalid-url"})
"""What is refused here will be refused again."""

_LATER = frozenset({408, 425, 429})
"""The 4xx that do not refuse what came, but ask for it later (RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4)."""

logger = logging.getLogger(__name__)


class CallbackSender:
    """The way of the outbox's items to their URLs.

    Args:
        node: Has the HTTP client, the nonces and the counters.
        accounts: Finds whose token signs.
        reports: Finds the log of a call.
    """

    def __init__(self, node: Node, accounts: FindAccount, reports: FindReport) -> None:
        self._node = node
        self._accounts = accounts
        self._reports = reports

    async def send(self, item: OutboxItem) -> None:
        """Send it once; returns when there is nothing more to be done about it.

        A server that answers with a 4xx has got it and does not want it, unless it says that it is too early or too
        much, and an address that may not be called will not do so later: both are the end of it.

        Raises:
            FetchError: It was not delivered, and may be later.
        """
        facts = {"kind": item.kind, "url": redacted(item.url), "what": item.params.get("Event", "")}
        found = await self._accounts(item.account)
        if found is None:
            self._failed(item, facts, f"the account {item.account} is gone, whose token would sign it")
            return
        account, main_token = found

        def sign(method: str, url: str, form: Mapping[str, str]) -> Mapping[str, str]:
            return signed_by(account, main_token, self._node.ids.nonces(), method, url, form)

        try:
            response = await self._node.http.request(
                item.method,
                item.url,
                form=item.params,
                # A stream's status callback has no policy of its own (plivo-protocol.md, 6.8).
                policy=FetchPolicy() if item.kind == "stream" else FetchPolicy.parse(item.url),
                max_body=MAX_BODY,
                sign=sign,
            )
        except UsageError as error:
            self._failed(item, facts, str(error))
        except FetchError as error:
            self._failed(item, facts, str(error))
            status = error.response.status if error.response is not None else 0
            refused = 400 <= status < 500 and status not in _LATER
            if not refused and error.reason not in _NEVER:
                raise
        else:
            self._node.metrics.callbacks("delivered").inc()
            self._report(item, facts, status=response.status)

    def _failed(self, item: OutboxItem, facts: Mapping[str, str], error: str) -> None:
        self._node.metrics.callbacks("abandoned").inc()
        logger.warning("a %s callback failed: %s", item.kind, error)
        self._report(item, facts, error=error)

    def _report(self, item: OutboxItem, facts: Mapping[str, str], **outcome: object) -> None:
        report = self._reports(item.call_uuid)
        if report is not None:
            report("callback", **facts, **outcome)
