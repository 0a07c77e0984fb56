"""The echo."""

from __future__ import annotations

from bothway.audio.format import MULAW_8K
from bothway.carrier.echo_caller import EchoCaller
from bothway.carrier.scripted_caller import Outcome, Turn


def test_what_is_heard_comes_back_at_once() -> None:
    echo = EchoCaller(MULAW_8K)
    frames = [bytes([n]) * 160 for n in range(5)]
    assert [echo.hear(frame) for frame in frames] == [Turn(frame) for frame in frames]
    assert echo.heard_ms == 100


def test_keys_come_back_with_the_next_frame() -> None:
    echo = EchoCaller(MULAW_8K)
    echo.hear_digits("12")
    assert echo.hear(MULAW_8K.silent_frame).digits == ("1", "2")
    assert echo.hear(MULAW_8K.silent_frame).digits == ()
    assert echo.call_ended() == Outcome(ok=True)
    assert [event.kind for event in echo.events()] == ["heard_digits", "ended"]
    assert echo.events() == []
