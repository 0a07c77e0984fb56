"""A call's way to its application's HTTP URLs: documents fetched, callbacks delivered, all of them signed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bothway.carrier.config import Account
from bothway.carrier.node import Node, fetch_outcome
from bothway.errors import BothwayError, PeerError
from bothway.runtime.http import FetchError, FetchPolicy, redacted, server_of
from bothway.wire.signature import Nonces, webhook_headers

__all__ = ["ANSWER_SECONDS", "MAX_BODY", "MAX_CALLBACKS", "Report", "WebhookClient", "signed_by"]

ANSWER_SECONDS = 15.0
"""How long an answer document may take, whatever the delivery policy says (plivo-protocol.md, 7.1 and section 9)."""

MAX_BODY = 1024 * 1024
"""Bytes read of any answer: more than a document may have, so that the parser can say how long it is."""

MAX_CALLBACKS = 1_000
"""Callbacks of one call that may wait for one server: a slow one loses the newest, and the log says so."""

_METRICS_KIND = {"answer": "answer", "fallback": "answer", "redirect": "action"}

logger = logging.getLogger(__name__)

Report = Callable[..., None]
"""`(event, **facts)`: a record for the call's log."""


@dataclass(frozen=True, slots=True)
class _Callback:
    kind: str
    url: str
    method: str
    params: Mapping[str, str]


def _nobody(_event: str, **_facts: object) -> None:
    """Reported to when all is delivered: there is nothing more."""


class WebhookClient:
    """Requests of one call.

    Callbacks to one server are delivered one after another, in the order in which they were made. Those to different
    servers do not wait for each other: a dead status URL must not hold up the report of the call's end.

    Args:
        node: Has the HTTP client, the nonces and the counters.
        account: Whose token signs.
        report: Puts a record into the call's log.
    """

    def __init__(self, node: Node, account: Account, report: Report) -> None:
        self._loop = asyncio.get_running_loop()
        self._node = node
        self._account = account
        self._report = report
        self._queues: dict[str, asyncio.Queue[_Callback | None]] = {}  # by server
        self._deliveries: list[asyncio.Task[None]] = []

    async def fetch(self, kind: str, url: str, method: str, params: Mapping[str, str]) -> bytes:
        """A document.

        Args:
            kind: `answer`, `fallback` or `redirect`.
            url: Where, with its delivery policy.
            method: `GET` or `POST`.
            params: What it is told of the call.

        Raises:
            PeerError: It cannot be had; the message says why.
            UsageError: The URL cannot be signed, or the method is another one.
        """
        began, outcome = self._loop.time(), "invalid"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._node.http.request(
                    method, url, form=params, policy=FetchPolicy.parse(url), max_body=MAX_BODY, sign=self._sign
                )
            outcome = "ok"
        except TimeoutError:
            outcome = "timeout"
            raise PeerError(f"{redacted(url)} gave no document within {ANSWER_SECONDS:g} s") from None
        except FetchError as error:
            outcome = fetch_outcome(error)
            raise
        finally:
            self._node.metrics.fetched(_METRICS_KIND.get(kind, "other"), outcome, self._loop.time() - began)
        return response.body

    def call_back(self, kind: str, url: str, method: str, params: Mapping[str, str]) -> None:
        """Deliver a callback after those before it to the same server. Nothing waits for it.

        Args:
            kind: `hangup`, or `stream` for a stream's status callback. Beyond `MAX_CALLBACKS` waiting ones, only the
                former is still taken.
            url: Where, with its delivery policy.
            method: `GET` or `POST`.
            params: What it is told.
        """
        server = server_of(url)
        queue = self._queues.get(server)
        if queue is None:
            queue = self._queues[server] = asyncio.Queue()
            self._deliveries.append(self._node.tasks.spawn(self._deliver(queue), "callbacks"))
        if queue.qsize() >= MAX_CALLBACKS and kind != "hangup":
            self._report("callback", kind=kind, url=redacted(url), error="too many callbacks are waiting: dropped")
            return
        queue.put_nowait(_Callback(kind, url, method, params))

    async def close(self) -> None:
        """Wait until every callback was delivered, or has failed."""
        for queue in self._queues.values():
            queue.put_nowait(None)
        await asyncio.gather(*self._deliveries)
        self._report = _nobody

    async def _deliver(self, queue: asyncio.Queue[_Callback | None]) -> None:
        while (callback := await queue.get()) is not None:
            facts = {"kind": callback.kind, "url": redacted(callback.url), "what": callback.params.get("Event", "")}
            try:
                response = await self._node.http.request(
                    callback.method,
                    callback.url,
                    form=callback.params,
                    # A stream's status callback has no policy of its own (plivo-protocol.md, 6.8).
                    policy=FetchPolicy() if callback.kind == "stream" else FetchPolicy.parse(callback.url),
                    max_body=MAX_BODY,
                    sign=self._sign,
                )
            except BothwayError as error:
                self._node.metrics.callbacks("abandoned").inc()
                logger.warning("a %s callback failed: %s", callback.kind, error)
                self._report("callback", **facts, error=str(error))
            else:
                self._node.metrics.callbacks("delivered").inc()
                self._report("callback", **facts, status=response.status)

    def _sign(self, method: str, url: str, form: Mapping[str, str]) -> Mapping[str, str]:
        account = self._account
        return signed_by(account, self._node.main_token(account), self._node.ids.nonces(), method, url, form)


def signed_by(
    account: Account, main_token: str, nonces: Nonces, method: str, url: str, form: Mapping[str, str]
) -> Mapping[str, str]:
    """The headers of a request to an account's URL: signed with its own token, and with its main account's."""
    return webhook_headers(method, url, form or None, account.auth_token, main_token, nonces)
