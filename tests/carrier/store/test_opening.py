from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from ssl import CERT_NONE, CERT_REQUIRED

import pytest
from sqlalchemy import text
from tests.carrier.store.examples import opened
from tests.postgres import Postgres

from bothway.carrier.store.opening import FILE_NAME, connect, find
from bothway.errors import UsageError


def test_nothing_is_memory_and_a_path_is_a_folder(tmp_path: Path) -> None:
    assert not find(None).is_shared
    assert find(tmp_path).file == find(str(tmp_path)).file == tmp_path / FILE_NAME
    assert find(tmp_path).is_shared


def test_a_servers_name_has_no_secrets() -> None:
    place = find("postgres://me:pass%40word@db.example:5433/calls?application_name=x&sslmode=disable")
    assert place.name == "the database postgresql://db.example:5433/calls"
    assert place.url is not None
    assert place.url.password == "pass@word"
    assert dict(place.options) == {"application_name": "x", "ssl_context": False}


def test_tls_is_asked_for_as_postgres_has_it() -> None:
    modes = {
        mode: dict(find(f"postgresql://h/d?sslmode={mode}").options) for mode in ("require", "verify-ca", "verify-full")
    }
    contexts = {mode: options["ssl_context"] for mode, options in modes.items()}
    assert contexts["require"].verify_mode == CERT_NONE
    assert contexts["verify-ca"].verify_mode == CERT_REQUIRED
    assert not contexts["verify-ca"].check_hostname
    assert contexts["verify-full"].check_hostname
    assert dict(find("postgresql://h/d?sslmode=prefer").options) == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:hunter2@h/d", "not at a mysql:// one"),
        ("postgresql://me:hunter2@h:port/d", "the database's URL is none"),
        ("postgresql://me:hunter2@h", "names no database"),
        ("postgresql://me:hunter2@h/d?sslmode=hunter2", "an option 'sslmode'"),
        ("postgresql://me:hunter2@h/d?options=-c", "an option 'options'"),
    ],
)
def test_a_url_that_cannot_be_used_is_not_shown(url: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(url)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/records\.db cannot be opened"):
        async with opened(tmp_path / "file"):
            pass


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(UsageError, match=r"records\.db cannot be opened: file is not a database"):
        async with opened(tmp_path):
            pass


async def test_a_server_that_is_not_there(postgres: Postgres) -> None:
    for url in ("postgresql://me:hunter2@127.0.0.1:1/d", f"postgresql://me:hunter2@/d?host={postgres.folder}/none"):
        with pytest.raises(UsageError) as caught:
            async with opened(url):
                pass
        assert "cannot be opened" in str(caught.value)
        assert "hunter2" not in str(caught.value)


async def test_a_database_that_is_not_there(postgres: Postgres) -> None:
    with pytest.raises(UsageError, match=r"missing cannot be opened: "):
        async with opened(postgres.url("missing")):
            pass


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "new"):
        for file in (tmp_path / "new").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_sqlite_is_set_for_many_readers(tmp_path: Path) -> None:
    engine = connect(find(tmp_path), 1)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 1000
    engine.dispose()


def test_without_the_driver_the_extra_is_named() -> None:
    program = "import sys; sys.modules['pg8000'] = None\n"
    program += "from bothway.carrier.store.opening import connect, find\nconnect(find('postgresql://h/d'), 1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)
    assert "UsageError: records in PostgreSQL need the extra `postgres`" in done.stderr
