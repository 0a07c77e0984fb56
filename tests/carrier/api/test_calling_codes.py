from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier.api.calling_codes import CALLING_CODES, country_of


def test_calling_codes() -> None:
    assert (CALLING_CODES["US"], CALLING_CODES["IN"], CALLING_CODES["GB"], CALLING_CODES["UZ"]) == (
        "1",
        "91",
        "44",
        "998",
    )
    assert len(CALLING_CODES) > 230
    assert all(len(country) == 2 and country.isupper() for country in CALLING_CODES)
    codes = set(CALLING_CODES.values())
    shared = {one for one in codes for other in codes if one != other and other.startswith(one)}
    assert shared == set(), "no code is the beginning of another"


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+14155550100", "US"),
        ("1 415-555-0100", "US"),
        ("15550001", "US"),
        ("14165550100", "CA"),
        ("18765550100", "JM"),
        ("17875550100", "PR"),
        ("+919812345678", "IN"),
        ("447700900123", "GB"),
        ("441534700700", "JE"),
        ("74951234567", "RU"),
        ("77271234567", "KZ"),
        ("393331234567", "IT"),
        ("390669812345", "VA"),
        ("59996612345", "CW"),
        ("59931234567", "BQ"),
        ("881612345678", ""),
        ("", ""),
        ("911", ""),
        ("alice", ""),
        ("sip:15550001@example.com", ""),
        ("٠٩١٢٣٤٥٦٧٨", ""),
    ],
)
def test_the_country_of_a_number(number: str, country: str) -> None:
    assert country_of(number) == country


@given(st.sampled_from(sorted(CALLING_CODES)), st.text("0123456789", min_size=6, max_size=11))
def test_a_country_s_code_leads_to_one_that_shares_it(country: str, rest: str) -> None:
    found = country_of(CALLING_CODES[country] + rest)
    sharing = {one for one, code in CALLING_CODES.items() if code == CALLING_CODES[country]}
    assert found in sharing | {"VA"}
