"""Answer documents that a transfer goes to, carried by their own URL.

A transfer names a URL, and the carrier fetches a document there. The document for one call stands in that URL itself,
signed with the app's secret, so that no process has to remember it: whichever gets the request can answer it, after a
restart too.
"""

from __future__ import annotations

from collections.abc import Sequence

from bothway.app.tokens import MAX_TOKEN, DocumentToken, TokenError, issue, read
from bothway.errors import UsageError
from bothway.wire.callxml import to_xml
from bothway.wire.verbs import URL_LIMIT, Dial, Number, User, Verb

__all__ = ["DOCUMENT_LIFETIME", "DOCUMENT_PARAMETER", "DOCUMENT_PATH", "document_of", "document_url", "verbs_to"]

DOCUMENT_PATH = "/bothway/document"
"""Where every app serves them."""

DOCUMENT_PARAMETER = "document"
"""The query parameter that holds one."""

DOCUMENT_LIFETIME = 300.0
"""Seconds for which one is served. A transfer fetches it at once, or, at a carrier that lets the stream end first, when
the stream has ended (plivo-protocol.md, 1.6)."""


def verbs_to(
    to: str, *, caller_id: str | None = None, ring_timeout: int | None = None, time_limit: int | None = None
) -> tuple[Verb, ...]:
    """The document that dials somebody.

    Args:
        to: A number, or a `sip:` URI.
        caller_id: Whom the called party sees; the caller unless given.
        ring_timeout: Seconds of ringing.
        time_limit: Seconds that both may talk.
    """
    child = User(to) if to.startswith(("sip:", "sips:")) else Number(to)
    dial = Dial((child,), caller_id=caller_id, timeout=ring_timeout)
    if time_limit is not None:
        dial = Dial((child,), caller_id=caller_id, timeout=ring_timeout, time_limit=time_limit)
    return (dial,)


def document_url(verbs: Sequence[Verb], call_id: str, app_url: str, secret: bytes, now: float) -> str:
    """The URL at which this app serves a document to one call.

    Args:
        verbs: The document.
        call_id: Whose.
        app_url: Where the app is for the carrier.
        secret: What tokens are made with.
        now: Unix time, in seconds.

    Raises:
        UsageError: The document cannot be written, or does not fit into a URL.
    """
    token = issue(DocumentToken(call_id, to_xml(verbs), int(now + DOCUMENT_LIFETIME)), secret)
    url = f"{app_url}{DOCUMENT_PATH}?{DOCUMENT_PARAMETER}={token}"
    if len(token) > MAX_TOKEN or len(url) > URL_LIMIT:
        raise UsageError(
            f"the document is too long to stand in a URL of {URL_LIMIT} characters: serve it at a URL of your own, and "
            "transfer the call there"
        )
    return url


def document_of(token: str, call_id: str, secret: bytes, now: float) -> str:
    """The document in a URL.

    Args:
        token: As it stands there.
        call_id: Which call asks.
        secret: What the token must have been made with.
        now: Unix time, in seconds.

    Raises:
        TokenError: There is none for this call.
    """
    found = read(token, secret, now, DocumentToken)
    if found.call_id != call_id:
        raise TokenError("the document is for another call", "forged")
    return found.document
