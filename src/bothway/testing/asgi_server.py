"""Any ASGI application, served: in a memory network, or on real sockets by the same code.

uvicorn's protocol classes do the work, so an application sees what it will see in production. uvicorn's `Server` is
left out: it takes over the process's signals and main loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp, Message
from bothway.testing.network import NetworkLoop

__all__ = ["Lifespan", "serve"]

logger = logging.getLogger(__name__)

_DEADLINE = 5.0
_PORTS = {"http": 80, "https": 443}


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: bool | ssl.SSLContext = False,
    lifespan: bool = True,
    deadline: float = _DEADLINE,
    state: dict[str, Any] | None = None,
) -> AsyncIterator[str]:
    """Serve an ASGI application for as long as the block runs, then close its connections and await its requests.

    Gives the origin, `http://host:port` or `https://host:port`, without a port that is the scheme's own. WebSockets are
    there too, with `ws` for `http`, without compression. What the application raises is logged by uvicorn.

    Args:
        app: The application.
        host: A name of the network on a `NetworkLoop`; on other loops something of this machine.
        port: 0 for the next free one.
        tls: Whether it is https. Off a `NetworkLoop` this is the context with the certificate.
        lifespan: Whether the application is told of startup and shutdown.
        deadline: Seconds for its startup, for its shutdown, and for requests in flight at the end, which are then
            cancelled.
        state: Where to keep the state of its lifespan, of which every request gets a copy.

    Raises:
        UsageError: The application failed to start or to shut down, TLS lacks its certificate, or the address cannot
            be listened at.
    """
    config = Config(
        app,
        interface="asgi3",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        ws_per_message_deflate=False,
    )
    config.load()
    server = ServerState()
    application_state: dict[str, Any] = {} if state is None else state
    cycle = Lifespan(app, deadline=deadline, state=application_state) if lifespan else None
    if cycle is not None:
        await cycle.startup()
    protocol: Any = config.http_protocol_class
    try:
        listener = await _listen(
            lambda: protocol(config=config, server_state=server, app_state=application_state), host, port, tls
        )
        try:
            yield _origin(host, listener.sockets[0].getsockname()[1], bool(tls))
        finally:
            await _stop(listener, server, deadline)
    finally:
        if cycle is not None:
            await cycle.shutdown()


async def _listen(factory: Any, host: str, port: int, tls: bool | ssl.SSLContext) -> Any:
    loop = asyncio.get_running_loop()
    if tls is True:
        if not isinstance(loop, NetworkLoop):
            raise UsageError("TLS on a real socket needs a certificate: give an ssl.SSLContext that has one")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # nothing looks into it: TLS is taken as done there
    try:
        return await loop.create_server(factory, host, port, ssl=tls or None)
    except OSError as error:
        raise UsageError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def _origin(host: str, port: int, is_tls: bool) -> str:
    scheme = "https" if is_tls else "http"
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port == _PORTS[scheme] else f"{scheme}://{name}:{port}"


async def _stop(listener: Any, server: ServerState, deadline: float) -> None:
    listener.close()
    await asyncio.sleep(0)  # the step in which a connection that has just been accepted is made
    for connection in _connections(server):
        if not connection.transport.is_closing():
            connection.shutdown()
    # The requests: a set too, whose order a `VirtualLoop` makes the same in every run.
    if server.tasks:
        await asyncio.wait(server.tasks, timeout=deadline)
    for task in server.tasks:
        task.cancel()
    if server.tasks:
        await asyncio.wait(server.tasks, timeout=deadline)
    try:
        async with asyncio.timeout(deadline):
            await listener.wait_closed()
    except TimeoutError:
        logger.warning("a client did not read to the end what it was sent; its connection is dropped")
    for connection in _connections(server):
        connection.transport.abort()
    # One step, in which those are told that they are lost.
    await asyncio.sleep(0)


def _connections(server: ServerState) -> list[Any]:
    """The open connections, in an order that is the same in every run: uvicorn keeps them in a set."""
    return sorted(server.connections, key=lambda connection: connection.client or ("", 0))


# --- lifespan -----------------------------------------------------------------------------------------------------


class Lifespan:
    """The startup and shutdown of an ASGI application (asgi.readthedocs.io, Lifespan Protocol 2.0).

    An application that does not know of it, and raises or returns, is fine: the specification says to go on. What it
    raised is logged.

    Args:
        app: The application.
        deadline: Seconds for either.
        state: See the attribute; a new one by default.

    Attributes:
        state: What the application keeps here at startup, every request gets a copy of.
    """

    def __init__(self, app: ASGIApp, *, deadline: float = _DEADLINE, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = {} if state is None else state
        self._app = app
        self._deadline = deadline
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(maxsize=2)
        self._answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application.

        Raises:
            UsageError: It failed, or was not done in time.
        """
        if self._task is not None:
            raise UsageError("an application is started once")
        self._task = asyncio.create_task(self._run(), name="lifespan")
        try:
            await self._ask(self._task, "startup")
        except BaseException:
            await self._cancel(self._task)
            raise

    async def shutdown(self) -> None:
        """Stop the application. Nothing happens if it was not started, or is not there any more.

        Raises:
            UsageError: It failed, or was not done in time.
        """
        task = self._task
        if task is None or task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await self._ask(task, "shutdown")
            await asyncio.wait([task], timeout=self._deadline)
        finally:
            await self._cancel(task)

    async def _ask(self, task: asyncio.Task[None], phase: str) -> None:
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        awaited: list[asyncio.Future[Any]] = [task, self._answer]
        await asyncio.wait(awaited, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            answer = self._answer.result()
            if answer["type"] == f"lifespan.{phase}.failed":
                raise UsageError(
                    f"the application failed at its {phase}: {answer.get('message') or 'it gave no reason'}"
                )
        elif not task.done():
            raise UsageError(f"the application was not done with its {phase} within {self._deadline:g} s")

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=self._deadline)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:  # noqa: BLE001 - the task's edge: it may mean that there is no lifespan
            logger.info("the application raised in its lifespan, which may mean that it has none: %r", error)

    async def _send(self, message: Message) -> None:
        if self._answer.done():
            raise UsageError(f"{message['type']} was sent, and nothing had been asked")
        self._answer.set_result(message)
