from __future__ import annotations

from dataclasses import fields, make_dataclass
from typing import Any

import pytest

from bothway.wire.attributes import Attribute, choice, flag, http_method, keys, string, tones, whole


def declared(entry: Any) -> Attribute:
    (made,) = fields(make_dataclass("Made", [("one_field", object, entry)]))
    attribute = made.metadata["attribute"]
    assert isinstance(attribute, Attribute)
    return attribute


def test_a_name_is_the_fields_own_in_camel_case_or_the_one_given() -> None:
    assert declared(flag()).named("digits_match_b_leg") == "digitsMatchBLeg"
    assert declared(flag(name="relayDTMF")).named("relay_dtmf") == "relayDTMF"


@pytest.mark.parametrize(
    ("entry", "written", "value"),
    [
        (flag(), "true", True),
        (flag(True), "false", False),
        (flag(any_case=True), "True", True),
        (whole(), "0", 0),
        (whole(5, 1), " 12 ", 12),
        (whole(15, 5, 60), "60", 60),
        (whole(7, 2, 10, auto=True), "auto", None),
        (string(), "", ""),
        (string(limit=3), "abc", "abc"),
        (choice("mp3", "mp3", "wav"), "wav", "wav"),
        (choice(None, "agent", any_case=True), "Agent", "agent"),
        (http_method(), "GET", "GET"),
        (keys("#"), "none", ""),
        (keys("#"), "", ""),
        (keys("#"), "*", "*"),
        (tones(), "true", True),
        (tones(), "duration=300,inter_silence=50", "duration=300,inter_silence=50"),
    ],
)
def test_what_is_right_has_no_note(entry: Any, written: str, value: object) -> None:
    assert declared(entry).read(written) == (value, None)


@pytest.mark.parametrize(
    ("entry", "written", "value", "note"),
    [
        (flag(), "TRUE", False, "only lower-case true counts, so this is taken as false"),
        (flag(True), "True", False, "only lower-case true counts, so this is taken as false"),
        (flag(True), "yes", False, "neither true nor false, so this is taken as false"),
        (whole(), "x", None, "not a whole number, so it is ignored"),
        (whole(5), "2.5", 5, "not a whole number, so 5 is used"),
        (whole(5), "١", 5, "not a whole number, so 5 is used"),
        (whole(5), "9" * 5000, 5, "not a whole number, so 5 is used"),
        (whole(86400, 1), "0", 86400, "allowed is 1 or more, so 86400 is used"),
        (whole(85, 60, 100), "101", 100, "allowed is 60 to 100, so 100 is used"),
        (whole(85, 60, 100), "-1", 60, "allowed is 60 to 100, so 60 is used"),
        (string(limit=3), "abcd", "abc", "longer than 3 characters, so it is cut there"),
        (choice("mp3", "mp3", "wav"), "ogg", "mp3", "allowed is mp3, wav, so mp3 is used"),
        (choice("mp3", "mp3", "wav"), "WAV", "wav", "taken as wav"),
        (http_method(), "post", "POST", "methods are upper-case; taken as POST"),
        (http_method("GET"), "PUT", "GET", "only GET and POST exist, so GET is used"),
        (http_method(keep=True), "put", "PUT", "only GET and POST exist"),
        (keys("#"), "a", "#", "allowed is a digit, * or #, or none, so # is used"),
        (tones(), "loud", False, "neither true, false nor name=number pairs, so this is taken as false"),
    ],
)
def test_what_is_wrong_is_put_right_and_told(entry: Any, written: str, value: object, note: str) -> None:
    assert declared(entry).read(written) == (value, note)


def test_a_secret_stays_out_of_the_repr() -> None:
    made = make_dataclass("Made", [("password", str, string("x", secret=True))])
    assert repr(made(password="hunter22")) == "Made()"
