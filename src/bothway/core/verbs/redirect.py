"""`<Redirect>`: go on with another document; what follows in this one never runs (plivo-protocol.md, 7.3)."""

from __future__ import annotations

from bothway.core.execution import DocumentKind, Execution, Wait, cause, is_http_url
from bothway.wire.verbs import Redirect

__all__ = ["execute"]

_SOURCE = "Error"


def execute(verb: Redirect, call: Execution, now: float) -> Wait:
    """Fetch the document that replaces this one."""
    if verb.method not in {"GET", "POST"}:
        return call.end(cause(7034, _SOURCE), f"<Redirect method={verb.method!r}> is neither GET nor POST")
    if not is_http_url(verb.url):
        return call.end(cause(7024, _SOURCE), "<Redirect> needs an http or https URL")
    return call.fetch(DocumentKind.REDIRECT, verb.url, verb.method)
