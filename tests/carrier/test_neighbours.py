from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bothway.carrier import neighbours as module
from bothway.carrier.neighbours import Asked, Neighbours, NoNeighbourError
from bothway.carrier.node import Ids
from bothway.runtime.asgi import Message, Receive, Scope, Send
from bothway.runtime.server import read_body


class Echo:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.body = b""
        self.waits = asyncio.Event()
        self.waits.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        await self.waits.wait()
        told = {
            "method": scope["method"],
            "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "body": body.decode(),
        }
        head: Message = {
            "type": "http.response.start",
            "status": 202,
            "headers": [(b"content-type", b"application/json"), (b"retry-after", b"1")],
        }
        await send(head)
        await send({"type": "http.response.body", "body": self.body or json.dumps(told).encode()})


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Neighbours, Neighbours, Echo]]:
    (folder / "nodes").mkdir()
    echo, one, other = Echo(), Neighbours(folder, 1), Neighbours(folder, 2)
    await one.open(Echo())
    await other.open(echo)
    try:
        yield one, other, echo
    finally:
        await one.close()
        await other.close()


async def test_a_request_is_passed_on_whole(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, _, _echo):
        headers = {
            "authorization": "Basic x",
            "host": "carrier.example.com:8443",
            "content-type": "text/x",
            "connection": "close",
            "content-length": "999",
            "x-forwarded-proto": "gopher",
        }
        asked = Asked("POST", "/v1/Account/MA/Call/a%2Fb/?c=%20d&e", headers, b"a body", "https")
        told = await one.ask(2, asked)
        got: dict[str, Any] = json.loads(told.body)
        assert (got["method"], got["target"], got["body"]) == ("POST", asked.target, "a body")
        passed = {"authorization", "host", "content-type"}
        assert {name: got["headers"][name] for name in passed} == {name: headers[name] for name in passed}
        assert got["headers"]["x-forwarded-proto"] == "https"
        assert got["headers"]["content-length"] == "6"
        assert told.status == 202
        assert {name.lower() for name in told.headers} == {"content-type", "retry-after"}


async def test_who_is_there(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, other, _):
        assert (one.others(), other.others()) == ([2], [1])
        assert one.owner_of(Ids(number=2).uuid()) == 2
        assert one.owner_of(Ids(number=1).uuid()) is None
        assert one.owner_of(Ids(number=9).uuid()) is None
        assert one.owner_of("undefined") is None
        place = Path(json.loads((tmp_path / "nodes" / "2.json").read_text())["socket"])
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        await other.close()
        assert not place.parent.exists()
        assert one.others() == []
        with pytest.raises(NoNeighbourError, match="worker 2 does not run") as caught:
            await one.ask(2, Asked("GET", "/", {}, b""))
        assert caught.value.gone


async def test_one_that_was_killed_and_runs_again(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, other, echo):
        assert (await one.ask(2, Asked("GET", "/", {}, b""))).status == 202
        note = (tmp_path / "nodes" / "2.json").read_text()
        left = Path(json.loads(note)["socket"])
        await other.close()
        left.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(left))
        (tmp_path / "nodes" / "2.json").write_text(note)
        with pytest.raises(NoNeighbourError, match="worker 2 does not listen") as caught:
            await one.ask(2, Asked("GET", "/", {}, b""))
        assert caught.value.gone
        again = Neighbours(tmp_path, 2)
        await again.open(echo)
        assert not left.parent.exists()
        assert (await one.ask(2, Asked("GET", "/", {}, b""))).status == 202
        await again.close()


async def test_answers_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 100_000)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    async with two(tmp_path) as (one, _, echo):
        echo.body = b"x" * 100_000
        assert len((await one.ask(2, Asked("GET", "/", {}, b""))).body) == 100_000
        echo.body = b"x" * 100_001
        with pytest.raises(NoNeighbourError, match="too large") as caught:
            await one.ask(2, Asked("GET", "/", {}, b""))
        assert not caught.value.gone
        echo.waits.clear()
        with pytest.raises(NoNeighbourError, match="did not answer") as caught:
            await one.ask(2, Asked("GET", "/", {}, b""))
        assert not caught.value.gone
        echo.waits.set()


def test_what_a_note_says_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "node.sock").write_text("")
    module._remove(tmp_path / "precious" / "node.sock")
    assert (tmp_path / "precious" / "node.sock").exists()
