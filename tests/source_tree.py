"""The source tree as the gates see it: every module of `src/bothway`, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"


@dataclass(frozen=True)
class Import:
    """One module that another names: `name` is a full dotted name, in our tree or not."""

    name: str
    line: int


@dataclass(frozen=True, eq=False)
class Module:
    """A module of the tree.

    Attributes:
        name: Dotted; of a package, without `__init__`.
        path: Of its file.
        package: `audio`, `wire` … of the house; `""` for the root, and the name itself for `errors` and `cli`.
        text: The source.
        tree: The same, parsed.
    """

    name: str
    path: Path
    package: str
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def at(self, line: int) -> str:
        """`file:line`, as editors understand it."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@cache
def modules() -> dict[str, Module]:
    """Every module by its name."""
    found = {}
    for path in sorted((SOURCE / "bothway").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        text = path.read_text(encoding="utf-8")
        package = parts[1] if len(parts) > 1 else ""
        name = ".".join(parts)
        found[name] = Module(name, path, package, text, ast.parse(text, str(path)))
    return found


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """What `module` imports: at its top, inside functions, and under TYPE_CHECKING alike."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, node)
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield Import(inner if inner in modules() else origin, node.lineno)


def _origin(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    above = node.level - 1 if module.is_package else node.level
    base = parts[: len(parts) - above]
    return ".".join([*base, node.module] if node.module else base)
