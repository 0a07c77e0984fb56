"""The seam: every leg there is fits it, as the type checker sees it and as it stands."""

from __future__ import annotations

import inspect

import pytest

from bothway.carrier.leg import Leg
from bothway.carrier.legs.scripted import ScriptedLeg
from bothway.carrier.legs.websocket import WebSocketLeg

LEGS: list[type[Leg]] = [ScriptedLeg, WebSocketLeg]


@pytest.mark.parametrize("leg", LEGS)
def test_a_leg_has_all_of_the_seam(leg: type[Leg]) -> None:
    for name, method in inspect.getmembers(Leg, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(leg, name)) == inspect.signature(method)
