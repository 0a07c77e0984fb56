"""`bothway dev`, and a person who edits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.cli.processes import APPS, ECHO, Command, none_left, script

from bothway.cli.dev import _folder, _state

GOOD = ECHO.read_text("utf-8")
BAD = "def echo(:\n"
SHORT = "steps: [{wait: 300ms}]\n"


def test_an_app_is_started_again_with_every_save_and_the_carrier_stays(tmp_path: Path) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text(BAD)
    with Command("dev", "bot.py", "--http", ":0", cwd=tmp_path) as dev:
        dev.says("SyntaxError")
        dev.says("Waiting for a file to change")
        carrier = dev.child("carrier")
        bot.write_text(GOOD)
        dev.says("call it")
        url = next(line.split()[1] for line in dev.stdout.splitlines() if line.startswith("carrier "))
        to_app = ("--carrier", url, "--to", "15550100", "--script", script(tmp_path, SHORT))
        with Command("call", *to_app, cwd=tmp_path) as call:  # by the credentials that are kept here
            assert call.end() == 0
        first = dev.child("serve")

        bot.write_text(BAD)
        dev.says("SyntaxError", times=2)
        dev.says("Waiting for a file to change", times=2)
        assert none_left([first])
        bot.write_text(GOOD + "print('the second one')\n")
        dev.says("the app is up again")
        dev.says("the second one")
        with Command("call", *to_app, cwd=tmp_path) as call:
            assert call.end() == 0

        second = dev.child("serve")
        os.kill(second, signal.SIGKILL)
        dev.says("the app was killed by SIGKILL. Waiting for a file to change")
        (tmp_path / "other.py").write_text("")
        dev.says("the app is up again", times=2)
        assert dev.child("carrier") == carrier
        mine = dev.descendants()
        dev.send(signal.SIGINT)
        assert dev.end() == 0
        assert none_left(mine)
    assert "Traceback" not in dev.stderr
    assert 'File "<frozen' not in dev.stderr


def test_an_app_elsewhere_is_called_by_its_answer_url(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        options = ("--answer-url", f"{app.ready()['url']}/answer", "--http", ":0", "--data", "data")
        credentials = {name.replace("PLIVO", "BOTHWAY"): value for name, value in APPS.items()}
        # What stands in a production environment for `serve` means nothing to the carrier of `dev`.
        stray = {"BOTHWAY_TLS_CERT": "cert.pem", "BOTHWAY_TLS_KEY": "key.pem", "BOTHWAY_WORKERS": "3"}
        with Command("dev", *options, cwd=tmp_path, environment=credentials | stray) as dev:
            dev.says("stop       Ctrl-C")
            assert "--data data" in dev.stdout
            url = next(line.split()[1] for line in dev.stdout.splitlines() if line.startswith("carrier "))
            steps = script(tmp_path, SHORT)
            options = ("--carrier", url, "--to", "15550100", "--script", str(steps))
            with Command("call", *options, cwd=tmp_path, environment=credentials) as call:
                assert call.end() == 0
            os.kill(dev.child("carrier"), signal.SIGKILL)
            assert dev.end() == 1
    assert "the carrier was killed by SIGKILL" in dev.stderr


def test_a_file_that_is_not_there_ends_it(tmp_path: Path) -> None:
    with Command("dev", "nothing.py", "--http", ":0", cwd=tmp_path) as dev:
        assert dev.end() == 2
    assert "there is no file nothing.py" in dev.stderr


def test_where_the_files_of_an_app_are(tmp_path: Path) -> None:
    here = Path.cwd()
    assert _folder(f"{tmp_path}/bot.py:app") == tmp_path
    assert _folder("bot:app") == here
    assert _folder("tests.cli.bot") == here / "tests"


def test_what_counts_as_a_change(tmp_path: Path) -> None:
    for name in (".hidden", "node_modules", "venv/lib", "package/__pycache__"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "other.py").touch()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    assert _state(tmp_path) == frozenset()
    (tmp_path / "package" / "bot.py").touch()
    before = _state(tmp_path)
    assert len(before) == 1
    os.utime(tmp_path / "package" / "bot.py", ns=(1, 1))
    assert _state(tmp_path) != before
