"""The carrier: takes calls from legs, keeps them, and answers for them over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

from bothway.carrier.aftermath import Aftermath
from bothway.carrier.api.access import Gate, account_of
from bothway.carrier.api.elsewhere import Elsewhere
from bothway.carrier.api.operations import Resources
from bothway.carrier.api.rest import RestApi
from bothway.carrier.call_order import Party
from bothway.carrier.callback_sender import CallbackSender
from bothway.carrier.config import Account, Application, Config
from bothway.carrier.directory import Directory
from bothway.carrier.exchange import Exchange
from bothway.carrier.keys import Keys
from bothway.carrier.leg import Leg
from bothway.carrier.legs.websocket import WebSocketLeg
from bothway.carrier.lines import Lines
from bothway.carrier.live_call import LiveCall
from bothway.carrier.neighbours import Neighbours
from bothway.carrier.node import Ids, Node
from bothway.carrier.node_slot import NodeSlot, StartTurn
from bothway.carrier.recording_upkeep import look_after_recordings, unfinished_recordings
from bothway.carrier.recordings import Recordings
from bothway.carrier.recovery import LiveCalls, recover
from bothway.carrier.store.delivery import Delivery
from bothway.carrier.store.records import OutboxItem, StoreError
from bothway.carrier.store.store import Store
from bothway.carrier.switchboard import Switchboard
from bothway.carrier.ticker import Ticker
from bothway.carrier.webhook_client import Report
from bothway.carrier.writer import Writer
from bothway.core.profile import DOCUMENTED, Profile
from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp
from bothway.runtime.duplex import Connect, Receiver, Refusal, UpgradeRequest
from bothway.runtime.duplex_picows import connect
from bothway.runtime.health import Health
from bothway.runtime.http import HttpClient, HttpRequester
from bothway.runtime.logs import redact
from bothway.runtime.metrics import Metrics
from bothway.runtime.server import Server
from bothway.runtime.tasks import Tasks
from bothway.speech.protocols import SpeechToText, TextToSpeech
from bothway.speech.voices import offline_voice
from bothway.wire.leg import LEG_PATH, Dial

__all__ = ["Carrier", "new_account"]

_CUSTOM_HEADER = re.compile(r"(?i:X-PH)-[A-Za-z0-9_-]{1,64}")
"""What a caller may add to the parameters of its call's webhooks (plivo-protocol.md, 6.2)."""

logger = logging.getLogger(__name__)


def new_account() -> Account:
    """An account with a new id and token: 20 characters beginning with MA, as the official SDK checks."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return Account("MA" + "".join(secrets.choice(letters) for _ in range(18)), secrets.token_urlsafe(30))


class Carrier:
    """One carrier node: its HTTP port, its calls, and all that they share.

    Use it with `async with`, or call `start` and `stop`.

    Args:
        account: The account that owns calls without an application of their own, and whose credentials legs and REST
            present; the first account of `config` if it has any.
        config: Accounts, applications and numbers. Its limits do not count here: `profile` has those that do.
        profile: What the carrier does where sources disagree.
        host: Where to listen; None listens nowhere, and leaves it to others to serve `api`.
        port: Where to listen; 0 for a free port.
        data: The folder for evidence, recordings and records; None keeps nothing but recordings, and those until the
            carrier stops.
        db: The URL of the database for records, if not the data folder's own.
        record_audio: Whether calls are recorded into it.
        allow_private: Whether documents, callbacks and streams may be in private networks, this machine's included.
        voice: Says `<Speak>`; the offline voice of this machine by default. It closes with the carrier.
        ears: Recognise speech for `<GetInput>`, and close with the carrier; without, what callers say is no input.
        http: Fetches documents and calls callbacks; an `HttpClient` by default.
        connect: Opens streams; over sockets by default.
        tls: Serves HTTPS and WSS.
        public_url: The origin at which clients reach the HTTP API, if not at `url`; it is in the URLs of recordings.
        workers: How many carriers share the port, the data folder and the account's rate of calls: a request for a call
            that another of them has is passed on to it.
        seed: Makes ids and nonces the same in every run; for tests only.

    Attributes:
        api: The HTTP API, an ASGI application.
        public_url: As given; empty where nothing was.
        lines: Everything that can be called, once the carrier has started.
    """

    def __init__(
        self,
        *,
        account: Account | None = None,
        config: Config | None = None,
        profile: Profile = DOCUMENTED,
        host: str | None = "127.0.0.1",
        port: int = 0,
        data: Path | None = None,
        db: str | None = None,
        record_audio: bool = False,
        allow_private: bool = False,
        voice: TextToSpeech | None = None,
        ears: SpeechToText | None = None,
        http: HttpRequester | None = None,
        connect: Connect = connect,
        tls: ssl.SSLContext | None = None,
        public_url: str | None = None,
        workers: int = 1,
        seed: int | None = None,
    ) -> None:
        self.config = config or Config()
        self.account = account or self.config.account(None) or new_account()
        self.profile = _share_of(profile, workers, data)
        self._workers = workers
        self.metrics = Metrics()
        self.health = Health()
        self._data = data
        self._db = db
        self._record_audio = record_audio
        self._allow_private = allow_private
        self._voice = voice
        self._ears = ears
        self._http = http
        self._connect = connect
        self.public_url = (public_url or "").rstrip("/")
        self._own_http: HttpClient | None = None
        self._seed = seed
        self._ids = Ids(seed)
        self._node: Node | None = None
        self._directory: Directory | None = None
        self._exchange: Exchange | None = None
        self._live: LiveCalls | None = None
        self._slot = NodeSlot()
        self._neighbours: Neighbours | None = None
        self._store: Store | None = None
        self._delivery: Delivery | None = None
        self._aftermath: Aftermath | None = None
        self._tasks: Tasks | None = None
        self._switchboard: Switchboard | None = None
        own = {self.account.auth_id: self.account}
        self._accounts = tuple((own | {known.auth_id: known for known in self.config.accounts}).values())
        for known in self._accounts:
            redact(known.auth_token)
        self._rest = RestApi(self.health, self.metrics, self.new_id, requests_per_5s=profile.limits.requests_per_5s)
        self.api: ASGIApp = self._rest
        self._server: Server | None = None
        if host is not None:
            self._server = Server(self.api, self._accept, host=host, port=port, ssl=tls, reuse_port=workers > 1)

    @property
    def url(self) -> str:
        """Where the carrier's HTTP API is, once it has started.

        Raises:
            UsageError: It listens nowhere.
        """
        if self._server is None:
            raise UsageError("this carrier has no URL: it was made with host=None, and listens nowhere")
        return self._server.url

    @property
    def leg_url(self) -> str:
        """Where WebSocket legs connect, once it has started.

        Raises:
            UsageError: It listens nowhere.
        """
        return "ws" + self.url.removeprefix("http") + LEG_PATH

    @property
    def calls(self) -> dict[str, LiveCall]:
        """The calls that live, or whose last callbacks are still being delivered, by id."""
        return self._switchboard.calls if self._switchboard is not None else {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, and take calls.

        Raises:
            UsageError: The port cannot be had, or the data folder cannot be written.
        """
        if self._http is None:
            self._http = self._own_http = HttpClient(allow_private=self._allow_private)
        turn = StartTurn()
        if self._data is not None:
            turn, self._slot = await asyncio.to_thread(_prepare, self._data)
            self._ids.belong_to(self._slot.number)
        try:
            await self._start(turn, self._http)
        finally:
            turn.end()

    async def _start(self, turn: StartTurn, http: HttpRequester) -> None:
        """Start, with a number among the carriers of the data folder."""
        self._tasks = Tasks()
        try:
            keys = await asyncio.to_thread(Keys.load, self._data)
            self._store = await Store.open(self._db or self._data, node=self._slot.name, on_failure=self._write_failed)
        except BaseException:
            self._slot.release()
            raise
        self._delivery = Delivery(self._store, self._send, now=_now, on_dead=self._others_died)
        writer = Writer()
        self._node = Node(
            profile=self.profile,
            config=self.config,
            account=self.account,
            http=http,
            voice=self._voice or offline_voice(),
            ears=self._ears,
            ticker=Ticker(self.metrics.tick_late_seconds.observe),
            writer=writer,
            metrics=self.metrics,
            tasks=self._tasks,
            store=self._store,
            recordings=Recordings(
                self._data,
                writer=writer,
                store=self._store,
                tasks=self._tasks,
                rates=self.config.rates,
                keys=keys,
                origin=self._origin,
                ears=self._ears,
            ),
            delivery=self._delivery,
            name=self._slot.name,
            ids=self._ids,
            folder=self._data,
            record_audio=self._record_audio,
            allow_private=self._allow_private,
            connect=self._connect,
        )
        try:
            if self._data is not None:
                self._live = LiveCalls(self._node.writer, self._data)
            await self._open(self._node, keys)
            self._aftermath = Aftermath(self._node, self._slot, self._accounts)
            dead = await self._aftermath.begin(self._delivery)
            left = await asyncio.to_thread(unfinished_recordings, self._node.recordings.root, dead)
            turn.end()
            if self._neighbours is not None:
                await self._neighbours.open(self._rest.inside)
            if self._server is not None:
                await self._server.start()
            days = self.profile.limits.recordings_days if self._data is not None else None
            look_after_recordings(self._node.recordings, left, days, self._tasks)
            self._tasks.spawn(self._store.keep_swept(_now), "sweep of old records")
        except BaseException:
            await self._release(self._node)
            raise
        self.health.ready = True

    async def _open(self, node: Node, keys: Keys) -> None:
        """Make what takes calls, places calls and answers for them."""
        gate = Gate(self._accounts, node.store, keys)
        self._directory = directory = Directory(self._accounts, self.config, gate, node.store)
        await directory.fill(_now())
        self.lines = self._make_lines(node, directory)
        self._switchboard = Switchboard(node, self._live, self.lines)
        self._exchange = Exchange(node, self._switchboard, self.lines)
        resources = Resources(
            store=node.store,
            switch=self._exchange,
            accounts=self._accounts,
            keys=keys,
            new_id=self.new_id,
            deliver=self._deliver,
            data=node.recordings.root,
            public_url=self.public_url or None,
        )
        if self._workers > 1 and self._data is not None:
            self._neighbours = Neighbours(self._data, self._slot.number)
        self._rest.open(resources, node.tasks, Elsewhere(self._neighbours) if self._neighbours is not None else None)

    def _make_lines(self, node: Node, directory: Directory) -> Lines:
        """All that can be called."""
        return Lines(
            callees=self.config.callees,
            own_number=directory.answering,
            inbound=self.place,
            voice=node.voice,
            tasks=node.tasks,
            barred=self.config.barred,
            seed=self._seed,
        )

    def _others_died(self, names: tuple[str, ...]) -> None:
        """The leases of these carriers have run out."""
        if self._aftermath is not None:
            self._aftermath.nodes_died(names)

    def _origin(self) -> str:
        """Where clients reach the HTTP API; empty where nobody has said."""
        return self.public_url or (self._server.url if self._server is not None else "")

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more calls, let the live ones end within `grace` seconds, and end the others.

        Every call is accounted for before this returns: its leg told, its callbacks tried, its files closed.
        """
        if self._node is None or self._switchboard is None:
            return
        self.health.draining = True
        if self._exchange is not None:
            self._exchange.close()
        await self._switchboard.close(grace)
        self._rest.close()
        if self._server is not None:
            await self._server.stop(grace=0.5)
        await self._release(self._node)

    async def _release(self, node: Node) -> None:
        self._node = None
        if self._neighbours is not None:
            await self._neighbours.close()
        node.ticker.close()
        await node.tasks.close(5.0)
        await node.delivery.close()
        await node.store.close()
        if self._live is not None:
            self._live.close()
            self._live = None
        await node.writer.close()
        await node.voice.close()
        if node.ears is not None:
            await node.ears.close()
        await node.mp3.close()
        await node.recordings.close()
        if self._own_http is not None:
            await self._own_http.close()
        self._slot.release()

    def place(
        self,
        leg: Leg,
        *,
        from_: str,
        to: str,
        application: Application,
        account: Account | None = None,
        sip_headers: Mapping[str, str] | None = None,
    ) -> LiveCall:
        """Start a call of `leg` to what `application` says.

        Args:
            leg: The caller.
            from_: Who calls.
            to: Who is called.
            application: What happens on the call.
            account: Whose call it is, if the application belongs to nobody; the carrier's own account otherwise.
            sip_headers: The `X-PH-…` headers that the call came with.

        Raises:
            UsageError: The carrier does not run, or takes no more calls.
        """
        if self._switchboard is None:
            raise UsageError("this carrier takes no calls: it is not running")
        named = application.account
        owner = next((known for known in self._accounts if known.auth_id == named), None) if named else account
        party = Party(from_, to, sip_headers=tuple((sip_headers or {}).items()))
        return self._switchboard.place(leg, party, application.order(), owner or self.account)

    def new_id(self) -> str:
        """A UUID, for the `api_id` of an answer."""
        return self._ids.uuid()

    def _accept(self, request: UpgradeRequest) -> Receiver | Refusal:
        if request.path != LEG_PATH:
            return Refusal(404, b"the carrier takes WebSocket legs at " + LEG_PATH.encode())
        if self.health.draining:
            return Refusal(503, b"the carrier is being stopped")
        account = self.authenticate(request.header("authorization"))
        if account is None:
            return Refusal(401, b"a leg presents the account's auth id and token by HTTP Basic authentication")
        return WebSocketLeg(partial(self._dialled, account))

    def authenticate(self, authorization: str | None) -> Account | None:
        """The account that an `Authorization` header presents, or None."""
        return account_of(authorization, self._accounts)

    def _dialled(self, account: Account, leg: WebSocketLeg, dial: Dial) -> None:
        """A WebSocket leg of this account says whom it calls."""
        live = sum(not call.over for call in self.calls.values())
        if live >= self.profile.limits.calls:
            leg.refused(f"the carrier has {live} calls, and takes no more")
            return
        strange = [name for name in dial.headers if not _CUSTOM_HEADER.fullmatch(name)]
        if strange:
            leg.refused(f"the header {strange[0][:60]!r} is none of a call's: its headers are named X-PH-…")
            return
        if dial.answer_url is not None:
            self._take(leg, dial, Application("dialled", dial.answer_url, dial.method), account)
        elif self._node is not None:
            self._node.tasks.spawn(self._find(leg, dial), "number of a leg")

    async def _find(self, leg: WebSocketLeg, dial: Dial) -> None:
        """A leg calls a number: whoever answers it."""
        assert self._directory is not None, "legs are taken once it is there"
        number = dial.to or ""
        try:
            found = await self._directory.answering(number)
        except StoreError as error:
            leg.refused(str(error))
            return
        if found is None:
            leg.refused(f"no application answers {number}: neither the configuration nor REST has given it one")
            return
        self._take(leg, dial, *found)

    def _take(self, leg: WebSocketLeg, dial: Dial, application: Application, account: Account) -> None:
        try:
            self.place(
                leg,
                from_=dial.from_ or "anonymous",
                to=dial.to or "app",
                application=application,
                account=account,
                sip_headers=dial.headers,
            )
        except UsageError as error:
            leg.refused(str(error))

    async def _send(self, item: OutboxItem) -> None:
        """Send a callback of the outbox."""
        assert self._node is not None, "the delivery begins when the node is there, and ends before it"
        assert self._directory is not None, "and so is this"
        await CallbackSender(self._node, self._directory.account, self._report_of).send(item)

    def _deliver(self, account: Account, url: str, method: str, form: Mapping[str, str]) -> None:
        """Send the result of an asynchronous REST request."""
        if self._store is not None:
            api_id = form.get("api_id", "")
            item = OutboxItem(
                key=f"{api_id} result",
                call_uuid=form.get("call_uuid", api_id),
                kind="result",
                account=account.auth_id,
                url=url,
                params=dict(form),
                created=_now(),
                method="GET" if method == "GET" else "POST",
            )
            self._store.outbox.put(item)

    def _report_of(self, call_id: str) -> Report | None:
        call = self.calls.get(call_id)
        return call.report.record if call is not None else None

    def _write_failed(self, what: str, error: StoreError) -> None:
        """The store has logged it."""
        self.metrics.record_write_failures.inc()


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _share_of(profile: Profile, workers: int, data: Path | None) -> Profile:
    """The profile of one of several carriers: each places its part of an account's calls a second."""
    if workers == 1:
        return profile
    if data is None:
        raise UsageError("carriers that share a port share a data folder too, and this one has none")
    rate = profile.limits.calls_per_second / workers
    return replace(profile, limits=replace(profile.limits, calls_per_second=rate))


def _prepare(data: Path) -> tuple[StartTurn, NodeSlot]:
    """See that the data folder can be used, and end the logs of calls that a killed carrier left there."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe = data / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        recovered = recover(data)
        turn = StartTurn.take(data)
    except OSError as error:
        raise UsageError(f"the data folder {data} cannot be used: {error.strerror or error}") from None
    for call_id in recovered:
        logger.warning("call %s was live when the carrier was killed: its log says so now", call_id)
    try:
        return turn, NodeSlot.take(data)
    except BaseException:
        turn.end()
        raise
