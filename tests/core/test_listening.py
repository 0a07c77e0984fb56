from __future__ import annotations

from bothway.core.listening import KeysPressed, Listen, PressKeys
from bothway.wire.digits import read_digits


def test_nothing_is_listened_for_that_was_not_asked_for() -> None:
    listen = Listen()
    assert (listen.keys, listen.silence_ms, listen.beep, listen.speech, listen.logged) == (
        False,
        None,
        None,
        None,
        True,
    )


def test_the_same_keys_pressed_twice_are_two_commands() -> None:
    first, second = (PressKeys(read_digits("12"), 400) for _ in range(2))
    assert first != second
    assert KeysPressed(first) != KeysPressed(second)
