"""What blocks the loop is answered, refused or interrupted, and the app's author reads where it was."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import logging
import queue
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import plivo
import pytest
import requests
from tests.testing.live_api import live_api

from bothway.carrier.config import Account
from bothway.errors import UsageError
from bothway.runtime.asgi import ASGIApp, Receive, Scope, Send
from bothway.testing import virtual_loop
from bothway.testing.blocking import BlockedLoopError, BlockingCallError, Guard, guarded
from bothway.testing.standstill import StandstillError

PATIENCE = 0.08
ACCOUNT = Account("MAXXXXXXXXXXXXXXXXXX", "a-token-for-tests-alone")
CALL_ID = "6a9f2a5e-27c1-4d6e-9d6d-5d5a6a0f3b11"

linux_like = pytest.mark.skipif(not hasattr(signal, "SIGURG"), reason="there is no signal to interrupt with")


def nowhere(_url: str) -> ASGIApp | None:
    return None


@contextmanager
def guard_here(find: Callable[[str], ASGIApp | None] = nowhere, patience: float = 10.0) -> Generator[Guard]:
    """Guard the loop that runs."""
    with guarded(asyncio.get_running_loop(), find=find, patience=patience) as guard:
        yield guard


def line_of(text: str) -> int:
    """The line of this file that holds a text, in a comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"# {text}"))


async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers after a while."""
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"late"})


# --- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [asyncio.run, virtual_loop.run])
def test_the_official_sdk_works_in_a_coroutine_and_in_a_thread(run: Callable[[Any], None]) -> None:
    live = {CALL_ID}
    client = plivo.RestClient(ACCOUNT.auth_id, ACCOUNT.auth_token)

    async def handler() -> None:
        api = live_api(ACCOUNT, live)
        with guard_here(lambda url: api if url.startswith("https://api.plivo.com/") else None) as guard:
            client.calls.hangup(CALL_ID)
            assert live == set()
            live.add(CALL_ID)
            await asyncio.to_thread(client.calls.hangup, CALL_ID)
            assert live == set()
            with pytest.raises(plivo.exceptions.ResourceNotFoundError, match="call not found"):
                client.calls.delete(CALL_ID)
            assert guard.first_error is None

    run(handler())


async def test_an_answer_that_cannot_come_names_the_place_and_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    client = plivo.RestClient(ACCOUNT.auth_id, ACCOUNT.auth_token)
    with guard_here(lambda _: slow) as guard:
        with pytest.raises(BlockingCallError) as caught:
            client.calls.hangup(CALL_ID)  # here it hangs up
        assert guard.first_error is caught.value
    told = str(caught.value)
    place = f"test_blocking.py:{line_of('here it hangs up')} in test_an_answer_that_cannot_come_names_the_place"
    assert place in told
    assert "`client.calls.hangup(CALL_ID)  # here it hangs up` sends DELETE to https://api.plivo.com:443" in told
    assert "await asyncio.to_thread(function, …)" in told
    assert "@pytest.mark.real_sockets" in told
    assert CALL_ID not in told
    assert ACCOUNT.auth_id not in told
    assert caplog.messages == [told]


def test_in_virtual_time_a_thread_gets_an_answer_that_takes_a_while() -> None:
    async def handler() -> None:
        with guard_here(lambda _: slow):
            before = asyncio.get_running_loop().time()
            answer = await asyncio.to_thread(requests.get, "https://app.test/", timeout=0.6)
            assert (answer.status_code, answer.text) == (299, "late")
            assert asyncio.get_running_loop().time() - before == pytest.approx(0.5)
            with pytest.raises(requests.ReadTimeout, match=r"no answer within 0\.4 s"):
                await asyncio.to_thread(requests.get, "https://app.test/", timeout=0.4)
            assert asyncio.get_running_loop().time() - before == pytest.approx(0.9)

    virtual_loop.run(handler())


# --- sockets ------------------------------------------------------------------------------------------------------


def _with_sockets(address: tuple[str, int]) -> None:
    socket.create_connection(address, timeout=1)


def _with_connect(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.connect(address)


def _with_connect_ex(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.connect_ex(address)


def _with_http(address: tuple[str, int]) -> None:
    http.client.HTTPConnection(*address, timeout=1).request("GET", "/")


def _with_urllib(address: tuple[str, int]) -> None:
    urllib.request.urlopen(f"http://{address[0]}:{address[1]}/", timeout=1)


@pytest.mark.parametrize("run", [asyncio.run, virtual_loop.run])
@pytest.mark.parametrize("connect", [_with_sockets, _with_connect, _with_connect_ex, _with_http, _with_urllib])
def test_a_blocking_connection_is_refused(
    run: Callable[[Any], None], connect: Callable[[tuple[str, int]], None]
) -> None:
    async def handler() -> None:
        with guard_here() as guard:
            with pytest.raises(BlockingCallError) as caught:
                connect(("127.0.0.1", 9))
            told = str(caught.value)
            assert f" in {connect.__name__}: `" in told
            assert "opens a blocking connection to 127.0.0.1:9. The event loop" in told
            assert guard.first_error is caught.value

    run(handler())


async def test_a_name_is_not_looked_up() -> None:
    with guard_here():
        for name in ("db.example.com", b"db.example.com"):
            with pytest.raises(BlockingCallError, match=r"looks up the name db\.example\.com in a blocking way"):
                socket.getaddrinfo(name, 5432)
        with pytest.raises(BlockingCallError, match=r"looks up the name db\.example\.com"):
            _with_sockets(("db.example.com", 5432))
        for address in ("127.0.0.1", "::1", b"127.0.0.1", None):
            assert socket.getaddrinfo(address, 80, type=socket.SOCK_STREAM)


async def test_libraries_do_not_take_it_for_a_failure_of_the_network() -> None:
    assert issubclass(BlockingCallError, UsageError)
    assert not issubclass(BlockingCallError, OSError)
    with guard_here() as guard:
        first = None
        for _ in range(2):
            try:
                _with_urllib(("127.0.0.1", 9))
            except Exception as error:  # noqa: BLE001 - as an app would swallow it
                first = first or error
        assert guard.first_error is first


async def test_what_does_not_block_is_let_through(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        await writer.drain()
        writer.close()

    with guard_here() as guard:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hi")
            assert await reader.read() == b"hi"
            writer.close()
            # From a thread a connection may block: it holds up nothing.
            assert await asyncio.to_thread(_asked, address) == b"hi"
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", 9))
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            sock.connect(str(tmp_path / "s"))
        assert guard.first_error is None


def _asked(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=5) as sock:
        sock.sendall(b"hi")
        return sock.recv(2)


# --- the watchdog -------------------------------------------------------------------------------------------------


def _lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()  # held up: _lock


def _queue() -> None:
    queue.Queue[int]().get()  # held up: _queue


def _simple_queue() -> None:
    queue.SimpleQueue[int]().get()  # held up: _simple_queue


def _future() -> None:
    concurrent.futures.Future[int]().result()  # held up: _future


def _event() -> None:
    threading.Event().wait(60)  # held up: _event


def _endless() -> None:
    while True:
        pass


def _swallowing() -> None:
    while True:
        try:
            queue.Queue[int]().get()  # held up: _swallowing
        except Exception:  # noqa: BLE001 - as a worker's loop does
            continue


def _receiving() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)  # held up: _receiving


_BLOCKERS = [_lock, _queue, _simple_queue, _future, _event, _endless, _swallowing, _receiving]


@linux_like
@pytest.mark.parametrize("run", [asyncio.run, virtual_loop.run])
@pytest.mark.parametrize("block", _BLOCKERS)
def test_what_holds_up_the_loop_is_interrupted(run: Callable[[Any], None], block: Callable[[], None]) -> None:
    async def handler() -> None:
        with guard_here(patience=PATIENCE) as guard:
            with pytest.raises(BlockedLoopError) as caught:
                block()
            told = str(caught.value)
            if block is not _endless:
                line = line_of(f"held up: {block.__name__}")
                assert f"test_blocking.py:{line} in {block.__name__}: `" in told
                assert f"# held up: {block.__name__}` has held up the event loop for 0.08 real seconds" in told
            else:
                assert "in _endless: `" in told
            assert "await asyncio.to_thread(function, …)" in told
            assert guard.first_error is caught.value
            # And the loop goes on.
            await asyncio.sleep(0.001)
            assert await asyncio.to_thread(lambda: 3) == 3

    run(handler())


@linux_like
async def test_a_plain_callback_is_interrupted_too_and_the_loop_goes_on() -> None:
    loop = asyncio.get_running_loop()
    heard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, it: heard.append(it))
    lock = threading.Lock()
    lock.acquire()
    with guard_here(patience=PATIENCE):
        loop.call_soon(_queue)
        loop.call_soon(lock.acquire)  # of which Python sees no frame
        await asyncio.sleep(0.001)
    texts = [str(it["exception"]) for it in heard]
    assert f"test_blocking.py:{line_of('held up: _queue')} in _queue" in texts[0]
    assert texts[1].startswith("C code that the event loop runs has held up the event loop for 0.08 real seconds")


@linux_like
async def test_it_interrupts_again_whoever_does_not_listen() -> None:
    with guard_here(patience=PATIENCE) as guard:
        seen: list[BaseException] = []
        while len(seen) < 2:
            try:
                _queue()
            except BlockedLoopError as error:
                seen.append(error)
        assert guard.first_error is seen[0]
        assert "for 0.08 real seconds" in str(seen[0])
        assert "for 0.16 real seconds" in str(seen[1])


def _sleep_really(seconds: float) -> None:
    """Hold up the loop for a while of real time."""
    with pytest.raises(queue.Empty):
        queue.Queue[int]().get(timeout=seconds)


def _hold_up_until(happened: Callable[[], object]) -> None:
    for _ in range(1000):
        if happened():
            return
        _sleep_really(0.01)
    raise AssertionError("it has not happened")


async def test_a_loop_that_waits_or_works_in_small_steps_is_left_alone() -> None:
    with guard_here(patience=0.1) as guard:
        await asyncio.sleep(0.2)
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.2
        while loop.time() < end:
            _sleep_really(0.01)
            await asyncio.sleep(0)
        assert guard.first_error is None


def test_a_loop_that_does_not_run_is_left_alone() -> None:
    loop = asyncio.new_event_loop()
    with guarded(loop, find=nowhere, patience=0.05) as guard:
        _sleep_really(0.1)
        loop.run_until_complete(asyncio.sleep(0))
        # Nor is another loop of the same thread its business.
        asyncio.run(_hold_up(0.1))
        loop.close()
        _sleep_really(0.1)
    assert guard.first_error is None


async def _hold_up(seconds: float) -> None:
    _sleep_really(seconds)


def _tracer(_frame: FrameType, _event: str, _arg: object) -> None:
    pass


class CoverageTracer:
    """One that measures, as `coverage.py` installs it."""

    def __call__(self, *_: object) -> None:
        pass


CoverageTracer.__module__ = "coverage.tracer"


async def test_a_debugger_is_left_alone() -> None:
    before = sys.gettrace()
    with guard_here(patience=0.05) as guard:
        try:
            sys.settrace(_tracer)
            _sleep_really(0.15)
        finally:
            sys.settrace(before)
        # At its prompt; pdb's functions know their module by this name.
        prompt = eval("lambda wait: wait(0.15)", {"__name__": "pdb"})
        prompt(_sleep_really)
        assert guard.first_error is None


@linux_like
async def test_whoever_measures_coverage_is_no_debugger() -> None:
    before = sys.gettrace()
    with guard_here(patience=0.05):
        try:
            sys.settrace(CoverageTracer())
            with pytest.raises(BlockedLoopError):
                _sleep_really(0.5)
        finally:
            sys.settrace(before)


def test_in_another_thread_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def handler() -> None:
        with guard_here(patience=PATIENCE):
            _hold_up_until(lambda: caplog.records)  # held up: in a thread

    thread = threading.Thread(target=lambda: asyncio.run(handler()))
    thread.start()
    thread.join()
    record = caplog.records[0]
    assert record.levelno == logging.ERROR
    head, _, stack = record.getMessage().partition("\n")
    assert "test_blocking.py:" in head
    assert "has held up the event loop for 0.08 real seconds" in head
    assert f"line {line_of('held up: in a thread')}, in handler" in stack


@linux_like
async def test_what_cannot_be_interrupted_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with guard_here(patience=PATIENCE) as guard:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
        try:
            _hold_up_until(lambda: caplog.records)
        finally:
            await asyncio.sleep(0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGURG})
        await asyncio.sleep(0)
        assert guard.first_error is None
    assert "has held up the event loop for 0.16 real seconds" in caplog.messages[0]


# --- on and off ---------------------------------------------------------------------------------------------------


def _installed() -> tuple[object, ...]:
    on_urgent = signal.getsignal(signal.SIGURG) if hasattr(signal, "SIGURG") else None
    return (
        vars(socket.socket).get("connect"),
        vars(socket.socket).get("connect_ex"),
        socket.getaddrinfo,
        requests.adapters.HTTPAdapter.send,
        on_urgent,
        [thread.name for thread in threading.enumerate()],
        list(sys.meta_path),
    )


async def test_everything_is_put_back() -> None:
    before = _installed()
    with guard_here():
        assert all(ours != theirs for ours, theirs in zip(_installed()[:-1], before[:-1], strict=True))
        outer = _installed()
        with guard_here():
            assert _installed()[:4] != outer[:4]
        assert _installed() == outer
        with pytest.raises(ZeroDivisionError), guard_here():
            raise ZeroDivisionError
        assert _installed() == outer
    assert _installed() == before
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", 1)) != 0


@linux_like
async def test_of_nested_guards_the_inner_one_interrupts(caplog: pytest.LogCaptureFixture) -> None:
    with guard_here(patience=PATIENCE) as outer:
        with guard_here(patience=PATIENCE) as inner:
            with pytest.raises(BlockedLoopError):
                _queue()
            assert inner.first_error is not None
        with guard_here():
            _hold_up_until(lambda: caplog.records)
            await asyncio.sleep(0.001)
        assert outer.first_error is None
        with pytest.raises(BlockedLoopError):
            _queue()
        assert outer.first_error is not None


@linux_like
def test_a_signal_of_someone_elses_goes_to_them() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGURG, lambda number, _frame: came.append(number))
    try:

        async def handler() -> None:
            with guard_here():
                signal.raise_signal(signal.SIGURG)
            signal.raise_signal(signal.SIGURG)

        asyncio.run(handler())
    finally:
        signal.signal(signal.SIGURG, before)
    assert came == [signal.SIGURG, signal.SIGURG]


def test_the_watchdog_does_not_keep_a_standstill_from_being_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "GRACE_S", 20.0)

    async def handler() -> None:
        with guard_here(patience=0.1):
            await asyncio.get_running_loop().create_future()

    started = time.monotonic()
    with pytest.raises(StandstillError):
        virtual_loop.run(handler())
    assert time.monotonic() - started < 10
