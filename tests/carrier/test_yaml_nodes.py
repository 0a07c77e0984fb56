"""The reader of nodes; what scripts and callees make of it is in their own tests."""

from __future__ import annotations

import pytest
import yaml

from bothway.carrier.yaml_nodes import NodeReader
from bothway.errors import UsageError

READER = NodeReader("a.yaml")


def value(text: str, key: str = "key") -> yaml.Node:
    root = READER.compose(text)
    assert root is not None
    return READER.fields(root, "this", (key,))[key]


def test_scalars_stay_as_they_are_written() -> None:
    assert READER.text(value("key: 0123"), "key") == "0123"
    assert READER.number(value("key: 0123"), "key") == 123
    assert READER.duration(value("key: 1.5s"), "key") == READER.duration(value("key: 1500 ms"), "key") == 1500
    assert READER.choice(value("key: b"), "key", ("a", "b"), "a") == "b"
    assert READER.choice(None, "key", ("a", "b"), "a") == "a"
    assert READER.optional({}, "key", 7) == 7
    assert READER.compose("# nothing") is None


def test_the_main_field_may_stand_alone() -> None:
    assert READER.text(READER.main_or_fields(value("key: x"), "key", "a", ("a", "b"))["a"], "a") == "x"
    assert set(READER.main_or_fields(value("key: {a: x, b: y}"), "key", "a", ("a", "b"))) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key: [", "a.yaml, line 1: this is not YAML"),
        ("a: 1\nother: 2", "a.yaml, line 1: this has no `a`; it has key"),
        ("key: 1\nkey: 2", "a.yaml, line 2: `key` stands here twice"),
        ("[1]", "this is written as `key: value`, with keys of key"),
        ("key: -1", "`key` is '-1', which is no whole number"),
        ("key: 1.5", "`key` is '1.5', which is no whole number"),
        ("key: [1]", "`key` is a text, not a list or a mapping"),
        ("key:", "`key` is empty"),
    ],
)
def test_mistakes_are_named_with_their_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        READER.number(value(text), "key")
    assert said in str(caught.value)
