"""What the documents show is true: Python is run, YAML is read, commands are parsed, tables and links are compared.

Every fenced block says what it is. `python` is executed, the blocks of one document one after another in one namespace;
where `<!-- not run: why -->` stands on the line above, it is compiled and its imports are executed. Where
`<!-- file: name -->` stands there, the block is a file, or more of it, of the project that the document builds up, and
`tests/test_docs_testing.py` or `tests/test_docs_carrier.py` runs that. `yaml` is a carrier's file or a caller's script;
`sh` is lines of commands; any other kind fails.

`python -m tests.test_docs` writes the table of settings anew.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tests.source_tree import ROOT, modules

from bothway import App, Call
from bothway.carrier.config import Account, Application, Config, Number, RentableNumber, load_config
from bothway.carrier.rates import Rates
from bothway.carrier.script import Script
from bothway.cli import build_parser
from bothway.core.profile import Limits
from bothway.runtime.settings import Settings, settings_of

CONFIGURATION = ROOT / "docs" / "configuration.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

COMMANDS_OF_OTHERS = {".", "cd", "curl", "docker", "export", "pip", "pytest", "python3", "uvicorn"}
"""What a shell block may name besides `bothway`, `make` and what is in `.venv/bin`."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its text, where it stands, and what the line above says of it: that it is not run, or
    which file it is."""

    path: Path
    line: int
    kind: str
    text: str
    is_only_compiled: bool
    file: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        line = text.count("\n", 0, match.start()) + 1
        file = re.fullmatch(r"<!-- file: ([\w.]+) -->", above)
        is_only_compiled = above.startswith("<!-- not run: ")
        yield Block(path, line, match["kind"], match["text"], is_only_compiled, file[1] if file is not None else "")


ALL = [block for path in DOCUMENTS for block in blocks(path)]


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in ALL if block.kind in kinds]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- blocks -------------------------------------------------------------------------------------------------------


def test_every_block_says_what_it_is() -> None:
    known = {"python", "yaml", "sh", "json", "text", "xml"}
    found = [f"{block}: a block of {block.kind or 'no kind'}" for block in ALL if block.kind not in known]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if any(b.kind == "python" for b in blocks(path))], ids=name_of
)
def test_python_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    set_account(monkeypatch)
    namespace: dict[str, Any] = {"__name__": "document"}
    for block in blocks(path):
        if block.kind == "python" and not block.file:
            # The line numbers of a traceback are those of the document.
            tree = ast.parse("\n" * block.line + block.text)
            if block.is_only_compiled:
                compile(tree, str(block.path), "exec", dont_inherit=True)
                tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(tree, str(block.path), "exec", dont_inherit=True), namespace)


def test_files_are_of_a_project_that_is_run() -> None:
    assert {block.path.name for block in ALL if block.file} == {"carrier.md", "testing.md"}


@pytest.mark.parametrize("block", of_kind("python"))
def test_python_uses_what_calls_and_apps_have(block: Block) -> None:
    """A handler's body runs on a call only; its words are compared with those that `Call` and `App` have."""
    known = {"call": names_of(Call), "app": names_of(App)}
    found = [
        f"{block.path.name}:{block.line + node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr not in known.get(node.value.id, {node.attr})
    ]
    assert not found, "no such thing:\n" + "\n".join(found)


@pytest.mark.parametrize("block", of_kind("yaml"))
def test_yaml_is_read(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(block.text, encoding="utf-8")
    keys = set(yaml.safe_load(block.text))
    if "steps" in keys:
        assert Script.load(path).steps
    elif keys <= set(Config.__struct_fields__):
        load_config(path)
    else:
        pytest.fail(f"{block}: neither a script nor a carrier's file")


@pytest.mark.parametrize("block", of_kind("sh"))
def test_commands_exist(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
        if not words:
            continue
        command = words[0].removeprefix(".venv/bin/")
        if command == "bothway":
            check_arguments(words[1:])
        elif command == "make":
            assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), line
        elif words[0].startswith(".venv/bin/"):
            assert (ROOT / words[0]).exists(), line
        else:
            assert command in COMMANDS_OF_OTHERS, f"{block}: what is {command!r}?"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_in_prose_exist(path: Path) -> None:
    """`bothway …` between backquotes begins with a command that there is."""
    commands = subcommands()
    for text in re.findall(r"`bothway ([^`\n]+)`", path.read_text(encoding="utf-8")):
        words = text.split()
        if words[0] not in {"COMMAND", "…"}:
            assert words[0] in commands, f"{name_of(path)}: `bothway {text}`"


# --- tables -------------------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_the_codes() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert text == with_settings_table(text), "write docs/configuration.md anew: .venv/bin/python -m tests.test_docs"


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("### `accounts`", Account.__struct_fields__),
        ("### `applications`", Application.__struct_fields__),
        ("### `numbers`", Number.__struct_fields__),
        ("### `inventory`", RentableNumber.__struct_fields__),
        ("### `rates`", Rates.__struct_fields__),
        ("### `limits`", tuple(field.name for field in dataclasses.fields(Limits))),
    ],
)
def test_the_tables_of_the_carriers_file_are_complete(title: str, keys: tuple[str, ...]) -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    section = re.split(r"^##", text.partition(title)[2], maxsplit=1, flags=re.MULTILINE)[0]
    table = section[section.index("| key |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(keys)


def test_every_part_of_the_carriers_file_has_a_section() -> None:
    titles = re.findall(r"^### `(\w+)`$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(titles) == sorted(Config.__struct_fields__)


@pytest.mark.parametrize(("title", "kind"), [("### `rates`", Rates), ("### `inventory`", RentableNumber)])
def test_the_defaults_of_amounts_are_the_codes(title: str, kind: type[msgspec.Struct]) -> None:
    text = CONFIGURATION.read_text(encoding="utf-8").partition(title)[2].partition("\n### ")[0]
    written = dict(re.findall(r"^\| `(\w+)` \|.*\| `([^`]+)` \|$", text, re.MULTILINE))
    defaults = zip(kind.__struct_fields__[-len(kind.__struct_defaults__) :], kind.__struct_defaults__, strict=True)
    assert {name: value for name, value in written.items() if value[0].isdigit()} == {
        name: str(default) for name, default in defaults if isinstance(default, Decimal)
    }


def test_the_defaults_of_limits_are_the_codes() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    written = dict(re.findall(r"^\| `(\w+)` \|.*\| `([^`]+)` \|$", text.partition("### `limits`")[2], re.MULTILINE))
    for field in dataclasses.fields(Limits):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert written[field.name] == str(default), field.name


def test_every_record_of_the_log_is_described() -> None:
    """What the carrier records, wherever it names it, has a line in docs/evidence.md; and what has one is recorded."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (ROOT / "docs" / "evidence.md").read_text("utf-8"), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    recorded, written = set(), set()
    for module in modules().values():
        if module.package == "carrier":
            constants = [node for node in ast.walk(module.tree) if isinstance(node, ast.Constant)]
            written |= {node.value for node in constants if isinstance(node.value, str)}
            calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and node.args]
            for call in calls:
                if ast.unparse(call.func).endswith(("report.record", "self.record", "self._report", "._note")):
                    found = [node for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
                    recorded |= {node.value for node in found if isinstance(node.value, str)}
    assert recorded
    assert recorded <= described, f"docs/evidence.md does not describe {sorted(recorded - described)}"
    assert described <= written, f"nothing records {sorted(described - written)}"


# --- links ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        assert "://" not in link, f"{name_of(path)}: {link}: documents stay within the house"
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{name_of(path)}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{name_of(path)}: {link}: no such title"


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in index, path.name


# --- how it is found ----------------------------------------------------------------------------------------------


def set_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_ID", "MAEXAMPLEEXAMPLE0001")
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", "an-example-token-that-everybody-can-read")


def names_of(kind: type) -> set[str]:
    """The public names of a class's instances, those that `__init__` sets included."""
    path = ROOT / "src" / Path(*kind.__module__.split(".")).with_suffix(".py")
    set_there = re.findall(r"^        self\.(\w+)\b.* = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name for name in (*dir(kind), *set_there) if not name.startswith("_")}


def subcommands() -> dict[str, argparse.ArgumentParser]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("the command line has no commands")


def check_arguments(arguments: list[str]) -> None:
    try:
        build_parser().parse_args(arguments)
    except SystemExit as error:
        if error.code:
            pytest.fail(f"bothway {' '.join(arguments)}: see the error above")


def settings_table() -> str:
    """The table of options and variables, as docs/configuration.md has it."""
    defaults = Settings()
    lines = ["| option | variable | meaning | default | for |", "|---|---|---|---|---|"]
    for one in settings_of():
        option = f"`{one.option}`" if one.option else ""
        variables = " or ".join(f"`{name}`" for name in one.variables)
        commands = ", ".join(f"`{name}`" for name in sorted(one.commands))
        default = shown(getattr(defaults, one.name))
        by_command: dict[str, list[str]] = {}
        for command, value in one.by_command.items():
            by_command.setdefault(shown(value), []).append(f"`{command}`")
        default += "".join(f"; {value} for {', '.join(sorted(names))}" for value, names in by_command.items())
        lines.append(f"| {option} | {variables} | {one.help} | {default} | {commands} |")
    return "\n".join(lines) + "\n"


def with_settings_table(text: str) -> str:
    begin, end = "<!-- settings: begin -->\n", "<!-- settings: end -->"
    before, _, rest = text.partition(begin)
    return before + begin + settings_table() + end + rest.partition(end)[2]


def shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return ("no", "yes")[value]
    return f"`{value}`"


def anchors(path: Path) -> set[str]:
    """The anchors of a document's titles, as they are commonly made."""
    if path.is_dir():
        return set()
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    CONFIGURATION.write_text(with_settings_table(CONFIGURATION.read_text(encoding="utf-8")), encoding="utf-8")
