from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.wire.extra_headers import EXTRA_HEADERS_LIMIT, ExtraHeaders, parse_attribute, parse_wire, wire_form

# --- the attribute -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1,b=2", (("a", "1"), ("b", "2"))),
        ("a=1;b=2", (("a", "1"), ("b", "2"))),
        (" a = 1 , b=2 ,", (("a", "1"), ("b", "2"))),
        ("a=1;x,b=2", (("a", "1;x"), ("b", "2"))),
        ("a=x=y,b=", (("a", "x=y"), ("b", ""))),
        ("a=caf%C3%A9", (("a", "caf%C3%A9"),)),
        ("a=1,stray", (("a", "1"), ("stray", ""))),
        ("url=https://h/x", (("url", "https://h/x"),)),
        ("=1,, =2", ()),
        ("", ()),
    ],
)
def test_an_attribute_is_split_on_commas_else_on_semicolons(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_attribute(text) == pairs


def test_the_limit_is_the_documents() -> None:
    assert EXTRA_HEADERS_LIMIT == 512


# --- the carrier writes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "live", "documented"),
    [
        (None, "{}", "{}"),
        (" ", "{}", "{}"),
        ("name=Amal,k=v", "{X-PH-name: Amal, X-PH-k: v}", "name=Amal,k=v"),
        ("name=Amal;k=v", "{X-PH-name: Amal, X-PH-k: v}", "name=Amal;k=v"),
        ("x-ph-name=Amal", "{X-PH-name: Amal}", "x-ph-name=Amal"),
        ("a=1%2C2", "{X-PH-a: 1%2C2}", "a=1%2C2"),
    ],
)
def test_both_wire_forms(attribute: str | None, live: str, documented: str) -> None:
    assert wire_form(attribute, brace=True) == live
    assert wire_form(attribute, brace=False) == documented


# --- the app reads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "name=Amal,k=a%20b",
        "name=Amal;k=a%20b",
        "{X-PH-name: Amal, X-PH-k: a b}",
        "{X-PH-name: Amal, X-PH-k: a%20b}",
        "{name=Amal;k=a b}",
        '{"name": "Amal", "k": "a b"}',
        '{"X-PH-name":"Amal","X-PH-k":"a%20b"}',
        " {X-PH-Name: Amal,x-ph-k:a b} ",
    ],
)
def test_every_shape_is_read(text: str) -> None:
    headers = parse_wire(text)
    assert {name.lower(): value for name, value in headers.items()} == {"name": "Amal", "k": "a b"}
    assert headers["NAME"] == headers["X-PH-name"] == headers["x-ph-NAME"] == "Amal"
    assert "K" in headers
    assert "other" not in headers
    assert headers.get("X-PH-other") is None
    assert headers.raw == text


def test_the_noise_cancellation_flag_of_the_live_system_is_read() -> None:
    headers = parse_wire("{X-PH-name: Amal, X-PH-is_fs_krisp_enabled: true}")
    assert dict(headers) == {"name": "Amal", "is_fs_krisp_enabled": "true"}
    assert repr(headers) == "ExtraHeaders({'name': 'Amal', 'is_fs_krisp_enabled': 'true'})"


def test_json_values_of_any_type_become_text() -> None:
    assert dict(parse_wire('{"a": 1, "b": true, "c": null, "d": [1, {}]}')) == {
        "a": "1",
        "b": "true",
        "c": "",
        "d": "[1, {}]",
    }


@pytest.mark.parametrize("text", ["", "{}", " ", "{", "}", "{{", ",;,", "[]", "=", ":"])
def test_junk_reads_as_little_as_there_is(text: str) -> None:
    assert all(name.strip() for name in parse_wire(text))


def test_nested_json_without_end_is_survived() -> None:
    assert parse_wire('{"a":' * 60_000).raw


def test_the_last_of_a_repeated_name_counts() -> None:
    headers = parse_wire("a=1,A=2,X-PH-a=3")
    assert (len(headers), headers["a"]) == (1, "3")


def test_headers_are_equal_to_a_dict_of_them_and_read_only() -> None:
    headers = parse_wire("a=1")
    assert headers == {"a": "1"}
    assert headers == ExtraHeaders("{X-PH-a: 1}", (("X-PH-a", "1"),))
    assert not hasattr(headers, "__setitem__")


@given(st.text(max_size=60) | st.recursive(st.text() | st.integers() | st.none(), st.lists).map(json.dumps))
def test_nothing_makes_the_reader_raise(text: str) -> None:
    headers = parse_wire(text)
    assert all(headers[name] == headers[f"x-ph-{name}"] for name in headers if not name.upper().startswith("X-PH-"))


plain = st.text("abcXYZ019-_é ", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.dictionaries(plain.map(str.lower), plain, max_size=5), st.booleans())
def test_what_the_carrier_writes_the_app_reads(pairs: dict[str, str], brace: bool) -> None:
    attribute = ",".join(f"{name}={value}" for name, value in pairs.items())
    assert dict(parse_wire(wire_form(attribute, brace=brace))) == pairs
