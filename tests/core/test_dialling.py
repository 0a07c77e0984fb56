from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.core.dialling import CallLeg, read_sip_headers
from bothway.wire.verbs import User


@pytest.mark.parametrize(
    ("written", "headers"),
    [
        (("tenant=42",), {"X-PH-tenant": "42"}),
        (("a=1,b=2", "c=3"), {"X-PH-a": "1", "X-PH-b": "2", "X-PH-c": "3"}),
        (("a=of the dial", "a=of the number"), {"X-PH-a": "of the number"}),
        ((" a = 1 , b = two words ",), {"X-PH-a": "1", "X-PH-b": "two words"}),
        (("X-PH-a=1,x-ph-b=2",), {"X-PH-a": "1", "X-PH-b": "2"}),
        (("a=b=c",), {"X-PH-a": "b=c"}),
        (("a=",), {"X-PH-a": ""}),
        ((None, ""), {}),
        (("nothing", "=1", ",,", "a b=1", "a=1\r\nVia: x", "ä=1", "a=ä"), {}),
        (("PH-x=1,plivoId=1,FS-a=1,fs-b=1,SipAuthUser=1,zt-x=1,TwilioSid=1,ClientRegion=eu,CLIENTREGION=eu",), {}),
        (("X-PH-PH-x=1",), {}),
        (("phone=1,clientregions=eu",), {"X-PH-phone": "1", "X-PH-clientregions": "eu"}),
    ],
)
def test_sip_headers(written: tuple[str | None, ...], headers: dict[str, str]) -> None:
    assert dict(read_sip_headers(*written)) == headers


@given(st.lists(st.none() | st.text(max_size=60), max_size=3))
def test_whatever_is_written_no_header_ends_its_line(written: list[str | None]) -> None:
    for name, value in read_sip_headers(*written):
        assert name.startswith("X-PH-")
        assert not set(name + value) & set("\r\n\0")


def test_a_password_is_not_shown() -> None:
    user = User("sip:bob@example.com", sip_auth_username="bob", sip_auth_password="a secret word")
    assert "a secret word" not in repr(CallLeg(leg=1, to=user))
