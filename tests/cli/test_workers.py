"""`bothway carrier --workers 2`: several carriers at one port, with one data folder."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cli.processes import ACCOUNT, CARRIERS, Command, none_left

from bothway.carrier.node import node_of
from bothway.cli import workers
from bothway.cli.workers import Crew, export, is_worker
from bothway.errors import UsageError
from bothway.runtime.settings import Address, Settings

CALLEES = 'callees:\n  - {number: "15550100", does: rings_on}\n'
LOGIN = b64encode(f"{ACCOUNT['auth_id']}:{ACCOUNT['auth_token']}".encode()).decode()


def ask(url: str, method: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """One request on a connection of its own: any of the workers gets it."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as connection:
        headers = {"Authorization": f"Basic {LOGIN}", "Content-Type": "application/json"}
        whole = path if path.startswith("/") else f"/v1/Account/{ACCOUNT['auth_id']}/{path}"
        connection.request(method, whole, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        content = answer.read()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, json.loads(content) if is_json and content else {}


@contextmanager
def carriers(folder: Path, *options: str) -> Iterator[Command]:
    (folder / "carrier.yaml").write_text(CALLEES + "limits: {calls_per_second: 100}\n")
    shared = ("--http", ":0", "--config", "carrier.yaml", "--data", "data", "--allow-private", "--workers", "2")
    with Command("carrier", *shared, *options, cwd=folder, environment=CARRIERS) as command:
        yield command


def ringing(url: str, sink: str) -> dict[int, str]:
    """A call that rings at each of the workers, by their numbers."""
    found: dict[int, str] = {}
    placed: set[str] = set()
    for _ in range(60):
        to = {"from": "15550199", "to": "15550100"}
        status, body = ask(url, "POST", "Call/", **to, answer_url=sink, hangup_url=f"{sink}hangup", ring_timeout=600)
        assert status == 201
        placed.add(body["request_uuid"])
        found.setdefault(node_of(body["request_uuid"]) or 0, body["request_uuid"])
        if len(found) == 2:
            deadline = time.monotonic() + 10
            while not live(url) >= placed:  # they wait their turn for a moment
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return found
    raise AssertionError("the kernel gave all connections to one worker")


def live(url: str) -> set[str]:
    return set(ask(url, "GET", "Call/?status=live")[1]["calls"])


class Hangups:
    """An application's server, which remembers how calls ended."""

    def __init__(self) -> None:
        self.codes: dict[str, list[str]] = {}
        hangups = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if form.get("Event") == ["Hangup"]:
                    hangups.codes.setdefault(form["CallUUID"][0], []).append(form["HangupCauseCode"][0])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def hangups() -> Iterator[Hangups]:
    with Hangups() as found:
        yield found


def test_any_worker_answers_for_all_and_one_that_is_killed_is_started_again(tmp_path: Path, hangups: Hangups) -> None:
    with carriers(tmp_path) as carrier:
        facts = carrier.ready()
        assert (facts["workers"], facts["auth_id"]) == (2, ACCOUNT["auth_id"])
        url = facts["url"]
        calls = ringing(url, hangups.url)
        others = live(url) - set(calls.values())
        for _ in range(8):  # whichever worker has the connection
            assert {*calls.values()} <= live(url)
            for call_id in calls.values():
                status, body = ask(url, "GET", f"Call/{call_id}/?status=live")
                assert (status, body["call_status"]) == (200, "ringing")
        for call_id in others:
            assert ask(url, "DELETE", f"Call/{call_id}/")[0] == 204
        carrier.until(lambda: live(url) == set(calls.values()))

        victim = json.loads((tmp_path / "data" / "nodes" / "2.json").read_text())["pid"]
        assert victim in carrier.descendants()
        os.kill(victim, signal.SIGKILL)
        carrier.says("worker 2 was killed by SIGKILL; it is started again")
        carrier.until(lambda: calls[2] in hangups.codes)
        assert hangups.codes[calls[2]] == ["5010"]
        carrier.until(lambda: live(url) == {calls[1]})
        status, cdr = ask(url, "GET", f"Call/{calls[2]}/")
        assert (status, cdr["hangup_cause_code"]) == (200, 5010)
        assert calls[1] not in hangups.codes, "the others go on"
        assert ringing(url, hangups.url).keys() == {1, 2}, "and there are two again"
        assert ask(url, "DELETE", "Call/")[0] == 204
        carrier.until(lambda: not live(url))
        carrier.until(lambda: calls[1] in hangups.codes)
        assert hangups.codes[calls[1]] == ["1000"]
        mine = carrier.descendants()
        assert len(mine) == 2
        carrier.send(signal.SIGTERM)
        assert carrier.end(20) == 0
        assert none_left(mine)
    assert not list((tmp_path / "data" / "nodes").glob("*.json"))
    assert carrier.stdout.count("\n") == 1
    assert "Traceback" not in carrier.stderr


def test_all_are_drained(tmp_path: Path, hangups: Hangups) -> None:
    with carriers(tmp_path, "--drain-seconds", "0.5") as carrier:
        url = carrier.ready()["url"]
        calls = ringing(url, hangups.url)
        carrier.send(signal.SIGTERM)
        assert carrier.end(20) == 0
    assert [hangups.codes.get(call_id) for call_id in calls.values()] == [["5010"], ["5010"]]


def test_what_is_wrong_for_all_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "carrier.yaml").write_text("limits: {streams_per_call: 99}\n")
    options = ("--http", ":0", "--config", "carrier.yaml", "--workers", "2")
    with Command("carrier", *options, cwd=tmp_path, environment=CARRIERS) as carrier:
        assert carrier.end() == 1
    assert carrier.stderr.count("streams_per_call is a number from 1 to 16") == 1
    assert "worker 1 ended with exit code 2 before it was ready" in carrier.stderr


def test_what_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("BOTHWAY_", "PLIVO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BOTHWAY_PROFILE", "")  # so that what is exported is taken back
    monkeypatch.setenv("BOTHWAY_DB", "")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    settings = Settings(profile="live", db="postgresql://db/records", recordings=True, workers=3)
    export("carrier", settings)
    again = Settings.from_environment(os.environ, command="carrier")
    assert (again.profile, again.db, again.recordings, again.workers) == ("live", settings.db, True, 3)
    assert not is_worker()
    monkeypatch.setitem(os.environ, "BOTHWAY_WORKER", "1")
    assert is_worker()


async def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "stop_signal", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(http=Address("127.0.0.1", taken.getsockname()[1]), workers=2)
        with pytest.raises(UsageError, match="cannot listen at"):
            await Crew(["carrier"], settings, restart=True).run()
