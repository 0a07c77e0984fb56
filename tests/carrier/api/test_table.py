from __future__ import annotations

import re

from bothway.carrier.api.table import OPERATIONS


def test_no_two_operations_are_the_same() -> None:
    rows = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(rows) == len(set(rows))


def test_no_path_hides_another() -> None:
    """A variable must not match where another path has a word."""
    paths = {operation.path for operation in OPERATIONS}
    for path in paths:
        pattern = re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z")
        assert [other for other in paths if pattern.match(other)] == [path]


def test_every_path_ends_with_a_slash() -> None:
    assert {operation.path[-1:] for operation in OPERATIONS} == {"", "/"}


def test_every_operation_is_described() -> None:
    for operation in OPERATIONS:
        assert operation.method in {"GET", "POST", "DELETE"}
        assert operation.summary
        assert operation.answers
        assert all(bool(shapes) == (status != 204) for status, shapes in operation.answers.items())
