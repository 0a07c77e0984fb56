"""The rules of the house (design, section 1, and CONTRIBUTING.md), held by reading every file of `src/bothway`.

A rule that fails lists every place as `file:line`. Where a rule has exceptions they are in a table here, each with its
reason, and an exception that is no longer needed fails too.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions

from tests.source_tree import ROOT, Module, imports, modules

BELOW = {
    "": {"app", "errors", "version"},
    "__main__": {"cli"},
    "cli": {"", "testing", "console", "campaigns", "agents", "carrier", "app"},
    "testing": {"console", "carrier", "app"},
    "console": {"carrier", "app", "campaigns"},
    "campaigns": {"agents", "app"},
    "agents": {"app", "speech"},
    "carrier": {"cluster", "speech", "runtime"},
    "app": {"cluster", "speech", "runtime"},
    "cluster": {"runtime"},
    "speech": {"runtime"},
    "runtime": {"core", "version"},
    "core": {"wire", "audio"},
    "wire": {"errors"},
    "audio": {"errors"},
    "errors": set(),
    "version": set(),
}
"""The arrows: what a package may import; and whatever a row names, it may also take what stands below that."""

EXTRA_ARROWS = {("wire", "bothway.audio.format"): "a wire format names its AudioFormat and Encoding"}

NO_CLOSURE = {""}
"""The root re-exports: it takes what its own row names and nothing below it."""

PURE = ("audio", "wire", "core")

IMPURE_MODULES = {
    "aiohttp", "asyncio", "concurrent", "http.client", "multiprocessing", "picows", "random", "requests", "secrets",
    "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time", "urllib.request", "uvicorn", "uvloop",
    "websockets",
}  # fmt: skip

CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "uuid1", "uuid4"}
"""Methods that read a clock or draw random numbers, on whatever object: the pure core is given `now` and ids."""

TESTED_ELSEWHERE = {
    "bothway.__main__": "two lines; the tests of the command line start it as a process",
    "bothway.carrier.call_order": "values and a Protocol alone; those who order calls are tested: test_exchange.py, "
    "performers/test_dialling.py, test_switchboard.py",
    "bothway.carrier.performer": "Protocols alone; what has them is tested: test_live_call.py, performers/",
    "bothway.errors": "names and one attribute, which the tests of whoever raises them read",
    "bothway.version": "one line; tests/test_public_names.py compares it with pyproject.toml",
}
"""Modules without a twin test, and why."""

TESTED_TOGETHER = {
    "bothway.carrier.store.migrations": "tests/carrier/store/test_schema.py",
    "bothway.core.verbs": "tests/core/test_call.py",
}
"""Packages whose modules have one test between them: a verb is nothing without the call that it runs in, nor a
migration without those before it."""

FORBIDDEN_WORDS = {"manager", "handler", "helper", "util", "base", "context", "processor"}

MAX_MODULE = 600
MAX_FUNCTION = 60
MAX_METHODS = 25
MAX_DEPTH = 2

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def fail_on(found: list[str], rule: str) -> None:
    assert not found, f"{rule}:\n  " + "\n  ".join(found)


# --- imports ------------------------------------------------------------------------------------------------------


def allowed(package: str) -> set[str]:
    """What `package` may import, itself included."""
    reached, todo = {package}, [*BELOW[package]]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            if package not in NO_CLOSURE:
                todo += BELOW[name]
    return reached


def test_the_table_of_arrows_names_every_package() -> None:
    found = {module.package for module in modules().values()}
    fail_on(sorted(found - BELOW.keys()), "packages that the table of arrows does not know")


def test_the_table_of_arrows_has_no_cycle() -> None:
    for package in BELOW:
        assert not any(package in allowed(other) for other in allowed(package) - {package})


def test_imports_follow_the_arrows() -> None:
    found = []
    for module in modules().values():
        may = allowed(module.package)
        for one in imports(module):
            if not _is_ours(one.name) or (module.package, one.name) in EXTRA_ARROWS:
                continue
            target = one.name.split(".")[1] if "." in one.name else ""
            if target not in may:
                found.append(f"{module.at(one.line)}: {module.package or 'the root'} may not import {one.name}")
    fail_on(found, "imports against the arrows")


def test_imports_have_no_cycles() -> None:
    edges = {name: _edges(module) for name, module in modules().items()}
    knots = [sorted(knot) for knot in _knots(edges) if len(knot) > 1 or knot[0] in edges[knot[0]]]
    found = []
    for knot in knots:
        for name in knot:
            for target, line in edges[name].items():
                if target in knot:
                    found.append(f"{modules()[name].at(line)}: {name} imports {target}")
    fail_on(found, "imports that go round in a circle")


def test_a_knot_is_found() -> None:
    edges = {"a": {"b": 1}, "b": {"c": 1}, "c": {"b": 1}, "d": {"a": 1, "d": 2}}
    assert [sorted(knot) for knot in _knots(edges)] == [["b", "c"], ["a"], ["d"]]


def test_every_import_of_ours_is_a_module() -> None:
    found = [
        f"{module.at(one.line)}: {one.name}"
        for module in modules().values()
        for one in imports(module)
        if _is_ours(one.name) and one.name not in modules()
    ]
    fail_on(found, "imports of what is not there")


def test_the_pure_packages_import_nothing_that_acts() -> None:
    found = [
        f"{module.at(one.line)}: {one.name}"
        for module in _pure()
        for one in imports(module)
        if any(one.name == name or one.name.startswith(name + ".") for name in IMPURE_MODULES)
    ]
    fail_on(found, "clocks, sockets, tasks or random numbers in audio, wire or core")


def test_the_pure_packages_read_no_clock() -> None:
    found = [
        f"{module.at(node.lineno)}: {ast.unparse(node.func)}()"
        for module in _pure()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    fail_on(found, "a clock is read, or a random id made, in audio, wire or core")


OPTIONAL = {
    ("bothway.carrier.mp3_worker", "lameenc"),
    ("bothway.carrier.mp3_worker", "miniaudio"),
    ("bothway.cli", "uvloop"),
    ("bothway.speech.denoise", "webrtc_noise_gain"),
    ("bothway.testing.pytest_plugin", "pytest"),
    ("bothway.testing.requests_adapter", "requests"),
    ("bothway.testing.requests_adapter", "urllib3"),
    ("bothway.testing.seams", "anyio"),
    ("bothway.testing.wall", "time_machine"),
}
"""What a module can do without, and imports where it is installed: of the extras `fast`, `mp3`, `noise` and `test`, and
what the apps under test bring along."""


def test_what_a_base_install_lacks_is_imported_by_providers_alone() -> None:
    found = [
        f"{module.at(line)}: {name} is not among the dependencies of the base install"
        for module, name, line in _undeclared()
        if not module.name.startswith("bothway.speech.providers.") and (module.name, name) not in OPTIONAL
    ]
    fail_on(found, "imports that a base install may not have")


def test_a_vendors_sdk_stays_in_its_own_file() -> None:
    users: dict[str, set[str]] = {}
    for module, name, _ in _undeclared():
        users.setdefault(name, set()).add(module.name)
    found = [f"{sdk} is imported by {', '.join(sorted(names))}" for sdk, names in users.items() if len(names) > 1]
    fail_on(found, "a vendor's SDK in more than one file")


# --- sizes --------------------------------------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    found = [
        f"{module.at(1)}: {lines} lines, {MAX_MODULE} are the most"
        for module in modules().values()
        if (lines := len(module.text.splitlines())) > MAX_MODULE
    ]
    fail_on(found, "modules that are too long")


def test_no_function_is_too_long() -> None:
    found = [
        f"{module.at(node.lineno)}: {node.name} has {lines} lines, {MAX_FUNCTION} are the most"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, _Function) and (lines := _length(node)) > MAX_FUNCTION
    ]
    fail_on(found, "functions that are too long, not counting their docstrings")


def test_no_class_has_too_many_methods() -> None:
    found = [
        f"{module.at(node.lineno)}: {node.name} has {methods} methods, {MAX_METHODS} are the most"
        for module, node in _classes()
        if (methods := sum(isinstance(member, _Function) for member in node.body)) > MAX_METHODS
    ]
    fail_on(found, "classes with too many methods")


def test_inheritance_is_shallow() -> None:
    found = [
        f"{module.at(node.lineno)}: {' < '.join(line)}"
        for module, node in _classes()
        if len(line := _lineage(node)) > MAX_DEPTH + 1
    ]
    fail_on(found, f"more than {MAX_DEPTH} classes of ours above a class")


def test_every_module_has_its_twin_test() -> None:
    found = []
    for module in modules().values():
        twin = _twin(module)
        excused = module.name in TESTED_ELSEWHERE
        if excused and (ROOT / twin).exists():
            found.append(f"{twin}:1: {module.name} is excused in tests/test_arrows.py, and has its twin")
        if not excused and not _is_declaration(module) and not (ROOT / twin).exists():
            found.append(f"{module.at(1)}: no {twin}")
    found += [f"{name} is excused, and is not there" for name in TESTED_ELSEWHERE if name not in modules()]
    fail_on(found, "modules without a test of their name")


# --- manners ------------------------------------------------------------------------------------------------------


def test_names_say_what_a_thing_is() -> None:
    named = [(module, part, 1) for module in modules().values() for part in module.name.split(".")]
    named += [(module, node.name, node.lineno) for module, node in _classes()]
    found = [f"{module.at(line)}: {name}" for module, name, line in named if FORBIDDEN_WORDS & _words(name)]
    fail_on(found, f"names that say nothing ({', '.join(sorted(FORBIDDEN_WORDS))})")


def test_nothing_is_left_undone() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{module.at(number)}: {line.strip()}"
        for module in modules().values()
        for number, line in enumerate(module.text.splitlines(), 1)
        if unfinished.search(line)
    ]
    fail_on(found, "unfinished work")


def test_only_an_edge_catches_everything() -> None:
    """Whoever catches everything raises it again, logs it with its traceback, or says that and why this is an edge."""
    found = []
    for module in modules().values():
        lines = module.text.splitlines()
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler) or not _catches_everything(node) or _is_loud(node):
                continue
            comment = lines[node.lineno - 1].partition("#")[2]
            if "noqa: BLE001" not in comment or "edge" not in comment:
                found.append(f"{module.at(node.lineno)}: {lines[node.lineno - 1].strip()}")
    fail_on(found, "`except Exception` that says neither what it caught nor `# noqa: BLE001 - … edge …`")


def test_words_are_told_apart() -> None:
    assert _words("HTTPContextManager") == {"http", "context", "manager"}
    assert _words("database_utils") == {"database", "util"}


# --- how it is found ----------------------------------------------------------------------------------------------


def _is_ours(name: str) -> bool:
    return name == "bothway" or name.startswith("bothway.")


def _pure() -> Iterator[Module]:
    return (module for module in modules().values() if module.package in PURE)


def _edges(module: Module) -> dict[str, int]:
    """Modules that are loaded because of `module`, with the line: those that it names, and the packages they are in.

    A package that `module` itself is in is being loaded already; what it takes from there it has to find in a module.
    """
    edges: dict[str, int] = {}
    for one in imports(module):
        if not _is_ours(one.name):
            continue
        parts = one.name.split(".")
        for end in range(2, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in modules() and not f"{module.name}.".startswith(f"{name}."):
                edges.setdefault(name, one.line)
    return edges


def _knots(edges: dict[str, dict[str, int]]) -> list[list[str]]:
    """The strongly connected components (Tarjan's algorithm), those that depend on nothing else first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    knots: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in edges[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            knot: list[str] = []
            while not knot or knot[-1] != name:
                knot.append(stack.pop())
            knots.append(knot)

    for name in edges:
        if name not in index:
            visit(name)
    return knots


@cache
def _undeclared() -> list[tuple[Module, str, int]]:
    """Imports of what is neither ours, nor Python's, nor a dependency of the base install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {_plain(name) for name in project["dependencies"]}
    distributions = packages_distributions()
    found = []
    for module in modules().values():
        for one in imports(module):
            top = one.name.partition(".")[0]
            known = top == "bothway" or top in sys.stdlib_module_names
            if not known and not base & {_plain(name) for name in distributions.get(top, [top])}:
                found.append((module, top, one.line))
    return found


def _plain(requirement: str) -> str:
    """The name in a requirement, normalised as package names are compared."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def _length(node: _Function) -> int:
    assert node.end_lineno is not None
    first = node.body[0]
    has_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and ast.get_docstring(node)
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if has_text else 0
    return node.end_lineno - node.lineno + 1 - docstring


@cache
def _classes() -> list[tuple[Module, ast.ClassDef]]:
    return [
        (module, node)
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]


def _lineage(node: ast.ClassDef) -> list[str]:
    """The longest line of classes of ours from `node` up, itself first. Classes are told apart by name alone."""
    known = {found.name: found for _, found in _classes()}
    longest: list[str] = []
    for base in node.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base
        name = ast.unparse(expression).rpartition(".")[2]
        if name in known and name != node.name:
            longest = max(longest, _lineage(known[name]), key=len)
    return [node.name, *longest]


def _is_declaration(module: Module) -> bool:
    """An `__init__` that says what its package is, and re-exports: nothing to test."""
    plain = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    return module.is_package and all(isinstance(node, plain) for node in module.tree.body)


def _twin(module: Module) -> str:
    """The test of a module; of a package with code of its own, the test that bears the package's name."""
    for package, test in TESTED_TOGETHER.items():
        if module.name == package or module.name.startswith(package + "."):
            return test
    folder, _, name = module.name.removeprefix("bothway.").replace(".", "/").rpartition("/")
    if module.is_package:
        folder = f"{folder}/{name}".strip("/")
    return "/".join(part for part in ("tests", folder, f"test_{name}.py") if part)


def _is_loud(node: ast.ExceptHandler) -> bool:
    """Whether what was caught goes on, or into the log with its traceback."""
    return any(
        (isinstance(inner, ast.Raise) and inner.exc is None)
        or (isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr == "exception")
        or (isinstance(inner, ast.keyword) and inner.arg == "exc_info" and ast.unparse(inner.value) == "True")
        for inner in ast.walk(node)
    )


def _catches_everything(node: ast.ExceptHandler) -> bool:
    if node.type is None:
        return True
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"} for kind in kinds)


def _words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and in the singular."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower().removesuffix("s") if part.lower().endswith("s") else part.lower() for part in parts}
