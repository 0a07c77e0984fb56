"""The seam: every leg there is fits it, as the type checker sees it and as it stands."""

from __future__ import annotations

import inspect

import pytest

from bothway.carrier.leg import CalledLeg, Leg, SipAuth
from bothway.carrier.legs.loopback import LoopbackCallee, LoopbackCaller
from bothway.carrier.legs.phone import PhoneLeg
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.legs.websocket import WebSocketLeg

LEGS: list[type[Leg]] = [ScriptedLeg, WebSocketLeg, LoopbackCaller]
CALLED_LEGS: list[type[CalledLeg]] = [PhoneLeg, LoopbackCallee]


@pytest.mark.parametrize("leg", LEGS)
def test_a_leg_has_all_of_the_seam(leg: type[Leg]) -> None:
    for name, method in inspect.getmembers(Leg, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(leg, name)) == inspect.signature(method)


@pytest.mark.parametrize("leg", CALLED_LEGS)
def test_a_called_leg_has_all_of_the_seam(leg: type[CalledLeg]) -> None:
    for name, method in inspect.getmembers(CalledLeg, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(leg, name)) == inspect.signature(method)


def test_a_password_is_not_shown() -> None:
    assert repr(SipAuth("jo", "secret")) == "SipAuth(username='jo')"
