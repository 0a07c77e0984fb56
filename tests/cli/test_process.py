from __future__ import annotations

import argparse
import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.cli.processes import APPS, ECHO, none_left, processes

from bothway.cli.process import (
    Child,
    first_ended,
    free_address,
    is_given,
    server_tls,
    until_stopped,
    web_url,
)
from bothway.errors import PeerError, UsageError
from bothway.runtime.settings import Address, Settings

LOCAL = Address("127.0.0.1", 0)


def child(*arguments: str) -> Child:
    return Child("app", ["serve", *arguments, "--http", "127.0.0.1:0"], APPS)


# Arguments.


def test_what_is_given() -> None:
    parsed = argparse.Namespace(http=LOCAL)
    assert is_given("http", parsed)
    assert not is_given("out", parsed)


def test_what_a_variable_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTHWAY_OUT", "")
    assert not is_given("out", argparse.Namespace())
    monkeypatch.setenv("BOTHWAY_OUT", "here")
    assert is_given("out", argparse.Namespace())


def test_web_urls() -> None:
    assert web_url("http://127.0.0.1:5000/answer?a=b") == "http://127.0.0.1:5000/answer?a=b"
    for text in ("", "answer", "ftp://host/", "http://", "http://host:99999/", "http://host/a b", "http://[/"):
        with pytest.raises(argparse.ArgumentTypeError, match="an http or https URL"):
            web_url(text)


def test_a_free_address() -> None:
    address = free_address(LOCAL)
    assert address.host == "127.0.0.1"
    assert address.port
    assert free_address(address) == address
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen at 127\.0\.0\.1:{port}: Address already in use"):
            free_address(Address("127.0.0.1", port))
    with pytest.raises(UsageError, match=r"cannot listen at 203\.0\.113\.1:0: "):
        free_address(Address("203.0.113.1", 0))


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    assert server_tls(Settings()) is None
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing of the kind")
    with pytest.raises(UsageError, match=r"the certificate .*cert.pem and the key .*key.pem cannot be used"):
        server_tls(Settings(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem"))


# Being stopped.


async def test_work_that_is_done_gives_its_result() -> None:
    async def work() -> str:
        return "done"

    assert await until_stopped(work(), asyncio.Event()) == "done"


async def test_work_that_fails_raises() -> None:
    async def work() -> None:
        raise PeerError("it is broken")

    with pytest.raises(PeerError, match="it is broken"):
        await until_stopped(work(), asyncio.Event())


async def test_work_that_is_stopped_cleans_up_first() -> None:
    stopped, cleaned = asyncio.Event(), []

    async def work() -> str:
        stopped.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)
        return "done"

    assert await until_stopped(work(), stopped) is None
    assert cleaned == [True]


# Processes of ours.


async def test_a_child_is_started_and_stopped() -> None:
    app = child(str(ECHO))
    assert (app.pid, app.code, app.end) == (0, None, "the app has not ended")
    facts = await app.start()
    assert facts["url"].startswith("http://127.0.0.1:")
    assert app.pid in processes()
    assert os.getsid(app.pid) == app.pid  # a Ctrl-C in our terminal is not for it
    await app.stop()
    assert (app.code, app.end) == (0, "the app ended with exit code 0")
    await app.stop()


async def test_a_child_that_ends_at_once_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    app = child("nothing-of-this-name")
    with pytest.raises(PeerError, match="the app ended with exit code 2 before it was ready: its own lines say why"):
        await app.start()
    assert "there is no module nothing-of-this-name" in capfd.readouterr().err
    await app.stop()


async def test_a_child_that_is_never_ready_is_told_and_ended(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    app = child(str(tmp_path / "slow.py"))
    with pytest.raises(PeerError, match=r"the app was not ready within 0\.2 s"):
        await app.start(0.2)
    await app.stop()
    assert app.end == "the app was killed by SIGTERM"


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                                      "print('deaf', flush=True)\ntime.sleep(60)\n")  # fmt: skip
    app = child(str(tmp_path / "deaf.py"))
    with pytest.raises(PeerError, match="not ready"):
        await app.start(2.0)
    await app.stop(0.1)
    assert app.end == "the app was killed by SIGKILL"


async def test_what_a_child_prints_is_ours_to_see_and_never_holds_it_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loud.py").write_text("from bothway import App\napp = App()\nprint('ready {}')\nprint('x' * 200_000)\n")
    app = child(str(tmp_path / "loud.py"))
    assert "url" in await app.start()
    await app.stop()
    out = capfd.readouterr().out
    assert out.count("x") == 200_000
    assert "http://" not in out


async def test_the_first_that_ends() -> None:
    apps = [child(str(ECHO)), child(str(ECHO))]
    await asyncio.gather(*(app.start() for app in apps))
    os.kill(apps[1].pid, 9)
    assert await first_ended(apps) is apps[1]
    assert apps[1].end == "the app was killed by SIGKILL"
    await asyncio.gather(*(app.stop() for app in apps))
    assert none_left([app.pid for app in apps])
