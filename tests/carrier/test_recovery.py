from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bothway.carrier.evidence import LOG_NAME
from bothway.carrier.recovery import LiveCalls, recover
from bothway.carrier.writer import Writer


def left_behind(data: Path, call_id: str, log: bytes | None) -> Path:
    (data / "live" / "dead").mkdir(parents=True, exist_ok=True)
    (data / "live" / "dead" / call_id).touch()
    path = data / "calls" / call_id / LOG_NAME
    if log is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(log)
    return path


def line(**record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


def marks(data: Path) -> set[str]:
    return {path.name for path in (data / "live").glob("*/*")}


async def test_marks_come_and_go(tmp_path: Path) -> None:
    writer = Writer()
    live = LiveCalls(writer, tmp_path)
    live.add("one")
    live.add("two")
    await writer.drained()
    assert marks(tmp_path) == {"one", "two"}
    live.remove("one")
    live.remove("one")
    await writer.drained()
    assert marks(tmp_path) == {"two"}
    live.remove("two")
    live.close()
    await writer.close()
    assert not any((tmp_path / "live").iterdir())


async def test_the_calls_of_a_carrier_that_runs_are_left_alone(tmp_path: Path) -> None:
    writer = Writer()
    live = LiveCalls(writer, tmp_path)
    live.add("x")
    await writer.drained()
    assert recover(tmp_path) == []
    assert marks(tmp_path) == {"x"}
    live.close()  # as a process that dies drops its lock
    await writer.close()
    assert recover(tmp_path) == ["x"]
    assert not any((tmp_path / "live").iterdir())


def test_a_call_that_was_killed_gets_its_end(tmp_path: Path) -> None:
    log = left_behind(tmp_path, "x", line(event="call", t_ms=0, at=0.0) + line(event="media", t_ms=1000, at=1.25))
    assert recover(tmp_path) == ["x"]
    *_, ended = [json.loads(text) for text in log.read_text().splitlines()]
    assert ended == {
        "event": "ended",
        "t_ms": 1000,
        "at": 1.25,
        "code": 5010,
        "name": "Internal Error",
        "source": "Error",
        "detail": "the carrier was killed in mid-call",
        "ran_to_end": False,
    }
    assert recover(tmp_path) == [], "once"


@pytest.mark.parametrize("torn", [b'{"event":"med', b'{"event":"media","t_ms":9}', b"\xff\xfe", b"7", b"\n\n"])
def test_a_half_written_line_stays_on_a_line_of_its_own(tmp_path: Path, torn: bytes) -> None:
    log = left_behind(tmp_path, "x", line(event="media", t_ms=1000, at=1.25) + torn)
    assert recover(tmp_path) == ["x"]
    lines = log.read_bytes().splitlines()
    assert json.loads(lines[-1])["event"] == "ended"
    assert lines[1] == torn.strip()


@pytest.mark.parametrize("log", [None, b""])
def test_a_call_without_a_log_gets_one(tmp_path: Path, log: bytes | None) -> None:
    path = left_behind(tmp_path, "x", log)
    assert recover(tmp_path) == ["x"]
    (ended,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert (ended["event"], ended["t_ms"], ended["code"]) == ("ended", 0, 5010)


def test_a_call_that_had_ended_is_left_alone(tmp_path: Path) -> None:
    """It was killed while the last callbacks were being delivered."""
    content = line(event="ended", t_ms=5, at=1.0, code=4000) + line(event="callback", t_ms=5, at=1.1)
    log = left_behind(tmp_path, "x", content)
    assert recover(tmp_path) == []
    assert log.read_bytes() == content
    assert not list((tmp_path / "live").iterdir())


def test_nothing_was_left_behind(tmp_path: Path) -> None:
    assert recover(tmp_path) == []
    assert recover(tmp_path / "not there") == []


def test_a_log_that_cannot_be_ended_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left_behind(tmp_path, "a", line(event="call", t_ms=0, at=0.0))
    (tmp_path / "calls" / "b").write_text("a file where a folder should be")
    left_behind(tmp_path, "b", None)
    assert recover(tmp_path) == ["a"]
    assert "call b was live when the carrier died; its log cannot be ended" in caplog.text
    (tmp_path / "calls" / "b").unlink()
    assert recover(tmp_path) == ["b"]
