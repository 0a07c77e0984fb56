"""Scripts: what YAML becomes, what is said of mistakes, and that the documentation is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier import script as script_module
from bothway.carrier.script import HangUp, Hear, Interrupt, Play, Press, Rules, Say, Script, Wait
from bothway.errors import UsageError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "scripts.md"


def test_every_kind_of_step() -> None:
    script = Script.parse(
        """
from: +15550001
leg: l16
on_timeout: continue
on_hang_up: accept
steps:
  - hear: {until: silence, for: 700ms, within: 10s}
  - say: yes
  - play: a/b.wav
  - press: 0123
  - press: {digits: "*#A", gap: 0.1}
  - wait: 1.5s
  - hear: speech
  - hear: silence
  - interrupt: {say: "no, wait", after: 1s, within: 5}
  - interrupt: {play: c.wav}
  - hear: {until: hang_up, within: 1s}
  - hang_up
  - hang_up:
rules: {hang_up_after: 60s, hang_up_when_silent: 2500ms}
""",
        folder="/calls",
    )
    assert script == Script(
        steps=(
            Hear("silence", 700, 10_000),
            Say("yes"),
            Play("/calls/a/b.wav"),
            Press("0123", 200),
            Press("*#A", 100),
            Wait(1500),
            Hear("speech", 0, 30_000),
            Hear("silence", 700, 30_000),
            Interrupt(Say("no, wait"), 1000, 5000),
            Interrupt(Play("/calls/c.wav"), 800, 30_000),
            Hear("hang_up", 0, 1000),
            HangUp(),
            HangUp(),
        ),
        rules=Rules(60_000, 2500),
        on_timeout="continue",
        on_hang_up="accept",
        leg="l16",
        from_="+15550001",
    )
    assert script.clips == (Say("yes"), Play("/calls/a/b.wav"), Say("no, wait"), Play("/calls/c.wav"))


def test_the_least_script_has_the_defaults() -> None:
    assert Script.parse("steps: [hang_up]") == Script((HangUp(),), Rules(600_000, None), "fail", "fail", None, None)


def test_a_clip_that_is_said_twice_is_prepared_once() -> None:
    script = Script.parse("steps: [say: a, say: a, interrupt: {say: a}]")
    assert script.clips == (Say("a"),)
    assert Say("x").clip != Play("x").clip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "calls.yaml is empty"),
        ("steps: [", "calls.yaml, line 1: this is not YAML"),
        ("steps:\n- press: *12", "line 2: this is not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "line 2: this is not YAML"),
        ("steps: \x00", "calls.yaml: this is not YAML"),
        ("- say: a", "line 1: a script is written as `key: value`"),
        ("from: a", "line 1: a script needs `steps`"),
        ("steps: []", "line 1: `steps` is a list of one step or more"),
        ("steps: hang_up", "`steps` is a list of one step or more"),
        ("steps:\n- say: a\nstep: 1", "line 3: a script has no `step`; it has from, leg"),
        ("steps:\n- say: a\nsteps:\n- say: b", "line 3: `steps` stands here twice"),
        ("steps:\n- shout: a", "line 2: a step has no `shout`; it has say, play, beep, press"),
        ("steps:\n- shout", "line 2: a step is written as `key: value`"),
        ("steps:\n- say: a\n  wait: 1", "line 2: a step is one thing to do, and this one has 2: say, wait"),
        ("steps:\n- {}", "this one has 0"),
        ("steps:\n- ? [a]\n  : b", "line 2: a step has no such key"),
        ("steps:\n- say:", "line 2: `say` is empty"),
        ("steps:\n- say: [a]", "line 2: `say` is a text"),
        ("steps:\n- press: #12", "line 2: `digits` is empty; what begins with # or * needs quotes"),
        ("steps:\n- press: 12w", "line 2: '12w' are not keys of a telephone"),
        ("steps:\n- press: {gap: 1s}", "line 2: `press` needs `digits`"),
        ("steps:\n- beep: 20s", "line 2: a beep cannot last for 20 s: 10 s is the most"),
        ("steps:\n- beep: {length: 1s, hertz: 90}", "line 2: a beep of 90 Hz does not go over a telephone line"),
        ("steps:\n- beep: {length: 1s, hertz: low}", "line 2: `hertz` is 'low', which is no whole number"),
        ("steps:\n- wait: soon", "line 2: `wait` is 'soon', which is no duration: write 1.5s"),
        ("steps:\n- wait: -1", "`wait` is '-1', which is no duration"),
        ("steps:\n- wait: 1m", "`wait` is '1m', which is no duration"),
        ("steps:\n- wait: 90000", "line 2: `wait` is 90000, longer than a day"),
        ("steps:\n- hear: music", "line 2: `until` is 'music', where it can be speech, silence, hang_up"),
        ("steps:\n- hear: {for: 1s}", "line 2: `hear` needs `until`"),
        ("steps:\n- hear:\n    until: hang_up\n    for: 1s", "line 4: `for` goes with speech and silence"),
        ("steps:\n- hear: {until: speech, within: 0}", "line 2: `within` is 0, too short"),
        ("steps:\n- interrupt: {after: 1s}", "line 2: `interrupt` needs either `say` or `play`"),
        ("steps:\n- interrupt: {say: a, play: b}", "needs either `say` or `play`"),
        ("steps:\n- interrupt: now", "line 2: `interrupt` is written as `key: value`"),
        ("steps:\n- hang_up: now", "line 2: `hang_up` takes nothing"),
        ("steps: [hang_up]\nrules: {hang_up: 1s}", "line 2: `rules` has no `hang_up`"),
        ("steps: [hang_up]\nrules: {hang_up_when_silent: 0s}", "line 2: `hang_up_when_silent` is 0s, too short"),
        ("steps: [hang_up]\nleg: opus", "line 2: `leg` is 'opus', where it can be pcmu, l16, l16-16000"),
        ("steps: [hang_up]\non_timeout: ignore", "line 2: `on_timeout` is 'ignore', where it can be fail, continue"),
        ("steps: [hang_up]\non_hang_up: continue", "`on_hang_up` is 'continue', where it can be fail, accept"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Script.parse(text, name="calls.yaml")
    assert str(caught.value).startswith("calls.yaml")
    assert said in str(caught.value)


@given(st.text(max_size=80) | st.text("steps: -\n[]{}&*!|>'\"%@`ayhearwi#,?", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        Script.parse(text)
    except UsageError:
        pass


@given(st.integers(0, 86_400_000))
def test_durations_are_milliseconds(ms: int) -> None:
    for text in (f"{ms}ms", f"{ms / 1000:.3f}s", f"{ms / 1000:.3f}"):
        assert Script.parse(f"steps: [wait: {text}]").steps == (Wait(ms),)


def test_a_file_is_read_and_its_clips_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("steps:\n  - play: hi.wav\n  - say: Grüß Gott\n", "utf-8")
    assert Script.load(path).steps == (Play(str(tmp_path / "hi.wav")), Say("Grüß Gott"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read: No such file"):
        Script.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"steps: [say: gr\xfc\xdf]")
    with pytest.raises(UsageError, match=r"latin\.yaml is not UTF-8"):
        Script.load(tmp_path / "latin.yaml")


def test_keys_are_checked_also_without_yaml() -> None:
    for digits in ("", "5w", "a"):
        with pytest.raises(UsageError, match="are not keys of a telephone"):
            Press(digits)


def test_a_wav_and_a_text_are_scripts_that_speak_at_once_and_listen() -> None:
    for script, words in ((Script.for_wav(Path("a.wav")), Play("a.wav")), (Script.for_text("hello"), Say("hello"))):
        assert script.steps[0] == words
        assert script.rules.hang_up_when_silent_ms == 3000
        assert (script.on_timeout, script.on_hang_up) == ("continue", "accept")


def test_steps_say_what_they_are() -> None:
    steps = Script.parse(
        "steps: [say: hi, play: a/b.wav, beep: 0.4s, press: 12#, wait: 1.5s, hear: silence, hear: speech,"
        " interrupt: {say: no}, hang_up]"
    ).steps
    assert [str(step) for step in steps] == [
        "say 'hi'",
        "play b.wav",
        "beep 1000 Hz for 0.4 s",
        "press 12#",
        "wait 1.5 s",
        "hear silence for 0.7 s within 30 s",
        "hear speech within 30 s",
        "interrupt after 0.8 s: say 'no'",
        "hang_up",
    ]


def test_every_example_in_the_documentation_is_a_script() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        Script.parse(example, name="docs/scripts.md")


def test_the_example_of_a_call_without_a_script_is_what_such_a_call_does() -> None:
    example = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[-1]
    written, made = Script.parse(example), Script.for_text("What are your opening hours?")
    assert written.steps[0] == made.steps[0]
    assert [type(step) for step in written.steps] == [type(step) for step in made.steps]
    assert (written.on_timeout, written.on_hang_up) == (made.on_timeout, made.on_hang_up)


def test_every_key_is_documented() -> None:
    text = DOCS.read_text("utf-8")
    source = Path(script_module.__file__).read_text("utf-8")
    keys = set(re.findall(r'"(\w+)"', "".join(re.findall(r"fields\([^)]*\(([^)]*)\)\)", source))))
    keys |= {"say", "play", "beep", "press", "wait", "hear", "interrupt", "hang_up"}
    assert {"steps", "until", "gap", "after", "hang_up_when_silent", "on_hang_up"} <= keys
    assert [key for key in sorted(keys) if not re.search(rf"^\|.*`{key}\b", text, re.MULTILINE)] == []
