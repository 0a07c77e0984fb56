"""A call's way to its application's HTTP URLs: documents fetched, callbacks delivered, all of them signed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bothway.carrier.config import Account
from bothway.carrier.node import Node
from bothway.errors import PeerError
from bothway.runtime.http import FetchPolicy, redacted
from bothway.wire.signature import webhook_headers

__all__ = ["ANSWER_SECONDS", "MAX_CALLBACKS", "WebhookClient"]

ANSWER_SECONDS = 15.0
"""How long an answer document may take, whatever the delivery policy says (plivo-protocol.md, 7.1 and section 9)."""

MAX_BODY = 1024 * 1024
"""Bytes read of any answer: more than a document may have, so that the parser can say how long it is."""

MAX_CALLBACKS = 1_000
"""Callbacks of one call that may wait: a caller of a slow URL loses the newest, and the log says so."""

logger = logging.getLogger(__name__)

Report = Callable[..., None]
"""`(event, **facts)`: a record for the call's log."""


@dataclass(frozen=True, slots=True)
class _Callback:
    kind: str
    url: str
    method: str
    params: Mapping[str, str]


class WebhookClient:
    """Requests of one call. Callbacks are delivered one after another, in the order in which they were made.

    Args:
        node: Has the HTTP client, the nonces and the counters.
        account: Whose token signs.
        report: Puts a record into the call's log.
    """

    def __init__(self, node: Node, account: Account, report: Report) -> None:
        self._node = node
        self._account = account
        self._report = report
        self._callbacks: asyncio.Queue[_Callback | None] = asyncio.Queue(MAX_CALLBACKS + 1)
        self._delivery: asyncio.Task[None] | None = None

    async def fetch(self, kind: str, url: str, method: str, params: Mapping[str, str]) -> bytes:
        """A document.

        Raises:
            PeerError: It cannot be had; the message says why.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._node.http.request(
                    method,
                    url,
                    form=params,
                    policy=FetchPolicy.parse(url),
                    max_body=MAX_BODY,
                    sign=self._sign,
                )
        except TimeoutError:
            self._count(kind, "timeout")
            raise PeerError(f"{redacted(url)} gave no document within {ANSWER_SECONDS:g} s") from None
        except PeerError:
            self._count(kind, "failed")
            raise
        self._count(kind, "ok")
        return response.body

    def call_back(self, kind: str, url: str, method: str, params: Mapping[str, str]) -> None:
        """Deliver a callback after those before it. Nothing waits for it."""
        if self._delivery is None:
            self._delivery = self._node.tasks.spawn(self._deliver(), "callbacks")
        if self._callbacks.qsize() >= MAX_CALLBACKS:
            self._report("callback", kind=kind, url=redacted(url), error="too many callbacks are waiting: dropped")
            return
        self._callbacks.put_nowait(_Callback(kind, url, method, params))

    async def close(self) -> None:
        """Wait until every callback was delivered, or has failed."""
        if self._delivery is not None:
            self._callbacks.put_nowait(None)
            await self._delivery

    async def _deliver(self) -> None:
        while (callback := await self._callbacks.get()) is not None:
            facts = {"kind": callback.kind, "url": redacted(callback.url), "what": callback.params.get("Event", "")}
            try:
                response = await self._node.http.request(
                    callback.method,
                    callback.url,
                    form=callback.params,
                    policy=FetchPolicy.parse(callback.url),
                    max_body=MAX_BODY,
                    sign=self._sign,
                )
            except PeerError as error:
                self._count(callback.kind, "failed")
                logger.warning("a %s callback failed: %s", callback.kind, error)
                self._report("callback", **facts, error=str(error))
            else:
                self._count(callback.kind, "ok")
                self._report("callback", **facts, status=response.status)

    def _sign(self, method: str, url: str, form: Mapping[str, str]) -> Mapping[str, str]:
        token = self._account.auth_token
        return webhook_headers(method, url, form or None, token, token, self._node.ids.nonces())

    def _count(self, kind: str, outcome: str) -> None:
        self._node.metrics.fetch(kind, outcome)
