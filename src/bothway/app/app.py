"""`App`: answers calls, as an ASGI application or behind the package's own server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, Unpack

from bothway.app.call import Call
from bothway.app.config import configured
from bothway.app.control import PlivoControl
from bothway.app.dial import DIAL_PATH, Dials
from bothway.app.documents import DOCUMENT_PATH
from bothway.app.live import LiveCalls
from bothway.app.receiver import CallHandler
from bothway.app.rest import VoiceApi
from bothway.app.rest_values import CallOptions
from bothway.app.routes import AnswerRoute, Routes, check_handler, header_attribute
from bothway.app.tokens import hide_from_servers
from bothway.app.upgrades import Upgrades
from bothway.app.web import Callbacks, Web
from bothway.errors import UsageError
from bothway.runtime.asgi import Receive, Scope, Send
from bothway.runtime.duplex import Accept, Receiver, Refusal, UpgradeRequest
from bothway.runtime.health import Health
from bothway.runtime.logs import get_logger
from bothway.wire.verbs import Stream, Verb
from bothway.wire.webhooks import HangupReport, StreamStatus

__all__ = ["App", "WebSocketLike"]

_HandlerT = TypeVar("_HandlerT", bound=CallHandler)
_StatusT = TypeVar("_StatusT", bound=Callable[[StreamStatus], Awaitable[object]])
_HangupT = TypeVar("_HangupT", bound=Callable[[HangupReport], Awaitable[object]])

_ANY_URL = "wss://example.invalid/"
_DIAL_STREAM = Stream(
    _ANY_URL, bidirectional=True, keep_call_alive=True, content_type="audio/x-mulaw;rate=8000", stream_timeout=86400
)

log = get_logger(__name__)


class WebSocketLike(Protocol):
    """A WebSocket of Starlette's or FastAPI's, accepted or not."""

    @property
    def scope(self) -> Any:
        """The ASGI scope."""

    async def receive(self) -> Any:
        """ASGI's receive."""

    async def send(self, message: Any) -> None:
        """ASGI's send."""


class App:
    """An app that answers calls.

    It is an ASGI application (mount it in FastAPI, Starlette or Django, or run it under uvicorn), and `accept` is what
    the package's own server asks about upgrades. What is not given comes from the environment.

    Args:
        auth_id: The account (`PLIVO_AUTH_ID`); needed for what goes by REST.
        auth_token: Its token (`PLIVO_AUTH_TOKEN`); needed for checking signatures.
        public_url: The origin that the carrier dials (`BOTHWAY_PUBLIC_URL`), where a tunnel or a proxy stands in front.
        api_url: The base of the carrier's REST API (`BOTHWAY_API_URL`); Plivo's own by default.
        check_signatures: Whether what the carrier did not sign is refused (`BOTHWAY_CHECK_SIGNATURES`); yes by default.
        secret: What stream tokens are made with (`BOTHWAY_SECRET`); derived from the auth token by default. Processes
            that share it can take each other's streams.

    Attributes:
        health: What `/healthz` and `/readyz` say.
        metrics: What `/metrics` says.
        rest: The account's REST API.

    Raises:
        UsageError: A URL is none, or a variable's value is not allowed.
    """

    def __init__(
        self,
        *,
        auth_id: str | None = None,
        auth_token: str | None = None,
        public_url: str | None = None,
        api_url: str | None = None,
        check_signatures: bool | None = None,
        secret: str | None = None,
    ) -> None:
        # Imported when first needed: a program that imports this package for something else does without it.
        from bothway.runtime.metrics import Metrics

        self._config = config = configured(
            auth_id=auth_id,
            auth_token=auth_token,
            public_url=public_url,
            api_url=api_url,
            check_signatures=check_signatures,
            secret=secret,
        )
        hide_from_servers()
        self.health = Health()
        self.metrics = Metrics()
        self._calls = LiveCalls(self.metrics)
        self._routes = Routes()
        self.rest = VoiceApi(config.api_url, config.auth_id, config.auth_token)
        self._dials = Dials(self.rest, self._calls)
        self._callbacks = Callbacks(on_dial=self._dials.hung_up)
        self._routes.add_answer(AnswerRoute(DIAL_PATH, self._dials.streamed, (), (), _DIAL_STREAM))
        self._routes.take(DOCUMENT_PATH)
        self._upgrades = Upgrades(config, self._routes, self._calls, PlivoControl(self.rest, config.secret))
        self._web = Web(config, self._routes, self._callbacks, self._calls, self.health, self.metrics)

    @property
    def live_calls(self) -> int:
        """How many calls have a stream here."""
        return len(self._calls)

    def answer(
        self,
        path: str,
        handler: CallHandler | None = None,
        *,
        before: Sequence[Verb] = (),
        after: Sequence[Verb] = (),
        bidirectional: bool = True,
        track: str = "inbound",
        content_type: str = "audio/x-mulaw;rate=8000",
        keep_call_alive: bool = True,
        stream_timeout: int = 86400,
        extra_headers: Mapping[str, str] | None = None,
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Answer the calls whose answer URL is `path`: with a `<Stream>`, whose call the handler gets.

        The stream lives at a URL of its own under the path, `path/stream/TOKEN`. When the handler returns, the caller
        hears what was played to the end, and the document goes on with `after`.

        Args:
            path: Of the answer URL, within this app.
            handler: An `async def` that takes the `Call`, or an agent that is called like one. Without it, this is a
                decorator.
            before: Verbs that run before the stream.
            after: Verbs that run after it; the call ends when there are none left.
            bidirectional: Whether the handler may play.
            track: What it hears: `inbound` (the caller), `outbound` or `both`; the last two on one-way streams only.
            content_type: How the audio is coded: µ-law at 8000, or `audio/x-l16` at 8000, 16000 or 24000.
            keep_call_alive: Whether the document waits for the stream.
            stream_timeout: Seconds that the stream may last.
            extra_headers: Metadata for `Call.headers`; at most 512 bytes.

        Raises:
            UsageError: The path is taken, the handler is no `async def`, or the document cannot be written.
        """

        def register(found: _HandlerT) -> _HandlerT:
            stream = Stream(
                _ANY_URL,
                bidirectional=bidirectional,
                audio_track=track,
                stream_timeout=stream_timeout,
                content_type=content_type,
                extra_headers=header_attribute(extra_headers),
                keep_call_alive=keep_call_alive,
            )
            self._routes.add_answer(AnswerRoute(path, found, tuple(before), tuple(after), stream))
            return found

        if handler is not None:
            register(handler)
        return register

    def stream(self, path: str, handler: CallHandler | None = None) -> Callable[[_HandlerT], _HandlerT]:
        """Serve a bare stream at `path`, for XML that you write yourself and streams that are started by REST.

        There is no token in its URL: the carrier's signature alone says who may connect, to any call of the account.
        The call has no `from_`, `to` and `direction`; its `query` is that of the stream's URL.

        Args:
            path: Of the WebSocket, within this app.
            handler: As for `answer`.

        Raises:
            UsageError: The path is taken, or the handler is no `async def`.
        """

        def register(found: _HandlerT) -> _HandlerT:
            self._routes.add_bare(path, found)
            return found

        if handler is not None:
            register(handler)
        return register

    def on_status(self, handler: _StatusT, *, path: str = "/status") -> _StatusT:
        """Tell `handler` what becomes of streams, in either vocabulary of the carrier's; a decorator.

        Every stream that is answered from then on has `path` as its status callback URL. Deliveries may be repeated:
        `StreamStatus.key` is the same for both.

        Raises:
            UsageError: The path is taken, or the handler is no `async def`.
        """
        check_handler(handler)
        self._routes.take(path)
        self._callbacks.on_status[path] = handler
        return handler

    def on_hangup(self, handler: _HangupT, *, path: str = "/hangup") -> _HangupT:
        """Tell `handler` of the end of calls; a decorator. The carrier has to be given `path` as its hang-up URL.

        Raises:
            UsageError: The path is taken, or the handler is no `async def`.
        """
        check_handler(handler)
        self._routes.take(path)
        self._callbacks.on_hangup[path] = handler
        return handler

    async def dial(self, to: str, from_: str, *, app_url: str | None = None, **options: Unpack[CallOptions]) -> Call:
        """Place a call, and give it when it is answered and its stream is up: µ-law at 8000 Hz, both ways.

        No handler runs on it: the call is the caller's of this method, who hangs it up. Cancelling the wait cancels the
        call. The stream has to reach this very process, so that an app of several processes places calls by
        `rest.calls.create`, with an answer URL whose handler does the talking.

        Args:
            to: A number, or a `sip:` URI.
            from_: The caller id.
            app_url: Where the carrier finds this app; the public URL unless given. A mounted app's has the path that it
                is mounted at.
            options: See `bothway.app.rest_values.CallOptions`; `ring_timeout` also says how long to wait.

        Raises:
            UsageError: It is not known where the carrier finds this app, or there is no auth id or no auth token.
            DialError: Nobody answered: `status` and `cause` say why. Or no stream came in time.
            PeerError: The carrier did not place the call.
        """
        where = app_url or self._config.public_url
        if not where:
            raise UsageError(
                "a call that this app places asks it for the document: set BOTHWAY_PUBLIC_URL (or App(public_url=…), "
                "or dial(app_url=…)) to where the carrier finds this app"
            )
        self._begin()
        return await self._dials.dial(to, from_, where.rstrip("/"), options)

    def accept(self, request: UpgradeRequest) -> Receiver | Refusal:
        """Decide about an upgrade: the `accept` of `bothway.runtime.server.Server`.

        Raises:
            UsageError: Signatures shall be checked, and there is no auth token.
        """
        return self._upgrades.accept(request)

    async def serve(self, websocket: WebSocketLike, handler: CallHandler | None = None) -> None:
        """Serve one WebSocket of Starlette's or FastAPI's, from a route of your own, to its end.

        As with `stream`, there is no token, and the signature is checked.

        Args:
            websocket: Accepted or not.
            handler: What answers the call; the only one that is registered unless given.

        Raises:
            UsageError: No handler is given and not exactly one is registered.
        """
        chosen = self._routes.only_handler() if handler is None else handler
        check_handler(chosen)
        self._begin()
        # Starlette's own word for a WebSocket that was accepted; others have none, and are not.
        state = getattr(getattr(websocket, "application_state", None), "name", "")
        await _serve_asgi(
            websocket.scope,
            websocket.receive,
            websocket.send,
            lambda request: self._upgrades.accept_bare(request, chosen),
            accepted=state == "CONNECTED",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: `http`, `websocket` and `lifespan`.

        Raises:
            UsageError: Signatures shall be checked, and there is no auth token.
        """
        match scope["type"]:
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                self._begin()
                root = scope.get("root_path", "")
                await _serve_asgi(scope, receive, send, lambda request: self._upgrades.accept(request, root))
            case "http":
                self._begin()
                await self._web.serve(scope, receive, send)
            case other:
                raise UsageError(f"an ASGI application is not asked for {other!r}")

    async def start(self) -> None:
        """Be ready for calls; after a `stop`, again.

        Raises:
            UsageError: Signatures shall be checked, and there is no auth token.
        """
        self._begin()
        self._calls.reopen()
        self.health.draining = False

    async def stop(self, drain_seconds: float = 30.0) -> None:
        """Refuse new calls, let those that are live go on to their end, and end what is left after `drain_seconds`."""
        self.health.draining = True
        await self._calls.drain(drain_seconds)
        await self.rest.close()

    def _begin(self) -> None:
        """Whoever is asked something is up: a mounted app is never started."""
        if not self.health.ready:
            self._config.check()
            if not self._config.check_signatures:
                log.warning("signatures are not checked: whoever reaches this app can place calls to it")
            self.health.ready = True

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except UsageError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _serve_asgi(scope: Scope, receive: Receive, send: Send, accept: Accept, *, accepted: bool = False) -> None:
    # Imported when first needed: behind the package's own server it never is.
    from bothway.runtime.duplex_asgi import serve_asgi

    await serve_asgi(scope, receive, send, accept, accepted=accepted)
