"""The `callees:` of the carrier's configuration file (docs/callees.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from bothway.carrier.callee import (
    Answers,
    Behaviour,
    Callee,
    Callees,
    Chance,
    Refuses,
    RingsOn,
    Span,
    busy,
    confirmer,
    echo,
    fails,
    human,
    no_answer,
    plays,
    rejects,
    rings_on,
    unallocated,
    voicemail,
)
from bothway.carrier.script import Beep, Play, Press, Say, Script, ScriptReader
from bothway.carrier.yaml_nodes import NodeReader
from bothway.errors import UsageError
from bothway.wire.hangup import HANGUP_CAUSES, HangupCause

__all__ = ["read_callees"]

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")

_PLAIN: dict[str, Callable[[], Behaviour]] = {
    "echo": echo,
    "busy": busy,
    "rejects": rejects,
    "no_answer": no_answer,
    "rings_on": rings_on,
    "unallocated": unallocated,
    "fails": fails,
}
"""What takes nothing."""

_BEHAVIOURS = ("human", "voicemail", "confirmer", "plays", "script", "refuses", *_PLAIN)


def read_callees(text: str, *, name: str, folder: str | os.PathLike[str] = ".") -> Callees:
    """The callees of a configuration file.

    Args:
        text: All of the file.
        name: What errors call it.
        folder: Where the WAV files that are played are looked for.

    Raises:
        UsageError: The file is no YAML, or something in this part of it is wrong; the message names line and key.
    """
    root = NodeReader(name).compose(text)
    if not isinstance(root, yaml.MappingNode):
        return Callees()
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "callees":
            return _CalleeReader(name, Path(folder)).callees(value)
    return Callees()


class _CalleeReader(NodeReader):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self._made: dict[str, Callable[[yaml.Node], Behaviour]] = {
            "human": self._human,
            "voicemail": self._voicemail,
            "confirmer": self._confirmer,
            "plays": self._plays,
            "script": self._script,
            "refuses": self._refuses,
        }

    def callees(self, node: yaml.Node) -> Callees:
        if isinstance(node, yaml.ScalarNode) and not node.value:
            return Callees()
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(node, "`callees` is a list, each behind a dash")
        found = tuple(self._callee(item) for item in node.value)
        try:
            return Callees(found)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None

    def _callee(self, node: yaml.Node) -> Callee:
        fields = self.fields(node, "a callee", ("number", "ring", "does"))
        for key in ("number", "does"):
            if key not in fields:
                raise self.wrong(node, f"a callee needs `{key}`")
        ring = self._span(fields["ring"]) if "ring" in fields else None
        does = fields["does"]
        chances = self._chances(does, ring) if isinstance(does, yaml.SequenceNode) else self._does(does, ring)
        try:
            return Callee(self.text(fields["number"], "number"), chances)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None

    def _chances(self, node: yaml.SequenceNode, ring: Span | None) -> tuple[Chance, ...]:
        chances = []
        for item in node.value:
            fields = self.fields(item, "a chance", ("chance", "ring", *_BEHAVIOURS))
            if "chance" not in fields:
                raise self.wrong(
                    item, "each of several things that a callee does needs its `chance`, as in `chance: 60%`"
                )
            share = self._percent(fields.pop("chance"))
            own = self._span(fields.pop("ring")) if "ring" in fields else ring
            chances.append(Chance(share, self._behaviour(item, fields, own)))
        return tuple(chances)

    def _does(self, node: yaml.Node, ring: Span | None) -> Behaviour:
        if isinstance(node, yaml.ScalarNode):
            word = self.choice(node, "does", _BEHAVIOURS, "human")
            return self._behaviour(node, {word: yaml.ScalarNode(node.tag, "", node.start_mark, node.end_mark)}, ring)
        return self._behaviour(node, self.fields(node, "`does`", _BEHAVIOURS), ring)

    def _behaviour(self, node: yaml.Node, fields: dict[str, yaml.Node], ring: Span | None) -> Behaviour:
        if len(fields) != 1:
            said = f"and this has {', '.join(fields)}" if fields else f"one of {', '.join(_BEHAVIOURS)}"
            raise self.wrong(node, f"a callee does one thing in a call, {said}")
        ((word, value),) = fields.items()
        if word in self._made:
            does = self._made[word](value)
        elif isinstance(value, yaml.ScalarNode) and not value.value:
            does = _PLAIN[word]()
        else:
            raise self.wrong(value, f"`{word}` takes nothing")
        if ring is None or isinstance(does, RingsOn):
            return does
        return replace(does, ring=ring)

    def _human(self, node: yaml.Node) -> Answers:
        fields = self._may_be_empty(node, "human", ("says",))
        return human(self.text(fields["says"], "says")) if fields else human()

    def _voicemail(self, node: yaml.Node) -> Answers:
        fields = self._may_be_empty(node, "voicemail", ("says", "plays", "beep", "message"))
        if "says" in fields and "plays" in fields:
            raise self.wrong(node, "`voicemail` either says or plays its greeting")
        greeting: Say | Play | None = None
        if "says" in fields:
            greeting = Say(self.text(fields["says"], "says"))
        elif "plays" in fields:
            greeting = self._file(fields["plays"], "plays")
        given: dict[str, Any] = {
            "greeting": greeting,
            "beep": self._beep(fields["beep"]) if "beep" in fields else None,
            "message_ms": self.duration(fields["message"], "message", least=1) if "message" in fields else None,
        }
        return voicemail(**{key: value for key, value in given.items() if value is not None})

    def _beep(self, node: yaml.Node) -> Beep:
        fields = self.main_or_fields(node, "beep", "length", ("length", "hertz"))
        ms = self.duration(fields["length"], "length")
        try:
            return Beep(ms, self.number(fields["hertz"], "hertz")) if "hertz" in fields else Beep(ms)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None

    def _confirmer(self, node: yaml.Node) -> Answers:
        fields = self._may_be_empty(node, "confirmer", ("press", "after", "says", "within"))
        digits = self.text(fields["press"], "press") if "press" in fields else "1"
        try:
            Press(digits)
        except UsageError as error:
            raise self.wrong(fields["press"], str(error)) from None
        return confirmer(
            digits,
            after_ms=self.optional(fields, "after", 500),
            says=self.text(fields["says"], "says") if "says" in fields else None,
            within_ms=self.optional(fields, "within", 30_000, least=1),
        )

    def _plays(self, node: yaml.Node) -> Answers:
        return plays(self._file(node, "plays").path)

    def _script(self, node: yaml.Node) -> Answers:
        if not isinstance(node, yaml.ScalarNode):
            return Answers(ScriptReader(self.name, self._folder).read(node), human().ring)
        return Answers(Script.load(self._folder / self.text(node, "script")), human().ring)

    def _refuses(self, node: yaml.Node) -> Refuses:
        code = self.number(node, "refuses")
        if code not in HANGUP_CAUSES:
            raise self.wrong(node, f"`refuses` is {code}, which is no hang-up code (plivo-protocol.md, section 7.4)")
        return Refuses(HangupCause.of(code, "Carrier"), f"the callee refuses: {HANGUP_CAUSES[code]}", Span(0.0, 0.0))

    def _file(self, node: yaml.Node, key: str) -> Play:
        path = self._folder / self.text(node, key)
        if not path.is_file():
            raise self.wrong(node, f"`{key}` names the file {path}, which is not there")
        return Play(os.fspath(path))

    def _may_be_empty(self, node: yaml.Node, key: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        if isinstance(node, yaml.ScalarNode) and not node.value:
            return {}
        return self.fields(node, f"`{key}`", known)

    def _percent(self, node: yaml.Node) -> float:
        text = self.text(node, "chance")
        found = _PERCENT.fullmatch(text)
        if found is None:
            raise self.wrong(node, f"`chance` is {text!r}, where it is a percentage, such as 60%")
        return float(found[1]) / 100

    def _span(self, node: yaml.Node) -> Span:
        """Seconds: a duration, or the least and the most in a list of two."""
        ends = node.value if isinstance(node, yaml.SequenceNode) else [node, node]
        if len(ends) != 2:
            raise self.wrong(node, "`ring` is a time, or a list of the least and the most, as in [2s, 8s]")
        least, most = (self.duration(end, "ring") / 1000 for end in ends)
        try:
            return Span(least, most)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None
