"""What all commands share: usage, exit codes, and a reader of the output that leaves."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.cli.processes import CARRIERS

from bothway.cli import build_parser, main
from bothway.version import __version__

NOBODY = "http://127.0.0.1:1/answer"

WRONG = {
    "demo --http here": "must be host:port",
    "demo --profile odd": "one of documented, live",
    "dev": "either MODULE[:APP] or --answer-url",
    f"dev app --answer-url {NOBODY}": "either MODULE[:APP] or --answer-url",
    "dev --answer-url ftp://host/answer": "an http or https URL",
    "carrier --config nothing.yaml": "nothing.yaml cannot be read",
    "carrier --tls-cert cert.pem": "--tls-cert is set without --tls-key",
    "carrier --tls-cert cert.pem --tls-key key.pem": "No such file",
    "carrier --data /dev/null/data": "/dev/null/data",
    "serve": "the following arguments are required",
    "serve nothing.py": "there is no file nothing.py",
    "serve nothing": "there is no module nothing",
    f"call --answer-url {NOBODY}": "one of the arguments --wav --say --script is required",
    "call --say hi": "one of the arguments --to --answer-url is required",
    "call --to 15550100 --say hi": "--to needs --carrier",
    "call --carrier here --to 15550100 --say hi": "the carrier's URL starts with",
    f"call --answer-url {NOBODY} --wav nothing.wav": "there is no file nothing.wav",
    f"call --answer-url {NOBODY} --wav text.wav": "text.wav is not a WAV file",
    f"call --answer-url {NOBODY} --script nothing.yaml": "nothing.yaml cannot be read",
    f"call --answer-url {NOBODY} --say= ": "it must not be empty",
    f"call --answer-url {NOBODY} --say hi --out /dev/null/out": "cannot be used for the evidence",
}
"""Command lines that cannot work, and what is said about each."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run in, for `main` in this process: what it does to the logs is undone."""
    root = logging.getLogger()
    before, level, config = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.chdir(tmp_path)
    for name, value in CARRIERS.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**config)


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_told_and_is_2(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "text.wav").write_text("this is no audio")
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(line.split()))  # where `main` has not done so itself
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert WRONG[line] in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    assert not said.out
    assert not list(here.glob("bothway-out/*"))


@pytest.mark.parametrize("command", ["", "demo", "dev", "carrier", "serve", "call"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: bothway {command}".rstrip())
    assert "None" not in text


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"bothway {__version__}\n"


def test_every_command_says_what_it_is() -> None:
    text = " ".join(build_parser().format_help().split())
    for command in ("demo", "dev", "carrier", "serve", "call"):
        assert f" {command} " in text


def test_a_reader_that_leaves_is_no_fault_of_ours(tmp_path: Path) -> None:
    """As `bothway call … | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bothway", "call", "--answer-url", NOBODY, "--say", "hi", "--log-level", "error"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | CARRIERS,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert b"Broken" not in process.stderr.read()
    assert process.wait(30) == 1


def test_one_command_loads_nothing_of_the_others() -> None:
    """An app in production pays for no carrier, in memory or in time."""
    code = "import sys; from bothway.cli import build_parser; build_parser('serve'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert not {"bothway.carrier", "aiohttp", "numpy", "yaml"} & set(done.stdout.split())
