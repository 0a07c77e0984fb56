"""Where a WebSocket is opened, and with which headers: checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from bothway.errors import UsageError

__all__ = ["Target", "checked_headers", "parse_url"]


@dataclass(frozen=True)
class Target:
    """Where a WebSocket URL leads. Its path may hold a secret and stays out of every message.

    Attributes:
        secure: Whether it is `wss`.
        host: A name or an address, without brackets.
        port: Of the URL, or the scheme's own.
        resource: Path and query, as they are requested.
    """

    secure: bool
    host: str
    port: int
    resource: str

    @property
    def netloc(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.netloc}"


def parse_url(url: str) -> Target:
    """Read a WebSocket URL.

    Raises:
        UsageError: It is none, or holds what such a URL must not.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("a WebSocket URL does not parse") from None
    if parts.scheme not in ("ws", "wss") or not host:
        raise UsageError(f"a WebSocket URL starts with ws:// or wss:// and a host, not with {parts.scheme}://")
    if parts.username is not None or parts.fragment:
        raise UsageError("a WebSocket URL holds no credentials and no fragment: send credentials in a header")
    if not host.isascii():
        host = host.encode("idna").decode()
    secure = parts.scheme == "wss"
    safe = "!$%&'()*+,/:;=?@[]~"
    resource = quote(parts.path or "/", safe=safe) + (f"?{quote(parts.query, safe=safe)}" if parts.query else "")
    return Target(secure, host, port or (443 if secure else 80), resource)


def checked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same headers, which can be sent.

    Raises:
        UsageError: One cannot.
    """
    checked = list(headers)
    for name, value in checked:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise UsageError(f"header {name!r} cannot be sent: its name or its value has characters that HTTP forbids")
    return checked
