from __future__ import annotations

from bothway.carrier.api.calling_codes import CALLING_CODES


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
