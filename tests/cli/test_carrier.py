"""`bothway carrier`, with `bothway call` at it."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.cli.processes import ACCOUNT, APPS, CARRIERS, ECHO, Command, event, script

from bothway.cli.carrier import account_of
from bothway.errors import UsageError
from bothway.runtime.logs import get_logger
from bothway.runtime.settings import Settings

A_SECOND = "steps: [{wait: 1s}]\n"
FOR_EVER = "steps: [{wait: 60s}]\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The answer URL of the echo."""
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path_factory.mktemp("echo"), environment=APPS) as app:
        yield f"{app.ready()['url']}/answer"


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_says_where_it_is_and_nothing_else(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with Command("carrier", "--http", ":0", "--log-level", "debug", cwd=tmp_path) as carrier:
            facts = carrier.ready()
            assert status(f"{facts['url']}/readyz") == 200
            carrier.send(signal.SIGTERM)
            assert carrier.end() == 0
        assert carrier.stdout.startswith("ready {")
        assert carrier.stdout.count("\n") == 1
        assert facts["leg_url"].startswith("ws://127.0.0.1:")
        assert facts["profile"] == "documented"
        kept = json.loads((tmp_path / ".bothway" / "credentials.json").read_text())
        assert kept["auth_id"] == facts["auth_id"]
        assert kept["auth_token"] not in carrier.stdout + carrier.stderr
        seen.append(kept)
    assert seen[0] == seen[1]
    assert stat.S_IMODE((tmp_path / ".bothway" / "credentials.json").stat().st_mode) == 0o600


def test_it_takes_the_account_of_its_environment_or_of_its_file(tmp_path: Path) -> None:
    account = "accounts: [{auth_id: MAFILE, auth_token: a-token-of-the-file}]\n"
    (tmp_path / "carrier.yaml").write_text(account)
    for environment, auth_id in (({}, "MAFILE"), (CARRIERS, CARRIERS["BOTHWAY_AUTH_ID"])):
        options = ("--http", ":0", "--config", "carrier.yaml", "--data", "data")
        with Command("carrier", *options, cwd=tmp_path, environment=environment) as carrier:
            assert carrier.ready()["auth_id"] == auth_id
    assert not (tmp_path / "data" / "credentials.json").exists()


def test_it_lets_calls_end_but_takes_no_more(echo: str, tmp_path: Path) -> None:
    with Command("carrier", "--http", ":0", "--allow-private", cwd=tmp_path, environment=CARRIERS) as carrier:
        url = carrier.ready()["url"]
        options = ("--carrier", url, "--answer-url", echo, "--script", script(tmp_path, A_SECOND))
        with Command("call", *options, "--out", "a", cwd=tmp_path, environment=CARRIERS) as live:
            live.until(lambda: event(tmp_path / "a", "stream_started"))
            carrier.send(signal.SIGTERM)
            carrier.until(lambda: status(f"{url}/readyz") == 503)
            with Command("call", *options, "--out", "b", cwd=tmp_path, environment=CARRIERS) as late:
                assert late.end() == 1
            assert "503" in late.stderr
            assert live.end() == 0
        assert carrier.end(5) == 0
    assert CARRIERS["BOTHWAY_AUTH_TOKEN"] not in carrier.stdout + carrier.stderr + live.stdout + live.stderr


def test_calls_that_do_not_end_are_ended_when_the_time_is_up(echo: str, tmp_path: Path) -> None:
    options = ("--http", ":0", "--allow-private", "--drain-seconds", "0.5")
    with Command("carrier", *options, cwd=tmp_path, environment=CARRIERS) as carrier:
        url = carrier.ready()["url"]
        place = ("--carrier", url, "--answer-url", echo, "--script", script(tmp_path, FOR_EVER), "--out", "a")
        with Command("call", *place, cwd=tmp_path, environment=CARRIERS) as call:
            call.until(lambda: event(tmp_path / "a", "stream_started"))
            began = time.monotonic()
            carrier.send(signal.SIGTERM)
            assert carrier.end(10) == 0
            assert time.monotonic() - began >= 0.5
            assert call.end() == 1
        assert "the carrier was stopped" in call.stderr


def test_a_second_signal_ends_it_at_once(echo: str, tmp_path: Path) -> None:
    with Command("carrier", "--http", ":0", "--allow-private", cwd=tmp_path, environment=CARRIERS) as carrier:
        url = carrier.ready()["url"]
        options = ("--carrier", url, "--answer-url", echo, "--script", script(tmp_path, FOR_EVER), "--out", "a")
        with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
            call.until(lambda: event(tmp_path / "a", "stream_started"))
            carrier.send(signal.SIGTERM)
            carrier.until(lambda: status(f"{url}/readyz") == 503)
            carrier.send(signal.SIGINT)
            assert carrier.end(1) == -signal.SIGINT
            assert call.end() == 1
        assert "socket died" in call.stderr


def test_a_call_with_another_account_is_not_let_in(tmp_path: Path) -> None:
    with Command("carrier", "--http", ":0", cwd=tmp_path) as carrier:
        options = ("--carrier", carrier.ready()["url"], "--to", "15550100", "--say", "hi")
        with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
            assert call.end() == 1
        assert "BOTHWAY_AUTH_TOKEN" in call.stderr
        assert CARRIERS["BOTHWAY_AUTH_TOKEN"] not in call.stderr
        with Command("call", *options, cwd=tmp_path) as kept:  # by the data folder of this place
            assert kept.end() == 1
        assert "no application answers 15550100" in kept.stderr


def test_tls(echo: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = ("--http", ":0", "--allow-private", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    with Command("carrier", *options, cwd=tmp_path, environment=CARRIERS) as carrier:
        facts = carrier.ready()
        assert (facts["url"][:8], facts["leg_url"][:6]) == ("https://", "wss://")
        steps = script(tmp_path, "steps: [{wait: 200ms}]\n")
        trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        place = ("--carrier", facts["url"], "--answer-url", echo, "--script", steps)
        with Command("call", *place, cwd=tmp_path, environment=CARRIERS | trust) as call:
            assert call.end() == 0


# The account.


def test_the_account_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "a" / "data")
    made = account_of(settings)
    path = settings.data / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"auth_id": made.auth_id, "auth_token": made.auth_token}
    assert account_of(settings) == made
    assert sorted(found.name for found in settings.data.iterdir()) == [".gitignore", "credentials.json"]
    assert (settings.data / ".gitignore").read_text() == "*\n"


def test_a_folder_that_was_there_gets_no_gitignore(tmp_path: Path) -> None:
    account_of(Settings(data=tmp_path))
    assert [found.name for found in tmp_path.iterdir()] == ["credentials.json"]


async def test_many_processes_at_once_agree_on_one_account(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    settings.data.mkdir()
    accounts = await asyncio.gather(*(asyncio.to_thread(account_of, settings) for _ in range(20)))
    assert len({account.auth_token for account in accounts}) == 1
    assert [found.name for found in settings.data.iterdir()] == ["credentials.json"]


def test_the_settings_outweigh_what_is_kept(tmp_path: Path) -> None:
    account = account_of(Settings(data=tmp_path, auth_id=ACCOUNT["auth_id"], auth_token=ACCOUNT["auth_token"]))
    assert (account.auth_id, account.auth_token) == (ACCOUNT["auth_id"], ACCOUNT["auth_token"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="set both"):
        account_of(Settings(data=tmp_path, auth_id="MA"))


@pytest.mark.parametrize("content", ["", "[]", '{"auth_id": "a-secret"', '{"auth_id": "MA"}', '{"a-secret": 1}'])
def test_kept_credentials_that_cannot_be_read_are_not_shown(content: str, tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(content)
    with pytest.raises(UsageError, match="holds no auth_id and auth_token") as caught:
        account_of(Settings(data=tmp_path))
    assert "a-secret" not in str(caught.value)
    assert (tmp_path / "credentials.json").read_text() == content


def test_the_token_that_was_made_is_kept_out_of_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    account = account_of(Settings(data=tmp_path))
    with caplog.at_level(logging.INFO):
        get_logger("test").info("here", note=f"it is {account.auth_token}")
    assert account.auth_token not in caplog.text
    assert "***" in caplog.text


def test_records_that_cannot_be_had_are_said_without_their_password(tmp_path: Path) -> None:
    database = {"BOTHWAY_DB": "postgresql://me:a-db-password@127.0.0.1:1/records"}
    with Command("carrier", "--http", ":0", cwd=tmp_path, environment=CARRIERS | database) as carrier:
        assert carrier.end() == 2
    assert "127.0.0.1:1/records" in carrier.stderr
    assert "a-db-password" not in carrier.stderr
