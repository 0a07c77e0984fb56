from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bothway.carrier import node_slot
from bothway.carrier.node_slot import NodeSlot, StartTurn
from bothway.errors import UsageError


def test_the_lowest_number_that_is_free(tmp_path: Path) -> None:
    first, second = NodeSlot.take(tmp_path), NodeSlot.take(tmp_path)
    assert (first.number, second.number) == (1, 2)
    assert first.name.split("/")[0] == second.name.split("/")[0]
    assert first.dead == {first.name}
    assert second.dead == {second.name}, "nobody else runs; its own earlier life is over"
    first.release()
    first.release()
    again = NodeSlot.take(tmp_path)
    assert (again.number, again.name) == (1, first.name)
    third = NodeSlot.take(tmp_path)
    second.release()
    third.release()
    fourth = NodeSlot.take(tmp_path)
    assert fourth.number == 2
    assert fourth.dead == {second.name, third.name}
    again.release()
    fourth.release()


def test_two_folders_have_two_names(tmp_path: Path) -> None:
    one, two = NodeSlot.take(tmp_path / "one"), NodeSlot.take(tmp_path / "two")
    assert one.name != two.name
    one.release()
    two.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from bothway.carrier.node_slot import NodeSlot;"
        "print(NodeSlot.take(pathlib.Path(sys.argv[1])).number, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        mine = NodeSlot.take(tmp_path)
        assert mine.number == 2
        other.kill()
        other.wait()
    mine.release()
    again = NodeSlot.take(tmp_path)
    assert again.number == 1
    again.release()


def test_who_is_known_to_run(tmp_path: Path) -> None:
    one, two = NodeSlot.take(tmp_path / "one"), NodeSlot.take(tmp_path / "one")
    other = NodeSlot.take(tmp_path / "two")
    assert one.runs(one.name)
    assert one.runs(two.name)
    assert not one.runs(other.name), "of another folder nothing is known"
    two.release()
    assert not one.runs(two.name)
    again = NodeSlot.take(tmp_path / "one")
    assert again.name == two.name, "the look has left no lock"
    assert not NodeSlot().runs("1"), "without a folder there are no others"
    for slot in (one, again, other):
        slot.release()


def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_slot, "MOST_NODES", 1)
    slot = NodeSlot.take(tmp_path)
    with pytest.raises(UsageError, match="there is no number for another"):
        NodeSlot.take(tmp_path)
    slot.release()


def test_one_starts_at_a_time(tmp_path: Path) -> None:
    turn = StartTurn.take(tmp_path)
    with pytest.raises(UsageError, match="has been starting for 0 s"):
        StartTurn.take(tmp_path, seconds=0)
    turn.end()
    turn.end()
    StartTurn.take(tmp_path, seconds=0).end()
