from __future__ import annotations

import logging

import pytest

from bothway.app.config import configured
from bothway.app.tokens import derive_secret
from bothway.errors import UsageError

ENVIRONMENT = {
    "PLIVO_AUTH_ID": "MA-env",
    "PLIVO_AUTH_TOKEN": "token-env",
    "BOTHWAY_PUBLIC_URL": "https://env.example",
    "BOTHWAY_API_URL": "http://127.0.0.1:9/v1",
    "BOTHWAY_SECRET": "shared-secret",
    "BOTHWAY_CHECK_SIGNATURES": "no",
}


def test_the_environment_fills_what_is_not_given() -> None:
    config = configured(environ=ENVIRONMENT)
    assert (config.auth_id, config.auth_token, config.public_url) == ("MA-env", "token-env", "https://env.example")
    assert (config.api_url, config.check_signatures) == ("http://127.0.0.1:9/v1", False)
    assert config.secret == b"shared-secret"
    config.check()


def test_arguments_outweigh_it() -> None:
    config = configured(
        auth_id="MA", auth_token="t", public_url="https://a.example/x/", api_url="http://b.example",
        check_signatures=True, secret="", environ=ENVIRONMENT,
    )  # fmt: skip
    assert (config.auth_id, config.auth_token, config.public_url) == ("MA", "t", "https://a.example/x")
    assert (config.api_url, config.check_signatures) == ("http://b.example", True)
    assert config.secret == derive_secret("t")


def test_without_anything_signatures_cannot_be_checked() -> None:
    config = configured(environ={})
    assert config.api_url == "https://api.plivo.com/v1"
    assert len(config.secret) == 32
    assert config.secret != configured(environ={}).secret
    with pytest.raises(UsageError, match=r"PLIVO_AUTH_TOKEN .*check_signatures=False.* BOTHWAY_CHECK_SIGNATURES=no"):
        config.check()


def test_a_url_that_is_none_is_refused() -> None:
    for url in ("bot.example.com", "ftp://x", "https://", "https://x/?a=1", "https://[", "https://x:0"):
        with pytest.raises(UsageError, match=r"public_url is .*; it must be an http or https URL"):
            configured(public_url=url, environ={})


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    url = "https://MAID:the-token@api.plivo.com/v1"
    for options in ({"api_url": url}, {"environ": {"BOTHWAY_API_URL": url}}):
        with pytest.raises(UsageError, match="without credentials") as caught:
            configured(**{"environ": {}} | options)
        assert "the-token" not in str(caught.value)
        assert "https://***@api.plivo.com/v1" in str(caught.value)


def test_secrets_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    from bothway.runtime.logs import forget, get_logger

    config = configured(environ=ENVIRONMENT)
    assert "token-env" not in repr(config)
    assert "shared-secret" not in repr(config)
    with caplog.at_level(logging.INFO):
        get_logger("test").info("the token is token-env")
    assert "token-env" not in str(caplog.records[0].msg)
    forget("token-env")
    forget("shared-secret")
