"""YAML that people write by hand, read as nodes.

Nodes and not Python values, for two reasons: every error can name its line, and `press: 0123` stays the four digits
that stand there instead of an octal number.
"""

from __future__ import annotations

import re
from typing import TypeVar

import yaml

from bothway.errors import UsageError

__all__ = ["NodeReader"]

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s)?")
_LONGEST_MS = 86_400_000

_T = TypeVar("_T")

_INTEGER = re.compile("[0-9]{1,9}")


class NodeReader:
    """Reads one text. Most methods take the node that they read and the key that the node is the value of.

    Args:
        name: What errors call the text.

    Attributes:
        name: As given.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def compose(self, text: str) -> yaml.Node | None:
        """The root of a text; None if there is nothing in it.

        Raises:
            UsageError: It is not YAML.
        """
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise UsageError(f"{self.name}{line}: this is not YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise UsageError(f"{self.name}: this is not YAML: {str(error).splitlines()[0]}") from None

    def fields(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        """The values of a mapping whose keys are among `known`.

        Raises:
            UsageError: It is no mapping, or has another key, or one twice.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{what} is written as `key: value`, with keys of {', '.join(known)}")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in known:
                name = f"`{key.value}`" if isinstance(key, yaml.ScalarNode) else "such key"
                raise self.wrong(key, f"{what} has no {name}; it has {', '.join(known)}")
            if key.value in fields:
                raise self.wrong(key, f"`{key.value}` stands here twice")
            fields[key.value] = value
        return fields

    def main_or_fields(self, node: yaml.Node, key: str, main: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        """The fields of something that may also be written as its main field's value alone.

        Raises:
            UsageError: As of `fields`, or there is no main field.
        """
        fields = self.fields(node, f"`{key}`", known) if isinstance(node, yaml.MappingNode) else {main: node}
        if main not in fields:
            raise self.wrong(node, f"`{key}` needs `{main}`")
        return fields

    def text(self, node: yaml.Node, key: str) -> str:
        """A scalar, as it is written.

        Raises:
            UsageError: It is none, or empty.
        """
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, f"`{key}` is a text, not a list or a mapping")
        if not node.value:
            raise self.wrong(node, f"`{key}` is empty; what begins with # or * needs quotes")
        return str(node.value)

    def number(self, node: yaml.Node, key: str) -> int:
        """A whole number, not below zero.

        Raises:
            UsageError: It is none.
        """
        text = self.text(node, key)
        if not _INTEGER.fullmatch(text):
            raise self.wrong(node, f"`{key}` is {text!r}, which is no whole number")
        return int(text)

    def optional(self, fields: dict[str, yaml.Node], key: str, default: int, *, least: int = 0) -> int:
        """Milliseconds, if there are any; see `duration`."""
        return self.duration(fields[key], key, least=least) if key in fields else default

    def duration(self, node: yaml.Node, key: str, *, least: int = 0) -> int:
        """Milliseconds, written `1.5s`, `200ms`, or as a number of seconds.

        Raises:
            UsageError: It is written otherwise, or is below `least` or over a day.
        """
        text = self.text(node, key)
        found = _DURATION.fullmatch(text)
        if found is None:
            raise self.wrong(
                node, f"`{key}` is {text!r}, which is no duration: write 1.5s, 200ms, or seconds as a number"
            )
        ms = round(float(found[1]) * (1 if found[2] == "ms" else 1000))
        if not least <= ms <= _LONGEST_MS:
            raise self.wrong(node, f"`{key}` is {text}, {'too short' if ms < least else 'longer than a day'}")
        return ms

    def choice(self, node: yaml.Node | None, key: str, options: tuple[_T, ...], default: _T) -> _T:
        """One of `options`; the default if there is no node.

        Raises:
            UsageError: It is none of them.
        """
        if node is None:
            return default
        text = self.text(node, key)
        for option in options:
            if text == option:
                return option
        raise self.wrong(node, f"`{key}` is {text!r}, where it can be {', '.join(map(str, options))}")

    def wrong(self, node: yaml.Node, text: str) -> UsageError:
        """The error that names the line of `node`."""
        return UsageError(f"{self.name}, line {node.start_mark.line + 1}: {text}")
