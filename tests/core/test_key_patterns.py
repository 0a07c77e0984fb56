from __future__ import annotations

import pytest

from bothway.core.key_patterns import KeyPatterns


def reported(patterns: str | None, keys: str) -> list[str]:
    heard = KeyPatterns(patterns)
    return [match for key in keys if (match := heard.press(key)) is not None]


@pytest.mark.parametrize(
    ("patterns", "keys", "matches"),
    [
        ("1", "111", ["1", "1", "1"]),
        ("12,3", "0123", ["12", "3"]),
        (" 12 , ,*# ", "1*#12", ["*#", "12"]),
        ("2,12", "12", ["12"]),
        ("11", "111", ["11", "11"]),
        ("1234", "123", []),
        ("", "123", []),
        (None, "123", []),
    ],
)
def test_a_pattern_is_reported_with_its_last_key(patterns: str | None, keys: str, matches: list[str]) -> None:
    assert reported(patterns, keys) == matches


def test_whether_there_is_anything_to_be_reported() -> None:
    assert KeyPatterns("1")
    assert not KeyPatterns(" , ")
    assert not KeyPatterns(None)
