"""What an app has to know about its account: from arguments, and for what is not given from the environment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from bothway.app.tokens import derive_secret
from bothway.errors import UsageError
from bothway.runtime.logs import get_logger, redact
from bothway.runtime.settings import Settings, parse_origin, shown

__all__ = ["Config", "configured"]

_SHORTEST_SECRET = 8
_SECRET_VARIABLE = "BOTHWAY_SECRET"  # noqa: S105 - the variable's name

log = get_logger(__name__)


@dataclass(frozen=True, repr=False)
class Config:
    """The account and the outside.

    Attributes:
        auth_id: The account; empty if it is not known.
        auth_token: Its token; empty if it is not known.
        public_url: The origin that the carrier dials, where it is configured.
        api_url: The base of the carrier's REST API.
        check_signatures: Whether what the carrier did not sign is refused.
        secret: What stream tokens are made with.
    """

    auth_id: str
    auth_token: str
    public_url: str | None
    api_url: str
    check_signatures: bool
    secret: bytes

    def __repr__(self) -> str:
        return f"Config(auth_id={self.auth_id!r}, public_url={self.public_url!r}, checks={self.check_signatures})"

    def check(self) -> None:
        """Make sure that signatures can be checked, if they shall be.

        Raises:
            UsageError: They cannot, and the message says what to set.
        """
        if self.check_signatures and not self.auth_token:
            raise UsageError(
                "signatures cannot be checked without the account's auth token: set PLIVO_AUTH_TOKEN (or pass "
                "App(auth_token=…)), or, on a machine that nobody else can reach, let anybody in with "
                "App(check_signatures=False) or BOTHWAY_CHECK_SIGNATURES=no"
            )


def configured(
    *,
    auth_id: str | None = None,
    auth_token: str | None = None,
    public_url: str | None = None,
    api_url: str | None = None,
    check_signatures: bool | None = None,
    secret: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Put arguments over the environment, and its values over the defaults.

    Raises:
        UsageError: A URL is none, or a variable's value is not allowed.
    """
    settings = Settings.from_environment(environ, command="serve")
    token = settings.plivo_auth_token or "" if auth_token is None else auth_token
    own_secret = environ.get(_SECRET_VARIABLE, "") if secret is None else secret
    for value in (token, own_secret):
        # What is shorter is no secret, and cutting it out would cut up every line.
        if len(value) >= _SHORTEST_SECRET:
            redact(value)
    return Config(
        auth_id=settings.plivo_auth_id or "" if auth_id is None else auth_id,
        auth_token=token,
        public_url=settings.public_url if public_url is None else _url("public_url", public_url),
        api_url=settings.api_url if api_url is None else _url("api_url", api_url),
        check_signatures=settings.check_signatures if check_signatures is None else check_signatures,
        secret=_secret(own_secret, token),
    )


def _secret(own: str, auth_token: str) -> bytes:
    if own:
        return own.encode()
    if auth_token:
        return derive_secret(auth_token)
    log.debug("stream tokens are made with a secret of this process alone: several processes share BOTHWAY_SECRET")
    return secrets.token_bytes(32)


def _url(name: str, text: str) -> str:
    try:
        return parse_origin(text)
    except ValueError as error:
        raise UsageError(f"{name} is {shown(text)}; it must be {error}") from None
