from __future__ import annotations

import pytest
from tests.core.verbs.driven import Driven

from bothway.core.listening import KeysPressed, PressKeys
from bothway.wire.digits import read_digits


def test_the_keys_are_pressed_while_the_document_goes_on() -> None:
    call = Driven("<DTMF>12</DTMF>", "<Speak>on</Speak>")
    assert call.answered
    (press,) = call.all(PressKeys)
    assert (press.plan, press.length_ms) == (read_digits("12"), 400)
    assert call.texts == ["on"]


def test_or_before_it_does() -> None:
    call = Driven('<DTMF>9</DTMF><DTMF async="false">12</DTMF>', "<Speak>on</Speak>")
    before, press = call.all(PressKeys)
    call.tell(KeysPressed(before))
    call.press("1")
    assert call.texts == []
    call.tell(KeysPressed(press))
    assert call.texts == ["on"]


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [("1", 200), ("w1", 700), ("1wW", 1700), ("WW", 2000), ("1@250", 350), ("1w@250", 850)],
)
def test_how_long_it_takes(text: str, length_ms: int) -> None:
    assert [press.length_ms for press in Driven(f"<DTMF>{text}</DTMF>").all(PressKeys)] == [length_ms]


@pytest.mark.parametrize(("text", "says"), [("", []), ("1?", ["cannot be pressed"])])
def test_what_presses_nothing(text: str, says: list[str]) -> None:
    call = Driven(f'<DTMF async="false">{text}</DTMF>', "<Speak>on</Speak>")
    assert call.all(PressKeys) == []
    assert call.texts == ["on"]
    assert [part in remark for part, remark in zip(says, call.remarks(), strict=True)] == [True] * len(says)


def test_a_transfer_leaves_the_keys_alone() -> None:
    call = Driven('<DTMF async="false">12</DTMF>', "<Speak>on</Speak>")
    call.call.transfer("https://example.com/other", "POST", 1.0)
    (press,) = call.all(PressKeys)
    call.tell(KeysPressed(press))
    assert call.texts == []
