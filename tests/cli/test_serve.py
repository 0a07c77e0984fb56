"""`bothway serve`, with `bothway call` at it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.cli.processes import APPS, CARRIERS, ECHO, Command, event, log, none_left, script

from bothway import App
from bothway.cli.serve import BrokenModuleError, load_app
from bothway.errors import UsageError

A_SECOND = "steps: [{wait: 1s}]\n"
FOR_EVER = "steps: [{hear: {until: speech, within: 60s}}]\n"

SHOWS_ITS_PID = """
import os
from bothway import App

async def pid(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

class Known(App):
    async def __call__(self, scope, receive, send):
        await (pid if scope["path"] == "/pid" else super().__call__)(scope, receive, send)

app = Known()
"""


def fetched(url: str, body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, body, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# One process.


def test_without_a_token_it_says_what_to_set(tmp_path: Path) -> None:
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path) as app:
        assert app.end() == 2
    assert "set PLIVO_AUTH_TOKEN" in app.stderr
    assert "BOTHWAY_CHECK_SIGNATURES=no" in app.stderr
    assert not app.stdout


def test_its_options_reach_the_app(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(
        "from bothway import App\ncalls = App()\nprint(calls._config)\nprint(calls._config.api_url)\n"
        "@calls.answer('/answer')\nasync def answer(call): ...\n"
    )
    options = ("--public-url", "https://bot.example.com/phone", "--api-url", "https://api.example.com/v1")
    with Command("serve", "bot:calls", *options, "--no-check-signatures", "--http", ":0", cwd=tmp_path) as app:
        url = app.ready()["url"]
        assert "checks=False" in app.stdout
        assert "\nhttps://api.example.com/v1\n" in app.stdout
        code, document = fetched(f"{url}/answer", b"CallUUID=1")
        assert code == 200
        assert "wss://bot.example.com/phone/answer/stream/" in document
        assert "whoever reaches this app" in app.stderr
        app.send(signal.SIGINT)
        assert app.end() == 0


def test_signatures_are_checked_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        assert fetched(f"{app.ready()['url']}/answer", b"CallUUID=1")[0] == 403
        assert app.stdout.count("\n") == 1
        assert APPS["PLIVO_AUTH_TOKEN"] not in app.stdout + app.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_live_call_goes_on_to_its_end(workers: str, tmp_path: Path) -> None:
    options = ("--http", ":0", "--workers", workers)
    with Command("serve", ECHO, *options, cwd=tmp_path, environment=APPS) as app:
        url = app.ready()["url"]
        place = ("--answer-url", f"{url}/answer", "--script", script(tmp_path, A_SECOND), "--out", "out")
        with Command("call", *place, cwd=tmp_path, environment=CARRIERS) as call:
            call.until(lambda: event(tmp_path / "out", "stream_started"))
            app.send(signal.SIGTERM)
            if workers == "1":  # of two, the one without a call is gone at once
                app.until(lambda: fetched(f"{url}/readyz")[0] == 503)
            time.sleep(0.2)
            assert app.process.poll() is None
            assert call.end() == 0
        assert app.end(5) == 0


def test_a_live_call_is_ended_when_the_time_is_up(tmp_path: Path) -> None:
    options = ("--http", ":0", "--drain-seconds", "0.5")
    with Command("serve", ECHO, *options, cwd=tmp_path, environment=APPS) as app:
        place = ("--answer-url", f"{app.ready()['url']}/answer", "--script", script(tmp_path, FOR_EVER))
        with Command("call", *place, "--out", "out", cwd=tmp_path, environment=CARRIERS) as call:
            call.until(lambda: event(tmp_path / "out", "stream_started"))
            began = time.monotonic()
            app.send(signal.SIGTERM)
            assert app.end(5) == 0
            assert time.monotonic() - began >= 0.5
            assert call.end() == 1


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = ("--http", ":0", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    with Command("serve", ECHO, *options, cwd=tmp_path, environment=APPS) as app:
        url = app.ready()["url"]
        assert url.startswith("https://")
        steps = script(tmp_path, "steps: [{wait: 300ms}]\n")
        trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        options = ("--answer-url", f"{url}/answer", "--script", str(steps), "--out", "out")
        with Command("call", *options, cwd=tmp_path, environment=CARRIERS | trust) as call:
            assert call.end() == 0
    assert "stream_started" in [record["event"] for record in log(tmp_path / "out")]


# Several processes.


def test_workers_share_the_port_and_end_together_when_one_dies(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(SHOWS_ITS_PID)
    with Command("serve", "bot", "--workers", "2", "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        facts = app.ready()
        assert facts["workers"] == 2
        workers = app.descendants()
        assert len(workers) == 2
        served = {int(fetched(f"{facts['url']}/pid")[1]) for _ in range(40)}
        assert served <= set(workers)
        if sys.platform == "linux":  # elsewhere the kernel need not share connections out
            assert served == set(workers)
        with Command("serve", "bot", "--workers", "2", "--http", facts["url"][7:], cwd=tmp_path, environment=APPS) as b:
            assert b.end() == 2
        assert "Address already in use" in b.stderr
        os.kill(workers[1], signal.SIGKILL)
        assert app.end(10) == 1
        assert none_left(workers)
    assert "was killed by SIGKILL" in app.stderr
    assert app.stdout.count("\n") == 1


def test_workers_do_not_outlive_the_one_that_started_them(tmp_path: Path) -> None:
    with Command("serve", ECHO, "--workers", "2", "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        app.ready()
        workers = app.descendants()
        app.send(signal.SIGKILL)
        assert app.end() == -signal.SIGKILL
        assert none_left(workers)


def test_a_module_that_breaks_is_shown_once_whatever_the_number_of_workers(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("import json\njson.loads('')\n")
    with Command("serve", "bot.py", "--workers", "2", "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        assert app.end() == 1
    assert app.stderr.count("JSONDecodeError: Expecting value") == 1
    assert "worker 1 ended with exit code 1 before it was ready" in app.stderr


# The module and the App in it.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules, which are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_and_files(here: Path) -> None:
    (here / "deep").mkdir()
    for path in (here / "bot1.py", here / "deep" / "bot2.py", here / "deep" / "my-bot.py"):
        path.write_text("from bothway import App\napp = App()\nother = App()\n")
    for target in ("bot1", "bot1:app", "bot1:other", "bot1.py", "deep.bot2", "deep/bot2.py:other", "deep/my-bot.py"):
        assert isinstance(load_app(target), App), target


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing", "there is no module nothing here"),
        ("nothing.at.all", "there is no module nothing.at.all here"),
        ("nothing.py", "there is no file nothing.py"),
        ("", "'' is no module: it is written `package.module`"),
        ("./bot3", "'./bot3' is no module: did you mean ./bot3.py?"),
        ("bot3:nothing", "bot3 has no bothway App named nothing; it has bot: write bot3:bot"),
        ("bot3", "app in bot3 is no bothway App but a builtins.int; it has bot: write bot3:bot"),
        ("empty", "empty has no bothway App named app"),
        ("json.py", "the name json is that of .* already. Rename it"),
    ],
)
def test_what_is_not_there_is_named(target: str, said: str, here: Path) -> None:
    (here / "bot3.py").write_text("from bothway import App as _App\nbot = _App()\napp = 1\n")
    (here / "empty.py").write_text("")
    (here / "json.py").write_text("app = 1\n")
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        load_app(target)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def f():\n    raise ValueError('what')\nf()\n", ["line 3, in <module>", "line 2, in f", "ValueError: what"]),
        ("def f(:\n", ["line 1", "SyntaxError: invalid syntax"]),
        ("import not_installed\n", ["line 1, in <module>", "No module named 'not_installed'"]),
        ("from bothway import App\nApp(public_url='x')\n", ["line 2, in <module>", "it must be an http or https URL"]),
    ],
)
def test_a_module_that_breaks_is_shown_from_its_own_lines_on(
    text: str, shown: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken.py").write_text(text)
    with pytest.raises(BrokenModuleError, match=r"broken\.py cannot be imported: "):
        load_app("broken.py")
    told = capsys.readouterr().err
    assert f'File "{here / "broken.py"}"' in told
    for words in shown:
        assert words in told
    assert "importlib" not in told
    assert "cli/serve.py" not in told


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Command("serve", ECHO, "--http", address, cwd=tmp_path, environment=APPS) as app:
            assert app.end() == 2
    assert f"cannot listen at {address}" in app.stderr
