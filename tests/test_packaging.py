"""The base install stays small, and what is distributed is complete."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, packages_distributions

from packaging.requirements import Requirement
from tests.source_tree import ROOT

MAX_MEGABYTES = 120
"""What `pip install bothway`, with all that it brings but the library of the records, may take on disk."""

RECORDS = {"sqlalchemy", "alembic", "mako", "markupsafe", "greenlet"}
"""The records are kept through SQLAlchemy and migrated by Alembic; what those two bring has a bound of its own."""

MAX_RECORDS_MEGABYTES = 35


def test_the_base_install_is_small() -> None:
    sizes = {name: _megabytes(found) for name, found in _closure("bothway").items()}
    sizes["bothway"] = sum(path.stat().st_size for path in (ROOT / "src").rglob("*") if path.is_file()) / 1e6
    table = "\n".join(f"  {name} {size:.1f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]))
    records = sum(size for name, size in sizes.items() if name in RECORDS)
    total = sum(sizes.values()) - records
    assert total < MAX_MEGABYTES, f"the base install takes {total:.0f} MB, {MAX_MEGABYTES} are allowed:\n{table}"
    assert 0 < records < MAX_RECORDS_MEGABYTES, f"the records' library takes {records:.0f} MB:\n{table}"


def test_a_base_install_brings_no_tool_and_no_copyleft() -> None:
    """What only an extra brings is not in the base: speech libraries least of all, one of them is under the GPL."""
    assert (
        not {"espeakng-loader", "fastapi", "hypothesis", "mypy", "plivo", "pytest", "scipy"}
        & _closure("bothway").keys()
    )


def test_extras_are_what_the_documents_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    named = set(re.findall(r"bothway\[([a-z,]+)\]", text))
    assert {one for extras in named for one in extras.split(",")} <= project["optional-dependencies"].keys()


def test_an_extra_brings_what_the_tests_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    brought = {_normalised(Requirement(text).name) for text in named}
    files = [path for folder in ("tests", "examples", "bench") for path in (ROOT / folder).rglob("*.py")]
    imported = {name for path in files for name in _imported(ast.parse(path.read_text(encoding="utf-8")))}
    distributions = packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"bench", "bothway", "examples", "tests"}
    missing = [
        name for name in sorted(foreign) if not brought & {_normalised(one) for one in distributions.get(name, [name])}
    ]
    assert not missing, f"imported, and not in the extra dev: {', '.join(missing)}"


def test_the_metadata_points_at_what_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in [project["readme"], *project["license-files"]]:
        assert (ROOT / name).stat().st_size > 0, f"{name} is empty"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "src" / "bothway" / "py.typed").exists()


def _closure(root: str) -> dict[str, Distribution]:
    """What installing `root` without extras installs here besides itself, by normalised name."""
    found: dict[str, Distribution] = {}
    todo = [(root, frozenset[str]())]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        here = distribution(name)
        if name != root:
            found[name] = here
        for text in here.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
            ):
                todo.append((_normalised(requirement.name), frozenset(requirement.extras)))
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(tree: ast.Module) -> Iterator[str]:
    """The packages that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _megabytes(found: Distribution) -> float:
    files = [path.locate() for path in found.files or ()]
    assert files, f"{found.name} does not say which files it has"
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6  # type: ignore[attr-defined]
