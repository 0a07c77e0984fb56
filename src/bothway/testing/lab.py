"""A carrier for tests: calls to an app of yours, in virtual time or on real sockets."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args
from urllib.parse import urljoin, urlsplit

from bothway.audio.format import FRAME_MS
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account, Application
from bothway.carrier.destination import plain_destination
from bothway.carrier.legs.phone import PhoneLeg
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.live_call import LiveCall
from bothway.core.profile import DOCUMENTED, Profile
from bothway.errors import UsageError
from bothway.runtime import duplex_picows
from bothway.runtime.asgi import ASGIApp
from bothway.runtime.duplex import Connect, Duplex, Receiver
from bothway.runtime.http import HttpClient
from bothway.runtime.tasks import Tasks
from bothway.speech.protocols import SpeechToText, TextToSpeech
from bothway.speech.tone_ears import ToneEars
from bothway.speech.voices import ToneVoice
from bothway.testing.asgi_server import serve
from bothway.testing.asgi_websocket import AppSockets, connect_app
from bothway.testing.blocking import Guard, guarded
from bothway.testing.callee import Callee
from bothway.testing.caller import Caller
from bothway.testing.exchanges import RecordedApi, RecordedHttp, RestRequest, Webhook
from bothway.testing.expectation import CallFailedError, Expectation
from bothway.testing.network import MemoryNetwork
from bothway.testing.story import tell
from bothway.testing.virtual_loop import VirtualLoop
from bothway.wire.leg import LEG_FORMATS, LegFormat

__all__ = ["AUTH_ID", "AUTH_TOKEN", "LabCarrier", "Level"]

AUTH_ID = "MABOTHWAYBOTHWAYTEST"
"""The auth id of the account that calls belong to, unless `PLIVO_AUTH_ID` names another."""

AUTH_TOKEN = "a-token-for-tests-alone"  # noqa: S105 - it opens nothing
"""The token that signs, unless `PLIVO_AUTH_TOKEN` is another."""

_API = "https://api.plivo.com"
"""In virtual time the carrier's REST API is where the official SDKs look for it."""

_ANSWER_SECONDS = 90.0  # a carrier gives up a document much sooner

_PARTING_SECONDS = 5.0
"""What a call may take to end when the test is over; the carrier ends it then."""

Level: TypeAlias = Literal["messages", "bytes"]
"""What a stream is made of in virtual time: whole messages straight into the ASGI application, which is fast; or bytes
through a WebSocket server and a network that can cut, delay and split them."""


class LabCarrier:
    """A carrier, the apps that it calls, and all that is between them, in one process. Use it with `async with`.

    On a `VirtualLoop` everything is in memory and calls take no time. On any other loop there are real sockets on the
    loopback, and calls take as long as they do.

    Args:
        profile: What the carrier does where sources disagree.
        account: Whose calls they are; by default of `PLIVO_AUTH_ID` and `PLIVO_AUTH_TOKEN`, or a made-up one.
        level: Of streams in virtual time.
        seed: Makes the ids and nonces.
        voice: Says what callers and documents say; a `ToneVoice` by default, which callers understand.
        ears: Recognise what callers say, for `<GetInput>`; `ToneEars` by default, which understand a `ToneVoice`.
        keep_audio: Whether calls are kept as heard, for their timelines.

    Raises:
        UsageError: There is no such level.

    Attributes:
        account: Whose calls they are.
        seed: As given.
        calls: Every call that was placed, in order, to callees of the test included.
        sockets: The streams that are whole messages, live and over.
    """

    def __init__(
        self,
        *,
        profile: Profile = DOCUMENTED,
        account: Account | None = None,
        level: Level = "messages",
        seed: int = 0,
        voice: TextToSpeech | None = None,
        ears: SpeechToText | None = None,
        keep_audio: bool = True,
    ) -> None:
        if level not in get_args(Level):
            raise UsageError(f"there is no level {level!r}: choose messages or bytes")
        self.account = account or Account(
            os.environ.get("PLIVO_AUTH_ID") or AUTH_ID, os.environ.get("PLIVO_AUTH_TOKEN") or AUTH_TOKEN
        )
        self.calls: list[Caller] = []
        self.sockets = AppSockets()
        self._profile = profile
        self._level = level
        self.seed = seed
        self._voice = voice or ToneVoice(rate=8000)
        self._ears = ears or ToneEars()
        self._keep_audio = keep_audio
        self._by_id: dict[str, Caller] = {}
        self._callees: dict[str, deque[Callee]] = {}  # who waits to be called, by destination
        self._origins: dict[str, ASGIApp] = {}
        self._states: dict[str, dict[str, Any]] = {}  # of the lifespans
        self._stack = AsyncExitStack()
        self._servers = AsyncExitStack()
        self._serving = asyncio.Lock()
        self._guard: Guard | None = None
        self._tasks = Tasks()
        self._ends: list[asyncio.Task[None]] = []  # of every call
        self._network: MemoryNetwork | None = None
        self._carrier: Carrier
        self._api_url = ""

    @property
    def virtual(self) -> bool:
        """Whether time is virtual and the network in memory."""
        return self._network is not None

    @property
    def network(self) -> MemoryNetwork:
        """The network in memory: its links can be cut, stalled and delayed.

        Raises:
            UsageError: There is none, since the sockets are real.
        """
        if self._network is None:
            raise UsageError("this test runs on real sockets: there is no network in memory whose links could be cut")
        return self._network

    @property
    def api_url(self) -> str:
        """The base of the carrier's REST API, such as `https://api.plivo.com/v1`."""
        return self._api_url

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            if isinstance(loop, VirtualLoop):
                self._network = loop.network
                self._guard = stack.enter_context(guarded(loop, find=self._find))
            # Left from the bottom up: the carrier hears of every end before the apps are gone.
            await stack.enter_async_context(self._servers)
            stack.push_async_callback(self.sockets.close)
            http = HttpClient(allow_private=True)
            stack.push_async_callback(http.close)
            self._carrier = Carrier(
                account=self.account,
                profile=self._profile,
                host=None,
                allow_private=True,
                voice=self._voice,
                ears=self._ears,
                http=RecordedHttp(http, self._requested),
                connect=self._connect if self.virtual else duplex_picows.connect,
                seed=self.seed,
            )
            await self._carrier.start()
            stack.push_async_callback(self._tasks.close, 5.0)
            stack.push_async_callback(self._carrier.stop)
            stack.push_async_callback(self._hang_up)
            api = RecordedApi(self._carrier.api, self._asked)
            origin = self._carrier.public_url = await self._serve(api, _API)
            self._api_url = origin + "/v1"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if error is not None:
            return
        if self._guard is not None and self._guard.first_error is not None:
            raise self._guard.first_error  # the app may have caught it
        for caller in self.calls:
            if caller.trace.promises:
                raise CallFailedError(f"it was expected, and never awaited: {caller.trace.promises[0]}")

    async def serve(self, app: ASGIApp, origin: str | None = None) -> str:
        """Serve an app, from its lifespan's start-up to its shut-down at the end of the test.

        Args:
            app: Any ASGI application.
            origin: Where it is to be found in virtual time, such as `https://voice.example.com`, which is what an app
                with a public URL of its own needs; by default `https://app.test`, then `https://app2.test` and so on.
                On real sockets it is always `http://127.0.0.1` and some port.

        Returns:
            The origin.

        Raises:
            UsageError: It is no origin or taken, or the app's start-up failed.
        """
        async with self._serving:  # calls that are placed at once may be the first of their app
            known = next((known for known, served in self._origins.items() if served is app), None)
            if known is not None and (origin in (None, known) or not self.virtual):
                return known
            place = len(self._origins)  # the REST API is one of them
            return await self._serve(app, origin or f"https://app{place if place > 1 else ''}.test")

    async def call(
        self,
        app: ASGIApp,
        answer: str = "/answer",
        *,
        method: str = "POST",
        hangup: str | None = None,
        fallback: str | None = None,
        from_: str = "+14155550100",
        to: str = "+14155550199",
        headers: Mapping[str, str] | None = None,
        leg: LegFormat = "pcmu",
        time_limit: int = 14_400,
    ) -> Caller:
        """Call an app, and wait until the call is answered and its stream is open if it begins with one, or it is over.

        Args:
            app: Any ASGI application; it is served if it is not yet.
            answer: The answer URL, or its path in the app. A URL says where the app is served.
            method: How it is fetched, `POST` or `GET`.
            hangup: The hang-up URL or its path, if the end shall be told.
            fallback: The fallback answer URL or its path.
            from_: Who calls.
            to: Who is called.
            headers: The `X-PH-…` headers that the call comes with.
            leg: The format of the caller's line.
            time_limit: Seconds after which the carrier ends the call.

        Raises:
            UsageError: The app cannot be served, a header is none of a call's, or the carrier takes no calls.
        """
        for name in headers or ():
            if not name.upper().startswith("X-PH-"):
                raise UsageError(f"the header {name!r} is none of a call's: its headers are named X-PH-…")
        parts = urlsplit(answer)
        origin = await self.serve(app, f"{parts.scheme}://{parts.netloc}" if parts.netloc else None)
        application = Application(
            name="test",
            answer_url=urljoin(origin, parts._replace(scheme="", netloc="").geturl()),
            answer_method=method,
            hangup_url=urljoin(origin, hangup) if hangup is not None else None,
            fallback_url=urljoin(origin, fallback) if fallback is not None else None,
            time_limit=time_limit,
        )
        caller = Caller(LEG_FORMATS[leg], self._voice, keep_audio=self._keep_audio)
        self.calls.append(caller)
        live = self._carrier.place(
            ScriptedLeg(caller.telephone, on_log=caller.trace.log),
            from_=from_,
            to=to,
            application=application,
            sip_headers=headers,
        )
        caller.live = live
        self._by_id[live.call_id] = caller
        self._ends.append(self._tasks.spawn(_accounted(live, caller), f"end of {live.call_id}"))
        await Expectation(
            caller.trace,
            "the call to be answered",
            lambda: True if _is_up(caller) or caller.ended is not None else None,
            on_line=False,
        ).within(_ANSWER_SECONDS)
        return caller

    def callee(self, destination: str, *, answers_after: float | None = None, leg: LegFormat = "pcmu") -> Callee:
        """Somebody for the next call that the carrier places to `destination`; the one behind it needs another one.

        Args:
            destination: A number, with or without its `+`, or a SIP address.
            answers_after: Seconds of ringing after which it answers by itself; None waits for the test to say so.
            leg: The format of the callee's line.
        """
        callee = Callee(
            LEG_FORMATS[leg],
            self._voice,
            keep_audio=self._keep_audio,
            answers_after=answers_after,
            on_call=self._called,
            on_over=lambda _: None,  # the trace is closed when the call is accounted for
        )
        plain = plain_destination(destination)
        waiting = self._callees.setdefault(plain, deque())
        if not waiting:
            self._carrier.lines.connect(plain, lambda _: self._pick_up(plain))
        waiting.append(callee)
        return callee

    def _pick_up(self, destination: str) -> PhoneLeg:
        waiting = self._callees[destination]
        callee = waiting.popleft()
        if not waiting:
            self._carrier.lines.disconnect(destination)
        return callee.leg()

    def _called(self, callee: Callee) -> None:
        assert callee.phone is not None, "a call comes over a leg"
        live = callee.live = self._carrier.calls[callee.phone.call_id]
        self.calls.append(callee)
        self._by_id[live.call_id] = callee
        self._ends.append(self._tasks.spawn(_accounted(live, callee), f"end of {live.call_id}"))

    def stories(self) -> list[str]:
        """The timeline of every call so far."""
        return [tell(caller) for caller in self.calls]

    async def _hang_up(self) -> None:
        """Let every caller who is still on the line hang up, as people do when they have done what they called for."""
        for caller in self.calls:
            caller.telephone.order(caller.telephone.hang_up(), lambda: None)
        if self._ends:
            await asyncio.wait(self._ends, timeout=_PARTING_SECONDS)

    async def _serve(self, app: ASGIApp, origin: str) -> str:
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise UsageError(f"an app is served at an origin such as https://app.test, not at {origin!r}")
        if origin in self._origins:
            raise UsageError(f"another app is served at {origin} already")
        state: dict[str, Any] = {}
        if self.virtual:
            port = parts.port or (443 if secure else 80)
            server = serve(app, parts.hostname, port, tls=secure, state=state)
        else:
            server = serve(app, "127.0.0.1", 0, state=state)
        found = await self._servers.enter_async_context(server)
        self._origins[found], self._states[found] = app, state
        return found

    def _find(self, url: str) -> ASGIApp | None:
        """The app that is served at a URL's origin."""
        return self._origins.get(_origin(url))

    async def _connect(
        self,
        url: str,
        receiver: Receiver,
        *,
        headers: Iterable[tuple[str, str]],
        timeout: float,  # noqa: ASYNC109 - it bounds the whole of the handshake
        check_address: Callable[[str], None] | None,
        send_buffer: int | None,
    ) -> Duplex:
        """Open a stream in memory; see `bothway.runtime.duplex.Connect`."""
        app = self._find(url) if self._level == "messages" else None
        if app is None:
            opened: Connect = duplex_picows.connect
        else:
            opened = partial(connect_app, app, owner=self.sockets, state=self._states[_origin(url)])
        return await opened(
            url, receiver, headers=headers, timeout=timeout, check_address=check_address, send_buffer=send_buffer
        )

    def _requested(self, call_id: str, webhook: Webhook) -> None:
        caller = self._by_id.get(call_id)
        if caller is not None:
            caller.trace.called_back(webhook)

    def _asked(self, call_id: str, request: RestRequest) -> None:
        caller = self._by_id.get(call_id)
        if caller is not None:
            caller.trace.asked(request)


def _origin(url: str) -> str:
    """The origin of a URL, as apps are served at it; the scheme may be that of WebSockets."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    port = parts.port if parts.port != {"http": 80, "https": 443}.get(scheme) else None
    return f"{scheme}://{parts.hostname}" + (f":{port}" if port else "")


def _is_up(caller: Caller) -> bool:
    """Whether a call is answered, and the stream open that its document begins with: what is said now is heard."""
    verbs = [record.text("element") for record in caller.records if record.event == "verb"]
    if not caller.answered or verbs[-1:] != ["Stream"]:
        return caller.answered
    return any(record.event in ("stream_started", "stream_ended", "stream_refused") for record in caller.records)


async def _accounted(live: LiveCall, caller: Caller) -> None:
    await live.accounted.wait()
    await asyncio.sleep(FRAME_MS / 1000)  # in which the app notices, and tidies up
    caller.trace.close()
