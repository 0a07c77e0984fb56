from __future__ import annotations

import inspect
from typing import Any

import pytest
from tests.carrier.api.desk import BoardCall, BoardConference, BoardMember, Switchboard

from bothway.carrier.api.switch import (
    CallControl,
    CallRequest,
    ConferenceControl,
    MemberControl,
    RefusedError,
    Switch,
)
from bothway.errors import UsageError


@pytest.mark.parametrize(
    ("protocol", "ours"),
    [
        (Switch, Switchboard),
        (CallControl, BoardCall),
        (ConferenceControl, BoardConference),
        (MemberControl, BoardMember),
    ],
)
def test_the_double_is_what_the_protocol_asks_for(protocol: Any, ours: Any) -> None:
    """mypy holds that too; this names the method."""
    for name, member in vars(protocol).items():
        if not name.startswith("_") and inspect.isfunction(member):
            found = getattr(ours, name)
            assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(member), name
            assert list(inspect.signature(found).parameters) == list(inspect.signature(member).parameters), name


def test_a_refusal_is_the_callers_fault_and_says_why() -> None:
    assert RefusedError("no").reason == "invalid"
    refusal = RefusedError("Calls to this destination region are barred", reason="barred")
    assert isinstance(refusal, UsageError)
    assert (refusal.reason, str(refusal)) == ("barred", "Calls to this destination region are barred")


def test_a_request_does_not_show_its_password() -> None:
    request = CallRequest("1", ("2", "3"), "http://h/", sip_auth_password="s3cret")
    assert repr(request) == "CallRequest(1 to 2 destinations)"
