"""The official SDK takes the signature of whatever a URL and a form may hold, as it reaches an app."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.carrier.world import ACCOUNT, Request, page, until, world
from tests.interop.sdk_voice import SUB, check_signed

from bothway.carrier.config import Account, Config
from bothway.testing.virtual_loop import run

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
NAME = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)
MINE = Account(SUB.auth_id, SUB.auth_token, parent=ACCOUNT.auth_id)


@dataclass(frozen=True)
class Told:
    """What is sent, and where to."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    plus: bool
    form: dict[str, str]
    policy: str
    account: Account

    @property
    def target(self) -> str:
        """Path and query."""
        code = quote_plus if self.plus else lambda text: quote(text, safe="")
        query = "&".join(f"{code(name)}={code(value)}" for name, value in self.query)
        return self.path + ("?" + query if query else "")


def a_request(method: str) -> st.SearchStrategy[Told]:
    # The SDK cannot read a query of anything but ASCII (plivo-protocol.md, 8.2), and a GET has all in its query.
    values = TEXT if method == "POST" else ASCII
    return st.builds(
        Told,
        method=st.just(method),
        path=st.sampled_from(
            ["/", "/a", "/a/", "/a%20b/c", "/a.xml", "/A~b", "", "/caf%C3%A9", "/a//b", "/x/../y", "/a%2Fb", "/a|b"]
        ),
        query=st.lists(st.tuples(NAME, ASCII), max_size=5).map(tuple),
        plus=st.booleans(),
        form=st.dictionaries(NAME, values, max_size=5),
        policy=st.sampled_from(["", "#ct=1000&rc=1", "#", "#rp=all&tt=9000"]),
        account=st.sampled_from([ACCOUNT, MINE]),
    )


REQUESTS = st.lists(st.sampled_from(["GET", "POST"]).flatmap(a_request), min_size=1, max_size=25)


async def deliver(data: Path, wanted: Sequence[Told]) -> list[Request]:
    """Have them sent by a carrier: what reaches the app, in the same order."""
    async with world(data, config=Config(accounts=(MINE,))) as w:
        for told in wanted:
            count = len(w.site.requests)
            w.carrier._deliver(told.account, w.site.url + told.target + told.policy, told.method, told.form)
            await until(lambda: len(w.site.requests) > count)  # noqa: B023 - it is awaited here
        return w.site.requests


def check(told: Told, request: Request) -> None:
    """It has come as it was meant, and the SDK takes its signatures."""
    query = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    assert request.method == told.method
    if told.method == "POST":
        assert (query, request.form) == (list(told.query), told.form)
    else:
        assert query == [*told.query, *told.form.items()]
    # What is dialled without a path is signed so, and asked for as "/" (plivo-protocol.md, vector D12).
    parts = urlsplit(request.url)
    url = parts._replace(path=told.path).geturl()
    check_signed(request, told.account.auth_token, ACCOUNT.auth_token, url=url)


@given(REQUESTS)
@settings(max_examples=500 if os.environ.get("BOTHWAY_SOAK") else 25)
def test_any_query_and_any_form(tmp_path_factory: pytest.TempPathFactory, wanted: list[Told]) -> None:
    requests = run(deliver(tmp_path_factory.mktemp("carrier"), wanted))
    for told, request in zip(wanted, requests, strict=True):
        check(told, request)


@pytest.mark.virtual_time
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_request_that_is_sent_elsewhere_is_signed_anew(tmp_path: Path, status: int) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/moved"] = page("<Response/>")
        caller = await w.call(page("", f"{status} Moved", "Location: /moved?x=1&x=0&y="))
        w.check_accounted(caller, 4010)
        assert [request.path for request in w.site.requests] == ["/answer", "/moved", "/hangup"]
        for request in w.site.requests:
            check_signed(request, ACCOUNT.auth_token, ACCOUNT.auth_token)
