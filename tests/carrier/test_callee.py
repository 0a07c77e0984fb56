"""Callees: which one a call reaches, and what it meets."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier import callee as callee_module
from bothway.carrier.callee import (
    Answers,
    Behaviour,
    Callee,
    Callees,
    Chance,
    Luck,
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
from bothway.carrier.script import Beep, Hear, Play, Press, Say, Script
from bothway.errors import UsageError

MIXED = Callee("1555*", (Chance(0.6, human()), Chance(0.1, busy()), Chance(0.3, rings_on())))


@pytest.mark.parametrize(
    ("number", "destination", "fits"),
    [
        ("+1 555-0100", "15550100", True),
        ("15550100", "155501001", False),
        ("1555*", "+15559", True),
        ("1555*", "1555", True),
        ("1555*", "15", False),
        ("1555*", "sip:1555@example.com", False),
        ("*00", "12300", True),
        ("*", "anybody", False),
        ("*", "1", True),
        ("sip:bob@example.com", "sip:bob@example.com", True),
        ("sip:bob@example.com", "sip:bob@exampleXcom", False),
    ],
)
def test_a_number_or_a_pattern_of_numbers(number: str, destination: str, *, fits: bool) -> None:
    assert Callee(number, busy()).is_called(destination) is fits


def test_the_exact_number_comes_before_the_first_pattern_that_fits() -> None:
    wide, narrow, exact = Callee("*", busy()), Callee("1555*", echo()), Callee("+1 5550100", human())
    callees = Callees((wide, narrow, exact))
    assert callees.find("15550100") is exact
    assert callees.find("+15550101") is wide
    assert Callees((narrow, wide)).find("15550101") is narrow
    assert Callees((narrow,)).find("1666") is None
    assert Callees().find("1") is None
    assert callees == Callees((wide, narrow, exact)) != Callees()
    assert len({callees, Callees((wide, narrow, exact))}) == 1


@pytest.mark.parametrize(
    ("does", "code", "rings"),
    [
        (busy(), 3010, 0.0),
        (rejects(), 3020, 2.0),
        (no_answer(), 3000, 30.0),
        (unallocated(), 3050, 0.0),
        (fails(ring=7), 5000, 7.0),
    ],
)
def test_what_refuses_says_why(does: Refuses, code: int, rings: float) -> None:
    assert (does.cause.code, does.cause.source) == (code, "Carrier")
    assert does.detail
    assert Callee("1", does).react(Random(1)) == (does, rings)


def test_the_presets_are_scripts() -> None:
    def steps(does: Answers) -> list[object]:
        assert isinstance(does.talk, Script)
        assert (does.talk.on_hang_up, does.talk.on_timeout) == ("accept", "continue")
        assert isinstance(does.talk.steps[-1], Hear)
        return [step for step in does.talk.steps if not isinstance(step, Hear)]

    assert steps(human("Yes?")) == [Say("Yes?")]
    assert steps(plays("a.wav")) == [Play("a.wav")]
    assert steps(confirmer("12", says="Hm?")) == [Say("Hm?"), Press("12")]
    assert steps(confirmer()) == [Press("1")]
    machine = voicemail(Say("Not in."), beep=Beep(300, 1400), message_ms=5000)
    assert [steps(machine)[0], steps(machine)[-1]] == [Say("Not in."), Beep(300, 1400)]
    assert isinstance(machine.talk, Script)
    assert machine.talk.steps[-1] == Hear("hang_up", within_ms=5000)


def test_the_chances_come_out() -> None:
    random = Random(7)
    met = Counter(type(MIXED.react(random)[0]) for _ in range(10_000))
    assert 5850 < met[Answers] < 6150
    assert 920 < met[Refuses] < 1080
    assert 2850 < met[RingsOn] < 3150


def test_the_nth_call_to_a_number_meets_the_same_in_every_run_whoever_else_is_called() -> None:
    def run(seed: int, *others: str) -> list[tuple[Behaviour, float]]:
        luck, met = Luck(seed), []
        for _ in range(20):
            for other in others:
                luck.next(other)
            met.append(MIXED.react(luck.next("15550100")))
        return met

    assert run(1) == run(1, "15550101", "15550102")
    assert run(1) != run(2)
    assert len({type(does) for does, _ in run(1)}) > 1
    assert Luck().next("1").random() != Luck().next("1").random()


def test_luck_remembers_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callee_module, "_REMEMBERED", 2)
    luck = Luck(1)
    first = luck.next("a").random()
    assert luck.next("a").random() != first
    for other in "bc":
        luck.next(other)
    assert luck.next("a").random() == first, "forgotten"


@given(least=st.floats(0, 60), more=st.floats(0, 60), seed=st.integers())
def test_a_ring_lies_in_its_span(least: float, more: float, seed: int) -> None:
    does, seconds = Callee("1", human(ring=Span(least, least + more))).react(Random(seed))
    assert isinstance(does, Answers)
    assert least <= seconds <= least + more


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Callee("bob", busy()), "'bob' is no number, no pattern such as 1555"),
        (lambda: Callee("", busy()), "'' is no number"),
        (lambda: Callee("1", (Chance(0.5, busy()),)), "callee 1 are to be above 0 and to add up to 100 %"),
        (lambda: Callee("1", (Chance(1.5, busy()), Chance(-0.5, echo()))), "add up to 100 %"),
        (lambda: Callee("1", ()), "add up to 100 %"),
        (lambda: Callees((Callee("+1", busy()), Callee("1", busy()))), "the callee 1 is there more than once"),
        (lambda: Span(2, 1), "2 s to 1 s is no span of time"),
        (lambda: human(ring=-1), "-1 s to -1 s is no span of time"),
    ],
)
def test_what_cannot_be_is_named(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        make()
