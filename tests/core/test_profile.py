from __future__ import annotations

from dataclasses import fields, replace

import pytest

from bothway.audio.format import L16_8K, MULAW_8K
from bothway.core.profile import DOCUMENTED, LIVE, Limits, Profile, profile_named
from bothway.errors import UsageError


def test_the_two_profiles_are_the_design_s_table() -> None:
    """design.md, section 4."""
    documented = Profile(
        name="documented",
        stop_message=True,
        documented_callbacks=True,
        stopped_on_hangup=True,
        brace_headers=False,
        default_format=MULAW_8K,
        first_sequence=1,
        numeric_account=False,
        stream_holds_call=True,
        signs_every_form=True,
        transfer_interrupts=True,
        plus_in_numbers=False,
    )
    live = Profile(
        name="live",
        stop_message=False,
        documented_callbacks=False,
        stopped_on_hangup=False,
        brace_headers=True,
        default_format=L16_8K,
        first_sequence=0,
        numeric_account=True,
        stream_holds_call=False,
        signs_every_form=False,
        transfer_interrupts=False,
        plus_in_numbers=False,
    )
    assert (documented, live) == (DOCUMENTED, LIVE)


def test_they_differ_in_all_but_numbers_and_limits() -> None:
    same = {field.name for field in fields(Profile) if getattr(DOCUMENTED, field.name) == getattr(LIVE, field.name)}
    assert same == {"plus_in_numbers", "limits"}


def test_the_limits_are_the_reference_s() -> None:
    """plivo-protocol.md, section 9, and design.md, section 4."""
    limits = Limits()
    assert (limits.playout_seconds, limits.slow_reader_seconds, limits.degraded_percent) == (60, 40, (30, 60, 90))
    assert (limits.connect_tries, limits.streams_per_call) == (3, 1)
    assert limits.call_seconds == 86_400  # the longest time_limit; 14400 is the default one
    assert limits.redirects == 70


def test_a_profile_is_found_by_its_name() -> None:
    assert profile_named("documented") is DOCUMENTED
    assert profile_named("live") is LIVE
    with pytest.raises(UsageError, match=r"no profile 'Live': choose documented or live"):
        profile_named("Live")


def test_a_profile_is_a_value() -> None:
    with pytest.raises(AttributeError):
        DOCUMENTED.name = "mine"  # type: ignore[misc]
    assert replace(LIVE, limits=Limits(streams_per_call=3)) != LIVE
