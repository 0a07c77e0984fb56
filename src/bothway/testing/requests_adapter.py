"""The blocking HTTP library `requests`, and with it the official `plivo.RestClient`, on the network in memory.

`requests` is not imported here before the app has done so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import http
import http.client
import importlib.abc
import importlib.machinery
import io
import logging
import sys
import threading
from collections.abc import Callable, Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bothway.runtime.asgi import ASGIApp, Message, Scope
from bothway.runtime.server import BodyError
from bothway.testing.standstill import bystanders
from bothway.testing.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

__all__ = ["RequestsAdapter", "patched", "running_loop"]

logger = logging.getLogger(__name__)

_ADVICE = "only what is in the network can be reached: serve it there, or mark the test real_sockets"
_STATUSES = frozenset(http.HTTPStatus)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs the code that asks, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@contextlib.contextmanager
def patched(owner: Any, name: str, wrap: Callable[[Any], object]) -> Generator[None]:
    """Replace an attribute for a while; if someone else has replaced it since, theirs is left.

    Args:
        owner: A module or a class; an attribute that the class inherits is inherited again afterwards.
        name: The attribute.
        wrap: Gives the replacement for the original.
    """
    own = name in vars(owner)
    original = getattr(owner, name)
    ours = wrap(original)
    setattr(owner, name, ours)
    try:
        yield
    finally:
        if vars(owner).get(name) is ours:
            if own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)


class RequestsAdapter:
    """Answers requests of `requests` by the ASGI applications that are served at their URLs.

    It answers what `loop` runs, and threads without a loop of their own. A request that the loop itself runs has to be
    answered on the spot, by an application that waits for nothing: the carrier's REST API waits for its records, and
    not where it acts on live calls. A thread waits.

    Args:
        loop: Runs the applications.
        find: Gives the ASGI application that is served at a URL, or None. It may instead raise an `OSError` that says
            what the network has in the network's own words.
        patience: Real seconds that a thread waits for an answer of the loop.
        refuse: Gives the error to raise where an answer can never come, of what is done and why that cannot work.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        find: Callable[[str], ASGIApp | None],
        patience: float,
        refuse: Callable[[str, str], Exception],
    ) -> None:
        self._loop = loop
        self._find = find
        self._patience = patience
        self._refuse = refuse
        self._active = False

    @contextlib.contextmanager
    def diverting(self) -> Generator[None]:
        """Answer what goes through `HTTPAdapter.send`, from now on or from when the app imports `requests`.

        That is where a socket would be opened: adapters of other kinds that an app or a test has mounted work on.
        """
        with contextlib.ExitStack() as stack:

            def divert() -> None:
                if self._active:
                    adapter = sys.modules["requests.adapters"].HTTPAdapter
                    stack.enter_context(patched(adapter, "send", self._diverted))

            self._active = True
            # Someone's patch on top of ours may outlive it: ours then does nothing.
            stack.callback(setattr, self, "_active", False)
            if "requests.adapters" in sys.modules:
                divert()
            else:
                hook = _ImportHook("requests.adapters", divert)
                sys.meta_path.insert(0, hook)
                stack.callback(hook.remove)
            yield

    def _diverted(self, original: Callable[..., Response]) -> Callable[..., Response]:
        def send(adapter: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            if not self._active or running_loop() not in (self._loop, None):
                return original(adapter, request, *args, **kwargs)
            timeout = kwargs.get("timeout", args[1] if len(args) > 1 else None)  # (stream, timeout, verify, …)
            return self.answer(adapter, request, timeout)

        return send

    def answer(self, adapter: HTTPAdapter, request: PreparedRequest, timeout: object = None) -> Response:
        """Answer a request as `HTTPAdapter.send` does.

        Args:
            adapter: Makes the response.
            request: The request.
            timeout: As `send` takes it. The time for connecting means nothing here; that for reading is measured by
                the loop's clock, for the whole answer.

        Raises:
            requests.exceptions.ConnectionError: No one listens there, or the application broke off its answer.
            requests.exceptions.ReadTimeout: The answer took too long.
            Exception: What `refuse` gives: the answer has to wait for the loop, which this request holds up.
        """
        from requests.exceptions import ConnectionError as NotConnectedError

        url = request.url or ""
        try:
            app = self._find(url)
        except OSError as error:
            raise NotConnectedError(str(error), request=request) from error
        if app is None:
            raise NotConnectedError(f"no one listens at {_origin(url)} in this network; {_ADVICE}", request=request)
        exchange = _Exchange(app, request)
        if running_loop() is self._loop:
            self._step(exchange, _origin(url))
        elif self._loop.is_running():
            self._wait(exchange, request, _read_timeout(timeout))
        else:
            raise NotConnectedError(f"{_origin(url)} is in a network whose event loop does not run", request=request)
        try:
            return adapter.build_response(request, exchange.response())
        except http.client.HTTPException as error:
            raise NotConnectedError(f"{_origin(url)} broke off its answer: {error!r}", request=request) from error

    def _step(self, exchange: _Exchange, origin: str) -> None:
        """Run an exchange to its end here and now, inside of a callback of the loop."""
        context = contextvars.copy_context()  # what the application sets in it is not the caller's
        coroutine = exchange.run()
        with _task_of_its_own(self._loop):
            try:
                context.run(coroutine.send, None)
            except StopIteration:
                return
            context.run(coroutine.close)
        raise self._refuse(
            f"sends {exchange.method} to {origin} and blocks until the answer comes",
            "The answer has to wait for the event loop, which this very call holds up.",
        )

    def _wait(self, exchange: _Exchange, request: PreparedRequest, seconds: float | None) -> None:
        """Have the loop run an exchange, and wait for it in this other thread."""
        from requests.exceptions import ConnectionError as NotConnectedError
        from requests.exceptions import ReadTimeout

        future = asyncio.run_coroutine_threadsafe(exchange.run_within(seconds), self._loop)
        # A thread that works for a virtual loop waits by its clock, and the loop itself is patient in real time.
        is_job = isinstance(self._loop, VirtualLoop) and threading.current_thread() in bystanders
        patience = None if is_job else self._patience
        try:
            complete = future.result(patience)
        except TimeoutError:
            future.cancel()
            text = f"the event loop has not answered within {self._patience:g} real seconds"
            raise ReadTimeout(text, request=request) from None
        except concurrent.futures.CancelledError:
            raise NotConnectedError("the network was closed before the answer had come", request=request) from None
        if not complete:
            raise ReadTimeout(f"no answer within {seconds:g} s", request=request)


class _ImportHook(importlib.abc.MetaPathFinder):
    """Runs an action when a module has been imported for the first time."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.remove()
            self._action()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Exchange:
    """One request and its answer: what a server does between a socket and an ASGI application, without the socket."""

    def __init__(self, app: ASGIApp, request: PreparedRequest) -> None:
        self.method = request.method or "GET"
        self._app = app
        self._scope = _scope(request)
        self._body: bytes | None = _body(request)
        self._head: Message | None = None
        self._parts: list[bytes] = []
        self._complete = asyncio.Event()

    async def run(self) -> None:
        """Let the application answer; where it fails, answer as `bothway.runtime.server.Server` does."""
        try:
            await self._app(self._scope, self._receive, self._send)
        except BodyError as error:
            self._fail(error.status, f"{error}\n".encode())
        except Exception:
            logger.exception("the application failed at %s %s", self.method, self._scope["path"])
            self._fail(500, b"internal server error\n")
        if self._head is None:
            logger.error("the application gave no answer to %s %s", self.method, self._scope["path"])
            self._fail(500, b"internal server error\n")

    async def run_within(self, seconds: float | None) -> bool:
        """As `run`; False if it was not done in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.run()
        except TimeoutError:
            return False
        return True

    def response(self) -> object:
        """The answer as urllib3 gives it: written out and read again, so that every rule about bodies holds.

        Raises:
            http.client.HTTPException: It is cut off, or none.
        """
        from urllib3 import HTTPHeaderDict, HTTPResponse

        assert self._head is not None, "run() sees to it that there is an answer"
        body = b"".join(self._parts)
        if not self._complete.is_set():
            raise http.client.IncompleteRead(body)
        status = self._head["status"]
        lines = [b"HTTP/1.1 %d %s" % (status, http.HTTPStatus(status).phrase.encode() if status in _STATUSES else b"")]
        for name, value in self._head.get("headers", ()):
            if name.lower() != b"transfer-encoding":  # the server's business, and there is none
                lines.append(name + b": " + value)
        written: Any = _Written(b"\r\n".join([*lines, b"", body]))
        read = http.client.HTTPResponse(written, method=self.method)
        read.begin()
        return HTTPResponse(
            body=read,
            headers=HTTPHeaderDict(read.headers.items()),
            status=read.status,
            version=read.version,
            reason=read.reason,
            preload_content=False,
            decode_content=False,
            original_response=read,
            request_method=self.method,
        )

    def _fail(self, status: int, body: bytes) -> None:
        if self._head is None:
            self._head = {"status": status, "headers": [(b"content-length", b"%d" % len(body))]}
            self._parts = [body]
            self._complete.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
        elif message["type"] == "http.response.body":
            self._parts.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._complete.set()


class _Written:
    """What `http.client` reads an answer from in place of a socket."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)


def _scope(request: PreparedRequest) -> Scope:
    parts = urlsplit(request.url or "")
    path, _, query = request.path_url.partition("?")
    headers = [(_bytes(name, "latin-1").lower(), _bytes(value, "latin-1")) for name, value in request.headers.items()]
    if not any(name == b"host" for name, _ in headers):
        host = parts.netloc.rpartition("@")[2].removesuffix(":443" if parts.scheme == "https" else ":80")
        headers.insert(0, (b"host", host.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": parts.scheme,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)),
    }


def _body(request: PreparedRequest) -> bytes:
    """The whole body, of any of the kinds that `requests` takes: text, bytes, a file, or chunks of either."""
    body: Any = request.body
    if hasattr(body, "read"):
        body = body.read()
    if body is None or isinstance(body, (bytes, str)):
        return _bytes(body or b"", "utf-8")
    return b"".join(_bytes(chunk, "utf-8") for chunk in body)


def _bytes(text: bytes | str, encoding: str) -> bytes:
    return text.encode(encoding) if isinstance(text, str) else bytes(text)


def _origin(url: str) -> str:
    """What of a URL may be shown: a path or a query may hold a token."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _read_timeout(timeout: Any) -> float | None:
    """The seconds for reading, of a number, of (connecting, reading), or of urllib3's `Timeout`."""
    seconds = timeout[1] if isinstance(timeout, tuple) else getattr(timeout, "read_timeout", timeout)
    return float(seconds) if isinstance(seconds, (int, float)) else None


@contextlib.contextmanager
def _task_of_its_own(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Have a current task that is not the caller's: an application may time out or cancel the one that it runs in."""
    # docs.python.org, "Extending asyncio": these two are for whoever steps coroutines themselves.
    enter, leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task  # noqa: SLF001
    callers, task = asyncio.current_task(loop), loop.create_task(_nothing())
    if callers is not None:
        leave(loop, callers)
    enter(loop, task)
    try:
        yield
    finally:
        leave(loop, task)
        if callers is not None:
            enter(loop, callers)


async def _nothing() -> None:
    pass
