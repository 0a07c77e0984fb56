"""Proxies × signature forms × schemes × queries; and that everything else fails closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bothway.app.verify import SeenRequest, check_upgrade, check_webhook
from bothway.errors import UsageError
from bothway.wire.signature import sign_v3, upgrade_signature_header

TOKEN, NONCE = "the-account-token", "31627761595286130198"
FORM = {"CallUUID": "c-1", "From": "+1"}

PROXIES = {
    "none": ("bot.example.com", "", (("host", "bot.example.com"),), None),
    "none, another port": ("bot.example.com:8443", "", (("host", "bot.example.com:8443"),), None),
    "keeps the host": ("bot.example.com", "", (("host", "bot.example.com"), ("x-forwarded-proto", "https")), None),
    "forwards the host": (
        "bot.example.com",
        "",
        (("host", "10.0.0.7:8080"), ("x-forwarded-host", "bot.example.com"), ("x-forwarded-proto", "https")),
        None,
    ),
    "two in a row": (
        "bot.example.com",
        "",
        (("host", "app:8080"), ("x-forwarded-host", "bot.example.com, inner"), ("x-forwarded-proto", "https,http")),
        None,
    ),
    "forwards host and port": (
        "bot.example.com:8443",
        "",
        (("host", "app"), ("x-forwarded-host", "bot.example.com"), ("x-forwarded-port", "8443")),
        None,
    ),
    "strips a prefix and says so": (
        "bot.example.com",
        "/voice",
        (("host", "bot.example.com"), ("x-forwarded-prefix", "/voice")),
        None,
    ),
    "says nothing": ("bot.example.com", "", (("host", "app:8080"),), "https://bot.example.com"),
    "says nothing and strips": ("bot.example.com", "/voice", (("host", "app"),), "https://bot.example.com/voice"),
    "a tunnel on a port": ("t.example:444", "", (("host", "localhost"),), "https://t.example:444"),
}
QUERIES = ("", "a=1&b=x%20y")


def seen(proxy: str, *, method: str, query: str, path: str, **more: str) -> SeenRequest:
    headers = PROXIES[proxy][2] + tuple((name.replace("_", "-"), value) for name, value in more.items())
    return SeenRequest(method, "http", path, query, headers)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("header", ["x-plivo-signature-v3", "x-plivo-signature-ma-v3"])
def test_webhooks(proxy: str, scheme: str, method: str, query: str, header: str) -> None:
    netloc, prefix, _, public_url = PROXIES[proxy]
    dialled = f"{scheme}://{netloc}{prefix}/answer" + (f"?{query}" if query else "")
    form = FORM if method == "POST" else None
    signature = sign_v3(method, dialled, NONCE, TOKEN, form)
    request = seen(proxy, method=method, query=query, path="/answer", x_plivo_signature_v3_nonce=NONCE)
    request = replace(request, headers=(*request.headers, (header, f"AAAA, {signature}")))
    verdict = check_webhook(request, form, tokens=[TOKEN], public_url=public_url)
    assert verdict.match is not None
    assert verdict.match.url == dialled
    assert verdict.covers_query is bool(query)
    # The same with one thing wrong fails, whatever it is.
    other_form = {**FORM, "From": "+2"} if form else {"x": "y"}
    assert check_webhook(request, form, tokens=["another"], public_url=public_url).match is None
    assert check_webhook(replace(request, path="/other"), form, tokens=[TOKEN], public_url=public_url).match is None
    assert check_webhook(replace(request, query="a=2"), form, tokens=[TOKEN], public_url=public_url).match is None
    assert check_webhook(request, other_form, tokens=[TOKEN], public_url=public_url).match is None


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("every_form", [True, False])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_upgrades(proxy: str, scheme: str, every_form: bool, query: str) -> None:
    netloc, prefix, _, public_url = PROXIES[proxy]
    dialled = f"{scheme}://{netloc}{prefix}/answer/stream/t0ken" + (f"?{query}" if query else "")
    request = seen(
        proxy,
        method="GET",
        query=query,
        path="/answer/stream/t0ken",
        x_plivo_signature_v3=upgrade_signature_header(dialled, NONCE, TOKEN, every_form=every_form),
        x_plivo_signature_v3_nonce=NONCE,
    )
    verdict = check_upgrade(request, tokens=["old", TOKEN], public_url=public_url, hide="t0ken")
    assert verdict.match is not None
    assert verdict.match.scheme_form == "http"
    assert verdict.covers_query is bool(query)
    assert verdict.tried
    assert not any("t0ken" in url or "?" in url for url in verdict.tried)
    assert check_upgrade(replace(request, path="/answer/stream/x"), tokens=[TOKEN], public_url=public_url).match is None


@pytest.mark.parametrize("form", ["http", "https", "ws", "wss"])
def test_an_upgrade_may_be_signed_in_any_form(form: str) -> None:
    signature = sign_v3("GET", f"{form}://bot.example.com/s", NONCE, TOKEN)
    request = seen("none", method="GET", query="a=1", path="/s", x_plivo_signature_v3=signature,
                   x_plivo_signature_v3_nonce=NONCE)  # fmt: skip
    verdict = check_upgrade(request, tokens=[TOKEN])
    assert verdict.match is not None
    assert verdict.match.scheme_form == form
    assert not verdict.covers_query


def test_it_fails_closed() -> None:
    good = sign_v3("POST", "https://bot.example.com/answer", NONCE, TOKEN, FORM)

    def reason(host: str = "bot.example.com", path: str = "/answer", **headers: str) -> str:
        listed = tuple((f"x-plivo-signature-{name.replace('_', '-')}", value) for name, value in headers.items())
        request = SeenRequest("POST", "http", path, "", (("host", host), *listed))
        verdict = check_webhook(request, FORM, tokens=[TOKEN])
        assert (verdict.match is None) is bool(verdict.reason)
        return verdict.reason

    assert reason(v3=good, v3_nonce=NONCE) == ""
    assert "no X-Plivo-Signature-V3 header" in reason()
    assert "no X-Plivo-Signature-V3 header" in reason(v2=good, v2_nonce=NONCE)
    assert "is empty" in reason(v3="", v3_nonce=NONCE)
    assert "is empty" in reason(v3=" , ,", v3_nonce=NONCE)
    assert "Nonce header is missing" in reason(v3=good)
    assert "Nonce header is missing" in reason(v3=good, v3_nonce=" ")
    assert "no signature fits" in reason(v3=good, v3_nonce="1")
    assert "no signature fits" in reason(v3=good[:-2], v3_nonce=NONCE)
    assert "no signature fits" in reason("other.example.com", v3=good, v3_nonce=NONCE)
    assert "no usable Host" in reason("bad host/", v3=good, v3_nonce=NONCE)
    assert "no usable Host" in reason("[::", v3=good, v3_nonce=NONCE)
    assert "no usable Host" in reason(path="http://bot.example.com/answer", v3=good, v3_nonce=NONCE)


def test_an_empty_token_verifies_nobody() -> None:
    request = SeenRequest("GET", "http", "/", "", (("host", "h"), ("x-plivo-signature-v3", "a"),
                                                   ("x-plivo-signature-v3-nonce", "1")))  # fmt: skip
    with pytest.raises(UsageError):
        check_webhook(request, None, tokens=[""])


def test_what_was_tried_is_told_without_query_values() -> None:
    headers = (("host", "h.example"), ("x-plivo-signature-v3", "AAAA"), ("x-plivo-signature-v3-nonce", "1"))
    request = SeenRequest("GET", "http", "/answer", "key=secret", headers)
    verdict = check_webhook(request, None, tokens=[TOKEN], public_url="https://bot.example.com")
    assert verdict.tried[:2] == ("https://bot.example.com/answer", "http://bot.example.com/answer")
    assert set(verdict.tried[2:]) == {"http://h.example/answer", "https://h.example/answer"}
    assert "BOTHWAY_PUBLIC_URL" in verdict.reason
