from __future__ import annotations

from typing import Any

import plivo.utils
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plivo.utils import signature_v3 as oracle

from bothway.errors import UsageError
from bothway.wire.signature import (
    MAX_SIGNATURES,
    Match,
    Nonces,
    candidates,
    sign_v1,
    sign_v2,
    sign_v3,
    upgrade_candidates,
    upgrade_signature_header,
    v3_string,
    verify,
    webhook_headers,
)

TOKEN = "Y2Q2ZDgxZmY5YWRiOTI5YmQ1Njg0MTAxZWIyOTc4"
NONCE = "31627761595286130198"
URL = "https://plivobin.non-prod.plivops.com/api/v1/validate_signature03.xml"
CALL = "3e82ae9d-2c78-4d85-b1a4-6eae7dbafb36"
P = {
    "Direction": "outbound",
    "From": "19792014278",
    "ALegUUID": CALL,
    "ALegRequestUUID": CALL,
    "CallUUID": CALL,
    "RequestUUID": CALL,
    "CallStatus": "in-progress",
    "BillRate": "0.002",
    "ParentAuthID": "MANWVLYTK4ZWU1YTY4QA",
    "To": "sip:PlivoSignature382029104058171078704104@phone-qa.voice.plivodev.com",
    "SIP-H-To": "<sip:PlivoSignature382029104058171078704104@52.9.11.55;transport=udp>;tag=1",
    "SessionStart": "2020-04-08 11:34:33.238707",
    "Event": "StartApp",
}


# --- the reference's vectors (plivo-protocol.md, 8.5) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url", "good"),
    [
        pytest.param("POST", f"{URL}/?a=b&c=d", "k7Pusd4OxCIjR5IfA9iedDNu/h/gbdYqdzG/MiYtd1c=", id="S1"),
        pytest.param("GET", f"{URL}/?a=b&c=d", "UBq8jAtd32wR8EK9VgxbBn4n5rpI/l1H9iN4WfSEHFQ=", id="S2"),
        pytest.param("POST", URL, "iAjE5QqI37mbkYe4w3jTMudqEzbDufdqi7sYwTu64e0=", id="S3"),
        pytest.param("GET", URL, "i/MQsaQSAd6fiKhOh2qeeeLHZ9faldADSb3/7+Akfbc=", id="S4"),
    ],
)
def test_published_v3_vectors(method: str, url: str, good: str) -> None:
    assert sign_v3(method, url, NONCE, TOKEN, P) == good
    assert sign_v3(method, url, NONCE, TOKEN, list(P.items())) == good
    assert sign_v3(method.lower(), url + "#ct=100&rc=3", NONCE, TOKEN, P) == good


def test_published_v2_vector_s5_and_its_negative_s8() -> None:
    good = "ehV3IKhLysWBxC1sy8INm0qGoQYdYsHwuoKjsX7FsXc="
    assert sign_v2("https://answer.url", "12345", "my_auth_token") == good
    assert sign_v2("https://answer.url?a=1#rc=0", "12345", "my_auth_token") == good
    assert sign_v2("https://answer.url", "123456", "my_auth_tokens") != good


@pytest.mark.parametrize(
    ("params", "good"),
    [
        pytest.param(
            {"CallUUID": "97ceeb52-58b6-11e1-86da-77300b68f8bb", "Duration": "300"},
            "EJEt0ELanhr8hjMPIJnLNLex0dE=",
            id="S6",
        ),
        pytest.param({"a": "1 2"}, "n3Xfo4u+vRFyl3gsH8B0qDUIK5g=", id="S7"),
    ],
)
def test_published_v1_vectors(params: dict[str, str], good: str) -> None:
    assert sign_v1("http://foo.com/answer/", params, "MAXXXXXXXXXXXXXXXXXX") == good
    assert sign_v1("http://foo.com/answer/#rc=0", params, "MAXXXXXXXXXXXXXXXXXX") == good


H = "https://h.example/x"


@pytest.mark.parametrize(
    ("method", "url", "params", "string", "good"),
    [
        pytest.param(
            "GET", "http://bot.example.com/ws", None, "http://bot.example.com/ws",
            "GceV4ownVd+iBqK7Ss7scEH9Zu+MMrpHQi6wu/z78/w=", id="D1",
        ),
        pytest.param(
            "GET", "http://bot.example.com:8443/ws?b=2&a=1", None, "http://bot.example.com:8443/ws?a=1&b=2",
            "iDz8pH2nZtl5GfNy9E9oo8K2FSqOPuROBsNnjrPuzbU=", id="D2",
        ),
        pytest.param(
            "GET", "http://bot.example.com/ws/abc?token=x%20y", None, "http://bot.example.com/ws/abc?token=x y",
            "h4sE8mNIeGOUr/6rVoYDi76fjdb4Xp+vveuVC8ukUlM=", id="D3",
        ),
        pytest.param("POST", H, {}, H, "K5xjDfBAcenCwxnRi2cmJsW/Ti0V/hQQnMFd2K8iH1E=", id="D4"),
        pytest.param("POST", H, {"k": "v"}, f"{H}?kv", "vlckg9J6JMj2xFQ6M5kxmVTrsJt84E68W9raksllmjY=", id="D5"),
        pytest.param(
            "POST", f"{H}?a=1", {"k": "v"}, f"{H}?a=1.kv", "tCIh2d/JB5vzLRqxDS74n1krYKEo53Vv1sIzPyDH/vs=", id="D6"
        ),
        pytest.param("POST", f"{H}?a=1", None, f"{H}?a=1", "s/1xMozfo7WHaFdVm+P5PH3urYxBy+qccNYQ27G2pVA=", id="D7"),
        pytest.param(
            "GET", f"{H}?a=1+2&c=%2B1%20x", None, f"{H}?a=1 2&c=+1 x",
            "rdm958PgNChLecTv4c3Z4X5nsEOe6cNPQD/pUddWvRA=", id="D8",
        ),
        pytest.param(
            "POST", f"{H}?b=2&b=1&a=", {"k": ["z", "a"], "From": "+1555"}, f"{H}?a=&b=1&b=2.From+1555kakz",
            "gq67Y+ooI/hjxfE1xYz0TRv2EdrYjUH/6xrEZRFAKWY=", id="D9",
        ),
        pytest.param(
            "POST", H, {"n": "café"}, f"{H}?ncafé", "9r85q+JT0nafEFCDshJD1+ZOZmOG3Ejvg5KPV62A46c=", id="D10"
        ),
        pytest.param(
            "POST", H, {"B": "1", "a": "2", "A": "3", "b": ""}, f"{H}?A3B1a2b",
            "rn/gpDwsOgffds+No+iAnIshKRiOofRaTO7m5e4n3IY=", id="D11",
        ),
        pytest.param(
            "GET", "https://h.example", None, "https://h.example", "Y9D4ooBGPopSuDszSvUr2kyeXau01D368cSx8SYKdKk=",
            id="D12",
        ),
    ],
)  # fmt: skip
def test_derived_v3_vectors(
    method: str, url: str, params: dict[str, str | list[str]] | None, string: str, good: str
) -> None:
    assert v3_string(method, url, NONCE, params) == f"{string}.{NONCE}"
    assert sign_v3(method, url, NONCE, TOKEN, params) == good


def test_the_documents_worked_string() -> None:
    params = {
        "From": "+15551111111",
        "To": "+15555555555",
        "Digits": "1234",
        "CallUuid": "4vbcpem8-0u46-x1ha-9af1-438vc92bf374",
    }
    assert v3_string("POST", "https://example.com/abcd?foo=bar", "kjsdhfsd87sd7yisud2", params) == (
        "https://example.com/abcd?foo=bar.CallUuid4vbcpem8-0u46-x1ha-9af1-438vc92bf374Digits1234"
        "From+15551111111To+15555555555.kjsdhfsd87sd7yisud2"
    )


# --- the official SDK as the judge ---------------------------------------------------------------------------------

words = st.text("abzAB019 +/%&=.:<>;@éж", max_size=6)
names = words.filter(bool)
forms = st.dictionaries(names, words | st.lists(words, min_size=1, max_size=3), max_size=4)
queries = st.lists(
    st.tuples(st.sampled_from(["a", "B", "c"]), st.sampled_from(["", "1", "x%20y", "p+q", "%26", "2"])), max_size=4
)
hosts = st.sampled_from(["bot.example.com", "bot.example.com:8443", "localhost:9000"])


@given(host=hosts, path=st.sampled_from(["", "/", "/a", "/a/b%20c"]), query=queries, form=forms)
def test_a_post_is_signed_as_the_sdk_checks_it(host: str, path: str, query: list[tuple[str, str]], form: Any) -> None:
    url = f"https://{host}{path}" + ("?" if query else "") + "&".join(f"{name}={value}" for name, value in query)
    built = oracle.construct_post_url(url, dict(form)).decode()
    assert v3_string("POST", url, NONCE, form) == f"{built}.{NONCE}"
    assert sign_v3("POST", url, NONCE, TOKEN, form) == oracle.get_signature_v3(TOKEN, built, NONCE).decode()


@given(host=hosts, query=queries, form=st.dictionaries(st.sampled_from(["d", "E", "zz"]), words, max_size=3))
def test_a_get_is_signed_as_the_sdk_checks_it(host: str, query: list[tuple[str, str]], form: dict[str, str]) -> None:
    url = f"http://{host}/ws" + ("?" if query else "") + "&".join(f"{name}={value}" for name, value in query)
    built = oracle.construct_get_url(url, dict(form)).decode()
    assert v3_string("GET", url, NONCE, form) == f"{built}.{NONCE}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_sdk_accepts_what_a_carrier_sends(method: str) -> None:
    url = "https://bot.example.com/answer?b=2&a=1"
    params = P if method == "POST" else {}
    headers = webhook_headers(method, url, params, "sub", "main", Nonces("1" * 20, "2" * 20))
    nonce = headers["X-Plivo-Signature-V3-Nonce"]
    for name, token in (("X-Plivo-Signature-V3", "sub"), ("X-Plivo-Signature-Ma-V3", "main")):
        assert plivo.utils.validate_v3_signature(method, url, nonce, token, headers[name], dict(params))
    for name, token in (("X-Plivo-Signature-V2", "sub"), ("X-Plivo-Signature-Ma-V2", "main")):
        assert plivo.utils.validate_signature(url, headers["X-Plivo-Signature-V2-Nonce"], headers[name], token)


def test_the_sdk_accepts_an_upgrade_in_either_profile() -> None:
    url = "wss://bot.example.com/ws/abc?token=x%20y"
    live = upgrade_signature_header(url, NONCE, TOKEN, every_form=False)
    every = upgrade_signature_header(url, NONCE, TOKEN, every_form=True)
    assert live == "h4sE8mNIeGOUr/6rVoYDi76fjdb4Xp+vveuVC8ukUlM="
    http, https = (url.replace("wss", scheme) for scheme in ("http", "https"))
    assert plivo.utils.validate_v3_signature("GET", http, NONCE, TOKEN, live)
    assert plivo.utils.validate_v3_signature("GET", http, NONCE, TOKEN, every)
    assert plivo.utils.validate_v3_signature("GET", https, NONCE, TOKEN, every)
    assert every.split(",")[2] == sign_v3("GET", url, NONCE, TOKEN)
    assert " " not in every


# --- what the carrier sends ----------------------------------------------------------------------------------------


def test_every_header_of_a_webhook_is_made() -> None:
    headers = webhook_headers("POST", H, {"k": "v"}, TOKEN, TOKEN, Nonces("1", "2"))
    assert set(headers) == {
        "X-Plivo-Signature",
        "X-Plivo-Signature-V2",
        "X-Plivo-Signature-Ma-V2",
        "X-Plivo-Signature-V2-Nonce",
        "X-Plivo-Signature-V3",
        "X-Plivo-Signature-Ma-V3",
        "X-Plivo-Signature-V3-Nonce",
    }
    assert headers["X-Plivo-Signature-V3"] == headers["X-Plivo-Signature-Ma-V3"]
    assert headers["X-Plivo-Signature-V2"] == headers["X-Plivo-Signature-Ma-V2"]
    assert (headers["X-Plivo-Signature-V2-Nonce"], headers["X-Plivo-Signature-V3-Nonce"]) == ("1", "2")


def test_what_cannot_be_signed_is_the_callers_fault() -> None:
    with pytest.raises(UsageError, match="GET and POST, not for 'PUT'"):
        sign_v3("PUT", H, NONCE, TOKEN)
    with pytest.raises(UsageError, match="cannot be split"):
        sign_v3("GET", "http://[half", NONCE, TOKEN)
    with pytest.raises(UsageError, match="ws:// or wss://, not at https"):
        upgrade_signature_header("https://h.example/ws", NONCE, TOKEN, every_form=True)


# --- what the app checks -------------------------------------------------------------------------------------------


def signed(url: str, token: str = TOKEN, **more: str) -> dict[str, str]:
    return {"X-Plivo-Signature-V3": sign_v3("POST", url, NONCE, token, P), "X-Plivo-Signature-V3-Nonce": NONCE} | more


def test_the_match_says_which_candidate_it_was() -> None:
    url = "https://bot.example.com/answer?x=1"
    found = verify(signed(url), "POST", ["http://bot.example.com/answer?x=1", url], P, ["other", TOKEN])
    assert found == Match(url, "V3", "https")


def test_header_names_are_read_in_any_case() -> None:
    headers = {name.lower(): value for name, value in signed(H).items()}
    assert verify(headers, "post", [H], P, [TOKEN]) is not None


@pytest.mark.parametrize("value", ["bad,{}", "bad, {}", " {} ,bad", "{},{}"])
def test_a_header_may_list_several_signatures(value: str) -> None:
    headers = signed(H) | {"X-Plivo-Signature-V3": value.replace("{}", sign_v3("POST", H, NONCE, TOKEN, P))}
    assert verify(headers, "POST", [H], P, [TOKEN]) is not None


def test_the_main_accounts_signature_will_do() -> None:
    headers = {
        "X-Plivo-Signature-V3": sign_v3("POST", H, NONCE, "subaccount's", P),
        "X-Plivo-Signature-Ma-V3": sign_v3("POST", H, NONCE, TOKEN, P),
        "X-Plivo-Signature-V3-Nonce": NONCE,
    }
    assert verify(headers, "POST", [H], P, [TOKEN]) == Match(H, "V3", "https")
    del headers["X-Plivo-Signature-V3"]
    assert verify(headers, "POST", [H], P, [TOKEN]) == Match(H, "V3", "https")


@pytest.mark.parametrize(
    ("headers", "method", "url", "params", "tokens"),
    [
        pytest.param(signed(H), "POST", H, P, ["other"], id="token"),
        pytest.param(signed(H), "POST", H, P, [], id="no token"),
        pytest.param(signed(H), "GET", H, P, [TOKEN], id="method"),
        pytest.param(signed(H), "PUT", H, P, [TOKEN], id="a method without signatures"),
        pytest.param(signed(H), "POST", H + "/", P, [TOKEN], id="url"),
        pytest.param(signed(H), "POST", "http://[half", P, [TOKEN], id="a URL that cannot be split"),
        pytest.param(signed(H), "POST", H, P | {"From": "1"}, [TOKEN], id="a changed parameter"),
        pytest.param(signed(H), "POST", H, P | {"New": ""}, [TOKEN], id="one more parameter"),
        pytest.param(signed(H) | {"X-Plivo-Signature-V3-Nonce": "1"}, "POST", H, P, [TOKEN], id="nonce"),
        pytest.param({"X-Plivo-Signature-V3": signed(H)["X-Plivo-Signature-V3"]}, "POST", H, P, [TOKEN], id="no nonce"),
        pytest.param({}, "POST", H, P, [TOKEN], id="nothing"),
        pytest.param(signed(H) | {"X-Plivo-Signature-V3": "é,\udce9,"}, "POST", H, P, [TOKEN], id="no base64"),
    ],
)
def test_what_does_not_match_is_refused(
    headers: dict[str, str], method: str, url: str, params: dict[str, str], tokens: list[str]
) -> None:
    assert verify(headers, method, [url], params, tokens, allow_old=True) is None


def test_a_form_that_was_not_utf8_is_refused_and_does_not_raise() -> None:
    assert verify(signed(H), "POST", [H], {"a": "\udcff"}, [TOKEN]) is None


def test_an_empty_token_is_a_configuration_error() -> None:
    with pytest.raises(UsageError, match="empty auth token"):
        verify(signed(H, token=""), "POST", [H], P, [""])


def test_old_versions_count_only_when_allowed_and_only_without_v3() -> None:
    headers = webhook_headers("POST", H, P, TOKEN, TOKEN, Nonces("1", "2"))
    v2 = {name: value for name, value in headers.items() if "-V2" in name}
    v1 = {"X-Plivo-Signature": headers["X-Plivo-Signature"]}
    assert verify(v2, "POST", [H], P, [TOKEN]) is None
    assert verify(v2, "POST", [H], P, [TOKEN], allow_old=True) == Match(H, "V2", "https")
    assert verify(v1, "POST", [H], P, [TOKEN]) is None
    assert verify(v1, "POST", [H], P, [TOKEN], allow_old=True) == Match(H, "V1", "https")
    assert verify(v1, "POST", [H], {}, [TOKEN], allow_old=True) is None
    assert verify(headers | {"X-Plivo-Signature-V3": "bad", "X-Plivo-Signature-Ma-V3": "bad"}, "POST", [H], P, [TOKEN],
                  allow_old=True) is None  # fmt: skip


def test_a_header_of_commas_is_looked_at_up_to_a_bound() -> None:
    good = signed(H)["X-Plivo-Signature-V3"]
    within = signed(H) | {"X-Plivo-Signature-V3": "," * (MAX_SIGNATURES - 1) + good}
    beyond = signed(H) | {"X-Plivo-Signature-V3": "," * MAX_SIGNATURES + good}
    assert verify(within, "POST", [H], P, [TOKEN]) is not None
    assert verify(beyond, "POST", [H], P, [TOKEN]) is None


# --- candidates ----------------------------------------------------------------------------------------------------


def test_webhook_candidates_are_public_origin_then_host_in_both_schemes() -> None:
    found = candidates("http://127.0.0.1:8000/answer?x=1", public_url="https://bot.example.com", host="tunnel.example")
    assert found == (
        "https://bot.example.com/answer?x=1",
        "http://bot.example.com/answer?x=1",
        "http://tunnel.example/answer?x=1",
        "https://tunnel.example/answer?x=1",
    )


def test_webhook_candidates_without_configuration_are_what_was_seen() -> None:
    assert candidates("https://h.example/a") == ("https://h.example/a", "http://h.example/a")
    assert candidates("http://h.example/a", public_url="http://h.example") == (
        "http://h.example/a",
        "https://h.example/a",
    )


def test_a_forwarded_host_comes_before_the_host() -> None:
    found = candidates("http://10.0.0.1/a", host="inner:8000", forwarded_host="outer.example")
    assert [url.split("/")[2] for url in found] == ["outer.example"] * 2 + ["inner:8000"] * 2


@pytest.mark.parametrize("path", ["/answer", "/bots/answer"])
def test_a_public_path_is_a_prefix_that_a_proxy_strips(path: str) -> None:
    found = candidates(f"http://127.0.0.1{path}", public_url="https://h.example/bots/")
    assert found[0] == "https://h.example/bots/answer"


def test_a_url_that_was_dialled_without_a_path_is_found() -> None:
    headers = {
        "X-Plivo-Signature-V3": "Y9D4ooBGPopSuDszSvUr2kyeXau01D368cSx8SYKdKk=",
        "X-Plivo-Signature-V3-Nonce": NONCE,
    }
    seen = candidates("http://127.0.0.1:8000/", public_url="https://h.example")
    assert verify(headers, "GET", seen, None, [TOKEN]) == Match("https://h.example", "V3", "https")


def test_upgrade_candidates_are_every_scheme_with_and_without_query() -> None:
    found = upgrade_candidates("ws://127.0.0.1:8000/ws?a=1", public_url="wss://bot.example.com", host="inner")
    schemes = ("http", "https", "ws", "wss")
    assert found == tuple(
        f"{scheme}://{host}/ws{query}"
        for host in ("bot.example.com", "inner")
        for query in ("?a=1", "")
        for scheme in schemes
    )
    assert upgrade_candidates("ws://inner/ws") == tuple(f"{scheme}://inner/ws" for scheme in schemes)


@pytest.mark.parametrize("every_form", [True, False])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_our_app_accepts_our_carriers_upgrade_behind_a_proxy(scheme: str, every_form: bool) -> None:
    dialled = f"{scheme}://bot.example.com/ws?b=2&a=x%20y"
    headers = {
        "X-Plivo-Signature-V3": upgrade_signature_header(dialled, NONCE, TOKEN, every_form=every_form),
        "X-Plivo-Signature-V3-Nonce": NONCE,
    }
    seen = upgrade_candidates("http://127.0.0.1:8000/ws?b=2&a=x%20y", host="bot.example.com")
    assert verify(headers, "GET", seen, None, [TOKEN]) == Match(f"http{dialled[len(scheme) :]}", "V3", "http")


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_that_a_stranger_sends_makes_verify_raise(signature: str, nonce: str) -> None:
    headers = {"x-plivo-signature-v3": signature, "X-Plivo-Signature-V3-Nonce": nonce, "x-plivo-signature": signature}
    assert verify(headers, "POST", [H, signature], {signature: nonce}, [TOKEN], allow_old=True) is None
