from __future__ import annotations

import asyncio

import pytest

from bothway.runtime.driver import Driver

pytestmark = pytest.mark.virtual_time


class Echo:
    """A machine: what it is told to say becomes a command, and every command an event. It has one alarm."""

    def __init__(self) -> None:
        self.alarm: float | None = None
        self.rung: list[float] = []
        self._commands: list[str] = []
        self._events: list[str] = []

    def say(self, text: str) -> None:
        self._commands.append(text)
        self._events.append(f"said {text}")

    def to_send(self) -> list[str]:
        commands, self._commands = self._commands, []
        return commands

    def events(self) -> list[str]:
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        return self.alarm

    def handle_deadline(self, now: float) -> None:
        self.rung.append(now)
        self.alarm = None
        self.say("alarm")


async def test_events_are_dispatched_before_commands_are_sent() -> None:
    machine, seen = Echo(), list[str]()
    driver: Driver[str, str] = Driver(machine, lambda command: seen.append(f"send {command}"), seen.append)
    machine.say("a")
    machine.say("b")
    driver.after_input()
    assert seen == ["said a", "said b", "send a", "send b"]
    driver.after_input()
    assert len(seen) == 4


async def test_what_a_command_asks_for_is_done_in_turn_and_never_inside_it() -> None:
    machine, seen, depth = Echo(), list[str](), 0

    def send(command: str) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        if len(seen) < 3:
            machine.say(command + "'")
            driver.after_input()
        seen.append(command)
        depth -= 1

    driver: Driver[str, str] = Driver(machine, send, lambda event: None)
    machine.say("a")
    driver.after_input()
    assert seen == ["a", "a'", "a''", "a'''"]


async def test_one_timer_at_the_deadline_that_was_asked_for_last() -> None:
    loop = asyncio.get_running_loop()
    machine, sent = Echo(), list[str]()
    driver: Driver[str, str] = Driver(machine, sent.append, lambda event: None)
    machine.alarm = loop.time() + 60
    driver.after_input()
    asked = machine.alarm = loop.time() + 0.03
    driver.after_input()
    driver.after_input()
    await asyncio.sleep(0.06)
    assert sent == ["alarm"]
    assert machine.rung == [asked]
    machine.alarm = loop.time() + 0.01
    driver.after_input()
    machine.alarm = None
    driver.after_input()
    await asyncio.sleep(0.03)
    assert sent == ["alarm"], "a deadline that was taken back does not ring"


async def test_a_deadline_in_the_past_rings_at_once() -> None:
    machine, sent = Echo(), list[str]()
    driver: Driver[str, str] = Driver(machine, sent.append, lambda event: None)
    machine.alarm = asyncio.get_running_loop().time() - 5
    driver.after_input()
    assert not sent, "but not inside the input"
    await asyncio.sleep(0.01)
    assert sent == ["alarm"]


async def test_no_timer_after_close() -> None:
    machine, sent = Echo(), list[str]()
    driver: Driver[str, str] = Driver(machine, sent.append, lambda event: None)
    machine.alarm = asyncio.get_running_loop().time() + 0.01
    driver.after_input()
    driver.close()
    driver.after_input()
    await asyncio.sleep(0.03)
    assert not sent


async def test_a_command_that_fails_does_not_jam_the_driver() -> None:
    machine, sent = Echo(), list[str]()

    def send(command: str) -> None:
        if command == "bad":
            raise ValueError(command)
        sent.append(command)

    driver: Driver[str, str] = Driver(machine, send, lambda event: None)
    machine.say("bad")
    with pytest.raises(ValueError, match="bad"):
        driver.after_input()
    machine.say("good")
    driver.after_input()
    assert sent == ["good"]
