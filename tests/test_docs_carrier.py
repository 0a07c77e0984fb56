"""docs/carrier.md is true: its files are written down, its commands run, and what they promise is there afterwards."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.source_tree import ROOT
from tests.test_docs import blocks

from bothway.audio.wav import read_wav
from bothway.carrier.api.table import OPERATIONS

PAGE = ROOT / "docs" / "carrier.md"
BLOCKS = list(blocks(PAGE))
PORTS = ("5000", "8080")
"""Those of the page; the test has others."""


class Folder:
    """The reader's folder, in which the page's commands run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ports = {port: str(free_port()) for port in PORTS}
        for block in BLOCKS:
            if block.file:
                (path / block.file).write_text(self.moved(block.text), encoding="utf-8")

    def moved(self, text: str) -> str:
        """A text of the page, at this test's ports."""
        for port, ours in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ours}").replace(f"server {port} ", f"server {ours} ")
        return text

    def line(self, beginning: str) -> list[str]:
        """The one command of the page that begins like this, as its words."""
        lines = [
            line
            for block in BLOCKS
            if block.kind == "sh"
            for line in block.text.replace("\\\n", " ").splitlines()
            if line.startswith(beginning)
        ]
        assert len(lines) == 1, f"the page has {len(lines)} lines that begin with {beginning}"
        return shlex.split(self.moved(lines[0]).removesuffix(" &"))

    def run(self, words: list[str], **environment: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            words,
            cwd=self.path,
            env=_environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, words: list[str], until: str) -> Iterator[None]:
        """A command that runs meanwhile; `until` is in the line that says that it is up."""
        with subprocess.Popen(
            words, cwd=self.path, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert until in process.stdout.readline()
                yield
            finally:
                process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PLIVO", "BOTHWAY"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "no_proxy": "127.0.0.1"}


def test_the_first_five_minutes(tmp_path: Path) -> None:
    folder, bothway = Folder(tmp_path), [sys.executable, "-m", "bothway"]
    port = folder.moved("127.0.0.1:8080")
    site = [sys.executable, *folder.line("python3 ")[1:]]
    carrier = [*bothway, *folder.line("bothway carrier")[1:], "--http", port]
    with folder.running(site, "Serving"), folder.running(carrier, "ready"):
        if shutil.which("curl"):
            answer = json.loads(folder.run(folder.line("curl ")))
            assert answer["message"] == "call fired"
            assert answer["request_uuid"]
        fired, *waited, record, heard = folder.run([sys.executable, "first_call.py"]).splitlines()
        assert fired.startswith("call fired ")
        assert set(waited) <= {"it is not over yet"}
        state, rest = record.split(" ", 1)
        assert (state, rest.rpartition(" ")[2]) == ("ANSWERED", "0.01000")
        assert "End Of XML Instructions" in rest
        assert heard.startswith("listen to call.wav: ")
        fmt, audio = read_wav(tmp_path / "call.wav")
        assert len(audio) > fmt.bytes_for(1000)
        assert any(audio)
        account = dict(word.split("=") for word in folder.line("export ")[1:])
        folder.run([*bothway, *folder.line("bothway call")[1:]], **account)
    assert (tmp_path / "data" / "records.db").exists()


@pytest.mark.parametrize("word", sorted({operation.path.partition("/")[0] for operation in OPERATIONS} - {""}))
def test_the_page_names_every_resource(word: str) -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## REST")[2].partition("## Callbacks")[0]
    assert f"`{word}/" in table
