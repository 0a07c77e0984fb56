"""What a destination can be."""

from __future__ import annotations

import pytest

from bothway.carrier.destination import (
    DestinationKind,
    bare_number,
    destination_kind,
    is_endpoint,
    plain_destination,
    written_number,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("+1 555-010-0123", "number"),
        ("911", "number"),
        ("123456789012345", "number"),
        ("1234567890123456", "invalid"),
        ("12", "invalid"),
        ("", "invalid"),
        ("bob", "invalid"),
        ("sip:bob@phone.example.com", "endpoint"),
        (" SIPS:bob@10.0.0.1:5061;transport=tls ", "endpoint"),
        ("sip:bob", "invalid"),
        ("sip:bob@a b", "invalid"),
    ],
)
def test_kinds(text: str, kind: DestinationKind) -> None:
    assert destination_kind(text) == kind


def test_what_people_write_into_a_number_is_taken_out() -> None:
    assert bare_number(" +1 555-010-0 ") == "15550100"


def test_an_endpoint_is_known_by_its_scheme() -> None:
    assert is_endpoint("Sip:x")
    assert not is_endpoint("15550100")


def test_two_spellings_of_a_destination_are_one() -> None:
    assert plain_destination("+1 555-0100") == plain_destination("15550100") == "15550100"
    assert plain_destination(" sip:a-b@example.com ") == "sip:a-b@example.com"


def test_numbers_are_written_with_a_plus_or_without() -> None:
    assert written_number("+15550100", plus=False) == written_number("15550100", plus=False) == "15550100"
    assert written_number("+15550100", plus=True) == written_number("15550100", plus=True) == "+15550100"
    assert written_number("sip:bob@example.com", plus=True) == "sip:bob@example.com"
