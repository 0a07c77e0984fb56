"""The `callees:` of a configuration file."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K
from bothway.audio.wav import write_wav
from bothway.carrier import callee_file as callee_file_module
from bothway.carrier.callee import (
    Answers,
    Callee,
    Callees,
    Chance,
    Refuses,
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
from bothway.carrier.callee_file import read_callees
from bothway.carrier.config import load_config
from bothway.carrier.script import Beep, Play, Say, Script
from bothway.errors import UsageError
from bothway.wire.hangup import HangupCause

DOCS = Path(__file__).parents[2] / "docs" / "callees.md"

ALL = """
accounts: []
callees:
  - {number: "+15550100", does: human}
  - {number: "15550101", does: {human: {says: Speak up!}}, ring: 4s}
  - {number: "15550102", does: voicemail}
  - number: 15550103
    ring: 1s
    does:
      voicemail:
        says: Not in.
        beep: {length: 300ms, hertz: 1400}
        message: 20s
  - {number: "15550104", does: {voicemail: {plays: hello.wav, beep: 1s}}}
  - {number: "15550105", does: confirmer}
  - {number: "15550106", does: {confirmer: {press: "2#", after: 1s, says: "Yes?", within: 5s}}}
  - {number: "15550107", does: {plays: hello.wav}}
  - {number: "15550108", does: echo}
  - {number: "15550109", does: busy}
  - {number: "15550110", does: rejects, ring: [1s, 3s]}
  - {number: "15550111", does: no_answer}
  - {number: "15550112", does: rings_on, ring: 1s}
  - {number: "15550113", does: unallocated}
  - {number: "15550114", does: fails}
  - {number: "15550115", does: {refuses: 3090}}
  - {number: "15550116", does: {script: {steps: [say: hi, hang_up]}}}
  - {number: "15550117", does: {script: talk.yaml}}
  - number: "1555*"
    ring: [2s, 8s]
    does:
      - {chance: 60%, human: {says: "Hello?"}}
      - {chance: 10.5 %, busy: , ring: 0}
      - {chance: 29.5%, rings_on: }
"""


def folder(path: Path) -> Path:
    write_wav(path / "hello.wav", L16_8K, bytes(320))
    (path / "talk.yaml").write_text("steps: [say: hi, hang_up]")
    return path


def test_everything_that_a_callee_can_do(tmp_path: Path) -> None:
    hello = str(folder(tmp_path) / "hello.wav")
    hi = Script.parse("steps: [say: hi, hang_up]")
    assert read_callees(ALL, name="c.yaml", folder=tmp_path) == Callees(
        (
            Callee("+15550100", human()),
            Callee("15550101", human("Speak up!", ring=4)),
            Callee("15550102", voicemail()),
            Callee("15550103", voicemail(Say("Not in."), beep=Beep(300, 1400), message_ms=20_000, ring=1)),
            Callee("15550104", voicemail(Play(hello), beep=Beep(1000))),
            Callee("15550105", confirmer()),
            Callee("15550106", confirmer("2#", after_ms=1000, says="Yes?", within_ms=5000)),
            Callee("15550107", plays(hello)),
            Callee("15550108", echo()),
            Callee("15550109", busy()),
            Callee("15550110", rejects(ring=Span(1, 3))),
            Callee("15550111", no_answer()),
            Callee("15550112", rings_on()),
            Callee("15550113", unallocated()),
            Callee("15550114", fails()),
            Callee(
                "15550115",
                Refuses(
                    HangupCause.of(3090, "Carrier"), "the callee refuses: Network congestion from carrier", Span(0, 0)
                ),
            ),
            Callee("15550116", Answers(hi, Span(2, 2))),
            Callee("15550117", Answers(hi, Span(2, 2))),
            Callee(
                "1555*",
                (
                    Chance(0.6, human(ring=Span(2, 8))),
                    Chance(0.105, busy()),
                    Chance(0.295, rings_on()),
                ),
            ),
        )
    )


@pytest.mark.parametrize("text", ["", "# nothing", "accounts: []", "callees:", "callees: []", "[1, 2]"])
def test_without_any(text: str) -> None:
    assert read_callees(text, name="c.yaml") == Callees()


@pytest.mark.parametrize(
    ("callee", "said"),
    [
        ("busy", "c.yaml, line 2: a callee is written as `key: value`, with keys of number, ring, does"),
        ("{number: '1'}", "line 2: a callee needs `does`"),
        ("{does: busy}", "line 2: a callee needs `number`"),
        ("{number: '1', does: dance}", "`does` is 'dance', where it can be human, voicemail, confirmer"),
        ("{number: '1', does: {dance: 1}}", "`does` has no `dance`; it has human, voicemail"),
        ("{number: '1', does: {}}", "a callee does one thing in a call, one of human, voicemail"),
        ("{number: '1', does: {busy: , echo: }}", "one thing in a call, and this has busy, echo"),
        ("{number: '1', does: {busy: 1}}", "`busy` takes nothing"),
        ("{number: '1', does: {human: [1]}}", "`human` is written as `key: value`"),
        ("{number: '1', does: {human: {text: x}}}", "`human` has no `text`; it has says"),
        ("{number: '1', does: plays}", "`plays` is empty"),
        ("{number: '1', does: {plays: none.wav}}", "names the file none.wav, which is not there"),
        ("{number: '1', does: {script: none.yaml}}", "none.yaml cannot be read"),
        ("{number: '1', does: {script: {steps: [shout]}}}", "c.yaml, line 2: a step is written as"),
        ("{number: '1', does: {voicemail: {says: a, plays: b}}}", "either says or plays its greeting"),
        ("{number: '1', does: {voicemail: {beep: {length: 1s, hertz: 9}}}}", "a beep of 9 Hz does not go"),
        ("{number: '1', does: {voicemail: {message: 0}}}", "`message` is 0, too short"),
        ("{number: '1', does: {confirmer: {press: x}}}", "'x' are not keys of a telephone"),
        ("{number: '1', does: {refuses: 42}}", "`refuses` is 42, which is no hang-up code"),
        ("{number: '1', does: refuses}", "`refuses` is empty"),
        ("{number: '1', does: busy, ring: often}", "`ring` is 'often', which is no duration"),
        ("{number: '1', does: busy, ring: [1s, 2s, 3s]}", "`ring` is a time, or a list of the least and the most"),
        ("{number: '1', does: busy, ring: [3s, 1s]}", "3 s to 1 s is no span of time"),
        ("{number: bob, does: busy}", "callee 'bob' is no number"),
        ("{number: '1', does: [{busy: }]}", "needs its `chance`, as in `chance: 60%`"),
        ("{number: '1', does: [{chance: 1, busy: }]}", "`chance` is '1', where it is a percentage"),
        ("{number: '1', does: [{chance: 90%, busy: }]}", "are to be above 0 and to add up to 100 %"),
        ("{number: '1', does: [{chance: 100%}]}", "a callee does one thing in a call, one of"),
        ("{number: '1', does: []}", "add up to 100 %"),
        ("{number: '1', does: busy}\n- {number: '+1', does: busy}", "the callee 1 is there more than once"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(callee: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_callees(f"callees:\n- {callee}", name="c.yaml")
    assert said in str(caught.value)


def test_the_list_is_a_list() -> None:
    with pytest.raises(UsageError, match=r"c.yaml, line 1: `callees` is a list, each behind a dash"):
        read_callees("callees: busy", name="c.yaml")


@given(st.text("callees:numberdos \n-[]{}'1%", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(UsageError):
        read_callees("callees:\n- " + text, name="c.yaml")


def test_a_configuration_has_them_and_its_other_parts_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("callees: [{number: '1555*', does: echo}]\nbarred: ['+1900']\nlimits: {calls_per_second: 5}")
    config = load_config(path)
    assert config.callees == Callees((Callee("1555*", echo()),))
    assert (config.barred, config.limits.calls_per_second) == (("+1900",), 5)
    path.write_text("barred: ['']")
    with pytest.raises(UsageError, match=r"barred: '' is no beginning of a number"):
        load_config(path)
    path.write_text("callees: [{number: '1', does: dance}]")
    with pytest.raises(UsageError, match=r"c\.yaml, line 1: `does` is 'dance'"):
        load_config(path)


def test_every_example_in_the_documentation_is_read() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        assert read_callees(example, name="docs/callees.md").entries


def test_every_key_is_documented() -> None:
    text = DOCS.read_text("utf-8")
    source = Path(callee_file_module.__file__).read_text("utf-8")
    keys = {*callee_file_module._BEHAVIOURS, "chance", "ring", "number", "does"}
    keys |= set(re.findall(r'"(\w+)" in fields', source))
    assert {"says", "beep", "message", "press", "within"} <= keys | set(re.findall(r'"(\w+)"', source))
    assert [key for key in sorted(keys) if not re.search(rf"^\|.*`{key}\b", text, re.MULTILINE)] == []
