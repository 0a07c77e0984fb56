"""docs/testing.md is true: its files are written down as a reader would do it, and a fresh pytest runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.source_tree import ROOT
from tests.test_docs import Block, blocks

from bothway.audio.format import L16_8K, MULAW_8K
from bothway.audio.transcode import convert

PAGE = ROOT / "docs" / "testing.md"
BLOCKS = list(blocks(PAGE))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the page's files; blocks of one file stand in it one after another."""
    for block in BLOCKS:
        if block.file:
            with (tmp_path / block.file).open("a", encoding="utf-8") as file:
                file.write(block.text + "\n\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python, in a folder that knows nothing of this repository but the installed package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "PLIVO"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**kept, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def count_tests(folder: Path) -> int:
    return (folder / "test_agent.py").read_text(encoding="utf-8").count("async def test_")


def is_subsequence(lines: Sequence[str], text: str) -> bool:
    """Whether a text has these lines, in this order, whatever stands between them."""
    rest = iter(text.splitlines())
    return all(line in rest for line in lines)


def test_the_page_has_the_files_that_it_speaks_of() -> None:
    assert [block.file for block in BLOCKS if block.file][:2] == ["agent.py", "test_agent.py"]
    first = named("test_agent.py")[0].text.splitlines()
    assert len(first) <= 11, "ten lines, and one to spare"
    assert {block.file for block in BLOCKS} == {"", "agent.py", "test_agent.py", "conftest.py", "conversation.py"}
    assert "bothway" not in named("agent.py")[0].text


@pytest.mark.parametrize("options", [[], ["-p", "no:asyncio"]], ids=["as it is", "without pytest-asyncio"])
def test_the_tests_of_the_page_are_green(project: Path, options: list[str]) -> None:
    result = python(project, "-m", "pytest", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f" {count_tests(project)} passed" in result.stdout


def test_the_first_test_alone_is_green(project: Path) -> None:
    (project / "test_agent.py").write_text(named("test_agent.py")[0].text, encoding="utf-8")
    (project / "conftest.py").unlink()
    result = python(project, "-m", "pytest")
    assert " 1 passed" in result.stdout, result.stdout + result.stderr


def test_what_a_failure_prints_is_what_the_page_shows(project: Path) -> None:
    (sample,) = (block.text for block in BLOCKS if block.kind == "text")
    test = named("test_agent.py")[0].text
    assert test.count('"is anybody there"') == 1
    (project / "test_agent.py").write_text(test.replace('"is anybody there"', '"good evening"'), encoding="utf-8")
    result = python(project, "-m", "pytest")
    assert result.returncode == 1, result.stdout + result.stderr
    assert is_subsequence(sample.splitlines(), result.stdout), result.stdout
    assert any(line.startswith("▶") for line in sample.splitlines())


def test_an_app_that_does_not_clear_is_found_out(project: Path) -> None:
    app = project / "agent.py"
    app.write_text(app.read_text(encoding="utf-8").replace("await handler.send_clear_audio()", "pass"), "utf-8")
    result = python(project, "-m", "pytest", "-k", "until_i_press_a_key")
    assert "expected a record 'cleared' in the call's log within 1 s" in result.stdout, result.stdout


def test_without_pytest(project: Path) -> None:
    result = python(project, "-W", "ignore", "conversation.py")
    assert result.returncode == 0, result.stderr


async def test_the_voice_and_the_ear_of_the_page_understand_each_other() -> None:
    (block,) = (block for block in BLOCKS if "class FakeStt" in block.text)
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    said = [chunk async for chunk in names["FakeTts"]().speak("Is anybody there?")]
    assert names["FakeStt"]().hear(convert(b"".join(said), L16_8K, MULAW_8K)) == ["Is", "anybody", "there?"]


def named(file: str) -> list[Block]:
    return [block for block in BLOCKS if block.file == file]
