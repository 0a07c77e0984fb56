from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import DocumentKind, Wait
from bothway.core.verbs.redirect import execute
from bothway.wire.verbs import Redirect


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_document_is_fetched(method: str) -> None:
    call = Recorder()
    assert execute(Redirect("https://example.com/next?a=1#rt=500", method=method), call, 5.0) is Wait.FETCH
    assert call.asked == [("fetch", DocumentKind.REDIRECT, "https://example.com/next?a=1#rt=500", method)]


@pytest.mark.parametrize("url", ["", "/next", "next.xml", "ftp://example.com/", "wss://example.com/", "//example.com"])
def test_an_url_that_is_none_ends_the_call(url: str) -> None:
    call = Recorder()
    assert execute(Redirect(url), call, 5.0) is Wait.END
    assert call.asked == [("end", 7024, "Error", "<Redirect> needs an http or https URL")]


@pytest.mark.parametrize("method", ["PUT", "get", ""])
def test_a_method_that_is_none_ends_the_call(method: str) -> None:
    call = Recorder()
    assert execute(Redirect("https://example.com/", method=method), call, 5.0) is Wait.END
    assert call.asked == [("end", 7034, "Error", f"<Redirect method={method!r}> is neither GET nor POST")]
