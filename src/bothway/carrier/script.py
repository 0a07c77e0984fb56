"""What a scripted caller does: a declarative script, as frozen values, and its YAML form (docs/scripts.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import yaml

from bothway.carrier.yaml_nodes import NodeReader
from bothway.errors import UsageError
from bothway.wire.leg import LEG_DIGITS, LegFormat

__all__ = [
    "Beep",
    "HangUp",
    "Hear",
    "Interrupt",
    "OnHangUp",
    "OnTimeout",
    "Play",
    "Press",
    "Rules",
    "Say",
    "Script",
    "ScriptReader",
    "Step",
    "Until",
    "Wait",
]

_BEEP_MS = 500
_BEEP_HERTZ = 1000
"""As answering machines sound: they differ widely, and most of them lie near this."""

_BEEP_LONGEST_MS = 10_000

_HERTZ = (300, 3400)
"""What a telephone line carries (ITU-T G.712)."""

_GAP_MS = 200
"""Between two digits of one `press`: what a person at a keypad needs."""

_SILENCE_MS = 700
"""How long the app must be quiet for `hear: silence`: longer than the pause between two sentences."""

_AFTER_MS = 800
"""How long the app must have been speaking before `interrupt`: a few words."""

_WITHIN_MS = 30_000
"""How long a step waits for the app: a long prompt, or a slow model."""

_HANG_UP_AFTER_MS = 600_000
"""When a script that does not say otherwise gives up."""

_LISTEN_SILENCE_MS = 3000
"""When `for_wav` and `for_text` hang up after the last sound of either side: longer than an app thinks before it
answers, which is 1 to 2 seconds."""

_LISTEN_LIMIT_MS = 3_600_000
"""When `for_wav` and `for_text` hang up on an app that never stops."""

Until: TypeAlias = Literal["speech", "silence", "hang_up"]
"""What a `Hear` waits for."""

OnTimeout: TypeAlias = Literal["fail", "continue"]
"""What a deadline that passes means: the script failed, or the next step's turn."""

OnHangUp: TypeAlias = Literal["fail", "accept"]
"""What it means that the app hangs up before the steps are done."""


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"


@dataclass(frozen=True)
class Say:
    """Say `text`, in the voice that prepares the clips."""

    text: str

    @property
    def clip(self) -> str:
        """The name of its audio among the prepared clips."""
        return f"say {self.text}"

    def __str__(self) -> str:
        return f"say {self.text!r}"


@dataclass(frozen=True)
class Play:
    """Play the WAV file at `path`."""

    path: str

    @property
    def clip(self) -> str:
        """The name of its audio among the prepared clips."""
        return f"play {self.path}"

    def __str__(self) -> str:
        return f"play {Path(self.path).name}"


@dataclass(frozen=True)
class Beep:
    """Sound a tone, as an answering machine does before it records.

    Attributes:
        ms: Its length, in milliseconds.
        hertz: Its pitch.

    Raises:
        UsageError: It has no length, or a pitch that not every telephone line carries.
    """

    ms: int = _BEEP_MS
    hertz: int = _BEEP_HERTZ

    def __post_init__(self) -> None:
        if not 0 < self.ms <= _BEEP_LONGEST_MS:
            raise UsageError(f"a beep cannot last for {_seconds(self.ms)}: {_seconds(_BEEP_LONGEST_MS)} is the most")
        if not _HERTZ[0] <= self.hertz <= _HERTZ[1]:
            raise UsageError(
                f"a beep of {self.hertz} Hz does not go over a telephone line: {_HERTZ[0]} to {_HERTZ[1]} do"
            )

    @property
    def clip(self) -> str:
        """The name of its audio among the prepared clips."""
        return str(self)

    def __str__(self) -> str:
        return f"beep {self.hertz} Hz for {_seconds(self.ms)}"


@dataclass(frozen=True)
class Press:
    """Press keys, one after the other.

    Attributes:
        digits: Characters of `LEG_DIGITS`, one at least.
        gap_ms: Between two of them, in milliseconds.

    Raises:
        UsageError: There is none, or one that no telephone has.
    """

    digits: str
    gap_ms: int = _GAP_MS

    def __post_init__(self) -> None:
        if not self.digits or not set(self.digits) <= set(LEG_DIGITS):
            raise UsageError(f"{self.digits!r} are not keys of a telephone: those are 0-9, *, # and A-D")

    def __str__(self) -> str:
        return f"press {self.digits}"


@dataclass(frozen=True)
class Wait:
    """Say nothing for `ms` milliseconds, whatever the app does."""

    ms: int

    def __str__(self) -> str:
        return f"wait {_seconds(self.ms)}"


@dataclass(frozen=True)
class Hear:
    """Wait for the app.

    Attributes:
        until: `speech`: the app has been speaking for `for_ms`. `silence`: it spoke since the step began, or was
            speaking then, and has been quiet for `for_ms`. `hang_up`: it ended the call.
        for_ms: See above, in milliseconds; what the app must do without a break.
        within_ms: How long to wait for that, in milliseconds.
    """

    until: Until
    for_ms: int = 0
    within_ms: int = _WITHIN_MS

    def __str__(self) -> str:
        lasting = f" for {_seconds(self.for_ms)}" if self.for_ms else ""
        return f"hear {self.until}{lasting} within {_seconds(self.within_ms)}"


@dataclass(frozen=True)
class Interrupt:
    """Barge in: speak while the app does.

    Attributes:
        words: What to say.
        after_ms: For how long the app must have been speaking, in milliseconds.
        within_ms: How long to wait for that, in milliseconds.
    """

    words: Say | Play
    after_ms: int = _AFTER_MS
    within_ms: int = _WITHIN_MS

    def __str__(self) -> str:
        return f"interrupt after {_seconds(self.after_ms)}: {self.words}"


@dataclass(frozen=True)
class HangUp:
    """End the call. After the last step the caller does so in any case."""

    def __str__(self) -> str:
        return "hang_up"


Step: TypeAlias = Say | Play | Beep | Press | Wait | Hear | Interrupt | HangUp


@dataclass(frozen=True)
class Rules:
    """What holds beside every step.

    Attributes:
        hang_up_after_ms: Milliseconds after the answer at which the caller hangs up, whatever happens.
        hang_up_when_silent_ms: Milliseconds for which neither side has said anything, after which it does so too.
    """

    hang_up_after_ms: int = _HANG_UP_AFTER_MS
    hang_up_when_silent_ms: int | None = None


@dataclass(frozen=True)
class Script:
    """What a scripted caller does from the answer on.

    Attributes:
        steps: Done in order.
        rules: Hold all the time.
        on_timeout: What it means when a step's `within` passes, or a rule ends the call before the steps are done.
        on_hang_up: What it means when the app ends the call before the steps are done.
        leg: The format of the call's audio; None where the script leaves it open.
        from_: Who calls; None where the script leaves it open.
    """

    steps: tuple[Step, ...]
    rules: Rules = field(default_factory=Rules)
    on_timeout: OnTimeout = "fail"
    on_hang_up: OnHangUp = "fail"
    leg: LegFormat | None = None
    from_: str | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Script:
        """Read a YAML file.

        Raises:
            UsageError: It cannot be read, or is no script; the message names file, line and key.
        """
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            raise UsageError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{os.fspath(path)} is not UTF-8: {error.reason} at byte {error.start}") from error
        return cls.parse(text, name=os.fspath(path), folder=Path(path).parent)

    @classmethod
    def parse(cls, text: str, *, name: str = "the script", folder: str | os.PathLike[str] = ".") -> Script:
        """Read YAML.

        Args:
            text: All of it.
            name: What errors call it.
            folder: Where the files that it plays are looked for.

        Raises:
            UsageError: It is no script; the message names `name`, line and key.
        """
        return ScriptReader(name, Path(folder)).script(text)

    @classmethod
    def for_wav(cls, path: str | os.PathLike[str]) -> Script:
        """Play a WAV file from the moment of the answer, listen until the line has been silent for a while, hang up."""
        return cls._one(Play(os.fspath(path)))

    @classmethod
    def for_text(cls, text: str) -> Script:
        """Say `text` at the answer, listen until the line has been silent for a while, hang up."""
        return cls._one(Say(text))

    @classmethod
    def _one(cls, words: Say | Play) -> Script:
        return cls(
            (words, Hear("hang_up", within_ms=_LISTEN_LIMIT_MS)),
            Rules(_LISTEN_LIMIT_MS, _LISTEN_SILENCE_MS),
            on_timeout="continue",
            on_hang_up="accept",
        )

    @property
    def clips(self) -> tuple[Say | Play | Beep, ...]:
        """Everything that will be said or played, each once."""
        spoken = (step.words if isinstance(step, Interrupt) else step for step in self.steps)
        return tuple(dict.fromkeys(words for words in spoken if isinstance(words, Say | Play | Beep)))


class ScriptReader(NodeReader):
    """Reads scripts, alone or as a part of something else.

    Args:
        name: What errors call the text.
        folder: Where the files that it plays are looked for.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self._steps: dict[str, Callable[[yaml.Node], Step]] = {
            "say": self._say,
            "play": self._play,
            "beep": self._beep,
            "press": self._press,
            "wait": lambda node: Wait(self.duration(node, "wait")),
            "hear": self._hear,
            "interrupt": self._interrupt,
            "hang_up": self._hang_up,
        }

    def script(self, text: str) -> Script:
        """Read a text that is one script.

        Raises:
            UsageError: It is none; the message names line and key.
        """
        root = self.compose(text)
        if root is None:
            raise UsageError(f"{self.name} is empty, where a script needs steps")
        return self.read(root)

    def read(self, root: yaml.Node) -> Script:
        """Read a script that is a part of something else.

        Raises:
            UsageError: It is none; the message names line and key.
        """
        fields = self.fields(root, "a script", ("from", "leg", "on_timeout", "on_hang_up", "steps", "rules"))
        if "steps" not in fields:
            raise self.wrong(root, "a script needs `steps`")
        return Script(
            steps=self._step_list(fields["steps"]),
            rules=self._rules(fields["rules"]) if "rules" in fields else Rules(),
            on_timeout=self.choice(fields.get("on_timeout"), "on_timeout", get_args(OnTimeout), "fail"),
            on_hang_up=self.choice(fields.get("on_hang_up"), "on_hang_up", get_args(OnHangUp), "fail"),
            leg=self.choice(fields.get("leg"), "leg", get_args(LegFormat), None),
            from_=self.text(fields["from"], "from") if "from" in fields else None,
        )

    def _step_list(self, node: yaml.Node) -> tuple[Step, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node, "`steps` is a list of one step or more, each behind a dash")
        return tuple(self._step(item) for item in node.value)

    def _step(self, node: yaml.Node) -> Step:
        if isinstance(node, yaml.ScalarNode) and node.value == "hang_up":
            return HangUp()
        fields = self.fields(node, "a step", tuple(self._steps))
        if len(fields) != 1:
            raise self.wrong(node, f"a step is one thing to do, and this one has {len(fields)}: {', '.join(fields)}")
        ((key, value),) = fields.items()
        return self._steps[key](value)

    def _say(self, node: yaml.Node) -> Say:
        return Say(self.text(node, "say"))

    def _play(self, node: yaml.Node) -> Play:
        return Play(os.fspath(self._folder / self.text(node, "play")))

    def _beep(self, node: yaml.Node) -> Beep:
        fields = self.main_or_fields(node, "beep", "length", ("length", "hertz"))
        hertz = self.number(fields["hertz"], "hertz") if "hertz" in fields else _BEEP_HERTZ
        try:
            return Beep(self.duration(fields["length"], "length"), hertz)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None

    def _press(self, node: yaml.Node) -> Press:
        fields = self.main_or_fields(node, "press", "digits", ("digits", "gap"))
        digits, gap_ms = self.text(fields["digits"], "digits"), self.optional(fields, "gap", _GAP_MS)
        try:
            return Press(digits, gap_ms)
        except UsageError as error:
            raise self.wrong(fields["digits"], str(error)) from None

    def _hear(self, node: yaml.Node) -> Hear:
        fields = self.main_or_fields(node, "hear", "until", ("until", "for", "within"))
        until: Until = self.choice(fields["until"], "until", get_args(Until), "silence")
        if until == "hang_up" and "for" in fields:
            raise self.wrong(fields["for"], "`for` goes with speech and silence: a hang-up does not last")
        for_ms = self.optional(fields, "for", _SILENCE_MS if until == "silence" else 0)
        return Hear(until, for_ms, self.optional(fields, "within", _WITHIN_MS, least=1))

    def _interrupt(self, node: yaml.Node) -> Interrupt:
        fields = self.fields(node, "`interrupt`", ("say", "play", "after", "within"))
        if ("say" in fields) == ("play" in fields):
            raise self.wrong(node, "`interrupt` needs either `say` or `play`")
        words = self._say(fields["say"]) if "say" in fields else self._play(fields["play"])
        after_ms = self.optional(fields, "after", _AFTER_MS)
        return Interrupt(words, after_ms, self.optional(fields, "within", _WITHIN_MS, least=1))

    def _hang_up(self, node: yaml.Node) -> HangUp:
        if not isinstance(node, yaml.ScalarNode) or node.value:
            raise self.wrong(node, "`hang_up` takes nothing")
        return HangUp()

    def _rules(self, node: yaml.Node) -> Rules:
        fields = self.fields(node, "`rules`", ("hang_up_after", "hang_up_when_silent"))
        silent = fields.get("hang_up_when_silent")
        return Rules(
            self.optional(fields, "hang_up_after", _HANG_UP_AFTER_MS, least=1),
            None if silent is None else self.duration(silent, "hang_up_when_silent", least=1),
        )
