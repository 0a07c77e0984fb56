"""A PostgreSQL server of the tests' own: in a folder of its own, at a socket in it, and gone with the tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Postgres", "postgres_server"]

_START_S = 60.0


class Postgres:
    """A running server.

    Attributes:
        folder: Where its data and its socket are.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], programs: Path) -> None:
        self.folder = folder
        self.process = process
        self._programs = programs
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql://tester:unused@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of a database that has nothing in it."""
        name = f"records{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, sql: str, database: str = "postgres") -> str:
        psql = [str(self._programs / "psql"), "-h", str(self.folder), "-U", "tester", "-d", database, "-XAtqc", sql]
        return subprocess.run(psql, check=True, capture_output=True, text=True, timeout=30).stdout


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server, and stop it in the end.

    Without PostgreSQL on this machine the tests that want it are skipped; with `CI=true` they fail.
    """
    programs = _programs()
    if programs is None:
        text = "PostgreSQL is not installed here (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    # The server does not run as root, and a socket's path has at most 107 bytes: so not pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="bothway-pg-"))
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    options = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    try:
        initdb = [programs / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([*initdb, "--locale=C.UTF-8"], check=True, capture_output=True, timeout=120, **options)  # type: ignore[call-overload]
        with (folder / "log").open("wb") as log:
            settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=50"]
            arguments = [word for setting in settings for word in ("-c", setting)]
            server = [programs / "postgres", "-D", data, *arguments]
            process = subprocess.Popen(server, stdout=log, stderr=log, cwd=folder, **options)  # type: ignore[call-overload]
        try:
            yield _started(Postgres(folder, process, programs))
        finally:
            process.send_signal(signal.SIGINT)  # a stop that does not wait for connections
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _started(server: Postgres) -> Postgres:
    until = time.monotonic() + _START_S
    while True:
        try:
            server.run("SELECT 1")
        except subprocess.CalledProcessError as error:
            if server.process.poll() is not None or time.monotonic() > until:
                log = (server.folder / "log").read_text(errors="replace")
                raise AssertionError(f"PostgreSQL does not start: {error.stderr}\n{log}") from None
            time.sleep(0.05)
        else:
            return server


def _programs() -> Path | None:
    """Where initdb is: Debian does not have it on the path."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def _user() -> pwd.struct_passwd | None:
    """Who runs it, if not we."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
