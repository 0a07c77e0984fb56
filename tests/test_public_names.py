"""The public names are a tested list: those of `bothway`, every module's `__all__`, and what the import costs."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import tomllib
from typing import Any

from tests.source_tree import ROOT, Module, modules

import bothway
from bothway.version import __version__

PUBLIC = {
    "App",
    "Call",
    "PeerError",
    "ProviderError",
    "UsageError",
    "__version__",
}
"""The names that `from bothway import …` offers."""

PRIVATE_BY_CUSTOM = {"log", "logger"}
"""Names without an underscore that belong to their module alone."""

IMPORT_SECONDS = 0.150
"""What `import bothway`, and fetching every public name of it, may cost."""

HEAVY = ("aiohttp", "numpy", "scipy", "uvicorn", "yaml")
"""What an app does not need before it serves, and `import bothway` therefore does not load."""

_PROBE = """
import json, sys, time
began = time.process_time()
from bothway import *
import bothway
names = [getattr(bothway, name) for name in bothway.__all__]
print(json.dumps({"seconds": time.process_time() - began, "loaded": sorted(sys.modules)}))
"""


def test_the_public_names() -> None:
    assert set(bothway.__all__) == PUBLIC
    assert len(bothway.__all__) == len(set(bothway.__all__))
    for name in PUBLIC:
        assert hasattr(bothway, name)


def test_every_public_name_is_documented() -> None:
    for name in PUBLIC - {"__version__"}:
        value = getattr(bothway, name)
        assert inspect.getdoc(value), f"bothway.{name} has no docstring"
        if inspect.isclass(value):
            for member, found in vars(value).items():
                if not member.startswith("_") and (callable(found) or isinstance(found, property)):
                    assert inspect.getdoc(getattr(value, member)), f"bothway.{name}.{member} has no docstring"


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert __version__ == project["version"] == bothway.__version__
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_module_says_what_it_is() -> None:
    found = [module.at(1) for module in modules().values() if not ast.get_docstring(module.tree)]
    assert not found, "modules without a docstring:\n  " + "\n  ".join(found)


def test_all_names_what_is_public() -> None:
    """`__all__` holds exactly the names without underscore that a module defines; a package may re-export besides."""
    found = []
    for module in modules().values():
        defined, imported = _names(module)
        listed = _listed(module)
        if listed is None:
            if defined or (module.is_package and imported):
                found.append(f"{module.at(1)}: no __all__, and it defines {', '.join(sorted(defined | imported))}")
            continue
        line, names = listed
        found += [
            f"{module.at(line)}: __all__ names {name} twice"
            for name in sorted({n for n in names if names.count(n) > 1})
        ]
        if missing := sorted(defined - set(names)):
            found.append(f"{module.at(line)}: public and not in __all__: {', '.join(missing)}")
        known = defined | _dunders(module) | (imported if module.is_package else set())
        if strange := sorted(set(names) - known):
            found.append(f"{module.at(line)}: in __all__ and not defined here: {', '.join(strange)}")
    assert not found, "__all__ and what is public differ:\n  " + "\n  ".join(found)


def test_no_module_uses_anothers_private_names() -> None:
    """Across modules only what `__all__` names is used; so what is not there may change."""
    found = []
    for module in modules().values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ImportFrom) or node.level or node.module not in modules():
                continue
            listed = _listed(modules()[node.module])
            names = set(listed[1]) if listed else set()
            found += [
                f"{module.at(node.lineno)}: {alias.name} is not in the __all__ of {node.module}"
                for alias in node.names
                if alias.name not in names and f"{node.module}.{alias.name}" not in modules()
            ]
    assert not found, "names used that are not public:\n  " + "\n  ".join(found)


def test_import_is_light() -> None:
    """Measured as processor time, which other processes on the machine do not change; the best of five counts."""
    runs = [_fresh_import() for _ in range(5)]
    loaded = {str(name).partition(".")[0] for name in runs[0]["loaded"]}
    assert not loaded & set(HEAVY), f"import bothway loads {', '.join(sorted(loaded & set(HEAVY)))}"
    best = min(run["seconds"] for run in runs)
    assert best < IMPORT_SECONDS, f"import bothway takes {best * 1000:.0f} ms, {IMPORT_SECONDS * 1000:.0f} are allowed"


def _fresh_import() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=True, text=True, timeout=60)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _listed(module: Module) -> tuple[int, list[str]] | None:
    """The line and the content of `__all__`."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return node.lineno, list(ast.literal_eval(node.value))
    return None


def _names(module: Module) -> tuple[set[str], set[str]]:
    """The public names that a module defines at its top, and those that it imports from modules of ours."""
    defined: set[str] = set()
    imported: set[str] = set()
    for node in _statements(module.tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bothway"):
            imported |= {alias.asname or alias.name for alias in node.names}
    imported_anywhere = imported | _foreign(module)
    public = {name for name in defined if not name.startswith("_")} - PRIVATE_BY_CUSTOM - imported_anywhere
    return public, imported


def _foreign(module: Module) -> set[str]:
    """Names that come from elsewhere, and that an `except ImportError` may assign again."""
    return {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }


def _dunders(module: Module) -> set[str]:
    return {
        target.id
        for node in module.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.startswith("__")
    }


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module, those under `if` and `try` included."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If):
            found += _statements(node.body) + _statements(node.orelse)
        elif isinstance(node, ast.Try):
            found += _statements(node.body) + _statements(node.orelse)
            for branch in node.handlers:
                found += _statements(branch.body)
    return found
